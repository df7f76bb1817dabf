"""What a person does with mails, told for every recipient whose state it moves."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..model.states import DELIVERY_MOVES
from ..store import schema
from .book import Book, lock
from .facts import Fact, key_of

m, d = schema.mails, schema.deliveries


def act(
    connection: Connection,
    book: Book,
    kind: str,
    mails: Collection[int],
    *,
    action: str,
    actor: str,
    now: datetime,
    recipients: Collection[str] | None = None,
) -> set[int]:
    """``retried``, ``cancelled`` or ``ignored``, in the caller's transaction; returns the mails it moved.

    ``action`` names this press of the button: the same one again changes nothing. With ``recipients`` (as they go on
    the wire, or normalised) only those.
    """
    lock(connection, mails)
    sources = [state.value for state in DELIVERY_MOVES[kind][0]]
    query = sa.select(d.c.mail_id, d.c.recipient, m.c.message_id).join(m, m.c.id == d.c.mail_id)
    query = query.where(d.c.mail_id.in_(list(mails)), d.c.state.in_(sources)).order_by(d.c.mail_id, d.c.id)
    if recipients is not None:
        wanted = list(recipients)
        query = query.where(sa.or_(d.c.recipient.in_(wanted), d.c.normalised.in_(wanted)))
    row: dict[str, Any] = {"updated_at": now}
    facts = [
        Fact(
            kind,
            now,
            key_of("c", action, mail_id, recipient),
            int(mail_id),
            recipient,
            message_id,
            actor=actor or None,
            row=row,
        )
        for mail_id, recipient, message_id in connection.execute(query)
    ]
    return {fact.mail_id for fact in book.record(connection, facts, now=now) if fact.mail_id is not None}
