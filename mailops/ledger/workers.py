"""Who sends: which worker holds mails now, and what each did lately, on whatever machine it runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..store import schema
from ..store.database import explained, reading

m, a = schema.mails, schema.attempts
SEEN = timedelta(minutes=2)
"""For how long a worker that holds nothing is told of: each run of the queue job is a worker of its own."""
LATELY = 20_000
"""Attempts that are looked at, the newest."""


@dataclass(frozen=True, slots=True)
class Load:
    """A worker by its name (``machine-process-token``): ``held`` mails now, until when its lease lasts, ``done``
    attempts among the newest, and when the last of them ended."""

    worker: str
    held: int
    until: datetime | None
    done: int
    sent: int
    last: datetime | None


def loads(engine: Engine, *, since: datetime, now: datetime) -> list[Load]:
    """The workers that hold mails, or ended an attempt within :data:`SEEN` before ``now``, with what each did since
    then, the busiest first."""
    with explained("looking at workers"), reading(engine) as connection:
        held = {
            str(worker): (int(count), until)
            for worker, count, until in connection.execute(
                sa.select(m.c.lease_owner, sa.func.count(), sa.func.max(m.c.lease_until, type_=m.c.lease_until.type))
                .where(m.c.lease_owner.is_not(None))
                .group_by(m.c.lease_owner)
            )
        }
        newest = sa.select(sa.func.coalesce(sa.func.max(a.c.id), 0)).scalar_subquery()
        sent = sa.func.sum(sa.case((a.c.outcome == "sent", 1), else_=0))
        done = {
            str(worker): (int(count), int(good), last)
            for worker, count, good, last in connection.execute(
                sa.select(a.c.worker, sa.func.count(), sent, sa.func.max(a.c.finished_at, type_=a.c.finished_at.type))
                .where(a.c.id > newest - LATELY, a.c.finished_at >= since)
                .group_by(a.c.worker)
            )
        }
    found = []
    for name in held.keys() | done.keys():
        (count, until), (tried, good, last) = held.get(name, (0, None)), done.get(name, (0, 0, None))
        if count or (last is not None and now - last <= SEEN):
            found.append(Load(name, count, until, tried, good, last))
    return sorted(found, key=lambda load: (-load.held, -load.done, load.worker))
