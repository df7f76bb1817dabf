"""Events of sending services that arrive as mail: a JSON object, in the text or in a part of its own.

Amazon SES (bounce, complaint, delivery, delay), also in the envelopes of SNS (``Type: Notification``, whose ``Message``
is a text), EventBridge and queues. Its fields are documented by Amazon: notificationType, bounce.bouncedRecipients,
complaint.complainedRecipients, delivery.recipients, deliveryDelay.delayedRecipients, mail.commonHeaders.

Every other service tells the same four things under names of its own: what happened, to whom, the code and the words.
So where a text is JSON and nothing else, or a form as a browser would send it (``event=...&email=...``, or a field that
holds JSON), its objects are searched for those that name an event and an address (:func:`_events`); the names in use
are data. Several events in one text are one report with a result each.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

from ...mime import storable
from .classify import classify, classify_as, find_enhanced, find_reply
from .dsn import action_of, address_of, host_of
from .report import Kind, OriginalMessage, RecipientResult, Report

_KINDS: dict[str, Kind] = {
    "bounce": "bounce",
    "complaint": "complaint",
    "delivery": "success-dsn",
    "deliverydelay": "delayed",
    "reject": "bounce",
}
_PART: dict[str, tuple[str, str]] = {
    "bounce": ("bounce", "bouncedRecipients"),
    "complaint": ("complaint", "complainedRecipients"),
    "delivery": ("delivery", "recipients"),
    "deliverydelay": ("deliveryDelay", "delayedRecipients"),
    "reject": ("reject", ""),
}
_ACTIONS: dict[Kind, str] = {"bounce": "failed", "success-dsn": "delivered", "delayed": "delayed"}

_EVENTS: dict[str, Kind] = {
    **dict.fromkeys(("bounce", "bounced", "hardbounce", "softbounce", "failed", "failure", "permanentfail"), "bounce"),
    **dict.fromkeys(
        ("dropped", "drop", "reject", "rejected", "blocked", "invalidemail", "outofband", "suppressed"), "bounce"
    ),
    **dict.fromkeys(("deferred", "deferral", "delay", "delayed", "deliverydelay", "temporaryfail"), "delayed"),
    **dict.fromkeys(("complaint", "complained", "spam", "spamreport", "spamcomplaint"), "complaint"),
    **dict.fromkeys(("delivered", "delivery"), "success-dsn"),
}
"""What happened, in the words of services, without case, blanks and marks."""
_NAMED = ("event", "eventtype", "notificationtype", "recordtype", "type")
_WHOM = ("recipient", "rcptto", "email", "emailaddress", "to", "address", "destination", "recipients")
_UNSENT = frozenset({"dropped", "drop", "reject", "rejected", "suppressed"})
"""What a service calls a mail that it kept back itself, for an address that it no longer writes to."""
_WORDS = (
    *("rawreason", "diagnosticcode", "diag", "response", "smtpresponse", "details", "description", "message", "error"),
    *("bouncedescription", "reason", "errorrelatedto", "comment"),
)
_CODES = ("status", "enhancedcode", "enhancedstatus")
MAX_OBJECTS = 2_000


def read_notification(text: str, subject: str, truncated: bool) -> Report | None:
    """The report in a text, or None when there is no such object."""
    start = text.find("{")
    if start < 0:
        return _events(_form(text), subject, truncated)
    if "notificationType" not in text and "eventType" not in text:
        return _events(_bare(text), subject, truncated)
    item = _opened(_decoded(text[start:].replace("\n ", " ").replace("\n", "")))
    name = str(item.get("notificationType") or item.get("eventType") or "").lower() if item else ""
    if item is None or name not in _KINDS:
        return _events(_bare(text), subject, truncated)
    section, key = _PART[name]
    detail = _mapping(item.get(section))
    results = []
    people = detail.get(key) if key else _mapping(item.get("mail")).get("destination")
    for entry in _sequence(people)[:200]:
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
    if name == "deliverydelay":
        results = [replace(one, action="delayed", hard=False, unconfirmed=False) for one in results]
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
    if name == "reject":  # Amazon: the only reason, "Bad content", says that a virus was found
        words = str(detail.get("reason") or name)[:1000]
        answer, diagnostic = classify_as("virusdetected", "reject", words), words
    else:
        good = name == "delivery"
        answer = classify(enhanced="2.0.0" if good else status, text="" if good else diagnostic)
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


def _bare(text: str) -> Any:
    """The JSON of a text that holds nothing else but a signature under it, or None."""
    bare = text.partition("\n-- \n")[0].partition("\n--\n")[0].strip()
    if bare[:1] not in ("{", "[") or bare[-1:] not in ("}", "]"):
        return None
    return _decoded(bare.replace("\n ", " ").replace("\n", ""))


_FORM = re.compile(r"(?:[\w.\-\[\]]{1,60}=[^\s&=]{0,100000}(?:&|\Z)){1,200}")


def _form(text: str) -> Any:
    """The fields of a form in a text that holds nothing else (application/x-www-form-urlencoded), those that are JSON
    decoded; or None."""
    bare = "".join(text[:200_000].split())
    if "=" not in bare[:64] or "%" not in bare or _FORM.fullmatch(bare) is None:
        return None
    fields = dict(parse_qsl(bare, max_num_fields=500))
    decoded = {name: _decoded(value) if value[:1] in ("{", "[") else storable(value) for name, value in fields.items()}
    return decoded


MAX_EVENTS = 500


def _events(document: Any, subject: str, truncated: bool) -> Report | None:
    """What the events of a document tell: those of the gravest kind, with who was delivered to or is still tried for.

    Events about different mails give no original, so that nobody is counted for another's mail."""
    found = [one for item in _objects(document) if (one := _event(item)) is not None][:MAX_EVENTS]
    kind = next((kind for kind in _GRAVE if any(kind == one[0] for one in found)), None)
    if kind is None:
        return None
    among = ("bounce", "delayed", "success-dsn") if kind in ("bounce", "delayed") else (kind,)
    told = [one for one in found if one[0] in among]
    people: dict[str, RecipientResult] = {}
    for _, result, _, _ in sorted(told, key=lambda one: _GRAVE.index(one[0])):
        people.setdefault(result.recipient.lower(), result)
    same = len({one[2].message_id for one in told}) == 1
    original = told[0][2] if same else OriginalMessage()
    name = next(one[3] for one in told if one[0] == kind)
    feedback = "abuse" if kind == "complaint" else None
    return Report(kind, tuple(people.values()), feedback, original, "event", name, subject, truncated)


_GRAVE: tuple[Kind, ...] = ("bounce", "delayed", "complaint", "success-dsn")


def _event(item: dict[str, Any]) -> tuple[Kind, RecipientResult, OriginalMessage, str] | None:
    """(kind, result, the mail it is about, the event as it was named) of an object that is an event about somebody."""
    named = [(str(item.get(name) or ""), name) for name in _NAMED]
    value, kind = next(((value, _EVENTS[word]) for value, _ in named if (word := _plain(value)) in _EVENTS), ("", None))
    if kind is None:
        return None
    inside = list(_objects(item))
    address = next((a for one in inside if (a := address_of(_first(one, _WHOM))) and "@" in a), "")
    if not address:
        return None
    if kind == "bounce" and _first(item, ("severity",)).lower() == "temporary":
        kind = "delayed"
    words = "; ".join(dict.fromkeys(said for name in _WORDS for one in inside if (said := _first(one, (name,)))))
    if kind in ("bounce", "delayed") and not words:
        return None
    code = next((c for one in inside if (c := _first(one, _CODES))), "")
    return kind, _told(kind, address, words[:2000], code, _plain(value) in _UNSENT), _mail_of(inside), value


def _told(kind: Kind, address: str, words: str, code: str, unsent: bool = False) -> RecipientResult:
    if kind == "complaint":
        return RecipientResult(address, reason="feedback", rule="event:complaint")
    status = find_enhanced(code) or find_enhanced(words)
    good = kind == "success-dsn"
    answer = classify(enhanced="2.0.0" if good else status, text="" if good else words.removeprefix("smtp;").strip())
    if unsent and not find_reply(words) and not answer.rule.startswith("text:") and "bounce" in words.lower():
        answer = classify_as("userunknown", "event", words[:80])  # kept back for what an earlier mail was told
    elif answer.reason in ("undefined", "delivered") and not good:
        answer = classify_as("onhold", "text:unclear", words[:80])
    hard, waits = (False, False) if kind != "bounce" else (answer.hard, answer.unconfirmed)
    return RecipientResult(
        address,
        None,
        answer.reason,
        hard,
        status,
        _ACTIONS[kind],
        words[:1000],
        None,
        None,
        "event:" + answer.rule,
        answer.matched_text,
        waits,
    )


def _mail_of(objects: list[dict[str, Any]]) -> OriginalMessage:
    """The mail that an event is about, as far as one of its objects holds its fields."""
    head = next((one for one in objects if _first(one, ("messageid",)) and _first(one, ("subject",))), {})
    to = address_of(_first(head, ("to",)))
    return OriginalMessage(
        _first(head, ("messageid",)) or None,
        (to,) if "@" in to else (),
        address_of(_first(head, ("from",))) or None,
        _first(head, ("subject",)) or None,
        MappingProxyType({}),
    )


def _objects(item: Any) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value, the outer ones first; :data:`MAX_OBJECTS` at most."""
    waiting, seen = deque([item]), 0
    while waiting and seen < MAX_OBJECTS:
        one = waiting.popleft()
        seen += 1
        if isinstance(one, dict):
            yield {_plain(str(name)): value for name, value in one.items()}
        inside = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        waiting.extend(value for value in list(inside)[:MAX_OBJECTS] if isinstance(value, dict | list))


def _first(item: dict[str, Any], names: tuple[str, ...]) -> str:
    """The first of these members that is a text."""
    values = (value[0] if isinstance(value := item.get(name), list) and value else value for name in names)
    return next((value.strip() for value in values if isinstance(value, str) and value.strip()), "")


def _plain(word: str) -> str:
    return "".join(one for one in word[:40].lower() if one.isalnum())


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
