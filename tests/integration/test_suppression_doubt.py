"""A report that anybody could have written proposes a suppression and never makes one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import sqlalchemy as sa
from furnish import furnish

from mailops import Ops
from mailops.bounces.correlate import Clues
from mailops.store import schema
from mailops.testing import ManualClock, SmtpServer, bounce_later, build_dsn


def forged(address: str, status: str = "5.1.1", text: str = "550 5.1.1 User unknown", name: str = "Hello") -> bytes:
    """A report that names no mail of ours, only a recipient: anybody can write it."""
    original = f"From: ann@acme.example\r\nTo: {address}\r\nSubject: {name}\r\n\r\nHi\r\n".encode()
    return build_dsn(original, address, status, text, "mx.evil.example")


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


FULL = ("5.2.2", "552 5.2.2 Mailbox full")


def weekly(ops: Ops, smtp: SmtpServer, clock: ManualClock, *, real: int, made_up: int) -> None:
    """Soft bounces of one address, four days apart: made up by somebody at first, real ones at last."""
    for number in range(made_up + real):
        ops.send(sender="ann@acme.example", to=["slow@x.example"], subject=f"No. {number}", text="Hi", auto_delete=True)
        ops.queue.run()
        sent = smtp.messages[-1].data
        true = number >= made_up
        ops.bounces.take(
            build_dsn(sent, "slow@x.example", *FULL, "mx.x.example")
            if true
            else forged("slow@x.example", *FULL, name=f"No. {number}")
        )
        clock.advance(timedelta(days=8).total_seconds())


def test_soft_bounces_that_somebody_made_up_do_not_add_up_to_a_suppression(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock()
    with SmtpServer() as smtp:
        ops = ops_on(clock=clock)
        furnish(ops, smtp)
        weekly(ops, smtp, clock, real=1, made_up=4)
    assert state_of(ops, "slow@x.example") == "proposed"


def test_five_real_soft_bounces_suppress(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock()
    with SmtpServer() as smtp:
        ops = ops_on(clock=clock)
        furnish(ops, smtp)
        weekly(ops, smtp, clock, real=5, made_up=0)
    assert state_of(ops, "slow@x.example") == "active"


def test_a_mail_that_arrived_starts_the_count_anew_though_its_row_is_gone(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock()
    with SmtpServer() as smtp:
        ops = ops_on(clock=clock)
        furnish(ops, smtp)
        weekly(ops, smtp, clock, real=3, made_up=0)
        ops.send(sender="ann@acme.example", to=["Slow@x.example"], subject="Well", text="Hi", auto_delete=True)
        ops.queue.run()
        assert sum(ops.queue.counts().values()) == 0  # sent and removed
        clock.advance(timedelta(days=8).total_seconds())
        weekly(ops, smtp, clock, real=2, made_up=0)
    assert ops.suppressions.find("slow@x.example") is None


def test_a_better_rule_only_proposes_what_a_guess_says(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.send(sender="ann@acme.example", to=["victim@x.example"], subject="Hello", text="Hi")
        ops.queue.run()
        ops.bounces.take(forged("victim@x.example"))
    b, s = schema.bounces, schema.suppressions
    with ops.engine.begin() as connection:  # as an older rule had judged it
        connection.execute(sa.update(b).values(reason="mailboxfull", hard=False))
        connection.execute(sa.delete(s))
    heard: list[tuple[int, int]] = []
    (change,) = ops.suppressions.diff(lambda done, total: heard.append((done, total)))
    assert (change.effect, heard) == ("propose", [(1, 1)])
    ops.suppressions.apply([change], actor="ann")
    assert state_of(ops, "victim@x.example") == "proposed"
