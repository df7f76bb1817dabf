"""Signed thread tokens: ``help+r7-31n-k3…@acme.example`` in Reply-To says which entry of which record is answered.

The header chain (RFC 5322 §3.6.4) is what an answer is known by; a relay that writes Message-IDs anew, or a program
that drops References, breaks it. What the answer is sent *to* comes back whole. Anybody can write a number, so the
token is signed: it is good for this address, record and entry alone, and says whether the entry is a note (``n``), so
that an answer to a note stays one. As in return paths it is HMAC-SHA256 (RFC 2104), cut to 80 bits, in base32.
It has no end: a thread may be answered years later.
"""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass
from hashlib import sha256

from .tag import LOCAL_LIMIT, MAC_BYTES

KEY_PARAMETER = "mailops.thread.token_key"
FORMER_PARAMETER = "mailops.thread.former_token_keys"
_SIGNED = re.compile(r"r(\d{1,18})-(\d{1,18})(n?)-([a-z2-7]{16})\Z")


@dataclass(frozen=True, slots=True)
class ThreadToken:
    """What a token says: the record and the entry that are answered, and whether that is a note."""

    record: int
    entry: int
    note: bool = False


def sign(address: str, token: ThreadToken, key: bytes) -> str:
    """The address with a signed token; the address itself where that would be too long (RFC 5321 §4.5.3.1.1).

    >>> sign("help@acme.example", ThreadToken(7, 31), b"key")
    'help+r7-31-4azvjtolob6ig7tz@acme.example'
    """
    local, _, domain = address.rpartition("@")
    said = f"r{token.record}-{token.entry}{'n' if token.note else ''}"
    tagged = f"{local}+{said}-{_mac(address, said, key)}"
    return f"{tagged}@{domain}" if len(tagged.encode()) <= LOCAL_LIMIT else address


def read(address: str, key: bytes) -> tuple[str, ThreadToken] | None:
    """The address without its token, and what the token says, if this key signed it."""
    local, _, domain = address.rpartition("@")
    plain, _, tag = local.partition("+")
    found = _SIGNED.match(tag.lower())
    if found is None:
        return None
    bare = f"{plain}@{domain}"
    said, _, mac = tag.lower().rpartition("-")
    if not hmac.compare_digest(mac, _mac(bare, said, key)):
        return None
    return bare, ThreadToken(int(found[1]), int(found[2]), bool(found[3]))


def _mac(address: str, said: str, key: bytes) -> str:
    digest = hmac.new(key, f"mailops thread\n{address.lower()}\n{said}".encode(), sha256).digest()
    return base64.b32encode(digest[:MAC_BYTES]).decode().lower()
