"""Our own message splitting: bytes in, header fields and leaf parts out, within fixed bounds.

The standard library's modern policy reads every header into objects and is several times too slow for this work; the
old one copies bodies line by line. Reports need little: a few fields, the leaf parts, and their text. Broken input is
the normal case here (a report may lack its boundary, its blank line or its charset), so nothing raises: what cannot
be split is one part, what cannot be decoded keeps its readable characters (RFC 2045, 2046, 2047, 5322).

The decoder here is the whole house's. Its text is :func:`storable`: every database takes it and every encoding writes
it. What a mail *is* (who gets it, who wrote it, its Message-ID) is read from the undecoded value; what is decoded is
for people. An encoded word is never part of an address (RFC 2047 §5(3)), and a field is parsed before its words are
decoded (§6.2), which :func:`mailops.model.address.read_field` does.
"""

from __future__ import annotations

import binascii
import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from itertools import islice

MAX_BYTES = 2_000_000
"""Bytes of a message that are looked at."""
PEEK = 6_000
"""Bytes the gate reads: a header block longer than this is read whole only when these say why."""

MAX_HEAD = 128_000
MAX_FIELDS = 1_000
MAX_PARTS = 60
MAX_DEPTH = 6
MAX_TEXT = 120_000
"""Characters of one text part that are read."""

_FIELD_LINES = re.compile(rb"(?:(?:[ \t]|[!-9;-~]{1,80}+[ \t]*+:|(?=\n)).*+(?:\n|\Z))*+")
_FOLD = re.compile(r"\n[ \t]+")
_PARAM = re.compile(r';\s*([A-Za-z0-9*_-]{1,40})\s*=\s*(?:"([^"]{0,500})"|([^\s;"]{1,500}))')
_TAG = re.compile(r"<[^<>]{0,2000}>")
_BREAK = re.compile(
    r"<(?:(?:br|/p|/div|/tr|/li|/h\d|/td|/th|/dt|/dd|ul|ol|p|hr)\b|"
    r"(?<=[^\s>]<)(?:td|th|dt|dd|li|tr)\b)[^<>]{0,500}>",  # a cell that the one before it did not close
    re.I,
)
_HTML_DROP = re.compile(r"<(style|script|head)\b", re.I)


class Fields:
    """Header fields by lower-case name, every value unfolded; ``first`` gives "" for what is missing."""

    __slots__ = ("_all",)

    def __init__(self, values: dict[str, list[str]]) -> None:
        self._all = values

    def first(self, name: str) -> str:
        """The first value of a field, or ""."""
        values = self._all.get(name)
        return values[0] if values else ""

    def firsts(self, limit: int) -> dict[str, str]:
        """The first value of each field, of the first ``limit`` names."""
        return {name: values[0] for name, values in islice(self._all.items(), limit)}

    def every(self, name: str) -> list[str]:
        """All values of a field."""
        return self._all.get(name, [])

    def __contains__(self, name: str) -> bool:
        return name in self._all

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


@dataclass(slots=True)
class Part:
    """A leaf: its media type in lower case, its type parameters, its fields and its undecoded body."""

    media: str
    params: dict[str, str]
    fields: Fields
    body: bytes
    depth: int = 0

    def text(self) -> str:
        """The body as text: transfer encoding and charset undone, HTML reduced to lines."""
        data = transfer_decode(self.body, self.fields.first("content-transfer-encoding"))
        text = to_text(data, self.params.get("charset", ""))[:MAX_TEXT]
        if self.media == "text/html" or (self.media == "text/plain" and text[:200].lstrip()[:6].lower() == "<html>"):
            text = from_html(text)
        return text


def newlines(raw: bytes) -> bytes:
    """CRLF and bare CR as LF."""
    if b"\r" in raw:
        raw = raw.replace(b"\r\n", b"\n")
        if b"\r" in raw:
            # A stray CR inside a message with LF lines is no line end; a message with hardly any LF uses CR as such.
            few = raw.count(b"\n") * 4 < raw.count(b"\r")
            raw = raw.replace(b"\r", b"\n" if few else b"")
    return raw


def split_message(raw: bytes) -> tuple[bytes, bytes]:
    """Header block and body of a whole message: bounded, with LF line ends, without an mbox line before it."""
    data = newlines(raw[:MAX_BYTES])
    if data.startswith((b"From ", b">From ")):
        data = data.partition(b"\n")[2]
    return split_head(data.lstrip(b"\n"))


def peek(raw: bytes) -> tuple[bytes, bytes]:
    """Header block and the opening of the body, without touching the rest of the message."""
    return split_message(raw[:PEEK]) if len(raw) > PEEK else split_message(raw)


def split_head(data: bytes) -> tuple[bytes, bytes]:
    """Header block and body. A message that starts with a blank line has an empty head."""
    if data.startswith(b"\n"):
        return b"", data[1:]
    end = data.find(b"\n\n")
    if end < 0:
        return data[:MAX_HEAD], b""
    return data[: min(end, MAX_HEAD)], data[end + 2 :]


def without_prose(head: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Head and body where the blank line between them is missing: the head ends at its first line that is no field.

    Only for a head that is complete by then; one stray line between fields ends nothing.
    """
    found = _FIELD_LINES.match(head)
    stray = found.end() if found else 0
    if stray == len(head):
        return head, body
    low = b"\n" + head.lower()
    before, after = low[: stray + 1], low[stray:]
    if b"\nfrom:" not in before or b"\nsubject:" not in before or b"\ncontent-type:" in after:
        return head, body
    return head[:stray], head[stray:] + b"\n\n" + body


def fields_of(block: bytes) -> Fields:
    """Read a header block."""
    return fields_in(head_text(block))


def fields_in(text: str) -> Fields:
    """Read a header block that is text already."""
    found: dict[str, list[str]] = {}
    if "\n " in text or "\n\t" in text:
        text = _FOLD.sub(" ", text)
    for line in text.split("\n", MAX_FIELDS)[:MAX_FIELDS]:
        name, colon, value = line.partition(":")
        if colon and name and len(name) < 80:
            name, value = name.strip().lower(), value.strip()[:4000]
            if name in found:
                found[name].append(value)
            else:
                found[name] = [value]
    return Fields(found)


def content_type(value: str) -> tuple[str, dict[str, str]]:
    """Media type and parameters; an unreadable value is text/plain (RFC 2045 section 5.2)."""
    if not value:
        return "text/plain", {}
    media = value.partition(";")[0].strip().lower()
    params: dict[str, str] = {}
    for name, quoted, bare in _PARAM.findall(value[:4000]):
        params.setdefault(name.lower().rstrip("*"), quoted or bare)
    return (media if "/" in media else "text/plain"), params


def transfer_decode(body: bytes, encoding: str) -> bytes:
    """Undo base64 or quoted-printable; what is broken comes back as far as it can be read."""
    encoding = encoding.strip().lower()
    if encoding == "quoted-printable":
        return binascii.a2b_qp(body)
    if encoding == "base64":
        data = body[: MAX_TEXT * 6]
        for padding in (b"", b"=", b"=="):
            try:
                return binascii.a2b_base64(data + padding)
            except binascii.Error:
                continue
    return body


def from_html(text: str) -> str:
    """HTML as plain lines: style and script dropped, block ends as line ends, entities resolved."""
    for _ in range(20):
        start = _HTML_DROP.search(text)
        if start is None:
            break
        close = text.lower().find("</" + start.group(1).lower(), start.end())
        if close < 0:
            text = text[: start.start()]
            break
        text = text[: start.start()] + " " + text[close + len(start.group(1)) + 2 :]
    if _BREAK.search(text):
        text = _BREAK.sub("\n", text.replace("\n", " "))
    text = unescape(_TAG.sub("", text)).replace("\xa0", " ")
    return "\n".join(line.strip() for line in text.split("\n"))


def leaves(fields: Fields, body: bytes) -> list[Part]:
    """The leaf parts in order. ``message/*`` parts are leaves: what is inside them is not the report."""
    out: list[Part] = []
    _collect(fields, body, 0, "text/plain", out)
    return out


def _collect(fields: Fields, body: bytes, depth: int, default: str, out: list[Part]) -> None:
    value = fields.first("content-type")
    media, params = content_type(value) if value else (default, {})
    boundary = params.get("boundary", "")
    if media.startswith("multipart/") and boundary and depth < MAX_DEPTH:
        sections = _sections(body, boundary.rstrip().encode("utf-8", "surrogateescape"))
        if sections:
            inner = "message/rfc822" if media == "multipart/digest" else "text/plain"
            for section in sections:
                if len(out) >= MAX_PARTS:
                    return
                head, rest = split_head(section)
                _collect(fields_of(head), rest, depth + 1, inner, out)
            return
        media = "text/plain"
    elif media.startswith("multipart/"):
        media = "text/plain"
    out.append(Part(media, params, fields, body, depth))


def _sections(body: bytes, boundary: bytes) -> list[bytes]:
    """The bytes between boundary lines; an end mark is not required (reports are often cut off)."""
    pieces = (b"\n" + body).split(b"\n--" + boundary, MAX_PARTS + 2)
    out: list[bytes] = []
    for piece in pieces[1:]:
        line, _, rest = piece.partition(b"\n")
        mark = line.strip()
        if mark == b"--":
            break
        if mark:
            # The boundary is the beginning of a longer one: the text belongs to the section before.
            if out:
                out[-1] += b"\n--" + boundary + piece
            continue
        out.append(rest)
    return out[:MAX_PARTS]


# --- text: one decoder for the whole house ----------------------------------------------------------------------------

MAX_WORDS = 2_000
"""Characters of a header value that are decoded, where a caller names no other bound."""
_WORD = re.compile(r"=\?([!->@-~]{1,75})\?([bq])\?([^?\r\n]{0,8000})\?=", re.I)
_RUNS = re.compile(rb"[\x80-\xff]{4,}")
_CHARSETS = {
    "unicode-1-1-utf-7": "utf-7",
    "utf8": "utf-8",
    "unknown-8bit": "latin-1",
    "x-unknown": "latin-1",
    "default": "utf-8",
    "iso-8859-8-i": "iso-8859-8",
    "cp-850": "cp850",
    "ks_c_5601-1987": "cp949",
    "gb2312": "gb18030",
    "x-gbk": "gb18030",
    "x-sjis": "cp932",
    "shift_jis": "cp932",
    "iso-2022-jp": "iso2022_jp_ext",
}

_NO_CHARSETS = frozenset({"punycode", "idna", "unicode-escape", "raw-unicode-escape", "undefined"})
"""Codecs of Python that no mail uses; the first takes time by the square of the length."""


def head_of(raw: bytes) -> bytes:
    """The header part of a message, without the empty line; nothing of a large body is copied for it."""
    end = raw.find(b"\r\n\r\n")
    return raw if end < 0 else raw[:end]


def storable(text: str) -> str:
    """Text that every database and protocol carries: no NUL, no half surrogates."""
    if "\x00" in text:
        text = text.replace("\x00", "")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def head_text(block: bytes) -> str:
    """Header bytes as text: UTF-8 (RFC 6532), else Latin-1; without NUL."""
    try:
        return block.decode("utf-8").replace("\x00", "")
    except UnicodeDecodeError:
        return block.decode("latin-1").replace("\x00", "")


def to_text(data: bytes, charset: str) -> str:
    """Bytes as :func:`storable` text in the named charset; a wrong or unknown one falls back to UTF-8, then Latin-1."""
    return storable(_decoded(data, charset))


def _decoded(data: bytes, charset: str) -> str:
    name = charset.strip().strip("'\"").lower()
    if not name or name in ("us-ascii", "ascii"):
        name = "iso2022_jp_ext" if b"\x1b$" in data else "utf-8"
    name = _CHARSETS.get(name, name)
    try:
        if codecs.lookup(name).name not in _NO_CHARSETS:
            return data.decode(name)
    except (LookupError, UnicodeError, ValueError):
        pass
    if name != "utf-8":
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            pass
    if name.startswith("iso2022"):
        return data.decode("iso2022_jp_ext", "replace")
    return data.decode(_guess(data), "replace")


def _guess(data: bytes) -> str:
    """The charset of a text that lies about its own: runs of high bytes are Cyrillic or Chinese words, else Latin-1."""
    high = b"".join(_RUNS.findall(data[:20_000]))
    letters = sum(byte >= 0xC0 for byte in high)
    if not high:
        return "latin-1"
    if letters >= 0.9 * len(high):
        return "koi8-r" if sum(0xC0 <= byte < 0xE0 for byte in high) > letters / 2 else "cp1251"
    for name in ("gb18030", "big5", "cp932"):
        try:
            data.decode(name)
        except UnicodeDecodeError:
            continue
        return name
    return "latin-1"


def decode_words(value: str, limit: int = MAX_WORDS) -> str:
    """RFC 2047 encoded words as text; at most ``limit`` characters of the value are looked at.

    White space between two words is none (§6.2); bytes of neighbours in one charset are decoded together, as a
    character may be split over both. A word that is broken stays as it was written.
    """
    if "=?" not in value:
        return value
    value = value[:limit]
    out: list[str] = []
    charset, data, at = "", b"", 0

    def flush() -> None:
        nonlocal data
        if data:
            out.append(to_text(data, charset))
        data = b""

    for word in _WORD.finditer(value):
        piece = _word_bytes(word[2].lower(), word[3])
        if piece is None:
            continue
        between = value[at : word.start()]
        named = word[1].partition("*")[0].lower()  # RFC 2231 §5: a language may follow
        if named != charset or (between and (between.strip() or not at)):
            flush()
        if between and (between.strip() or not at):
            out.append(storable(between))
        charset, data, at = named, data + piece, word.end()
    flush()
    out.append(storable(value[at:]))
    return "".join(out)


def _word_bytes(encoding: str, text: str) -> bytes | None:
    try:
        if encoding == "q":
            return binascii.a2b_qp(text.encode("utf-8", "replace"), header=True)
        return binascii.a2b_base64(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
