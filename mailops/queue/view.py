"""Reads the queue for people: counts, pages, one mail with its deliveries and history.

Nothing here reads message bodies, and a page is found by an index, so a million mails open as fast as ten.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..errors import NotFound
from ..ledger.attempts import WAITING, free_of_holds
from ..ledger.book import owed
from ..ledger.returns import acceptances
from ..model.mail import DeliveryView, MailView
from ..model.numbers import within
from ..model.reasons import SUPPRESSED
from ..model.setup import BouncePolicy, MailClass, Setup
from ..model.states import OF_THE_JOB, DeliveryState, MailState
from ..model.text import counted
from ..store import schema
from ..store.database import explained, reading
from .filters import LEFT_AT_ONCE, PARTLY, QueueFilter

if TYPE_CHECKING:
    from ..routing import RouteRequest

m, d, c, co = schema.mails, schema.deliveries, schema.contents, schema.companies

SORTS: dict[str, Any] = {
    "id": m.c.id,
    "created_at": m.c.created_at,
    "due_at": m.c.due_at,
    "size": m.c.size,
    "attempts": m.c.attempts,
}
_COLUMNS = (
    m.c.id,
    m.c.message_id,
    m.c.state,
    m.c.header_from,
    m.c.subject,
    m.c.size,
    m.c.created_at,
    m.c.due_at,
    m.c.finished_at,
    m.c.attempts,
    m.c.server_key,
    m.c.failure_type,
    m.c.failure_reason,
    m.c.mail_class,
    m.c.origin,
    m.c.login,
    m.c.peer,
    m.c.return_path,
    m.c.bounces,
    m.c.sent_from,
    m.c.sent_envelope,
    m.c.sent_signature,
    sa.select(co.c.key).where(co.c.id == m.c.company_id).scalar_subquery().label("company"),
    m.c.rank,
    m.c.lane,
)


@dataclass(frozen=True, slots=True)
class Page:
    """Some mails, and how many fit the filter in all."""

    mails: tuple[MailView, ...]
    total: int
    offset: int


@dataclass(frozen=True, slots=True)
class QueueHealth:
    """Figures for a first look. ``oldest`` is since when the longest-waiting *Outgoing* mail waits: when it was queued,
    or its own date where that came later. When it is due next says nothing of it (a mail put off three times is due
    last), and a mail whose date is still to come waits for nobody."""

    counts: Mapping[MailState, int]
    """By state; every state is named."""
    due: int
    """*Outgoing* mails that may leave now; not those to a held domain."""
    oldest: datetime | None
    held: int
    """Mails that a worker has taken."""
    owed: int = 0
    """Facts that threads or the suppression list have not taken yet; each run of the queue tells them again."""
    partly: int = 0
    """*Sent* mails with recipients who did not get it."""
    on_hold: int = 0
    """*Outgoing* mails that would be due, and stay while a recipient's domain is held."""
    of_job: int = 0
    """Of those that are due, the ones that leave with the queue job, not before."""

    @property
    def due_words(self) -> str:
        """What is due and what keeps it, in words."""
        job = counted(self.of_job, "waits", "wait") + " for the queue job" if self.of_job else ""
        held = f"{self.on_hold:,} more to held domains" if self.on_hold else ""
        more = ", ".join(filter(None, (job, held)))
        return f"{self.due:,}" + (f" ({more})" if more else "")


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One event of a mail's life, for showing."""

    at: datetime
    kind: str
    recipient: str | None
    server_key: str | None
    actor: str | None
    data: dict[str, Any] | None

    @property
    def why(self) -> str:
        """By which routing rule an attempt went to its server, and as whom where that was not the mail's own From;
        empty where it was not written down."""
        from ..routing.select import RULES  # with all that is known of providers behind it

        told = self.data or {}
        rule = next((one for one in RULES.values() if one.number == told.get("rule")), None)
        if rule is None:
            return ""
        left = [f"{word} {told[key]}" for word, key in (("as", "from"), ("envelope", "envelope")) if told.get(key)]
        return ", ".join([f"rule {rule.number}: {rule.words}", *left])


def counts(engine: Engine) -> dict[MailState, int]:
    """How many mails are in each state (every state is named)."""
    with explained("counting the queue"), reading(engine) as connection:
        query = sa.select(m.c.state, sa.func.count()).where(sa.not_(LEFT_AT_ONCE)).group_by(m.c.state)
        rows = connection.execute(query).all()
    found = {MailState(state): int(number) for state, number in rows}
    return {state: found.get(state, 0) for state in MailState}


def health(engine: Engine, *, now: datetime) -> QueueHealth:
    """Figures for a first look at the queue."""
    with explained("looking at the queue"), reading(engine) as connection:
        due_now = (WAITING, m.c.due_at <= now)
        free = (*due_now, *free_of_holds(connection, now))
        of_job = m.c.rank.in_([rank.value for rank in OF_THE_JOB])
        would, due, job = (
            int(connection.execute(sa.select(sa.func.count()).where(*which)).scalar_one())
            for which in (due_now, free, (*free, of_job))
        )
        own_date_passed = m.c.scheduled_at.is_not(None) & (m.c.scheduled_at > m.c.queued_at)
        since = sa.case((own_date_passed, m.c.scheduled_at), else_=m.c.queued_at)
        may_leave = m.c.scheduled_at.is_(None) | (m.c.scheduled_at <= now)
        oldest = connection.execute(
            sa.select(sa.func.min(since, type_=m.c.queued_at.type)).where(WAITING, may_leave)
        ).scalar()
        held = connection.execute(sa.select(sa.func.count()).where(m.c.lease_owner.is_not(None))).scalar_one()
        partly = connection.execute(sa.select(sa.func.count()).select_from(m).where(PARTLY)).scalar_one()
    return QueueHealth(counts(engine), due, oldest, int(held), owed(engine), int(partly), would - due, job)


def page(
    engine: Engine,
    chosen: QueueFilter | None = None,
    *,
    offset: int = 0,
    limit: int = 25,
    sort: str = "id",
    descending: bool = True,
) -> Page:
    """One page of mails with their deliveries, newest first by default."""
    within("limit", limit, "count")
    within("offset", offset, "count")
    where = (chosen or QueueFilter()).where()
    if chosen is None or (chosen.state is None and chosen.ids is None and chosen.message_id is None):
        where.append(sa.not_(LEFT_AT_ONCE))
    column = SORTS[sort]
    order = (column.desc(), m.c.id.desc()) if descending else (column, m.c.id)
    with explained("reading the queue"), reading(engine) as connection:
        total = _total(connection, chosen, where)
        rows = connection.execute(sa.select(*_COLUMNS).where(*where).order_by(*order).offset(offset).limit(limit)).all()
        people = _deliveries(connection, [int(row[0]) for row in rows])
    return Page(tuple(_mail(row, people.get(int(row[0]), ())) for row in rows), total, offset)


def _total(connection: Connection, chosen: QueueFilter | None, where: list[Any]) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(m).where(*where)).scalar_one())


def mail(engine: Engine, mail_id: int) -> MailView:
    """One mail with its deliveries. Raises :class:`NotFound`."""
    with explained("reading a mail"), reading(engine) as connection:
        row = connection.execute(sa.select(*_COLUMNS).where(m.c.id == mail_id)).one_or_none()
        if row is None:
            raise _unknown(mail_id)
        return _mail(row, _deliveries(connection, [mail_id]).get(mail_id, ()))


def request(engine: Engine, mail_id: int, setup: Setup) -> RouteRequest:
    """What routing is asked about a mail. Raises :class:`NotFound`."""
    from .submit import request_of

    query = sa.select(m.c.header_from, m.c.company_id, m.c.forced_server, m.c.return_path, m.c.bounces)
    with explained("reading a mail"), reading(engine) as connection:
        row = connection.execute(query.where(m.c.id == mail_id)).one_or_none()
    if row is None:
        raise _unknown(mail_id)
    return request_of(row, setup)


def raw(engine: Engine, mail_id: int) -> bytes:
    """The mail's bytes as stored. Raises :class:`NotFound`."""
    with explained("reading a mail"), reading(engine) as connection:
        found = connection.execute(sa.select(c.c.raw).where(c.c.mail_id == mail_id)).scalar_one_or_none()
    if found is None:
        raise NotFound(f"The content of mail {mail_id} is not kept.", code="queue.mail_unknown", facts={"id": mail_id})
    return bytes(found)


def history(engine: Engine, mail_id: int) -> list[HistoryLine]:
    """Every event of a mail, oldest first; also of mails that are gone."""
    e = schema.events
    query = sa.select(e.c.at, e.c.kind, e.c.recipient, e.c.server_key, e.c.actor, e.c.data).where(
        e.c.mail_id == mail_id
    )
    with explained("reading the history"), reading(engine) as connection:
        took = acceptances(connection, mail_id)
        lines = [HistoryLine(*row) for row in connection.execute(query.order_by(e.c.id))]
    last = {line.recipient: line for line in lines if line.kind == "sent"}
    return [
        replace(line, data={**(line.data or {}), "reply": words})
        if last.get(line.recipient) is line and (words := took.get(line.recipient or ""))
        else line
        for line in lines
    ]


def left_since(engine: Engine, since: datetime, servers: Collection[str]) -> int:
    """How many recipients' mails left through these servers since then."""
    e = schema.events
    query = sa.select(sa.func.count()).where(e.c.kind == "sent", e.c.at >= since, e.c.server_key.in_(list(servers)))
    with explained("counting what left"), reading(engine) as connection:
        return int(connection.execute(query).scalar_one())


def causes(engine: Engine, chosen: QueueFilter | None = None, *, limit: int = 20) -> list[tuple[str, str, int]]:
    """Failed and waiting deliveries grouped: (reason word, recipient domain, number), most first. Whom mailops kept
    back itself stands as *suppressed*, never as a failure without a reason."""
    nobody_asked = d.c.reason.is_(None) & (d.c.stage == "suppression")
    reason = sa.case(
        (nobody_asked, sa.literal(SUPPRESSED)), else_=sa.func.coalesce(d.c.reason, sa.literal("undefined"))
    )
    query = (
        sa.select(reason, d.c.domain, sa.func.count().label("n"))
        .where(
            d.c.state.in_([DeliveryState.FAILED.value, DeliveryState.BOUNCED.value])
            | ((d.c.state == DeliveryState.PENDING.value) & d.c.reason.is_not(None))
        )
        .group_by(reason, d.c.domain)
        .order_by(sa.desc("n"))
        .limit(limit)
    )
    if chosen is not None and not chosen.is_empty:
        query = query.where(d.c.mail_id.in_(sa.select(m.c.id).where(*chosen.where())))
    with explained("grouping failures"), reading(engine) as connection:
        return [(str(word), str(domain), int(n)) for word, domain, n in connection.execute(query)]


def _unknown(mail_id: int) -> NotFound:
    return NotFound(
        f"There is no mail {mail_id} in the queue.",
        code="queue.mail_unknown",
        facts={"id": mail_id},
        fix="It may be sent and removed (auto-delete, Auto-Vacuum): mailops queue history keeps its events.",
    )


def _mail(row: Any, people: tuple[DeliveryView, ...]) -> MailView:
    (
        mail_id,
        message_id,
        state,
        sender,
        subject,
        size,
        created,
        due,
        finished,
        tries,
        server,
        kind,
        why,
        klass,
        *rest,
    ) = row
    origin, login, peer, path, bounces, *left = rest
    return MailView(
        int(mail_id),
        message_id,
        MailState(state),
        sender,
        subject,
        int(size),
        created,
        due,
        finished,
        int(tries),
        server,
        kind,
        why,
        MailClass(klass),
        people,
        origin,
        login,
        peer,
        path,
        BouncePolicy(bounces) if bounces else None,
        *left,
    )


def _deliveries(connection: Connection, ids: list[int]) -> dict[int, tuple[DeliveryView, ...]]:
    if not ids:
        return {}
    found: dict[int, list[DeliveryView]] = {}
    query = sa.select(
        d.c.mail_id,
        d.c.id,
        d.c.recipient,
        d.c.state,
        d.c.code,
        d.c.enhanced,
        d.c.reply,
        d.c.stage,
        d.c.reason,
        d.c.updated_at,
    ).where(d.c.mail_id.in_(ids))
    for mail_id, key, to, state, code, enhanced, reply, stage, reason, at in connection.execute(query.order_by(d.c.id)):
        now = DeliveryState(state)
        if now is DeliveryState.BOUNCED:
            code = None  # it is that of the server that had taken the mail; a report has a status or none
        view = DeliveryView(int(key), to, now, code, enhanced, reply, stage, reason, at)
        found.setdefault(int(mail_id), []).append(view)
    return {mail_id: tuple(views) for mail_id, views in found.items()}
