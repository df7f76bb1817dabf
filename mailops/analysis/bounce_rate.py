"""Bounce rates as frames.

Groups count sendings (:mod:`mailops.ledger.sendings`): each recipient of a mail once, with its last outcome, in the
hour it left; so a return never stands in another day's fraction. What was not handed over is nobody's bounce. Verdicts
hold *hard* bounces against the limits of sending services, which count nothing else, and their unit is the address.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..bounces.hardness import stored_table
from ..errors import ConfigError
from ..ledger.book import standing
from ..store.database import explained, reading
from .addresses import NOBODY, clusters
from .counting import BY_TIME, GROUPS, MORE, counters, monday, period_of, since_day
from .lag import last_mature
from .share import Clusters, judged, rate
from .sql import LEFT, REASON, RETURNED, Period, c, e, failures, for_good, hour_of, local_day, r

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
    provider: Callable[[Sequence[str]], Mapping[str, str]] | None = None,
) -> pd.DataFrame:
    """Bounce rates grouped ``by`` domain, provider, server, sender, class, campaign, reason, day, week or all; of
    ``period``, else since ``since``.

    Columns: the group, ``addressed`` (sendings with a final answer), ``returned``, ``refused`` (at once), ``bounced``
    (accepted, then sent back), ``hard`` (returned for good), ``rate`` (of returned), ``low``, ``high`` (95 %, as wide
    as repeated addresses make it), ``verdict`` (of the hard ones); of groups ``addresses`` mailed and ``dead`` of them,
    of days and weeks ``complete`` (all its days are in the period, over, and their returns are in). The most returned
    first. ``people`` are the addresses of each group, where they are known (:func:`.addresses.clusters`; by provider
    those of each domain); ``provider`` says whose mailboxes domains are. A reason has a share of everything with a
    final answer, and "" of campaigns is all other mail: so the groups of each kind sum up to the whole.
    """
    if by not in (*GROUPS, *MORE):
        raise ConfigError(
            f"Bounce rates cannot be grouped by {by!r}.",
            code="analysis.group",
            facts={"by": by},
            fix=f"Use one of: {', '.join((*GROUPS, *MORE))}.",
        )
    period = period or period_of(since, now)
    if by == "reason":
        return _by_reason(engine, period, now)
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for group, outcome, number in counters(engine, GROUPS.get(by, "recipient_domain"), period, now):
        line = found[monday(group) if by == "week" else "" if by == "campaign" else group]
        line[outcome] = line.get(outcome, 0) + number
    if by in BY_TIME:
        return _by_time(engine, by, found, period, now)
    people = clusters(engine, "domain" if by == "provider" else by, period) if people is None else people
    if by == "campaign":
        _apart(found, of_campaigns(engine, period))
    if by == "provider":
        weighed = sorted(found, key=lambda domain: (-sum(found[domain].values()), domain))
        found, people = _merged(found, people, provider(weighed) if provider else {})
    rows, verdicts = [], judged([people.get(group, NOBODY).dead_rate for group in found])
    for (group, line), verdict in zip(found.items(), verdicts, strict=True):
        of = people.get(group, NOBODY)
        back, sent = line.get("failed", 0) + line.get("bounced", 0), line.get("sent", 0)
        x = rate(back, back + sent, effect=of.effect)
        rows.append((group, x.addressed, x.returned, line.get("failed", 0), line.get("bounced", 0), of.hard,
                     x.rate, x.low, x.high, verdict, of.people, of.dead))  # fmt: skip
    frame = pd.DataFrame(rows, columns=[by, *RATE_COLUMNS, *GROUP_COLUMNS])
    return frame.sort_values(["returned", "addressed", by], ascending=[False, False, True]).reset_index(drop=True)


def _apart(found: dict[str, dict[str, int]], campaigns: Mapping[str, Mapping[str, int]]) -> None:
    """Take what campaigns sent out of the whole, which stands under ""."""
    for campaign, line in campaigns.items():
        found[campaign] = dict(line)
        for outcome, number in line.items():
            found[""][outcome] = found[""].get(outcome, 0) - number


def _merged(
    found: Mapping[str, Mapping[str, int]], people: Mapping[str, Clusters], provider: Mapping[str, str]
) -> tuple[defaultdict[str, dict[str, int]], dict[str, Clusters]]:
    """Domains put together by whose mailboxes they are; an address has one domain, so addresses sum up."""
    lines: defaultdict[str, dict[str, int]] = defaultdict(dict)
    merged: dict[str, Clusters] = {}
    for domain, line in found.items():
        name = provider.get(domain, domain)
        for outcome, number in line.items():
            lines[name][outcome] = lines[name].get(outcome, 0) + number
        merged[name] = merged.get(name, NOBODY) + people.get(domain, NOBODY)
    return lines, merged


def of_campaigns(engine: Engine, period: Period) -> dict[str, dict[str, int]]:
    """What became of the sendings of each campaign that left in a period: its key → outcome → sendings."""
    ends = sa.select(sa.func.max(e.c.id).label("id")).select_from(e.join(r, r.c.mail_id == e.c.mail_id))
    ends = ends.where(e.c.kind.in_(("sent", "failed", "bounced")), e.c.recipient.is_not(None), standing())
    last = ends.group_by(e.c.mail_id, e.c.recipient).subquery()
    joined = e.join(last, last.c.id == e.c.id).join(r, r.c.mail_id == e.c.mail_id).join(c, c.c.id == r.c.campaign_id)
    query = sa.select(c.c.key, e.c.kind, sa.func.count()).select_from(joined)
    query = query.where(sa.or_(e.c.kind == "sent", RETURNED), *period.moments(LEFT))
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    with explained("reading what became of campaigns"), reading(engine) as connection:
        for campaign, kind, number in connection.execute(query.group_by(c.c.key, e.c.kind)):
            found[str(campaign)][str(kind)] = int(number)
    return found


def _by_reason(engine: Engine, period: Period, now: datetime) -> pd.DataFrame:
    """Each reason's share of everything that had a final answer."""
    whole: dict[str, int] = {}
    for _, outcome, number in counters(engine, None, period, now):
        whole[outcome] = whole.get(outcome, 0) + number
    everything = whole.get("failed", 0) + whole.get("bounced", 0) + whole.get("sent", 0)
    people = clusters(engine, "all", period).get("all", NOBODY)
    with explained("reading the failures"), reading(engine) as connection:
        dead = for_good(stored_table(connection))
        address = sa.func.lower(e.c.recipient)
        columns = [
            REASON.label("reason"),
            sa.func.sum(sa.case((e.c.kind == "failed", 1), else_=0)),
            sa.func.sum(sa.case((e.c.kind == "bounced", 1), else_=0)),
            sa.func.sum(dead),
            sa.func.count(sa.distinct(sa.case((dead == 1, address)))),
        ]
        query = failures(engine, columns, period=period).group_by(sa.text("reason"))
        found = {str(name): [int(n or 0) for n in numbers] for name, *numbers in connection.execute(query)}
    rows = []
    verdicts = judged([rate(dead_ones, people.people) for *_, dead_ones in found.values()])
    for (name, (refused, bounced, hard, gone)), verdict in zip(found.items(), verdicts, strict=True):
        x = rate(refused + bounced, everything, effect=people.effect)
        rows.append((name, x.addressed, x.returned, refused, bounced, hard, x.rate, x.low, x.high, verdict,
                     people.people, gone))  # fmt: skip
    frame = pd.DataFrame(rows, columns=["reason", *RATE_COLUMNS, *GROUP_COLUMNS])
    return frame.sort_values(["returned", "reason"], ascending=[False, True]).reset_index(drop=True)


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
