"""Bounce rates by day and by week, each bounce counted on the day its mail was sent."""

from __future__ import annotations

from collections import defaultdict

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..store import schema
from ..store.database import explained, reading
from .bounce_rate import RATE_COLUMNS, counters, monday, rate_row
from .jump import Day, Failed, Jump, jump
from .sql import LEFT, REASON, RETURNED, Period, day_of, domain_of

e = schema.events


def trend(engine: Engine, *, period: Period, by: str = "day") -> pd.DataFrame:
    """One row a day (or week, named by its Monday) with mail: the day and :data:`.bounce_rate.RATE_COLUMNS`."""
    found: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    place = {"sent": 0, "failed": 1, "bounced": 2}
    for day, outcome, number in counters(engine, "day", period):
        if outcome in place:
            found[monday(day) if by == "week" else day][place[outcome]] += number
    rows = [rate_row(day, *found[day]) for day in sorted(found)]
    return pd.DataFrame(rows, columns=[by, *RATE_COLUMNS])


def notice(engine: Engine, days: pd.DataFrame, *, period: Period) -> Jump:
    """The jump in a frame of :func:`trend` by day, with what makes it."""
    rows = zip(days["day"], days["addressed"], days["returned"], strict=True)
    lines = [Day(str(day), int(addressed), int(returned)) for day, addressed, returned in rows]
    seen = jump(lines)
    if not seen.found:
        return seen
    within = sa.case((day_of(engine, LEFT).between(seen.first, seen.last), seen.first), else_="")
    domain, number = domain_of(engine, e.c.recipient), sa.func.count()
    query = (
        sa.select(within, REASON, domain, number)
        .where(RETURNED, e.c.recipient.is_not(None), *period.moments(LEFT))
        .group_by(within, REASON, domain)
    )
    with explained("reading the failures"), reading(engine) as connection:
        failed = [Failed(str(d), str(r), str(w), int(n)) for d, r, w, n in connection.execute(query)]
    return jump(lines, failed)
