"""Amazon SES notifications that arrive as mail: a JSON object (bounce, complaint, delivery) in the text, also in the
envelopes of SNS (``Type: Notification``, whose ``Message`` is a text), EventBridge and queues.

Their fields are documented by Amazon: notificationType, bounce.bouncedRecipients, complaint.complainedRecipients,
delivery.recipients, mail.commonHeaders.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

from ...mime import storable
from .classify import classify, find_enhanced
from .dsn import action_of, address_of, host_of
from .report import Kind, OriginalMessage, RecipientResult, Report

_KINDS: dict[str, Kind] = {"bounce": "bounce", "complaint": "complaint", "delivery": "success-dsn"}
_PART: dict[str, tuple[str, str]] = {
    "bounce": ("bounce", "bouncedRecipients"),
    "complaint": ("complaint", "complainedRecipients"),
    "delivery": ("delivery", "recipients"),
}


def read_notification(text: str, subject: str, truncated: bool) -> Report | None:
    """The report in a text, or None when there is no such object."""
    start = text.find("{")
    if start < 0 or ("notificationType" not in text and "eventType" not in text):
        return None
    item = _opened(_decoded(text[start:].replace("\n ", " ").replace("\n", "")))
    if item is None:
        return None
    name = str(item.get("notificationType") or item.get("eventType") or "").lower()
    if name not in _KINDS:
        return None
    section, key = _PART[name]
    detail = _mapping(item.get(section))
    results = []
    for entry in _sequence(detail.get(key))[:200]:
        fields = _mapping(entry)
        address = address_of(str(fields.get("emailAddress", "")) if fields else str(entry))
        if "@" in address:
            results.append(_result(name, address, fields, detail))
    mail = _mapping(item.get("mail"))
    common = _mapping(mail.get("commonHeaders"))
    original = OriginalMessage(
        str(common.get("messageId") or mail.get("messageId") or "") or None,
        tuple(address_of(str(to)) for to in _sequence(common.get("to") or mail.get("destination"))[:200]),
        str(mail.get("source") or "") or None,
        str(common.get("subject") or "") or None,
        MappingProxyType({}),
    )
    feedback = str(detail.get("complaintFeedbackType") or "abuse").lower() if name == "complaint" else None
    return Report(_KINDS[name], tuple(results), feedback, original, "ses", name, subject, truncated)


_ENVELOPES = ("Message", "message", "detail", "Sns", "body", "Records")
"""Where what carries a notification keeps it: SNS and SQS as a text, EventBridge and Lambda as an object."""


def _decoded(text: str) -> Any:
    try:
        found, _ = json.JSONDecoder(strict=False).raw_decode(text)
        return _storable(found)
    except (ValueError, RecursionError):
        return None


def _opened(item: Any, deep: int = 4) -> dict[str, Any] | None:
    """The notification inside its envelopes, or None."""
    if isinstance(item, str):
        item = _decoded(item.strip()) if item.lstrip()[:1] in ("{", "[") else None
    if isinstance(item, list):
        item = item[0] if item else None
    if not isinstance(item, dict):
        return _opened(item, deep - 1) if isinstance(item, str | list) and deep > 0 else None
    if "notificationType" in item or "eventType" in item:
        return item
    inner = (_opened(item[name], deep - 1) for name in _ENVELOPES if name in item and deep > 0)
    return next((one for one in inner if one is not None), None)


def _result(name: str, address: str, fields: dict[str, Any], detail: dict[str, Any]) -> RecipientResult:
    diagnostic = str(fields.get("diagnosticCode") or detail.get("smtpResponse") or "").removeprefix("smtp;").strip()
    status = find_enhanced(str(fields.get("status") or "")) or find_enhanced(diagnostic)
    if name == "complaint":
        return RecipientResult(address, reason="feedback", rule="ses:complaint")
    answer = classify(enhanced="2.0.0" if name == "delivery" else status, text="" if name == "delivery" else diagnostic)
    mta = str(detail.get("reportingMTA") or "")
    return RecipientResult(
        address,
        None,
        answer.reason,
        answer.hard,
        status,
        "delivered" if name == "delivery" else action_of(str(fields.get("action") or "failed")),
        diagnostic[:1000],
        None,
        host_of(mta) if mta else None,
        "ses:" + answer.rule,
        answer.matched_text,
    )


def _storable(value: Any) -> Any:
    """The same object with texts that every database takes: JSON may escape NUL and half surrogates."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {storable(key): _storable(item) for key, item in value.items()}
    return value


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _sequence(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
