"""Bounce rates with honest small numbers.

The bounce rate is the share of addresses whose mail was returned by a server on the way (refused at once, or accepted
and sent back later). A rate from few mails says little, so each comes with its 95 % Wilson interval (Wilson 1927;
Brown, Cai, DasGupta 2001) and a verdict that weighs the interval, not the point.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..errors import ConfigError
from ..store import schema
from ..store.database import explained, reading

GROUPS = {
    "domain": "recipient_domain",
    "server": "server_key",
    "sender": "sender_domain",
    "class": "mail_class",
    "day": "day",
    "all": None,
}
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
        """``ok``, ``warning``, ``critical`` or ``few`` (too few mails to say)."""
        if self.addressed == 0:
            return "few"
        if self.low >= CRITICAL:
            return "critical"
        if self.low >= WARN:
            return "warning"
        return "ok" if self.high < CRITICAL else "few"

    def __str__(self) -> str:
        return f"{self.rate:.2%} ({self.returned} of {self.addressed}; 95 % between {self.low:.1%} and {self.high:.1%})"


def rate(returned: int, addressed: int, z: float = 1.959964) -> Rate:
    """The rate and its Wilson interval.

    >>> str(rate(6, 200))[:5]
    '3.00%'
    """
    if addressed == 0:
        return Rate(0, 0, 0.0, 0.0, 1.0)
    p = returned / addressed
    z2 = z * z
    middle = (p + z2 / (2 * addressed)) / (1 + z2 / addressed)
    half = z / (1 + z2 / addressed) * sqrt(p * (1 - p) / addressed + z2 / (4 * addressed * addressed))
    return Rate(addressed, returned, p, max(0.0, middle - half), min(1.0, middle + half))


def since_day(since: str | None, now: datetime) -> str | None:
    """The first UTC day that counts: ``30d``, ``12w`` or a date; None = everything."""
    if not since:
        return None
    unit = {"d": 1, "w": 7}.get(since[-1:])
    if unit and since[:-1].isdigit():
        return (now - timedelta(days=int(since[:-1]) * unit)).strftime("%Y-%m-%d")
    try:
        return datetime.fromisoformat(since).strftime("%Y-%m-%d")
    except ValueError as error:
        raise ConfigError(
            f"The period {since!r} cannot be read.",
            code="analysis.since",
            facts={"since": since},
            fix="Write 30d, 12w, or a date such as 2026-01-31.",
        ) from error


def tally_frame(engine: Engine, *, since: str | None, now: datetime) -> pd.DataFrame:
    """The daily counters as a frame: one row per (day, server, domains, class, outcome)."""
    t = schema.tallies
    query = sa.select(t)
    first = since_day(since, now)
    if first:
        query = query.where(t.c.day >= first)
    with explained("reading the counters"), reading(engine) as connection:
        rows = connection.execute(query).all()
    return pd.DataFrame(rows, columns=[c.name for c in t.columns])


def bounce_rate(engine: Engine, *, by: str = "domain", since: str | None = "30d", now: datetime) -> pd.DataFrame:
    """Bounce rates grouped ``by`` domain, server, sender, class, day or all.

    Columns: the group, ``addressed`` (recipients with a final answer), ``returned``, ``refused`` (at once), ``bounced``
    (accepted, then sent back), ``rate``, ``low``, ``high`` (95 %), ``verdict``; the most returned first.
    """
    if by not in GROUPS:
        raise ConfigError(
            f"Bounce rates cannot be grouped by {by!r}.",
            code="analysis.group",
            facts={"by": by},
            fix=f"Use one of: {', '.join(GROUPS)}.",
        )
    frame = tally_frame(engine, since=since, now=now)
    column = GROUPS[by]
    frame["group"] = frame[column] if column else "all"
    table = frame.pivot_table(index="group", columns="outcome", values="count", aggfunc="sum", fill_value=0)
    for outcome in ("sent", "failed", "bounced"):
        if outcome not in table:
            table[outcome] = 0
    rows = []
    for group, line in table.iterrows():
        refused, bounced = int(line["failed"]), int(line["bounced"])
        found = rate(refused + bounced, int(line["sent"]) + refused)
        rows.append(
            (group, found.addressed, found.returned, refused, bounced, found.rate, found.low, found.high, found.verdict)
        )
    names = [by, "addressed", "returned", "refused", "bounced", "rate", "low", "high", "verdict"]
    result = pd.DataFrame(rows, columns=names)
    order = [by] if by == "day" else ["returned", "addressed"]
    return result.sort_values(order, ascending=by == "day").reset_index(drop=True)
