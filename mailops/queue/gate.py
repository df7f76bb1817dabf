"""The gate before a mail is composed: every text that becomes a header, an envelope or a file name, on both ways in.

::

    fields ──┐                                       ┌─ DROPPED leaves the head
             ├─► check_texts (before the branch) ──► compose ──► check_head (the finished head, field by field)
    raw   ───┘

``check_texts`` knows nothing of where a text will stand: no line break and no NUL, as it is and as its encoded words
say it, no half characters. ``check_head`` looks at what came out: no field that nobody asked for, none of the dropped.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from ..errors import MessageRefused
from ..mime import decode_words, head_of
from ..model.address import NULL_PATH, is_valid, parse_single
from ..model.mail import Submission
from ..smtp import checks

DROPPED = frozenset({b"bcc", b"resent-bcc", b"return-path", b"content-length"})
"""Fields a caller's head never carries to the wire: hidden people (RFC 5322 §3.6.3, §3.6.6), the trace that final
delivery writes (RFC 5321 §4.4; ours stands alone), and a length that no longer holds."""
HIDDEN = ("bcc", "resent-bcc")
_BREAKS = re.compile("[\r\n\0\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")  # all that str.splitlines takes for a line end
_HALF = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:", re.M)
LONGEST = {"Message-ID": 998, "Origin": 20, "Return-Path": 320}
"""Characters of what the queue keeps in columns of its own."""
MAX_VALUE = 1_000_000
"""Characters of one text, a list of 10,000 addresses with names being about half of it."""


def malformed(reason: str) -> MessageRefused:
    """The refusal of a mail that cannot be written, with the reason among its facts."""
    return MessageRefused(
        "The message cannot be written as a mail.",
        code="message.malformed",
        facts={"reason": reason},
        fix="Look for characters that no text holds in subject, addresses, headers, file names and media types.",
    )


def check_texts(s: Submission) -> None:
    """Every text of a submission but its body. Raises :class:`MessageRefused` (``message.*``)."""
    for name, value in _texts(s):
        if not isinstance(name, str) or not isinstance(value, str):
            raise malformed(f"no text in {name}")
        checks.check_header(name, value)
        one_line(name, value)
    for what, path in (("return path", s.return_path), *(("recipient", a) for a in s.envelope_to)):
        if path and (hit := _CONTROL.search(path)):
            raise _address(what, path, f"U+{ord(hit.group()):04X} in it")
    if s.bounces is not None and s.return_path not in (None, "", NULL_PATH) and not is_valid(str(s.return_path)):
        raise _address("return path", str(s.return_path), "not local@domain")
    for name, kept in (("Message-ID", s.message_id), ("Origin", s.origin), ("Return-Path", s.return_path)):
        if kept and len(kept) > LONGEST[name]:
            raise malformed(f"{len(kept)} characters in {name}, at most {LONGEST[name]} are kept")
    for part in s.attachments:
        if hit := _CONTROL.search(part.filename):
            raise malformed(f"U+{ord(hit.group()):04X} in the file name {part.filename[:100]!r}")


def _texts(s: Submission) -> list[tuple[str, str]]:
    named = [
        ("Subject", s.subject),
        ("From", s.sender),
        ("Reply-To", s.reply_to),
        ("Return-Path", s.return_path),
        ("Message-ID", s.message_id),
        ("In-Reply-To", s.in_reply_to),
        ("Company", s.company),
        ("Server", s.server),
        ("Origin", s.origin),
        *(("References", r) for r in s.references),
        *(("To", t) for t in s.to),
        *(("Cc", t) for t in s.cc),
        *(("Bcc", t) for t in s.bcc),
        *(("Envelope-To", t) for t in s.envelope_to),
        *(("Content-Disposition", part.filename) for part in s.attachments),
        *(("Content-Type", part.content_type) for part in s.attachments),
    ]
    return [(n, v) for n, v in named if v] + list(s.headers)


def one_line(name: str, value: str) -> None:
    """Some characters are line ends for the library that folds headers, and encoded words may hold any."""
    if len(value) > MAX_VALUE:
        raise malformed(f"{len(value):,} characters in {name}")
    if _HALF.search(value):
        raise malformed(f"half a character in {name}")
    for text in (value, decode_words(value, len(value))):
        if hit := _BREAKS.search(text):
            raise MessageRefused(
                f"The header {name} has a line break in its value; it could smuggle in further headers.",
                code="message.header_injection",
                facts={"header": name, "character": f"U+{ord(hit.group()):04X}"},
                fix="Take line breaks, also encoded ones, out of the value; long values are folded by mailops.",
            )


def return_path_of(path: str | None, given: str | None) -> str | None:
    """The bare address for our Return-Path field: of the path the route composes, with what the caller had ``given``.
    None without one. Raises :class:`MessageRefused` for a given path that is none."""
    found = parse_single(path)
    if found and is_valid(found.spec):
        return found.spec
    if given and path == given:
        raise _address("return path", given, "not local@domain")
    return None


def _address(what: str, value: str, reason: str) -> MessageRefused:
    return MessageRefused(
        f"The {what} is not a usable address.",
        code="message.address_invalid",
        facts={"field": what, "value": value[:200], "reason": reason},
        fix="Write it as local@domain.",
    )


def split_fields(head: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of a head as (lower-case name, lines without the last CRLF)."""
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


def check_head(whole: bytes, wanted: Iterable[bytes], own: Collection[bytes] = ()) -> None:
    """The finished head: only fields that were asked for; of the dropped ones those of our ``own`` making, once."""
    allowed = {*wanted, *own}
    names = [name for name, _ in split_fields(head_of(whole))]
    if any(n not in allowed or (n in DROPPED and (n not in own or names.count(n) > 1)) for n in names):
        raise malformed("a header field that nobody asked for")
