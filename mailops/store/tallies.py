"""The daily counters: what became of how many recipients, by server, domains and class."""

from __future__ import annotations

from collections import Counter

from sqlalchemy.engine import Connection

from . import schema
from .database import dialect_insert

Key = tuple[str, str, str, str, str]


def add(connection: Connection, day: str, counts: Counter[Key]) -> None:
    """Add to a day's counters (``2026-01-31``): (server, sender domain, recipient domain, class, outcome) → number."""
    if not counts:
        return
    insert = dialect_insert(connection.engine)(schema.tallies)
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=["day", "server_key", "sender_domain", "recipient_domain", "mail_class", "outcome"],
            set_={"count": schema.tallies.c.count + insert.excluded.count},
        ),
        [
            {
                "day": day,
                "server_key": server,
                "sender_domain": sender,
                "recipient_domain": domain,
                "mail_class": kind,
                "outcome": outcome,
                "count": number,
            }
            for (server, sender, domain, kind, outcome), number in sorted(counts.items())
        ],
    )
