"""Bounce rates by day and by week, each bounce counted on the day its mail was sent."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..store import schema
from ..store.database import explained, reading
from .bounce_rate import GROUPS, RATE_COLUMNS, by_day, counters, monday, rate_row
from .jump import LEAST, Day, Failed, Jump, because, jump
from .sql import LEFT, REASON, RETURNED, Period, day_of, domain_of

e = schema.events
HISTORY = 180
"""Days before the period that tell what is usual."""
PLACE = {"sent": 0, "failed": 1, "bounced": 2}
USUAL_LAG, LONGEST, ENOUGH = 3, 5, 20
"""Days that returns take where too few came back to say; days at most; how many returns are enough to say."""
MOST_GROUPS, FALSE = 40, 0.01


def trend(engine: Engine, *, period: Period, by: str = "day") -> pd.DataFrame:
    """One row a day (or week, named by its Monday) with mail: the day and :data:`.bounce_rate.RATE_COLUMNS`."""
    found: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for day, outcome, number in counters(engine, "day", period):
        if outcome in PLACE:
            found[monday(day) if by == "week" else day][PLACE[outcome]] += number
    rows = [rate_row(day, *found[day]) for day in sorted(found)]
    return pd.DataFrame(rows, columns=[by, *RATE_COLUMNS])


def notice(engine: Engine, *, period: Period, now: datetime) -> Jump:
    """The jump of a period, held against the days before it, with what makes it."""
    lines = _days(counters(engine, "day", earlier(period)))
    mature = last_mature(engine, now)
    seen = jump(lines, since=period.first or "", mature=mature)
    if not seen.found:
        return seen
    within = sa.case((day_of(engine, LEFT).between(seen.first, seen.last), seen.first), else_="")
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
    return Period(f"{date.fromisoformat(period.first) - timedelta(days=HISTORY):%Y-%m-%d}", period.last)


def last_mature(engine: Engine, now: datetime, found: Counter[int] | None = None) -> str:
    """The last UTC day whose returns are in: so many whole days ago as 19 of 20 returns of the last 90 days took, from
    1 to :data:`LONGEST`; where too few came back to say, :data:`USUAL_LAG`. ``found`` are :func:`lags`, if known."""
    found = lags(engine, now) if found is None else found
    lag, seen, total = USUAL_LAG, 0, sum(found.values())
    if total >= ENOUGH:
        for lag in sorted(found):
            seen += found[lag]
            if seen >= 0.95 * total:
                break
    return f"{now.astimezone(UTC) - timedelta(days=min(max(lag, 1), LONGEST) + 1):%Y-%m-%d}"


def lags(engine: Engine, now: datetime) -> Counter[int]:
    """Returns of the last 90 days by the whole days they took."""
    left, came = day_of(engine, e.c.left_at), day_of(engine, e.c.at)
    query = sa.select(left, came, sa.func.count()).where(
        e.c.kind == "bounced", e.c.left_at.is_not(None), e.c.at >= now - timedelta(days=90)
    )
    with explained("reading how long returns take"), reading(engine) as connection:
        rows = connection.execute(query.group_by(left, came)).all()
    found: Counter[int] = Counter()
    for sent, back, number in rows:
        found[max((date.fromisoformat(back) - date.fromisoformat(sent)).days, 0)] += int(number)
    return found


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
    mature, since = last_mature(engine, now), period.first or ""
    scanned = 0
    found: list[Incident] = []
    for by in ("domain", "server", "sender"):
        groups: defaultdict[str, list[tuple[str, str, int]]] = defaultdict(list)
        for day, group, outcome, number in by_day(engine, GROUPS[by] or "", earlier(period)):
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
    kept = 0
    for at, one in enumerate(found, 1):
        if one.jump.chance <= FALSE * at / max(scanned, 1):
            kept = at
    return found[:kept]


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
