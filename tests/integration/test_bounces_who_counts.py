"""Whom a report counts against: the recipient of the mail it is tied to, from when that mail left, once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from furnish import furnish

from mailops import Ops
from mailops.bounces.correlate import Clues
from mailops.bounces.reading.report import RecipientResult, Report
from mailops.store import schema
from mailops.suppression.history import history
from mailops.testing import ManualClock, SmtpServer, build_dsn, refuse

b = schema.bounces


def send(ops: Ops, smtp: SmtpServer, to: str | list[str] = "gone@x.example") -> bytes:
    """One mail; its bytes as they arrived."""
    people = [to] if isinstance(to, str) else to
    ops.send(sender="Ann <ann@acme.example>", to=people, subject="Hello", text="Hi")
    ops.queue.run()
    return bytes(smtp.messages[-1].data)


def dsn(
    original: bytes, to: str = "gone@x.example", status: str = "5.1.1", text: str = "550 5.1.1 User unknown"
) -> bytes:
    return build_dsn(original, to, status, text, "mx.x.example", to="bounce@acme.example")


def standing(ops: Ops, address: str) -> str | None:
    found = ops.suppressions.find(address)
    return found.state if found else None


def traces(ops: Ops, address: str) -> list[str]:
    with ops.engine.connect() as connection:
        found = history(connection, address, now=ops.clock.now(), policy=ops.suppressions.policy)
    return [trace.kind for trace in found]


@pytest.mark.parametrize("victim", ["ceo@customer.example", "never-mailed@other.example"])
def test_a_mail_of_ours_is_no_licence_to_suppress_others(ops_on: Callable[..., Ops], victim: str) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        send(ops, smtp, victim)
        mine = send(ops, smtp, "attacker@evil.example")
    (match,) = ops.bounces.take(dsn(mine, victim)).matches
    assert (match.by, match.confidence) == ("message-id+other", 0.75)
    assert standing(ops, victim) is None
    assert standing(ops, "attacker@evil.example") == "proposed"


def test_nor_is_its_signed_return_path(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.return_paths.sign()
        send(ops, smtp, "attacker@evil.example")
        (mail,) = smtp.messages
    bare = b"From: ann@acme.example\r\nTo: victim@x.example\r\nSubject: Hello\r\n\r\nHi\r\n"
    raw = build_dsn(bare, "victim@x.example", "5.1.1", "550 User unknown", "mx.x.example", to=mail.envelope_from)
    assert ops.bounces.take(raw).matches[0].by == "tag+other"
    assert standing(ops, "victim@x.example") is None


def test_where_the_recipient_forwards_the_forwarder_is_proposed_and_shown(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        original = send(ops, smtp, "ann2@x.example")
    ops.bounces.take(dsn(original, "old@dead.example"))
    assert standing(ops, "old@dead.example") is None
    assert standing(ops, "ann2@x.example") == "proposed"
    (row,) = ops.bounces.recent().to_dict("records")
    assert (row["recipient"], row["normalised"]) == ("old@dead.example", "ann2@x.example")


def test_a_complaint_with_a_masked_address_counts_against_the_recipient(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        original = send(ops, smtp, "ann2@x.example").replace(b"ann2@x.example", b"redacted@x.example")
    raw = (
        b"From: feedback@isp.example\r\nTo: abuse@acme.example\r\nSubject: FW: Hello\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
        b"--b\r\nContent-Type: text/plain\r\n\r\nAn abuse report.\r\n"
        b"--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nVersion: 1\r\nUser-Agent: x\r\n\r\n"
        b"--b\r\nContent-Type: message/rfc822\r\n\r\n" + original + b"\r\n--b--\r\n"
    )
    (match,) = ops.bounces.take(raw).matches
    assert (match.by, match.confidence) == ("message-id", 0.9)
    assert standing(ops, "ann2@x.example") == "active"
    assert standing(ops, "redacted@x.example") is None


def test_of_a_mixed_report_only_who_failed_counts(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        original = send(ops, smtp, ["ok@x.example", "gone@x.example"])
    good = b"Final-Recipient: rfc822; ok@x.example\r\nAction: delivered\r\nStatus: 2.0.0\r\n\r\nFinal-Recipient:"
    ops.bounces.take(dsn(original).replace(b"Final-Recipient:", good, 1))
    kinds = {row["recipient"]: row["kind"] for row in ops.bounces.recent().to_dict("records")}
    assert kinds == {"ok@x.example": "success-dsn", "gone@x.example": "bounce"}
    assert traces(ops, "ok@x.example") == []


def test_an_entry_whose_end_is_over_shields_nobody(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock()
    with SmtpServer() as smtp:
        ops = ops_on(clock=clock)
        furnish(ops, smtp)
        ops.suppressions.add("gone@x.example", until=clock.now() + timedelta(days=7), why="On leave")
        clock.advance(30 * 86_400)
        assert standing(ops, "gone@x.example") is None
        ops.bounces.take(dsn(send(ops, smtp)))
    found = ops.suppressions.find("gone@x.example")
    assert found is not None
    assert (found.state, found.hard, found.until) == ("active", True, None)


def test_what_comes_back_late_of_a_mail_from_before_the_undo_counts_no_more(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock()
    with SmtpServer() as smtp:
        ops = ops_on(clock=clock)
        furnish(ops, smtp)
        original = send(ops, smtp)
        ops.bounces.take(dsn(original))
        clock.advance(60)
        ops.suppressions.undo(["gone@x.example"])
        clock.advance(60)
        ops.bounces.take(dsn(original, text="550 5.1.1 <gone@x.example>: no such user here"))
        assert standing(ops, "gone@x.example") is None
        clock.advance(60)
        ops.bounces.take(dsn(send(ops, smtp)))
    assert standing(ops, "gone@x.example") == "active"


def test_a_webhook_without_a_mail_and_its_report_count_once(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        send(ops, smtp)
        original = send(ops, smtp)
    ops.bounces.take(dsn(original, status="5.2.2", text="552 5.2.2 Mailbox full"))
    result = RecipientResult("gone@x.example", reason="mailboxfull", rule="webhook postmark")
    with ops.engine.begin() as connection:
        taken = ops.bounces.enter(connection, Report("bounce", (result,)), Clues(), raw=b"one", source="postmark")
    assert taken.matched == 0  # two mails went there
    assert traces(ops, "gone@x.example").count("bounce") == 1
    with ops.engine.begin() as connection:
        ops.bounces.enter(connection, Report("bounce", (result,)), Clues(), raw=b"two", source="postmark")
    assert traces(ops, "gone@x.example").count("bounce") == 2


def test_an_international_domain_is_one_in_both_its_forms(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.suppressions.add("Ann@Bücher.example", scope="all", why="She asked for it.")
        number = ops.send(sender="ann@acme.example", to=["ann@bücher.example"], subject="Hello", text="Hi")
        assert ops.queue.mail(number).state.label == "Delivery Failed"
        assert ops.suppressions.undo(["ann@bücher.example"]) == ["ann@xn--bcher-kva.example"]
        original = send(ops, smtp, "ann@bücher.example")
    (match,) = ops.bounces.take(dsn(original, "ann@bücher.example")).matches
    assert match.by == "message-id+recipient"
    assert standing(ops, "ann@xn--bcher-kva.example") == "active"


def test_a_relay_that_cannot_be_found_is_nobody_s_fault(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock()
    with SmtpServer() as smtp:
        ops = ops_on(clock=clock)
        furnish(ops, smtp, host="no-such-relay.invalid")
        number = ops.send(sender="ann@acme.example", to=["fine@x.example"], subject="Hello", text="Hi")
        for _ in range(20):
            ops.queue.run()
            clock.advance(6 * 3600)
    (delivery,) = ops.queue.mail(number).deliveries
    assert delivery.state.label == "Delivery Failed"
    with ops.engine.connect() as connection:
        word = connection.execute(sa.select(schema.deliveries.c.reason)).scalar_one()
    assert word == "networkerror"
    assert standing(ops, "fine@x.example") is None


@pytest.mark.parametrize(("stage", "listed"), [("rcpt", "active"), ("mail", None), ("connect", None)])
def test_only_a_refused_recipient_is_suppressed_at_the_door(
    ops_on: Callable[..., Ops], stage: str, listed: str | None
) -> None:
    clock = ManualClock()
    with SmtpServer(script=[refuse(None, 521, "5.3.2", "Host does not accept mail", step=stage)]) as smtp:
        ops = ops_on(clock=clock)
        furnish(ops, smtp)
        ops.send(sender="ann@acme.example", to=["bob@x.example"], subject="Hello", text="Hi")
        for _ in range(20):
            ops.queue.run()
            clock.advance(6 * 3600)
    assert standing(ops, "bob@x.example") == listed


def test_a_key_that_is_gone_does_not_block_the_mailbox(
    ops_on: Callable[..., Ops], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_BOUNCE_KEY", "f3b1c2d4e5a69788")
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.return_paths.sign("env:A_BOUNCE_KEY")
        original = send(ops, smtp)
        monkeypatch.delenv("A_BOUNCE_KEY")
    assert ops.inbound.receive(dsn(original)).kind.value == "bounce"
    assert ops.return_paths.state().trouble is not None


def test_tags_of_a_former_key_stay_good(ops_on: Callable[..., Ops], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_BOUNCE_KEY", "f3b1c2d4e5a69788")
    bare = b"From: ann@acme.example\r\nTo: gone@x.example\r\nSubject: Hello\r\n\r\nHi\r\n"
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.return_paths.sign("env:A_BOUNCE_KEY")
        send(ops, smtp)
        ops.return_paths.sign()
        send(ops, smtp)
        ops.set_parameter("mailops.bounce.tag_key", None)
        paths = [mail.envelope_from for mail in smtp.messages]
    for number, path in enumerate(paths):
        raw = build_dsn(bare, "gone@x.example", "5.1.1", f"550 5.1.1 No user {number}", "mx.x.example", to=path)
        assert ops.bounces.take(raw).matches[0].by == "tag+recipient"
