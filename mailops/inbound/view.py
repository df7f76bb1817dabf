"""The gateway's view of the store: facts read in the transaction that will carry out the decision."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from sqlalchemy.engine import Connection

from ..bounces.addressed import Heading, Ours
from ..bounces.service import Bounces
from ..model.address import parse_first
from ..model.alias import Alias, Key
from ..model.setup import Setup
from ..model.thread_token import ThreadToken
from ..threads import store as repo
from ..threads.alias_names import allowed_domains
from ..threads.aliases import aliases
from ..threads.models import Models
from .ahead import Ahead
from .loops import ALLOWED, allowed, limits
from .sent import sent_mail
from .values import CompanyFacts, ContactFacts, InboundMail, Kind, MessageFacts, ModelFacts, RecordFacts, SentFacts

FORCE_NEW = ".newthread."
"""In the id of a message whose answers start new threads."""

# A mail without a route may come again when the alias is there.
DONE = tuple(kind.value for kind in Kind if kind not in (Kind.NO_ROUTE, Kind.DUPLICATE))


class StoreView:
    """A :class:`mailops.inbound.values.GatewayView` over one connection."""

    def __init__(
        self,
        connection: Connection,
        setup: Setup,
        models: Models,
        bounces: Bounces,
        now: datetime,
        *,
        fallback_model: str | None = None,
        allowed_senders: Collection[str] = (),
        ahead: Ahead | None = None,
    ) -> None:
        self._connection, self._models, self._bounces = connection, models, bounces
        self.ahead = ahead
        self._ours: Ours | None = None
        self.now, self.fallback_model = now, fallback_model
        self.domains = (*setup.former, *setup.alias_domains)  # of one name the last counts
        first = setup.companies[0] if setup.companies else None
        domain = setup.domain_of(first)
        self.company = CompanyFacts(first.name if first else "", first.email if first else None, domain)
        self._setup = setup
        self.limits = limits(setup.parameters)
        self.allowed_domains = allowed_domains(setup.parameters.get("mail.catchall.domain.allowed"), self.domains)
        named = frozenset(found for a in allowed_senders if (found := repo.address_of(a)))
        self.allowed_senders = named | allowed(setup.parameters.get(ALLOWED))
        self.aliases: tuple[Alias, ...] = aliases(connection)

    def handled(self, mail: InboundMail) -> bool:
        ids = (mail.message_id, *mail.other_ids)
        before = self._digests(ids)
        if not before:
            return any(self._by_id(i) for i in ids)
        if before & {mail.digest, None}:  # None: taken when no digests were kept
            return True
        return any(self._sent_as(i, mail) for i in ids)  # relayed by us under its own id, and back again

    def _digests(self, ids: tuple[str, ...]) -> set[str | None]:
        if self.ahead is None:
            return repo.log_digests(self._connection, ids, DONE)
        return set().union(*(self.ahead.digests.get(i, ()) for i in ids))

    def _by_id(self, message_id: str) -> repo.Message | None:
        if self.ahead is not None and self.ahead.knows_no_message(message_id):
            return None
        return repo.message_by_mid(self._connection, message_id)

    def _sent_as(self, message_id: str, mail: InboundMail) -> bool:
        """Whether a mail of ours left under this id with this sender."""
        sent = self.sent(message_id)
        senders = (parse_first(text) for text in (sent.sender, sent.left_as) if text) if sent else ()
        ours = {d.notification_address.lower() for d in self.domains if d.notification_address} if sent else set()
        return mail.sender_address in ours | {who.normalised for who in senders if who is not None}

    def company_at(self, domain: str) -> CompanyFacts:
        found = self._setup.company_at(domain)
        return CompanyFacts(found.name, found.email, found.alias_domain) if found else self.company

    def sent(self, message_id: str) -> SentFacts | None:
        if self.ahead is not None and message_id in self.ahead.asked and message_id not in self.ahead.sent:
            return None
        return sent_mail(self._connection, message_id)

    def message(self, message_id: str) -> MessageFacts | None:
        found = self._by_id(message_id)
        return self._facts_of(found) if found else None

    def answered(self, token: ThreadToken) -> MessageFacts | None:
        """The entry that a token names, where it stands now; where it is gone the record alone. None without record."""
        found = repo.message(self._connection, token.entry)
        facts = self._facts_of(found) if found is not None else MessageFacts("", 0, token.record, internal=token.note)
        facts = replace(facts, internal=facts.internal or token.note)
        return facts if facts.record is not None and self.record(facts.record) is not None else None

    def _facts_of(self, found: repo.Message) -> MessageFacts:
        record = repo.record(self._connection, found.record_id) if found.record_id is not None else None
        told = repo.notifications_of(self._connection, found.id)
        return MessageFacts(
            message_id=found.message_id,
            order=found.id,
            record=found.record_id,
            model=record.model if record else None,
            author=found.author_id,
            internal=found.kind == "note",
            force_new=FORCE_NEW in found.message_id,
            notified=tuple(x.contact_id for x in told if x.channel == "email" and x.contact_id is not None),
        )

    def model(self, name: str) -> ModelFacts | None:
        found = self._models.find(name)
        return ModelFacts(found.name, found.accepts_mail, found.bounce_counter) if found else None

    def record(self, key: Key) -> RecordFacts | None:
        found = repo.record(self._connection, int(key))
        return (
            RecordFacts(key, found.model, frozenset(repo.follower_ids(self._connection, found.id))) if found else None
        )

    def contacts(self, address: str) -> tuple[ContactFacts, ...]:
        if self.ahead is not None and address in self.ahead.senders:
            return tuple(_facts(x) for x in self.ahead.contacts.get(address, ()))
        return tuple(_facts(x) for x in repo.contacts_at(self._connection, address))

    def contact(self, key: Key) -> ContactFacts | None:
        found = repo.contact(self._connection, int(key))
        return _facts(found) if found else None

    def created_by(self, sender: str, since: datetime) -> int:
        if self.ahead is not None and sender in self.ahead.senders and since == self.ahead.since:
            return self.ahead.made.get(sender, 0)
        return repo.created_by(self._connection, sender, since)

    def alike(self, domain: str, likeness: str, since: datetime) -> int:
        if self.ahead is not None:
            return self.ahead.alike(domain, likeness, since)
        return repo.log_alike(self._connection, domain, likeness, since)

    def automatic_on(self, record: Key, since: datetime) -> int:
        if self.ahead is not None:
            return self.ahead.automatic_on(int(record), since)
        return repo.log_automatic(self._connection, int(record), since)

    def ours(self, heading: Heading) -> Ours:
        if heading.null_path:  # then it also depends on whom it was written to
            return self._bounces.ours(self._connection, heading)
        if self._ours is None:
            self._ours = self._bounces.ours(self._connection, heading)
        return self._ours


def _facts(contact: repo.Contact) -> ContactFacts:
    return ContactFacts(contact.id, contact.address or "", contact.is_user, contact.bounces)
