"""How long returns take to come back, and so which days can be judged."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..store import schema
from ..store.database import explained, reading
from .sql import day_of, today

e = schema.events
USUAL_LAG, LONGEST, ENOUGH = 3, 5, 20
"""Days that returns take where too few came back to say; days at most; how many returns are enough to say."""


def last_mature(engine: Engine, now: datetime, found: Counter[int] | None = None, *, zone: str = "UTC") -> str:
    """The last day of a zone whose returns are in: so many whole days ago as 19 of 20 returns of the last 90 days took,
    from 1 to :data:`LONGEST`; where too few came back to say, :data:`USUAL_LAG`. ``found`` are :func:`lags`, if
    known."""
    found = lags(engine, now) if found is None else found
    lag, seen, total = USUAL_LAG, 0, sum(found.values())
    if total >= ENOUGH:
        for lag in sorted(found):
            seen += found[lag]
            if seen >= 0.95 * total:
                break
    return f"{date.fromisoformat(today(now, zone)) - timedelta(days=min(max(lag, 1), LONGEST) + 1)}"


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
