"""Settles what a dead worker left behind.

Each mail it still held is one of three: never started (given back), answered (settled with that answer, from its
journal), or started without an answer (``unknown``: sent again at once, with the same Message-ID). A worker on another
machine has no journal here; its mails are taken over once its lease ran out, and count as started.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from sqlalchemy.engine import Engine

from ..ledger import Book
from ..ledger.values import Settled
from ..model.setup import RetryPolicy, Server
from ..ports import RecipientReply, SendResult
from . import journal, lease
from .outcome import explained, settle

LOST = "The worker ended before the answer was read"


@dataclass(frozen=True, slots=True)
class Recovered:
    """How many mails of dead workers were settled, given back, and are to be sent again."""

    settled: int = 0
    released: int = 0
    unknown: int = 0

    def __add__(self, other: Recovered) -> Recovered:
        return Recovered(self.settled + other.settled, self.released + other.released, self.unknown + other.unknown)


def recover(
    engine: Engine, journals: Path, *, now: datetime, book: Book, servers: Mapping[str, Server] = MappingProxyType({})
) -> Recovered:
    """Settle every dead worker's mails. Safe to call at any time, by several workers at once.

    A mail is judged by the retry policy that its worker had; ``servers`` (by key) are for journals that do not say it.
    """
    total = Recovered()
    known: set[str] = set()
    for path in sorted(journals.glob("*.journal")):
        with journal.claim(path) as ours:
            if ours is not None:
                known.add(path.stem)
            if ours:
                total += _settle_worker(
                    engine,
                    path.stem,
                    {(e.attempt_id, e.mail_id): e for e in journal.read(path)},
                    now=now,
                    complete=True,
                    book=book,
                    servers=servers,
                )
    for owner in lease.owners(engine, expired_before=now):
        if owner not in known:
            total += _settle_worker(engine, owner, {}, now=now, complete=False, book=book, servers=servers)
    return total


def _settle_worker(
    engine: Engine,
    worker: str,
    entries: Mapping[tuple[int, int], journal.Entry],
    *,
    now: datetime,
    complete: bool,
    book: Book,
    servers: Mapping[str, Server],
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
        key = entry.server_key if entry else "unknown"
        server = servers.get(key)
        policy = (entry.policy if entry else None) or (server.retry if server else RetryPolicy())
        result = entry.result if entry else None
        answered = {reply.recipient for reply in result.replies} if result else set()
        silent = tuple(RecipientReply(r, 0, None, LOST, "body") for r in mail.recipients if r not in answered)
        lost = result is None or bool(silent)  # a mail may have had a transaction for each recipient
        if silent:
            result = SendResult((*(result.replies if result else ()), *silent), unknown=True)
            unknown += 1
        assert result is not None  # a mail has recipients
        outcome = settle(
            result,
            others=mail.others,
            policy=policy,
            queued_at=mail.queued_at,
            attempts=mail.attempts,
            now=now,
            server_name=(entry.server_name if entry else "") or (server.name if server else key),
            senders=(entry.sent_from or mail.header_from, entry.envelope_from) if entry else (mail.header_from,),
        )
        outcome = explained(outcome, result, server)
        if lost and outcome.due_at is not None:
            outcome = replace(outcome, due_at=now)
        left = (entry.sent_from, entry.envelope_from) if entry else (None, None)
        settled.append(Settled(mail, outcome, key, *left, rule=entry.rule if entry else None))
    lease.release(engine, worker, never)
    lease.settle(engine, worker, settled, now=now, book=book)
    return Recovered(len(settled) - unknown, len(never), unknown)
