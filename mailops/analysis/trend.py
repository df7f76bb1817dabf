"""Bounce rates by day and by week, each bounce counted on the day its mail was sent.

The daily counters hold a bounce on the day its report came. For a trend that is wrong: a Sunday without mail would have
returns and nobody addressed. So here a bounce goes to the last sending of that mail to that recipient; where none is
known, it stays on its own day.
"""

from __future__ import annotations

from collections import defaultdict

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..ledger.book import standing
from ..store import schema
from ..store.database import explained, reading
from .bounce_rate import RATE_COLUMNS, counters, monday, rate_row
from .jump import Day, Failed, Jump, jump
from .sql import FAILED, REASON, Period, day_of, domain_of

e = schema.events


def trend(engine: Engine, *, period: Period, by: str = "day") -> pd.DataFrame:
    """One row a day (or week, named by its Monday) with mail: the day and :data:`.bounce_rate.RATE_COLUMNS`."""
    found: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    place = {"sent": 0, "failed": 1}
    for day, outcome, number in counters(engine, "day", period):
        if outcome in place:
            found[monday(day) if by == "week" else day][place[outcome]] += number
    for day, number in _bounced(engine, period):
        found[monday(day) if by == "week" else day][2] += number
    rows = [rate_row(day, *found[day]) for day in sorted(found)]
    return pd.DataFrame(rows, columns=[by, *RATE_COLUMNS])


def _bounced(engine: Engine, period: Period) -> list[tuple[str, int]]:
    s = e.alias("s")
    same = sa.and_(
        s.c.mail_id == e.c.mail_id, s.c.recipient == e.c.recipient, s.c.kind.in_(["sent", "unknown"]), s.c.id < e.c.id
    )
    sent = sa.select(e.c.id, sa.func.coalesce(sa.func.max(s.c.at), e.c.at).label("at"))
    sent = sent.select_from(e.outerjoin(s, same)).where(e.c.kind == "bounced", standing(), *period.moments(e.c.at))
    each = sent.group_by(e.c.id, e.c.at).subquery()
    day = day_of(engine, each.c.at)
    query = sa.select(day, sa.func.count()).where(*period.days(day)).group_by(day)
    with explained("reading the bounces by day"), reading(engine) as connection:
        return [(str(found), int(number)) for found, number in connection.execute(query)]


def notice(engine: Engine, days: pd.DataFrame, *, period: Period) -> Jump:
    """The jump in a frame of :func:`trend` by day, with what makes it."""
    rows = zip(days["day"], days["addressed"], days["returned"], strict=True)
    lines = [Day(str(day), int(addressed), int(returned)) for day, addressed, returned in rows]
    seen = jump(lines)
    if not seen.found:
        return seen
    within = sa.case((day_of(engine, e.c.at).between(seen.first, seen.last), seen.first), else_="")
    domain, number = domain_of(engine, e.c.recipient), sa.func.count()
    query = (
        sa.select(within, REASON, domain, number)
        .where(FAILED, e.c.recipient.is_not(None), *period.moments(e.c.at))
        .group_by(within, REASON, domain)
    )
    with explained("reading the failures"), reading(engine) as connection:
        failed = [Failed(str(d), str(r), str(w), int(n)) for d, r, w, n in connection.execute(query)]
    return jump(lines, failed)
