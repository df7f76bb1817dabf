"""Delivery status fields (RFC 3464, 6533), read generously.

Fields are taken from ``message/delivery-status`` parts, or from a text that carries them without a part of their own.
A group belongs to the recipient it names; a group that names nobody but has an Action or a Status is joined to its
neighbour. Unknown address types, doubled types, missing types and RFC 6533 forms are all accepted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ...mime import storable

MAX_GROUPS = 200
MAX_LINES = 4_000

_FIELD = re.compile(r"^[>\s]{0,6}([A-Za-z][A-Za-z0-9-]{2,60})\s{0,4}:[ \t]*(.*)$")
_TYPE = re.compile(r"^\s*[A-Za-z0-9/-]{2,24}\s*;\s*")
_XCHAR = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_CODE = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,250}")

RECIPIENT_FIELDS = ("final-recipient", "original-recipient", "x-actual-recipient", "x-actual-rcpt-to")
_ACTIONS = ("failed", "delayed", "delivered", "relayed", "expanded", "deliverable", "deferred", "failure", "expired")
KNOWN = frozenset(
    (
        "reporting-mta",
        "dsn-gateway",
        "received-from-mta",
        "arrival-date",
        "original-envelope-id",
        "action",
        "status",
        "remote-mta",
        "diagnostic-code",
        "last-attempt-date",
        "will-retry-until",
        "final-log-id",
        "x-postfix-queue-id",
        "x-postfix-sender",
        "x-display-name",
        "x-original-message-id",
        *RECIPIENT_FIELDS,
    )
)


@dataclass(slots=True)
class Group:
    """The fields of one recipient, by lower-case name."""

    fields: dict[str, str] = field(default_factory=dict)

    def get(self, name: str) -> str:
        """A field or ""."""
        return self.fields.get(name, "")


_QUOTED = re.compile(r"(\"(?:[^\"\\\n]|\\.){1,64}\"@[^\s<>\"';,()]{1,255})")
_LOCAL = re.compile(r"(?:\"(?:[^\"\\\n]|\\.){1,64}\"|[^\s@<>\"(),:;\[\]]{1,200})\Z")


def is_address(value: str) -> bool:
    """True for ``local@domain`` (RFC 5321 section 4.1.2), where the local part may be quoted.

    >>> is_address('"mia roth"@x.example'), is_address("@x.example")
    (True, False)
    """
    local, at, domain = value.rpartition("@")
    return bool(at and domain and _LOCAL.match(local))


def address_of(value: str) -> str:
    """The address of a typed address field: ``rfc822; <a@example.com>`` gives ``a@example.com``; a quoted local part
    (RFC 5321 section 4.1.2) stays whole."""
    value = value.strip()
    if '"@' in value and (quoted := _QUOTED.search(value[:1000])):
        return quoted.group(1)[:320]
    for _ in range(3):
        match = _TYPE.match(value)
        if match is None:
            break
        value = value[match.end() :]
    if "\\x{" in value:
        value = storable(_XCHAR.sub(lambda found: chr(min(int(found.group(1), 16), 0x10FFFF)), value))
    start = value.find("<")
    if start >= 0 and "@" in value[start:]:
        value = value[start + 1 :].partition(">")[0]
    value = value.strip().strip("<>\"'").strip()
    if " " in value:
        words = [word for word in value.split() if "@" in word]
        value = words[0] if words else value.split()[0]
    return value.strip("<>,;\"'()").removeprefix("mailto:")[:320]


def untyped(value: str) -> str:
    """A diagnostic or host field without its type."""
    match = _TYPE.match(value)
    return value[match.end() :].strip() if match else value.strip()


def host_of(value: str) -> str | None:
    """The host name of a typed MTA field."""
    match = _HOST.search(untyped(value))
    return match.group(0).rstrip(".").lower() if match else None


def status_of(value: str) -> str | None:
    """The code of a Status field, comments dropped."""
    match = _CODE.search(value)
    return match.group(0) if match else None


def action_of(value: str) -> str | None:
    """The Action in RFC 3464's words."""
    word = value.strip().lower().split(" ")[0].strip("();,.")
    if word in ("deferred",):
        return "delayed"
    if word in ("failure", "expired", "fail", "undeliverable"):
        return "failed"
    return word if word in _ACTIONS else None


def read_groups(text: str, strict: bool = False) -> tuple[dict[str, str], list[Group]]:
    """Per-message fields and per-recipient groups. ``strict`` accepts only the fields RFC 3464 names (free text)."""
    message: dict[str, str] = {}
    groups: list[Group] = []
    current = Group()
    last = ""

    def close() -> None:
        nonlocal current
        if not current.fields:
            return
        if any(name in current.fields for name in RECIPIENT_FIELDS):
            if len(groups) < MAX_GROUPS:
                groups.append(current)
        elif groups and ("reporting-mta" not in current.fields):
            for name, value in current.fields.items():
                groups[-1].fields.setdefault(name, value)
        else:
            for name, value in current.fields.items():
                message.setdefault(name, value)
        current = Group()

    for line in text.split("\n", MAX_LINES)[:MAX_LINES]:
        if not line.strip(" \t\r>"):
            close()
            last = ""
            continue
        if line[0] in " \t" and last:
            if len(current.fields.get(last, "")) < 4000:
                current.fields[last] = (current.fields.get(last, "") + " " + line.strip()).strip()
            continue
        match = _FIELD.match(line[:4000])
        if match is None:
            if strict:
                close()
            elif last and last == "diagnostic-code":
                current.fields[last] = (current.fields.get(last, "") + " " + line.strip())[:4000]
            if strict:
                last = ""
            continue
        name = match.group(1).lower()
        if strict and name not in KNOWN:
            last = ""
            continue
        if name == "final-recipient" and name in current.fields:
            close()
        if name == "reporting-mta" and any(key in current.fields for key in RECIPIENT_FIELDS):
            message.setdefault(name, match.group(2).strip())
            last = ""
            continue
        last = name
        if name in current.fields:
            continue
        current.fields[name] = match.group(2).strip()
    close()
    return message, groups
