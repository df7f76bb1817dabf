"""Signing and verifying messages with DKIM. The canonical forms are dkimpy's, the rules about keys are ours.

A signature is made with ``cryptography``, in a tenth of the time that dkimpy takes, and checked with dkimpy.

Verification looks the keys up through the shared resolver first (all signatures at once), judges each key record, and
only then lets dkimpy check the signature against the key it is handed. So a key that no receiver accepts (revoked,
under 1024 bits, several records) never verifies here, and an unreadable one is *temperror*, not a failure.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

from ..clock import SystemClock
from ..errors import ConfigError, InputRefused
from .dkim import KeyLookup, lookup_key
from .dkim_key import KeyStatus
from .names import is_below
from .resolver import Asker

MAX_SIGNATURES = 10
SIGNED_HEADERS = (
    "from", "to", "cc", "subject", "date", "message-id", "reply-to", "in-reply-to", "references", "mime-version",
    "content-type", "content-transfer-encoding", "list-unsubscribe", "list-unsubscribe-post", "list-id",
)  # fmt: skip

_HEADER = re.compile(rb"(?im)^dkim-signature[ \t]*:((?:.*(?:\r?\n[ \t].*)*))")


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """One signature: ``result`` is ``pass``, ``fail``, ``permerror`` or ``temperror`` (RFC 8601 section 2.7.1)."""

    domain: str
    selector: str
    algorithm: str
    result: str
    reason: str
    key: KeyLookup | None = None
    identity: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready evidence."""
        return {
            "domain": self.domain,
            "selector": self.selector,
            "algorithm": self.algorithm,
            "identity": self.identity,
            "result": self.result,
            "reason": self.reason,
            "key": self.key.as_dict() if self.key else None,
        }


def signatures(message: bytes) -> tuple[dict[str, str], ...]:
    """The tags of each DKIM-Signature header field, in order, at most ten."""
    header = re.split(rb"\r?\n\r?\n", message, maxsplit=1)[0]
    out = []
    for match in _HEADER.finditer(header):
        tags = {}
        for part in match[1].decode("latin-1").split(";"):
            name, equals, value = part.partition("=")
            if equals:
                tags[name.strip()] = re.sub(r"\s+", "", value)
        out.append(tags)
        if len(out) == MAX_SIGNATURES:
            break
    return tuple(out)


async def verify_message(resolver: Asker, message: bytes) -> tuple[SignatureCheck, ...]:
    """Check every signature of a message (octets as they arrived). No signature = an empty tuple."""
    found = signatures(message)
    keys = await asyncio.gather(*(_key(resolver, tags) for tags in found))
    out = []
    for number, (tags, key) in enumerate(zip(found, keys, strict=True)):
        result, reason = _judge(message, number, tags, key)
        out.append(
            SignatureCheck(
                tags.get("d", "").lower(),
                tags.get("s", ""),
                tags.get("a", ""),
                result,
                reason,
                key,
                tags.get("i", "@" + tags.get("d", "")),
            )
        )
    return tuple(out)


async def _key(resolver: Asker, tags: dict[str, str]) -> KeyLookup | None:
    if not tags.get("s") or not tags.get("d"):
        return None
    try:
        return await lookup_key(resolver, tags["s"], tags["d"])
    except InputRefused:  # a selector or domain that is no name: the signature is at fault
        return None


def _judge(message: bytes, number: int, tags: dict[str, str], key: KeyLookup | None) -> tuple[str, str]:
    if key is None:
        return "permerror", "the signature names no usable selector and domain (s=, d=)"
    if tags.get("a") == "rsa-sha1":
        return "permerror", "rsa-sha1 is no longer accepted (RFC 8301)"
    if key.status is KeyStatus.TEMPERROR:
        return "temperror", key.record.message
    if key.status is not KeyStatus.VALID:
        return "permerror", key.record.message
    if not tags.get("a", "").startswith(key.record.key_type):
        return "permerror", f"the signature is {tags.get('a', '')!r}, the key is of the kind {key.record.key_type}"
    identity = tags.get("i", "@" + tags["d"]).rpartition("@")[2].lower().rstrip(".")
    signer = key.domain
    if key.record.strict_identity and identity != signer:
        return "permerror", f"the key demands i= to be exactly {signer} (t=s), the signature has {identity}"
    if not is_below(identity, signer):
        return "permerror", f"i= ({identity}) is not of the signing domain {signer}"
    import dkim

    record = key.record.text.encode("latin-1")
    try:
        checker = dkim.DKIM(message, minkey=1024, timeout=1)
        good = checker.verify(number, dnsfunc=lambda name, timeout=1: record)
    except (dkim.DKIMException, ValueError, IndexError) as problem:
        text = str(problem) or type(problem).__name__
        if "pynacl" in text.lower():
            return "temperror", "ed25519 signatures are checked where PyNaCl is installed: pip install pynacl"
        if "body hash mismatch" in text:
            return "fail", "the body was changed after signing"
        return "permerror", f"the signature cannot be checked: {text}"
    except ImportError as problem:
        return "temperror", f"this kind of signature needs another package: {problem}"
    if good:
        return "pass", f"signed by {signer}, selector {key.selector}; nothing signed was changed"
    return "fail", "the message or a signed header field was changed after signing, or another key signed it"


def sign_message(
    message: bytes, *, selector: str, domain: str, private_key: bytes, headers: Sequence[str] = SIGNED_HEADERS
) -> bytes:
    """The message with a DKIM-Signature in front (rsa-sha256, relaxed/relaxed). ``private_key`` is PEM.

    Header fields the message does not have are left out; From is signed once more than it occurs, so that none can be
    added on the way. Raises :class:`mailops.errors.ConfigError` when the key is not usable.
    """
    import dkim
    from dkim.canonicalization import Relaxed

    try:
        found, body = dkim.rfc822_parse(message)
        key = _signing_key(private_key)
    except (dkim.DKIMException, ValueError, TypeError) as problem:
        raise ConfigError(
            f"the DKIM key for {selector}._domainkey.{domain} cannot sign: {problem}",
            code="config.dkim_key",
            facts={"selector": selector, "domain": domain},
            fix="Give an RSA private key of at least 2048 bits in PEM form.",
        ) from problem
    canonical = dict(Relaxed.canonicalize_headers(found))  # of a repeated field the last counts (RFC 6376 §5.4.2)
    signed = [name.encode() for name in headers if name.encode() in canonical]
    digest = base64.b64encode(sha256(Relaxed.canonicalize_body(body)).digest())
    names = b":\r\n ".join([*signed, b"from"])
    at = int(SystemClock().now().timestamp())
    tags = f"v=1; a=rsa-sha256; c=relaxed/relaxed; d={domain}; s={selector};\r\n t={at}; h=".encode()
    value = b" " + tags + names + b";\r\n bh=" + digest + b";\r\n b="
    [(name, own)] = Relaxed.canonicalize_headers([(b"DKIM-Signature", value + b"\r\n")])
    text = b"".join(field + b":" + canonical[field] for field in signed) + name + b":" + own.rstrip(b"\r\n")
    proof = base64.b64encode(key(text))
    folded = b"\r\n ".join(proof[at : at + 72] for at in range(0, len(proof), 72))
    return b"DKIM-Signature:" + value + folded + b"\r\n" + message


@lru_cache(maxsize=64)
def _signing_key(private_key: bytes) -> Callable[[bytes], bytes]:
    """What signs octets with a private key in PEM: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017 §8.2)."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(private_key, None)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("it is no RSA key")
    return lambda text: key.sign(text, PKCS1v15(), SHA256())
