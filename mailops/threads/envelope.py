"""The envelope mark of a message: red when at least one recipient failed, and what a person can do about it.

Send & close tries the toggled-on recipients again and ignores the others; Ignore all ignores every failure, and the
mark turns white. The state is derived from the notifications, never stored.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..errors import NotFound
from ..ledger import Book
from ..ledger.acts import act
from ..model.reasons import plain
from ..store import schema
from ..store.database import explained, reading
from . import store as repo
from .feedback import NO_ERROR
from .service import Threads

n, d, b = schema.notifications, schema.deliveries, schema.bounces
Retry = Callable[[int], bool]


class Mark(StrEnum):
    """The colour of the envelope."""

    WHITE = "white"
    RED = "red"


@dataclass(frozen=True, slots=True)
class EnvelopeLine:
    """One recipient. ``details`` are there only when the error or report could be read; ``raw`` is the report."""

    notification: int
    contact: str
    address: str | None
    state: str
    reason: str | None
    code: int | None
    enhanced: str | None
    details: str | None
    raw: bytes | None

    @property
    def failed(self) -> bool:
        return self.state in repo.FAILED


@dataclass(frozen=True, slots=True)
class Envelope:
    """The mark of a message with a line for each recipient."""

    message: int
    mark: Mark
    lines: tuple[EnvelopeLine, ...]


def mark_of(states: Collection[str]) -> Mark:
    """Red when at least one recipient failed.

    >>> mark_of(["sent", "sent", "bounce"]).value
    'red'
    """
    return Mark.RED if any(state in repo.FAILED for state in states) else Mark.WHITE


class Envelopes:
    """Looks at marks and acts on them. ``retry`` puts a failed mail of the queue back (False: it could not)."""

    def __init__(self, threads: Threads, *, retry: Retry | None = None, book: Book | None = None) -> None:
        self._threads = threads
        self._retry = retry
        self._book = book or Book()

    def of(self, message: int) -> Envelope:
        """The envelope of a message. Raises :class:`NotFound`."""
        with explained("reading an envelope"), reading(self._threads.engine) as connection:
            if repo.message(connection, message) is None:
                raise NotFound(f"There is no message {message}.", facts={"message": message})
            lines = tuple(self._line(connection, x) for x in repo.notifications_of(connection, message))
        return Envelope(message, mark_of([line.state for line in lines]), lines)

    def red(self, limit: int = 100) -> list[Envelope]:
        """The envelopes of messages with failures, newest first."""
        query = sa.select(n.c.message_id).where(n.c.state.in_(repo.FAILED)).distinct()
        with explained("reading envelopes"), reading(self._threads.engine) as connection:
            ids = [int(row[0]) for row in connection.execute(query.order_by(n.c.message_id.desc()).limit(limit))]
        return [self.of(message) for message in ids]

    def red_records(self, records: Collection[int]) -> dict[int, int]:
        """How many messages with failures each of these records has; one without is left out."""
        m = schema.messages
        query = sa.select(m.c.record_id, sa.func.count(sa.distinct(m.c.id))).join(n, n.c.message_id == m.c.id)
        query = query.where(m.c.record_id.in_(list(records)), n.c.state.in_(repo.FAILED)).group_by(m.c.record_id)
        with explained("counting red envelopes"), reading(self._threads.engine) as connection:
            return {int(row[0]): int(row[1]) for row in connection.execute(query)}

    def failures(self) -> int:
        """The general counter: one for each message with failures."""
        query = sa.select(sa.func.count(sa.distinct(n.c.message_id))).where(n.c.state.in_(repo.FAILED))
        with explained("counting failures"), reading(self._threads.engine) as connection:
            return int(connection.execute(query).scalar_one())

    def send_and_close(self, message: int, try_again: Collection[int]) -> Envelope:
        """Try the named notifications again; failures that are not named are ignored."""
        setup = self._threads.setup()
        with explained("reading an envelope"), reading(self._threads.engine) as connection:
            failed = [x for x in repo.notifications_of(connection, message) if x.state in repo.FAILED]
        again = [x for x in failed if x.id in set(try_again)]
        moved = {x.id for x in again if x.mail_id is not None and self._retry is not None and self._retry(x.mail_id)}
        with explained("retrying a message"), self._threads.engine.begin() as tx:
            self._ignore(tx, [x for x in failed if x not in again])
            template = self._threads.template(tx, message, setup) if len(moved) < len(again) else None
            for item in again:
                fresh: dict[str, object] = {"state": "ready", "failure_type": None, "reason": None}
                if item.id not in moved:
                    who = repo.contact(tx, item.contact_id) if item.contact_id is not None else None
                    if who is None or template is None:
                        continue
                    _, fresh = self._threads.mail_to(tx, template, who)
                repo.set_notifications(tx, n.c.id == item.id, **fresh)
        return self.of(message)

    def ignore_all(self, message: int) -> Envelope:
        """Ignore every failure of a message; its mark turns white."""
        with explained("ignoring failures"), self._threads.engine.begin() as tx:
            self._ignore(tx, [x for x in repo.notifications_of(tx, message) if x.state in repo.FAILED])
        return self.of(message)

    def _ignore(self, tx: Connection, items: list[repo.Notification]) -> None:
        now, press = self._threads.clock.now(), uuid.uuid4().hex
        for item in items:
            repo.set_notifications(tx, n.c.id == item.id, state="canceled")
            if item.mail_id is not None and item.address:
                who = [item.address]
                act(tx, self._book, "ignored", [item.mail_id], action=press, actor="", now=now, recipients=who)

    def _line(self, connection: Connection, item: repo.Notification) -> EnvelopeLine:
        who = repo.contact(connection, item.contact_id) if item.contact_id is not None else None
        delivery = report = None
        if item.mail_id is not None:
            delivery = connection.execute(
                sa.select(d.c.code, d.c.enhanced, d.c.reply, d.c.reason).where(
                    d.c.mail_id == item.mail_id, d.c.normalised == item.address
                )
            ).first()
        if item.state == "bounce":
            report = self._report(connection, item)
        return EnvelopeLine(
            notification=item.id,
            contact=who.name if who else (item.address or ""),
            address=item.address,
            state=item.state,
            reason=_words(item, delivery, report),
            code=delivery.code if delivery else None,
            enhanced=(delivery.enhanced if delivery else None) or (report.status if report else None),
            details=_details(item, delivery, report),
            raw=bytes(report.raw) if report is not None and report.raw else None,
        )

    def _report(self, connection: Connection, item: repo.Notification) -> Any:
        entry = repo.message(connection, item.message_id)
        about = [b.c.original_message_id == entry.message_id] if entry else []
        if item.mail_id is not None:
            about.append(b.c.mail_id == item.mail_id)
        query = (
            sa.select(b.c.status, b.c.reason, b.c.diagnostic, b.c.raw)
            .where(sa.or_(*about), sa.or_(b.c.normalised.is_(None), b.c.normalised == item.address))
            .order_by(b.c.id.desc())
            .limit(1)
        )
        return connection.execute(query).first() if about else None


def _words(item: repo.Notification, delivery: object, report: object) -> str | None:
    """The reason in words: of the classifier where it knew one, else what was said; a report whose words nobody can
    interpret, and that has no status, says ``no error`` (IN-18)."""
    if item.state not in repo.FAILED:
        return None
    word = getattr(report, "reason", None) or getattr(delivery, "reason", None)
    if word == "onhold" and report is not None and not report.status:  # type: ignore[attr-defined]
        return NO_ERROR
    return plain(word) if word and word != "undefined" else (item.reason or NO_ERROR)


def _details(item: repo.Notification, delivery: object, report: object) -> str | None:
    """What *See Error Details* shows; None when neither error nor report could be read."""
    if item.state not in repo.FAILED:
        return None
    said = [getattr(report, "diagnostic", None), getattr(delivery, "reply", None), item.reason]
    return next((text for text in said if text and text != NO_ERROR), None)
