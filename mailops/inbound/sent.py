"""Mails that were sent from here, by their Message-ID: whom an answer is for; also mails gone from the queue."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..store import schema
from ..store.bulk import among
from .values import SentFacts

m, e = schema.mails, schema.events


def sent_ids(connection: Connection, message_ids: Collection[str]) -> set[str]:
    """Those of these Message-IDs that a mail left under."""
    found = [sa.select(t.c.message_id).where(among(t.c.message_id, message_ids)).distinct() for t in (m, e)]
    return {key for query in found for key in connection.execute(query).scalars()}


def sent_mail(connection: Connection, message_id: str) -> SentFacts | None:
    """The newest mail with this Message-ID, from the queue, else from its history."""
    query = sa.select(m.c.header_from, m.c.origin, m.c.sent_from).where(m.c.message_id == message_id)
    row = connection.execute(query.order_by(m.c.id.desc()).limit(1)).first()
    if row is not None:
        return SentFacts(message_id, row.header_from, row.origin == "gateway", row.sent_from)
    told = sa.select(e.c.mail_id).where(e.c.message_id == message_id, e.c.recipient.is_not(None))
    mail = connection.execute(told.order_by(e.c.id.desc()).limit(1)).scalar()
    if mail is None:
        return None
    birth = sa.select(e.c.data, e.c.actor).where(e.c.mail_id == mail, e.c.kind == "submitted")
    born = connection.execute(birth.limit(1)).first()
    return SentFacts(message_id, (born.data or {}).get("from"), born.actor == "gateway") if born else None
