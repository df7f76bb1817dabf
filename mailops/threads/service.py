"""Threads: records with followers, and everything that was written about them.

::

    post ─▶ entry ─▶ one notification per follower of the subtype, except the author and whoever has a copy already
                       ├─ inbox   read in the app
                       └─ email   a mail of their own in the queue, tied to the entry, removed once sent

There is no Cc or Bcc: followers decide who is told. Each follower gets a mail of their own with the entry's Message-ID,
so that every answer finds the thread. Entry, notifications and mails are stored in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection, Engine

from ..errors import ConfigError, MessageRefused, NotFound
from ..model.address import envelope_address, is_valid, normalise, parse_first
from ..model.alias import Alias
from ..model.mail import Submission
from ..model.setup import Setup
from ..model.states import FailureType
from ..model.text import as_pre
from ..model.thread_token import KEY_PARAMETER, ThreadToken
from ..ports import Clock
from ..queue.compose import make_message_id
from ..routing.envelope import format_address_unencoded, relay_from
from ..store.database import explained, reading
from . import store as repo
from .addresses import company_of, domain_of, reply_address
from .aliases import aliases
from .models import Models
from .outbox import Outbox
from .tokens import ThreadTokens

KINDS = ("comment", "note", "email", "notification")
DISCUSSION, NOTE = "discussion", "note"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something to post. ``author`` is a contact id; ``author_email`` the From text of a mail (else the contact's).

    ``kind`` email = came in by mail, and is relayed. ``addressed`` are contacts told besides the followers; ``already``
    normalised addresses that have their own copy of the mail.
    """

    text: str
    html: str | None = None
    kind: str = "comment"
    author: int | None = None
    author_email: str | None = None
    subject: str | None = None
    subtype: str = DISCUSSION
    message_id: str | None = None
    parent: int | None = None
    addressed: tuple[int, ...] = ()
    already: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Posted:
    """What a post made: the entry's row id and Message-ID, notifications, and mails in the queue."""

    id: int
    message_id: str
    notifications: tuple[int, ...]
    mails: tuple[int, ...]


class Threads:
    """Records and their threads over the store."""

    def __init__(
        self,
        engine: Engine,
        *,
        setup: Callable[[], Setup],
        clock: Clock,
        submit: Outbox,
        models: Models | None = None,
        tokens: ThreadTokens | None = None,
    ) -> None:
        self.engine, self.clock, self.models = engine, clock, models or Models()
        self.setup = setup
        self._submit, self.tokens = submit, tokens

    # --- records, contacts, followers ---------------------------------------------------------------------------------

    def create_record(self, model: str, name: str, *, connection: Connection | None = None, **fields: Any) -> int:
        """A new record; ``fields``: email, company_id, owner, values. Raises :class:`NotFound` for an unknown kind."""
        self.models.get(model)
        with self._writing(connection) as tx:
            return repo.add_record(tx, model, name, now=self.clock.now(), **fields)

    def add_contact(self, name: str, email: str | None, *, is_user: bool = False, notify_by: str = "email") -> int:
        """A new contact that is told by ``email`` or in the ``inbox``."""
        if notify_by not in ("email", "inbox"):
            raise ConfigError(
                f"A contact cannot be notified by {notify_by!r}.",
                code="config.notify_by",
                facts={"notify_by": notify_by},
                fix="Use email or inbox.",
            )
        with self._writing(None) as tx:
            return repo.add_contact(tx, name, email, is_user=is_user, notify_by=notify_by)

    def follow(self, record_id: int, contact_id: int, subtypes: tuple[str, ...] = (DISCUSSION,)) -> None:
        """Follow a record for these subtypes (``discussion``, ``note``, or the caller's own)."""
        with self._writing(None) as tx:
            self._record(tx, record_id)
            repo.follow(tx, record_id, contact_id, subtypes)

    def entries(self, record_id: int) -> list[repo.Message]:
        """A record's thread, oldest first."""
        with explained("reading a thread"), reading(self.engine) as connection:
            return repo.messages_of(connection, record_id)

    def notifications(self, message_id: int) -> list[repo.Notification]:
        """Who was told of an entry, and how it went."""
        with explained("reading notifications"), reading(self.engine) as connection:
            return repo.notifications_of(connection, message_id)

    # --- posting ------------------------------------------------------------------------------------------------------

    def post(self, record_id: int, entry: Entry, *, connection: Connection | None = None) -> Posted:
        """Add an entry to a record's thread and tell the followers.

        Raises :class:`NotFound` for a record that is gone, :class:`ConfigError` for an unknown kind of entry.
        """
        if entry.kind not in KINDS:
            raise ConfigError(
                f"An entry cannot be of kind {entry.kind!r}.",
                code="config.entry_kind",
                facts={"kind": entry.kind},
                fix=f"Use one of: {', '.join(KINDS)}.",
            )
        setup = self.setup()
        with self._writing(connection) as tx:
            record = self._record(tx, record_id)
            domain = domain_of(record, setup)
            author = repo.contact(tx, entry.author) if entry.author is not None else None
            message_id = entry.message_id or make_message_id(domain.name if domain else "")
            parent = entry.parent if entry.parent is not None else repo.first_row(tx, record_id)
            author_text = entry.author_email or (_written(author) if author else None)
            values = entry_row(entry, message_id, parent, author_text, self.clock.now())
            row = repo.add_message(tx, {**values, "record_id": record_id})
            audience = self._audience(tx, record_id, entry, author)
            mail = self.template(tx, row, setup) if any(who.notify_by == "email" for who in audience) else None
            made = [self._notify(tx, row, who, mail) for who in audience]
        return Posted(row, message_id, tuple(i for i, _ in made), tuple(mail for _, mail in made if mail is not None))

    def _audience(
        self, tx: Connection, record_id: int, entry: Entry, author: repo.Contact | None
    ) -> list[repo.Contact]:
        """Followers of the subtype and those addressed, once each."""
        subtype = NOTE if entry.kind == "note" else entry.subtype
        people = [who for who, subtypes in repo.followers(tx, record_id) if subtype in subtypes]
        extra = (repo.contact(tx, i) for i in entry.addressed)
        people += [who for who in extra if who is not None and who.active]
        own = {repo.address_of(entry.author_email), author.address if author else None} - {None}
        kept: dict[int, repo.Contact] = {}
        for who in people:
            if who.id == entry.author or who.address in own:
                continue
            if who.notify_by == "email" and who.address in entry.already:
                continue
            kept.setdefault(who.id, who)
        return list(kept.values())

    def _notify(
        self, tx: Connection, row: int, who: repo.Contact, template: Submission | None
    ) -> tuple[int, int | None]:
        values: dict[str, Any] = {"message_id": row, "contact_id": who.id, "channel": who.notify_by}
        if template is None or who.notify_by == "inbox":
            return repo.add_notification(tx, {**values, "state": "sent"}), None
        mail, result = self.mail_to(tx, template, who)
        return repo.add_notification(tx, {**values, **result}), mail

    def mail_to(self, tx: Connection, template: Submission, who: repo.Contact) -> tuple[int | None, dict[str, Any]]:
        """Put an entry's mail to one contact into the queue; returns its id and the notification's values.

        A mail that cannot be composed (bad address) fails this notification only; nobody else's mail waits for it.
        """
        person = parse_first(who.email)
        address = normalise(envelope_address(person.spec) or person.spec) if person else None
        if person is None:
            return None, _failure(address, FailureType.EMAIL_MISSING, "The contact has no email address.")
        if not is_valid(person.spec):
            return None, _failure(address, FailureType.EMAIL_INVALID, f"{person.spec} is not a usable address.")
        try:
            mail = self._submit(tx, replace(template, to=(format_address_unencoded(who.name, person.spec),)))
        except MessageRefused as refused:
            return None, _failure(address, FailureType.UNKNOWN, refused.message)
        fresh = {"address": address, "state": "ready", "mail_id": mail, "failure_type": None, "reason": None}
        barred = repo.failure_of(tx, mail)
        if barred is not None:  # the suppression list held it back while it was handed over
            fresh |= {"state": "exception", "failure_type": barred.failure_type, "reason": barred.reply}
        return mail, fresh

    def template(self, tx: Connection, row: int, setup: Setup) -> Submission:
        """An entry's mail, still without recipient."""
        entry = repo.message(tx, row)
        if entry is None or entry.record_id is None:
            raise NotFound("The entry is gone.", facts={"entry": row})
        record = self._record(tx, entry.record_id)
        domain, company = domain_of(record, setup), company_of(record, setup)
        parent = repo.message(tx, entry.parent_id) if entry.parent_id is not None else None
        before = (repo.first_id(tx, record.id), parent.message_id if parent else None)
        chain = dict.fromkeys(i for i in before if i is not None and i != entry.message_id)
        sender = entry.author_email
        if sender and entry.kind in ("email", "note"):
            sender = relay_from(sender, domain, setup)
        token = ThreadToken(record.id, row, entry.kind == "note")
        signs = self.tokens is not None and KEY_PARAMETER in setup.parameters

        def tagged(address: str) -> str:
            return self.tokens.tagged(address, token) if signs and self.tokens else address

        return Submission(
            sender=sender,
            subject=_one_line(entry.subject or f"Re: {record.name}"),
            text=_plain(entry.body or ""),
            html=entry.body,
            reply_to=reply_address(record, aliases(tx), setup, author=entry.author_email, tagged=tagged),
            message_id=entry.message_id,
            in_reply_to=parent.message_id if parent and parent.id != row else None,
            references=tuple(chain),
            company=company.key if company else None,
            auto_delete=True,
            origin="thread",
            thread_message_id=row,
        )

    def aliases(self) -> tuple[Alias, ...]:
        """All aliases, in order of name."""
        with explained("reading aliases"), reading(self.engine) as connection:
            return aliases(connection)

    # --- plumbing -----------------------------------------------------------------------------------------------------

    def _record(self, tx: Connection, record_id: int) -> repo.Record:
        found = repo.record(tx, record_id)
        if found is None:
            raise NotFound(f"There is no record {record_id}.", facts={"record": record_id})
        return found

    @contextmanager
    def _writing(self, connection: Connection | None) -> Iterator[Connection]:
        if connection is not None:
            yield connection
            return
        with explained("writing to a thread"), self.engine.begin() as tx:
            yield tx


def entry_row(
    entry: Entry, message_id: str, parent: int | None, author_text: str | None, now: datetime
) -> dict[str, Any]:
    """The values of an entry, but for its record."""
    return {
        "message_id": message_id,
        "parent_id": parent,
        "kind": entry.kind,
        "author_id": entry.author,
        "author_email": author_text,
        "subject": entry.subject,
        "body": entry.html if entry.html is not None else as_pre(entry.text),
        "created_at": now,
    }


def _written(who: repo.Contact) -> str | None:
    person = parse_first(who.email)
    return format_address_unencoded(who.name, person.spec) if person else None


def _failure(address: str | None, kind: FailureType, reason: str) -> dict[str, Any]:
    return {"address": address, "state": "exception", "failure_type": kind.value, "reason": reason, "mail_id": None}


def _one_line(text: str) -> str:
    return " ".join(text.split())[:900]


def _plain(html: str) -> str:
    from html import unescape

    from ..mime import from_html

    if html.startswith("<pre>") and html.endswith("</pre>"):
        return unescape(html[5:-6])
    return from_html(html).strip()
