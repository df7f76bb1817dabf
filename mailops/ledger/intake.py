"""Takes new mails in: the rows, their recipients, and the fact that they were handed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..model.address import normalise
from ..model.states import DeliveryState, MailState
from ..store import schema
from ..store.bulk import insert_rows
from .attempts import barring
from .book import Book, write
from .facts import Fact

m, d = schema.mails, schema.deliveries


def enter(
    connection: Connection,
    book: Book,
    rows: Sequence[Mapping[str, Any]],
    recipients: Sequence[Sequence[str]],
    *,
    barred: Sequence[Mapping[str, str]],
    now: datetime,
) -> list[int]:
    """Insert mails as *Outgoing* in the caller's transaction; returns their ids in order.

    ``rows`` are columns of ``mails`` without state and times of the queue's own, ``recipients`` those of each mail as
    they go on the wire, ``barred`` which of them the suppression list names, and why: these fail at once.
    """
    new = [{**row, "state": MailState.OUTGOING.value, "attempts": 0, "created_at": now} for row in rows]
    ids = _insert(connection, new)
    insert_rows(
        connection,
        d,
        [
            {
                "mail_id": mail_id,
                "recipient": recipient,
                "normalised": normalise(recipient),
                "domain": recipient.rpartition("@")[2].lower(),
                "state": DeliveryState.PENDING.value,
                "updated_at": now,
            }
            for mail_id, people in zip(ids, recipients, strict=True)
            for recipient in people
        ],
    )
    write(connection, [_handed_over(i, row, people, now) for i, row, people in zip(ids, rows, recipients, strict=True)])
    facts = [
        fact
        for mail_id, row, why in zip(ids, rows, barred, strict=True)
        for fact in barring(mail_id, row["message_id"], dict(why), now)
    ]
    if facts:
        book.record(connection, facts, now=now)
    return ids


def _handed_over(mail_id: int, row: Mapping[str, Any], recipients: Sequence[str], now: datetime) -> Fact:
    data = {
        "from": row["header_from"],
        "domain": row["sender_domain"],
        "class": row["mail_class"],
        "recipients": len(recipients),
        "size": row["size"],
    }
    data |= {name: row[key] for name, key in _HANDED if row.get(key)}
    return Fact("submitted", now, None, mail_id, None, row["message_id"], actor=row["origin"], data=data)


_HANDED = (("login", "login"), ("client", "peer"), ("envelope", "return_path"))
"""Who handed a mail over, where a program did, and its envelope sender."""


def _insert(connection: Connection, rows: list[dict[str, Any]]) -> list[int]:
    """Insert mails; returns their numbers, none of which was ever another mail's."""
    if connection.dialect.name != "sqlite":
        result = connection.execute(sa.insert(m).returning(m.c.id, sort_by_parameter_order=True), rows)
        return [int(row[0]) for row in result]
    # one prepared statement a row is quicker there than rows that give their numbers back
    given = connection.execute(sa.text("SELECT seq FROM sqlite_sequence WHERE name = 'mails'")).scalar() or 0
    ids = list(range(int(given) + 1, int(given) + 1 + len(rows)))
    connection.execute(sa.insert(m), [{"id": i, **row} for i, row in zip(ids, rows, strict=True)])
    return ids
