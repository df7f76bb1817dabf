"""Removes mails that need not be kept; what became of them stays told and counted."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..model.states import FAILED_DELIVERIES, MailState
from ..store import schema

m, d = schema.mails, schema.deliveries


def remove_sent(connection: Connection, *, before: datetime, limit: int) -> int:
    """Remove up to ``limit`` mails that are *Sent* since before then; returns how many."""
    old = sa.select(m.c.id).where(m.c.state == MailState.SENT.value, m.c.finished_at < before)
    needed = sa.exists().where(d.c.mail_id == m.c.id, d.c.state.in_([s.value for s in FAILED_DELIVERIES]))
    old = old.where(sa.not_(needed))  # somebody did not get it, and nobody has looked at that yet
    old = old.where(m.c.lease_owner.is_(None)).order_by(m.c.id).limit(limit)
    ids = [int(row[0]) for row in connection.execute(old)]
    if ids:
        connection.execute(sa.delete(m).where(m.c.id.in_(ids)))
    return len(ids)
