"""Periods as people write them, and sums of the counters by hour: what every rate is made of."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..errors import ConfigError
from ..store import schema
from ..store.database import explained, reading
from .sql import Period, local_day, today

GROUPS = {
    "domain": "recipient_domain",
    "server": "server_key",
    "sender": "sender_domain",
    "class": "mail_class",
    "day": "day",
    "week": "day",
    "all": None,
}
MORE = ("provider", "campaign", "reason")
"""Groups that the counters do not know: whose mailboxes (by MX), which campaign, why it came back."""
BY_TIME = ("day", "week")


def since_day(since: str | None, now: datetime, zone: str = "UTC") -> str | None:
    """The first day of a zone that counts: ``30d`` (30 days with today), ``12w`` or a date; None = everything."""
    since = (since or "").strip()
    if not since:
        return None
    if since[-1:] in "DW":
        since = since.lower()
    unit = {"d": 1, "w": 7}.get(since[-1:])
    here = date.fromisoformat(today(now, zone))
    try:
        if unit and since[:-1].isdigit() and int(since[:-1]):
            return f"{here - timedelta(days=int(since[:-1]) * unit - 1)}"
        day = datetime.fromisoformat(since).date()
        if day > here:
            raise ValueError("it lies ahead")
        return f"{day}"
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"The period {since!r} cannot be read.",
            code="analysis.since",
            facts={"since": since},
            fix="Write 30d, 12w, or a date such as 2026-01-31.",
        ) from error


def period_of(since: str | None, now: datetime, zone: str = "UTC") -> Period:
    """The days from then until now."""
    return Period(since_day(since, now, zone), zone=zone)


def counters(engine: Engine, column: str | None, period: Period, now: datetime) -> list[tuple[str, str, int]]:
    """Sums of the counters: (group, outcome, count), grouped by the database; a group may be the day."""
    t = schema.counts
    group: Any = sa.literal_column("'all'")
    if column:
        group = local_day(engine, t.c.hour, period.zone, now) if column == "day" else t.c[column]
    query = sa.select(group.label("name"), t.c.outcome, sa.func.sum(t.c["count"])).where(*period.hours(t.c.hour))
    query = query.group_by(t.c.outcome, *([sa.text("name")] if column else []))
    with explained("reading the counters"), reading(engine) as connection:
        return [(str(name), str(outcome), int(number)) for name, outcome, number in connection.execute(query)]


def by_day(engine: Engine, column: str, period: Period, now: datetime) -> list[tuple[str, str, str, int]]:
    """Sums of the counters by day and one column: (day, group, outcome, count)."""
    t = schema.counts
    day, group = local_day(engine, t.c.hour, period.zone, now).label("day"), t.c[column]
    query = sa.select(day, group, t.c.outcome, sa.func.sum(t.c["count"])).where(*period.hours(t.c.hour))
    with explained("reading the counters"), reading(engine) as connection:
        rows = connection.execute(query.group_by(sa.text("day"), group, t.c.outcome))
        return [(str(at), str(name), str(outcome), int(number)) for at, name, outcome, number in rows]


def monday(day: str) -> str:
    """The Monday of a day's week."""
    at = date.fromisoformat(day)
    return f"{at - timedelta(days=at.weekday())}"
