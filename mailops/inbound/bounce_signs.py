"""Is this mail a bounce, about whom, and about which of our mails? The gateway's own, strict reading.

Three signs, each enough: it is written to the bounce address of any alias domain, with or without a tag; its sender's
local part is ``mailer-daemon``; its outer type is ``multipart/report`` (RFC 6522; read receipts, RFC 8098, fall under
it too). What the report means (hard or soft, reason, provider) is :mod:`mailops.bounces`; here only address and ids are
needed.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from ..bounces.correlate import split_tag
from ..mime import MAX_TEXT, Part, fields_of, newlines, split_head, transfer_decode
from ..model.address import normalise, parse_single
from .values import InboundMail, Reported

_ID = re.compile(r"<([^<>]{1,2000})>")
ORIGINAL = ("message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers")
STATUS = ("message/delivery-status", "message/global-delivery-status")


def bounce_sign(mail: InboundMail, bounce_addresses: Collection[str]) -> str | None:
    """Which of the three signs the mail bears, in words; None for ordinary mail."""
    hit = next((a for a in mail.to if _untagged(a) in bounce_addresses), None)
    if hit:
        return f"it is written to the bounce address {hit}"
    if mail.sender is not None and mail.sender.local.lower() == "mailer-daemon":
        return "its sender is mailer-daemon"
    outer = mail.content_type.partition(";")[0].strip().lower().replace('"', "")
    if outer == "multipart/report" or "report-type=delivery-status" in outer:
        return "its type is multipart/report"
    return None


def _untagged(address: str) -> str:
    """``bounce+123-mac@domain`` without its tag, in lower case."""
    tagged = split_tag(address)
    return tagged[0] if tagged else address


def read_report(parts: list[Part]) -> Reported | None:
    """Address and original ids from the report parts of a mail; None when it has neither part."""
    status = next((p for p in parts if p.media in STATUS), None)
    original = next((p for p in parts if p.media in ORIGINAL), None)
    if status is None and original is None:
        return None
    human = next((p for p in parts if p.media.startswith("text/") and p.media not in ORIGINAL), None)
    return Reported(
        address=_failed_address(status) if status else None,
        message_ids=_original_ids(original) if original else (),
        text=human.text().strip() if human else "",
    )


def _decoded(part: Part) -> bytes:
    return newlines(transfer_decode(part.body, part.fields.first("content-transfer-encoding"))[:MAX_TEXT])


def _failed_address(part: Part) -> str | None:
    """``Final-Recipient`` of the first recipient block (RFC 3464 §2.3.2), if it is well-formed."""
    blocks = [b for b in re.split(rb"\n[ \t]*\n", _decoded(part).strip(b"\n")) if b.strip()]
    if len(blocks) < 2:
        return None
    kind, semicolon, value = fields_of(blocks[1]).first("final-recipient").partition(";")
    found = parse_single(value) if semicolon and kind.strip() else None
    return normalise(found.spec) if found else None


def _original_ids(part: Part) -> tuple[str, ...]:
    head = fields_of(split_head(_decoded(part).lstrip(b"\n"))[0])
    values = (head.first("message-id"), head.first("x-microsoft-original-message-id"))
    return tuple(dict.fromkeys("<" + re.sub(r"\s+", "", i) + ">" for v in values for i in _ID.findall(v)))
