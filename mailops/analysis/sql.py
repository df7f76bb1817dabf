"""Pieces of SQL that SQLite and PostgreSQL write differently, and the failures that every question here starts from.

A million events are grouped where they lie; nothing here hands events over one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..bounces.doubt import UNCONFIRMED
from ..errors import ConfigError
from ..ledger.book import standing
from ..model.reasons import REASONS, Hardness, is_hard
from ..model.states import BEFORE_RECIPIENT
from ..model.zones import DAY, HOUR, Stretch, day_begins, stretches, zone_of
from ..store import schema

e, c, r = schema.events, schema.campaigns, schema.campaign_recipients
FAILED = sa.and_(e.c.kind.in_(("failed", "bounced")), standing())
"""Events that a recipient was refused or came back, without those that were taken back later."""
LEFT: Any = sa.func.coalesce(e.c.left_at, e.c.at)
"""When the mail of a failure left: that of what came back is the day it is counted on."""
_later = e.alias("later")
RETURNED = sa.and_(
    FAILED,
    sa.or_(e.c.kind == "bounced", sa.func.coalesce(e.c.data["stage"].as_string(), "").not_in(sorted(BEFORE_RECIPIENT))),
    ~sa.exists().where(
        *(_later.c.mail_id == e.c.mail_id, _later.c.recipient == e.c.recipient, _later.c.id > e.c.id),
        _later.c.kind.in_(("sent", "failed", "bounced")),
        standing(_later),
    ),
)
"""The failures that are a sending's last outcome, and were said of a recipient: what the rates count."""
UNEXPLAINED = ("undefined", "onhold")  # the other side gave no reason, or none that says anything
REASON: Any = sa.func.coalesce(sa.func.nullif(e.c.data["reason"].as_string(), ""), sa.literal_column("'undefined'"))
REPLY: Any = sa.func.coalesce(e.c.data["reply"].as_string(), sa.literal_column("''"))
_CODE: Any = sa.func.coalesce(e.c.data["status"].as_string(), e.c.data["enhanced"].as_string(), "")
_REPLIED: Any = sa.func.coalesce(e.c.data["code"].as_integer(), 0)
TEMPORARY: Any = sa.case(
    (e.c.data[UNCONFIRMED].as_string().is_not(None), 1),
    (_CODE.like("4.%"), 1),
    (sa.and_(_CODE == "", _REPLIED.between(400, 499)), 1),
    else_=0,
)
"""1 for a failure that is not for good whatever its reason: it may go away, or waits for a second one."""


def for_good(table: Mapping[str, Hardness]) -> Any:
    """1 for a failure that is hard (:func:`.reasons.is_hard`) by this table: the address itself is dead."""
    dead = sorted(reason for reason in {*REASONS, *table} if is_hard(reason, False, table))
    return sa.case((sa.and_(REASON.in_(dead), TEMPORARY == 0), 1), else_=0)


@dataclass(frozen=True, slots=True)
class Period:
    """Days of a ``zone`` from ``first`` to ``last``, both included (YYYY-MM-DD); None = open at that end.

    Where a day begins at half an hour of UTC, the next whole one counts: so the counters by hour and the facts agree.
    """

    first: str | None = None
    last: str | None = None
    zone: str = "UTC"

    @property
    def start(self) -> datetime | None:
        """The first moment."""
        return self._begins(self.first) if self.first else None

    @property
    def end(self) -> datetime | None:
        """The first moment after it."""
        return self._begins(f"{date.fromisoformat(self.last) + DAY}") if self.last else None

    def _begins(self, day: str) -> datetime:
        begins = day_begins(zone_of(self.zone), date.fromisoformat(day)).replace(tzinfo=UTC)
        return begins if begins == begins.replace(minute=0) else begins.replace(minute=0) + HOUR

    def before(self, now: datetime) -> Period | None:
        """The same number of days before; None for a period without a beginning."""
        if self.first is None:
            return None
        first = datetime.fromisoformat(self.first)
        last = datetime.fromisoformat(self.last or today(now, self.zone))
        length = max((last - first).days, 0) + 1
        return Period(f"{first - length * DAY:%Y-%m-%d}", f"{first - DAY:%Y-%m-%d}", self.zone)

    def hours(self, column: Any) -> list[Any]:
        """Conditions on a column that holds hours of UTC (YYYY-MM-DDTHH)."""
        found = [column >= f"{self.start:%Y-%m-%dT%H}"] if self.start else []
        return found + ([column < f"{self.end:%Y-%m-%dT%H}"] if self.end else [])

    def moments(self, column: Any) -> list[Any]:
        """Conditions on a column that holds moments."""
        found = [column >= self.start] if self.start else []
        return found + ([column < self.end] if self.end else [])


def domain_of(engine: Engine, column: Any) -> Any:
    """What stands behind the last @, in lower case."""
    if engine.dialect.name == "postgresql":
        return sa.func.lower(sa.func.substring(column, "[^@]*$"))
    local = sa.func.rtrim(column, sa.func.replace(column, "@", ""))  # up to the last @, that included
    return sa.func.lower(sa.func.substr(column, sa.func.length(local) + 1))


def today(now: datetime, zone: str) -> str:
    """The day it is in a zone."""
    return f"{now.astimezone(zone_of(zone)):%Y-%m-%d}"


def local_day(engine: Engine, hour: Any, zone: str, now: datetime) -> Any:
    """The day of a zone (YYYY-MM-DD) on which an hour of UTC (a column of YYYY-MM-DDTHH) begins."""
    if zone == "UTC":
        return sa.func.substr(hour, 1, 10)

    def day(offset: timedelta) -> Any:
        minutes = int(offset.total_seconds() // 60)
        if engine.dialect.name == "postgresql":
            at = sa.cast(sa.func.concat(hour, ":00"), sa.TIMESTAMP()) + sa.func.make_interval(0, 0, 0, 0, 0, minutes)
            return sa.func.to_char(at, "YYYY-MM-DD")
        return sa.func.date(hour.concat(":00"), f"{minutes:+d} minutes")

    *parts, last = _offsets(zone, now.astimezone(UTC).year)
    cases = [(hour < f"{part.end:%Y-%m-%dT%H}", day(part.offset)) for part in parts]
    return sa.case(*cases, else_=day(last.offset)) if cases else day(last.offset)


@lru_cache(maxsize=16)
def _offsets(zone: str, year: int) -> tuple[Stretch, ...]:
    """The stretches of a zone in the ten years up to the end of this one."""
    return tuple(stretches(zone_of(zone), datetime(year - 10, 1, 1), datetime(year + 1, 1, 2), DAY))


def hour_of(engine: Engine, column: Any) -> Any:
    """The hour of UTC of a moment, as YYYY-MM-DDTHH."""
    if engine.dialect.name == "postgresql":
        return sa.func.to_char(sa.func.timezone("UTC", column), 'YYYY-MM-DD"T"HH24')
    return sa.func.replace(sa.func.substr(column, 1, 13), " ", "T")


def day_of(engine: Engine, column: Any) -> Any:
    """The UTC day of a moment, as YYYY-MM-DD."""
    if engine.dialect.name == "postgresql":
        return sa.func.to_char(sa.func.timezone("UTC", column), "YYYY-MM-DD")
    return sa.func.substr(column, 1, 10)


def in_campaign(key: str) -> Any:
    """A condition on facts: of this campaign's mails; "" for mail of none."""
    mails = sa.select(sa.literal(1)).where(r.c.mail_id == e.c.mail_id)
    return mails.where(r.c.campaign_id == c.c.id, c.c.key == key).exists() if key else ~mails.exists()


def failures(
    engine: Engine, columns: list[Any], *, by: str = "all", value: str = "", period: Period | None = None
) -> Any:
    """A SELECT over failed and bounced recipients, of one group where ``by`` and ``value`` name it.

    Raises :class:`ConfigError` for a group that is none.
    """
    source: Any = e
    period = period or Period()
    where, zone = [RETURNED, e.c.recipient.is_not(None), *period.moments(LEFT)], period.zone
    if by == "domain":
        where.append(domain_of(engine, e.c.recipient) == value.lower())
    elif by == "domains":
        where.append(domain_of(engine, e.c.recipient).in_(value.split()))
    elif by == "reason":
        where.append(value == REASON)
    elif by == "campaign":
        where.append(in_campaign(value))
    elif by == "address":
        where.append(sa.func.lower(e.c.recipient) == value.lower())
    elif by == "server":
        where.append(sa.func.coalesce(e.c.server_key, "") == value)
    elif by in ("sender", "class"):
        born = schema.events.alias("born")
        source = e.join(born, sa.and_(born.c.mail_id == e.c.mail_id, born.c.kind == "submitted"))
        where.append(sa.func.coalesce(born.c.data["domain" if by == "sender" else "class"].as_string(), "") == value)
    elif by == "day":
        where += Period(value, value, zone).moments(LEFT)
    elif by == "week":
        monday = datetime.fromisoformat(value)
        where += Period(value, f"{monday + 6 * DAY:%Y-%m-%d}", zone).moments(LEFT)
    elif by != "all":
        raise ConfigError(
            f"Failures cannot be picked by {by!r}.",
            code="analysis.group",
            facts={"by": by},
            fix="Use one of: domain, provider, address, server, sender, class, campaign, reason, day, week, all.",
        )
    return sa.select(*columns).select_from(source).where(*where)
