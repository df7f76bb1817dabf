"""Proofs that count once: which body a token came with first is kept beside the events that were taken.

The row is one of ``webhook_events`` whose id is the token's digest under a mark; where an event has its kind, it has
the beginning of the body's digest. It is written before the events are, in a commit of its own, so that of two calls at
one time only one is first. A call that fails later leaves it, and the same body passes again.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..store import schema
from ..store.database import dialect_insert, explained
from .verify import refused

_MARK = "\N{SECTION SIGN}proof "
_KEPT = 40  # hexadecimal digits of the body's digest, 160 bits; the column's length


def claim(engine: Engine, provider: str, token: str, digest: str, *, now: datetime) -> None:
    """Bind a token to the body it comes with. Raises :class:`AuthError` when it came with another before."""
    w = schema.webhook_events
    key, body = _MARK + hashlib.sha256(token.encode("utf-8", "replace")).hexdigest(), digest[:_KEPT]
    with explained("recording a webhook"), engine.begin() as connection:
        row = dialect_insert(engine)(w).values(provider=provider, event_id=key, at=now, kind=body)
        if connection.execute(row.on_conflict_do_nothing().returning(w.c.event_id)).first() is not None:
            return
        first = connection.execute(sa.select(w.c.kind).where(w.c.provider == provider, w.c.event_id == key)).scalar()
    if first != body:
        raise refused(provider, "its token came with another body before")
