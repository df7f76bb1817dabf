"""*Auto-Vacuum*: removes old sent mails; failures stay, and so do events and counters."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy.engine import Engine

from ..ledger.retention import remove_sent
from ..model.numbers import BOUNDS, within
from ..ports import Clock
from ..store.database import explained

JOB = "Auto-Vacuum"
KEEP = timedelta(days=7)
CHUNK = 2_000


def vacuum(
    engine: Engine, *, clock: Clock, keep: timedelta = KEEP, on_progress: Callable[[int], None] | None = None
) -> int:
    """Remove mails that are *Sent* for longer than ``keep``; returns how many. Raises :class:`InputRefused`
    for a time that is negative."""
    keep = min(keep, timedelta(days=BOUNDS["days"][1]))  # for ever: no mail is as old
    within("The days that sent mail is kept", keep / timedelta(days=1), "days")
    limit = clock.now() - keep
    done = 0
    while True:
        with explained("cleaning the queue"), engine.begin() as connection:
            removed = remove_sent(connection, before=limit, limit=CHUNK)
        if not removed:
            return done
        done += removed
        if on_progress:
            on_progress(done)
