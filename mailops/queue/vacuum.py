"""*Auto-Vacuum*: removes old sent mails; failures stay, and so do events and counters."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..model.states import MailState
from ..ports import Clock
from ..store import schema
from ..store.database import explained

JOB = "Auto-Vacuum"
KEEP = timedelta(days=7)
CHUNK = 2_000


def vacuum(
    engine: Engine, *, clock: Clock, keep: timedelta = KEEP, on_progress: Callable[[int], None] | None = None
) -> int:
    """Remove mails that are *Sent* for longer than ``keep``; returns how many."""
    m = schema.mails
    limit = clock.now() - keep
    done = 0
    while True:
        with explained("cleaning the queue"), engine.begin() as connection:
            ids = [
                int(row[0])
                for row in connection.execute(
                    sa.select(m.c.id)
                    .where(
                        m.c.state == MailState.SENT.value,
                        m.c.finished_at < limit,
                        m.c.lease_owner.is_(None),
                    )
                    .order_by(m.c.id)
                    .limit(CHUNK)
                )
            ]
            if not ids:
                return done
            connection.execute(sa.delete(m).where(m.c.id.in_(ids)))
        done += len(ids)
        if on_progress:
            on_progress(done)
