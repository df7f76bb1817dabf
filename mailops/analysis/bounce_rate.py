"""Bounce rates as frames.

Groups count sendings (:mod:`mailops.ledger.sendings`): each recipient of a mail once, with its last outcome, in the
hour it left; so a return never stands in another day's fraction. What was not handed over is nobody's bounce. Verdicts
hold *hard* bounces against the limits of sending services, which count nothing else, and their unit is the address.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..bounces.hardness import stored_table
from ..errors import ConfigError
from ..store.database import explained, reading
from .addresses import NOBODY, clusters
from .counting import BY_TIME, GROUPS, counters, monday, period_of, since_day
from .lag import last_mature
from .share import Clusters, judged, rate
from .sql import LEFT, Period, failures, for_good, hour_of, local_day

__all__ = ["GROUP_COLUMNS", "RATE_COLUMNS", "bounce_rate", "period_of", "rate", "since_day"]
RATE_COLUMNS = ("addressed", "returned", "refused", "bounced", "hard", "rate", "low", "high", "verdict")
GROUP_COLUMNS = ("addresses", "dead")


def bounce_rate(
    engine: Engine,
    *,
    by: str = "domain",
    since: str | None = "30d",
    now: datetime,
    period: Period | None = None,
    people: Mapping[str, Clusters] | None = None,
) -> pd.DataFrame:
    """Bounce rates grouped ``by`` domain, server, sender, class, day, week or all; of ``period``, else since ``since``.

    Columns: the group, ``addressed`` (sendings with a final answer), ``returned``, ``refused`` (at once), ``bounced``
    (accepted, then sent back), ``hard`` (returned for good), ``rate`` (of returned), ``low``, ``high`` (95 %, as wide
    as repeated addresses make it), ``verdict`` (of the hard ones); of groups ``addresses`` mailed and ``dead`` of them,
    of days and weeks ``complete`` (all its days are in the period, over, and their returns are in). The most returned
    first. ``people`` are the addresses of each group, where they are known (:func:`.addresses.clusters`).
    """
    if by not in GROUPS:
        raise ConfigError(
            f"Bounce rates cannot be grouped by {by!r}.",
            code="analysis.group",
            facts={"by": by},
            fix=f"Use one of: {', '.join(GROUPS)}.",
        )
    period = period or period_of(since, now)
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for group, outcome, number in counters(engine, GROUPS[by], period, now):
        line = found[monday(group) if by == "week" else group]
        line[outcome] = line.get(outcome, 0) + number
    if by in BY_TIME:
        return _by_time(engine, by, found, period, now)
    people = clusters(engine, by, period) if people is None else people
    rows, verdicts = [], judged([people.get(group, NOBODY).dead_rate for group in found])
    for (group, line), verdict in zip(found.items(), verdicts, strict=True):
        of = people.get(group, NOBODY)
        back, sent = line.get("failed", 0) + line.get("bounced", 0), line.get("sent", 0)
        x = rate(back, back + sent, effect=of.effect)
        rows.append((group, x.addressed, x.returned, line.get("failed", 0), line.get("bounced", 0), of.hard,
                     x.rate, x.low, x.high, verdict, of.people, of.dead))  # fmt: skip
    frame = pd.DataFrame(rows, columns=[by, *RATE_COLUMNS, *GROUP_COLUMNS])
    return frame.sort_values(["returned", "addressed", by], ascending=[False, False, True]).reset_index(drop=True)


def _by_time(engine: Engine, by: str, found: dict[str, dict[str, int]], period: Period, now: datetime) -> pd.DataFrame:
    hard, ripe = _hard(engine, by, period, now), last_mature(engine, now, zone=period.zone)
    rows: list[tuple[Any, ...]] = []
    for group in sorted(found):
        line = found[group]
        back, sent = line.get("failed", 0) + line.get("bounced", 0), line.get("sent", 0)
        x = rate(back, back + sent)
        last = group if by == "day" else f"{date.fromisoformat(group) + timedelta(days=6)}"
        complete = (period.first or "") <= group and last <= min(ripe, period.last or ripe)
        verdict = rate(hard.get(group, 0), x.addressed).verdict
        rows.append((group, x.addressed, x.returned, line.get("failed", 0), line.get("bounced", 0), hard.get(group, 0),
                     x.rate, x.low, x.high, verdict, complete))  # fmt: skip
    return pd.DataFrame(rows, columns=[by, *RATE_COLUMNS, "complete"])


def _hard(engine: Engine, by: str, period: Period, now: datetime) -> dict[str, int]:
    """Sendings returned for good, by the day or week on which they left."""
    found: defaultdict[str, int] = defaultdict(int)
    with explained("reading the failures"), reading(engine) as connection:
        day = local_day(engine, hour_of(engine, LEFT), period.zone, now).label("day")
        dead = sa.func.sum(for_good(stored_table(connection)))
        query = failures(engine, [day, dead], period=period).group_by(sa.text("day"))
        for place, number in connection.execute(query):
            found[monday(str(place)) if by == "week" else str(place)] += int(number)
    return found
