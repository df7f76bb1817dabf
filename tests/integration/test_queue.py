"""The queue's life over a real SMTP server, on both databases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from furnish import furnish

from mailops import Ops
from mailops.checks.queue import waiting
from mailops.errors import ConfigError, MessageRefused, NotFound
from mailops.model.mail import Attachment
from mailops.model.states import DeliveryState, MailState
from mailops.model.verdict import VerdictState
from mailops.ports import RecipientReply, SendResult
from mailops.queue import lease
from mailops.queue.filters import QueueFilter
from mailops.queue.journal import Journal
from mailops.testing import ManualClock, SmtpServer, bounce_later, defer, drop, greylist, refuse, session_limit


def send(ops: Ops, to: str | list[str] = "bob@x.example", **more: object) -> int:
    values = {"sender": "Ann <ann@acme.example>", "subject": "Hello", "text": "Hi there", **more}
    return ops.send(to=to, **values)  # type: ignore[arg-type]


@pytest.mark.req("QUE-06", "QUE-07")
def test_a_mail_waits_as_outgoing_and_leaves_with_the_run(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        mail_id = send(ops)
        assert ops.queue.mail(mail_id).state is MailState.OUTGOING
        assert smtp.accepted == 0
        report = ops.queue.run()
        assert (report.sent, report.handled) == (1, 1)
        mail = ops.queue.mail(mail_id)
        assert mail.state.label == "Sent"
        assert mail.server_key == "main"
        [got] = smtp.messages
        assert got.envelope_from == "bounce@acme.example"
        assert got.recipients == ("bob@x.example",)
        assert b'From: "Ann" <ann@acme.example>\r\n' in got.data
        assert got.message_id == mail.message_id
        assert [line.kind for line in ops.queue.history(mail_id)] == ["submitted", "sent"]


@pytest.mark.req("QUE-02", "QUE-07")
def test_a_refused_mail_is_delivery_failed_and_retry_sends_it_with_the_next_run(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer(script=[refuse("bob@x.example", 550, "5.1.1", "User unknown", first=1)]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        mail_id = send(ops)
        ops.queue.run()
        mail = ops.queue.mail(mail_id)
        assert mail.state.label == "Delivery Failed"
        [delivery] = mail.deliveries
        assert (delivery.code, delivery.enhanced, delivery.reason) == (550, "5.1.1", "userunknown")
        assert "User unknown" in (mail.failure_reason or "")
        assert ops.queue.run().handled == 0  # nothing re-queues a failure by itself
        assert ops.queue.retry(mail_id).count == 1
        assert ops.queue.mail(mail_id).state.label == "Outgoing"
        assert smtp.accepted == 0
        ops.queue.run()
        assert ops.queue.mail(mail_id).state.label == "Sent"


def test_one_good_recipient_makes_the_mail_sent_and_retry_reaches_only_the_others(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer(script=[refuse("bob@x.example", first=1)]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        mail_id = send(ops, ["bob@x.example", "eve@x.example"])
        ops.queue.run()
        mail = ops.queue.mail(mail_id)
        assert mail.state is MailState.SENT
        assert {d.recipient: d.state for d in mail.deliveries} == {
            "bob@x.example": DeliveryState.FAILED,
            "eve@x.example": DeliveryState.SENT,
        }
        assert ops.queue.preview("retry", QueueFilter(ids=(mail_id,))).count == 1
        assert ops.queue.retry(mail_id).count == 1
        assert ops.queue.run().sent == 1
        assert [m.recipients for m in smtp.messages] == [("eve@x.example",), ("bob@x.example",)]
        assert ops.queue.retry(mail_id).count == 0  # nobody is left


def test_a_temporary_refusal_stays_outgoing_and_comes_again_after_the_pause(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock()
    with SmtpServer(script=[greylist("bob@x.example")]) as smtp:
        ops = ops_on(clock=clock)
        furnish(ops, smtp)
        mail_id = send(ops, ["bob@x.example", "eve@x.example"])
        assert ops.queue.run().deferred == 1
        mail = ops.queue.mail(mail_id)
        assert mail.state is MailState.OUTGOING
        assert mail.due_at - clock.now() == timedelta(minutes=5)
        assert ops.queue.run().handled == 0
        clock.advance(301)
        assert ops.queue.run().sent == 1
        assert [m.recipients for m in smtp.messages] == [("eve@x.example",), ("bob@x.example",)]
        assert len({m.message_id for m in smtp.messages}) == 1


def test_it_gives_up_after_two_days_with_the_reason(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock()
    with SmtpServer(script=[defer("bob@x.example", 452, "4.2.2", "Mailbox full")]) as smtp:
        ops = ops_on(clock=clock)
        furnish(ops, smtp)
        mail_id = send(ops)
        runs = 0
        while ops.queue.mail(mail_id).state is MailState.OUTGOING and runs < 40:
            ops.queue.run()
            clock.advance(4 * 3600 + 1)
            runs += 1
        mail = ops.queue.mail(mail_id)
        assert mail.state is MailState.FAILED
        assert "gave up after" in (mail.failure_reason or "")
        assert "Mailbox full" in (mail.failure_reason or "")
        assert 10 < runs < 40


@pytest.mark.req("QUE-08")
def test_send_now_ignores_the_schedule(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock()
    with SmtpServer() as smtp:
        ops = ops_on(clock=clock)
        furnish(ops, smtp)
        mail_id = send(ops, scheduled_at=clock.now() + timedelta(days=1))
        assert ops.queue.run().handled == 0
        assert ops.queue.send_now(QueueFilter(ids=(mail_id,))).sent == 1
        assert smtp.accepted == 1


def test_a_scheduled_mail_leaves_when_its_time_has_come(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock()
    with SmtpServer() as smtp:
        ops = ops_on(clock=clock)
        furnish(ops, smtp)
        send(ops, scheduled_at=clock.now() + timedelta(hours=1))
        assert ops.queue.run().handled == 0
        clock.advance(3601)
        assert ops.queue.run().sent == 1


@pytest.mark.req("QUE-09")
def test_cancel_takes_it_out_and_retry_brings_it_back(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        mail_id = send(ops)
        assert ops.queue.cancel(mail_id, actor="ann").count == 1
        assert ops.queue.run().handled == 0
        assert ops.queue.mail(mail_id).state.label == "Cancelled"
        assert ops.queue.history(mail_id)[-1].actor == "ann"
        ops.queue.retry(mail_id)
        assert ops.queue.run().sent == 1


@pytest.mark.req("QUE-10", "FAQ-02")
def test_auto_delete_and_auto_vacuum_keep_failures_and_counters(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock()
    with SmtpServer(script=[refuse("no@x.example")]) as smtp:
        ops = ops_on(clock=clock)
        furnish(ops, smtp)
        gone, kept, failed = send(ops, auto_delete=True), send(ops), send(ops, "no@x.example", auto_delete=True)
        ops.queue.run()
        with pytest.raises(NotFound):
            ops.queue.mail(gone)
        assert ops.queue.mail(kept).state is MailState.SENT
        assert ops.queue.mail(failed).state is MailState.FAILED
        before = ops.analysis.overall()
        assert (before.addressed, before.returned) == (3, 1)
        assert ops.queue.vacuum() == 0
        clock.advance(8 * 86_400)
        assert ops.queue.vacuum() == 1
        assert ops.queue.counts()[MailState.SENT] == 0
        assert ops.queue.mail(failed).state is MailState.FAILED
        assert ops.analysis.overall() == before
        assert [line.kind for line in ops.queue.history(gone)] == ["submitted", "sent"]


@pytest.mark.req("QUE-11")
def test_an_urgent_mail_shows_in_the_queue_only_if_it_fails(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer(script=[refuse("no@x.example")]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        send(ops, urgent=True, auto_delete=True)
        assert smtp.accepted == 1
        assert ops.queue.page().total == 0
        send(ops, "no@x.example", urgent=True, auto_delete=True)
        [mail] = ops.queue.page().mails
        assert mail.state.label == "Delivery Failed"


def test_bulk_actions_by_filter_with_preview(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer(script=[refuse("*@full.example", 552, "5.2.2", "Mailbox full"), refuse("*@gone.example")]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        for n in range(12):
            send(ops, f"u{n}@{'full' if n % 3 else 'gone'}.example", subject=f"Bill {n}")
        ops.queue.run()
        chosen = QueueFilter(reason="mailboxfull")
        seen = ops.queue.preview("retry", chosen)
        assert (seen.count, seen.left_out) == (8, 0)
        assert len(seen.examples) == 3
        assert ops.queue.counts()[MailState.FAILED] == 12  # a preview changes nothing
        assert ops.queue.retry(chosen).count == 8
        assert ops.queue.counts()[MailState.OUTGOING] == 8
        assert ops.queue.cancel(QueueFilter(recipient="gone.example")).count == 4
        assert ops.queue.page(QueueFilter(text="bill 1")).total == 3
        with pytest.raises(ConfigError) as caught:
            ops.queue.cancel(QueueFilter())
        assert caught.value.code == "queue.filter_empty"


def test_what_people_write_arrives(ops_on: Callable[..., Ops]) -> None:
    """Non-ASCII subject, HTML beside text, an attachment, long references, Bcc that nobody sees."""
    import email
    import email.policy

    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.send(
            sender='"Äpfel, Ann" <ann@acme.example>',
            to=["Bob <bob@x.example>", "zoë@x.example"],
            bcc=["boss@x.example"],
            subject="Grüße — 你好",
            text="Grüße\n.\n..\nende",
            html="<p>Grüße</p>" + "x" * 3000,
            attachments=[Attachment("rechnung-ä.pdf", bytes(range(256)) * 20, "application/pdf")],
            headers=[("X-Order", "S00042")],
        )
        assert ops.queue.run().sent == 1
        [got] = smtp.messages
        message = email.message_from_bytes(got.data, policy=email.policy.default)
        assert message["Subject"] == "Grüße — 你好"
        assert message["From"].addresses[0].display_name == "Äpfel, Ann"
        assert "Bcc" not in message
        assert "boss@x.example" in got.recipients
        assert message["X-Order"] == "S00042"
        body = message.get_body(("plain",))
        assert body is not None
        assert body.get_content().splitlines() == ["Grüße", ".", "..", "ende"]
        [attached] = message.iter_attachments()
        assert attached.get_filename() == "rechnung-ä.pdf"
        assert attached.get_content() == bytes(range(256)) * 20


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"subject": "Hi\r\nBcc: evil@x.example"}, "message.header_injection"),
        ({"headers": [("X-A", "1\n2")]}, "message.header_injection"),
        ({"to": []}, "message.no_recipient"),
        ({"to": ["not an address"]}, "message.address_invalid"),
        ({"sender": "nobody"}, "message.from_invalid"),
        ({"server": "nope"}, "message.server_unknown"),
        ({"company": "nope"}, "message.company_unknown"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_anything_is_stored(
    sqlite_ops: Ops, wrong: dict[str, object], code: str
) -> None:
    values = {"sender": "ann@acme.example", "to": ["bob@x.example"], "subject": "s", "text": "t", **wrong}
    with pytest.raises(MessageRefused) as caught:
        sqlite_ops.send(**values)  # type: ignore[arg-type]
    assert caught.value.code == code
    assert caught.value.fix
    assert sqlite_ops.queue.page().total == 0


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"Subject: a\r\nbody without gap\r\n", "message.header_broken"),
        (b"To: b@x.example\r\n\r\nbare\nline\r\n", "message.bare_newline"),
        (b"To: b@x.example\r\n\r\n" + b"x" * 999 + b"\r\n", "message.line_too_long"),
        (b"Subject: nobody\r\n\r\n.\r\n", "message.no_recipient"),
    ],
)
def test_broken_raw_messages_are_refused(sqlite_ops: Ops, raw: bytes, code: str) -> None:
    from mailops.model.mail import Submission

    with pytest.raises(MessageRefused) as caught:
        sqlite_ops.queue.submit(Submission(raw=raw))
    assert caught.value.code == code


def test_a_raw_message_keeps_its_bytes_and_loses_its_bcc(ops_on: Callable[..., Ops]) -> None:
    from mailops.model.mail import Submission

    raw = b"From: ann@acme.example\nTo: bob@x.example\nBcc: boss@x.example,\n hidden@x.example\nSubject: Hi\n\n.dots\n..\n"
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.queue.submit(Submission(raw=raw))
        ops.queue.run()
        [got] = smtp.messages
        assert set(got.recipients) == {"bob@x.example", "boss@x.example", "hidden@x.example"}
        assert b"hidden" not in got.data
        assert got.data.endswith(b"Subject: Hi\r\n\r\n.dots\r\n..\r\n")


@pytest.mark.req("OUT-29")
def test_the_from_is_rewritten_on_the_wire_and_only_there(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp, from_filter=None)
        mail_id = send(ops, sender="Ann <x@acme.example>")
        ops.queue.run()
        assert b'From: "Ann" <notifications@acme.example>\r\n' in smtp.messages[0].data
        assert smtp.messages[0].data.count(b"\nFrom:") + smtp.messages[0].data.startswith(b"From:") == 1
        assert ops.queue.mail(mail_id).header_from == "Ann <x@acme.example>"


@pytest.mark.req("IN-17")
def test_a_report_that_comes_back_marks_the_delivery(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer(script=[bounce_later("gone@x.example", "5.1.1", "User unknown")]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        mail_id = send(ops, ["gone@x.example", "bob@x.example"])
        ops.queue.run()
        [pending] = smtp.pending_bounces()
        taken = ops.bounces.take(pending.data)
        assert (taken.report.kind, taken.matched) == ("bounce", 1)
        assert ops.bounces.take(pending.data).repeated
        states = {d.recipient: d for d in ops.queue.mail(mail_id).deliveries}
        assert states["gone@x.example"].state is DeliveryState.BOUNCED
        assert states["gone@x.example"].reason == "userunknown"
        assert states["bob@x.example"].state is DeliveryState.SENT
        overall = ops.analysis.overall()
        assert (overall.addressed, overall.returned) == (2, 1)
        assert ops.queue.retry(mail_id).count == 1  # the one that came back may be tried again
        ops.queue.run()
        assert [m.recipients for m in smtp.messages][-1] == ("gone@x.example",)


def test_a_report_for_an_auto_deleted_mail_still_counts(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer(script=[bounce_later("gone@x.example")]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        mail_id = send(ops, "gone@x.example", auto_delete=True)
        ops.queue.run()
        taken = ops.bounces.take(smtp.pending_bounces()[0].data)
        assert taken.matched == 1
        assert [line.kind for line in ops.queue.history(mail_id)] == ["submitted", "sent", "bounced"]
        frame = ops.analysis.bounce_rate("sender")
        assert frame["bounced"].tolist() == [1]


def test_a_report_about_nobodys_mail_is_kept_and_marks_nothing(sqlite_ops: Ops) -> None:
    from mailops.testing import build_dsn

    foreign = build_dsn(
        b"Message-ID: <a@b>\r\nTo: x@y.example\r\n\r\nhi\r\n",
        "x@y.example",
        "5.1.1",
        "550 5.1.1 unknown",
        "mx.y.example",
    )
    taken = sqlite_ops.bounces.take(foreign)
    assert (taken.report.kind, taken.matched) == ("bounce", 0)
    assert len(sqlite_ops.bounces.recent()) == 1


def test_a_lost_answer_is_recorded_as_unknown_and_sent_again_with_the_same_id(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock()
    with SmtpServer(script=[drop("body", after=True, first=1)]) as smtp:
        ops = ops_on(clock=clock)
        furnish(ops, smtp)
        mail_id = send(ops)
        assert ops.queue.run().unknown == 1
        mail = ops.queue.mail(mail_id)
        assert mail.state is MailState.OUTGOING
        assert "before it answered" in (mail.failure_reason or "")
        clock.advance(301)
        assert ops.queue.run().sent == 1
        assert [m.message_id for m in smtp.messages] == [mail.message_id] * 2
        assert [line.kind for line in ops.queue.history(mail_id)] == ["submitted", "unknown", "sent"]


def test_an_unreachable_server_defers_everything_after_one_try(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        pass  # closed again: its port refuses
    ops = ops_on()
    furnish(ops, smtp)
    for _ in range(5):
        send(ops)
    report = ops.queue.run()
    assert report.deferred == 5
    [mail, *_] = ops.queue.page().mails
    assert mail.state is MailState.OUTGOING
    assert "Main" in (mail.failure_reason or "")
    assert mail.attempts == 1


def test_health_pages_and_causes(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer(script=[refuse("*@gone.example")]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        for n in range(7):
            send(ops, f"u{n}@gone.example")
        assert ops.queue.health().due == 7
        ops.queue.run()
        assert ops.queue.causes() == [("userunknown", "gone.example", 7)]
        first, second = ops.queue.page(limit=4), ops.queue.page(offset=4, limit=4)
        assert (first.total, len(first.mails), len(second.mails)) == (7, 4, 3)
        assert first.mails[0].id > first.mails[1].id > second.mails[0].id
        assert ops.queue.frame()["reason"].unique().tolist() == ["userunknown"]


def test_oldest_is_who_waits_longest_not_who_is_due_first(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock()
    ops = ops_on(clock=clock)
    with SmtpServer(script=[defer("*@slow.example")]) as smtp:
        furnish(ops, smtp)
        began = clock.now()
        send(ops, "old@slow.example")
        for _ in range(4):  # put off again and again: due last, and yet it waits longest
            ops.queue.run()
            clock.advance(3600)
        ops.queue.run()
        send(ops, "new@slow.example")
        assert ops.queue.health().oldest == began
        assert waiting(ops.queue.health(), now=clock.now(), limit=timedelta(hours=2)).state is VerdictState.FAILED


def test_a_mail_whose_date_is_to_come_waits_for_nobody(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock()
    ops = ops_on(clock=clock)
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        own_date = clock.now() + timedelta(hours=1)
        send(ops, scheduled_at=own_date)
        assert ops.queue.health().oldest is None
        clock.advance(7200)
        assert ops.queue.health().oldest == own_date


def test_more_recipients_than_the_next_server_takes_all_leave_in_one_run(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer(max_recipients=100) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        everybody = [f"u{n}@x.example" for n in range(250)]
        number = send(ops, everybody)
        report = ops.queue.run()
        assert (report.sent, report.deferred) == (1, 0)
        assert [len(message.recipients) for message in smtp.messages] == [100, 100, 50]
        assert sorted(r for message in smtp.messages for r in message.recipients) == sorted(everybody)
        # each of them is asked for once more at the most, and has one event: nothing grows with the square
        asked = [line for line in smtp.log if line.text.startswith("RCPT TO")]
        assert len(asked) == 250 + 150
        sent = [event for event in ops.queue.history(number) if event.kind == "sent"]
        assert len(sent) == 250
        assert len(ops.queue.history(number)) == 251


def test_a_server_that_ends_after_one_mail_gets_the_others_all_the_same(ops_on: Callable[..., Ops]) -> None:
    everybody = [f"u{n}@x.example" for n in range(25)]
    with SmtpServer(max_recipients=10, script=[session_limit(1)]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        send(ops, everybody)
        ops.queue.run()
        ops.queue.run()
        ops.queue.run()
        assert sorted(r for message in smtp.messages for r in message.recipients) == sorted(everybody)
        assert ops.queue.counts()[MailState.SENT] == 1


def test_a_worker_that_dies_among_the_others_sends_no_more_than_one_part_twice(ops_on: Callable[..., Ops]) -> None:
    everybody = [f"u{n}@x.example" for n in range(50)]
    replies = 0

    def die_after_the_third_body(step: str) -> None:
        nonlocal replies
        replies += step == "body"
        if replies == 3:
            raise KeyboardInterrupt

    with SmtpServer(max_recipients=10) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        send(ops, everybody)
        with pytest.raises(KeyboardInterrupt):
            ops.queue.worker(on_step=die_after_the_third_body).run()
        smtp.wait_for(3)
        before = [r for message in smtp.messages for r in message.recipients]
        assert len(before) == 30
        ops.queue.run()
        taken = Counter(r for message in smtp.messages for r in message.recipients)
        assert set(taken) == set(everybody)
        assert {r for r, times in taken.items() if times > 1} <= set(before[20:])
        assert len({message.message_id for message in smtp.messages}) == 1


@pytest.mark.parametrize("code", [452, 552])
def test_a_full_mailbox_is_not_too_many_recipients(ops_on: Callable[..., Ops], code: int) -> None:
    clock = ManualClock()
    with SmtpServer(script=[refuse("full@*", code=code, enhanced=f"{code // 100}.2.2", text="Mailbox full")]) as smtp:
        ops = ops_on(clock=clock)
        furnish(ops, smtp)
        send(ops, ["ok@x.example", "full@x.example"])
        assert ops.queue.run().handled == 1
        assert len(smtp.messages) == 1


@pytest.mark.req("OUT-25", "OUT-26")
def test_mass_mail_takes_the_dedicated_server_and_keeps_its_from(ops_on: Callable[..., Ops]) -> None:
    from mailops.model.setup import Encryption, MailClass, Server

    with SmtpServer() as daily, SmtpServer() as mass:
        ops = ops_on()
        furnish(ops, daily, priority=1)
        ops.save_server(Server("bulk", "Bulk", "127.0.0.1", mass.port, Encryption.NONE, priority=2))
        ops.set_parameter("mailops.mass_mailing.server", "bulk")
        news = send(ops, sender="News <news@elsewhere.example>", mail_class=MailClass.MASS)
        bill = send(ops)
        ops.queue.run()
        assert (ops.queue.mail(news).server_key, ops.queue.mail(bill).server_key) == ("bulk", "main")
        assert b'From: "News" <news@elsewhere.example>' in mass.messages[0].data
        assert (daily.accepted, mass.accepted) == (1, 1)


def test_the_number_of_a_removed_mail_is_never_given_away_again(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        numbers = []
        for name in ("a", "b", "c"):
            numbers.append(send(ops, f"{name}@x.example", auto_delete=True))
            ops.queue.run()
        assert numbers == sorted(set(numbers))
        assert [line.kind for line in ops.queue.history(numbers[0])] == ["submitted", "sent"]


def test_a_dead_worker_s_answer_about_a_removed_mail_is_not_taken_for_the_next_one(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        mail_id = send(ops, "bob@x.example")
        now = ops.clock.now()
        (held,) = lease.lease(ops.engine, "dead", now=now, batch=1, duration=timedelta(minutes=10), book=ops.book)
        journal = Journal(ops.workspace.journals, "dead")  # as it stands when an attempt's number was given away again
        journal.start(held.attempt_id, mail_id + 1, next(s for s in ops.setup.servers if s.key == "main"))
        journal.end(held.attempt_id, SendResult((RecipientReply("bob@x.example", 250, "2.0.0", "taken", "body"),)))
        journal.abandon()
        report = ops.queue.run()
        assert (report.recovered.released, report.recovered.settled, report.sent) == (1, 0, 1)
        assert [m.recipients for m in smtp.messages] == [("bob@x.example",)]
