"""A mail made to fit a server that takes less: 8-bit text encoded, raw header words written as RFC 2047 wants them.

RFC 6152 §3 lets a relay convert a body for a server without 8BITMIME, or return the mail; converting is what programs
rely on. A header with raw octets goes to a server with SMTPUTF8 as it is, if it is UTF-8 (RFC 6532 §3.2), and is
encoded for any other. Nothing that a signature covers is touched: DKIM, ``multipart/signed``, ``multipart/encrypted``.
What then does not fit is refused as before, and the submitter hears of it.
"""

from __future__ import annotations

import base64
import quopri
import re
from collections.abc import Collection
from dataclasses import dataclass
from email.header import Header
from itertools import pairwise
from urllib.parse import quote

from ..mime import head_of
from ..model.address import parse_addresses

_FIELD = re.compile(rb"([!-9;-~]+)([ \t]*:[ \t]*)((?:[^\r\n]|\r\n[ \t])*)\r\n")
_SIGNED = frozenset({b"dkim-signature", b"arc-message-signature", b"arc-seal"})
_PEOPLE = frozenset({b"from", b"to", b"cc", b"reply-to", b"sender", b"resent-from", b"resent-to", b"resent-cc"})
_PARAMETERS = frozenset({b"content-type", b"content-disposition"})
_RAW_VALUE = re.compile(r'(\w[\w.-]{0,100})="((?:[^"\\\r\n]|\\.)*)"')
_GAP = b"\r\n\r\n"
DEPTH = 50


class _Stays(Exception):
    """Something that must not, or cannot, be written another way."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The message for a server, and what was done to it in words; ``utf8`` says whether its head is still raw."""

    data: bytes
    utf8: bool
    eightbit: bool
    told: str = ""


def fit(data: bytes, offers: Collection[str] | None) -> Fitted:
    """The message for a server that offers these extensions; None = not known, as it is."""
    head = head_of(data)
    as_is = Fitted(data, not head.isascii(), not data.isascii())
    if offers is None or data.isascii():
        return as_is
    raw_body = "8BITMIME" not in offers  # which SMTPUTF8 rests on (RFC 6531 §3.1)
    raw_head = not head.isascii() and (raw_body or "SMTPUTF8" not in offers or not _is_utf8(head))
    if not (raw_head or raw_body):
        return as_is
    try:
        if any(name.lower() in _SIGNED for name, _, _ in _fields(head)):
            raise _Stays
        made = data
        if raw_body:
            made = _entity(made, 0)
        if raw_head and not (made_head := head_of(made)).isascii():
            made = b"".join([_ascii_head(made_head), memoryview(made)[len(made_head) :]])
    except _Stays:
        return as_is
    done = ["header words encoded"] if not head.isascii() and head_of(made).isascii() else []
    done += ["8-bit text encoded"] if raw_body and not data[len(head) :].isascii() else []
    return Fitted(made, not head_of(made).isascii(), not made.isascii(), f"{', '.join(done)} for this server")


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _fields(head: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """The fields of a head as (name, what stands between, value); raises :class:`_Stays` for anything else in it."""
    found, at = [], 0
    whole = head + b"\r\n" if head else b""
    while at < len(whole):
        hit = _FIELD.match(whole, at)
        if hit is None:
            raise _Stays
        found.append((hit[1], hit[2], hit[3]))
        at = hit.end()
    return found


def _text(octets: bytes) -> str:
    """Raw header octets as text: UTF-8, else as Latin-1, which programs that know no charset write."""
    return octets.decode("utf-8") if _is_utf8(octets) else octets.decode("latin-1")


def _ascii_head(head: bytes) -> bytes:
    """The head with every raw word encoded, fields that are ASCII untouched."""
    lines = []
    for name, between, value in _fields(head):
        if value.isascii():
            lines.append(name + between + value)
            continue
        text = " ".join(_text(value).split())
        lower = name.lower()
        if lower in _PEOPLE:
            made = _people(text)
        elif lower in _PARAMETERS:
            made = _parameters(text)
        elif lower in (b"message-id", b"in-reply-to", b"references", b"content-transfer-encoding", b"received"):
            raise _Stays
        else:
            made = Header(text, "utf-8", maxlinelen=76, header_name=name.decode()).encode(linesep="\r\n")
        lines.append(name + b": " + made.encode("ascii"))
    return b"\r\n".join(lines)


def _people(text: str) -> str:
    """Addresses with their names encoded. A local part beyond ASCII needs SMTPUTF8 and nothing else."""
    found = parse_addresses(text)
    if not found or not all(person.spec.isascii() for person in found):
        raise _Stays
    return ",\r\n ".join(str(person) for person in found)


def _parameters(text: str) -> str:
    """Raw parameter values as RFC 2231 writes them."""

    def encoded(hit: re.Match[str]) -> str:
        value = re.sub(r"\\(.)", r"\1", hit[2])
        return hit[0] if value.isascii() else f"{hit[1]}*=utf-8''{quote(value, safe='')}"

    made = _RAW_VALUE.sub(encoded, text)
    if not made.isascii():
        raise _Stays
    return made.replace("; ", ";\r\n ")


def _value(fields: list[tuple[bytes, bytes, bytes]], wanted: bytes) -> str:
    return next((_text(value) for name, _, value in fields if name.lower() == wanted), "")


def _entity(data: bytes, depth: int) -> bytes:
    """A message or part in 7 bits but for its own head when it is the message's."""
    head = b"" if data.startswith(b"\r\n") else head_of(data)
    gap = b"\r\n" if data.startswith(b"\r\n") else _GAP
    body, rest = data[len(head) + len(gap) :], data[len(head) :]
    if depth > DEPTH or (not body.isascii() and not rest.startswith(gap)):
        raise _Stays
    if depth and not head.isascii():
        head = _ascii_head(head)
    if body.isascii():
        return head + rest if depth else data
    fields = _fields(head)
    kind = _value(fields, b"content-type").strip().lower()
    main = kind.partition(";")[0].strip() or "text/plain"
    coding = _value(fields, b"content-transfer-encoding").strip().lower()
    if coding not in ("", "7bit", "8bit", "binary") or main in ("multipart/signed", "multipart/encrypted"):
        raise _Stays
    if main.startswith("multipart/"):
        body = _parts(body, _value(fields, b"content-type"), depth)
        return _with_coding(head, fields, "7bit" if coding else "") + _GAP + body
    if main == "message/rfc822":
        return _with_coding(head, fields, "7bit" if coding else "") + _GAP + _inner(body, depth)
    if main.startswith("message/"):
        raise _Stays
    if main.startswith("text/"):
        lines = quopri.encodestring(body.replace(b"\r\n", b"\n"), quotetabs=False)
        return _with_coding(head, fields, "quoted-printable", body) + _GAP + lines.replace(b"\n", b"\r\n")
    wrapped = base64.encodebytes(body).replace(b"\n", b"\r\n")
    return _with_coding(head, fields, "base64", body) + _GAP + wrapped


def _inner(data: bytes, depth: int) -> bytes:
    """A mail inside a mail: its head is one of a part."""
    if any(name.lower() in _SIGNED for name, _, _ in _fields(head_of(data))):
        raise _Stays
    return _entity(data, depth + 1)


def _parts(body: bytes, content_type: str, depth: int) -> bytes:
    hit = re.search(r'boundary="([^"]{1,100})"|boundary=([^\s;"]{1,100})', content_type, re.I)
    if hit is None:
        raise _Stays
    fence = re.escape((hit[1] or hit[2]).encode("latin-1", "replace"))
    marks = list(re.finditer(rb"(?:\A|\r\n)--" + fence + rb"(?:--)?[ \t]*(?:\r\n|\Z)", body))
    if not marks or not body[: marks[0].start()].isascii() or not body[marks[-1].end() :].isascii():
        raise _Stays
    out = [body[: marks[0].end()]]
    for mark, then in pairwise(marks):
        part = body[mark.end() : then.start()]
        out += [_entity(part, depth + 1), then[0]]
    return b"".join([*out, body[marks[-1].end() :]])


def _with_coding(head: bytes, fields: list[tuple[bytes, bytes, bytes]], coding: str, body: bytes = b"") -> bytes:
    """The head that names this Content-Transfer-Encoding; an empty one leaves the head as it is. Text whose type nobody
    named gets one, with the charset that its octets are in."""
    if not coding:
        return head
    kept = [n + b + v for n, b, v in fields if n.lower() != b"content-transfer-encoding"]
    if not any(name.lower() == b"content-type" for name, _, _ in fields):
        charset = "utf-8" if _is_utf8(body) else "unknown-8bit"  # RFC 1428 §3
        kept.append(f"Content-Type: text/plain; charset={charset}".encode())
    if any(name.lower() == b"from" for name, _, _ in fields):
        kept += [] if any(name.lower() == b"mime-version" for name, _, _ in fields) else [b"MIME-Version: 1.0"]
    return b"\r\n".join([*kept, f"Content-Transfer-Encoding: {coding}".encode()])
