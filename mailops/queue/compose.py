"""Serialises a mail once, at submission.

The queue stores the finished bytes. Only the From field may change later (the route decides), so its place in the
bytes is kept and :func:`with_from` swaps it without parsing. Bcc never reaches the bytes (RFC 5322 §3.6.3).
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
from ..model.address import Address, envelope_address, is_valid, parse_addresses
from ..model.mail import Composed, Submission
from ..smtp import checks

_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:", re.M)
_BREAKS = re.compile("[\r\n\0\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")  # all that str.splitlines takes for a line end
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
    if submission.raw is not None:
        return _from_raw(submission, now=now, return_path=return_path)
    return _from_fields(submission, now=now, return_path=return_path)


def with_from(raw: bytes, start: int, end: int, header_from: str) -> bytes:
    """The message with its From field replaced (or put first when there was none)."""
    address = parse_addresses(header_from)
    field = str(_portable(address[0])) if address else header_from
    return b"".join((raw[:start], b"From: ", field.encode("utf-8"), b"\r\n", raw[end:]))


def _from_fields(s: Submission, *, now: datetime, return_path: str | None) -> Composed:
    for name, value in _plain_headers(s):
        checks.check_header(name, value)
        _one_line(name, value)
    try:
        return _serialised(s, now=now, return_path=return_path)
    except MessageRefused:
        raise
    except (ValueError, LookupError, MessageError) as problem:  # the library's: a half character, an odd media type
        raise _malformed(type(problem).__name__) from problem


def _malformed(reason: str) -> MessageRefused:
    return MessageRefused(
        "The message cannot be written as a mail.",
        code="message.malformed",
        facts={"reason": reason},
        fix="Look for characters that no text holds in subject, addresses, headers, file names and media types.",
    )


def _one_line(name: str, value: str) -> None:
    """Some characters are line ends for the library that folds headers, and encoded words may hold any."""
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise _malformed(f"half a character in {name}")
    for text in (value, _decoded(value.encode("utf-8", "replace"))):
        if hit := _BREAKS.search(text):
            raise MessageRefused(
                f"The header {name} has a line break in its value; it could smuggle in further headers.",
                code="message.header_injection",
                facts={"header": name, "character": f"U+{ord(hit.group()):04X}"},
                fix="Take line breaks, also encoded ones, out of the value; long values are folded by mailops.",
            )


def _serialised(s: Submission, *, now: datetime, return_path: str | None) -> Composed:
    sender = _sender(s.sender)
    to, cc, bcc = (_people(texts, field) for texts, field in ((s.to, "To"), (s.cc, "Cc"), (s.bcc, "Bcc")))
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
        message[name] = value
    _body(message, s)
    wanted = {name.lower().encode() for name in message}
    raw = message.as_bytes()
    if any(name not in wanted for name, _ in _split_fields(raw.partition(b"\r\n\r\n")[0])):
        raise _malformed("a header field that nobody asked for")
    # Identification fields go in by hand: the library would fold (and so break) long ids.
    first = b"".join(_identification(s)) + (_from_line(sender) if sender else b"")
    start = len(first) - (len(_from_line(sender)) if sender else 0)
    return _finish(first + raw, start, len(first), message_id, s.subject, sender, wire, s.sender)


def _plain_headers(s: Submission) -> list[tuple[str, str]]:
    fixed = [
        ("Subject", s.subject),
        ("From", s.sender or ""),
        ("Reply-To", s.reply_to or ""),
        ("Return-Path", s.return_path or ""),
        ("Message-ID", s.message_id or ""),
        ("In-Reply-To", s.in_reply_to or ""),
        *(("References", r) for r in s.references),
        *(("To", t) for t in s.to),
        *(("Cc", t) for t in s.cc),
        *(("Bcc", t) for t in s.bcc),
        *(("Content-Disposition", part.filename) for part in s.attachments),
        *(("Content-Type", part.content_type) for part in s.attachments),
    ]
    return [(n, v) for n, v in fixed if v] + list(s.headers)


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
        message.set_content(text, cte=_cte(text))
    if s.html is not None:
        if text is None:
            message.set_content(s.html, subtype="html", cte=_cte(s.html))
        else:
            message.add_alternative(s.html, subtype="html", cte=_cte(s.html))
    for part in s.attachments:
        kind = part.content_type or mimetypes.guess_type(part.filename)[0] or "application/octet-stream"
        if not _MEDIA_TYPE.fullmatch(kind):  # the library folds some odd ones for ever
            raise _malformed(f"the media type of the attachment {part.filename[:100]!r}")
        main, _, sub = kind.partition("/")
        message.add_attachment(part.content, maintype=main, subtype=sub or "octet-stream", filename=part.filename)


def _cte(text: str) -> str:
    """7bit where it is safe; otherwise quoted-printable for mostly-ASCII text, base64 for the rest."""
    if text.isascii() and all(len(line) < 900 for line in text.splitlines()):
        return "7bit"
    return "quoted-printable" if sum(not c.isascii() for c in text) * 6 < len(text) else "base64"


def _sender(text: str | None) -> Address | None:
    if not text or not text.strip():
        return None  # the route puts the notification address in
    found = parse_addresses(text)
    if not found or not is_valid(found[0].spec):
        raise MessageRefused(
            "The From address cannot be used.",
            code="message.from_invalid",
            facts={"from": text},
            fix="Give one address such as name@example.com.",
        )
    return found[0]


def _people(texts: Sequence[str], field: str) -> list[Address]:
    people: list[Address] = []
    for text in texts:
        found = parse_addresses(text)
        if not found or not all(is_valid(a.spec) for a in found):
            raise MessageRefused(
                f"An address in {field} cannot be used.",
                code="message.address_invalid",
                facts={"field": field, "value": text},
                fix="Correct or remove this recipient; the others were fine." if len(texts) > 1 else "Give an address.",
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
    head, gap, body = raw.partition(b"\r\n\r\n")
    fields = _split_fields(head)
    values: dict[bytes, list[bytes]] = {}
    for name, line in fields:
        values.setdefault(name, []).append(line.split(b":", 1)[1].strip())
    sender_text = _decoded(values.get(b"from", [b""])[0]) or s.sender
    sender = _sender(sender_text)
    texts = [_decoded(v) for n in (b"to", b"cc", b"bcc") for v in values.get(n, [])]
    recipients = s.envelope_to or tuple(t for t in texts if t)
    wire = _wire(_people(recipients, "envelope" if s.envelope_to else "To, Cc, Bcc"))
    message_id = s.message_id or _decoded(values.get(b"message-id", [b""])[0])
    extra = []
    if not message_id:
        message_id = make_message_id(sender.domain if sender else "")
    if b"message-id" not in values:
        extra.append(b"Message-ID: " + message_id.encode() + b"\r\n")
    if b"date" not in values:
        extra.append(b"Date: " + format_datetime(now).encode() + b"\r\n")
    if return_path and b"return-path" not in values:
        extra.append(b"Return-Path: <" + return_path.encode() + b">\r\n")
    out: list[bytes] = extra
    start = end = 0
    at = sum(map(len, extra))
    for name, line in fields:
        if name == b"bcc":
            continue
        block = line + b"\r\n"
        if name == b"from":
            start, end = at, at + len(block)
        out.append(block)
        at += len(block)
    if not end and sender:
        out.insert(0, _from_line(sender))
        end = len(out[0])
    whole = b"".join(out) + b"\r\n" + (body if gap else b"")
    subject = _decoded(values.get(b"subject", [b""])[0])
    return _finish(whole, start, end, message_id, subject, sender, wire, sender_text)


def _crlf(raw: bytes) -> bytes:
    """CRLF line ends for a message written with plain LF throughout (a file, a pipe); mixed ones are refused later."""
    return raw if b"\r" in raw else raw.replace(b"\n", b"\r\n")


def _split_fields(head: bytes) -> list[tuple[bytes, bytes]]:
    fields: list[tuple[bytes, list[bytes]]] = []
    for line in head.split(b"\r\n") if head else []:
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1][1].append(line)
            continue
        hit = _FIELD.match(line)
        if not hit:
            raise MessageRefused(
                "The message's header is broken.",
                code="message.header_broken",
                facts={"line": line[:120].decode("ascii", "replace")},
                fix="Give a complete RFC 5322 message: header lines, an empty line, the body.",
            )
        fields.append((hit.group(1).lower(), [line]))
    return [(name, b"\r\n".join(lines)) for name, lines in fields]


def _decoded(value: bytes) -> str:
    text = re.sub(r"\r\n[ \t]+", " ", value.decode("utf-8", "replace"))
    if "=?" not in text:
        return text
    from email.header import decode_header, make_header

    try:
        return str(make_header(decode_header(text)))
    except (ValueError, LookupError, MessageError):
        return text


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
    checks.check_data(raw if end else b"From: set-by-route@mailops.invalid\r\n" + raw)
    eightbit = not raw.isascii()
    head = raw.partition(b"\r\n\r\n")[0]
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
