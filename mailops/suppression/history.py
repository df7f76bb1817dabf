"""What is known of an address: its reports, mails that arrived, its contact's counter, and undos."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..store import schema
from .decide import Policy, Trace

b, d, s, c = schema.bounces, schema.deliveries, schema.suppressions, schema.contacts


def history(connection: Connection, address: str, *, now: datetime, policy: Policy) -> list[Trace]:
    """The traces of a normalised address within the policy's window (hard ones and undos at any age)."""
    since = now - policy.soft_window
    traces = [
        Trace(r.received_at, r.kind, bool(r.hard), r.reason or "undefined", r.id)
        for r in connection.execute(
            sa.select(b.c.received_at, b.c.kind, b.c.hard, b.c.reason, b.c.id)
            .where(
                b.c.normalised == address,
                b.c.kind.in_(("bounce", "complaint")),
                sa.or_(b.c.mail_id.is_not(None), b.c.source != "report"),  # anyone can write about mail never ours
            )
            .order_by(b.c.id.desc())
            .limit(200)
        )
    ]
    if not traces:
        return []
    traces += [
        Trace(r.changed_at, "undone")
        for r in connection.execute(sa.select(s.c.changed_at).where(s.c.address == address, s.c.state == "undone"))
    ]
    traces += [
        Trace(r.updated_at, "success")
        for r in connection.execute(
            sa.select(d.c.updated_at)
            .where(d.c.normalised == address, d.c.state == "sent", d.c.updated_at >= since)
            .order_by(d.c.id.desc())
            .limit(50)
        )
    ]
    return traces


def counter(connection: Connection, address: str) -> int | None:
    """The highest bounce counter of the contacts at an address (0 after they wrote to us); None without a contact."""
    value = connection.execute(sa.select(sa.func.max(c.c.bounce_count)).where(c.c.email_normalised == address)).scalar()
    return None if value is None else int(value)
