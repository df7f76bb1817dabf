"""Who hands over how much, what of it was refused, and how long it took: a row for each login of ``mailops serve``."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..store import schema
from ..store.database import explained, reading
from .sql import Period

e, r = schema.events, schema.reports
NOBODY = "(no sign-in)"
COLUMNS = (
    "login", "mails", "recipients", "octets", "sent", "refused", "waiting", "told", "timed", "p50", "p95", "last",
)  # fmt: skip
_ENDS = ("sent", "failed", "barred", "cancelled")


@dataclass(slots=True)
class _Sums:
    mails: int = 0
    recipients: int = 0
    octets: int = 0
    sent: int = 0
    refused: int = 0
    told: int = 0
    last: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    seconds: list[float] = field(default_factory=list)


def by_login(engine: Engine, period: Period) -> pd.DataFrame:
    """Mail that programs handed over, grouped by login, the most first.

    ``refused`` are recipients who did not get it, ``waiting`` those who may still, ``told`` those of whom the submitter
    heard; ``p50`` and ``p95`` are seconds from the 250 to the first delivery, over the ``timed`` mails that have one.
    """
    mine = sa.select(e.c.mail_id).where(e.c.kind == "submitted", e.c.actor == "smtp", *period.moments(e.c.at))
    handed = sa.select(
        e.c.mail_id,
        e.c.at,
        e.c.data["login"].as_string(),
        e.c.data["recipients"].as_integer(),
        e.c.data["size"].as_integer(),
    ).where(e.c.kind == "submitted", e.c.actor == "smtp", *period.moments(e.c.at))
    arrived = sa.case((e.c.kind == "sent", 1), else_=0)
    people, first_at = sa.func.count(sa.distinct(e.c.recipient)), sa.func.min(e.c.at, type_=e.c.at.type)
    ended = sa.select(e.c.mail_id, arrived, people, first_at).where(e.c.mail_id.in_(mine), e.c.kind.in_(_ENDS))
    ended = ended.group_by(e.c.mail_id, arrived)
    told = sa.select(r.c.mail_id, sa.func.count()).where(r.c.mail_id.in_(mine), r.c.state == "told")
    sums: defaultdict[str, _Sums] = defaultdict(_Sums)
    whose: dict[int, tuple[str, datetime]] = {}
    with explained("reading what programs handed over"), reading(engine) as connection:
        for mail_id, at, login, recipients, size in connection.execute(handed):
            mine_of = sums[login or NOBODY]
            whose[mail_id] = (login or NOBODY, at)
            mine_of.mails, mine_of.recipients = mine_of.mails + 1, mine_of.recipients + (recipients or 0)
            mine_of.octets, mine_of.last = mine_of.octets + (size or 0), max(mine_of.last, at)
        for mail_id, came, number, first in connection.execute(ended):
            login, at = whose[mail_id]
            if came:
                sums[login].sent += number
                sums[login].seconds.append(max(0.0, (first - at).total_seconds()))
            else:
                sums[login].refused += number
        for mail_id, number in connection.execute(told.group_by(r.c.mail_id)):
            sums[whose[mail_id][0]].told += number
    rows = [_row(login, found) for login, found in sorted(sums.items(), key=lambda item: (-item[1].mails, item[0]))]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(login: str, found: _Sums) -> dict[str, Any]:
    seconds = pd.Series(found.seconds, dtype="float64")
    return {
        "login": login,
        "mails": found.mails,
        "recipients": found.recipients,
        "octets": found.octets,
        "sent": found.sent,
        "refused": found.refused,
        "waiting": max(0, found.recipients - found.sent - found.refused),
        "told": found.told,
        "timed": len(found.seconds),
        "p50": round(float(seconds.quantile(0.5)), 1) if found.seconds else None,
        "p95": round(float(seconds.quantile(0.95)), 1) if found.seconds else None,
        "last": found.last,
    }
