"""The daily counters: what became of how many recipients, by server, domains and class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..store import schema
from ..store.database import dialect_insert
from .facts import Fact

Key = tuple[str, str, str, str, str, str]
"""Day (UTC, ``2026-01-31``), server, sender domain, recipient domain, class, outcome."""


def key_for(fact: Fact) -> Key | None:
    """Under what a fact is counted; None when it is not."""
    if fact.counted is None:
        return None
    domain = (fact.recipient or "").rpartition("@")[2].lower()
    sender, mail_class, outcome = fact.counted
    return fact.at.strftime("%Y-%m-%d"), fact.server or "", sender, domain, mail_class, outcome


def add(connection: Connection, facts: Iterable[Fact]) -> None:
    """Count facts; one that takes another back is counted off."""
    counts: Counter[Key] = Counter()
    for fact in facts:
        key = key_for(fact)
        if key is not None:
            counts[key] += 1 if fact.undoes is None else -1
    rows = [(key, number) for key, number in sorted(counts.items()) if number]
    if not rows:
        return
    insert = dialect_insert(connection.engine)(schema.tallies)
    columns = ["day", "server_key", "sender_domain", "recipient_domain", "mail_class", "outcome"]
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=columns, set_={"count": schema.tallies.c.count + insert.excluded.count}
        ),
        [{**dict(zip(columns, key, strict=True)), "count": number} for key, number in rows],
    )


def dimensions(connection: Connection, mail_id: int) -> tuple[str, str]:
    """The sender's domain and the class of a mail, as its hand-over told; also of a mail that is gone."""
    e = schema.events
    born = connection.execute(
        sa.select(e.c.data).where(e.c.mail_id == mail_id, e.c.kind == "submitted").limit(1)
    ).scalar()
    return (born or {}).get("domain") or "", (born or {}).get("class") or "transactional"
