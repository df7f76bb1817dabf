"""Attempts: mails are taken for a worker, and what became of them is recorded, a batch in a commit.

Taking writes an open ``attempts`` row per mail, so the record of an attempt is on the disk before its first byte
leaves. PostgreSQL workers pass over each other's rows (``SKIP LOCKED``); SQLite workers take turns at the write lock.
A mail belongs to the worker named in ``lease_owner`` until it is recorded or given back; nobody else moves it.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..model.states import FAILED_DELIVERIES, DeliveryState, FailureType, MailState, mail_state, rank_of
from ..model.tag import is_signed
from ..store import schema
from ..store.bulk import among, insert_numbered, update_rows
from ..store.database import explained, reading
from .book import Book, states_of
from .facts import Counted, Fact, key_of
from .values import Leased, Settled, Wanted

log = logging.getLogger("mailops.mail")
m, c, d, a, h = schema.mails, schema.contents, schema.deliveries, schema.attempts, schema.holds
lh = schema.lane_holds
WAITING = sa.literal_column("mails.state = 'outgoing'", sa.Boolean)  # as it stands in the index's condition
MAX_BATCH_BYTES = 32 * 1024 * 1024
SKEW = timedelta(minutes=5)  # by which two clocks may differ


def take(
    connection: Connection,
    worker: str,
    *,
    now: datetime,
    batch: int,
    duration: timedelta,
    wanted: Sequence[Wanted] | None = None,
    ids: Sequence[int] | None = None,
) -> list[Leased]:
    """Give up to ``batch`` due mails (oldest due first) to ``worker`` in the caller's transaction, of each lane and
    rank as many as are ``wanted``; none when nothing is due. What is to a held domain stays. With ``ids`` only those,
    whatever their schedule, lane and domain."""
    mine = sa.select(m.c.id, m.c.size).where(WAITING, m.c.lease_owner.is_(None))
    if ids is not None:
        picks = [mine.where(among(m.c.id, ids)).order_by(m.c.due_at, m.c.id)]
    else:
        mine = mine.where(m.c.due_at <= now, *free_of_holds(connection, now)).order_by(m.c.due_at, m.c.id)
        if wanted is None:  # else they were found due: :func:`due` leaves held servers out
            mine = mine.where(m.c.lane.not_in(sa.select(lh.c.lane).where(lh.c.until > now)))
        every = [mine.limit(batch)]
        picks = (
            every
            if wanted is None
            else [
                mine.where(m.c.lane == one.lane, m.c.rank == one.rank).limit(min(one.number, batch)) for one in wanted
            ]
        )
    chosen: list[int] = []
    size = 0
    for pick in picks:
        for mail_id, mail_size in connection.execute(pick.with_for_update(skip_locked=True)):
            size += mail_size
            if chosen and (size > MAX_BATCH_BYTES or len(chosen) == batch):
                break
            chosen.append(int(mail_id))
    if not chosen:
        return []
    connection.execute(
        sa.update(m)
        .where(among(m.c.id, chosen))
        .values(lease_owner=worker, lease_until=now + duration, attempts=m.c.attempts + 1)
    )
    rows = [{"mail_id": mail_id, "worker": worker, "started_at": now} for mail_id in chosen]
    return _load(connection, dict(zip(chosen, insert_numbered(connection, a, rows), strict=True)))


DUE = """
WITH RECURSIVE lanes(lane) AS (
  SELECT min(lane) FROM mails WHERE mails.state = 'outgoing'
  UNION ALL
  SELECT (SELECT min(mails.lane) FROM mails WHERE mails.state = 'outgoing' AND mails.lane > lanes.lane)
  FROM lanes WHERE lanes.lane IS NOT NULL
), ranks(rank) AS (VALUES (0), (1), (2), (3), (4))
SELECT lanes.lane, ranks.rank FROM lanes CROSS JOIN ranks WHERE lanes.lane IS NOT NULL
AND lanes.lane NOT IN (SELECT lane FROM lane_holds WHERE lane_holds.until > :now) AND EXISTS (
  SELECT 1 FROM mails
  WHERE mails.state = 'outgoing' AND mails.lane = lanes.lane AND mails.rank = ranks.rank
  AND mails.due_at <= :now AND mails.lease_owner IS NULL AND NOT EXISTS (
    SELECT 1 FROM deliveries WHERE deliveries.mail_id = mails.id AND deliveries.state = 'pending'
    AND deliveries.domain IN (SELECT domain FROM holds WHERE holds.until > :now)
  )
) ORDER BY 1, 2
"""  # from lane to lane in the index, however many mails a lane has


def due(engine: Engine, *, now: datetime) -> list[tuple[str, int]]:
    """The lanes and ranks that have something due that nobody holds, in order."""
    query = sa.text(DUE).bindparams(sa.bindparam("now", now, type_=schema.Utc()))
    with explained("looking for due mails"), reading(engine) as connection:
        return [(str(lane), int(rank)) for lane, rank in connection.execute(query)]


def backlog(engine: Engine, lane: str, ranks: Collection[int], *, now: datetime, most: int) -> int:
    """How many mails of a lane are due or under way, ``most`` at most."""
    found = sa.select(sa.literal(1)).where(WAITING, m.c.lane == lane, m.c.rank.in_(ranks), m.c.due_at <= now)
    count = sa.select(sa.func.count()).select_from(found.limit(most).subquery())
    with explained("counting due mails"), reading(engine) as connection:
        return int(connection.execute(count).scalar_one())


def free_of_holds(connection: Connection, now: datetime) -> list[sa.ColumnElement[bool]]:
    """Conditions that leave out mails with a waiting recipient in a held domain; none while no domain is held."""
    held = [str(row[0]) for row in connection.execute(sa.select(h.c.domain).where(h.c.until > now))]
    if not held:
        return []
    to_it = (d.c.mail_id == m.c.id, d.c.state == DeliveryState.PENDING.value, d.c.domain.in_(held))
    return [~sa.exists().where(*to_it)]


def _load(connection: Connection, attempt_of: dict[int, int], with_content: bool = True) -> list[Leased]:
    ids = list(attempt_of)
    people: dict[int, tuple[list[str], list[DeliveryState]]] = {mail_id: ([], []) for mail_id in ids}
    for mail_id, recipient, state in connection.execute(
        sa.select(d.c.mail_id, d.c.recipient, d.c.state).where(among(d.c.mail_id, ids)).order_by(d.c.id)
    ).all():
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
        m.c.bounces,
        m.c.rank,
        m.c.lane,
        *content,
    ).where(among(m.c.id, ids))
    if with_content:
        query = query.join(c, c.c.mail_id == m.c.id)
    leased = []
    for row in connection.execute(query).all():
        (
            mail_id,
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
            bounces,
            rank,
            lane,
            *rest,
        ) = row
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
                bounces,
                rank,
                lane,
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


def from_the_future(engine: Engine, *, now: datetime, longest: timedelta) -> int:
    """Make mails due that a clock which was ahead has put off: entered later than now, or to be tried again after more
    than the ``longest`` pause. What was scheduled by a person keeps its time. How many there were."""
    ahead = sa.and_(
        m.c.state == MailState.OUTGOING.value,
        m.c.lease_owner.is_(None),
        sa.or_(m.c.scheduled_at.is_(None), m.c.scheduled_at <= now),
        sa.or_(
            sa.and_(m.c.queued_at > now + SKEW, m.c.due_at >= m.c.queued_at),
            m.c.due_at > now + longest + SKEW,
        ),
    )
    with explained("looking for mails put off by a wrong clock"), reading(engine) as connection:
        count = int(connection.execute(sa.select(sa.func.count()).where(ahead)).scalar_one())
    if count:
        entered = sa.case((m.c.queued_at > now, sa.literal(now, m.c.queued_at.type)), else_=m.c.queued_at)
        with explained("making mails due"), engine.begin() as connection:
            connection.execute(sa.update(m).where(ahead).values(due_at=now, queued_at=entered))
    return count


def renew(engine: Engine, worker: str, *, until: datetime) -> None:
    """Keep a live worker's mails its own."""
    with explained("renewing the lease"), engine.begin() as connection:
        connection.execute(sa.update(m).where(m.c.lease_owner == worker).values(lease_until=until))


def give_back(connection: Connection, worker: str, mails: Sequence[Leased]) -> None:
    """Give mails back that were never tried, or have nobody left to go to: the attempt never happened."""
    ids = [mail.mail_id for mail in mails]
    connection.execute(
        sa.update(m)
        .where(among(m.c.id, ids), m.c.lease_owner == worker)
        .values(lease_owner=None, lease_until=None, attempts=m.c.attempts - 1)
    )
    connection.execute(sa.delete(a).where(among(a.c.id, [mail.attempt_id for mail in mails])))


def change_lane(connection: Connection, lanes: Mapping[int, str]) -> None:
    """Say where mails wait from now on."""
    by_lane: defaultdict[str, list[int]] = defaultdict(list)
    for mail_id, lane in lanes.items():
        by_lane[lane].append(mail_id)
    for lane, ids in by_lane.items():
        connection.execute(sa.update(m).where(among(m.c.id, ids)).values(lane=lane))


def make_due(engine: Engine, mail_id: int, *, now: datetime) -> None:
    """A mail that was to be sent right away and could not be: it is everybody's now."""
    with explained("making a mail due"), engine.begin() as connection:
        mine = (m.c.id == mail_id, m.c.state == MailState.OUTGOING.value, m.c.lease_owner.is_(None))
        connection.execute(sa.update(m).where(*mine, m.c.attempts == 0, m.c.due_at > now).values(due_at=now))


def bar(connection: Connection, book: Book, mail: Leased, why: dict[str, str], *, now: datetime) -> None:
    """Fail the recipients of a mail that the suppression list names, each with the reason."""
    facts = barring(mail.mail_id, mail.message_id, why, now, when=mail.attempt_id)
    book.record(connection, facts, now=now)


def barring(mail_id: int, message_id: str, why: dict[str, str], now: datetime, *, when: object = "") -> list[Fact]:
    """The facts of recipients that the suppression list names; ``when`` tells one barring of a mail from the next."""
    first = next(iter(why.values()), "")
    told = {"failure_type": FailureType.BLACKLIST.value, "failure_reason": first}
    stamp = f"{when}.{now.timestamp():.6f}"
    return [
        Fact(
            "barred",
            now,
            key_of("b", mail_id, recipient, stamp),
            mail_id,
            recipient,
            message_id,
            data={"reply": reason},
            row={
                "failure_type": FailureType.BLACKLIST.value,
                "reply": reason,
                "stage": "suppression",
                "updated_at": now,
            },
            told=told,
        )
        for recipient, reason in why.items()
    ]


def _all_got_it(item: Settled) -> bool:
    """Whether no recipient of a mail was refused: else it stays, for somebody to look at."""
    return not FAILED_DELIVERIES.intersection((*item.mail.others, *(row.state for row in item.outcome.deliveries)))


def record(connection: Connection, book: Book, worker: str, settled: Sequence[Settled], *, now: datetime) -> None:
    """Record a batch's outcomes in the caller's transaction: facts, deliveries, mails, attempts, counters.

    A mail whose lease was lost in the meantime keeps the due time its new owner gives it; what its server answered is
    recorded all the same, since it happened.
    """
    ids = [item.mail.mail_id for item in settled]
    held = sa.select(m.c.id, m.c.lease_owner).where(among(m.c.id, ids)).order_by(m.c.id).with_for_update()
    owners_of = {int(mail_id): owner for mail_id, owner in connection.execute(held).all()}
    ours = [i for i in settled if owners_of.get(i.mail.mail_id) == worker]
    gone = [i.mail.mail_id for i in ours if i.outcome.state is MailState.SENT and i.mail.auto_delete and _all_got_it(i)]
    if gone:
        connection.execute(sa.delete(m).where(among(m.c.id, gone)))
    left = set(owners_of) - set(gone)
    book.record(connection, [fact for i in settled for fact in _facts(i, i.mail.mail_id in left, now)], now=now)
    _close(connection, settled, now)
    _say(connection, worker, settled, now)
    if not left:
        return
    states = states_of(connection, left)
    _write_mails(connection, [i for i in ours if i.mail.mail_id in left], states, now)
    lost = [i.mail.mail_id for i in settled if i.mail.mail_id in left and owners_of[i.mail.mail_id] is None]
    for mail_id in lost:  # taken over and given up meanwhile: its recipients may stand better than was thought
        state = mail_state(states[mail_id])
        if state is not MailState.OUTGOING:
            told = {"state": state.value, "finished_at": now}
            waiting = (m.c.id == mail_id, m.c.state == MailState.OUTGOING.value)
            connection.execute(sa.update(m).where(*waiting).values(**told))


def _say(connection: Connection, worker: str, settled: Sequence[Settled], now: datetime) -> None:
    """One line of log for each mail, as its commit is made; ``waited_ms`` counts from when it was handed in."""
    if not log.isEnabledFor(logging.INFO):
        return

    def say(_connection: Connection) -> None:
        for i in settled:
            fields = {
                "mail": i.mail.mail_id,
                "attempt": i.mail.attempt_id,
                "outcome": i.outcome.attempt,
                "lane": i.server_key,
                "worker": worker,
                "recipients": len(i.outcome.deliveries),
                "waited_ms": round((now - i.mail.queued_at).total_seconds() * 1000),
                "reason": i.outcome.failure_reason,
            }
            log.info("mail %s %s", i.mail.mail_id, i.outcome.attempt, extra={"fields": fields})

    sa.event.listen(connection, "commit", say, once=True)


def _close(connection: Connection, settled: Sequence[Settled], now: datetime) -> None:
    """How each attempt ended; it is kept also of a mail that is gone."""
    attempts: list[dict[str, Any]] = [
        {
            "id": i.mail.attempt_id,
            "mail_id": i.mail.mail_id,
            "finished_at": now,
            "outcome": i.outcome.attempt,
            "server_key": i.server_key,
            "transcript": i.transcript,
        }
        for i in settled
    ]
    update_rows(connection, a, ["id", "mail_id"], attempts)


def _write_mails(
    connection: Connection, ours: Sequence[Settled], states: dict[int, set[DeliveryState]], now: datetime
) -> None:
    mails: list[dict[str, Any]] = []
    for i in ours:
        state = mail_state(states[i.mail.mail_id])
        mails.append(
            {
                "id": i.mail.mail_id,
                "state": state.value,
                "due_at": i.outcome.due_at or now,
                "finished_at": None if state is MailState.OUTGOING else now,
                "server_key": i.server_key,
                "sent_from": i.sent_from,
                "sent_envelope": i.envelope_from,
                "sent_signature": i.signature,
                "failure_type": i.outcome.failure_type.value if i.outcome.failure_type else None,
                "failure_reason": i.outcome.failure_reason,
                "lease_owner": None,
                "lease_until": None,
                "rank": rank_of(i.mail.mail_class, tried=True).value,
            }
        )
    update_rows(connection, m, ["id"], mails)


def _facts(item: Settled, kept: bool, now: datetime) -> Iterator[Fact]:
    mail, outcome = item.mail, item.outcome
    attempt = f"{mail.mail_id}.{mail.attempt_id}"
    signed = is_signed(item.envelope_from)
    for row in outcome.deliveries:
        kind = "unknown" if outcome.attempt == "unknown" and row.state is DeliveryState.PENDING else row.event
        data: dict[str, Any] = {}  # the words of an acceptance stand with the delivery: see returns.acceptances
        if kind != "sent":
            data = {"code": row.code, "enhanced": row.enhanced, "reply": row.reply[:1000]}
            data |= {"stage": row.stage, "reason": row.reason}
            if row.unconfirmed and row.state is DeliveryState.FAILED:
                data["unconfirmed"] = row.unconfirmed
            if row.explained:
                data["explained"] = dict(row.explained)
        if signed:
            data["tagged"] = True
        if item.signature:
            data["signature"] = item.signature
        if item.rule is not None:
            data["rule"] = item.rule
        if kind != "sent":  # how it left this time; of the last time the mail says so itself
            left = {"from": item.sent_from, "envelope": item.envelope_from}
            data |= {name: value for name, value in left.items() if value is not None}
        yield Fact(
            kind,
            now,
            key_of("a", f"{attempt}?" if kind == "unknown" else attempt, row.recipient),
            mail.mail_id,
            row.recipient,
            mail.message_id,
            item.server_key,
            data=data or None,
            counted=Counted(mail.sender_domain or "", mail.mail_class, kind),
            row={
                "stage": row.stage,
                "code": row.code or None,
                "enhanced": row.enhanced,
                "reply": row.reply[:4000],
                "reason": row.reason,
                "failure_type": FailureType.SMTP.value if row.state is DeliveryState.FAILED else None,
                "updated_at": now,
            }
            if kept
            else None,
        )
