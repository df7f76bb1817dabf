"""SEARCH, FETCH and message sets of the loopback IMAP server (RFC 3501 sections 6.4.4, 6.4.5, 9)."""

from __future__ import annotations

import re
from datetime import datetime
from email import message_from_bytes, policy

from .mailboxes import StoredMail

_FLAGS = {
    "SEEN": "\\Seen",
    "DELETED": "\\Deleted",
    "FLAGGED": "\\Flagged",
    "ANSWERED": "\\Answered",
    "DRAFT": "\\Draft",
}


def message_set(box: list[StoredMail], text: str, uid: bool) -> list[tuple[int, StoredMail]]:
    """The messages of ``1:3,5,*``, by number or UID, with their numbers."""
    last = (box[-1].uid if uid else len(box)) if box else 0
    wanted: set[int] = set()
    for part in text.split(","):
        low, _, high = part.partition(":")
        a = last if low == "*" else int(low) if low.isdigit() else 0
        b = a if not high else last if high == "*" else int(high) if high.isdigit() else 0
        a, b = min(a, b), max(a, b)
        wanted |= {m.uid if uid else n for n, m in enumerate(box, 1) if a <= (m.uid if uid else n) <= b}
    return [(n, m) for n, m in enumerate(box, 1) if (m.uid if uid else n) in wanted]


def search(box: list[StoredMail], text: str, literals: list[bytes]) -> list[tuple[int, StoredMail]]:
    """The messages that match all keys. Raises ValueError for a key that is not spoken here."""
    words = re.findall(r'"(?:[^"\\]|\\.)*"|\{\d+\+?\}|[^\s()]+', text)
    waiting = list(literals)

    def take() -> str:
        if not words:
            raise ValueError("a search key lacks its value")
        word = words.pop(0)
        if word.startswith("{") and waiting:
            return waiting.pop(0).decode("utf-8", "replace")
        return re.sub(r"\\(.)", r"\1", word[1:-1]) if word.startswith('"') else word

    found = list(enumerate(box, 1))
    while words:
        negate = False
        key = take().upper()
        if key == "NOT":
            negate, key = True, take().upper()
        if key == "CHARSET":
            take()
            continue
        hits = _hits(box, key, take)
        found = [(n, m) for n, m in found if ((n, m.uid) in hits) is not negate]
    return found


def _hits(box: list[StoredMail], key: str, take: object) -> set[tuple[int, int]]:
    assert callable(take)
    pairs = list(enumerate(box, 1))
    if key == "ALL":
        return {(n, m.uid) for n, m in pairs}
    if key in _FLAGS:
        return {(n, m.uid) for n, m in pairs if _FLAGS[key] in m.flags}
    if key.startswith("UN") and key[2:] in _FLAGS:
        return {(n, m.uid) for n, m in pairs if _FLAGS[key[2:]] not in m.flags}
    if key == "HEADER":
        name, value = take(), take()
        return {(n, m.uid) for n, m in pairs if value.lower() in _header(m, name).lower() and _header(m, name)}
    if key in ("FROM", "TO", "SUBJECT", "CC"):
        value = take()
        return {(n, m.uid) for n, m in pairs if value.lower() in _header(m, key).lower()}
    if key in ("TEXT", "BODY"):
        value = take().encode()
        return {(n, m.uid) for n, m in pairs if value.lower() in m.data.lower()}
    if key in ("SINCE", "BEFORE", "ON"):
        day = datetime.strptime(take(), "%d-%b-%Y").date()
        tests = {"SINCE": lambda d: d >= day, "BEFORE": lambda d: d < day, "ON": lambda d: d == day}
        return {(n, m.uid) for n, m in pairs if tests[key](m.received_at.date())}
    if key == "UID":
        return {(n, m.uid) for n, m in message_set(box, take(), True)}
    if re.fullmatch(r"[\d:*,]+", key):
        return {(n, m.uid) for n, m in message_set(box, key, False)}
    raise ValueError(f"search key {key} is not spoken here")


def _header(mail: StoredMail, name: str) -> str:
    return " ".join(str(v) for v in message_from_bytes(mail.data, policy=policy.compat32).get_all(name, []))


def fetch_items(mail: StoredMail, items: str, *, with_uid: bool) -> tuple[bytes, bool]:
    """The answer for one message, and whether looking at it marks it as seen."""
    names = re.findall(r"BODY(?:\.PEEK)?\[[^\]]*\](?:<\d+\.\d+>)?|[A-Za-z0-9.]+", items.upper())
    if names == ["ALL"] or names == ["FAST"]:
        names = ["FLAGS", "INTERNALDATE", "RFC822.SIZE"]
    if with_uid and "UID" not in names:
        names.insert(0, "UID")
    parts, seen = [], False
    for name in names:
        if name == "UID":
            parts.append(f"UID {mail.uid}".encode())
        elif name == "FLAGS":
            parts.append(f"FLAGS ({' '.join(sorted(mail.flags))})".encode())
        elif name == "RFC822.SIZE":
            parts.append(f"RFC822.SIZE {len(mail.data)}".encode())
        elif name == "INTERNALDATE":
            parts.append(f'INTERNALDATE "{mail.received_at:%d-%b-%Y %H:%M:%S} +0000"'.encode())
        elif name.startswith(("BODY", "RFC822")):
            seen = seen or not (".PEEK" in name or name == "RFC822.HEADER")
            parts.append(_literal(name.replace(".PEEK", ""), _section(mail.data, name)))
    return b" ".join(parts), seen


def _section(data: bytes, name: str) -> bytes:
    head, _, body = data.partition(b"\r\n\r\n")
    head += b"\r\n\r\n"
    found = re.search(r"\[([^\]]*)\](?:<(\d+)\.(\d+)>)?", name)
    section = found[1] if found else {"RFC822.HEADER": "HEADER", "RFC822.TEXT": "TEXT"}.get(name, "")
    if section.startswith("HEADER.FIELDS"):
        wanted = set(section.partition("(")[2].strip(") ").split())
        unfolded = re.split(rb"\r\n(?![ \t])", head.rstrip(b"\r\n"))
        kept = [f for f in unfolded if f.partition(b":")[0].strip().upper().decode("ascii", "replace") in wanted]
        part = b"\r\n".join([*kept, b"", b""])
    else:
        part = {"HEADER": head, "TEXT": body}.get(section, data)
    if found and found[2]:
        start = int(found[2])
        part = part[start : start + int(found[3])]
    return part


def _literal(name: str, data: bytes) -> bytes:
    label = re.sub(r"<(\d+)\.\d+>", r"<\1>", name)
    return f"{label} {{{len(data)}}}\r\n".encode() + data
