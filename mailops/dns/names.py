"""Domain names as this package holds them: lower-case text, no final dot, A-labels, bytes above 127 as Latin-1.

Turning text into a name is the first place where pasted input goes wrong, so it happens once, here.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ..errors import InputRefused

MAX_LABEL = 63
MAX_NAME = 253
_LABELS = re.compile(rf"[^.]{{1,{MAX_LABEL}}}(?:\.[^.]{{1,{MAX_LABEL}}}){{0,126}}")


@lru_cache(maxsize=8192)
def normalise(text: str) -> str:
    """The name in lower case, without final dot, U-labels converted (RFC 5891 with the UTS 46 mapping).

    Raises :class:`mailops.errors.InputRefused` when a label cannot be converted. Says nothing about whether the name
    can be asked for: see :func:`askable`.
    """
    text = text.strip()
    name = text[:-1] if text.endswith(".") else text
    name = name.lower()
    if name.isascii():
        return name
    import idna

    try:
        return idna.encode(name, uts46=True, transitional=False).decode("ascii")
    except (idna.IDNAError, UnicodeError) as problem:
        raise InputRefused(
            f"{text!r} is no domain name: {problem}",
            code="input.domain",
            facts={"domain": text},
            fix="Type the domain as it stands after the @ sign, or in its xn-- form.",
        ) from problem


def askable(name: str) -> bool:
    """Whether DNS can carry a question for this name: labels of 1 to 63 octets, 253 in all (RFC 1035 section 2.3.4)."""
    if len(name) > MAX_NAME or _LABELS.fullmatch(name) is None:
        return False
    return name.isascii() or max(map(ord, name)) < 256


def parent(name: str) -> str:
    """The name without its first label; empty for a top-level name."""
    return name.partition(".")[2]


def is_below(name: str, ancestor: str) -> bool:
    """True when ``name`` is ``ancestor`` or lies below it, at a label boundary."""
    return name == ancestor or (bool(ancestor) and name.endswith("." + ancestor))


def reverse_name(address: str) -> str:
    """The in-addr.arpa or ip6.arpa name of an IP address (RFC 1035 section 3.5, RFC 3596 section 2.5)."""
    import ipaddress

    return ipaddress.ip_address(address).reverse_pointer


def label_count(name: str) -> int:
    return name.count(".") + 1 if name else 0
