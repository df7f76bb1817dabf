"""The process-wide redactor: what was revealed, and what looks like a credential, becomes ``•••``.

Two nets. *Registered values* are found by search, in the forms they take on the way out: plain, URL-encoded, escaped
for JSON and HTML, in hex, and inside any base64 text (a value inside ``\\0user\\0password`` or ``auth=Bearer …`` shifts
the encoding; the three possible alignments are registered). Other spellings are found by undoing them
(:mod:`.disguise`): escapes twice over, quoted-printable, wrapped base64, octets as Python writes them, a value that a
line break splits; and one that an end cuts short. *Patterns* catch what nobody registered: Authorization headers,
SASL lines, JSON web tokens, ``client_secret=``, ``refresh_token``, passwords in addresses, private keys.

Values shorter than :data:`SHORTEST` characters are not registered: they would blank out ordinary words.
"""

from __future__ import annotations

import base64
import html
import json
import logging
import re
import threading
import unicodedata
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

from ..model.text import harmless
from .disguise import span, views
from .references import PROVIDER_KEYS
from .secret import MASK, Secret

SHORTEST = 4
KEPT = 1000  # registered values; the oldest leaves when a long-lived process sees more (tokens die in an hour)

_lock = threading.Lock()
_registered: OrderedDict[str, tuple[tuple[str, ...], tuple[str, ...]]] = OrderedDict()  # value → plain forms, base64


def register(value: str | Secret) -> None:
    """Have this value masked from now on. Lines of a multi-line value (a private key) count one by one as well."""
    text = value.reveal() if isinstance(value, Secret) else value
    parts = [text.strip("\r\n")]
    if "\n" in parts[0]:
        parts += [line.strip() for line in parts[0].splitlines() if len(line.strip()) >= 20 and "-----" not in line]
    with _lock:
        for part in parts:
            if len(part) < SHORTEST:
                continue
            if part in _registered:
                _registered.move_to_end(part)
                continue
            _registered[part] = (_plain_forms(part), _base64_cores(part))
            if len(_registered) > KEPT:
                _registered.popitem(last=False)


def _plain_forms(value: str) -> tuple[str, ...]:
    """The value and its escaped spellings, longest first."""
    forms = {
        value,
        quote(value, safe=""),
        quote_plus(value),
        quote(value),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        html.escape(value),
        html.escape(value, quote=False),
        repr(value)[1:-1],
        ascii(value)[1:-1],
        value.encode("utf-8", "replace").hex(),
        value.encode("utf-8", "replace").hex().upper(),
        unicodedata.normalize("NFD", value),
        unicodedata.normalize("NFC", value),
    }
    forms |= {json.dumps(form)[1:-1] for form in tuple(forms)}  # a string inside a notebook's own JSON
    return tuple(sorted(forms, key=len, reverse=True))


def _base64_cores(value: str) -> tuple[str, ...]:
    """The part of the base64 text that any encoding of ``…value…`` must contain, for each alignment and alphabet."""
    raw = value.encode()
    cores: set[str] = set()
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        first = (shift * 8 + 5) // 6  # characters that also hold bits of what stands before
        whole = (shift + len(raw)) * 8 // 6  # characters that hold no bits of what comes after
        core = encoded[first:whole]
        if len(core) >= 8:
            cores |= {core, core.replace("+", "-").replace("/", "_")}
    return tuple(cores)


# --- patterns ---------------------------------------------------------------------------------------------------------

_MECHANISMS = r"(?:PLAIN|LOGIN|XOAUTH2|OAUTHBEARER|CRAM-MD5|EXTERNAL|NTLM|GSSAPI|DIGEST-MD5|SCRAM-[A-Z0-9-]+)"
_NAMES = (
    r"(?:client_secret|clientsecret|refresh_token|access_token|id_token|device_code|code_verifier|client_assertion|"
    r"private_key|api_?secret|secret_?(?:access_?)?key|secret|passwd|password|passphrase|pwd|[a-z0-9]{1,30}_pass|"
    r"(?:pg|my)?sql_?pwd|pgpassword|x[-_]api[-_]key|api[-_]?key|auth[-_]?token|(?:x[-_])?auth[-_]key|token)"
)
_KEEP = r"(?!(?:env|file|keyring|vault):|•|\*\*\*|(?:none|null|true|false|str|string)\b|\$\{)"

_IN_ADDRESS = re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://[^/\s:@\"']{1,200}:)(?!•|\*\*\*)[^/\s\"'<>]{1,500}@")

_PATTERNS: tuple[tuple[str, re.Pattern[str], str], ...] = (
    (
        "private key",
        re.compile(r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)(?!•)(?:[^-]|-(?!----))+"),
        rf"\1{MASK}",
    ),
    ("JSON web token", re.compile(r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*){0,3}"), MASK),
    (
        "Authorization header",
        re.compile(r"(?i)(\bauthorization[\"']?\s*[:=]\s*[\"']?(?:basic|bearer|digest)\s+)(?!•|\*\*\*)[^\s\"',]{6,}"),
        rf"\1{MASK}",
    ),
    ("bearer token", re.compile(r"(?i)(\bbearer\s+)(?!•|\*\*\*)[\w.~+/-]{16,}=*"), rf"\1{MASK}"),
    (
        "SASL line",
        re.compile(rf"\b(AUTH(?:ENTICATE)?\s+{_MECHANISMS}\s+)(?!{_MECHANISMS}\b|•|\*\*\*)[A-Za-z0-9+/]{{8,}}={{0,2}}"),
        rf"\1{MASK}",
    ),
    (
        "SASL answer",
        re.compile(r"(?im)(^.{0,12}334 UGFzc3dvcmQ6[^\n]{0,20}\n\W{0,4}(?:C: ?)?)(?!•)[A-Za-z0-9+/]{4,}={0,2}"),
        rf"\1{MASK}",
    ),
    ("XOAUTH2 string", re.compile(r"(?<![A-Za-z0-9+/])(?:dXNlcj|bixhP)[A-Za-z0-9+/]{24,}={0,2}"), MASK),
    (
        "IMAP LOGIN",
        re.compile(r"(?m)(^\W{0,4}(?:[CS]: ?)?[A-Za-z]{0,6}\d{1,8} LOGIN (?:\"[^\"\r\n]*\"|\S+) )(?!•)\S+"),
        rf"\1{MASK}",
    ),
    ("POP PASS", re.compile(r"(?m)(^\W{0,4}(?:C: ?)?PASS )(?!•)\S+"), rf"\1{MASK}"),
    (
        "named secret",
        re.compile(rf"(?i)((?<![A-Za-z]){_NAMES}\s{{0,20}}=\s{{0,20}}([\"'])){_KEEP}(?:(?!\2)[^\r\n]){{3,500}}(?=\2)"),
        rf"\1{MASK}",
    ),
    (
        "named secret",
        re.compile(rf"(?i)((?<![A-Za-z]){_NAMES}\\?[\"']?\s*=\s*\\?[\"']?){_KEEP}[^\s\"'&,;)}}<>\\]{{3,}}"),
        rf"\1{MASK}",
    ),
    (
        "named secret",
        re.compile(rf"(?i)((?<![A-Za-z]){_NAMES}\\?[\"']?\s*:\s*\\?[\"']){_KEEP}[^\"'\\\r\n]{{3,}}"),
        rf"\1{MASK}",
    ),
    (
        "named secret",
            re.compile(
rf"(?im)(^[ \t]{{0,40}}(?:- )?[a-z0-9_-]{{0,30}}?{_NAMES}[ \t]{{0,8}}:[ \t]{{1,8}}){_KEEP}"
            r"[^\s\"'|>,{\[][^\s,]{3,500}[ \t]*$"),
        rf"\1{MASK}",
    ),
    (
        "option",
        re.compile(rf"(?i)((?<![\w-])--?{_NAMES}(?:\s{{1,4}}|=))(?!-){_KEEP}[^\s\"']{{3,500}}"),
        rf"\1{MASK}",
    ),
    ("authorization code", re.compile(r"([?&](?:code|client_secret|access_token)=)(?!•)[^&\s\"'<>]{6,}"), rf"\1{MASK}"),
    ("password in an address", _IN_ADDRESS, rf"\1{MASK}@"),
    ("Google token", re.compile(r"\bya29\.[\w-]{10,}|(?<![\w/])1//[\w-]{20,}|\bGOCSPX-[\w-]{10,}"), MASK),
    ("provider key", PROVIDER_KEYS, MASK),
    ("Entra secret", re.compile(r"(?<![\w~.-])[\w~.-]{3}\dQ~[\w~.-]{31,37}(?![\w~])"), MASK),
    ("Entra refresh token", re.compile(r"(?<![\w.])(?:[01]\.A[\w-]{30,}(?:\.[\w-]+)*|M\.C\d{3}_[\w.!*$-]{20,})"), MASK),
)  # fmt: skip


def redact(text: str) -> str:
    """The text with every registered value and every credential pattern replaced by ``•••``."""
    return _registered_out(_patterns_out(_disguised_out(_base64_out(text))))


_CUT = re.compile(r"(?:\.{3}|\N{HORIZONTAL ELLIPSIS}|\[\.{3}\]|\Z)")


def _disguised_out(text: str) -> str:
    """The text without registered values in other spellings, and without the beginning of one that is cut off."""
    with _lock:
        entries = [(value, cores) for value, (_, cores) in _registered.items() if len(value) >= 8]
    entries.sort(key=lambda entry: -len(entry[0]))  # one value may begin another
    if not entries:
        return text
    for value, _ in entries:
        least = value[: max(6, len(value) // 2)]
        at = text.find(least)
        while at >= 0:
            stop = at + len(least)
            while stop < len(text) and stop - at < len(value) and text[stop] == value[stop - at]:
                stop += 1
            if _CUT.match(text, stop):
                text = text[:at] + MASK + text[stop:]
            at = text.find(least, at + 1)
    data = text.encode("utf-8", "surrogatepass")
    found: list[tuple[int, int]] = []
    for chain in views(data):
        seen = chain[-1].data
        for value, cores in entries:
            wanted = {unicodedata.normalize(form, value).encode("utf-8", "replace") for form in ("NFC", "NFD")}
            for needle in (*wanted, *(core.encode() for core in cores)):
                at = seen.find(needle)
                while at >= 0:
                    found.append(span(chain, at, at + len(needle)))
                    at = seen.find(needle, at + len(needle))
    if found:
        out, end = [], 0
        for start, stop in sorted(found):
            if start >= end:
                out += [data[end:start], MASK.encode()]
            end = max(end, stop)
        text = b"".join((*out, data[end:])).decode("utf-8", "surrogatepass")
    return text


def _patterns_out(text: str) -> str:
    for _name, pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def _registered_out(text: str) -> str:
    with _lock:
        entries = [_registered[value] for value in sorted(_registered, key=len, reverse=True)]
    for forms, _ in entries:
        for form in forms:
            if form not in text:
                continue
            if len(form) < 8:  # a short password must not eat parts of other words
                text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(form)}(?![A-Za-z0-9])", MASK, text)
            else:
                text = text.replace(form, MASK)
    return _base64_out(text)


def _base64_out(text: str) -> str:
    """The whole base64 word goes, for its edges hold the value's first and last letters."""
    with _lock:
        cores = [core for _, found in _registered.values() for core in found]
    for core in cores:
        if core in text:
            text = re.sub(rf"[A-Za-z0-9+/_-]*{re.escape(core)}[A-Za-z0-9+/_-]*={{0,2}}", MASK, text)
    return text


def redact_value(value: Any) -> Any:
    """A JSON-ready value with all its texts redacted; a value under a key that names a secret goes as a whole."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, dict):
        return {redact(str(key)): _under(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact_value(item) for item in value]
    return value


_SECRET_KEY = re.compile(rf"(?i)(?:^|_){_NAMES}$")
_REFERENCE = re.compile(r"(?:env|file|keyring|vault):\S+")


def _under(key: str, value: Any) -> Any:
    if isinstance(value, str) and value and _SECRET_KEY.search(key) and not _REFERENCE.fullmatch(value):
        return MASK
    return redact_value(value)


def find_leaks(text: str) -> list[str]:
    """What :func:`redact` would take out, named by kind (never the value): empty when the text is clean."""
    found = []
    if _registered_out(text) != text:
        found.append("registered secret")
    for name, pattern, replacement in _PATTERNS:
        if name not in found and pattern.sub(replacement, text) != text:
            found.append(name)
    return found


# --- logging ----------------------------------------------------------------------------------------------------------


class RedactingFilter(logging.Filter):
    """A logging filter that redacts message, arguments and traceback, and takes out what would steer a terminal; add it
    to a handler."""

    def filter(self, record: logging.LogRecord) -> bool:
        _redact_record(record)
        return True


def _redact_record(record: logging.LogRecord) -> None:
    try:
        message = record.getMessage()
    except (TypeError, ValueError):  # wrong arguments: logging itself reports that, without our help
        return
    clean = _line(message)
    if clean != message:
        record.msg, record.args = clean, ()
    if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
        record.exc_text = harmless(redact(logging.Formatter().formatException(record.exc_info)))


def _line(message: str) -> str:
    """A message without secrets and without what steers a terminal; a line break in it starts no record of its own."""
    return harmless(redact(message)).replace("\n", "\n\t")


def install_log_redaction() -> None:
    """Redact every log record of this process as it is made, whatever library makes it and whatever handlers come
    later, and every warning. Foreign bytes in a record do nothing to a terminal. Safe to call twice."""
    present: Callable[..., logging.LogRecord] = logging.getLogRecordFactory()
    if getattr(present, "redacts", False):
        return

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = present(*args, **kwargs)
        _redact_record(record)
        return record

    _format = warnings.formatwarning
    warnings.formatwarning = lambda *args, **kwargs: harmless(redact(_format(*args, **kwargs)))
    factory.redacts = True  # type: ignore[attr-defined]  # a mark on a function object
    logging.setLogRecordFactory(factory)
