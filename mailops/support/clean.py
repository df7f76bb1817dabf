"""The first pass: text and mail with stand-ins for addresses, domains, tokens and secrets; everything else stays.

::

    text   secrets ► spellings undone, each looked into again ► base64, hex ► addresses ► domains ► tokens
    mail   each header field; bodies by their encoding and charset, written again in the same; mail in mail as mail;
           what is no text (images, archives) becomes a line that says what stood there

What was found is a *change*: a span of the text as it stands and what takes its place. The first that claims a letter
has it. Nothing is looked for in what was already changed, so no value has two stand-ins.

Two goes: one that only learns (which addresses and domains are there), and one that changes.
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from email.header import Header
from itertools import pairwise
from typing import Any

from ..mime import content_type, decode_words
from ..secrets import MASK, redact
from .names import Names, is_suffix, organisation
from .spell import CONTINUED, FIRST, LAST, Spelling, quoted_printable

DEPTH, FAR, NESTED = 4, 320, 20
TEXTS = ("json", "xml", "javascript", "yaml", "x-sh", "ics", "sql", "csv", "x-www-form-urlencoded", "pem")


@dataclass(frozen=True, slots=True)
class Change:
    """From ``start`` to ``end`` stands ``new``."""

    start: int
    end: int
    new: str
    kind: str


_LOCAL = "._+-'~="
_HOST = re.compile(r"(?:[^\W_](?:[\w-]{0,62})\.){1,10}[^\W_][\w-]{0,62}|[^\W_][\w-]{0,62}|\[[0-9A-Za-z.:]{3,60}\]")
_QUOTED = re.compile(r'"([^"\r\n@]{1,64})"\Z')
_DOMAINS = re.compile(r"(?<![\w.-])[\w-]{1,63}(?:\.[\w-]{1,63}){1,10}+(?![\w-])")
_WORDS = re.compile(
    r"=\?[!->@-~]{1,75}\?[bBqQ]\?[^?\r\n]{0,2000}\?="
    r"(?:[ \t\r\n]{1,20}=\?[!->@-~]{1,75}\?[bBqQ]\?[^?\r\n]{0,2000}\?=){0,200}"
)
_WORD = re.compile(r"=\?([!->@-~]{1,75})\?([bBqQ])\?([^?\r\n]{0,2000})\?=")
_BASE64 = re.compile(
    r"(?<![\w+/=-])[A-Za-z0-9+/_-]{10,}+={0,2}(?![\w+/])"
    r"|(?:(?<=\n)[A-Za-z0-9+/]{40,}+\r?\n){1,20000}+[A-Za-z0-9+/]{0,200}={0,2}"
)
_HEX = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{2}){6,}+(?![0-9A-Za-z])"
    r"|(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{2}[ :]){5,}+[0-9A-Fa-f]{2}(?![0-9A-Za-z])"
)
_RANDOM = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9_+/=-]{12,}+")
_PIECE = re.compile(r"[A-Za-z0-9]{1,}+")
_UUID = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Za-z])")
_PLAIN_ADDRESS = re.compile(r"[A-Za-z0-9]@(?:[A-Za-z0-9-]{2,63}\.){1,5}([A-Za-z]{2,24})(?![A-Za-z])")
_LINK = re.compile(r"(?i)\bhttps?://[^\s\"'<>]{1,4000}+")
_NAMED = re.compile(
    r"(?i)(?<![A-Za-z])(?:pass(?:word|phrase|wort|code|wd)?|pwd|kennwort|passwort|secret|token|api[ _-]?key|apikey"
    r"|credential|one-time code|access code|otp|tan|pin)(?:[ \t]{1,3}(?:is|ist|lautet))?[ \t]{0,3}[:=]?[ \t]{0,3}[\"']?"
)
_VALUE = re.compile(r"[^\s\"'<>,;&]{4,200}")
_SECRET_FIELD = re.compile(
    r"(?i)(?:^|-)(?:token|key|secret|password|auth|session|csrf|credential|apikey|cookie)(?:-|$)"
)
_PUBLIC_FIELDS = frozenset({"authentication-results", "arc-authentication-results", "x-auth-result", "auto-submitted"})
_DATE = re.compile(r"(?:19|20)[0-9]{6}T?[0-9]{0,6}Z?\Z")


class Cleaner:
    """One bundle's first pass. ``hosts`` are organisations whose hosts are known to all (of providers): they stay
    where they stand alone; ``public`` are words that look random and are not (public keys); ``secrets`` values that
    are kept as such."""

    def __init__(
        self,
        names: Names,
        *,
        hosts: Collection[str] = (),
        public: Collection[str] = (),
        secrets: Collection[str] = (),
    ) -> None:
        self.names = names
        self.known = tuple(sorted({one for one in secrets if len(one) >= 4}, key=len, reverse=True))
        self.hosts, self.public = frozenset(hosts), frozenset(public)
        self.learning = False
        self.counts: Counter[str] = Counter()
        self.removed: list[str] = []

    # --- text ---------------------------------------------------------------------------------------------------------

    def text(self, text: str) -> str:
        """The text with stand-ins."""
        return self._apply(text, self._changes(text))

    def value(self, value: Any) -> Any:
        """A JSON-ready value, all its texts with stand-ins."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        return value

    def _apply(self, text: str, changes: list[Change]) -> str:
        out, at = [], 0
        for one in changes:
            out += [text[at : one.start], one.new]
            at = one.end
            if not self.learning:
                self.counts[one.kind] += 1
        return "".join((*out, text[at:])) if out else text

    def _changes(self, text: str, depth: int = 0) -> list[Change]:
        """What is to be changed, in order; no two overlap."""
        if len(text) < 3:
            return []
        taken = bytearray(len(text))
        kept: list[Change] = []
        for source in self._sources(text, depth):
            for one in source:
                if one.start < one.end and not any(taken[one.start : one.end]):
                    kept.append(one)
                elif one.kind in ("token", "secret"):
                    kept += self._rest(text, one, taken)
                taken[one.start : one.end] = b"\1" * (one.end - one.start)
        return sorted(kept, key=lambda one: one.start)

    def _sources(self, text: str, depth: int) -> Iterator[Iterator[Change]]:
        yield self._known_secrets(text)
        if depth == 0:
            yield self._secrets(text)
        if depth < DEPTH:
            yield self._encoded_words(text, depth)
            if "*" in text:
                yield self._spelled(text, CONTINUED, depth)
            for spelling in FIRST if "=40" in text else FIRST[:-1]:
                yield self._spelled(text, spelling, depth)
            yield self._packed(text, _BASE64, _from_base64, depth)
            yield self._packed(text, _HEX, _from_hex, depth)
        yield self._addresses(text)
        if depth < DEPTH:
            for spelling in LAST:
                yield self._spelled(text, spelling, depth)
        yield self._domains(text)
        if not self.learning:
            yield self._tokens(text)

    def _rest(self, text: str, one: Change, taken: bytearray) -> Iterator[Change]:
        """What is left of a token of which a part has gone already."""
        at = one.start
        while at < one.end:
            end = at
            while end < one.end and taken[end] == taken[at]:
                end += 1
            if not taken[at] and end > at:
                yield Change(at, end, self.names.token(text[at:end]), one.kind)
            at = end

    def _token(self, text: str, start: int, end: int, kind: str = "token") -> Iterator[Change]:
        if end > start and text[start:end] not in self.public:
            yield Change(start, end, self.names.token(text[start:end]), kind)

    def _known_secrets(self, text: str) -> Iterator[Change]:
        """Values that are kept as secrets, letter by letter."""
        for value in () if self.learning else self.known:
            at = text.find(value)
            while at >= 0:
                yield from self._token(text, at, at + len(value), "secret")
                at = text.find(value, at + len(value))

    # --- secrets ------------------------------------------------------------------------------------------------------

    def _secrets(self, text: str) -> Iterator[Change]:
        """What the redactor takes out of it."""
        if self.learning:
            return
        parts = redact(text).split(MASK)
        at = len(parts[0])
        for number, part in enumerate(parts[1:], start=1):
            last = number == len(parts) - 1
            end = len(text) - len(part) if last else text.find(part, at + 1) if part else at
            end = len(text) if end < at else end
            yield from self._token(text, at, end, "secret")
            at = end + len(part)

    # --- spellings ----------------------------------------------------------------------------------------------------

    def _spelled(self, text: str, spelling: Spelling, depth: int) -> Iterator[Change]:
        for start, end in spelling.pieces(text):
            piece = text[start:end]
            seen = spelling.undo(piece)
            for one in self._changes(seen.text, depth + 1):
                new = spelling.redo(piece, seen, one.start, one.end, one.new)
                yield Change(start + seen.starts[one.start], start + seen.ends[one.end - 1], new, one.kind)

    def _encoded_words(self, text: str, depth: int) -> Iterator[Change]:
        """RFC 2047 words that stand together are one text; each is written again with its share of it."""
        for run in _WORDS.finditer(text) if "=?" in text else ():
            words = [_EncodedWord(found) for found in _WORD.finditer(run[0])]
            whole = "".join(word.text for word in words)
            changes = self._changes(whole, depth + 1)
            if not changes:
                continue
            new, at = self._quiet(whole, changes), 0
            if len(new) != len(whole):
                yield Change(run.start(), run.end(), words[0].again(new), changes[0].kind)
                continue
            for word in words:
                mine, at = new[at : at + len(word.text)], at + len(word.text)
                if mine != word.text:
                    yield Change(run.start() + word.start, run.start() + word.end, word.again(mine), changes[0].kind)

    @staticmethod
    def _quiet(text: str, changes: list[Change]) -> str:
        out, at = [], 0
        for one in changes:
            out += [text[at : one.start], one.new]
            at = one.end
        return "".join((*out, text[at:]))

    def _packed(
        self, text: str, pattern: re.Pattern[str], unpack: Callable[[str], _Packed | None], depth: int
    ) -> Iterator[Change]:
        """Words that are text in base64 or hex."""
        for found in pattern.finditer(text):
            if found[0] in self.public:
                continue
            inner = unpack(found[0])
            if inner is None or not (inner.readable or _by_design(inner.text)):
                continue
            if changes := self._changes(inner.text, depth + 1):
                yield Change(found.start(), found.end(), inner.pack(self._quiet(inner.text, changes)), changes[0].kind)

    # --- addresses and domains ----------------------------------------------------------------------------------------

    def _addresses(self, text: str) -> Iterator[Change]:
        at = text.find("@")
        while at >= 0:
            yield from self._around(text, at)
            at = text.find("@", at + 1)

    def _around(self, text: str, at: int) -> Iterator[Change]:
        """The address around an @ sign (RFC 5322 §3.4.1, also of other letters), its tags and what VERP put in it."""
        domain = _HOST.match(text, at + 1)
        if domain is None:
            return
        end = domain.end()
        name = domain[0].rstrip(".-_")
        end -= len(domain[0]) - len(name)
        if text[end : end + 1] == "@" or not name:
            return
        quoted = _QUOTED.search(text, max(0, at - 70), at)
        start = quoted.start() if quoted else at
        if not quoted:
            least = max(0, at - FAR)
            while start > least and (text[start - 1].isalnum() or text[start - 1] in _LOCAL):
                start -= 1
            start = self._without_name(text, start, at)
        local = text[start:at]
        if not any(letter.isalnum() for letter in local):
            return
        if self.learning:
            self.names.learn(f"{local}@{name}")
            for piece in local.split("=")[1:]:
                if _is_domain(piece):
                    self.names.learn(f"{local.partition('=')[0].rpartition('+')[2] or 'x'}@{piece}")
            return
        pieces = [
            self.names.domain(p) if n and _is_domain(p) else self.names.local(p) for n, p in enumerate(local.split("="))
        ]
        made = f"{'='.join(pieces)}@{self.names.domain(name)}"
        self.names.addresses[f"{local}@{name}".lower()] = made.lower()
        yield Change(start, end, made, "address")

    @staticmethod
    def _without_name(text: str, start: int, at: int) -> int:
        """Where a local part begins: not with a sign, nor with the name of a parameter (``to=ann@…``)."""
        local = text[start:at]
        if "=" in local and not local.upper().startswith("SRS"):
            pieces = local.split("=")
            if not any(_is_domain(piece) for piece in pieces[1:]):
                start = at - len(pieces[-1])
        while start < at and not (text[start].isalnum() or text[start] == "_"):
            start += 1
        return start

    def _domains(self, text: str) -> Iterator[Change]:
        """Domains of those addresses, wherever they stand by themselves or in the name of a host."""
        if self.learning or "." not in text:
            return
        for found in _DOMAINS.finditer(text):
            name = found[0].rstrip("-_")
            kept = self._known(name)
            if kept is not None:
                mine = name[: len(name) - kept]
                yield Change(found.start(), found.start() + len(mine), self.names.domain(mine), "domain")

    def _known(self, name: str) -> int | None:
        """How many characters at the end of a name are another's, where a known domain is in it; None: none is."""
        low = name.lower()
        labels = low.split(".")
        for count in range(len(labels), 1, -1):
            upper = ".".join(labels[:count])
            org = organisation(upper)
            if org in self.names.organisations:
                if org in self.hosts and upper != org and count == len(labels):
                    return None  # a host of a provider
                return len(low) - len(upper)
        return None

    # --- tokens -------------------------------------------------------------------------------------------------------

    def _tokens(self, text: str) -> Iterator[Change]:
        for found in _UUID.finditer(text):
            yield from self._token(text, *found.span())
        for found in _LINK.finditer(text):
            yield from self._link(text, *found.span())
        for found in _NAMED.finditer(text):
            value = _VALUE.match(text, found.end())
            said = found[0].rstrip(" \t\"'")
            odd = value is not None and not value[0].rstrip(".,;!?").isalpha()
            if value is not None and (
                said[-1:] in (":", "=") or ((odd and said[-3:] in (" is", "ist")) or value[0][:1].isdigit())
            ):
                plain = value[0].rstrip(".)]}!?\\")
                if any(letter.isalnum() for letter in plain) and ":" not in plain[:9] and len(plain) >= 4:
                    yield from self._token(text, value.start(), value.start() + len(plain), "secret")
        for found in _RANDOM.finditer(text):
            word = found[0].rstrip("=-_/+")
            if (
                word in self.public
                or found[0] in self.public
                or text[max(0, found.start() - 2) : found.start()] == "p="
            ):
                continue
            if any(_looks_random(piece[0]) for piece in _PIECE.finditer(word)):
                for piece in _PIECE.finditer(word):
                    if (len(piece[0]) >= 4 and not piece[0].isalpha()) or _looks_random(piece[0]):
                        start = found.start() + piece.start()
                        yield from self._token(text, start, start + len(piece[0]))

    def _link(self, text: str, start: int, end: int) -> Iterator[Change]:
        """What in an address of the web stands for somebody: values of its query, and random parts of its path."""
        path = text.find("/", start + 8, end)
        at = path if path >= 0 else end
        query = min((p for p in (text.find("?", at, end), text.find("#", at, end)) if p >= 0), default=end)
        place = at
        for piece in re.split(r"[/;,]", text[at:query]):
            if len(piece) >= 6 and (_looks_random(piece, short=True) or (piece.isdigit() and len(piece) > 6)):
                yield from self._token(text, place, place + len(piece))
            place += len(piece) + 1
        place = query
        for piece in re.split(r"[?&#;]", text[query:end]):
            name, sign, value = piece.partition("=")
            value = value if sign else name
            if (
                len(value) >= 4
                and not (value.isalpha() and value.islower())
                and not (value.isdigit() and len(value) < 6)
            ):
                begin = place + len(piece) - len(value)
                yield from self._token(text, begin, begin + len(value.rstrip(".)")))
            place += len(piece) + 1

    # --- mail ---------------------------------------------------------------------------------------------------------

    def mail(self, raw: bytes, depth: int = 0) -> bytes:
        """A message (RFC 5322) with stand-ins: its fields, its structure and its words stay."""
        head, gap, body = _cut(raw)
        new = self._head(head)
        media, params = content_type(_first(head, b"content-type"))
        boundary = params.get("boundary", "")
        encoding = _first(head, b"content-transfer-encoding").strip().lower()
        if media.startswith("multipart/") and boundary and depth < NESTED:
            other = content_type(_first(new, b"content-type"))[1].get("boundary", boundary)
            return new + gap + self._parts(body, boundary.encode(), other.encode(), depth)
        packed = encoding in ("base64", "quoted-printable")
        if media in ("message/rfc822", "message/global") and depth < NESTED and not packed:
            return new + gap + self.mail(body, depth + 1)
        name = f"{params.get('name', '')} {_first(head, b'content-disposition')}".lower()
        return new + gap + self._leaf(body, media, params.get("charset", ""), encoding, ".eml" in name, depth)

    def _parts(self, body: bytes, boundary: bytes, other: bytes, depth: int) -> bytes:
        line = re.compile(rb"(?:(?<=\n)|\A)--" + re.escape(boundary) + rb"(--)?[ \t]*(\r?\n|\Z)")
        out, at, inside = [], 0, False
        for found in line.finditer(body):
            out.append(self._section(body[at : found.start()], inside, depth))
            out.append(b"--" + other + (found[1] or b"") + found[2])
            at, inside = found.end(), not found[1]
        out.append(self._section(body[at:], inside, depth))
        return b"".join(out)

    def _section(self, data: bytes, inside: bool, depth: int) -> bytes:
        if not data.strip():
            return data
        return self.mail(data, depth + 1) if inside else self._body_text(data, "")

    def _body_text(self, data: bytes, charset: str) -> bytes:
        codec, text = _decoded(data, charset)
        return self.text(text).encode(codec, "replace")

    def _leaf(self, body: bytes, media: str, charset: str, encoding: str, enclosed: bool, depth: int) -> bytes:
        if encoding == "base64":
            try:
                data = base64.b64decode(re.sub(rb"[^A-Za-z0-9+/]", b"", body) + b"==")
            except (binascii.Error, ValueError):
                data = body
        elif encoding == "quoted-printable":
            data = quopri.decodestring(body)
        else:
            data = body
        if not data.strip():
            return body
        if (media in ("message/rfc822", "message/global") or enclosed) and depth < NESTED:
            return _encoded(self.mail(data, depth + 1), encoding, body)
        if not _is_text(media, data):
            self.removed.append(f"{media}, {len(data):,} bytes")
            line = f"[A part of type {media} with {len(data):,} bytes stood here.]\r\n"
            return _encoded(line.encode(), encoding, body)
        if encoding == "quoted-printable":
            return self._printable(body, data, charset)
        if encoding == "base64":
            return _encoded(self._body_text(data, charset), encoding, body)
        return self._body_text(body, charset)

    def _printable(self, body: bytes, data: bytes, charset: str) -> bytes:
        codec, _ = _decoded(data, charset)
        if not codec.startswith(("utf-8", "latin", "iso8859", "iso-8859", "cp125", "koi8", "ascii", "us-ascii")):
            return quopri.encodestring(self._body_text(data, charset))
        spelling, text = quoted_printable(codec), body.decode("latin-1")
        seen = spelling.undo(text)
        changes = self._changes(seen.text)
        out, at = [], 0
        for one in changes:
            self.counts[one.kind] += not self.learning
            out += [text[at : seen.starts[one.start]], spelling.redo(text, seen, one.start, one.end, one.new)]
            at = seen.ends[one.end - 1]
        return "".join((*out, text[at:])).encode("latin-1", "replace")

    def _head(self, head: bytes) -> bytes:
        codec, text = _decoded(head, "")
        out = []
        for line in re.split(r"(?<=\n)(?![ \t])", text):
            name, colon, value = line.partition(":")
            out.append(
                f"{name}:{self._field(name.strip(), value)}" if colon and " " not in name.strip() else self.text(line)
            )
        return "".join(out).encode(codec, "replace")

    def _field(self, name: str, value: str) -> str:
        if _SECRET_FIELD.search(name) and name.lower() not in _PUBLIC_FIELDS and not self.learning:
            found = self._changes(value)
            taken = bytearray(len(value))
            for one in found:
                taken[one.start : one.end] = b"\1" * (one.end - one.start)
            for word in re.finditer(r"[^\s;,=<>\"]{4,}", value):
                found += list(self._rest(value, Change(*word.span(), "", "token"), taken))
            return self._apply(value, sorted(found, key=lambda one: one.start))
        new = self.text(value)
        flat = re.sub(r"\r?\n[ \t]", " ", value)
        shown = decode_words(flat, 20_000)
        if shown == flat or self.learning:
            if self.learning and shown != flat:
                self.text(shown)
            return new
        told = decode_words(re.sub(r"\r?\n[ \t]", " ", new), 20_000)
        if not any(real in told.lower() for real in self.names.real if real in shown.lower()):
            return new
        whole = self._quiet(shown, self._changes(shown))  # an address that an encoded word cuts in two
        return " " + Header(whole.strip(), "utf-8", maxlinelen=75).encode(linesep="\r\n") + "\r\n"


# --- pieces -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Packed:
    """Text that stood in another alphabet. ``readable``: it is text, and no accident."""

    text: str
    pack: Callable[[str], str]
    readable: bool


def _from_base64(word: str) -> _Packed | None:
    flat = re.sub(r"\s", "", word)
    bare = flat.rstrip("=")
    safe = "-" in bare or "_" in bare
    try:
        data = base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_" if safe else None, validate=True)
    except (binascii.Error, ValueError):
        return None
    codec, text = _decoded(data, "")

    def pack(new: str) -> str:
        made = base64.b64encode(new.encode(codec, "replace"), altchars=b"-_" if safe else None).decode()
        made = made if flat != bare else made.rstrip("=")
        width = word.find("\n")
        if width < 0:
            return made
        width -= word[width - 1] == "\r"
        ending = "\r\n" if "\r\n" in word else "\n"
        return ending.join(made[at : at + width] for at in range(0, len(made), width))

    return _Packed(text, pack, _readable(text))


def _from_hex(word: str) -> _Packed | None:
    sign = word[2] if word[2] in " :" else ""
    codec, text = _decoded(bytes.fromhex(word.replace(":", "").replace(" ", "")), "")

    def pack(new: str) -> str:
        made = new.encode(codec, "replace").hex(sign) if sign else new.encode(codec, "replace").hex()
        return made if word == word.lower() else made.upper()

    return _Packed(text, pack, _readable(text))


class _EncodedWord:
    """One encoded word (RFC 2047 §2)."""

    def __init__(self, found: re.Match[str]) -> None:
        self.start, self.end = found.span()
        self.charset, self.way, body = found[1], found[2], found[3]
        self.body = body
        try:
            data = (
                quopri.decodestring(body.encode("latin-1", "replace"), header=True)
                if self.way in "qQ"
                else base64.b64decode(body + "=" * (-len(body) % 4))
            )
        except (binascii.Error, ValueError):
            data = body.encode("utf-8", "replace")
        self.codec, self.text = _decoded(data, self.charset.partition("*")[0])

    def again(self, text: str) -> str:
        """The word with another text."""
        data = text.encode(self.codec, "replace")
        if self.way in "qQ":
            coded = "".join(
                chr(octet) if chr(octet).isalnum() and octet < 128 else "_" if octet == 32 else f"={octet:02X}"
                for octet in data
            )
        else:
            coded = base64.b64encode(data).decode()
        return f"=?{self.charset}?{self.way}?{coded}?="


def _cut(raw: bytes) -> tuple[bytes, bytes, bytes]:
    """Head, empty line, body."""
    if raw.startswith((b"\n", b"\r\n")):
        size = 1 if raw.startswith(b"\n") else 2
        return b"", raw[:size], raw[size:]
    found = re.search(rb"\n(\r?\n)", raw)
    if found is None:
        return raw, b"", b""
    return raw[: found.start(1)], found[1], raw[found.end() :]


def _first(head: bytes, name: bytes) -> str:
    """The first value of a field, unfolded; of however many fields there are."""
    found = re.search(rb"(?im)^" + name + rb"[ \t]*:((?:[^\n]*\n[ \t])*[^\n]*)", head)
    return " ".join(found[1].decode("utf-8", "replace").split()) if found is not None else ""


def _decoded(data: bytes, charset: str) -> tuple[str, str]:
    """The codec and the text, such that the text in that codec is the data again."""
    for name in (charset.strip("\"' ").lower(), "utf-8"):
        if name and name not in ("us-ascii", "ascii", "punycode", "idna", "unicode-escape", "raw-unicode-escape"):
            try:
                return name, data.decode(name)
            except (UnicodeError, LookupError, ValueError):
                continue
    return "latin-1", data.decode("latin-1")


def _encoded(data: bytes, encoding: str, before: bytes) -> bytes:
    ending = b"\r\n" if b"\r\n" in before or b"\n" not in before else b"\n"
    if encoding == "base64":
        return base64.encodebytes(data).replace(b"\n", ending)
    if encoding == "quoted-printable":
        return quopri.encodestring(data)
    return data


def _is_text(media: str, data: bytes) -> bool:
    kind = media.rpartition("/")[2]
    if media.startswith(("text/", "message/")) or any(word in kind for word in TEXTS):
        return True
    return media.startswith(("application/octet-stream", "application/ics")) and _readable(
        _decoded(data[:4_000], "")[1]
    )


def _readable(text: str) -> bool:
    """Whether it is text for people."""
    good = sum(letter.isprintable() or letter in "\r\n\t" for letter in text)
    return good >= len(text) * 0.97 and "\x00" not in text and sum(map(str.isascii, text)) >= len(text) * 0.5


def _is_domain(text: str) -> bool:
    return "." in text.strip(".") and is_suffix(text.rpartition(".")[2].lower())


def _by_design(text: str) -> bool:
    """Whether octets that are no text hold an address (as SASL's do), and not by accident."""
    return any(is_suffix(found[1].lower()) for found in _PLAIN_ADDRESS.finditer(text))


def _looks_random(word: str, *, short: bool = False) -> bool:
    """Whether a word was made by a machine, and may be a token."""
    if _DATE.match(word) or word.isdigit():
        return False
    digits, letters = sum(map(str.isdigit, word)), sum(map(str.isalpha, word))
    turns = sum((a.isdigit() != b.isdigit()) or (a.islower() and b.isupper()) for a, b in pairwise(word))
    if len(word) >= 16 and re.fullmatch(r"[0-9a-fA-F]+", word):
        return True
    if digits and letters:
        return (len(word) >= 10 and turns >= 3) or (short and turns >= 2)
    return letters == len(word) and len(word) >= 16 and turns >= 4 and not word.islower()
