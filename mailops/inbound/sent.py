"""Mails that were sent from here, by their Message-ID: whom an answer is for; also mails gone from the queue."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..store import schema
from .values import SentFacts

m, e = schema.mails, schema.events


def sent_mail(connection: Connection, message_id: str) -> SentFacts | None:
    """The newest mail with this Message-ID, from the queue, else from its history."""
    query = sa.select(m.c.header_from, m.c.origin).where(m.c.message_id == message_id)
    row = connection.execute(query.order_by(m.c.id.desc()).limit(1)).first()
    if row is not None:
        return SentFacts(message_id, row.header_from, row.origin == "gateway")
    told = sa.select(e.c.mail_id).where(e.c.message_id == message_id, e.c.recipient.is_not(None))
    mail = connection.execute(told.order_by(e.c.id.desc()).limit(1)).scalar()
    if mail is None:
        return None
    query = sa.select(e.c.data, e.c.actor).where(e.c.mail_id == mail, e.c.kind == "submitted")
    row = connection.execute(query.limit(1)).first()
    return SentFacts(message_id, (row.data or {}).get("from"), row.actor == "gateway") if row else None
