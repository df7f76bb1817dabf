"""Every 250 ends delivered or reported: what a submitter hears, once a mail, and what it does not hear and why."""

from __future__ import annotations

import email
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from furnish import furnish
from relay_kit import MAIL, handing_over, relayed, told

from mailops import Ops
from mailops.bounces.reading import parse
from mailops.model.mail import Submission
from mailops.model.setup import AliasDomain, BouncePolicy, Company, RetryPolicy
from mailops.model.states import MailState
from mailops.relay.decide import whether
from mailops.testing import SmtpServer, build_dsn, defer, refuse
from mailops.testing.clock import ManualClock

PROGRAM = "list-bounces+7@acme.example"
GONE = refuse("gone*@*", 550, "5.1.1", "No such user here")


def hand_over(ops: Ops, *to: str, path: str = PROGRAM, bounces: BouncePolicy = BouncePolicy.KEEP, **more: Any) -> int:
    raw = MAIL.format(sender="Ann <ann@acme.example>").encode()
    return ops.queue.submit(
        Submission(raw=raw, envelope_to=to, return_path=path, bounces=bounces, origin="smtp", **more)
    )


def reports(smtp: SmtpServer) -> list[Any]:
    return [m for m in smtp.messages if b"multipart/report" in m.data]


def test_a_refusal_after_250_comes_back_to_the_program_as_a_report(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer([GONE]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        relayed(ops, PROGRAM, to=("bob@x.example", "gone@x.example"))
        ops.queue.run()
        assert list(smtp.messages[0].recipients) == ["bob@x.example"]
        [got] = reports(smtp)
        ops.queue.run()
        assert len(reports(smtp)) == 1  # once
    assert (got.envelope_from, list(got.recipients)) == ("", [PROGRAM])
    message = email.message_from_bytes(got.data)
    assert message["Auto-Submitted"] == "auto-replied"
    status, headers = message.get_payload()[1], message.get_payload()[2]
    assert headers.get_content_type() == "text/rfc822-headers"
    assert b"Subject: Hi" in headers.get_payload(decode=True)
    assert b"Hello" not in got.data  # headers only
    fields = status.get_payload()[1]
    assert (fields["Final-Recipient"], fields["Action"], fields["Status"]) == (
        "rfc822; gone@x.example",
        "failed",
        "5.1.1",
    )
    read = parse(got.data)
    [found] = read.results
    assert (found.recipient, found.status, found.reason) == ("gone@x.example", "5.1.1", "userunknown")
    assert ops.queue.mail(1).state is MailState.SENT
    [line] = told(ops, "queue", "show", "1")["reports"]
    assert (line["state"], line["address"], line["report_id"]) == ("told", PROGRAM, 2)
    assert [h.kind for h in ops.queue.history(1)][-1] == "submitter_told"


def test_giving_up_is_reported_and_nobody_hears_while_somebody_waits(ops_factory: Callable[..., Ops]) -> None:
    clock = ManualClock()
    with SmtpServer([GONE, defer("grey@*", 450, "4.7.1", "Come back later")]) as smtp:
        ops = ops_factory(clock=clock)
        furnish(ops, smtp, retry=RetryPolicy(60, 60, 3_600))
        hand_over(ops, "gone@x.example", "grey@x.example")
        ops.queue.run()
        assert not reports(smtp)
        for _ in range(4):
            clock.advance(3_000)
            ops.queue.run()
        [got] = reports(smtp)
    found = {r.recipient: r.status for r in parse(got.data).results}
    assert found == {"gone@x.example": "5.1.1", "grey@x.example": "4.7.1"}


@pytest.mark.parametrize("path", ["<>", "bounce@acme.example"])
def test_no_report_answers_a_report_and_none_goes_to_ourselves(ops_on: Callable[..., Ops], path: str) -> None:
    with SmtpServer([GONE]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        hand_over(ops, "gone@x.example", path=path)
        ops.queue.run()
        ops.queue.run()
        assert ops.queue.page().total == 1
    [line] = told(ops, "serve", "reports", "--state", "withheld")["reports"]
    assert "null envelope sender" in line["why"] if path == "<>" else "of ours" in line["why"]


def test_a_report_that_fails_makes_no_second_one(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer([GONE]) as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        hand_over(ops, "gone@x.example", path="gone2@acme.example")
        for _ in range(3):
            ops.queue.run()
        assert smtp.accepted == 0
    assert ops.queue.page().total == 2
    assert ops.reports.counts() == {"due": 0, "told": 1, "withheld": 0}


def test_mail_of_our_own_tells_nobody(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer([GONE]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.send(sender="ann@acme.example", to="gone@x.example", text="Hi")
        ops.queue.run()
    assert ops.queue.page().total == 1
    assert ops.reports.counts() == {"due": 0, "told": 0, "withheld": 0}


def test_off_means_off(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer([GONE]) as smtp:
        ops = ops_factory(toml="\n[serve]\nreports = false\n")
        furnish(ops, smtp)
        hand_over(ops, "gone@x.example")
        ops.queue.run()
    assert ops.queue.page().total == 1
    assert "reports are off" in str(ops.reports.listing()[0].why)


def test_a_storm_waits_its_turn_and_what_waited_too_long_says_so(ops_factory: Callable[..., Ops]) -> None:
    clock = ManualClock()
    with SmtpServer([GONE]) as smtp:
        ops = ops_factory(clock=clock, toml="\n[serve]\nreports_per_hour = 3\n")
        furnish(ops, smtp)
        for number in range(8):
            hand_over(ops, f"gone{number}@x.example")
        hand_over(ops, "gone@x.example", path="other@acme.example")
        ops.queue.run()
        assert ops.reports.counts() == {"due": 5, "told": 4, "withheld": 0}  # another program does not wait for it
        clock.advance(3_601)
        ops.queue.run()
        assert ops.reports.counts() == {"due": 2, "told": 7, "withheld": 0}
        ops.clock.advance(1)  # type: ignore[attr-defined]
        ops.queue.run()
        assert len(reports(smtp)) == 7
        clock.advance(timedelta(days=3).total_seconds())
        hand_over(ops, *[f"gone{n}@x.example" for n in range(3)])
        ops.queue.run()
    assert ops.reports.counts()["due"] == 0


@pytest.mark.parametrize(("policy", "passed_on"), [("keep", False), ("ours", False), ("both", True)])
def test_what_comes_back_later_is_passed_on_where_both_are_to_know(
    ops_on: Callable[..., Ops], policy: str, passed_on: bool
) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        hand_over(ops, "bob@x.example", bounces=BouncePolicy(policy))
        ops.queue.run()
        [mail] = smtp.messages
        ops.bounces.take(build_dsn(mail.data, "bob@x.example", "5.1.1", "550 5.1.1 No such user", "mx.x.example"))
        ops.queue.run()
        assert len(reports(smtp)) == passed_on
        if passed_on:
            assert parse(reports(smtp)[0].data).results[0].status == "5.1.1"


def test_a_path_the_filter_did_not_hold_hears_of_what_came_to_us_in_its_place(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        hand_over(ops, "bob@x.example", path="odoobounce@erp.example")
        ops.queue.run()
        [mail] = smtp.messages
        ops.bounces.take(build_dsn(mail.data, "bob@x.example", "5.1.1", "550 5.1.1 No such user", "mx.x.example"))
        ops.queue.run()
        [got] = reports(smtp)
    assert list(got.recipients) == ["odoobounce@erp.example"]


def test_each_company_reports_as_itself_and_a_mailbox_server_as_what_it_may(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer([GONE]) as smtp:
        ops = ops_factory()
        furnish(ops, smtp, from_filter=None)
        second = ops.save_alias_domain(AliasDomain("second.example"))
        ops.save_company(Company("two", "Two", alias_domain=second))
        hand_over(ops, "gone@x.example", company="two")
        ops.queue.run()
        server = next(s for s in ops.setup.servers if s.key == "main")
        ops.save_server(replace(server, from_filter="notifications@acme.example"))
        hand_over(ops, "gone@x.example")
        ops.queue.run()
        first, then = reports(smtp)
    assert b"<bounce@second.example>" in first.data or b"<notifications@second.example>" in first.data
    assert b"From: Mail Delivery System <notifications@acme.example>" in then.data


def test_what_a_person_tries_again_in_time_is_not_reported(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer([GONE]) as strict, SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, strict)
        mail_id = hand_over(ops, "gone@x.example")
        ops.queue.run(ids=[mail_id])  # a run for one mail tells nobody yet
        assert ops.reports.counts()["due"] == 1
        ops.queue.retry(mail_id)
        assert ops.reports.counts()["due"] == 0
        furnish(ops, smtp)
        ops.queue.run()
        assert ops.queue.mail(mail_id).state is MailState.SENT
    assert not reports(smtp)


def test_a_recipient_suppressed_meanwhile_is_reported(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        hand_over(ops, "bob@x.example")
        ops.suppressions.add("bob@x.example", scope="all", why="asked us to stop")
        ops.queue.run()
        ops.queue.run()
        [got] = reports(smtp)
    assert parse(got.data).results[0].status == "5.7.1"
    assert b"asked us to stop" in got.data.replace(b"=\r\n", b"")


def test_the_listener_of_a_real_process_reports_without_being_asked(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer([GONE]) as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        with handing_over(ops, "--queue-every", "0.2") as client:
            client.sendmail(PROGRAM, ["gone@x.example"], MAIL.format(sender="ann@acme.example"))
            smtp.wait_for(1, timeout=20)
        assert list(reports(smtp)[0].recipients) == [PROGRAM]


def test_umlauts_in_headers_and_addresses_leave_as_seven_bit(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer([GONE]) as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        raw = "From: ann@acme.example\r\nTo: x@x.example\r\nSubject: Grüße =?utf-8?q?=C3=A4?=\r\n\r\nHällo\r\n"
        ops.queue.submit(
            Submission(
                raw=raw.encode(),
                envelope_to=("gonä@x.example", "gone@bücher.example"),
                return_path=PROGRAM,
                bounces=BouncePolicy.KEEP,
                origin="smtp",
            )
        )
        ops.queue.run()
    stored = ops.queue.raw(2)
    assert stored.isascii()
    assert b"utf-8; gon\\x{E4}@x.example" in stored or b"gone@xn--bcher-kva.example" in stored


def test_the_decision_names_its_reason() -> None:
    asked: dict[str, Any] = {
        "path": PROGRAM,
        "policy": BouncePolicy.KEEP,
        "left_with": PROGRAM,
        "ours": {"b@a.example"},
    }
    assert whether("failed", **asked).tell
    assert not whether("bounced", **asked).tell
    assert whether("bounced", **{**asked, "left_with": "b@a.example"}).tell
    assert not whether("bounced", **{**asked, "left_with": "b@a.example", "policy": BouncePolicy.OURS}).tell
    for change in ({"path": "<>"}, {"path": None}, {"path": "B@A.example"}, {"path": "no address"}, {"wanted": False}):
        choice = whether("failed", **{**asked, **change})
        assert (choice.tell, bool(choice.why)) == (False, True)
