"""A report that anybody could have written proposes a suppression and never makes one."""

from __future__ import annotations

from collections.abc import Callable

from furnish import furnish

from mailops import Ops
from mailops.bounces.correlate import Clues
from mailops.testing import SmtpServer, bounce_later, build_dsn


def forged(address: str) -> bytes:
    """A report that names no mail of ours, only a recipient: anybody can write it."""
    original = f"From: ann@acme.example\r\nTo: {address}\r\nSubject: Hello\r\n\r\nHi\r\n".encode()
    return build_dsn(original, address, "5.1.1", "550 5.1.1 User unknown", "mx.evil.example")


def state_of(ops: Ops, address: str) -> str:
    found = ops.suppressions.find(address)
    assert found is not None
    return str(found.state)


def test_a_report_tied_by_recipient_and_time_alone_only_proposes(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer(script=[bounce_later("gone@x.example", "5.1.1", "User unknown")]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        for name in ("gone", "victim"):
            ops.send(sender="Ann <ann@acme.example>", to=[f"{name}@x.example"], subject="Hello", text="Hi")
        ops.queue.run()
        ops.bounces.take(smtp.pending_bounces()[0].data)
        taken = ops.bounces.take(forged("victim@x.example"))
        assert [match.by for match in taken.matches] == ["recipient+time"]
    real, guess = (ops.suppressions.find(f"{name}@x.example") for name in ("gone", "victim"))
    assert real is not None
    assert real.state == "active"
    assert guess is None or guess.state == "proposed"
    states = {row["address"]: row["state"] for row in ops.suppressions.frame().to_dict("records")}
    assert states == {"gone@x.example": "active", "victim@x.example": "proposed"}


def test_a_forged_report_does_not_hold_the_real_one_off(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer(script=[bounce_later("gone@x.example", "5.1.1", "User unknown")]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.send(sender="Ann <ann@acme.example>", to=["gone@x.example"], subject="Hello", text="Hi")
        ops.queue.run()
        ops.bounces.take(forged("gone@x.example"))
        assert state_of(ops, "gone@x.example") == "proposed"
        ops.bounces.take(smtp.pending_bounces()[0].data)
    assert state_of(ops, "gone@x.example") == "active"


def test_a_verified_event_suppresses_whichever_mail_it_speaks_of(ops_on: Callable[..., Ops]) -> None:
    ops = ops_on()
    report = ops.bounces.parse(forged("hook@x.example"))
    with ops.engine.begin() as connection:
        ops.bounces.enter(connection, report, Clues(), raw=b"event-1", source="webhook")
    assert state_of(ops, "hook@x.example") == "active"
