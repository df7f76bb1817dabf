"""DKIM key records: the rules of RFC 6376 section 3.6.1, RFC 8301 (no sha1, no key under 1024 bits) and RFC 8463.

Pure: text in, judgement out. The key length rule is ours on purpose; the cryptography library takes 512-bit keys.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

from .pasted import cleaned

MIN_BITS = 1024  # RFC 8301 section 3.2: shorter ones never verify
GOOD_BITS = 2048
MAX_BITS = 4096  # verifiers need not take longer ones

_ODD = re.compile(r"[^ -~\t\r\n]")
_TAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_FWS = str.maketrans("", "", " \t\r\n")


class KeyStatus(StrEnum):
    """What a verifier can do with the key."""

    VALID = "valid"
    REVOKED = "revoked"  # p= is empty: the key was withdrawn
    INVALID = "invalid"
    MISSING = "missing"
    TEMPERROR = "temperror"  # could not be found out


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """One key record judged. ``reason`` is a stable word for what is wrong; ``message`` says it in a sentence."""

    status: KeyStatus
    text: str = ""
    reason: str = ""
    message: str = ""
    key_type: str = "rsa"
    bits: int = 0
    testing: bool = False
    strict_identity: bool = False
    hashes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    key: bytes = b""


class _Wrong(Exception):
    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@lru_cache(maxsize=1_024)  # a provider's key is the same under many domains, and asked again by each proof
def parse_key(text: str) -> KeyRecord:
    """Judge a key record (one character an octet, character-strings joined). Never raises.

    An invalid record keeps what can be read of it: type, length, flags, hashes.
    """
    warnings: list[str] = []
    try:
        tags = _tags(text, warnings)
        return _judge(text, tags, warnings)
    except _Wrong as problem:
        hint = (
            _hint(text)
            if problem.reason in ("not_dkim", "bad_syntax", "missing_p", "bad_base64", "bad_version")
            else ""
        )
        message = f"{problem}{f' ({hint})' if hint else ''}"
        return _with_facts(KeyRecord(KeyStatus.INVALID, text, problem.reason, message, warnings=tuple(warnings)))


def mended_key(text: str) -> str:
    """The key record as it was meant (pasted quotation marks, backslashes, PEM lines, lost semicolons, upper-case tags
    taken out), when that is a valid one; else an empty text."""
    value = cleaned(text).text
    value = re.sub(r"-+(?:BEGIN|END)[A-Z ]*KEY-+", "", value)
    value = re.sub(r"(?i)^\s*v\s*[=:]?\s*DKIM1\s*[;,]?\s*", "v=DKIM1; ", value)
    value = re.sub(r"(?i)(?<!;)\s+(?=[khnpst]\s*=)", "; ", value.strip())
    tags: dict[str, str] = {}
    for part in value.split(";"):
        name, equals, content = part.partition("=")
        if equals:
            name = name.strip().lower()
            tags.setdefault(name, content.translate(_FWS) if name in ("p", "k", "t", "h", "s") else content.strip())
    if re.fullmatch(r"[A-Za-z0-9+/=\s]{80,}", value):  # the bare key, its tag lost
        tags = {"p": value.translate(_FWS)}
    tags = {"v": "DKIM1", **{name: content for name, content in tags.items() if name != "v"}}
    tags = {name: content.lower() if name == "k" else content for name, content in tags.items()}
    made = "; ".join(f"{name}={content}" for name, content in tags.items())
    if parse_key(text).status is KeyStatus.VALID:
        return text
    return made if parse_key(made).status is KeyStatus.VALID else ""


def _hint(text: str) -> str:
    """What was likely done to the record, in the words of whoever did it."""
    if "-----BEGIN" in text or "-----END" in text:
        return (
            "the lines around the key (-----BEGIN PUBLIC KEY-----) were pasted; only the text between them belongs here"
        )
    causes = cleaned(text).causes
    if causes:
        return "; ".join(causes)
    if re.search(r"(?:^|;)\s*[VKPTHS]\s*=", text):
        return "tag names are written in lower case (RFC 6376 section 3.2)"
    return ""


def _with_facts(record: KeyRecord) -> KeyRecord:
    """An invalid record with what its tags tell all the same."""
    tags: dict[str, str] = {}
    for part in record.text.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            tags.setdefault(name.strip(), value.strip())
    flags, key_type = _list(tags.get("t", "")), tags.get("k", "rsa").lower()
    hashes = tuple(name for name in _list(tags.get("h", "")) if name in ("sha1", "sha256"))
    bits = 0
    try:
        key = _decode(tags.get("p", "").translate(_FWS))
        bits = _rsa_bits(key) if key_type == "rsa" else _ed25519_bits(key) if key_type == "ed25519" else 0
    except _Wrong:
        pass
    return replace(record, key_type=key_type, bits=bits, testing="y" in flags, strict_identity="s" in flags,
                   hashes=hashes)  # fmt: skip


def _tags(text: str, warnings: list[str]) -> dict[str, str]:
    """The tag list of RFC 6376 section 3.2: ``name = value`` between semicolons, the last one may stand."""
    parts = text.split(";")
    if len(parts) > 1 and not parts[-1].strip():
        parts.pop()
    tags: dict[str, str] = {}
    for number, part in enumerate(parts):
        name, equals, value = part.partition("=")
        name, value = name.strip(" \t\r\n"), value.strip(" \t\r\n")
        if not equals or not _TAG_NAME.fullmatch(name):
            if number == 0 and "p=" not in text.replace(" ", ""):
                raise _Wrong("not_dkim", f"{text[:60]!r} is no DKIM key record")
            raise _Wrong("bad_syntax", f"{part.strip()[:60]!r} is no tag with a value")
        odd = _ODD.search(value)
        if odd is not None:
            raise _Wrong("bad_syntax", f"a character outside printable ASCII ({odd[0]!r}) in {name}=")
        if name in tags:
            raise _Wrong("duplicate_tag", f"the tag {name}= stands twice")
        if name == "v" and number:
            warnings.append("version_not_first")
        tags[name] = value
    return tags


def _judge(text: str, tags: dict[str, str], warnings: list[str]) -> KeyRecord:
    version = tags.get("v")
    if version is not None and version != "DKIM1":
        raise _Wrong("bad_version", f"v={version} is not DKIM1")
    if "p" not in tags:
        raise _Wrong("missing_p", "the key itself (p=) is missing")
    flags = _list(tags.get("t", ""))
    testing, strict = "y" in flags, "s" in flags
    key_type = tags.get("k", "rsa").lower()
    hashes = tuple(name for name in _list(tags.get("h", "")) if name in ("sha1", "sha256"))
    encoded = tags["p"].translate(_FWS)
    if testing:
        warnings.append("testing")
    if "g" in tags:
        warnings.append("obsolete_g")
    if not encoded:
        message = "the key was withdrawn (p= is empty): signatures with this selector fail"
        return KeyRecord(
            KeyStatus.REVOKED, text, "", message, key_type, 0, testing, strict, hashes, tuple(warnings)
        )  # fmt: skip
    if key_type not in ("rsa", "ed25519"):
        raise _Wrong("unsupported_key_type", f"k={key_type}: verifiers know rsa and ed25519")
    services = _list(tags.get("s", "*"))
    if not {"*", "email"} & set(services):
        raise _Wrong("wrong_service", f"s={tags['s']}: the key is not for e-mail")
    if "h" in tags and "sha256" not in hashes:
        raise _Wrong("no_usable_hash", f"h={tags['h']}: sha256 is the only hash verifiers accept (RFC 8301)")
    key = _decode(encoded)
    bits = _rsa_bits(key) if key_type == "rsa" else _ed25519_bits(key)
    if key_type == "rsa":
        if bits < MIN_BITS:
            raise _Wrong("key_too_short", f"{bits} bits: verifiers refuse keys under {MIN_BITS} (RFC 8301)")
        if bits < GOOD_BITS:
            warnings.append("weak_key")
        if bits > MAX_BITS:
            warnings.append("long_key")
    return KeyRecord(
        KeyStatus.VALID, text, "", f"{key_type}, {bits} bits", key_type, bits, testing, strict, hashes,
        tuple(warnings), key,
    )  # fmt: skip


def _list(value: str) -> tuple[str, ...]:
    return tuple(part.strip().lower() for part in value.split(":") if part.strip())


def _decode(encoded: str) -> bytes:
    if not _BASE64.fullmatch(encoded):
        raise _Wrong("bad_base64", "p= holds characters that are no base64")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise _Wrong("bad_base64", "p= is cut off: its length is no whole base64") from None


def _rsa_bits(der: bytes) -> int:
    """The length of an RSA key, as SubjectPublicKeyInfo or bare RSAPublicKey (RFC 6376 erratum 3017)."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise _Wrong("bad_key", "p= is no RSA key; it was probably cut off or is of another kind") from None
    if not isinstance(key, RSAPublicKey):
        raise _Wrong("bad_key", "p= is a key, but no RSA key; k= is missing or wrong")
    return key.key_size


def _ed25519_bits(key: bytes) -> int:
    """RFC 8463 section 4.2: the bare 32 octets, no wrapping."""
    if len(key) != 32:
        hint = " (remove the SubjectPublicKeyInfo wrapping)" if len(key) == 44 else ""
        raise _Wrong("bad_key", f"an ed25519 key is 32 octets, this has {len(key)}{hint}")
    return 256
