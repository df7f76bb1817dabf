"""An attempt in values: the mail in a worker's hands, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..model.states import DeliveryState, FailureType, MailState, Rank


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """What becomes of one recipient."""

    recipient: str
    state: DeliveryState
    stage: str
    code: int
    enhanced: str | None
    reply: str
    reason: str | None
    event: str  # sent, deferred, failed, unknown
    explained: Mapping[str, Any] | None = None  # the catalogue's row: cause, who must act, fix
    unconfirmed: str = ""  # why a hard refusal waits for a second one, in words


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a mail after an attempt: state, next attempt, reason in words, a row per tried recipient."""

    state: MailState
    due_at: datetime | None
    attempt: str  # sent, partial, deferred, failed, unknown
    failure_type: FailureType | None
    failure_reason: str | None
    deliveries: tuple[DeliveryOutcome, ...]


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
    bounces: str | None = None
    rank: int = Rank.DAILY
    lane: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a worker would take: up to ``number`` mails of a lane and rank."""

    lane: str
    rank: int
    number: int


@dataclass(frozen=True, slots=True)
class Settled:
    """A leased mail with what became of it."""

    mail: Leased
    outcome: Outcome
    server_key: str
    sent_from: str | None
    envelope_from: str | None
    transcript: str | None = None
    signature: str | None = None
    rule: int | None = None  # the number of the routing rule that chose the server
