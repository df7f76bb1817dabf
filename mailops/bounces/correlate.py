"""Ties a report to the delivery it speaks of: pure, with the way it was found and a stated confidence.

In falling order: the original's Message-ID and a recipient of that mail; the Message-ID alone when the mail had one
recipient; the recipient and the time, when only one mail to it is young enough. Nothing else is guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .report import RecipientResult, Report

WINDOW = timedelta(days=7)  # RFC 5321 §4.5.4.1: senders give up after 4-5 days; two more for slow reports


@dataclass(frozen=True, slots=True)
class Candidate:
    """A delivery that was accepted once. ``delivery_id`` is None when the mail itself is gone (auto-delete)."""

    mail_id: int
    delivery_id: int | None
    message_id: str
    recipient: str
    sent_at: datetime
    recipients: int = 1


@dataclass(frozen=True, slots=True)
class Match:
    """Which delivery, how it was found (``message-id+recipient``, ``message-id``, ``recipient+time``) and how sure."""

    candidate: Candidate | None
    by: str
    confidence: float


def match(result: RecipientResult | None, report: Report, candidates: Sequence[Candidate], *, now: datetime) -> Match:
    """The delivery that one result of a report speaks of.

    ``candidates`` are the deliveries of the original Message-ID and those to the result's addresses.
    """
    names = {n.lower() for n in ((result.recipient, result.original_recipient) if result else ()) if n}
    message_id = report.original.message_id
    if message_id:
        of_mail = [c for c in candidates if c.message_id == message_id]
        exact = [c for c in of_mail if c.recipient.lower() in names]
        if exact:
            return Match(exact[0], "message-id+recipient", 1.0)
        if of_mail and (of_mail[0].recipients == 1 or len({c.recipient for c in of_mail}) == 1):
            return Match(of_mail[0], "message-id", 0.9)
        if of_mail and not names:
            return Match(None, "message-id, but which recipient is not said", 0.0)
    young = [c for c in candidates if c.recipient.lower() in names and timedelta(0) <= now - c.sent_at <= WINDOW]
    mails = {c.mail_id for c in young}
    if len(mails) == 1:
        return Match(young[0], "recipient+time", 0.6)
    if mails:
        return Match(None, f"{len(mails)} mails went to this recipient lately", 0.0)
    return Match(None, "no mail of ours fits", 0.0)
