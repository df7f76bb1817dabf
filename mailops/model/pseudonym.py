"""The name of somebody who was forgotten: the same for the same address, at the same domain, and no way back.

It is a keyed hash (HMAC-SHA256, RFC 2104; 80 bits), so that without the key nobody can try addresses on it. Whoever has
the key can still ask "is this address that one?": that is how a suppression holds on for an address that nobody keeps.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from .address import normalise

KEY_PARAMETER = "mailops.people.key"
_FORM = re.compile(r"forgotten-[0-9a-f]{20}@")


def pseudonym(key: bytes, address: str) -> str:
    """
    >>> pseudonym(b"k", "Ann@x.test") == pseudonym(b"k", "ann@X.test")
    True
    >>> pseudonym(b"k", "ann@x.test").endswith("@x.test")
    True
    """
    spec = normalise(address)
    digest = hmac.new(key, spec.encode(), hashlib.sha256).hexdigest()[:20]
    return f"forgotten-{digest}@{spec.rpartition('@')[2]}"


def is_pseudonym(address: str) -> bool:
    """Whether this stands for somebody who was forgotten."""
    return _FORM.match(address) is not None
