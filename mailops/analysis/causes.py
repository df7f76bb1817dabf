"""Why mail fails, and how much leaves on each day."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..bounces.reasons import is_hard, plain
from ..store import schema
from ..store.database import explained, reading
from .bounce_rate import since_day, tally_frame


def causes(engine: Engine, *, since: str | None, now: datetime) -> pd.DataFrame:
    """Failed and bounced recipients by reason: columns reason, meaning, hard, recipients, domains, example."""
    e = schema.events
    query = sa.select(e.c.recipient, e.c.data).where(e.c.kind.in_(["failed", "bounced"]))
    first = since_day(since, now)
    if first:
        query = query.where(e.c.at >= datetime.fromisoformat(first).replace(tzinfo=UTC))
    with explained("reading the events"), reading(engine) as connection:
        rows = [
            (recipient, (data or {}).get("reason") or "undefined", (data or {}).get("reply") or "")
            for recipient, data in connection.execute(query)
        ]
    frame = pd.DataFrame(rows, columns=["recipient", "reason", "reply"])
    if frame.empty:
        return pd.DataFrame(columns=["reason", "meaning", "hard", "recipients", "domains", "example"])
    frame["domain"] = frame["recipient"].str.rpartition("@")[2]
    grouped = frame.groupby("reason").agg(
        recipients=("recipient", "nunique"), domains=("domain", "nunique"), example=("reply", "max")
    )
    grouped = grouped.sort_values("recipients", ascending=False).reset_index()
    grouped.insert(1, "meaning", [plain(r) for r in grouped["reason"]])
    grouped.insert(2, "hard", ["hard" if is_hard(r) else "soft" for r in grouped["reason"]])
    return grouped


def volume(engine: Engine, *, since: str | None, now: datetime) -> pd.DataFrame:
    """Recipients per UTC day: columns day, sent, failed, deferred, bounced."""
    frame = tally_frame(engine, since=since, now=now)
    table = frame.pivot_table(index="day", columns="outcome", values="count", aggfunc="sum", fill_value=0)
    return table.reindex(columns=["sent", "failed", "deferred", "bounced"], fill_value=0).astype(int).reset_index()
