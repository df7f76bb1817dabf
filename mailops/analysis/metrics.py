"""The metrics: each figure defined once, with what is counted, in what, over which days, and the threshold's source.

Command line, card, check and report ask :func:`metrics`, so that they tell the same number. Mails, recipients and
addresses are never mixed: unless a metric says otherwise it counts sendings, one recipient of one mail with its last
outcome. *Mature* days are those whose returns are in (:func:`mailops.analysis.trend.last_mature`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..bounces.hardness import stored_table
from ..model.states import MailState
from ..model.text import counted
from ..store import schema
from ..store.database import explained, reading
from .counting import counters
from .lag import lags, last_mature
from .share import rate
from .sql import REASON, Period, failures, for_good, today

e, m = schema.events, schema.mails
BLOCKS = frozenset(
    {"blocked", "badreputation", "authfailure", "policyviolation"}
    | {"spamdetected", "rejected", "requireptr", "securityerror"}
)
"""Reasons that are about us and our mail, not about the address."""
SES = "Amazon SES, account reviews: a warning of 2 % is advice, review at 5 %, pause at 10 % (2025)"
GMAIL = "Gmail's guidelines for senders: stay below 0.1 %, never reach 0.3 % (2024)"


@dataclass(frozen=True, slots=True)
class Definition:
    """What a metric means. ``unit``: share (of 1), seconds or days; ``limits`` are (warn, critical) with ``source``."""

    name: str
    numerator: str
    denominator: str
    window: str
    unit: str = "share"
    limits: tuple[float, float] | None = None
    source: str = ""


MATURE, WEEK = "the last 30 mature days", "the last 7 days"
_FINAL = "sendings with a final answer"
DEFINITIONS = (
    Definition("hard_bounce_rate", "sendings returned for good", _FINAL, MATURE, limits=(0.02, 0.05), source=SES),
    Definition("soft_bounce_rate", "sendings returned for now", _FINAL, MATURE),
    Definition("delivery_rate", "sendings accepted and not returned", _FINAL, MATURE),
    Definition("block_rate", "sendings refused for what we are or send", _FINAL, WEEK),
    Definition("deferral_rate", "sendings put off at least once", "sendings that were tried", WEEK),
    Definition("not_handed_over_rate", "sendings that failed before a recipient was named", "sendings", WEEK),
    Definition("unknown_rate", "sendings whose answer never came", "sendings", WEEK),
    Definition("complaint_rate", "complaints", "sendings accepted", MATURE, limits=(0.001, 0.003), source=GMAIL),
    Definition("kept_back_rate", "recipients kept back by the suppression list", "recipients handed in", MATURE),
    Definition("queue_age_p95", "95 of 100 due mails wait less than this", "mails that are due", "now", "seconds"),
    Definition("handover_p95", "95 of 100 were accepted within this", "sendings accepted", "the last day", "seconds"),
    Definition("report_lag_p95", "95 of 100 returns came within this", "returns", "the last 90 days", "days"),
)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's value now. ``value`` is None where nothing was counted; for a share ``numerator`` and
    ``denominator`` make it, for a time ``denominator`` is how many were looked at."""

    definition: Definition
    value: float | None
    numerator: int | None
    denominator: int
    first: str = ""
    last: str = ""

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def state(self) -> str:
        """``ok``, ``watch`` (above a limit, which chance may explain), ``warning`` or ``critical`` (surely above) by
        the limits; "" where there are none, or nothing was counted."""
        limits = self.definition.limits
        if limits is None or self.value is None:
            return ""
        seen = rate(self.numerator or 0, self.denominator)
        if seen.surely_above(limits[1]):
            return "critical"
        return "warning" if seen.surely_above(limits[0]) else "watch" if self.value >= limits[0] else "ok"

    @property
    def words(self) -> str:
        """The value as people read it."""
        if self.value is None:
            return "nothing to count"
        if self.definition.unit == "share":
            return f"{self.value:.2%} ({self.numerator:,} of {self.denominator:,})"
        return counted(round(self.value), self.definition.unit.removesuffix("s"))

    def as_dict(self) -> dict[str, object]:
        """For machines: value, numerator, denominator, window and what it means."""
        d = self.definition
        return {
            "value": self.value,
            "numerator": self.numerator,
            "denominator": self.denominator,
            "window": {"words": d.window, "first": self.first or None, "last": self.last or None},
            "unit": d.unit,
            "counts": f"{d.numerator} / {d.denominator}" if d.unit == "share" else d.numerator,
            "state": self.state or None,
            "limits": list(d.limits) if d.limits else None,
            "source": d.source or None,
        }


def metrics(engine: Engine, now: datetime, zone: str = "UTC") -> tuple[Metric, ...]:
    """Every metric of :data:`DEFINITIONS`, in that order; days are those of the ``zone``."""
    late = lags(engine, now)
    ripe, here = last_mature(engine, now, late, zone=zone), today(now, zone)
    windows = {MATURE: Period(_back(ripe, 29), ripe, zone), WEEK: Period(_back(here, 6), zone=zone)}
    sums: dict[str, Mapping[str, int]] = {}
    for name, period in windows.items():
        counted: dict[str, int] = {}
        for _, outcome, number in counters(engine, None, period, now):
            counted[outcome] = counted.get(outcome, 0) + number
        sums[name] = counted
    ends, week = sums[MATURE], sums[WEEK]
    final = _sum(ends, "sent", "failed", "bounced")
    hard = _hard(engine, windows[MATURE])
    tried = _sum(week, "sent", "failed", "bounced", "undelivered", "unknown")
    put_off, attempted = _deferred(engine, windows[WEEK])
    kept, handed = _kept_back(engine, windows[MATURE])
    shares = {
        "hard_bounce_rate": (hard, final),
        "soft_bounce_rate": (_sum(ends, "failed", "bounced") - hard, final),
        "delivery_rate": (_sum(ends, "sent"), final),
        "block_rate": (_blocked(engine, windows[WEEK]), _sum(week, "sent", "failed", "bounced")),
        "deferral_rate": (put_off, attempted),
        "not_handed_over_rate": (_sum(week, "undelivered"), tried),
        "unknown_rate": (_sum(week, "unknown"), tried),
        "complaint_rate": (_sum(ends, "complained"), _sum(ends, "sent", "bounced")),
        "kept_back_rate": (kept, handed),
    }
    waits, took = _waiting(engine, now), _handover(engine, now)
    times: dict[str, Sequence[float]] = {
        "queue_age_p95": waits,
        "handover_p95": took,
        "report_lag_p95": sorted(late.elements()),
    }
    found = []
    for one in DEFINITIONS:
        period = windows.get(one.window, Period())
        days = (period.first or "", period.last or (here if period.first else ""))
        if one.name in shares:
            of, among = shares[one.name]
            found.append(Metric(one, of / among if among else None, of, among, *days))
        else:
            values = times[one.name]
            found.append(Metric(one, _p95(values), None, len(values), *days))
    return tuple(found)


def _back(day: str, days: int) -> str:
    return f"{date.fromisoformat(day) - timedelta(days=days)}"


def _sum(counted: Mapping[str, int], *names: str) -> int:
    return sum(counted.get(name, 0) for name in names)


def _p95(values: Sequence[float]) -> float | None:
    """The nearest-rank 95th percentile of sorted values."""
    return float(values[min(len(values) - 1, -(-len(values) * 95 // 100) - 1)]) if values else None


def _hard(engine: Engine, period: Period) -> int:
    with explained("reading the failures"), reading(engine) as connection:
        query = failures(engine, [sa.func.sum(for_good(stored_table(connection)))], period=period)
        return int(connection.execute(query).scalar_one() or 0)


def _blocked(engine: Engine, period: Period) -> int:
    query = failures(engine, [REASON, sa.func.count()], period=period).group_by(REASON)
    with explained("reading the failures"), reading(engine) as connection:
        return sum(int(number) for reason, number in connection.execute(query) if reason in BLOCKS)


def _deferred(engine: Engine, period: Period) -> tuple[int, int]:
    """(sendings put off at least once, sendings tried) in a period, by the moment of the answer."""
    each = sa.select(
        e.c.mail_id, e.c.recipient, sa.func.max(sa.case((e.c.kind == "deferred", 1), else_=0)).label("off")
    ).where(
        e.c.kind.in_(("sent", "failed", "deferred", "unknown")), e.c.recipient.is_not(None), *period.moments(e.c.at)
    )
    grouped = each.group_by(e.c.mail_id, e.c.recipient).subquery()
    query = sa.select(sa.func.coalesce(sa.func.sum(grouped.c.off), 0), sa.func.count()).select_from(grouped)
    with explained("counting what was put off"), reading(engine) as connection:
        off, tried = connection.execute(query).one()
    return int(off), int(tried)


def _kept_back(engine: Engine, period: Period) -> tuple[int, int]:
    born = e.c.data["recipients"].as_integer()
    query = sa.select(
        sa.func.coalesce(sa.func.sum(sa.case((e.c.kind == "barred", 1), else_=0)), 0),
        sa.func.coalesce(sa.func.sum(sa.case((e.c.kind == "submitted", sa.func.coalesce(born, 1)), else_=0)), 0),
    ).where(e.c.kind.in_(("barred", "submitted")), *period.moments(e.c.at))
    with explained("counting what was kept back"), reading(engine) as connection:
        kept, handed = connection.execute(query).one()
    return int(kept), int(handed)


def _waiting(engine: Engine, now: datetime) -> list[float]:
    """Seconds that mails wait which are due, shortest first."""
    query = sa.select(m.c.queued_at).where(m.c.state == MailState.OUTGOING.value, m.c.due_at <= now)
    with explained("reading how long mails wait"), reading(engine) as connection:
        return sorted(max((now - row[0]).total_seconds(), 0.0) for row in connection.execute(query))


def _handover(engine: Engine, now: datetime) -> list[float]:
    """Seconds from the hand-over to us until the server took it, of what was accepted in the last day."""
    born = e.alias("born")
    both = e.join(born, sa.and_(born.c.mail_id == e.c.mail_id, born.c.kind == "submitted"))
    query = sa.select(e.c.at, born.c.at).select_from(both)
    query = query.where(e.c.kind == "sent", e.c.at >= now - timedelta(days=1)).order_by(e.c.id.desc()).limit(50_000)
    with explained("reading how long sending took"), reading(engine) as connection:
        return sorted(max((sent - came).total_seconds(), 0.0) for sent, came in connection.execute(query))
