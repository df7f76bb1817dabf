"""What a message carries inside: complaints, notifications, status fields encoded once more, whole reports.

A gateway hands a report on as an attachment, a cloud service in an envelope of JSON, an old mail system encodes a block
of its status fields: each is unwrapped, :data:`DEEP` reports deep at most, and read as if it had come by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from ... import mime
from ...mime import Part
from . import arf, gate
from .notify import read_notification
from .opening import Letter, open_letter
from .report import RecipientResult, Report

DEEP = 3
"""Reports inside reports that are opened."""
MAX_ENCLOSED = 40
"""Parts of a message among which reports are looked for: a digest holds a day's."""
SHORT = 400
"""Characters that a rule writes above what it hands on."""
STATUS_PARTS = ("message/delivery-status", "message/global-delivery-status", "message/delivery_status")
_FEEDBACK_PARTS = ("message/feedback-report",)
_ENCODED = re.compile(
    r"(?:^[A-Za-z0-9+/]{20,80}\n){1,200}(?:[A-Za-z0-9+/]{1,80}={0,2}\n?)?|\A[A-Za-z0-9+/]{40,}={0,2}\s*\Z", re.M
)


def status_text(letter: Letter) -> str:
    """The status fields of all parts that hold some, or ""."""
    return "\n\n".join(_fields_text(part) for part in letter.parts if part.media in STATUS_PARTS)


def _fields_text(part: Part) -> str:
    """The status fields of a part; some systems encode them once more than its head says, or only a block of them."""
    words = part.text()
    if "recipient" in words.lower():
        return words
    found = _ENCODED.search(words[:40_000])
    if found is None:
        return words
    data = mime.transfer_decode("".join(found.group(0).split()).encode("ascii", "replace"), "base64")
    return words[: found.start()] + "\n" + mime.newlines(data).decode("utf-8", "replace").replace("\x00", "")


def attached(letter: Letter) -> Iterator[Letter]:
    """The messages that a gateway handed on whole, opened, which may be reports. Only of a message that a machine
    sent, or that came to our bounce address: a person who forwards a report reports nothing. Where only the mark of a
    machine (RFC 3834 section 5) says so, those alone whose subject the message bears: a help desk encloses its
    customers' mail under subjects of their own."""
    machine = letter.seen.daemon or letter.seen.null or letter.came or letter.seen.named
    auto = letter.fields.first("auto-submitted").lower()
    redirected = auto.startswith("auto-") and "replied" not in auto and len(letter.report) <= SHORT
    if letter.depth >= DEEP or not (machine or redirected):
        return
    for part in letter.parts[:MAX_ENCLOSED]:
        name = part.params.get("name", "") + part.fields.first("content-disposition")
        name = name.lower().rstrip('"; ')
        if part.media not in ("message/rfc822", "message/global") and not name.endswith(".eml"):
            continue
        raw = mime.transfer_decode(part.body, part.fields.first("content-transfer-encoding")).lstrip(b"\n")
        seen = gate.look(*mime.peek(raw))
        if seen.sign:
            inner = open_letter(
                mime.split_message(raw), seen, letter.ours, letter.came, letter.truncated, letter.depth + 1
            )
            if machine or (inner.subject and inner.subject.lower() in letter.subject.lower()):
                yield inner


def _feedback(feedback: dict[str, list[str]], letter: Letter) -> Report:
    kind = (feedback.get("feedback-type") or ["other"])[0].split(" ")[0].rstrip(";,").lower() or "other"
    addresses = arf.complaint_addresses(feedback) or arf.fallback_addresses(letter.original)
    words = "Feedback-Type: " + kind
    results = [RecipientResult(address, reason="feedback", rule="arf", evidence=words) for address in addresses]
    return replace(letter.answer("complaint", results, "arf", words), feedback_type=kind)


def complaint_of(letter: Letter) -> Report | None:
    for part in letter.parts:
        if part.media in _FEEDBACK_PARTS:
            return _feedback(arf.read_feedback(part.text()), letter)
    if "feedback-report" in letter.fields.first("content-type").lower():
        for part in letter.parts:
            if part.media.startswith("text/") or part.media == "application/octet-stream":
                feedback = arf.read_feedback(part.text())
                if "feedback-type" in feedback:
                    return _feedback(feedback, letter)
    said = "" if letter.seen.null or letter.seen.daemon else letter.human
    form = arf.provider_form(letter.fields, letter.parts, letter.original, said)
    if form is None:
        return None
    rule, kind, addresses = form
    results = [RecipientResult(address, reason="feedback", rule=rule, evidence=kind) for address in addresses]
    return replace(letter.answer("complaint", results, rule, kind), feedback_type=kind)


def notification_of(letter: Letter) -> Report | None:
    """What a cloud service tells in JSON, in the text or in a part of its own."""
    for words in (letter.human, *(part.text() for part in letter.parts if part.media == "application/json")):
        answer = read_notification(words, letter.subject, letter.truncated)
        if answer is not None:
            return answer
    return None
