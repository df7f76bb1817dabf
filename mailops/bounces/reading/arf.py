"""Complaints: ARF reports (RFC 5965, 6650) and the forms of providers that have their own."""

from __future__ import annotations

import re

from ...mime import Fields, Part
from .dsn import address_of
from .report import OriginalMessage

_FIELD = re.compile(r"^([A-Za-z][A-Za-z0-9-]{1,60})\s{0,4}:[ \t]*(.*)$")
_REDACTED = re.compile(r"^(redacted|\[?removed\]?|xxx+|x+)?@?$", re.I)
_OFFENDING = re.compile(
    r"^[ \t]*\[ ?offending (?:message|mail|e-?mail)s? ?\][ \t]*\n\s{0,8}[A-Za-z][A-Za-z0-9-]{1,40}:", re.I | re.M
)


def read_feedback(text: str) -> dict[str, list[str]]:
    """The fields of a feedback report; some may occur more than once."""
    fields: dict[str, list[str]] = {}
    for line in text.split("\n", 400)[:400]:
        match = _FIELD.match(line[:2000])
        if match:
            fields.setdefault(match.group(1).lower(), []).append(match.group(2).strip())
    return fields


def complaint_addresses(fields: dict[str, list[str]]) -> list[str]:
    """Who complained, as far as the report itself says; redacted values are nobody."""
    found = []
    for name in ("original-rcpt-to", "removal-recipient", "redacted-address"):
        for value in fields.get(name, []):
            address = address_of(value)
            if "@" in address and not _REDACTED.match(address) and address.rpartition("@")[2]:
                found.append(address)
        if found:
            break
    return list(dict.fromkeys(found))


def fallback_addresses(original: OriginalMessage) -> list[str]:
    """The address the original was delivered to, when the report names nobody: what the provider notes in it, else the
    only one in its ``To``."""
    noted = address_of(original.headers.get("x-hmxmroriginalrecipient", ""))
    if "@" in noted:
        return [noted]
    return list(original.to) if len(original.to) == 1 else []


def provider_form(
    fields: Fields, parts: list[Part], original: OriginalMessage, text: str
) -> tuple[str, str, list[str]] | None:
    """(rule, feedback type, addresses) for complaints that are not ARF: Outlook.com's JMRP, Apple's unsubscribe, the
    plain text of services that report for their members (SpamCop and its like, which name nobody)."""
    recipient = original.headers.get("x-hmxmroriginalrecipient", "")
    if recipient and len(parts) <= 3:
        return "complaint.jmrp", "abuse", [address_of(recipient)]
    if fields.first("x-apple-unsubscribe").lower() == "true":
        return "complaint.apple", "opt-out", [address_of(fields.first("from"))]
    if "ffending" in text and _OFFENDING.search(text[:20_000]):
        return "complaint.offending", "abuse", []
    return None
