"""Pieces of SQL that SQLite and PostgreSQL write differently, and the failures that every question here starts from.

A million events are grouped where they lie; nothing here hands events over one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..errors import ConfigError
from ..ledger.book import standing
from ..model.states import BEFORE_RECIPIENT
from ..store import schema

e = schema.events
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


@dataclass(frozen=True, slots=True)
class Period:
    """UTC days from ``first`` to ``last``, both included (YYYY-MM-DD); None = open at that end."""

    first: str | None = None
    last: str | None = None

    @property
    def start(self) -> datetime | None:
        """The first moment."""
        return datetime.fromisoformat(self.first).replace(tzinfo=UTC) if self.first else None

    @property
    def end(self) -> datetime | None:
        """The first moment after it."""
        return datetime.fromisoformat(self.last).replace(tzinfo=UTC) + timedelta(days=1) if self.last else None

    def before(self, now: datetime) -> Period | None:
        """The same number of days before; None for a period without a beginning."""
        if self.first is None:
            return None
        first = datetime.fromisoformat(self.first)
        last = datetime.fromisoformat(self.last or now.astimezone(UTC).strftime("%Y-%m-%d"))
        length = max((last - first).days, 0) + 1
        return Period(f"{first - timedelta(days=length):%Y-%m-%d}", f"{first - timedelta(days=1):%Y-%m-%d}")

    def hours(self, column: Any) -> list[Any]:
        """Conditions on a column that holds hours (YYYY-MM-DDTHH)."""
        found = [column >= f"{self.first}T00"] if self.first else []
        return found + ([column <= f"{self.last}T23"] if self.last else [])

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


def day_of(engine: Engine, column: Any) -> Any:
    """The UTC day of a moment, as YYYY-MM-DD."""
    if engine.dialect.name == "postgresql":
        return sa.func.to_char(sa.func.timezone("UTC", column), "YYYY-MM-DD")
    return sa.func.substr(column, 1, 10)


def failures(
    engine: Engine, columns: list[Any], *, by: str = "all", value: str = "", period: Period | None = None
) -> Any:
    """A SELECT over failed and bounced recipients, of one group where ``by`` and ``value`` name it.

    Raises :class:`ConfigError` for a group that is none.
    """
    source: Any = e
    where = [RETURNED, e.c.recipient.is_not(None), *(period or Period()).moments(LEFT)]
    if by == "domain":
        where.append(domain_of(engine, e.c.recipient) == value.lower())
    elif by == "address":
        where.append(sa.func.lower(e.c.recipient) == value.lower())
    elif by == "server":
        where.append(sa.func.coalesce(e.c.server_key, "") == value)
    elif by in ("sender", "class"):
        born = schema.events.alias("born")
        source = e.join(born, sa.and_(born.c.mail_id == e.c.mail_id, born.c.kind == "submitted"))
        where.append(sa.func.coalesce(born.c.data["domain" if by == "sender" else "class"].as_string(), "") == value)
    elif by == "day":
        where += Period(value, value).moments(LEFT)
    elif by == "week":
        monday = datetime.fromisoformat(value)
        where += Period(value, f"{monday + timedelta(days=6):%Y-%m-%d}").moments(LEFT)
    elif by != "all":
        raise ConfigError(
            f"Failures cannot be picked by {by!r}.",
            code="analysis.group",
            facts={"by": by},
            fix="Use one of: domain, address, server, sender, class, day, week, all.",
        )
    return sa.select(*columns).select_from(source).where(*where)
