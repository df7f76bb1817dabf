"""A mail as it is handed over, and as the queue keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from .reasons import SUPPRESSED
from .setup import BouncePolicy, MailClass
from .states import FAILED_DELIVERIES, DeliveryState, MailState, Rank

URGENT = ", urgent"
"""Ends the origin of a mail that was sent at once."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file to attach; ``content_type`` is guessed from the name when empty."""

    filename: str
    content: bytes
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Submission:
    """A mail handed over for sending: either fields, or ``raw`` (complete RFC 5322 bytes).

    ``to``/``cc``/``bcc`` are address texts (each may be a list in RFC 5322 form). With ``raw``, ``envelope_to`` names
    the recipients; when it is empty they are read from To, Cc and Bcc. ``server`` forces a server by key;
    ``company`` is a company key. ``scheduled_at`` (UTC, with zone) holds the mail back until then.

    ``return_path`` is the reverse-path; ``<>`` (:data:`mailops.model.address.NULL_PATH`) is the null one, which stays
    null to the wire. With ``bounces`` the mail is relayed for a program, whose reverse-path it is; without, it is
    composed here, and the bounce address is part of it. ``login`` and ``peer`` say who handed it over.
    """

    sender: str | None = None
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    subject: str = ""
    text: str | None = None
    html: str | None = None
    attachments: tuple[Attachment, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    reply_to: str | None = None
    return_path: str | None = None
    message_id: str | None = None
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    raw: bytes | None = None
    envelope_to: tuple[str, ...] = ()
    company: str | None = None
    mail_class: MailClass = MailClass.TRANSACTIONAL
    server: str | None = None
    scheduled_at: datetime | None = None
    auto_delete: bool = False
    origin: str = "api"
    thread_message_id: int | None = None
    bounces: BouncePolicy | None = None
    login: str | None = None
    peer: str | None = None


@dataclass(frozen=True, slots=True)
class Composed:
    """A mail serialised once: bytes with CRLF, Bcc gone, and the slice of its From field."""

    raw: bytes
    message_id: str
    subject: str
    header_from: str | None
    from_start: int
    from_end: int
    recipients: tuple[str, ...]  # on the wire: domain as A-labels
    smtputf8: bool
    eightbit: bool


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """One recipient of a mail, for showing."""

    id: int
    recipient: str
    state: DeliveryState
    code: int | None
    enhanced: str | None
    reply: str | None
    stage: str | None
    reason: str | None
    updated_at: datetime

    @property
    def cause(self) -> str | None:
        """The reason; *suppressed* where nobody was asked, since mailops kept the mail back."""
        return self.reason or (SUPPRESSED if self.stage == "suppression" else None)


@dataclass(frozen=True, slots=True)
class MailView:
    """One mail of the queue, for showing; ``deliveries`` only where asked for.

    ``lane`` is the server that it waits for, as far as is known.
    What left stands in ``sent_from`` (None: From as it was), ``sent_envelope`` (``<>``: the null path; None: nothing
    left yet) and ``sent_signature``; what a program gave in ``return_path``, ``login`` and ``peer``.
    """

    id: int
    message_id: str
    state: MailState
    header_from: str | None
    subject: str | None
    size: int
    created_at: datetime
    due_at: datetime
    finished_at: datetime | None
    attempts: int
    server_key: str | None
    failure_type: str | None
    failure_reason: str | None
    mail_class: MailClass
    deliveries: tuple[DeliveryView, ...] = field(default=())
    origin: str = "api"
    login: str | None = None
    peer: str | None = None
    return_path: str | None = None
    bounces: BouncePolicy | None = None
    sent_from: str | None = None
    sent_envelope: str | None = None
    sent_signature: str | None = None
    company: str | None = None
    rank: int = Rank.DAILY
    lane: str = ""
    leaves: str | None = None  # while it is Outgoing: when, in words

    @property
    def partly(self) -> bool:
        """Whether it was sent, and some of its recipients did not get it."""
        return self.state is MailState.SENT and any(d.state in FAILED_DELIVERIES for d in self.deliveries)

    @property
    def left(self) -> dict[str, str | None] | None:
        """What it left as: From, envelope sender, what became of signatures; None while nothing left."""
        if self.sent_envelope is None:
            return None
        sender = self.sent_from or self.header_from
        return {"from": sender, "envelope": self.sent_envelope, "signature": self.sent_signature}

    @property
    def label(self) -> str:
        """Its state as people see it."""
        return "Partly sent" if self.partly else self.state.label
