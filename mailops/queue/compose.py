"""Serialises a mail once, at submission.

The queue stores the finished bytes. Only the From field may change later (the route decides), so its place in the
bytes is kept and :func:`with_from` swaps it without parsing. Both ways in pass one gate (:mod:`.gate`): no text
smuggles a field in, and Bcc never reaches the bytes (RFC 5322 §3.6.3).
"""

from __future__ import annotations

import mimetypes
import re
import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime

from ..errors import MessageRefused
from ..mime import decode_words, head_of, head_text, storable
from ..model.address import (
    Address,
    envelope_address,
    is_valid,
    only,
    parse_addresses,
    read_field,
    reads_alike,
    unread,
)
from ..model.mail import Composed, Submission
from ..routing.envelope import format_address_unencoded
from ..smtp import checks
from . import gate

_FOLD = re.compile(r"\r\n[ \t]+")
_RESTRICTED = r"[A-Za-z0-9!#$&^_.+-]{1,127}"  # RFC 6838 §4.2
_MEDIA_TYPE = re.compile(
    rf"{_RESTRICTED}/{_RESTRICTED}(?:\s?;\s?[A-Za-z0-9-]{{1,30}}=(?:\"[^\"\\]{{0,200}}\"|[^\s;\"]{{1,200}}))*\s?"
)
MAX_RECIPIENTS = 10_000


def make_message_id(domain: str) -> str:
    """A new Message-ID (RFC 5322 §3.6.4), unique by time and random bits."""
    return f"<{time.time_ns():x}.{uuid.uuid4().hex[:16]}@{domain or 'mailops.invalid'}>"


def compose(submission: Submission, *, now: datetime, return_path: str | None = None) -> Composed:
    """The bytes of a submission with all checks done.

    Raises :class:`MessageRefused` (``message.*``): header injection, bare line ends, over-long lines, missing or
    unparsable addresses, no recipients.
    """
    gate.check_texts(submission)
    path = gate.return_path_of(return_path, submission.return_path)
    make = _from_fields if submission.raw is None else _from_raw
    try:
        return make(submission, now=now, return_path=path)
    except MessageRefused:
        raise
    except (ValueError, TypeError, LookupError, MessageError, RecursionError) as problem:  # the library's
        raise gate.malformed(type(problem).__name__) from problem


def with_from(raw: bytes, start: int, end: int, header_from: str) -> bytes:
    """The message with its From field replaced (or put first when there was none)."""
    address = parse_addresses(header_from)
    field = str(_portable(address[0])) if address else header_from
    return b"".join((raw[:start], b"From: ", field.encode("utf-8"), b"\r\n", raw[end:]))


def with_reply_to(raw: bytes, text: str) -> bytes:
    """The message with a Reply-To field; one that has its own stays as it is."""
    head = raw.partition(b"\r\n\r\n")[0]
    people = parse_addresses(text)
    if not people or any(
        name == b"reply-to" and line.partition(b":")[2].strip() for name, line in gate.split_fields(head)
    ):
        return raw
    return b"Reply-To: " + str(_portable(people[0])).encode() + b"\r\n" + raw


def _from_fields(s: Submission, *, now: datetime, return_path: str | None) -> Composed:
    sender = sender_of(s.sender)
    hidden = tuple(value for name, value in s.headers if name.lower() in gate.HIDDEN and value.strip())
    to, cc, bcc = (_people(texts, field) for texts, field in ((s.to, "To"), (s.cc, "Cc"), (s.bcc + hidden, "Bcc")))
    wire = _wire(to + cc + bcc)
    message_id = s.message_id or make_message_id(sender.domain if sender else "")
    utf8 = any(not _portable(a).spec.isascii() for a in [*to, *cc, *([sender] if sender else [])])
    message = EmailMessage(policy=SMTPUTF8 if utf8 else SMTP)
    if return_path:
        message["Return-Path"] = f"<{return_path}>"
    message["Date"] = format_datetime(now)
    message["Message-ID"] = message_id
    if to:
        message["To"] = ", ".join(str(_portable(a)) for a in to)
    if cc:
        message["Cc"] = ", ".join(str(_portable(a)) for a in cc)
    message["Subject"] = s.subject
    if s.reply_to:
        message["Reply-To"] = ", ".join(str(_portable(a)) for a in _people((s.reply_to,), "Reply-To"))
    for name, value in s.headers:
        if name.lower().encode() not in gate.DROPPED:
            message[name] = value
    _body(message, s)
    wanted = {name.lower().encode() for name in message}
    raw = message.as_bytes()
    gate.check_head(raw, wanted, {b"return-path"} if return_path else ())
    # Identification fields go in by hand: the library would fold (and so break) long ids.
    first = b"".join(_identification(s)) + (_from_line(sender) if sender else b"")
    start = len(first) - (len(_from_line(sender)) if sender else 0)
    return _finish(first + raw, start, len(first), message_id, s.subject, sender, wire, _shown(s.sender))


def _identification(s: Submission) -> Iterable[bytes]:
    if s.in_reply_to:
        yield b"In-Reply-To: " + s.in_reply_to.encode() + b"\r\n"
    if s.references:
        yield b"References: " + b"\r\n ".join(r.encode() for r in s.references) + b"\r\n"


def _from_line(sender: Address | None) -> bytes:
    return b"From: " + str(_portable(sender)).encode() + b"\r\n" if sender else b""


def _portable(address: Address) -> Address:
    """The address as a header can carry it to any server: an international domain as A-labels (RFC 5890), while a
    non-ASCII local part stays and asks for SMTPUTF8 (RFC 6531)."""
    if address.spec.isascii() or not address.local.isascii():
        return address
    return Address(address.name, envelope_address(address.spec) or address.spec)


def _body(message: EmailMessage, s: Submission) -> None:
    text = s.text if s.text is not None or s.html is not None else ""
    if text is not None:
        message.set_content(text, cte=transfer_encoding(text))
    if s.html is not None:
        if text is None:
            message.set_content(s.html, subtype="html", cte=transfer_encoding(s.html))
        else:
            message.add_alternative(s.html, subtype="html", cte=transfer_encoding(s.html))
    for part in s.attachments:
        kind = part.content_type or mimetypes.guess_type(part.filename)[0] or "application/octet-stream"
        if not _MEDIA_TYPE.fullmatch(kind):  # the library folds some odd ones for ever
            raise gate.malformed(f"the media type of the attachment {part.filename[:100]!r}")
        main, _, sub = kind.partition("/")
        message.add_attachment(part.content, maintype=main, subtype=sub or "octet-stream", filename=part.filename)


def transfer_encoding(text: str) -> str:
    """How a text is encoded: 7bit where it is safe; else quoted-printable if mostly ASCII, base64 for the rest."""
    if text.isascii() and all(len(line) < 900 for line in text.splitlines()):
        return "7bit"
    return "quoted-printable" if sum(not c.isascii() for c in text) * 6 < len(text) else "base64"


def sender_of(text: str | None) -> Address | None:
    """The address of a From as it was given; None without one. Raises :class:`MessageRefused`
    ``message.from_invalid``."""
    if not text or not text.strip():
        return None  # the route puts the notification address in
    found = read_field(text)
    if not found or not is_valid(found[0].spec):
        raise MessageRefused(
            "The From address cannot be used.",
            code="message.from_invalid",
            facts={"from": text},
            fix="Give one address such as name@example.com.",
        )
    return found[0]


def _shown(text: str | None) -> str | None:
    """A From text as the queue keeps and judges it: without encoded words, and so that it reads back the same."""
    if not text or "=?" not in text:
        return text
    return ", ".join(format_address_unencoded(a.name, a.spec) for a in read_field(text))


def _strict(text: str) -> bool:
    """Whether a reader of RFC 5322 finds the address in the undecoded field that we find."""
    found = parse_addresses(text)
    return len(found) > 1 or (bool(found) and reads_alike(text, found[0]))


FIELDS = ("To", "Cc", "Bcc", "Reply-To")
"""Given by a program: what cannot be read in them is a fault of the caller, and nobody is left out in silence."""


def _people(texts: Sequence[str], field: str) -> list[Address]:
    people: list[Address] = []
    for text in texts:
        found = read_field(text)
        lost = only(text) is None if field == "envelope" else field in FIELDS and unread(text)
        if not found or lost or not all(is_valid(a.spec) for a in found):
            raise MessageRefused(
                f"An address in {field} cannot be used.",
                code="message.address_invalid",
                facts={"field": field, "value": text},
                fix="Correct or remove this recipient; the others were fine."
                if len(texts) > 1
                else "Give one such as name@example.com, or 'Ann Example <ann@example.com>'; several one by one.",
            )
        people += found
    return people


def _wire(people: Sequence[Address]) -> tuple[str, ...]:
    wire: dict[str, str] = {}
    for person in people:
        address = envelope_address(person.spec)
        if address:
            wire.setdefault(address.lower(), address)
    if not wire:
        raise MessageRefused(
            "The mail has no recipient.",
            code="message.no_recipient",
            fix="Give at least one address in To, Cc or Bcc.",
        )
    if len(wire) > MAX_RECIPIENTS:
        raise MessageRefused(
            "The mail has too many recipients.",
            code="message.too_many_recipients",
            facts={"recipients": len(wire), "limit": MAX_RECIPIENTS},
            fix="Split it, or send it as a campaign.",
        )
    return tuple(wire.values())


def _from_raw(s: Submission, *, now: datetime, return_path: str | None) -> Composed:
    raw = _crlf(s.raw or b"")
    head = head_of(raw)
    body = memoryview(raw)[len(head) + 4 :]
    fields = gate.split_fields(head)
    values: dict[bytes, list[str]] = {}
    for name, line in fields:
        values.setdefault(name, []).append(_unfolded(line))
    written = values.get(b"from", [""])[0]
    sender_text = written or s.sender
    sender = sender_of(sender_text)
    texts = [v for n in (b"to", b"cc", b"bcc", b"resent-bcc") for v in values.get(n, [])]
    recipients = s.envelope_to or tuple(t for t in texts if t)
    wire = _wire(_people(recipients, "envelope" if s.envelope_to else "To, Cc, Bcc"))
    message_id = s.message_id or values.get(b"message-id", [""])[0]
    extra = []
    if not message_id:
        message_id = make_message_id(sender.domain if sender else "")
    if len(message_id) > gate.LONGEST["Message-ID"]:
        raise gate.malformed("a Message-ID without end")
    if b"message-id" not in values:
        extra.append(b"Message-ID: " + message_id.encode() + b"\r\n")
    if b"date" not in values:
        extra.append(b"Date: " + format_datetime(now).encode() + b"\r\n")
    if return_path:
        extra.append(b"Return-Path: <" + return_path.encode() + b">\r\n")
    out: list[bytes] = extra
    start = end = 0
    at = sum(map(len, extra))
    for name, line in fields:
        if name in gate.DROPPED:
            continue
        block = line + b"\r\n"
        if name == b"from":
            if "=?" in written and not _strict(written):
                block = _from_line(sender)
            start, end = at, at + len(block)
        out.append(block)
        at += len(block)
    if not end and sender:
        out.insert(0, _from_line(sender))
        end = len(out[0])
    whole = b"".join([*out, b"\r\n", body])
    gate.check_head(whole, {*values, b"from", b"message-id", b"date"}, {b"return-path"} if return_path else ())
    subject = decode_words(values.get(b"subject", [""])[0])
    return _finish(whole, start, end, message_id, subject, sender, wire, _shown(sender_text))


def header_of(raw: bytes, name: bytes) -> str | None:
    """The first field of this lower-case name as text, on one line; None where there is none."""
    head = head_of(_crlf(raw))
    return next((_unfolded(line) for found, line in gate.split_fields(head) if found == name), None)


def _unfolded(line: bytes) -> str:
    """A field's value as text, undecoded, on one line (RFC 5322 §2.2.3)."""
    return _FOLD.sub(" ", storable(head_text(line.split(b":", 1)[1]))).strip()


def _crlf(raw: bytes) -> bytes:
    """CRLF line ends for a message written with plain LF throughout (a file, a pipe); mixed ones are refused later."""
    return raw if b"\r" in raw else raw.replace(b"\n", b"\r\n")


def _finish(
    raw: bytes,
    start: int,
    end: int,
    message_id: str,
    subject: str,
    sender: Address | None,
    wire: tuple[str, ...],
    header_from: str | None,
) -> Composed:
    checks.check_data(raw if end > start else b"From: set-by-route@mailops.invalid\r\n" + raw)
    eightbit = not raw.isascii()
    head = head_of(raw)
    utf8 = not head.isascii() or any(not r.isascii() for r in wire)
    return Composed(
        raw=raw,
        message_id=message_id,
        subject=subject,
        header_from=header_from if sender else None,
        from_start=start,
        from_end=end,
        recipients=wire,
        smtputf8=utf8,
        eightbit=eightbit,
    )
