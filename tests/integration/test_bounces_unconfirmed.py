"""A hard answer whose ground is weak proposes an address; the second one, to another mail, suppresses it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from furnish import furnish

from mailops import Ops
from mailops.store import schema
from mailops.testing import ManualClock, SmtpServer, refuse
from mailops.testing.dsn import build_dsn

WHO = "quiet@x.example"


def mailed(ops: Ops, smtp: Any, to: str = WHO, number: int = 1) -> bytes:
    ops.send(sender="Ann <ann@acme.example>", to=[to], subject=f"No. {number}", text="Hi", auto_delete=False)
    ops.queue.run()
    return bytes(smtp.messages[-1].data)


def vague(original: bytes, to: str = WHO, status: str = "5.1.0", text: str = "550 5.1.0") -> bytes:
    """A report that says no more than a code that is sent for anything."""
    return build_dsn(original, to, status, text, "mx.x.example", to="bounce@acme.example")


def standing(ops: Ops, address: str = WHO) -> str | None:
    found = ops.suppressions.find(address)
    return found.state if found else None


def told(ops: Ops, kind: str = "bounced") -> list[Any]:
    e = schema.events
    with ops.engine.connect() as connection:
        return list(connection.execute(sa.select(e.c.data).where(e.c.kind == kind).order_by(e.c.id)).scalars())


def test_the_first_proposes_and_the_second_to_another_mail_suppresses(ops_on: Callable[..., Ops]) -> None:
    ops = ops_on()
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        first = mailed(ops, smtp)
        ops.bounces.take(vague(first))
        (fact,) = told(ops)
        assert fact["hard"] is False
        assert "used for anything" in fact["unconfirmed"]
        proposed = ops.suppressions.find(WHO)
        assert proposed is not None
        assert (proposed.state, proposed.reason) == ("proposed", "userunknown")
        assert proposed.why.endswith("A second one decides.")
        ops.bounces.take(vague(first, text="550 5.1.0 "))  # the same sending told once more is no second voice
        assert standing(ops) == "proposed"
        ops.bounces.take(vague(mailed(ops, smtp, number=2)))
        confirmed = ops.suppressions.find(WHO)
        assert confirmed is not None
        assert (confirmed.state, confirmed.hard) == ("active", True)
        assert "2 answers agree" in confirmed.why


def test_a_clear_report_needs_no_second(ops_on: Callable[..., Ops]) -> None:
    ops = ops_on()
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        ops.bounces.take(vague(mailed(ops, smtp), status="5.1.1", text="550 5.1.1 User unknown"))
        assert standing(ops) == "active"
        assert "unconfirmed" not in told(ops)[0]


def test_a_mail_that_arrived_in_between_makes_the_second_the_first(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock()
    ops = ops_on(clock=clock)
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        ops.bounces.take(vague(mailed(ops, smtp)))
        clock.advance(timedelta(days=1).total_seconds())
        mailed(ops, smtp, number=2)
        clock.advance(timedelta(days=8).total_seconds())
        ops.bounces.take(vague(mailed(ops, smtp, number=3)))
    assert standing(ops) == "proposed"


def test_an_undo_forgets_what_waited(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock()
    ops = ops_on(clock=clock)
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        ops.bounces.take(vague(mailed(ops, smtp)))
        clock.advance(60)
        ops.suppressions.undo([WHO])
        clock.advance(60)
        ops.bounces.take(vague(mailed(ops, smtp, number=2)))
    assert standing(ops) == "proposed"


def test_two_made_up_reports_do_not_agree(ops_on: Callable[..., Ops]) -> None:
    ops = ops_on()
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        for number in (1, 2):
            mailed(ops, smtp, number=number)
        for number in (1, 2):
            original = f"From: ann@acme.example\r\nTo: {WHO}\r\nSubject: {number}\r\n\r\nHi\r\n".encode()
            ops.bounces.take(vague(original))
    assert standing(ops) in (None, "proposed")


def test_refusals_at_the_door_wait_as_reports_do(ops_on: Callable[..., Ops]) -> None:
    ops = ops_on()
    with SmtpServer(script=[refuse("door@x.example", 550, "5.1.0", "no"), refuse("gone@x.example")]) as smtp:
        furnish(ops, smtp)
        states = []
        for number in (1, 2):
            ops.send(sender="ann@acme.example", to=["door@x.example"], subject=f"No. {number}", text="Hi")
            ops.send(sender="ann@acme.example", to=["gone@x.example"], subject=f"No. {number}", text="Hi")
            ops.queue.run()
            states.append((standing(ops, "door@x.example"), standing(ops, "gone@x.example")))
    assert states == [("proposed", "active"), ("active", "active")]


def test_a_refusal_and_a_report_agree(ops_on: Callable[..., Ops]) -> None:
    ops = ops_on()
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        ops.bounces.take(vague(mailed(ops, smtp)))
        assert standing(ops) == "proposed"
    with SmtpServer(script=[refuse(WHO, 550, "5.1.0", "no")]) as smtp:
        furnish(ops, smtp)
        ops.send(sender="ann@acme.example", to=[WHO], subject="No. 2", text="Hi")
        ops.queue.run()
    assert standing(ops) == "active"


def test_reading_again_keeps_finds_and_takes_back_a_doubt(ops_on: Callable[..., Ops]) -> None:
    ops = ops_on()
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        ops.bounces.take(vague(mailed(ops, smtp)))
    assert ops.suppressions.diff() == []
    b, s = schema.bounces, schema.suppressions
    with ops.engine.begin() as connection:  # as an older rule had it, which knew no doubt
        connection.execute(sa.update(b).values(hard=True))
        connection.execute(sa.update(s).values(state="active"))
    (change,) = ops.suppressions.diff()
    assert (change.now, change.effect) == (("bounce", "userunknown", False), "propose")
    assert "hard, unconfirmed" in str(change)
    ops.suppressions.apply([change], actor="ann")
    assert standing(ops) == "proposed"
    assert ops.suppressions.diff() == []
