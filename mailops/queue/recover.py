"""Settles what a dead worker left behind.

Each mail it still held is one of three: never started (given back), answered (settled with that answer, from its
journal), or started without an answer (``unknown``: sent again at once, with the same Message-ID). A worker on another
machine has no journal here; its mails are taken over once its lease ran out, and count as started.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from sqlalchemy.engine import Engine

from ..model.setup import RetryPolicy
from ..ports import RecipientReply, SendResult
from . import journal, lease
from .outcome import settle

LOST = "The worker ended before the answer was read"


@dataclass(frozen=True, slots=True)
class Recovered:
    """How many mails of dead workers were settled, given back, and are to be sent again."""

    settled: int = 0
    released: int = 0
    unknown: int = 0

    def __add__(self, other: Recovered) -> Recovered:
        return Recovered(self.settled + other.settled, self.released + other.released, self.unknown + other.unknown)


def recover(engine: Engine, journals: Path, *, now: datetime) -> Recovered:
    """Settle every dead worker's mails. Safe to call at any time, by several workers at once."""
    total = Recovered()
    known: set[str] = set()
    for path in sorted(journals.glob("*.journal")):
        known.add(path.stem)
        with journal.claim(path) as ours:
            if ours:
                total += _settle_worker(
                    engine, path.stem, {(e.attempt_id, e.mail_id): e for e in journal.read(path)}, now, True
                )
    for owner in lease.owners(engine, expired_before=now):
        if owner not in known:
            total += _settle_worker(engine, owner, {}, now, False)
    return total


def _settle_worker(
    engine: Engine, worker: str, entries: dict[tuple[int, int], journal.Entry], now: datetime, complete: bool
) -> Recovered:
    """``complete`` says that the journal is at hand, so an attempt it does not name never started."""
    held = lease.open_attempts(engine, worker)
    never = [mail for mail in held if complete and (mail.attempt_id, mail.mail_id) not in entries]
    settled = []
    unknown = 0
    for mail in held:
        if mail in never:
            continue
        entry = entries.get((mail.attempt_id, mail.mail_id))
        server = entry.server_key if entry else "unknown"
        result = entry.result if entry else None
        lost = result is None
        if result is None:
            result = SendResult(tuple(RecipientReply(r, 0, None, LOST, "body") for r in mail.recipients), unknown=True)
            unknown += 1
        outcome = settle(
            result,
            others=mail.others,
            policy=RetryPolicy(),
            queued_at=mail.queued_at,
            attempts=mail.attempts,
            now=now,
            server_name=server,
        )
        if lost and outcome.due_at is not None:
            outcome = replace(outcome, due_at=now)
        settled.append(lease.Settled(mail, outcome, server, None, None))
    lease.release(engine, worker, never)
    lease.settle(engine, worker, settled, now=now)
    return Recovered(len(settled) - unknown, len(never), unknown)
