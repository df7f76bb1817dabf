"""Why mail fails: causes, the split into hard and soft, single failures, and how much leaves on each day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..bounces.doubt import UNCONFIRMED, strength
from ..bounces.hardness import stored_table
from ..errors import NotFound
from ..model.address import mailbox
from ..model.reasons import Hardness, is_hard, plain
from ..store import schema
from ..store.database import explained, reading
from .counting import counters, period_of
from .sql import FAILED, REASON, REPLY, TEMPORARY, Period, domain_of, failures

e, b = schema.events, schema.bounces
CAUSES = ["reason", "meaning", "hard", "recipients", "addresses", "domains", "example"]


def causes(
    engine: Engine,
    *,
    since: str | None = None,
    now: datetime,
    by: str = "all",
    value: str = "",
    period: Period | None = None,
) -> pd.DataFrame:
    """Failed and bounced recipients by reason: columns reason, meaning, hard, recipients (each of each mail: what the
    rates count), addresses (each once), domains, example.

    ``by`` and ``value`` pick one group, such as domain and x.example. Counted by the database.
    """
    people = sa.func.count(sa.distinct(sa.func.lower(e.c.recipient)))
    domains = sa.func.count(sa.distinct(domain_of(engine, e.c.recipient)))
    columns = [REASON, sa.func.count(), people, domains, sa.func.max(REPLY)]
    query = failures(engine, columns, by=by, value=value, period=period or period_of(since, now)).group_by(REASON)
    with explained("reading the events"), reading(engine) as connection:
        table = stored_table(connection)
        rows = connection.execute(query.order_by(sa.func.count().desc(), REASON)).all()
    found = [
        (r, plain(r), "hard" if is_hard(r, table=table) else "soft", int(n), int(p), int(d), str(x))
        for r, n, p, d, x in rows
    ]
    return pd.DataFrame(found, columns=CAUSES)


@dataclass(frozen=True, slots=True)
class Split:
    """Failures by when they were told (``refused`` at once, ``bounced`` later) and whether they are for good."""

    refused_hard: int = 0
    refused_soft: int = 0
    bounced_hard: int = 0
    bounced_soft: int = 0

    @property
    def hard(self) -> int:
        return self.refused_hard + self.bounced_hard

    @property
    def soft(self) -> int:
        return self.refused_soft + self.bounced_soft


def split(engine: Engine, *, period: Period, by: str = "all", value: str = "") -> Split:
    """The split of a period's failures, of one group where ``by`` and ``value`` name it."""
    columns = [e.c.kind, REASON, TEMPORARY, sa.func.count()]
    query = failures(engine, columns, by=by, value=value, period=period).group_by(e.c.kind, REASON, TEMPORARY)
    found = {"refused_hard": 0, "refused_soft": 0, "bounced_hard": 0, "bounced_soft": 0}
    with explained("reading the events"), reading(engine) as connection:
        table = stored_table(connection)
        for kind, reason, soon, number in connection.execute(query):
            name = "refused" if kind == "failed" else "bounced"
            found[f"{name}_{'hard' if is_hard(reason, bool(soon), table) else 'soft'}"] += int(number)
    return Split(**found)


@dataclass(frozen=True, slots=True)
class Failure:
    """One recipient's failure. ``id`` is the event's number; ``bounce_id`` a stored report about it, if there is one.

    ``error`` is what the server said, ``no error`` where nothing was said.
    """

    id: int
    at: datetime
    kind: str  # refused, bounced
    recipient: str
    mail_id: int | None
    server_key: str
    reason: str
    error: str
    code: str
    sender: str = ""
    bounce_id: int | None = None
    hard: bool = False
    unconfirmed: str = ""  # why a hard one waits for a second, in words

    @property
    def strength(self) -> str:
        """``hard``, ``hard, unconfirmed`` or ``soft``."""
        return strength(self.hard, self.unconfirmed)

    @property
    def meaning(self) -> str:
        return plain(self.reason)


def failure_page(
    engine: Engine,
    *,
    period: Period,
    by: str = "all",
    value: str = "",
    offset: int = 0,
    limit: int = 25,
    only: tuple[str, ...] = (),
) -> tuple[list[Failure], int]:
    """Single failures, newest first, and the number of all; ``only`` names reasons."""
    where = [REASON.in_(only)] if only else []
    rows = failures(engine, _SHOWN, by=by, value=value, period=period).where(*where)
    count = failures(engine, [sa.func.count()], by=by, value=value, period=period).where(*where)
    with explained("reading the failures"), reading(engine) as connection:
        total = int(connection.execute(count).scalar_one())
        found = connection.execute(rows.order_by(e.c.id.desc()).offset(offset).limit(limit)).all()
        table = stored_table(connection)
    return [_failure(row, table) for row in found], total


_SHOWN: list[Any] = [e.c.id, e.c.at, e.c.kind, e.c.recipient, e.c.mail_id, e.c.server_key, e.c.data]


def failure(engine: Engine, event_id: int) -> Failure:
    """One failure with its sender's domain and its report. Raises :class:`NotFound`."""
    query = sa.select(*_SHOWN).where(e.c.id == event_id, FAILED, e.c.recipient.is_not(None))
    with explained("reading a failure"), reading(engine) as connection:
        row = connection.execute(query).first()
        if row is None:
            raise NotFound(
                f"There is no failure {event_id}.",
                facts={"failure": event_id},
                fix="Look it up in the notebook bounce_rate, or with: mailops bounces why MAIL",
            )
        born = sa.select(e.c.data).where(e.c.mail_id == row.mail_id, e.c.kind == "submitted").limit(1)
        sender = (connection.execute(born).scalar() or {}).get("domain") or ""
        report = None
        if row.kind == "bounced":
            of_it = [b.c.mail_id == row.mail_id, b.c.normalised == mailbox(row.recipient)]
            report = connection.execute(sa.select(sa.func.max(b.c.id)).where(*of_it)).scalar()
        table = stored_table(connection)
    return _failure(row, table, sender, report)


def failures_of(engine: Engine, mail_id: int) -> list[Failure]:
    """The last failure of each recipient of a mail, also of one that is gone."""
    last = sa.select(sa.func.max(e.c.id)).where(e.c.mail_id == mail_id, FAILED, e.c.recipient.is_not(None))
    with explained("reading the failures"), reading(engine) as connection:
        ids = connection.execute(last.group_by(e.c.recipient).limit(1000)).scalars().all()
    return [failure(engine, int(number)) for number in sorted(ids)]


def _failure(row: Any, table: Mapping[str, Hardness], sender: str = "", report: int | None = None) -> Failure:
    data = row.data or {}
    reason, doubt = data.get("reason") or "undefined", str(data.get(UNCONFIRMED) or "")
    code = str(data.get("status") or data.get("enhanced") or data.get("code") or "")
    return Failure(
        int(row.id),
        row.at,
        "refused" if row.kind == "failed" else "bounced",
        str(row.recipient),
        row.mail_id,
        row.server_key or "",
        reason,
        str(data.get("reply") or "").strip() or plain("undefined"),
        code,
        sender,
        report,
        not doubt and is_hard(reason, code.startswith("4"), table),
        doubt,
    )


def volume(engine: Engine, *, period: Period, now: datetime) -> pd.DataFrame:
    """Sendings per day on which they left (of the period's zone), by their last outcome: columns day, sent, failed,
    deferred, bounced, undelivered (not handed over)."""
    outcomes = ["sent", "failed", "deferred", "bounced", "undelivered"]
    found: dict[str, dict[str, int]] = {}
    for day, outcome, number in counters(engine, "day", period, now):
        found.setdefault(day, {})[outcome] = number
    rows = [(day, *(found[day].get(outcome, 0) for outcome in outcomes)) for day in sorted(found)]
    return pd.DataFrame(rows, columns=["day", *outcomes])
