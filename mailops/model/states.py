"""States of a mail and of a delivery, with the allowed moves written once.

::

    Outgoing ──sent──▶ Sent                   a mail is Sent when one recipient was accepted and none is waiting
       │  ▲
       │  └──Retry── Delivery Failed          every recipient refused for good
       └──Cancel Email──▶ Cancelled ──Retry──▶ Outgoing

The state of a mail is derived from its deliveries by :func:`mail_state`; only :data:`MAIL_MOVES` may be taken.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum, StrEnum


class MailState(StrEnum):
    """Where a mail stands in the queue; :attr:`label` is what people see."""

    OUTGOING = "outgoing"
    SENT = "sent"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def label(self) -> str:
        return {"outgoing": "Outgoing", "sent": "Sent", "failed": "Delivery Failed", "cancelled": "Cancelled"}[self]


class DeliveryState(StrEnum):
    """Where one recipient of a mail stands."""

    PENDING = "pending"  # not tried yet, or tried and deferred
    SENT = "sent"  # the next server took responsibility
    FAILED = "failed"  # refused for good, or given up
    BOUNCED = "bounced"  # accepted first, a delivery report came back later
    CANCELLED = "cancelled"
    IGNORED = "ignored"  # failed, and a person said "ignore"

    @property
    def label(self) -> str:
        return {
            "pending": "Outgoing",
            "sent": "Sent",
            "failed": "Delivery Failed",
            "bounced": "Bounced",
            "cancelled": "Cancelled",
            "ignored": "Ignored",
        }[self]


class Rank(IntEnum):
    """Who of the *Outgoing* goes first, and who waits for the queue job (:data:`OF_THE_JOB`) instead of waking the
    queue: newly handed in day-to-day mail leaves at once, mass mail and what a person retried with the job."""

    URGENT = 0  # a person waits for it
    DAILY = 1
    MASS = 2  # mass mail that was tried: its own due time wakes
    RETRIED = 3
    CAMPAIGN = 4  # mass mail that was not tried yet


OF_THE_JOB = frozenset({Rank.RETRIED, Rank.CAMPAIGN})


def rank_of(mail_class: str, *, urgent: bool = False, tried: bool = False) -> Rank:
    """Where a mail of this class (``transactional``, ``mass``) stands when it becomes *Outgoing*, or is put off."""
    if mail_class == "mass":
        return Rank.MASS if tried else Rank.CAMPAIGN
    return Rank.URGENT if urgent else Rank.DAILY


FAILED_DELIVERIES = frozenset({DeliveryState.FAILED, DeliveryState.BOUNCED})

MAIL_MOVES: dict[MailState, frozenset[MailState]] = {
    MailState.OUTGOING: frozenset({MailState.SENT, MailState.FAILED, MailState.CANCELLED, MailState.OUTGOING}),
    MailState.FAILED: frozenset(
        {MailState.OUTGOING, MailState.CANCELLED, MailState.SENT}  # Sent: a report that was taken back
    ),
    MailState.CANCELLED: frozenset({MailState.OUTGOING}),
    MailState.SENT: frozenset({MailState.FAILED, MailState.OUTGOING}),  # a late bounce; a partial retry
}

_WAITING, _FAILED, _BOUNCED = DeliveryState.PENDING, DeliveryState.FAILED, DeliveryState.BOUNCED
BEFORE_RECIPIENT = frozenset({"connect", "ehlo", "starttls", "auth", "mail", "local"})
"""Stages of a session in which no recipient was named yet: what fails there is not handed over, and nobody's bounce."""

DELIVERY_MOVES: dict[str, tuple[frozenset[DeliveryState], DeliveryState]] = {
    "sent": (frozenset({_WAITING}), DeliveryState.SENT),
    "deferred": (frozenset({_WAITING}), _WAITING),
    "unknown": (frozenset({_WAITING}), _WAITING),
    "failed": (frozenset({_WAITING}), _FAILED),
    "barred": (frozenset({_WAITING}), _FAILED),
    "bounced": (frozenset({DeliveryState.SENT, _BOUNCED}), _BOUNCED),
    "bounced_in_error": (frozenset({_BOUNCED}), DeliveryState.SENT),
    "retried": (frozenset({_FAILED, _BOUNCED, DeliveryState.CANCELLED}), _WAITING),
    "cancelled": (frozenset({_WAITING, _FAILED, _BOUNCED}), DeliveryState.CANCELLED),
    "ignored": (frozenset({_FAILED, _BOUNCED}), DeliveryState.IGNORED),
}
"""What a fact of this kind makes of a delivery: from which states, to which. In any other state it changes nothing."""


class FailureType(StrEnum):
    """Why a mail or delivery failed, in the words admins know from their product."""

    UNKNOWN = "unknown"
    EMAIL_INVALID = "mail_email_invalid"
    EMAIL_MISSING = "mail_email_missing"
    FROM_INVALID = "mail_from_invalid"
    FROM_MISSING = "mail_from_missing"
    SMTP = "mail_smtp"
    BOUNCE = "mail_bounce"
    BLACKLIST = "mail_bl"
    OPTOUT = "mail_optout"
    DUPLICATE = "mail_dup"
    DAILY_LIMIT = "daily_limit"


def mail_state(deliveries: Collection[DeliveryState]) -> MailState:
    """Derive a mail's state from its deliveries: one accepted recipient makes it sent, once none is waiting.

    >>> mail_state([DeliveryState.SENT, DeliveryState.FAILED]).label
    'Sent'
    """
    states = set(deliveries)
    if DeliveryState.PENDING in states:
        return MailState.OUTGOING
    if DeliveryState.SENT in states:
        return MailState.SENT
    if states & FAILED_DELIVERIES:
        return MailState.FAILED
    return MailState.CANCELLED if states else MailState.FAILED
