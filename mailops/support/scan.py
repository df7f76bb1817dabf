"""The second look, before anything is written: is an address, a token or a secret left?

It shares no code with the first pass (:mod:`.clean`), nor with the redactor, so that one mistake cannot make both
blind: mail is taken apart by the standard library, text is undone whole instead of letter by letter, and addresses are
found from their @ sign by what cannot be in one.

It looks twice: for everything that it finds in what the bundle was made of (nothing of that may be in the bundle, in
any spelling), and for whatever looks like an address, a token or a secret and is no stand-in. It fails closed.
"""

from __future__ import annotations

import base64
import email
import email.header
import email.message
import email.policy
import email.utils
import html
import json
import quopri
import re
import unicodedata
import urllib.parse
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

DEEP = 4
_STOPS = ' \t\r\n"<>()[]{},;:\\|`!?&#%$^*/\x00'
_SHAPES = {
    "JSON web token": re.compile(r"eyJ[A-Za-z0-9_-]{10,2000}\.eyJ?[A-Za-z0-9_-]{4,4000}\.[A-Za-z0-9_-]{10,2000}"),
    "private key": re.compile(r"-----BEGIN (?:[A-Z]{2,12} ){0,3}PRIVATE KEY-----"),
    "service key": re.compile(
        r"\b(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{16,200}|\bgh[pousr]_[A-Za-z0-9]{30,200}|\bxox[abprs]-[A-Za-z0-9-]{10,200}"
        r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[A-Za-z0-9_-]{35}|\bSG\.[A-Za-z0-9_-]{16,40}\.[A-Za-z0-9_-]{16,80}"
        r"|\bGOCSPX-[A-Za-z0-9_-]{20,60}|\bya29\.[A-Za-z0-9_-]{20,400}|\bglpat-[A-Za-z0-9_-]{16,60}"
    ),
}
_ASSIGNED = re.compile(
    r"(?i)(?:password|passwort|passwd|client_secret|access_token|refresh_token|api_key|auth_token)[\"']?\s{0,3}[=:]\s{0,3}[\"']?"
    r"([^\s\"'&<>;,)}\]\\]{4,400})"
)
_REFERENCE = ("vault:", "env:", "file:", "keyring:", "•")


@dataclass(frozen=True, slots=True)
class Left:
    """Something that is still there: in which file, of what kind, how often. Never what it is."""

    file: str
    kind: str
    count: int


def scan(
    files: Mapping[str, bytes],
    source: Iterable[bytes],
    *,
    issued: Collection[str],
    secrets: Collection[str] = (),
    public: Collection[str] = (),
) -> tuple[Left, ...]:
    """What is left in ``files``. ``source`` is what they were made of; ``issued`` are the stand-ins, ``secrets`` values
    known as such, ``public`` words that look random and are for all to read."""
    fine = {form for word in issued for form in (word.lower(), _a_labels(word.lower()))}
    addresses: set[str] = set()
    words: set[str] = set()
    for data in source:
        for view in views(data):
            addresses.update(addresses_in(view))
            words.update(made_words(view))
    look = _Look(
        _by_domain(addresses - fine),
        {one for one in words if one.lower() not in fine and one not in public},
        tuple(one for one in secrets if len(one) >= 4),
        fine,
        _by_domain(one for one in fine if "@" in one),
    )
    return tuple(left for name, data in files.items() for left in look.at(name, data))


@dataclass(frozen=True, slots=True)
class _Look:
    """What is looked for: addresses by domain, words, secrets; and the stand-ins that may be there."""

    real: Mapping[str, list[str]]
    words: set[str]
    secrets: tuple[str, ...]
    fine: set[str]
    people: Mapping[str, list[str]]

    def at(self, name: str, data: bytes) -> Iterator[Left]:
        """What is left in one file, or in its name."""
        found: dict[str, set[str]] = {}
        for view in (name, *views(data)):
            for kind, value in self._in(view):
                found.setdefault(kind, set()).add(value)
        yield from (Left(name, kind, len(values)) for kind, values in sorted(found.items()))

    def _in(self, view: str) -> Iterator[tuple[str, str]]:
        for one in addresses_in(view):
            if not _among(one, self.people) or (one not in self.fine and _among(one, self.real)):
                yield "address", one
            pieces = one.partition("@")[0].split("=")
            for number, piece in enumerate(pieces[1:]):
                if any(pieces[number].endswith(local) for local in self.real.get(piece, ())):
                    yield "address", piece
        yield from (("token or secret", one) for one in made_words(view) & self.words)
        yield from (("token or secret", one) for one in self.secrets if one in view)
        for kind, shape in _SHAPES.items():
            yield from ((kind, hit) for hit in shape.findall(view) if not _of_stand_ins(hit, self.fine))
        for hit in _ASSIGNED.findall(view):
            if not hit.startswith(_REFERENCE) and not _of_stand_ins(hit, self.fine) and hit.lower() not in _PLAIN:
                yield "named secret", hit


def _by_domain(addresses: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in addresses:
        local, _, domain = one.rpartition("@")
        found.setdefault(domain, []).append(local)
    return found


_PLAIN = frozenset({"none", "null", "true", "false", "string", "required", "optional", "kept", "missing", "given"})


def _among(address: str, people: Mapping[str, list[str]]) -> bool:
    """Whether an address is one of these, or runs into what stands beside it."""
    local, _, domain = address.rpartition("@")
    if domain not in people:  # cut off, where a word of base64 ends
        longer = [one for one in people if len(domain) > 4 and one.startswith(domain)]
        return any(_ends_alike(local, one) for name in longer for one in people[name]) or _run_on(local, domain, people)
    return _run_on(local, domain, people)


def _ends_alike(left: str, right: str) -> bool:
    return left[-5:] == right[-5:] or left.endswith(right) or right.endswith(left)


def _run_on(local: str, domain: str, people: Mapping[str, list[str]]) -> bool:
    for end in range(len(domain), 3, -1):
        for one in people.get(domain[:end], ()):
            if _ends_alike(local, one):
                return True
    return False


def _of_stand_ins(text: str, fine: set[str]) -> bool:
    """Whether a text is made of stand-ins, and of signs and short words between them."""
    if text.lower() in fine:
        return True
    pieces = [piece.lower() for piece in re.split(r"[^A-Za-z0-9]", text) if len(piece) >= 8]
    return bool(pieces) and all(
        any(one.startswith(piece[:8]) or one.endswith(piece[-8:]) for one in fine) for piece in pieces
    )


# --- views ------------------------------------------------------------------------------------------------------------


def views(data: bytes) -> set[str]:
    """Every reading of some octets that this scan knows: each spelling taken off, and all of them, again and again."""
    found: set[str] = set()
    for text in _texts(data):
        _look(text, 0, found)
    return found


def _look(text: str, depth: int, found: set[str]) -> None:
    if text in found or len(text) < 3:
        return
    found.add(text)
    if depth == DEEP:
        return
    whole = text
    for undo in _UNDO:
        found.add(undo(text))
        whole = undo(whole)
    for inner in (_packed(text), _json(text), _packed(whole)):
        _look(inner, depth + 1, found)
    _look(whole, depth + 1, found)


def _texts(data: bytes, depth: int = 0) -> Iterator[str]:
    """A file as text, and, as far as it is a mail, its fields and parts decoded."""
    text = data.decode("utf-8", "replace")
    if "\ufffd" in text:
        yield data.decode("latin-1")
    if b"\x00" in data[:200]:
        yield data.decode("utf-16", "ignore")
    message = _message(data) if depth < 7 and b":" in data[:2_000] else None
    for part in message.walk() if message is not None else ():
        yield "\n".join(f"{name}: {value}" for name, value in part.items() for value in {_header(str(value))})
        named = (part.get_param("filename", header="content-disposition"), part.get_param("name"))
        yield "\n".join(email.utils.collapse_rfc2231_value(one) for one in named if one)
        text = text.replace(str(part.get_boundary() or "\0"), "")
        packed = None if part.is_multipart() else part.get_payload(decode=True)
        if not isinstance(packed, bytes) or packed == data:
            continue
        if str(part.get("content-transfer-encoding", "")).strip().lower() in ("base64", "quoted-printable"):
            text = text.replace(str(part.get_payload()).strip(), "")  # its view is what it holds
        for charset in dict.fromkeys((part.get_content_charset("utf-8"), "utf-8", "latin-1")):
            try:
                yield packed.decode(charset, "strict")
                break
            except (LookupError, UnicodeError):
                continue
        yield from _texts(packed, depth + 1)
    yield text


def _message(data: bytes) -> email.message.Message | None:
    try:
        return email.message_from_bytes(data, policy=email.policy.compat32)
    except (ValueError, LookupError, TypeError, IndexError):
        return None


def _header(value: str) -> str:
    try:
        return str(email.header.make_header(email.header.decode_header(value)))
    except (ValueError, LookupError, UnicodeError, email.errors.HeaderParseError):
        return value


def _percent(text: str) -> str:
    return urllib.parse.unquote(text) if "%" in text else text


def _escapes(text: str) -> str:
    if "\\" not in text:
        return text
    text = re.sub(r"\\x\{([0-9A-Fa-f]{2,6})\}", lambda m: chr(min(int(m[1], 16), 0x10FFFF)), text)
    return re.sub(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([0-3][0-7]{2}))", _letter, text)


def _printable(text: str) -> str:
    if "=40" in text:
        text = re.sub(r"=([2-7][0-9A-F])", lambda m: chr(int(m[1], 16)), text)
    if "=\n" in text or "=\r\n" in text:
        text = quopri.decodestring(text.encode("utf-8", "replace")).decode("utf-8", "replace")
    return text


def _encoded_words(text: str) -> str:
    if "=?" not in text:
        return text
    text = re.sub(r"(\?=)[ \t\r\n]{1,20}(=\?)", r"\1\2", text)
    runs = r"(?:=\?[^?\s]{1,75}\?[bBqQ]\?[^?\s]{0,2000}\?=){1,200}"
    return re.sub(runs, lambda m: _header(m[0].replace("?==?", "?= =?")), text)


def _continued(text: str) -> str:
    marks = r"\"?\s{0,3};\s{0,20}[A-Za-z-]{1,40}\*[1-9][0-9]{0,2}\*?=\"?"
    return re.sub(marks, "", text) if "*1" in text else text


def _plus(text: str) -> str:
    if "+" not in text:
        return text
    return re.sub(r"\+([0-9A-F]{2})", lambda m: chr(int(m[1], 16)), text.replace("+AEA-", "@").replace("+AC4-", "."))


def _a_labels(text: str) -> str:
    return re.sub(r"(?i)xn--([a-z0-9-]{1,59})", _a_label, text) if "xn--" in text.lower() else text


def _in_words(text: str) -> str:
    return re.sub(r"(?i)\s?[\[({]\s?(at|dot)\s?[\])}]\s?", lambda m: "@" if m[1].lower() == "at" else ".", text)


def _tags(text: str) -> str:
    return re.sub(r"<(?![^<>]*@)[^<>]{0,200}>", "", text) if "<" in text and "@" in text else text


_UNDO = (
    _percent, html.unescape, _escapes, _printable, _encoded_words, _continued, _plus, _a_labels, _in_words, _tags,
)  # fmt: skip


def _packed(text: str) -> str:
    """What stands in words of base64 and hex, a line each."""
    flat = re.sub(r"(?<=[A-Za-z0-9+/]{40})\r?\n(?=[A-Za-z0-9+/])", "", text)
    inner = [one for word in re.findall(r"[A-Za-z0-9+/_-]{10,}={0,2}", flat) if (one := _unpacked(word))]
    for word in re.findall(r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{2}[ :]?){5,}[0-9A-Fa-f]{2}(?![0-9A-Za-z])", text):
        digits = re.sub("[ :]", "", word)
        inner += [bytes.fromhex(digits).decode("utf-8", "replace")] if len(digits) % 2 == 0 else []
    return "\n".join(inner)


def _json(text: str) -> str:
    """The texts of a JSON document, a line each."""
    if text.lstrip()[:1] not in ("{", "["):
        return ""
    try:
        return "\n".join(_leaves(json.loads(text)))
    except (ValueError, RecursionError):
        return ""


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)


def _letter(found: re.Match[str]) -> str:
    return chr(int(found[1] or found[2], 16) if found[1] or found[2] else int(found[3], 8))


def _a_label(found: re.Match[str]) -> str:
    try:
        return found[1].encode().decode("punycode")
    except (UnicodeError, ValueError):
        return found[0]


def _unpacked(word: str) -> str:
    """The text in a word of base64, "" where it holds none."""
    plain = word.rstrip("=").replace("-", "+").replace("_", "/")
    if len(plain) % 4 == 1:
        plain = plain[:-1]
    try:
        data = base64.b64decode(plain + "=" * (-len(plain) % 4))
    except ValueError:
        return ""
    text = data.decode("utf-8", "replace")
    odd = sum(not (c.isprintable() or c in "\r\n\t\x00\x01") or c == "\ufffd" for c in text)
    return text if text and odd <= len(text) * 0.1 else ""


# --- detectors --------------------------------------------------------------------------------------------------------


def _flat(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower()


def addresses_in(text: str) -> set[str]:
    """What may be an address, in small letters: from each @ sign to the first sign on either side that ends one."""
    low = _flat(text)
    found: set[str] = set()
    for left, right in pairwise(low.split("@")):
        local = left[-100:]
        for stop in _STOPS:
            local = local[local.rfind(stop) + 1 :]
        domain = right[:255]
        for stop in _STOPS + "'=+~":
            domain = domain.partition(stop)[0]
        domain = domain.strip(".-_'")
        local = local.lstrip("'.-=+~_")
        top = domain.rpartition(".")[2]
        if "\ufffd" in local + domain:
            continue  # half read; another view has it whole
        if local and "." in domain and len(top) >= 2 and not top.isdigit() and any(map(str.isalnum, local)):
            found.add(f"{local}@{domain}")
    return found


def made_words(text: str) -> set[str]:
    """Words that only a machine makes, long enough that they are no accident; not text in base64, which has a view of
    its own, nor what a DNS record publishes."""
    found = set()
    for run in re.finditer(r"[A-Za-z0-9+/_=-]{20,4000}", text):
        if run[0].startswith("p=") or text[max(0, run.start() - 2) : run.start()] == "p=" or _unpacked(run[0]):
            continue
        for word in re.findall(r"[A-Za-z0-9]{20,400}", run[0]):
            digits = any(map(str.isdigit, word))
            if digits and not word.isdigit() and (len(set(map(_kind, word))) >= 2):
                found.add(word)
    return found


def _kind(letter: str) -> int:
    return letter.isdigit() + 2 * letter.isupper()
