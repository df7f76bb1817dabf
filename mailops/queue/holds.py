"""Holds: mail to a recipient domain that waits until a time, whatever else is due (the domain's servers are down, or
said that they have enough). A lease passes over it, so that it holds up nobody; *Send Now* and urgent mail go all the
same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..errors import InputRefused, NotFound
from ..model.address import ascii_domain
from ..store import schema
from ..store.database import dialect_insert, explained, reading
from .job import wake

LEARNT, LONGEST = "answer", timedelta(hours=1)
"""Who says so of a hold that an answer made, and the longest of these."""
h, lh = schema.holds, schema.lane_holds


@dataclass(frozen=True, slots=True)
class Hold:
    """A held domain: until when, why in words, and who said so."""

    domain: str
    until: datetime
    why: str
    actor: str | None
    created_at: datetime


def hold(engine: Engine, domain: str, until: datetime, *, why: str, actor: str | None, now: datetime) -> Hold:
    """Hold mail to a domain; a hold that is there is replaced. Raises :class:`InputRefused`."""
    name = ascii_domain(domain.strip().rstrip(".").lower()) or ""
    if "." not in name:
        raise InputRefused(
            f"{domain!r} is no mail domain.",
            code="queue.hold_domain",
            facts={"domain": domain},
            fix="Give a recipient domain, such as example.org.",
        )
    if until <= now:
        raise InputRefused(
            "The end of the hold is past.",
            code="queue.hold_past",
            facts={"until": until.isoformat(), "now": now.isoformat()},
            fix="Give a time to come.",
        )
    made = Hold(name, until, why, actor, now)
    values = {"until": until, "why": why, "actor": actor, "created_at": now}
    with explained("holding a domain"), engine.begin() as connection:
        connection.execute(sa.delete(h).where(h.c.until <= now))
        row = dialect_insert(engine)(h).values(domain=name, **values)
        connection.execute(row.on_conflict_do_update(index_elements=[h.c.domain], set_=values))
    return made


def end(engine: Engine, domain: str) -> None:
    """End a hold early. Raises :class:`NotFound`."""
    name = ascii_domain(domain.strip().rstrip(".").lower()) or domain
    with explained("ending a hold"), engine.begin() as connection:
        ended = connection.execute(sa.delete(h).where(h.c.domain == name)).rowcount
        wake(connection)
    if not ended:
        raise NotFound(
            f"Mail to {domain} is not held.",
            facts={"domain": domain},
            fix="mailops queue holds lists the domains that are.",
        )


@dataclass(frozen=True, slots=True)
class LaneHold:
    """A held server: until when, why in words, and who said so."""

    server: str
    until: datetime
    why: str
    actor: str | None
    created_at: datetime


def hold_lane(engine: Engine, lane: str, until: datetime, *, why: str, actor: str | None, now: datetime) -> LaneHold:
    """Let what waits for a server wait until a time; a hold that is there is replaced."""
    values = {"until": until, "why": why, "actor": actor, "created_at": now}
    with explained("holding a server"), engine.begin() as connection:
        row = dialect_insert(engine)(lh).values(lane=lane, **values)
        connection.execute(row.on_conflict_do_update(index_elements=[lh.c.lane], set_=values))
    return LaneHold(lane, until, why, actor, now)


def learn(
    connection: Connection, domain: str | None, lane: str | None, span: timedelta, why: str, now: datetime
) -> None:
    """Hold a domain or a server in the caller's transaction, for a span at least; one that follows within an hour on
    another is twice as long as that was, up to an hour. A hold that is not over, or a person's, stays."""
    table, name = (h, domain) if domain else (lh, lane)
    key = h.c.domain if domain else lh.c.lane
    last = connection.execute(sa.select(table.c.until, table.c.created_at, table.c.actor).where(key == name)).first()
    if last is not None and last.until > now:
        return
    if last is not None and last.actor == LEARNT and now - last.until < LONGEST:
        span = min(max(span, 2 * (last.until - last.created_at)), LONGEST)
    values = {"until": now + span, "why": why, "actor": LEARNT, "created_at": now}
    row = dialect_insert(connection.engine)(table).values({key.name: name, **values})
    connection.execute(row.on_conflict_do_update(index_elements=[key], set_=values))


def end_lane(engine: Engine, lane: str) -> bool:
    """End a server's hold early; whether there was one."""
    with explained("ending a hold"), engine.begin() as connection:
        ended = connection.execute(sa.delete(lh).where(lh.c.lane == lane)).rowcount
        wake(connection)
    return bool(ended)


def active_lanes(engine: Engine, *, now: datetime) -> list[LaneHold]:
    """The servers held now, by key."""
    query = sa.select(lh.c.lane, lh.c.until, lh.c.why, lh.c.actor, lh.c.created_at).where(lh.c.until > now)
    with explained("reading holds"), reading(engine) as connection:
        return [LaneHold(*row) for row in connection.execute(query.order_by(lh.c.lane))]


def active(engine: Engine, *, now: datetime) -> list[Hold]:
    """The holds of now, by domain."""
    query = sa.select(h.c.domain, h.c.until, h.c.why, h.c.actor, h.c.created_at).where(h.c.until > now)
    with explained("reading holds"), reading(engine) as connection:
        return [Hold(*row) for row in connection.execute(query.order_by(h.c.domain))]
