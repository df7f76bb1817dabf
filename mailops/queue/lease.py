"""Leases batches of due mails to a worker and settles them, one commit each.

Leasing writes an open ``attempts`` row per mail, so the record of an attempt is on the disk before its first byte
leaves. PostgreSQL workers pass over each other's rows (``SKIP LOCKED``); SQLite workers take turns at the write lock.
A mail belongs to the worker named in ``lease_owner`` until it is settled or released; nobody else moves it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..model.states import DeliveryState, MailState
from ..model.tag import is_signed
from ..store import schema, tallies
from ..store.bulk import insert_rows, update_rows
from ..store.database import explained
from .bar import bar
from .outcome import Outcome

m, c, d, a = schema.mails, schema.contents, schema.deliveries, schema.attempts
MAX_BATCH_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Leased:
    """A mail in a worker's hands, with everything an attempt needs. ``others`` are recipients already settled."""

    mail_id: int
    attempt_id: int
    message_id: str
    header_from: str | None
    sender_domain: str | None
    company_id: int | None
    forced_server: str | None
    return_path: str | None
    mail_class: str
    auto_delete: bool
    thread_message_id: int | None
    queued_at: datetime
    attempts: int
    recipients: tuple[str, ...]
    others: tuple[DeliveryState, ...]
    raw: bytes
    from_start: int
    from_end: int
    smtputf8: bool
    eightbit: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """A leased mail with what became of it."""

    mail: Leased
    outcome: Outcome
    server_key: str
    sent_from: str | None
    envelope_from: str | None
    transcript: str | None = None


def lease(
    engine: Engine,
    worker: str,
    *,
    now: datetime,
    batch: int,
    duration: timedelta,
    ids: Sequence[int] | None = None,
) -> list[Leased]:
    """Take up to ``batch`` due mails (oldest due first) for ``worker``; none when nothing is due.

    With ``ids`` only those, whatever their schedule. Recipients that were suppressed meanwhile are left out.
    """
    while True:
        taken, left = _lease(engine, worker, now=now, batch=batch, duration=duration, ids=ids)
        if left or not taken:
            return left


def _lease(
    engine: Engine, worker: str, *, now: datetime, batch: int, duration: timedelta, ids: Sequence[int] | None
) -> tuple[int, list[Leased]]:
    """How many mails were taken, and those of them that are to be sent."""
    with explained("taking mails from the queue"), engine.begin() as connection:
        pick = sa.select(m.c.id, m.c.size).where(m.c.state == MailState.OUTGOING.value, m.c.lease_owner.is_(None))
        if ids is None:
            pick = pick.where(m.c.due_at <= now)
        else:
            pick = pick.where(m.c.id.in_(ids))
        pick = pick.order_by(m.c.due_at, m.c.id).limit(batch).with_for_update(skip_locked=True)
        chosen: list[int] = []
        size = 0
        for mail_id, mail_size in connection.execute(pick):
            size += mail_size
            if chosen and size > MAX_BATCH_BYTES:
                break
            chosen.append(int(mail_id))
        if not chosen:
            return 0, []
        connection.execute(
            sa.update(m)
            .where(m.c.id.in_(chosen))
            .values(lease_owner=worker, lease_until=now + duration, attempts=m.c.attempts + 1)
        )
        opened = connection.execute(
            sa.insert(a).returning(a.c.id, sort_by_parameter_order=True),
            [{"mail_id": mail_id, "worker": worker, "started_at": now} for mail_id in chosen],
        )
        attempt_of = dict(zip(chosen, (int(row[0]) for row in opened), strict=True))
        return len(chosen), bar(connection, _load(connection, attempt_of), now=now)


def _load(connection: Connection, attempt_of: dict[int, int], with_content: bool = True) -> list[Leased]:
    ids = list(attempt_of)
    people: dict[int, tuple[list[str], list[DeliveryState]]] = {mail_id: ([], []) for mail_id in ids}
    for mail_id, recipient, state in connection.execute(
        sa.select(d.c.mail_id, d.c.recipient, d.c.state).where(d.c.mail_id.in_(ids)).order_by(d.c.id)
    ):
        waiting, others = people[mail_id]
        if state == DeliveryState.PENDING.value:
            waiting.append(recipient)
        else:
            others.append(DeliveryState(state))
    content = (c.c.raw, c.c.from_start, c.c.from_end, c.c.smtputf8, c.c.eightbit) if with_content else ()
    query = sa.select(
        m.c.id,
        m.c.message_id,
        m.c.header_from,
        m.c.sender_domain,
        m.c.company_id,
        m.c.forced_server,
        m.c.return_path,
        m.c.mail_class,
        m.c.auto_delete,
        m.c.thread_message_id,
        m.c.queued_at,
        m.c.attempts,
        *content,
    ).where(m.c.id.in_(ids))
    if with_content:
        query = query.join(c, c.c.mail_id == m.c.id)
    leased = []
    for row in connection.execute(query):
        mail_id, message_id, sender, domain, company, forced, path, kind, auto, thread, queued, tries, *rest = row
        raw, start, end, utf8, eight = rest or (b"", 0, 0, False, False)
        waiting, others = people[mail_id]
        leased.append(
            Leased(
                mail_id,
                attempt_of[mail_id],
                message_id,
                sender,
                domain,
                company,
                forced,
                path,
                kind,
                auto,
                thread,
                queued,
                tries,
                tuple(waiting),
                tuple(others),
                bytes(raw),
                start,
                end,
                utf8,
                eight,
            )
        )
    order = {mail_id: n for n, mail_id in enumerate(ids)}
    leased.sort(key=lambda item: order[item.mail_id])
    return leased


def open_attempts(engine: Engine, worker: str) -> list[Leased]:
    """The mails a (dead) worker still holds, without their content."""
    with explained("reading open attempts"), engine.connect().execution_options(mailops_read=True) as connection:
        rows = connection.execute(
            sa.select(m.c.id, sa.func.max(a.c.id))
            .join(a, sa.and_(a.c.mail_id == m.c.id, a.c.worker == worker, a.c.outcome.is_(None)))
            .where(m.c.lease_owner == worker)
            .group_by(m.c.id)
        )
        attempt_of = {int(mail_id): int(attempt_id) for mail_id, attempt_id in rows}
        return _load(connection, attempt_of, with_content=False) if attempt_of else []


def owners(engine: Engine, *, expired_before: datetime | None = None) -> list[str]:
    """Workers that hold mails; with ``expired_before`` only those whose lease ended before then."""
    query = sa.select(m.c.lease_owner).where(m.c.lease_owner.is_not(None)).distinct()
    if expired_before is not None:
        query = query.where(m.c.lease_until < expired_before)
    with explained("reading leases"), engine.connect().execution_options(mailops_read=True) as connection:
        return [str(row[0]) for row in connection.execute(query)]


def renew(engine: Engine, worker: str, *, until: datetime) -> None:
    """Keep a live worker's mails its own."""
    with explained("renewing the lease"), engine.begin() as connection:
        connection.execute(sa.update(m).where(m.c.lease_owner == worker).values(lease_until=until))


def release(engine: Engine, worker: str, mails: Sequence[Leased]) -> None:
    """Give mails back that were never tried: the attempt never happened."""
    if not mails:
        return
    ids = [mail.mail_id for mail in mails]
    with explained("giving mails back to the queue"), engine.begin() as connection:
        connection.execute(
            sa.update(m)
            .where(m.c.id.in_(ids), m.c.lease_owner == worker)
            .values(lease_owner=None, lease_until=None, attempts=m.c.attempts - 1)
        )
        connection.execute(sa.delete(a).where(a.c.id.in_([mail.attempt_id for mail in mails])))


def settle(engine: Engine, worker: str, settled: Sequence[Settled], *, now: datetime) -> None:
    """Write a batch's outcomes in one commit: deliveries, mails, attempts, events, daily counters.

    A mail whose lease was lost in the meantime keeps the state its new owner gives it; the event is recorded all the
    same, since it happened.
    """
    if not settled:
        return
    with explained("recording what was sent"), engine.begin() as connection:
        ids = [item.mail.mail_id for item in settled]
        ours = {
            int(row[0])
            for row in connection.execute(sa.select(m.c.id).where(m.c.id.in_(ids), m.c.lease_owner == worker))
        }
        _write_rows(connection, [item for item in settled if item.mail.mail_id in ours], now)
        _write_history(engine, connection, settled, now)


def _write_rows(connection: Connection, settled: Sequence[Settled], now: datetime) -> None:
    gone = [i.mail.mail_id for i in settled if i.outcome.state is MailState.SENT and i.mail.auto_delete]
    removed = set(gone)
    kept = [i for i in settled if i.mail.mail_id not in removed]
    if gone:
        connection.execute(sa.delete(m).where(m.c.id.in_(gone)))
    deliveries: list[dict[str, Any]] = [
        {
            "mail_id": i.mail.mail_id,
            "recipient": row.recipient,
            "state": row.state.value,
            "stage": row.stage,
            "code": row.code or None,
            "enhanced": row.enhanced,
            "reply": row.reply[:4000],
            "reason": row.reason,
            "failure_type": "mail_smtp" if row.state is DeliveryState.FAILED else None,
            "updated_at": now,
        }
        for i in kept
        for row in i.outcome.deliveries
    ]
    update_rows(connection, d, ["mail_id", "recipient"], deliveries, d.c.state == DeliveryState.PENDING.value)
    mails: list[dict[str, Any]] = [
        {
            "id": i.mail.mail_id,
            "state": i.outcome.state.value,
            "due_at": i.outcome.due_at or now,
            "finished_at": None if i.outcome.state is MailState.OUTGOING else now,
            "server_key": i.server_key,
            "sent_from": i.sent_from,
            "sent_envelope": i.envelope_from,
            "failure_type": i.outcome.failure_type.value if i.outcome.failure_type else None,
            "failure_reason": i.outcome.failure_reason,
            "lease_owner": None,
            "lease_until": None,
        }
        for i in kept
    ]
    update_rows(connection, m, ["id"], mails)
    attempts: list[dict[str, Any]] = [
        {
            "id": i.mail.attempt_id,
            "finished_at": now,
            "outcome": i.outcome.attempt,
            "server_key": i.server_key,
            "transcript": i.transcript,
        }
        for i in kept
    ]
    update_rows(connection, a, ["id"], attempts)


def _write_history(engine: Engine, connection: Connection, settled: Sequence[Settled], now: datetime) -> None:
    day = now.strftime("%Y-%m-%d")
    counts: Counter[tallies.Key] = Counter()
    events: list[dict[str, Any]] = []
    for i in settled:
        for row in i.outcome.deliveries:
            kind = "unknown" if i.outcome.attempt == "unknown" and row.state is DeliveryState.PENDING else row.event
            data: dict[str, Any] = {}
            if kind != "sent":
                data = {"code": row.code, "enhanced": row.enhanced, "reply": row.reply[:1000]}
                data |= {"stage": row.stage, "reason": row.reason}
                if row.explained:
                    data["explained"] = dict(row.explained)
            if is_signed(i.envelope_from):
                data["tagged"] = True
            events.append(
                {
                    "at": now,
                    "kind": kind,
                    "mail_id": i.mail.mail_id,
                    "message_id": i.mail.message_id,
                    "recipient": row.recipient,
                    "server_key": i.server_key,
                    "data": data or None,
                }
            )
            domain = row.recipient.rpartition("@")[2].lower()
            counts[(i.server_key, i.mail.sender_domain or "", domain, i.mail.mail_class, kind)] += 1
    insert_rows(connection, schema.events, events)
    tallies.add(connection, day, counts)
