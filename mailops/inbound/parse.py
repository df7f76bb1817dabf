"""Raw bytes → :class:`InboundMail`. Bounded, and nothing raises on broken mail.

MIME is split by :mod:`mailops.mime`, whose business broken mail is. Header fields are read here, since their
whole length matters (the *last* references count, and every recipient). Identification fields are repaired: an id that
was folded in the middle is put together again (RFC 5322 §3.6.4 forbids the fold, mail programs do it all the same).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ..bounces import Report
from ..bounces import parse as read_report
from ..bounces.addressed import heading_of
from ..mime import (
    MAX_BYTES,
    Part,
    decode_words,
    fields_of,
    head_text,
    leaves,
    newlines,
    split_head,
    to_text,
    transfer_decode,
)
from ..model.address import Address, normalise, parse_addresses, read_field
from .raw import Raw, pieces, sha256_of
from .values import InboundMail

MAX_VALUE = 64_000  # characters of one header field
MAX_LINES = 2_000
MAX_PEOPLE = 1_000
MAX_BODY = 400_000  # characters of body kept in a thread

_FOLD = re.compile(r"\n(?=[ \t])")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_ID = re.compile(r"<([^<>]{1,2000})>")
MAX_ID = 900  # characters; a longer id counts as none
MAX_SPEC = 320
MAX_COMMENTS = 100
_SPACE = re.compile(r"\s+")
_DUPLICATE_ID_FIELDS = ("x-mailops-message-id", "x-odoo-message-id")


def parse(raw: Raw, read: Callable[[bytes], Report] = read_report) -> InboundMail:
    """Read a mail. ``read`` is the reader of reports, which may know what is ours.

    A mail without Message-ID gets one made from its bytes, so that it too counts once.
    """
    looked_at = raw[: MAX_BYTES + 1]  # one more, so that the reader of reports can tell that it is not all
    data = newlines(looked_at[:MAX_BYTES])
    plain = data if len(raw) <= MAX_BYTES else looked_at  # line ends are made once
    if data.startswith(b"From ") and b"\n" in data:  # an mbox line before the header
        data = data.partition(b"\n")[2]
    head, body = split_head(data)
    fields = _fields(head)

    def first(name: str) -> str:
        return fields.get(name, [""])[0]

    people = {name: _people(fields.get(name, [])) for name in ("to", "delivered-to", "cc", "resent-to", "resent-cc")}
    to = _specs(people["delivered-to"] + people["to"])
    recipients = _specs(
        [*people["delivered-to"], *people["to"], *people["cc"], *people["resent-to"], *people["resent-cc"]]
    )
    sender_text = first("from") or first("sender")
    senders = _people([sender_text])
    own = message_ids(first("message-id"))
    parts = leaves(fields_of(head), body)
    text, html = _bodies(parts)
    return InboundMail(
        message_id=own[0] if own else f"<{sha256_of(raw)[:40]}@no-message-id.mailops.invalid>",
        made_id=not own,
        other_ids=tuple(i for name in _DUPLICATE_ID_FIELDS for i in message_ids(first(name))),
        sender=senders[0] if senders else None,
        sender_text=decode_words(sender_text),
        return_path=_return_path(fields),
        to=to,
        recipients=recipients,
        written_to=people["to"][0].spec if people["to"] else None,
        subject=_SPACE.sub(" ", decode_words(first("subject"))).strip()[:2000],
        date=_date(first("date")),
        references=message_ids(" ".join(fields.get("references", []))),
        in_reply_to=message_ids(first("in-reply-to")),
        content_type=first("content-type"),
        automatic=first("auto-submitted").partition(";")[0].strip().lower() not in ("", "no"),
        text=text,
        html=html,
        size=len(raw),
        report=read(plain),
        heading=heading_of(plain),
        digest=content_digest(raw, fields),
        robot=_robot(fields),
    )


_ROBOT_WORDS = {
    "precedence": frozenset({"bulk", "list", "junk", "auto_reply", "auto-reply"}),
    "x-auto-response-suppress": frozenset({"all", "oof", "autoreply"}),
}
_ROBOT_FIELDS = (
    "x-autoreply",
    "x-autorespond",
    "x-autoresponse",
    "x-auto-reply",
    "x-loop",
    "list-id",
    "list-unsubscribe",
)


def _robot(fields: Mapping[str, Sequence[str]]) -> str:
    """The field by which a mail asks for no automatic answer (RFC 3834 §2, RFC 2919, and what came before them)."""
    for name, words in _ROBOT_WORDS.items():
        said = {word.strip().lower() for value in fields.get(name, ()) for word in value.split(",")}
        if said & words:
            return name
    return next((name for name in _ROBOT_FIELDS if any(value.lower() != "no" for value in fields.get(name, ()))), "")


WRITTEN = ("from", "to", "cc", "subject", "date")


def content_digest(raw: Raw, fields: Mapping[str, Sequence[str]]) -> str:
    """A digest of what the writer made: the body and the fields of :data:`WRITTEN`, hexadecimal SHA-256.

    What servers add on the way (Received, Delivered-To, Return-Path), the kind of line ends and blank lines at the end
    do not count, so that two copies of one mail are the same, and two mails with one Message-ID are not.
    """
    found = hashlib.sha256()
    for name in WRITTEN:
        for value in fields.get(name, ()):
            found.update(f"{name}:{_SPACE.sub(' ', value).strip()}\n".encode("utf-8", "replace"))
    begins = _END_OF_HEAD.search(raw[:MAX_BYTES])
    at, end = begins.end() if begins else 0, len(raw)
    while end > at and raw[end - 1] in b"\r\n":
        end -= 1
    for piece in pieces(raw, at, end):
        found.update(piece.replace(b"\r", b""))
    return found.hexdigest()


def message_ids(value: str) -> tuple[str, ...]:
    """The ids in a Message-ID, References or In-Reply-To value, in order, each with its brackets."""
    found = [f"<{_SPACE.sub('', inner)}>" for inner in _ID.findall(value)]
    if not found:  # some programs leave the brackets out
        found = [f"<{word}>" for word in value.split() if "@" in word and not set(word) & set("<>,;")]
    return tuple(dict.fromkeys(i for i in found if 2 < len(i) <= MAX_ID))


def _fields(head: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in _FOLD.sub(" ", head_text(head)).split("\n")[:MAX_LINES]:
        name, colon, value = line.partition(":")
        if colon and name and len(name) < 80:
            found.setdefault(name.strip().lower(), []).append(value.strip()[-MAX_VALUE:])
    return found


def _people(values: list[str]) -> list[Address]:
    people = []
    for value in values[:50]:
        if value.count("(") > MAX_COMMENTS:  # the library reads nested comments by recursion
            value = value.replace("(", "")
        for person in read_field(value):
            if len(person.spec) <= MAX_SPEC:
                people.append(person)
            if len(people) >= MAX_PEOPLE:
                return people
    return people


def _specs(people: list[Address]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(normalise(p.spec) for p in people))


def _return_path(fields: dict[str, list[str]]) -> str | None:
    """The reverse-path the receiving server noted (RFC 5321 §4.4): None = no header, "" = the null path."""
    values = fields.get("return-path")
    if not values:
        return None
    found = parse_addresses(values[0])
    if found:
        return found[0].spec
    return "" if values[0].replace(" ", "") == "<>" else None


def _date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _bodies(parts: list[Part]) -> tuple[str, str | None]:
    """Plain text for people, and the HTML source where the mail has one."""
    plain: str | None = None
    html: Part | None = None
    for part in parts:
        if part.fields.first("content-disposition").lower().startswith("attachment"):
            continue
        if part.media == "text/plain" and plain is None:
            plain = part.text()
        elif part.media == "text/html" and html is None:
            html = part
    text = plain if plain is not None and plain.strip() else (html.text() if html else plain or "")
    return text[:MAX_BODY], _source(html) if html else None


def _source(part: Part) -> str:
    data = transfer_decode(part.body, part.fields.first("content-transfer-encoding"))
    return to_text(data, part.params.get("charset", ""))[:MAX_BODY]
