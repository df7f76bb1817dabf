"""Bounce rates with honest small numbers.

The bounce rate is the share of addresses whose mail was returned by a server on the way (refused at once, or accepted
and sent back later). A rate from few mails says little, so each comes with its 95 % Wilson interval (Wilson 1927;
Brown, Cai, DasGupta 2001) and a verdict that weighs the interval, not the point.

Groups count sendings (:mod:`mailops.ledger.sendings`): each recipient of a mail once, with its last outcome, in the
hour it left; so a return never stands in another day's fraction. What was not handed over is nobody's bounce.
:func:`address_rate` counts each address once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import exp, lgamma, log, log1p, sqrt
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..errors import ConfigError
from ..store import schema
from ..store.database import explained, reading
from .sql import LEFT, RETURNED, Period

GROUPS = {
    "domain": "recipient_domain",
    "server": "server_key",
    "sender": "sender_domain",
    "class": "mail_class",
    "day": "day",
    "week": "day",
    "all": None,
}
BY_TIME = ("day", "week")
WARN, CRITICAL = 0.05, 0.10  # Amazon SES reviews an account at 5 % and pauses it at 10 %


@dataclass(frozen=True, slots=True)
class Rate:
    """``returned`` of ``addressed`` with the 95 % interval (``low``, ``high``), all as shares of 1."""

    addressed: int
    returned: int
    rate: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """``ok``, ``watch`` (above 5 %, which chance may explain), ``warning`` (surely above 5 %), ``critical`` (surely
        above 10 %) or ``few`` (too few mails to say)."""
        if self.addressed == 0:
            return "few"
        if self.surely_above(CRITICAL):
            return "critical"
        if self.surely_above(WARN):
            return "warning"
        if self.high >= CRITICAL:
            return "few"
        return "watch" if self.rate > WARN else "ok"

    def surely_above(self, limit: float) -> bool:
        """Whether the rate is above ``limit`` beyond chance (2.5 %).

        The interval must be above it, and the exact binomial tail must agree (Clopper, Pearson 1934): Wilson's lower
        end is too high for few mails and for small limits.
        """
        if self.low < limit or not self.returned:
            return False
        return tail(self.returned, self.addressed, limit) <= 0.025

    def __str__(self) -> str:
        return f"{self.rate:.2%} ({self.returned} of {self.addressed}; 95 % between {self.low:.1%} and {self.high:.1%})"


def tail(hits: int, of: int, share: float) -> float:
    """The chance of at least so many hits when each has this chance, exactly, for any number.

    >>> round(tail(1, 2, 0.5), 2)
    0.75
    """
    if hits <= 0:
        return 1.0
    if not 0 < share < 1:
        return float(share >= 1)
    if hits <= of * share:  # the sum of the other side has fewer terms that count
        return max(0.0, 1.0 - _sum(of - hits + 1, of, 1 - share))
    return _sum(hits, of, share)


def _sum(hits: int, of: int, share: float) -> float:
    """The binomial terms from ``hits`` on, which fall from there; the first by logarithms, others by their ratio."""
    if hits > of:
        return 0.0
    term = exp(
        lgamma(of + 1) - lgamma(hits + 1) - lgamma(of - hits + 1) + hits * log(share) + (of - hits) * log1p(-share)
    )
    total = 0.0
    odds = share / (1 - share)
    for k in range(hits, of + 1):
        total += term
        term *= (of - k) / (k + 1) * odds
        if term < 1e-17 * total or term == 0.0:
            break
    return min(total, 1.0)


def rate(returned: int, addressed: int, z: float = 1.959964) -> Rate:
    """The rate and its Wilson interval.

    >>> str(rate(6, 200))[:5]
    '3.00%'
    """
    if not 0 <= returned <= addressed:
        raise ValueError(f"{returned} of {addressed} is no share")
    if addressed == 0:
        return Rate(0, 0, 0.0, 0.0, 1.0)
    p = returned / addressed
    z2 = z * z
    middle = (p + z2 / (2 * addressed)) / (1 + z2 / addressed)
    half = z / (1 + z2 / addressed) * sqrt(p * (1 - p) / addressed + z2 / (4 * addressed * addressed))
    low = max(0.0, middle - half) if returned else 0.0  # at the ends the interval ends there, not by rounding near it
    return Rate(addressed, returned, p, low, min(1.0, middle + half) if returned < addressed else 1.0)


def since_day(since: str | None, now: datetime) -> str | None:
    """The first UTC day that counts: ``30d`` (30 days with today), ``12w`` or a date; None = everything."""
    since = (since or "").strip()
    if not since:
        return None
    if since[-1:] in "DW":
        since = since.lower()
    unit = {"d": 1, "w": 7}.get(since[-1:])
    try:
        if unit and since[:-1].isdigit() and int(since[:-1]):
            return (now - timedelta(days=int(since[:-1]) * unit - 1)).strftime("%Y-%m-%d")
        day = datetime.fromisoformat(since).strftime("%Y-%m-%d")
        if day > now.strftime("%Y-%m-%d"):
            raise ValueError("it lies ahead")
        return day
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"The period {since!r} cannot be read.",
            code="analysis.since",
            facts={"since": since},
            fix="Write 30d, 12w, or a date such as 2026-01-31.",
        ) from error


def period_of(since: str | None, now: datetime) -> Period:
    """The days from then until now."""
    return Period(since_day(since, now))


def counters(engine: Engine, column: str | None, period: Period) -> list[tuple[str, str, int]]:
    """Sums of the counters: (group, outcome, count), grouped by the database; a group may be the day."""
    t = schema.counts
    group: Any = sa.literal_column("'all'")
    if column:
        group = sa.func.substr(t.c.hour, 1, 10) if column == "day" else t.c[column]
    query = sa.select(group, t.c.outcome, sa.func.sum(t.c["count"])).where(*period.hours(t.c.hour))
    query = query.group_by(t.c.outcome, *([group] if column else []))
    with explained("reading the counters"), reading(engine) as connection:
        return [(str(name), str(outcome), int(number)) for name, outcome, number in connection.execute(query)]


def by_day(engine: Engine, column: str, period: Period) -> list[tuple[str, str, str, int]]:
    """Sums of the counters by day and one column: (day, group, outcome, count)."""
    t = schema.counts
    day, group = sa.func.substr(t.c.hour, 1, 10), t.c[column]
    query = sa.select(day, group, t.c.outcome, sa.func.sum(t.c["count"])).where(*period.hours(t.c.hour))
    with explained("reading the counters"), reading(engine) as connection:
        rows = connection.execute(query.group_by(day, group, t.c.outcome))
        return [(str(at), str(name), str(outcome), int(number)) for at, name, outcome, number in rows]


def monday(day: str) -> str:
    """The Monday of a day's week."""
    date = datetime.fromisoformat(day)
    return f"{date - timedelta(days=date.weekday()):%Y-%m-%d}"


def bounce_rate(
    engine: Engine, *, by: str = "domain", since: str | None = "30d", now: datetime, period: Period | None = None
) -> pd.DataFrame:
    """Bounce rates grouped ``by`` domain, server, sender, class, day, week or all; of ``period``, else since ``since``.

    Columns: the group, ``addressed`` (sendings with a final answer), ``returned``, ``refused`` (at once), ``bounced``
    (accepted, then sent back), ``rate``, ``low``, ``high`` (95 %), ``verdict``; the most returned first.
    """
    if by not in GROUPS:
        raise ConfigError(
            f"Bounce rates cannot be grouped by {by!r}.",
            code="analysis.group",
            facts={"by": by},
            fix=f"Use one of: {', '.join(GROUPS)}.",
        )
    found: dict[str, dict[str, int]] = {}
    for group, outcome, number in counters(engine, GROUPS[by], period or period_of(since, now)):
        line = found.setdefault(monday(group) if by == "week" else group, {})
        line[outcome] = line.get(outcome, 0) + number
    rows = [rate_row(g, x.get("sent", 0), x.get("failed", 0), x.get("bounced", 0)) for g, x in found.items()]
    result = pd.DataFrame(rows, columns=[by, *RATE_COLUMNS])
    order, ascending = ([by], [True]) if by in BY_TIME else (["returned", "addressed", by], [False, False, True])
    return result.sort_values(order, ascending=ascending).reset_index(drop=True)


RATE_COLUMNS = ("addressed", "returned", "refused", "bounced", "rate", "low", "high", "verdict")


def rate_row(group: str, sent: int, refused: int, bounced: int) -> tuple[Any, ...]:
    """A row of a frame of rates: the group and :data:`RATE_COLUMNS`."""
    x = rate(refused + bounced, sent + refused + bounced)
    return (group, x.addressed, x.returned, refused, bounced, x.rate, x.low, x.high, x.verdict)


def address_rate(engine: Engine, *, period: Period) -> Rate:
    """The share of addresses whose mail was returned at least once, each address counted once."""
    e = schema.events
    address = sa.func.lower(e.c.recipient)
    each = sa.select(
        address.label("address"),
        sa.func.max(sa.case((e.c.kind == "sent", 0), else_=1)).label("back"),
    ).where(sa.or_(e.c.kind == "sent", RETURNED), e.c.recipient.is_not(None), *period.moments(LEFT))
    grouped = each.group_by(address).subquery()
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(grouped.c.back), 0)).select_from(grouped)
    with explained("counting addresses"), reading(engine) as connection:
        addressed, returned = connection.execute(query).one()
    return rate(int(returned), int(addressed))
