"""Reads what a provider's webhook carries into one form. Pure; anything that is no event of interest is left out.

A provider's word "permanent" makes an address hard only where its own text does not speak of something else (a full
mailbox, a spam filter): several of them count refused content as permanent.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..bounces import classify
from ..errors import InputRefused
from ..mime import storable
from ..model.reasons import is_hard
from ..store.schema import EVENT_KEY

MAX_EVENTS = 10_000
MAX_ADDRESS = 320
MAX_ID = 1_000
_ADDRESS = re.compile(rf"(?=.{{3,{MAX_ADDRESS}}}\Z)[^\x00-\x20\x7f\ud800-\udfff]+@[^\x00-\x20\x7f@\ud800-\udfff]+\Z")
_STATUS = re.compile(r"[45]\.\d{1,3}\.\d{1,3}\Z", re.ASCII)
_OPEN = frozenset({"undefined", "onhold"})
_WORDS = {
    # Mailjet: error
    "user unknown": "userunknown",
    "mailbox inactive": "suspend",
    "quota exceeded": "mailboxfull",
    "invalid domain": "hostunknown",
    "no mail host": "hostunknown",
    "typofix": "hostunknown",
    "relay/access denied": "norelaying",
    "sender blocked": "blocked",
    "content blocked": "spamdetected",
    "policy issue": "policyviolation",
    "system issue": "systemerror",
    "protocol issue": "syntaxerror",
    "connection issue": "networkerror",
    "preblocked": "policyviolation",
    "duplicate in campaign": "policyviolation",
    # SES: bounceSubType
    "NoEmail": "userunknown",
    "MailboxFull": "mailboxfull",
    "MessageTooLarge": "mesgtoobig",
    "ContentRejected": "contenterror",
    "AttachmentRejected": "contenterror",
    # Mailgun: reason
    "old": "expired",
    "suppress-complaint": "filtered",
    "suppress-unsubscribe": "filtered",
    # SendGrid: reason of a drop
    "Spam Reporting Address": "filtered",
    "Unsubscribed Address": "filtered",
    "Spam Content": "spamdetected",
}
"""The providers' own words for a cause, where the server's text says nothing. Who complained to a provider or left its
list refuses this mail (``filtered``)."""
_OF_ITS_LISTS = frozenset(
    {"suppress-complaint", "suppress-unsubscribe", "Spam Reporting Address", "Unsubscribed Address"}
)


@dataclass(frozen=True, slots=True)
class Event:
    """One recipient's event. ``kind``: bounce, delayed or complaint; ``message_id`` is the mail's own where known."""

    event_id: str
    kind: str
    address: str
    reason: str = "undefined"
    hard: bool = False
    status: str | None = None
    text: str = ""
    message_id: str | None = None
    feedback: str | None = None  # the kind of a complaint (RFC 5965 §7.3), where told


def read_events(provider: str, body: bytes) -> list[Event]:
    """The events of one delivery of a provider's webhook. Raises :class:`InputRefused` for what cannot be read."""
    try:
        found = list(_READERS[provider](json.loads(body)))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputRefused(
            "The webhook's body is not in the form this provider writes.",
            code="input.webhook_body",
            facts={"provider": provider, "reason": f"{type(error).__name__}"},
            fix="Check that the provider sends its own JSON form to this address.",
        ) from error
    if len(found) > MAX_EVENTS:
        raise InputRefused(
            "The webhook carries too many events at once.",
            code="input.too_large",
            facts={"events": len(found), "limit": MAX_EVENTS},
            fix="Lower the batch size at the provider.",
        )
    return [event for event in found if _ADDRESS.match(event.address) and event.event_id]


def _storable(value: object, limit: int) -> str:
    """Text that every database takes (JSON may escape NUL and half surrogates), of bounded length."""
    return storable(str(value or ""))[:limit]


def _key(value: object) -> str:
    """The event's id; one too long is kept apart from others by its digest."""
    text = _storable(value, 1_000_000)
    return text if len(text) <= EVENT_KEY else hashlib.sha256(text.encode()).hexdigest()


def _bounce(
    event_id: object,
    address: object,
    text: object,
    *,
    permanent: bool,
    status: object = None,
    mid: object = None,
    word: object = None,
    bad: bool = True,
) -> Event:
    """``permanent`` and ``word`` are the provider's; ``bad``: permanent without words means that the address is bad."""
    words = _storable(text, 4000)
    enhanced = str(status) if status and _STATUS.match(str(status)) else None
    reason, own = classify(text=words, enhanced=enhanced).reason, str(word or "")
    if own in _OF_ITS_LISTS or reason in _OPEN:
        reason = _WORDS.get(own, reason)
    hard = permanent and (bad if reason in _OPEN else is_hard(reason))
    return Event(_key(event_id), "bounce", str(address or ""), reason, hard, enhanced, words, _angle(mid))


def _delay(event: Event) -> Event:
    """The provider still tries."""
    return replace(event, kind="delayed", hard=False)


def _complaint(event_id: object, address: object, mid: object = None, feedback: object = None) -> Event:
    kind = _storable(feedback, 40).lower() or None
    return Event(_key(event_id), "complaint", str(address or ""), "feedback", True, None, "", _angle(mid), kind)


def _angle(value: object) -> str | None:
    text = _storable(value, MAX_ID).strip().strip("<>")
    return f"<{text}>" if "@" in text else None


def _all(value: Any) -> Iterable[Mapping[str, Any]]:
    return value if isinstance(value, list) else [value]


def _mailjet(data: Any) -> Iterable[Event]:
    for item in _all(data):
        kind, address = item.get("event"), item.get("email")
        key = f"{item.get('Message_GUID') or item.get('MessageID') or ''}/{kind}/{address}/{item.get('time') or ''}"
        text = f"{item.get('error') or ''} {item.get('comment') or ''}".strip()
        if kind in ("bounce", "blocked"):
            permanent = kind == "bounce" and bool(item.get("hard_bounce"))
            yield _bounce(key, address, text, permanent=permanent, mid=item.get("CustomID"), word=item.get("error"))
        elif kind == "spam":
            yield _complaint(key, address, item.get("CustomID"))


def _ses(data: Any) -> Iterable[Event]:
    if data.get("Type") != "Notification":
        return
    item = json.loads(data["Message"])
    mid = (item.get("mail") or {}).get("commonHeaders", {}).get("messageId")
    kind = item.get("notificationType") or item.get("eventType")
    if kind == "Bounce":
        told = item["bounce"]
        for person in told.get("bouncedRecipients", []):
            text = person.get("diagnosticCode") or told.get("bounceSubType")
            key = f"{told.get('feedbackId')}/{person.get('emailAddress')}"
            permanent = told.get("bounceType") == "Permanent"
            status = person.get("status")
            word = told.get("bounceSubType")
            yield _bounce(key, person.get("emailAddress"), text, permanent=permanent, status=status, mid=mid, word=word)
    elif kind == "Complaint":
        told = item["complaint"]
        for person in told.get("complainedRecipients", []):
            key, feedback = f"{told.get('feedbackId')}/{person.get('emailAddress')}", told.get("complaintFeedbackType")
            yield _complaint(key, person.get("emailAddress"), mid, feedback)
    elif kind == "DeliveryDelay":
        told = item["deliveryDelay"]
        for person in told.get("delayedRecipients", []):
            key = f"{(item.get('mail') or {}).get('messageId')}/{told.get('timestamp')}/{person.get('emailAddress')}"
            text = person.get("diagnosticCode") or told.get("delayType")
            yield _delay(_bounce(key, person.get("emailAddress"), text, permanent=False, mid=mid))


_SENDGRID_LISTED = frozenset({"Bounced Address", "Invalid"})


def _sendgrid(data: Any) -> Iterable[Event]:
    for item in _all(data):
        key, address, mid = item.get("sg_event_id"), item.get("email"), item.get("smtp-id")
        if item.get("event") == "bounce":
            permanent = item.get("type", "bounce") == "bounce" and not str(item.get("status") or "").startswith("4")
            reason, status = item.get("reason"), item.get("status")
            yield _bounce(key, address, reason, permanent=permanent, status=status, mid=mid)
        elif item.get("event") == "dropped":  # not tried: on one of SendGrid's own lists, or refused by its rules
            reason = str(item.get("reason") or "")
            yield _bounce(key, address, reason, permanent=reason in _SENDGRID_LISTED, mid=mid, word=reason)
        elif item.get("event") == "deferred":
            yield _delay(_bounce(key, address, item.get("response"), permanent=False, mid=mid))
        elif item.get("event") == "spamreport":
            yield _complaint(key, address, mid)


def _mailgun(data: Any) -> Iterable[Event]:
    item = data["event-data"]
    status = item.get("delivery-status") or {}
    mid = ((item.get("message") or {}).get("headers") or {}).get("message-id")
    if item.get("event") == "failed":
        text = f"{status.get('message') or ''} {status.get('description') or ''}".strip()
        known = _bounce(
            item.get("id"),
            item.get("recipient"),
            text,
            permanent=item.get("severity") == "permanent",
            status=status.get("enhanced-code"),
            mid=mid,
            word=item.get("reason"),
            bad=item.get("reason") not in ("generic", "espblock"),
        )
        if item.get("severity") == "temporary":  # Mailgun still tries
            known = _delay(known)
        yield known
    elif item.get("event") == "complained":
        yield _complaint(item.get("id"), item.get("recipient"), mid)


_POSTMARK_OTHER = frozenset(
    (
        "AutoResponder",
        "ChallengeVerification",
        "Subscribe",
        "Unsubscribe",
        "OpenRelayTest",
        "InboundError",
        "TemplateRenderingFailed",
    )
)
_POSTMARK_HARD = frozenset({"HardBounce", "BadEmailAddress"})


def _postmark(data: Any) -> Iterable[Event]:
    key = f"{data.get('RecordType')}/{data.get('ID')}"
    if data.get("RecordType") == "Bounce":
        text = data.get("Details") or data.get("Description")
        kind = data.get("Type")
        if kind == "SpamComplaint":
            yield _complaint(key, data.get("Email"))
        elif kind not in _POSTMARK_OTHER:
            yield _bounce(key, data.get("Email"), text, permanent=kind in _POSTMARK_HARD)
    elif data.get("RecordType") == "SpamComplaint":
        yield _complaint(key, data.get("Email"))


_READERS: dict[str, Callable[[Any], Iterable[Event]]] = {
    "mailjet": _mailjet,
    "ses": _ses,
    "sendgrid": _sendgrid,
    "mailgun": _mailgun,
    "postmark": _postmark,
}
PROVIDERS = tuple(_READERS)
