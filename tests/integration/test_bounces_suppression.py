"""From a report to the suppression list and back, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from furnish import furnish

from mailops import Ops
from mailops.errors import InputRefused, NotFound
from mailops.model.states import DeliveryState, MailState
from mailops.store import schema
from mailops.suppression import lists
from mailops.testing import SmtpServer, refuse
from mailops.testing.dsn import build_dsn


def sent(ops: Ops, smtp: Any, to: str = "gone@x.example", **more: Any) -> tuple[int, bytes]:
    """A mail that was accepted, with its bytes as the other side got them."""
    mail_id = ops.send(sender="Ann <ann@acme.example>", to=[to], subject="Hi", text="Hello", **more)
    ops.queue.run()
    assert ops.queue.mail(mail_id).state is MailState.SENT
    return mail_id, smtp.messages[-1].data


def report(original: bytes, to: str = "gone@x.example", text: str = "550 5.1.1 User unknown", **more: Any) -> bytes:
    """What the other side's mail system writes about it."""
    status = more.pop("status", "5.1.1")
    return build_dsn(original, to, status, text, "mx.x.example", to="bounce@acme.example", **more)


def test_a_hard_bounce_suppresses_campaigns_and_an_undo_takes_it_back(ops_on: Callable[..., Ops]) -> None:
    ops = ops_on()
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        mail_id, original = sent(ops, smtp)
        taken = ops.bounces.take(report(original))
        assert [(m.by, m.confidence) for m in taken.matches] == [("message-id+recipient", 1.0)]
        assert ops.queue.mail(mail_id).deliveries[0].state is DeliveryState.BOUNCED
        entry = ops.suppressions.find("Gone@x.example")
        assert entry is not None
        assert (entry.scope, entry.state, entry.hard, entry.reason) == ("campaigns", "active", True, "userunknown")

        barred = ops.send(
            sender="Ann <ann@acme.example>", to=["gone@x.example"], subject="News", text="n", mail_class="mass"
        )
        mail = ops.queue.mail(barred)
        assert mail.state is MailState.FAILED
        assert mail.failure_type == "mail_bl"
        assert "Suppressed for campaigns since" in (mail.failure_reason or "")
        sent(ops, smtp)  # day-to-day mail is not held back

        assert ops.suppressions.undo([entry.id], actor="ann") == ["gone@x.example"]
        assert ops.bounces.parse(ops.bounces.raw(entry.bounce_id or 0)).kind == "bounce"  # the report is kept
        assert ops.suppressions.get(entry.id).state == "undone"
        sent(ops, smtp, mail_class="mass")
        with pytest.raises(NotFound):
            ops.suppressions.undo(["gone@x.example"])


def test_a_mail_to_several_goes_to_those_who_are_not_suppressed(ops_on: Callable[..., Ops]) -> None:
    ops = ops_on()
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        ops.suppressions.add("no@x.example", scope="all", why="Asked by phone.")
        mail_id = ops.send(sender="Ann <ann@acme.example>", to=["no@x.example", "yes@x.example"], text="x")
        ops.queue.run()
        assert [m.recipients for m in smtp.messages] == [("yes@x.example",)]
        states = {d.recipient: (d.state, d.reply or "") for d in ops.queue.mail(mail_id).deliveries}
        assert states["no@x.example"][0] is DeliveryState.FAILED
        assert "Asked by phone." in states["no@x.example"][1]
        assert states["yes@x.example"][0] is DeliveryState.SENT


def test_a_refusal_at_the_door_suppresses_and_propose_only_proposes(ops_on: Callable[..., Ops]) -> None:
    ops = ops_on()
    with SmtpServer(script=[refuse("bob@x.example"), refuse("eve@x.example")]) as smtp:
        furnish(ops, smtp)
        ops.send(sender="ann@acme.example", to=["bob@x.example"], text="x")
        ops.queue.run()
        assert ops.suppressions.find("bob@x.example").source == "reply"  # type: ignore[union-attr]
        ops.set_parameter("mailops.suppression.mode", "propose")
        ops.send(sender="ann@acme.example", to=["eve@x.example"], text="x")
        ops.queue.run()
        proposed = ops.suppressions.find("eve@x.example")
        assert proposed is not None
        assert proposed.state == "proposed"
        free = ops.send(sender="ann@acme.example", to=["eve@x.example"], text="x", mail_class="mass")
        assert ops.queue.mail(free).state is MailState.OUTGOING
        assert ops.suppressions.confirm([proposed.id]) == 1
        held = ops.send(sender="ann@acme.example", to=["eve@x.example"], text="x", mail_class="mass")
        assert ops.queue.mail(held).state is MailState.FAILED


def test_a_report_about_mail_never_ours_is_kept_and_suppresses_nobody(sqlite_ops: Ops) -> None:
    ops = sqlite_ops
    foreign = b"From: x@y.example\r\nTo: gone@x.example\r\nMessage-ID: <1@y.example>\r\n\r\nhi\r\n"
    raw = report(foreign)
    taken = ops.bounces.take(raw)
    assert (taken.report.kind, taken.matched) == ("bounce", 0)
    assert taken.matches[0].by == "no mail of ours fits"
    assert ops.bounces.take(raw).repeated
    assert len(ops.bounces.recent()) == 1
    assert ops.suppressions.find("gone@x.example") is None


def test_a_better_rule_is_shown_before_it_is_applied(ops_on: Callable[..., Ops]) -> None:
    ops = ops_on()
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        _, original = sent(ops, smtp)
        ops.bounces.take(report(original, text="452 4.2.2 Mailbox full", status="4.2.2"))
        assert ops.suppressions.find("gone@x.example") is None
        b, s = schema.bounces, schema.suppressions
        with ops.engine.begin() as connection:  # as an older rule had judged it
            connection.execute(sa.update(b).values(reason="userunknown", hard=True))
            number = connection.execute(sa.select(b.c.id)).scalar_one()
        ops.suppressions.add("gone@x.example", source="report")
        with ops.engine.begin() as connection:
            connection.execute(sa.update(s).values(bounce_id=number))
        (change,) = ops.suppressions.diff()
        assert (change.was[1], change.now[1], change.effect) == ("userunknown", "mailboxfull", "unsuppress")
        assert ops.suppressions.find("gone@x.example") is not None  # a diff changes nothing
        assert ops.suppressions.apply([change], actor="ann") == 1
        assert ops.suppressions.find("gone@x.example") is None
        assert ops.suppressions.diff() == []


def test_a_better_rule_leaves_alone_what_a_person_entered(ops_on: Callable[..., Ops]) -> None:
    ops = ops_on()
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        _, original = sent(ops, smtp)
    ops.bounces.take(report(original))
    with ops.engine.begin() as connection:  # an older rule took it for hard
        connection.execute(
            sa.update(schema.bounces).values(raw=report(original, text="452 4.2.2 Full", status="4.2.2"))
        )
    assert [change.effect for change in ops.suppressions.diff()] == ["unsuppress"]
    ops.suppressions.add("gone@x.example", scope="all", why="She phoned: no mail at all.", actor="ann")
    listed = ops.suppressions.find("gone@x.example")
    assert listed is not None
    assert (listed.why, listed.source, listed.scope) == ("She phoned: no mail at all.", "person", "all")
    changes = ops.suppressions.diff()
    assert [change.effect for change in changes] == ["none"]
    ops.suppressions.apply(changes)
    assert ops.suppressions.find("gone@x.example") is not None


def test_an_entry_by_hand_may_end_and_never_weakens_another(sqlite_ops: Ops) -> None:
    ops, day = sqlite_ops, timedelta(days=1)
    now = ops.clock.now()
    ops.suppressions.add("a@x.example", until=now + day)
    assert ops.suppressions.add("a@x.example", until=now + 3 * day).until == now + 3 * day
    assert ops.suppressions.add("a@x.example", until=now + 2 * day).until == now + 3 * day
    assert ops.suppressions.add("a@x.example").until is None
    assert ops.suppressions.add("a@x.example", until=now + day).until is None
    with pytest.raises(InputRefused) as refused:
        ops.suppressions.add("b@x.example", until=now)
    assert refused.value.code == "input.suppression_until"
    old = f"address,until\nc@x.example,{(now - day).isoformat()}\nd@x.example,{(now + day).isoformat()}\n"
    assert lists.load(ops.suppressions, old).added == 1
    for text, added in (("d@x.example", 1), (old, 0), ("d@x.example,all", 0), ("address,scope\nd@x.example,all", 1)):
        assert lists.load(ops.suppressions, text).added == added


def test_the_list_goes_out_as_csv_and_comes_back(ops_on: Callable[..., Ops]) -> None:
    ops = ops_on()
    ops.suppressions.add("=cmd@x.example", why="=1+1")
    ops.suppressions.add("b@x.example", scope="all")
    text = lists.export(ops.suppressions.page()[0])
    assert "'=cmd@x.example" in text
    other = lists.load(ops.suppressions, text)
    assert (other.added, other.present) == (0, 2)
    more = lists.load(ops.suppressions, "c@x.example\nnonsense\nd@x.example\n")
    assert (more.added, more.refused) == (2, ("line 2: nonsense",))
    assert ops.suppressions.page(text="c@x")[1] == 1
    with pytest.raises(InputRefused):
        ops.suppressions.add("nobody")
    with pytest.raises(InputRefused):
        ops.suppressions.page(state="gone")


def test_who_is_suppressed_after_a_campaign_was_queued_gets_none_of_it(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        values: dict[str, Any] = {"sender": "ann@acme.example", "subject": "News", "text": "Hi", "mail_class": "mass"}
        alone = ops.send(to=["gone@x.example"], **values)
        both = ops.send(to=["Gone@x.example", "bob@x.example"], **values)
        daily = ops.send(to=["gone@x.example"], sender="ann@acme.example", subject="Your question", text="Hi")
        ops.suppressions.add("gone@x.example")
        report = ops.queue.run()
        assert (report.sent, report.failed) == (2, 0)  # what is held back is no attempt
        assert sorted(m.recipients for m in smtp.messages) == [("bob@x.example",), ("gone@x.example",)]
    held = ops.queue.mail(alone)
    assert (held.state.label, held.failure_type) == ("Delivery Failed", "mail_bl")
    assert (held.deliveries[0].stage, held.attempts) == ("suppression", 0)
    assert "Suppressed for campaigns" in (held.failure_reason or "")
    assert {x.recipient: x.state.label for x in ops.queue.mail(both).deliveries} == {
        "Gone@x.example": "Delivery Failed",
        "bob@x.example": "Sent",
    }
    assert ops.queue.mail(daily).state.label == "Sent"
    assert ops.analysis.overall().returned == 0  # nobody returned anything
    assert [line.kind for line in ops.queue.history(alone)] == ["submitted", "barred"]


def test_a_retry_does_not_reach_who_gets_no_mail_at_all(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer(script=[refuse("gone@x.example", 550, "5.7.1", "No", first=1)]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        number = ops.send(to=["gone@x.example"], sender="ann@acme.example", subject="Hello", text="Hi")
        ops.queue.run()
        ops.suppressions.add("gone@x.example", scope="all")
        assert ops.queue.retry(number).count == 1
        ops.queue.run()
        assert smtp.messages == []
        assert ops.queue.mail(number).deliveries[0].stage == "suppression"
        ops.suppressions.undo(["gone@x.example"])
        ops.queue.retry(number)
        ops.queue.run()
        assert [m.recipients for m in smtp.messages] == [("gone@x.example",)]


def test_a_whole_batch_of_suppressed_recipients_does_not_end_the_run(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        values: dict[str, Any] = {"sender": "ann@acme.example", "subject": "News", "text": "Hi", "mail_class": "mass"}
        for number in range(5):
            ops.send(to=[f"gone{number}@x.example"], **values)
        ops.send(to=["bob@x.example"], **values)
        for number in range(5):
            ops.suppressions.add(f"gone{number}@x.example")
        ops.queue._batch = 2
        assert ops.queue.run().sent == 1
        assert ops.queue.counts()[MailState.OUTGOING] == 0
