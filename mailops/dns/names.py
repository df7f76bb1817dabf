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


_INVISIBLE = re.compile(r"[\u200b\u200c\u2060\ufeff]")  # what pasting leaves and nobody sees
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)+(?![0-9]+$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


def mail_domain(text: str) -> str | None:
    """The mail domain that somebody means who types or pastes this, as DNS has it: a domain with or without its final
    dot, in U- or A-labels; the host of a URL (without a leading ``www``); what follows the @ of one address, ``Ann
    <ann@example.com>`` too. None where it is none of them: two addresses, a path, an IP address, free text."""
    plain = _INVISIBLE.sub("", text).strip()
    named = re.fullmatch(r"[^<>]*<([^<>]+)>", plain)
    plain = named[1].strip() if named is not None else plain
    url = re.fullmatch(r"(https?|mailto):(?://)?(?:[^/?#@]*@)?(\[[^]]*\]|[^/:?#]+)(?::\d+)?(?:[/?#].*)?", plain, re.I)
    if url is not None:
        host = url[2].removeprefix("www.") if url[1].lower() != "mailto" else url[2]
    elif plain.count("@") == 1 and re.fullmatch(r"[^\s@/:?]*@[^\s@]+", plain):
        host = plain.partition("@")[2]
    else:
        host = plain
    try:
        name = normalise(host)
    except InputRefused:
        return None
    return name if _HOST.fullmatch(name) and askable(name) else None


def spoken(name: str) -> str:
    """A name as people write it, with the form that DNS has beside it: ``bücher.example (xn--bcher-kva.example)``."""
    if "xn--" not in name:
        return name
    import idna

    try:
        shown = idna.decode(name)
    except (idna.IDNAError, UnicodeError):
        return name
    return f"{shown} ({name})" if shown != name else name


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
