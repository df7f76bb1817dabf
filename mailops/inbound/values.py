"""What the gateway reads and what it answers, as frozen values.

The decision (:func:`mailops.inbound.decide.route_inbound`) is pure: it asks a :class:`GatewayView` for facts and
returns a :class:`Decision` that says what is to happen and why. A store, a test or a what-if run each bring their own
view. Keys of aliases, records and contacts are opaque to the decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from ..bounces.addressed import Block, Heading, Ours, recipients_of
from ..bounces.reading.report import Report
from ..model.address import Address
from ..model.alias import Alias, AliasStatus, Key
from ..model.setup import AliasDomain


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A kind of record: may mail create and update it, and has it a bounce counter?"""

    name: str
    accepts_mail: bool = True
    bounce_counter: bool = False


@dataclass(frozen=True, slots=True)
class RecordFacts:
    """An existing record and the contacts that follow it."""

    key: Key
    model: str
    followers: frozenset[Key] = frozenset()


@dataclass(frozen=True, slots=True)
class MessageFacts:
    """A message already in the database. ``order`` grows with age: the newest has the highest.

    ``model`` is kept apart from ``record`` so that a record that is gone still tells its kind. ``notified`` are the
    contacts that got it by mail; ``force_new`` marks a message whose answers start new threads.
    """

    message_id: str
    order: int
    record: Key | None = None
    model: str | None = None
    author: Key | None = None
    internal: bool = False
    force_new: bool = False
    notified: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class ContactFacts:
    """A known, active contact. ``email`` is its normalised first address."""

    key: Key
    email: str
    is_user: bool = False
    bounces: int = 0


@dataclass(frozen=True, slots=True)
class CompanyFacts:
    """The receiving company: its public address and its alias domain."""

    name: str = ""
    email: str | None = None
    domain: AliasDomain | None = None


@dataclass(frozen=True, slots=True)
class SentFacts:
    """A mail that was sent, thread or no thread: the From it was handed in with and the one it left with, and whether
    the gateway wrote it."""

    message_id: str
    sender: str | None
    by_gateway: bool = False
    left_as: str | None = None


@dataclass(frozen=True, slots=True)
class LoopLimits:
    """At most ``threshold`` records by one sender within ``minutes``."""

    minutes: int = 120
    threshold: int = 20


class GatewayView(Protocol):
    """The facts a decision may ask for, read at one moment."""

    @property
    def domains(self) -> tuple[AliasDomain, ...]:
        """All alias domains."""

    @property
    def company(self) -> CompanyFacts:
        """The receiving company."""

    def company_at(self, domain: str) -> CompanyFacts:
        """The company that speaks with this alias domain; else the receiving one."""

    @property
    def aliases(self) -> tuple[Alias, ...]:
        """All aliases, in order of name."""

    @property
    def limits(self) -> LoopLimits:
        """The loop limits in force."""

    @property
    def allowed_domains(self) -> frozenset[str]:
        """Domains for which a local part alone counts; empty = all."""

    @property
    def allowed_senders(self) -> frozenset[str]:
        """Normalised senders the loop check never blocks."""

    @property
    def fallback_model(self) -> str | None:
        """The target model of the incoming server that brought the mail."""

    @property
    def now(self) -> datetime:
        """The moment of the decision, UTC."""

    def handled(self, mail: InboundMail) -> bool:
        """Whether this mail was taken before: one of its ids is known, and not for other content only."""

    def message(self, message_id: str) -> MessageFacts | None:
        """The stored message with this Message-ID."""

    def sent(self, message_id: str) -> SentFacts | None:
        """The mail with this Message-ID that was sent from here, whatever became of it."""

    def model(self, name: str) -> ModelFacts | None:
        """A kind of record."""

    def record(self, key: Key) -> RecordFacts | None:
        """A record, or None when it is gone."""

    def contacts(self, address: str) -> tuple[ContactFacts, ...]:
        """Active contacts with this normalised address."""

    def contact(self, key: Key) -> ContactFacts | None:
        """One contact."""

    def created_by(self, sender: str, since: datetime) -> int:
        """How many records this normalised sender's mails made since then, of any model."""

    def alike(self, domain: str, likeness: str, since: datetime) -> int:
        """From how many addresses of a domain mails came since then that are alike
        (:func:`mailops.inbound.loops.likeness`)."""

    def automatic_on(self, record: Key, since: datetime) -> int:
        """How many automatic mails were posted on this record since then."""

    def ours(self, heading: Heading) -> Ours:
        """Our bounce addresses, and the addresses among these that we sent mail from."""


@dataclass(frozen=True, slots=True)
class InboundMail:
    """A received mail as far as the gateway reads it. Addresses are normalised, ids keep their angle brackets.

    ``to`` = Delivered-To + To; ``recipients`` = those + Cc + Resent-To + Resent-Cc. ``return_path`` is None when the
    header is missing and "" for the null path ``<>``. ``made_id`` says the mail had no Message-ID of its own.
    ``report`` and ``heading`` are what the reader of bounces made of it; ``digest`` stands for its content.
    ``robot`` is the field, other than Auto-Submitted, that asks for no automatic answer. ``answers`` is the entry that
    a signed thread token in the address named, ``to`` and ``recipients`` are without it then.
    """

    message_id: str
    made_id: bool
    other_ids: tuple[str, ...]
    sender: Address | None
    sender_text: str
    return_path: str | None
    to: tuple[str, ...]
    recipients: tuple[str, ...]
    written_to: str | None
    subject: str
    date: datetime | None
    references: tuple[str, ...]
    in_reply_to: tuple[str, ...]
    content_type: str
    automatic: bool
    text: str
    html: str | None
    size: int
    report: Report
    heading: Heading
    digest: str = ""
    robot: str = ""
    answers: MessageFacts | None = None

    @property
    def sender_address(self) -> str:
        return self.sender.normalised if self.sender else ""


class Kind(StrEnum):
    """What becomes of a mail."""

    DUPLICATE = "duplicate"
    LOOP_REPLY = "loop_reply"  # an answer to one of our own notices: dropped without a word
    BOUNCE = "bounce"  # a delivery report or receipt, recorded by the bounce service
    REPLY = "reply"
    CREATE = "create"
    UPDATE = "update"  # posted on the record an alias is bound to
    FORWARDED = "forwarded"  # it answers a mail that somebody sent without a record: passed on to that person
    REFUSED = "refused"  # answered with a notice: catchall, policy, configuration
    LOOP_BLOCKED = "loop_blocked"  # too many records by this sender; answered with a notice
    NO_ROUTE = "no_route"  # nobody here has this address: the mail server or the caller says so


@dataclass(frozen=True, slots=True)
class Route:
    """One thing to do: post on ``record``, or create a record of ``model`` and post there."""

    model: str
    record: Key | None
    alias: Alias | None

    @property
    def creates(self) -> bool:
        return self.record is None


@dataclass(frozen=True, slots=True)
class Notice:
    """A mail the gateway sends by itself. ``references`` carry the mark that stops answers to it; ``return_path`` is
    the bounce address of ``domain``, the alias domain that was written to."""

    to: str
    sender: str
    subject: str
    text: str
    references: tuple[str, ...]
    reply_to: str | None
    reason: str
    return_path: str | None = None
    domain: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One rule the mail passed, and what it found."""

    rule: str
    found: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to happen with a mail, why, and every rule passed on the way.

    ``code`` is a stable word (``catchall``, ``alias_partners`` …), ``reason`` the sentence for people. ``reset`` is the
    sender's address when its bounce counters go back to 0. A bounce carries the ``report`` as the bounce service takes
    it, and of each block what it says (before it is carried out) or has come to (after). ``forward_to`` is who gets
    an answer to a mail of theirs.
    """

    kind: Kind
    code: str
    reason: str
    message_id: str
    routes: tuple[Route, ...] = ()
    notices: tuple[Notice, ...] = ()
    author: Key | None = None
    parent: MessageFacts | None = None
    internal: bool = False
    report: Report | None = None
    blocks: tuple[Block, ...] = ()
    reset: str | None = None
    forward_to: str | None = None
    statuses: tuple[tuple[Key, AliasStatus], ...] = ()
    trace: tuple[Step, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether the mail was taken (the mail server should not refuse it)."""
        return self.kind is not Kind.NO_ROUTE

    def as_dict(self) -> dict[str, Any]:
        """The decision as JSON-ready values, as ``mailops explain receive --json`` prints it.

        ``routes``: ``[{"model", "record", "alias"}]`` (record None = to be made); ``notices``: ``[{"to", "sender",
        "subject", "text", "reply_to", "reason", "return_path", "references"}]``; ``report``: None, or for kind bounce
        ``{"kind", "recipients": [{"address", "kind"}]}`` with RFC 3464's words for each recipient; ``trace``:
        ``[{"rule", "found"}]``.
        """
        report = self.report if self.kind is Kind.BOUNCE else None
        return {
            "kind": self.kind.value,
            "code": self.code,
            "reason": self.reason,
            "message_id": self.message_id,
            "accepted": self.accepted,
            "routes": [
                {"model": r.model, "record": r.record, "alias": (r.alias.address or r.alias.local) if r.alias else None}
                for r in self.routes
            ],
            "forward_to": self.forward_to,
            "notices": [
                {
                    "to": n.to,
                    "sender": n.sender,
                    "subject": n.subject,
                    "text": n.text,
                    "reply_to": n.reply_to,
                    "reason": n.reason,
                    "return_path": n.return_path,
                    "references": list(n.references),
                }
                for n in self.notices
            ],
            "report": None if report is None else {"kind": report.kind, "recipients": recipients_of(report)},
            "trace": [{"rule": step.rule, "found": step.found} for step in self.trace],
        }


@dataclass(frozen=True, slots=True)
class LogLine:
    """What became of one received mail, as the log has it; ``blocks`` are the consequences of a report."""

    id: int
    at: datetime
    sender: str | None
    recipients: str
    decision: str
    code: str
    reason: str
    answer: str | None
    subject: str
    blocks: tuple[Block, ...] = ()
    repeated: bool = False

    @property
    def consequence(self) -> str:
        """What a report has changed, recipient by recipient; "" for other mail."""
        if self.repeated:
            return "this report was taken before"
        return "; ".join(f"{block.recipient or 'nobody named'}: {block.kind}, {block.words}" for block in self.blocks)
