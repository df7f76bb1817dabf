"""What left by account and when, and limits that people set; a permit is a row before the first byte.

Each function is a transaction of its own, one at a time: a permit is given only where it is certain that the window has
room, whichever process asks. A process that dies amid a mail leaves its row open, which counts for a while more
(:data:`STALE`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..store import schema
from ..store.database import alone, dialect_insert, explained, reading
from .values import DAY, Own, Window, frees_at

u, o = schema.limit_uses, schema.server_limits
STALE = timedelta(seconds=300)
AGAIN = timedelta(seconds=0.2)
"""After how long is asked again where only an answer under way can make room."""
_ALONE = 7312054


@dataclass(frozen=True, slots=True)
class Permit:
    """One mail may leave."""

    id: int


@dataclass(frozen=True, slots=True)
class Full:
    """A window has no room: until when, as far as it is known."""

    window: Window
    until: datetime


def take(
    engine: Engine, account: str, windows: Sequence[Window], *, messages: int, recipients: int, now: datetime
) -> Permit | Full:
    """A permit for a mail of so many messages and recipients, or which window is full."""
    need = {"messages": messages, "recipients": recipients}
    with explained("asking for a permit"), engine.begin() as connection:
        alone(connection, _ALONE)
        full = [one for window in windows if (one := _full(connection, account, window, need[window.of], now))]
        if full:
            return max(full, key=lambda one: one.until)
        row = {"account": account, "taken_at": now, "messages": messages, "recipients": recipients}
        made = connection.execute(sa.insert(u).values(**row)).inserted_primary_key
        assert made is not None
        if int(made[0]) % 500 == 0:
            connection.execute(sa.delete(u).where(u.c.taken_at < now - timedelta(seconds=2 * DAY)))
        return Permit(int(made[0]))


def _full(connection: Connection, account: str, window: Window, need: int, now: datetime) -> Full | None:
    unit = u.c[window.of]
    closed = (u.c.account == account, u.c.closed_at > window.begin(now))
    under_way = (u.c.account == account, u.c.closed_at.is_(None), u.c.taken_at > now - STALE)
    # both in one statement: what is answered between two of them would stand in neither
    both = sa.union_all(*(sa.select(unit.label("units")).where(*which) for which in (closed, under_way))).subquery()
    total = int(connection.execute(sa.select(sa.func.coalesce(sa.func.sum(both.c.units), 0))).scalar_one())
    if total == 0 or total + need <= window.count:
        return None
    uses = uses_of(connection, account, window, now)
    until = frees_at(window, uses, need, now)
    return Full(window, max(until, now + AGAIN) if until <= now else until)


def uses_of(connection: Connection, account: str, window: Window, now: datetime) -> list[tuple[datetime, int]]:
    """What was answered in a window, oldest first."""
    query = sa.select(u.c.closed_at, u.c[window.of]).where(u.c.account == account, u.c.closed_at > window.begin(now))
    return [(at, int(units)) for at, units in connection.execute(query.order_by(u.c.closed_at))]


def close(engine: Engine, permit: Permit, now: datetime) -> None:
    """The mail had its answer: it counts from now on for a whole window."""
    with explained("noting what left"), engine.begin() as connection:
        connection.execute(sa.update(u).where(u.c.id == permit.id).values(closed_at=now))


def used(engine: Engine, account: str, windows: Sequence[Window], now: datetime) -> list[list[tuple[datetime, int]]]:
    """The uses of each window, with what is under way as used now."""
    with explained("reading what left"), reading(engine) as connection:
        under_way = sa.select(sa.func.sum(u.c.messages), sa.func.sum(u.c.recipients)).where(
            u.c.account == account, u.c.closed_at.is_(None), u.c.taken_at > now - STALE
        )
        open_units: Any = connection.execute(under_way).one()
        more = {"messages": int(open_units[0] or 0), "recipients": int(open_units[1] or 0)}
        found = []
        for window in windows:
            uses = uses_of(connection, account, window, now)
            found.append([*uses, (now, more[window.of])] if more[window.of] else uses)
        return found


def own(engine: Engine) -> list[Own]:
    """The limits that people set."""
    with explained("reading limits"), reading(engine) as connection:
        query = sa.select(o.c.server_key, o.c.of, o.c.seconds, o.c.count).order_by(o.c.server_key, o.c.seconds)
        return [
            Own(str(key), str(of), float(seconds), int(count)) for key, of, seconds, count in connection.execute(query)
        ]


def put(engine: Engine, limit: Own, now: datetime) -> None:
    """Set a limit; one with the same unit and seconds is replaced."""
    with explained("setting a limit"), engine.begin() as connection:
        row = {"server_key": limit.server, "of": limit.of, "seconds": limit.seconds}
        values = {"count": limit.count, "changed_at": now}
        made = dialect_insert(engine)(o).values(**row, **values)
        connection.execute(made.on_conflict_do_update(index_elements=[o.c[name] for name in row], set_=values))


def clear(engine: Engine, server: str) -> int:
    """Remove what was set for a server; how many."""
    with explained("removing limits"), engine.begin() as connection:
        return connection.execute(sa.delete(o).where(o.c.server_key == server)).rowcount
