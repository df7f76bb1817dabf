"""The counters by hour: how many sendings ended how, by the hour they left, server, domains and class.

Each sending (:mod:`.sendings`) stands in one outcome. Beside the outcomes two things are counted as they happen:
``deferred`` (put off, in the hour of the answer) and ``complained`` (in the hour the mail left).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..store import schema
from ..store.database import dialect_insert
from . import sendings
from .facts import Counted, Fact

Key = tuple[str, str, str, str, str, str]
"""Hour (UTC, ``2026-01-31T14``), server, sender domain, recipient domain, class, outcome."""
COLUMNS = ("hour", "server_key", "sender_domain", "recipient_domain", "mail_class", "outcome")


def key_of(at: datetime, server: str | None, counted: Counted, recipient: str | None, outcome: str) -> Key:
    """The counter of one sending."""
    domain = (recipient or "").rpartition("@")[2].lower()
    hour = at.astimezone(UTC).strftime("%Y-%m-%dT%H")
    return hour, server or "", counted.sender_domain, domain, counted.mail_class, outcome


def add(connection: Connection, facts: Iterable[Fact]) -> None:
    """Count new facts, which are written already."""
    counts: Counter[Key] = Counter()
    new: defaultdict[tuple[int, str], set[str]] = defaultdict(set)
    dims: dict[tuple[int, str], Counted] = {}
    for fact in facts:
        if fact.counted is None or fact.mail_id is None or fact.recipient is None:
            continue
        if fact.kind in sendings.KINDS and fact.key is not None:
            new[fact.mail_id, fact.recipient].add(fact.key)
            dims[fact.mail_id, fact.recipient] = fact.counted
        else:
            step = 1 if fact.undoes is None else -1
            at = fact.left_at or fact.at
            counts[key_of(at, fact.server, fact.counted, fact.recipient, fact.counted.outcome)] += step
    for which, before, after in sendings.changes(connection, new) if new else ():
        for sending, step in ((before, -1), (after, 1)):
            if sending is not None and before != after:
                place = key_of(sending.left_at, sending.server, dims[which], which[1], sending.outcome)
                counts[place] += step
    rows = [(key, number) for key, number in sorted(counts.items()) if number]
    if not rows:
        return
    insert = dialect_insert(connection.engine)(schema.counts)
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=list(COLUMNS), set_={"count": schema.counts.c["count"] + insert.excluded["count"]}
        ),
        [{**dict(zip(COLUMNS, key, strict=True)), "count": number} for key, number in rows],
    )


def dimensions(connection: Connection, mail_id: int) -> tuple[str, str]:
    """The sender's domain and the class of a mail, as its hand-over told; also of a mail that is gone."""
    e = schema.events
    born = connection.execute(
        sa.select(e.c.data).where(e.c.mail_id == mail_id, e.c.kind == "submitted").limit(1)
    ).scalar()
    return (born or {}).get("domain") or "", (born or {}).get("class") or "transactional"
