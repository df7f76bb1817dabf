"""What a person does with queued mail: Retry, Send Now, Cancel Email, one by one or by filter, with a preview.

Bulk actions go in chunks of their own transaction, so that a million mails do not hold the store's lock; each mail
moves whole or not at all, and only by a move that :data:`mailops.model.states.MAIL_MOVES` allows. A mail that a worker
holds at this moment is left alone and counted as busy.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..errors import ConfigError
from ..ledger import Book
from ..ledger.acts import act
from ..model.states import DELIVERY_MOVES, MAIL_MOVES, MailState
from ..ports import Clock
from ..store import schema
from ..store.database import explained, reading
from .filters import PARTLY, QueueFilter

m, d, c = schema.mails, schema.deliveries, schema.contents
CHUNK = 5_000
RETRYABLE = [s for s in (MailState.FAILED, MailState.CANCELLED) if MailState.OUTGOING in MAIL_MOVES[s]]
CANCELLABLE = [s for s in MailState if MailState.CANCELLED in MAIL_MOVES[s]]
_AGAIN = [state.value for state in DELIVERY_MOVES["retried"][0]]


@dataclass(frozen=True, slots=True)
class Preview:
    """What an action would do: how many mails it takes, how many fit the filter but are left out, and examples."""

    action: str
    count: int
    left_out: int
    reason: str
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """What an action did: mails moved, and mails a worker held at that moment."""

    action: str
    count: int
    busy: int = 0


def preview(engine: Engine, action: str, chosen: QueueFilter) -> Preview:
    """Count what :func:`retry`, :func:`cancel` or Send Now would take. Nothing is changed."""
    with explained("counting mails"), reading(engine) as connection:
        total = _count(connection, chosen.where())
        able = [*chosen.where(), _able(action), m.c.lease_owner.is_(None)]
        count = _count(connection, able)
        rows = connection.execute(sa.select(m.c.subject, m.c.header_from).where(*able).order_by(m.c.id).limit(3))
        examples = tuple(
            f"{subject or '(no subject)'} — from {sender or 'the notification address'}" for subject, sender in rows
        )
    return Preview(action, count, total - count, f"only {_WORDS[action]} that no worker holds", examples)


def retry(
    engine: Engine,
    chosen: QueueFilter,
    *,
    clock: Clock,
    book: Book,
    actor: str = "",
    recipients: tuple[str, ...] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Done:
    """Put failed (or cancelled) mails back as *Outgoing*; they leave with the next run of the queue job.

    A *Sent* mail is taken too when some of its recipients failed. Recipients who already got the mail do not get it
    again. With ``recipients`` only those are tried again.
    """

    def move(connection: Connection, ids: list[int], action: str) -> set[int]:
        return act(connection, book, "retried", ids, action=action, actor=actor, now=clock.now(), recipients=recipients)

    return _move(engine, "retry", chosen, move, on_progress)


def cancel(
    engine: Engine,
    chosen: QueueFilter,
    *,
    clock: Clock,
    book: Book,
    actor: str = "",
    on_progress: Callable[[int], None] | None = None,
) -> Done:
    """Take mails out of the queue; the next run skips them. They can be retried later."""

    def move(connection: Connection, ids: list[int], action: str) -> set[int]:
        return act(connection, book, "cancelled", ids, action=action, actor=actor, now=clock.now())

    return _move(engine, "cancel", chosen, move, on_progress)


def ignore(
    engine: Engine,
    chosen: QueueFilter,
    *,
    clock: Clock,
    book: Book,
    actor: str = "",
    on_progress: Callable[[int], None] | None = None,
) -> Done:
    """Say that the failed recipients of *Partly sent* mails need nobody any more; Auto-Vacuum then takes the mails."""

    def move(connection: Connection, ids: list[int], action: str) -> set[int]:
        return act(connection, book, "ignored", ids, action=action, actor=actor, now=clock.now())

    return _move(engine, "ignore", chosen, move, on_progress)


def sendable(engine: Engine, chosen: QueueFilter, *, limit: int = 100_000) -> list[int]:
    """The ids that Send Now takes: *Outgoing*, whatever their schedule."""
    with explained("reading the queue"), reading(engine) as connection:
        query = sa.select(m.c.id).where(*chosen.where(), m.c.state == MailState.OUTGOING.value)
        return [int(row[0]) for row in connection.execute(query.order_by(m.c.due_at, m.c.id).limit(limit))]


def _move(
    engine: Engine,
    action: str,
    chosen: QueueFilter,
    move: Callable[[Connection, list[int], str], set[int]],
    on_progress: Callable[[int], None] | None,
) -> Done:
    if chosen.is_empty:
        raise ConfigError(
            f"{action.capitalize()} needs a filter.",
            code="queue.filter_empty",
            fix="Name mails by id, or narrow by state, server, sender, recipient, reason or date.",
        )
    done, last, press = 0, 0, uuid.uuid4().hex
    while True:
        with explained(f"moving mails ({action})"), engine.begin() as connection:
            pick = (
                sa.select(m.c.id)
                .where(*chosen.where(), _able(action), m.c.lease_owner.is_(None), m.c.id > last)
                .order_by(m.c.id)
                .limit(CHUNK)
                .with_for_update()
            )
            rows = connection.execute(pick).all()
            if not rows:
                break
            ids = [int(row[0]) for row in rows]
            done += len(move(connection, ids, press))
        last = ids[-1]
        if on_progress:
            on_progress(done)
    with explained("counting mails"), reading(engine) as connection:
        busy = _count(connection, [*chosen.where(), m.c.lease_owner.is_not(None)])
    return Done(action, done, busy)


_WORDS = {
    "retry": "mails in state Delivery Failed or Cancelled, or Sent with failed recipients, with their message kept,",
    "cancel": "mails in state Outgoing or Delivery Failed",
    "send_now": "mails in state Outgoing",
    "ignore": "Partly sent mails",
}


def _able(action: str) -> sa.ColumnElement[bool]:
    """Which mails an action may take, by the table of moves."""
    if action == "send_now":
        return m.c.state == MailState.OUTGOING.value
    if action == "cancel":
        return m.c.state.in_([s.value for s in CANCELLABLE])
    if action == "ignore":
        return PARTLY
    kept = sa.exists().where(c.c.mail_id == m.c.id)  # what Auto-Vacuum or forgetting emptied cannot be sent again
    failed = sa.exists().where(d.c.mail_id == m.c.id, d.c.state.in_(_AGAIN))
    again = sa.or_(m.c.state.in_([s.value for s in RETRYABLE]), sa.and_(m.c.state == MailState.SENT.value, failed))
    return sa.and_(again, kept)


def _count(connection: Connection, where: list[sa.ColumnElement[bool]]) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(m).where(*where)).scalar_one())


def single(mail_id: int) -> QueueFilter:
    """The filter for one mail."""
    return replace(QueueFilter(), ids=(mail_id,))
