"""Bounce rates by day and by week, each bounce counted on the day its mail was sent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..store import schema
from ..store.database import explained, reading
from .bounce_rate import bounce_rate
from .counting import GROUPS, by_day, counters
from .jump import LEAST, Day, Failed, Jump, because, jump
from .lag import last_mature
from .share import discovered
from .sql import LEFT, REASON, RETURNED, Period, domain_of

e = schema.events
HISTORY = 180
"""Days before the period that tell what is usual."""
PLACE = {"sent": 0, "failed": 1, "bounced": 2}
MOST_GROUPS, FALSE = 40, 0.01


def trend(engine: Engine, *, period: Period, now: datetime, by: str = "day") -> pd.DataFrame:
    """One row a day (or week, named by its Monday) with mail: :func:`.bounce_rate.bounce_rate` by time."""
    frame = bounce_rate(engine, by=by, now=now, period=period)
    return frame[frame["addressed"] > 0].reset_index(drop=True)


def notice(engine: Engine, *, period: Period, now: datetime) -> Jump:
    """The jump of a period, held against the days before it, with what makes it."""
    lines = _days(counters(engine, "day", earlier(period), now))
    mature = last_mature(engine, now, zone=period.zone)
    seen = jump(lines, since=period.first or "", mature=mature)
    if not seen.found:
        return seen
    inside = Period(seen.first, seen.last, period.zone)
    within = sa.case((sa.and_(*inside.moments(LEFT)), seen.first), else_="")
    domain, number = domain_of(engine, e.c.recipient), sa.func.count()
    query = (
        sa.select(within, REASON, domain, number)
        .where(RETURNED, e.c.recipient.is_not(None), *earlier(period).moments(LEFT))
        .group_by(within, REASON, domain)
    )
    with explained("reading the failures"), reading(engine) as connection:
        failed = [Failed(str(d), str(r), str(w), int(n)) for d, r, w, n in connection.execute(query)]
    return because(seen, failed)


def earlier(period: Period) -> Period:
    """A period with the days before it that tell what is usual."""
    if period.first is None:
        return period
    return replace(period, first=f"{date.fromisoformat(period.first) - timedelta(days=HISTORY)}")


@dataclass(frozen=True, slots=True)
class Incident:
    """A jump that is going on in one group, ``by`` domain, server or sender."""

    by: str
    group: str
    jump: Jump

    @property
    def sentence(self) -> str:
        """What to tell."""
        return f"{self.by} {self.group}: {self.jump.sentence}"


def incidents(engine: Engine, *, period: Period, now: datetime) -> list[Incident]:
    """Jumps that are going on in single domains, servers and sender domains, the clearest first.

    Each group is scanned by itself against its own days before, so a domain of one mail in a hundred is found too; of
    all that were scanned no more than :data:`FALSE` are told by chance (Benjamini, Hochberg 1995).
    """
    mature, since = last_mature(engine, now, zone=period.zone), period.first or ""
    scanned = 0
    found: list[Incident] = []
    for by in ("domain", "server", "sender"):
        groups: defaultdict[str, list[tuple[str, str, int]]] = defaultdict(list)
        for day, group, outcome, number in by_day(engine, GROUPS[by] or "", earlier(period), now):
            groups[group].append((day, outcome, number))
        ranked = sorted(((_excess(rows, since), name) for name, rows in groups.items()), reverse=True)
        scanned += len(groups)
        for excess, name in ranked[:MOST_GROUPS]:
            if excess < LEAST or not name:
                continue
            seen = jump(_days(groups[name]), since=since, mature=mature)
            if seen.found and not seen.over:
                found.append(Incident(by, name, seen))
    found.sort(key=lambda one: one.jump.chance)
    told = discovered([one.jump.chance for one in found], FALSE, of=scanned)
    return [one for one, true in zip(found, told, strict=True) if true]


def _excess(rows: list[tuple[str, str, int]], since: str) -> float:
    """Returns of the period beyond what the days before it let expect."""
    sums = [[0, 0], [0, 0]]
    for day, outcome, number in rows:
        if outcome in PLACE:
            sums[day >= since][0] += number
            sums[day >= since][1] += number if outcome != "sent" else 0
    (before, came), (of, back) = sums
    return back - 0.8 * of * (came / before if before else 0.0)


def _days(rows: Iterable[tuple[str, str, int]]) -> list[Day]:
    found: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for day, outcome, number in rows:
        if outcome in PLACE:
            found[day][0] += number
            found[day][1] += number if outcome != "sent" else 0
    return [Day(day, *found[day]) for day in sorted(found)]
