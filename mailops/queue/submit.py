"""Takes a mail into the queue: composed, checked, and durably stored before the id is returned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Protocol

from sqlalchemy.engine import Connection, Engine

from ..errors import MessageRefused, RouteError
from ..ledger import Book, intake
from ..model.address import NULL_PATH, normalise, parse_first
from ..model.mail import URGENT, Composed, Submission
from ..model.setup import DEFAULT_KEY, AliasDomain, BouncePolicy, Company, MailClass, Setup
from ..model.states import rank_of
from ..ports import Clock
from ..routing import RouteRequest, choose_server, composed_return_path
from ..routing.plan import server_for_class
from ..store import schema
from ..store.bulk import insert_rows
from ..store.database import explained
from ..suppression.store import blocked
from .compose import compose
from .job import wake

BATCH = 200


def submit(
    engine: Engine,
    submission: Submission,
    *,
    setup: Setup,
    clock: Clock,
    book: Book,
    hold: timedelta | None = None,
) -> int:
    """Store one mail as *Outgoing*; returns its id. Raises :class:`MessageRefused` with nothing stored.

    ``hold`` keeps the queue job's hands off for that long (a mail that is about to be sent right away).
    """
    return next(submit_many(engine, [submission], setup=setup, clock=clock, book=book, hold=hold))


def submit_many(
    engine: Engine,
    submissions: Iterable[Submission],
    *,
    setup: Setup,
    clock: Clock,
    book: Book,
    hold: timedelta | None = None,
    batch: int = BATCH,
) -> Iterator[int]:
    """Store many mails, one commit for each ``batch``; yields ids in order, each after its commit.

    Raises :class:`MessageRefused` for the first that cannot be sent; its facts name it (``position``, from 0) and how
    many were ``stored`` before: whoever leaves it out and goes on from there loses none.
    """
    source, before = iter(submissions), 0
    while chunk := list(islice(source, batch)):
        now = clock.now()
        prepared = [(s, _numbered(before + at, before, s, setup, now)) for at, s in enumerate(chunk)]
        before += len(chunk)
        yield from commit(engine, prepared, setup=setup, now=now, book=book, hold=hold)


def commit(
    engine: Engine,
    prepared: Sequence[tuple[Submission, Composed]],
    *,
    setup: Setup,
    now: datetime,
    book: Book,
    hold: timedelta | None = None,
) -> list[int]:
    """Store composed mails in one commit; returns their ids in order, once they are durably stored."""
    with explained("storing the mail"), engine.begin() as connection:
        return store(connection, prepared, setup=setup, now=now, book=book, hold=hold)


def _numbered(position: int, stored: int, submission: Submission, setup: Setup, now: datetime) -> Composed:
    try:
        return prepare(submission, setup, now)
    except MessageRefused as error:
        error.facts.update(position=position, stored=stored)
        raise


def prepare(submission: Submission, setup: Setup, now: datetime) -> Composed:
    """A submission as it will be stored. Raises :class:`MessageRefused` for one that cannot be sent."""
    if submission.scheduled_at is not None and submission.scheduled_at.tzinfo is None:
        raise MessageRefused(
            "The scheduled time has no time zone.",
            code="message.schedule_zone",
            facts={"scheduled_at": submission.scheduled_at.isoformat()},
            fix="Give it with a zone, such as 2026-01-31T14:30+00:00.",
        )
    if submission.server is not None and not any(s.key == submission.server for s in setup.servers):
        raise MessageRefused(
            f"There is no outgoing server {submission.server!r}.",
            code="message.server_unknown",
            facts={"server": submission.server, "servers": [s.key for s in setup.servers]},
            fix="Use one of the servers listed, or leave the choice to the FROM filters.",
        )
    company = company_of(setup, submission.company)
    domain = setup.domain_of(company)
    return compose(submission, now=now, return_path=return_path_of(submission, domain, setup))


def return_path_of(submission: Submission, domain: AliasDomain | None, setup: Setup) -> str | None:
    """The address for the ``Return-Path`` field of a submission. Relayed mail and notifications have none: it is the
    trace of final delivery (RFC 5321 §4.4)."""
    if submission.bounces is not None or submission.return_path == NULL_PATH:
        return None
    return composed_return_path(
        RouteRequest(submission.sender, domain, submission.server, submission.return_path), setup
    )


def company_of(setup: Setup, key: str | None) -> Company | None:
    """The company with this key; without a key the first one. Raises :class:`MessageRefused` for an unknown key."""
    if key is None:
        return setup.companies[0] if setup.companies else None
    for company in setup.companies:
        if company.key == key:
            return company
    raise MessageRefused(
        f"There is no company {key!r}.",
        code="message.company_unknown",
        facts={"company": key, "companies": [c.key for c in setup.companies]},
        fix="Use one of the companies listed.",
    )


class _Kept(Protocol):
    """What is kept of a mail and decides its way: a leased mail, or a row of the queue."""

    @property
    def header_from(self) -> str | None: ...
    @property
    def company_id(self) -> int | None: ...
    @property
    def forced_server(self) -> str | None: ...
    @property
    def return_path(self) -> str | None: ...
    @property
    def bounces(self) -> str | None: ...


def request_of(mail: _Kept, setup: Setup) -> RouteRequest:
    """What routing is asked about a mail of the queue, by the worker and by who explains it."""
    company = next((c for c in setup.companies if c.id == mail.company_id), None)
    return RouteRequest(
        sender=mail.header_from,
        alias_domain=setup.domain_of(company),
        forced_server=mail.forced_server,
        return_path=mail.return_path,
        bounces=BouncePolicy(mail.bounces) if mail.bounces else None,
    )


def store(
    connection: Connection,
    prepared: Sequence[tuple[Submission, Composed]],
    *,
    setup: Setup,
    now: datetime,
    book: Book,
    hold: timedelta | None = None,
) -> list[int]:
    """Insert composed mails in the caller's transaction; returns their ids in order.

    Recipients on the suppression list fail at once, with the reason; mail to many heeds every entry, day-to-day mail
    those for all mail.
    """
    barred = _barred(connection, prepared, now, book)
    wake(connection)
    lanes: dict[RouteRequest, str] = {}
    rows: list[dict[str, Any]] = []
    why: list[dict[str, str]] = []
    for s, c in prepared:
        company = company_of(setup, s.company)
        sender = parse_first(c.header_from)
        due = s.scheduled_at if s.scheduled_at and s.scheduled_at > now else now
        why.append({r: text for r in c.recipients if (text := barred.get((s.mail_class, normalise(r))))})
        forced = s.server or server_for_class(s.mail_class, setup)
        request = RouteRequest(c.header_from, setup.domain_of(company), forced, s.return_path, s.bounces)
        rows.append(
            {
                "message_id": c.message_id,
                "mail_class": s.mail_class.value,
                "header_from": c.header_from,
                "sender_domain": sender.domain if sender else None,
                "subject": c.subject[:2000],
                "size": len(c.raw),
                "company_id": company.id if company else None,
                "forced_server": forced,
                "lane": lanes[request] if request in lanes else lanes.setdefault(request, lane_of(request, setup)),
                "rank": rank_of(s.mail_class.value, urgent=s.origin.endswith(URGENT)).value,
                "return_path": s.return_path,
                "bounces": s.bounces.value if s.bounces else None,
                "login": s.login,
                "peer": s.peer,
                "origin": s.origin,
                "thread_message_id": s.thread_message_id,
                "auto_delete": s.auto_delete,
                "queued_at": due,
                "scheduled_at": s.scheduled_at,
                "due_at": due + hold if hold else due,
            }
        )
    ids = intake.enter(connection, book, rows, [c.recipients for _, c in prepared], barred=why, now=now)
    insert_rows(
        connection,
        schema.contents,
        [
            {
                "mail_id": mail_id,
                "raw": c.raw,
                "from_start": c.from_start,
                "from_end": c.from_end,
                "smtputf8": c.smtputf8,
                "eightbit": c.eightbit,
            }
            for mail_id, (_, c) in zip(ids, prepared, strict=True)
        ],
    )
    return ids


def lane_of(request: RouteRequest, setup: Setup) -> str:
    """The key of the server that a mail waits for; empty while nobody can carry it. A hint: when it is leased, the
    set-up of that moment decides."""
    try:
        found = choose_server(request, setup).server
    except RouteError:
        return ""
    return found.key if found is not None else DEFAULT_KEY


def _barred(
    connection: Connection, prepared: Sequence[tuple[Submission, Composed]], now: datetime, book: Book
) -> dict[tuple[MailClass, str], str]:
    """Suppressed recipients of these mails: (class, address) → why. One query for a batch."""
    people = {normalise(r) for _, c in prepared for r in c.recipients}
    found = blocked(connection, people, now=now, names=book.names)
    return {
        (mail_class, entry.address): entry.why
        for entry in found
        for mail_class in (MailClass if entry.scope == "all" else (MailClass.MASS,))
    }


def parse_when(text: str) -> datetime:
    """A scheduled date from text: ISO 8601; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:  # also one that is beyond the calendar in UTC
        raise MessageRefused(
            "The scheduled time cannot be read.",
            code="message.schedule_invalid",
            facts={"scheduled_at": text},
            fix="Write it as 2026-01-31T14:30+01:00 (without a zone it is UTC).",
        ) from error
