"""DMARC policy records as text: RFC 9989 section 4.7/4.8, and what RFC 7489 section 6.3 reads differently.

Parsing never raises. A record that does not begin with the version is not a DMARC record at all; everything else is
kept with the mistakes found, because receivers go on with defaults where they can, and an admin needs to see both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

POLICIES = ("none", "quarantine", "reject")
KNOWN_TAGS = ("v", "p", "sp", "np", "adkim", "aspf", "fo", "rua", "ruf", "psd", "t")
REMOVED_TAGS = ("pct", "rf", "ri")  # RFC 7489 had them, RFC 9989 ignores them

_VERSION = re.compile(r"v[ \t]*=[ \t]*(?P<value>[^;]*?)[ \t]*(?:;|$)", re.IGNORECASE)
_QUOTES = "\u201c\u201d\u201e\u201f\u2018\u2019\u00ab\u00bb"
_URI = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*):(?P<rest>[^\s!]+)(?:!(?P<size>[0-9]+[kmgtKMGT]?))?")


class Policy(StrEnum):
    """What the owner asks receivers to do with mail that fails."""

    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"

    @property
    def one_lower(self) -> Policy:
        """The policy while testing (``t=y``)."""
        return {"reject": Policy.QUARANTINE, "quarantine": Policy.NONE, "none": Policy.NONE}[self]


@dataclass(frozen=True, slots=True)
class ReportUri:
    """One address of rua or ruf. ``host`` is where reports go; ``size`` the obsolete limit of RFC 7489."""

    text: str
    scheme: str
    address: str
    host: str
    size: str = ""


@dataclass(frozen=True, slots=True)
class DmarcMistake:
    """One thing wrong or obsolete in a record; ``code`` is stable."""

    code: str
    tag: str
    message: str


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """A record. ``p``, ``sp``, ``np`` are None where the tag is absent; ``usable`` says whether receivers apply it."""

    text: str
    tags: dict[str, str]
    p: Policy | None
    sp: Policy | None
    np: Policy | None
    strict_dkim: bool
    strict_spf: bool
    psd: str  # y, n or u
    testing: bool
    rua: tuple[ReportUri, ...]
    ruf: tuple[ReportUri, ...]
    usable: bool
    mistakes: tuple[DmarcMistake, ...] = field(default=())

    def effective(self, *, own: bool, exists: bool, np_known: bool = True) -> tuple[Policy, str]:
        """The policy for a name and the tag it comes from. ``own`` = the record stands at the name itself."""
        top = self.p or Policy.NONE
        if own:
            return top, "p"
        if np_known and not exists and self.np is not None:
            return self.np, "np"
        return (self.sp, "sp") if self.sp is not None else (top, "p")


def is_dmarc(text: str) -> bool:
    """Whether a TXT record is a DMARC record: ``v`` first, its value exactly ``DMARC1``."""
    match = _VERSION.match(text)
    return match is not None and match["value"] == "DMARC1"


def select_dmarc(texts: Iterable[str]) -> tuple[str, ...]:
    """The DMARC records among TXT records; all others are discarded (RFC 9989 section 4.10)."""
    return tuple(text for text in texts if is_dmarc(text))


_DEFAULTS = {"pct": "100", "rf": "afrf", "ri": "86400"}


def harmless(record: DmarcRecord, tag: str) -> bool:
    """Whether a removed tag only says what held without it (RFC 7489 section 6.3)."""
    return record.tags.get(tag, "").lower() == _DEFAULTS.get(tag, "-")


@lru_cache(maxsize=1_024)  # read by check, tree walk, generations and each proof
def parse_dmarc(text: str) -> DmarcRecord:
    """Read a record. The version should have been looked at with :func:`is_dmarc`; a wrong one is a mistake here."""
    tags: dict[str, str] = {}
    mistakes: list[DmarcMistake] = []
    if not is_dmarc(text):
        mistakes.append(DmarcMistake("dmarc.version", "v", "the record does not begin with v=DMARC1;"))
    if decoded_quotes(text):
        mistakes.append(DmarcMistake("dmarc.curly_quotes", "", "curly quotation marks from a text document"))
    for number, part in enumerate(text.split(";")):
        name, equals, value = part.partition("=")
        name, value = name.strip().lower(), value.strip()
        if not part.strip():
            continue
        if not equals or not name:
            mistakes.append(DmarcMistake("dmarc.syntax", name, f"{part.strip()!r} is no tag"))
        elif name in tags:
            mistakes.append(
                DmarcMistake(
                    "dmarc.duplicate_tag",
                    name,
                    f"the tag {name} stands twice: the record is invalid (RFC 6376 section 3.2); receivers differ",
                )
            )
        else:
            tags[name] = value
            if name == "v" and number:
                mistakes.append(DmarcMistake("dmarc.version", "v", "v=DMARC1 has to be the first tag"))
            elif name in REMOVED_TAGS:
                mistakes.append(DmarcMistake("dmarc.removed_tag", name, f"{name} is ignored since RFC 9989"))
            elif name not in KNOWN_TAGS:
                mistakes.append(DmarcMistake("dmarc.unknown_tag", name, f"{name} is no DMARC tag and is ignored"))
    return _read(text, tags, mistakes)


def _read(text: str, tags: dict[str, str], mistakes: list[DmarcMistake]) -> DmarcRecord:
    bad_policy = False
    policies: dict[str, Policy | None] = {}
    for tag in ("p", "sp", "np"):
        value = tags.get(tag)
        policies[tag] = Policy(value.lower()) if value is not None and value.lower() in POLICIES else None
        if value is not None and policies[tag] is None:
            bad_policy = True
            known = ", ".join(POLICIES)
            mistakes.append(DmarcMistake("dmarc.bad_policy", tag, f"{tag}={value} is no policy; known: {known}"))
    if "p" not in tags:
        mistakes.append(DmarcMistake("dmarc.missing_p", "p", "the policy p is missing"))
    rua = _uris(tags, "rua", mistakes)
    ruf = _uris(tags, "ruf", mistakes)
    usable = is_dmarc(text)
    if bad_policy or policies["p"] is None:
        # RFC 9989 section 4.10.1, RFC 7489 section 6.6.3 step 6: monitoring where somebody listens, else nothing
        usable = usable and bool(rua)
        policies = {"p": Policy.NONE, "sp": None, "np": None}
    return DmarcRecord(
        text,
        tags,
        policies["p"],
        policies["sp"],
        policies["np"],
        _choice(tags, "adkim", ("r", "s"), mistakes) == "s",
        _choice(tags, "aspf", ("r", "s"), mistakes) == "s",
        _choice(tags, "psd", ("u", "y", "n"), mistakes),
        _choice(tags, "t", ("n", "y"), mistakes) == "y",
        rua,
        ruf,
        usable,
        tuple(mistakes),
    )


def _choice(tags: dict[str, str], tag: str, known: tuple[str, ...], mistakes: list[DmarcMistake]) -> str:
    """The tag's value, or the default (the first of ``known``) for an absent or bad one."""
    value = tags.get(tag, known[0]).lower()
    if value in known:
        return value
    mistakes.append(DmarcMistake("dmarc.bad_value", tag, f"{tag}={value} is none of {', '.join(known)}"))
    return known[0]


def _uris(tags: dict[str, str], tag: str, mistakes: list[DmarcMistake]) -> tuple[ReportUri, ...]:
    out: list[ReportUri] = []
    for part in tags.get(tag, "").split(","):
        text = part.strip()
        if not text:
            continue
        uri = parse_uri(text)
        if uri is None:
            hint = " (write mailto: before the address)" if "@" in text and ":" not in text else ""
            mistakes.append(DmarcMistake("dmarc.bad_uri", tag, f"{text!r} is no address for reports{hint}"))
            continue
        if uri.size:
            mistakes.append(DmarcMistake("dmarc.removed_size", tag, f"the limit !{uri.size} is gone since RFC 9990"))
        out.append(uri)
    return tuple(out)


def parse_uri(text: str) -> ReportUri | None:
    """One report address, or None when it is not one."""
    match = _URI.fullmatch(text.strip())
    if match is None:
        return None
    scheme, rest = match["scheme"].lower(), match["rest"]
    if scheme == "mailto":
        address = rest.partition("?")[0]
        local, at, host = address.rpartition("@")
        if not (at and local and host):
            return None
    else:
        host = re.sub(r"[:/?#].*", "", rest.removeprefix("//").rpartition("@")[2])
        address = rest
        if not host:
            return None
    return ReportUri(text, scheme, address, host.rstrip(".").lower(), match["size"] or "")


def decoded_quotes(text: str) -> str:
    """The record with curly quotation marks removed when it has any, else an empty string.

    Records come off the wire as octets shown in Latin-1, so UTF-8 quotation marks are looked for as well.
    """
    try:
        readable = text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        readable = text
    if not any(mark in readable for mark in _QUOTES) and not any(0x91 <= ord(char) <= 0x94 for char in readable):
        return ""
    cleaned = "".join(char for char in readable if char not in _QUOTES and not 0x91 <= ord(char) <= 0x94)
    return cleaned.strip()
