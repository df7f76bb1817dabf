"""What-if: when each mail leaves, against a real run of the same on the controllable clock, mail by mail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from furnish import furnish
from test_campaigns import cli, make, people

from mailops import Ops
from mailops.campaigns.whatif import WhatIf
from mailops.errors import InputRefused, NotFound
from mailops.model.setup import Encryption, MailClass
from mailops.model.states import MailState, Rank
from mailops.queue import job
from mailops.queue.job import AWAKE
from mailops.store import schema
from mailops.testing import ManualClock, SmtpServer, refuse
from mailops.widgets.schedules_view import WhatIfCard

AT = datetime(2026, 11, 30, 9, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
e = schema.events


def drive(ops: Ops, clock: ManualClock, until: datetime) -> None:
    """As ``mailops serve`` attends the queue: its own functions, on the clock of the test, which goes on to the next
    moment at which something may be due."""
    minutes = ops.workspace.settings.queue.interval_minutes
    job.ran(ops.engine, clock.now())
    while clock.now() < until and ops.queue.counts()[MailState.OUTGOING] + waiting(ops):
        now = clock.now()
        due = job.job_due(job.times(ops.engine), now=now, minutes=minutes)
        if due:
            job.ran(ops.engine, now)
        ops.queue.worker().run(ranks=tuple(Rank) if due else AWAKE)
        now = clock.now()
        if not job.job_due(job.times(ops.engine), now=now, minutes=minutes):
            clock.advance((following(ops, now, minutes) - now).total_seconds())


def following(ops: Ops, now: datetime, minutes: int) -> datetime:
    """The next moment at which something may be due."""
    h, lanes, m = schema.holds, schema.lane_holds, schema.mails
    times = [job.next_job(now, minutes)]
    with ops.engine.connect() as connection:
        for column, *where in ((h.c.until,), (lanes.c.until,), (m.c.due_at, m.c.state == "outgoing")):
            found = connection.execute(sa.select(sa.func.min(column)).where(column > now, *where)).scalar()
            times += [found] if found else []
    return min(times)


def waiting(ops: Ops) -> int:
    return sum(one.counts["waiting"] for one in ops.campaigns.all() if one.state in ("queued", "sending"))  # type: ignore[index]


def left(ops: Ops) -> dict[str, tuple[str, datetime]]:
    """What really became of each recipient, and when."""
    query = (
        sa.select(e.c.recipient, e.c.kind, e.c.at).where(e.c.kind.in_(["sent", "failed", "barred"])).order_by(e.c.id)
    )
    with ops.engine.connect() as connection:
        found = {str(who): ("sent" if kind == "sent" else "failed", at) for who, kind, at in connection.execute(query)}
    return found


def facts(ops: Ops) -> int:
    with ops.engine.connect() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(e)).scalar_one())


def agree(told: WhatIf, real: dict[str, tuple[str, datetime]], within: timedelta = timedelta(seconds=5)) -> None:
    """Mail by mail: the same fate at the same time."""
    expected = {one.recipient: one for one in told.mails}
    assert set(expected) == set(real)
    for who, (kind, at) in real.items():
        one = expected[who]
        assert one.what == {"sent": "leaves", "failed": "fails"}[kind], (who, one, kind)
        assert one.at is not None
        assert timedelta(seconds=-1) <= at - one.at <= within, (who, one.at, at)


def house(ops_factory: Callable[..., Ops], smtp: SmtpServer, **more: Any) -> tuple[Ops, ManualClock]:
    clock = ManualClock(AT)
    ops = ops_factory(clock=clock)
    furnish(ops, smtp, max_sessions=1, **more)
    return ops, clock


def put(ops: Ops, who: str, **more: Any) -> int:
    return ops.send(**{"sender": "ann@acme.example", "to": f"{who}@x.example", "text": "t", **more})


@pytest.mark.req("LIM-03", "CAM-06")
def test_it_agrees_with_a_real_run_mail_by_mail(ops_factory: Callable[..., Ops]) -> None:
    """Two servers, a day's limit, day-to-day mail, its own times, mass mail, two campaigns, a held domain."""
    with SmtpServer() as smtp, SmtpServer() as other:
        ops, clock = house(ops_factory, smtp)
        ops.change_server(
            "free",
            host="127.0.0.1",
            port=other.port,
            encryption=Encryption.NONE,
            from_filter="free.example",
            max_sessions=1,
        )
        ops.limits.set("main", count=12, per="day")
        for n in range(3):
            put(ops, f"daily{n}")
        put(ops, "later", scheduled_at=AT + timedelta(hours=3))
        put(ops, "mass", mail_class=MailClass.MASS, sender="bob@free.example")
        put(ops, "held", to="held@slow.example")
        ops.queue.hold("slow.example", timedelta(hours=5))
        make(ops, "one", people(15))
        make(ops, "two", people(4, "y.example"), sender="bob@free.example")
        ops.campaigns.send("two")
        ops.campaigns.send("one")
        before = facts(ops)
        told = ops.what_if()
        assert facts(ops) == before, "nothing is written"
        drive(ops, clock, AT + timedelta(days=4))
        real = left(ops)
        assert len(real) == 25
        agree(told, real, timedelta(seconds=5))
        assert told.order == ("one", "two")
        assert told.empty_at is not None
        assert told.empty_at > AT + timedelta(days=1)


def test_a_rolling_window_agrees_to_the_second(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops, clock = house(ops_factory, smtp)
        ops.limits.set("main", count=5, per="minute")
        make(ops, "one", people(33))
        ops.campaigns.send("one")
        put(ops, "daily")
        told = ops.what_if()
        drive(ops, clock, AT + timedelta(days=1))
        assert [one.recipient for one in told.mails] == [message.recipients[0] for message in smtp.messages]
        u = schema.limit_uses
        with ops.engine.connect() as connection:  # the ledger writes in groups, and this clock leaps meanwhile
            answered = connection.execute(sa.select(u.c.closed_at).order_by(u.c.id)).scalars().all()
        for one, at in zip(told.mails, answered, strict=True):
            assert one.at is not None
            assert abs(at - one.at) <= timedelta(seconds=3), (one, at)
        assert told.count("leaves") == 34
        assert told.empty_at == AT + 6 * MINUTE


@pytest.mark.req("LIM-02", "LIM-03")
def test_what_is_beyond_the_hosted_day_fails_in_both(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as hosted:
        clock = ManualClock(AT)
        ops = ops_factory(clock=clock)
        ops.change_profile(hosting="online", database="acme")
        ops.change_server(
            "hosted", host="127.0.0.1", port=hosted.port, encryption=Encryption.NONE, provider="hosted", max_sessions=1
        )
        ops.change_server(
            "own",
            host="127.0.0.1",
            port=hosted.port,
            encryption=Encryption.NONE,
            from_filter="acme.example",
            priority=50,
        )
        ops.set_parameter("mailops.limits.subscription", "one_app_free")
        for n in range(23):
            put(ops, f"u{n}", sender="a@acme.odoo.com")
        told = ops.what_if()
        assert (told.count("leaves"), told.count("fails")) == (20, 3)
        assert "The daily limit of 20 mails is reached" in told.sentence
        way_out = ops.what_if(servers={"hosted": "own"})
        assert (way_out.count("leaves"), way_out.count("fails")) == (0, 23), (
            "the router says what it says of the real one"
        )
        assert "is to send as acme.odoo.com, whose DNS cannot be changed" in way_out.sentence
        assert way_out.as_it_is is not None
        assert way_out.as_it_is.count("fails") == 3
        drive(ops, clock, AT + timedelta(hours=2))
        agree(told, left(ops))


@pytest.mark.req("CAM-06")
def test_a_cancel_an_interval_and_a_limit_as_they_would_be(ops_factory: Callable[..., Ops]) -> None:
    """The scenario is done for real afterwards, and agrees."""
    with SmtpServer([refuse("never@*")]) as smtp:
        ops, clock = house(ops_factory, smtp)
        for key in ("one", "two", "three"):
            make(ops, key, people(5, f"{key}.example"))
            ops.campaigns.send(key)
        ops.campaigns.pause("one")
        as_it_is = ops.what_if()
        assert (as_it_is.count("leaves"), as_it_is.count("stays")) == (0, 15)
        assert "15 stay" in as_it_is.sentence
        assert "campaign one is before it" in {one.why for one in as_it_is.mails}
        told = cli(ops, "queue", "what-if", "--cancel", "one", "--limit", "main=4/hour", "--every", "10", "--json")
        assert (told["leaves"], told["fails"], told["stays"], told["order"]) == (10, 0, 0, ["two", "three"])
        assert (
            told["scenario"] == "campaign one cancelled, the queue job every 10 minutes, main at 4 messages in 3600 s"
        )
        assert told["as_it_is"]["stays"] == 15
        found = ops.what_if(cancel=["one"], limits=[limit("main", 4, 3600)], minutes=10)
        assert len(found.frame()) == 10
        ops.campaigns.cancel("one")
        ops.limits.set("main", count=4, per="hour")
        ops.scheduled.every("queue", 10)
        drive(ops, clock, AT + timedelta(days=1))
        agree(found, left(ops), timedelta(seconds=5))


def limit(server: str, count: int, seconds: float) -> Any:
    from mailops.limits.values import Own

    return Own(server, "messages", seconds, count)


def test_the_interval_moves_what_waits_for_the_job(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops, clock = house(ops_factory, smtp)
        put(ops, "mass", mail_class=MailClass.MASS)
        assert ops.what_if().empty_at == AT.replace(minute=15)
        assert ops.what_if(minutes=60).empty_at == AT.replace(hour=10, minute=0)
        assert (
            "the queue is empty at 2026-11-30 09:15:00 UTC; then at 2026-11-30 10:00:00 UTC."
            in ops.what_if(minutes=60).sentence
        )
        asked = WhatIfCard(ops.what_if(minutes=60))
        assert asked.chart is not None
        assert [asked.found.waiting([AT, AT.replace(hour=10)]), ops.what_if().waiting([AT.replace(minute=15)])] == [
            [1, 0],
            [0],
        ]
        assert "Mails that still wait (UTC)" in asked.html()
        assert "as it is" in asked.html()
        told = ops.what_if()
        drive(ops, clock, AT + timedelta(hours=2))
        agree(told, left(ops))


def test_who_was_suppressed_meanwhile_and_what_cannot_be_routed_fail(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops, clock = house(ops_factory, smtp)
        put(ops, "gone", mail_class=MailClass.MASS)
        put(ops, "fine", mail_class=MailClass.MASS)
        ops.suppressions.add("gone@x.example", why="asked")
        told = ops.what_if()
        assert {one.recipient: one.what for one in told.mails} == {
            "gone@x.example": "fails",
            "fine@x.example": "leaves",
        }
        drive(ops, clock, AT + timedelta(hours=2))
        assert smtp.accepted == 1


def test_what_is_named_in_vain_is_refused(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops, _ = house(ops_factory, smtp)
        for wrong in (["--cancel", "none"], ["--server", "none"], ["--limit", "none=3/day"]):
            with pytest.raises(NotFound):
                cli(ops, "queue", "what-if", *wrong)
        for bad in (["--limit", "main"], ["--limit", "main=many/day"], ["--every", "4"]):
            with pytest.raises(InputRefused):
                cli(ops, "queue", "what-if", *bad)


def test_twenty_thousand_are_walked_in_seconds(ops_factory: Callable[..., Ops]) -> None:
    import time

    with SmtpServer() as smtp:
        ops, _ = house(ops_factory, smtp)
        make(ops, "big", people(20_000))
        ops.campaigns.send("big")
        ops.limits.set("main", count=2_000, per="day")
        began = time.process_time()
        told = ops.what_if()
        print(f"{time.process_time() - began:.1f} s of the processor for 20,000")
        assert told.count("leaves") == 20_000
        assert told.empty_at is not None
        assert told.empty_at >= AT + timedelta(days=9)
        assert time.process_time() - began < 20
