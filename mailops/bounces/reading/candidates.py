"""Whom a report means when it does not say so on a line of its own: all addresses in it, minus those that cannot be.

Labels and sentences of mail systems are endless, the addresses of a report are few. Of a message that is certainly a
report, those that are ours (where it was sent to, the original's author and return path), the writer's own and those
to turn to for help are taken away; if one is left, or just one to which the original was written, it is the recipient.
That is a conclusion and not a statement, so nobody is suppressed on its account alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .report import OriginalMessage
from .systems import table
from .text import Found

MAX_TEXT = 20_000
SHORT = 400
"""Characters of a text in which every sentence is about the failure."""
_ADDRESS = re.compile(
    r"\"[^\"@\n]{1,64}\"@[\w][\w.\-]{1,200}\w|[^\s<>()\[\]:;,\"'`|=*«»“”„‚‘’：，；（）]{1,100}@\+?[\w][\w.\-]{1,200}\w"
)
HELPERS = re.compile(
    r"(?:postmaster|mailer[-_.]?daemon|abuse|hostmaster|webmaster|support|help(?:desk)?|admin(?:istrator)?|contact|"
    r"info-?desk|service-?desk|no-?reply|do-?not-?reply|unblock|delist\w*|feedback|security|noc|it-?support|"
    r".{1,64}-(?:owner|bounces|request))$",
    re.I,
)
_INSTEAD = re.compile(
    r"(?:\b(?:new|current|correct|updated) (?:e-?mail )?address(?: is)?|\b(?:use|write to)(?: instead)?|"
    r"\b(?:instead|neue (?:e-?mail-?)?adresse(?: lautet| ist)?|k.nftig|ab sofort|stattdessen|bitte an|verwenden sie|"
    r"nouvelle adresse(?: est)?|utilise[rz]|désormais|nueva dirección(?: es)?|utilice|novo endereço|utilize|"
    r"nuovo indirizzo|utilizz\w+|nieuwe? (?:e-?mail)?adres|gebruik|ny[ea]? adress?e?|nowy adres|новый адрес))"
    r"\b[^@.!?]{0,40}$",
    re.I,
)
"""What stands before the address to use from now on."""
_TURN_TO = re.compile(
    r"(?:contact|ask|write to|mail to|e-?mail|turn to|address us at|forward(?:ed)? (?:this|it)[^@]{0,40}to|sent by|"
    r"from|sender|reply to|on behalf of|return-path|reporter|signed)\W{0,4}$",
    re.I,
)


def addresses(text: str) -> list[tuple[str, int]]:
    """Every address in a text, once, with the place where it first stands."""
    seen: dict[str, tuple[str, int]] = {}
    for found in _ADDRESS.finditer(text[:MAX_TEXT]):
        word = found.group(0).strip(".'`").removeprefix("mailto:").removeprefix("smtp:")
        if "@" in word[1:] and "." in word.rpartition("@")[2]:
            seen.setdefault(word.lower(), (word, found.start()))
    return list(seen.values())


def is_offered(report: str, place: int) -> bool:
    """Whether an address stands there to turn to, or to use from now on."""
    before = report[max(0, place - 80) : place]
    return bool(_TURN_TO.search(before[-60:]) or _INSTEAD.search(" ".join(before.split()) + " "))


def remaining(report: str, ours: Iterable[str], original: OriginalMessage) -> Found | None:
    """The one candidate that is left, with the lines that speak of it; None when none or more are."""
    mine = {one.lower() for one in ours if one}
    written = {one.lower() for one in original.to}
    left = [
        (address, place)
        for address, place in addresses(report)
        if address.lower() not in mine
        and (address.lower() in written or not HELPERS.match(address.rpartition("@")[0]))
        and (address.lower() in written or not is_offered(report, place))
    ]
    if len(left) > 1:
        left = [(address, place) for address, place in left if address.lower() in written]
    if len(left) != 1:
        return None
    address, place = left[0]
    return Found(address, lines=paragraph(report, place), by="elimination")


def around(report: str, address: str) -> list[str]:
    """What a text says near an address that stands in a sentence: that paragraph and the short one behind it, without
    what a mail system says to everybody. Where the address does not stand, a short text as a whole."""
    place = report.lower().find(address.lower()) if address else -1
    if place < 0:
        lines = [line.strip() for line in report.split("\n") if line.strip()] if len(report) <= SHORT else []
    else:
        lines = paragraph(report, place)
        end = report.find("\n\n", place)
        after = paragraph(report, end + 2) if end >= 0 else []
        lines += after if sum(map(len, after)) <= SHORT - sum(map(len, lines)) else []
    said = [words for _, words in table()["greeting"]]
    return [line for line in lines if not any(words in line.lower() for words in said)]


def paragraph(report: str, place: int) -> list[str]:
    """The lines around a place, up to the empty lines before and after."""
    start = report.rfind("\n\n", 0, place) + 1
    end = report.find("\n\n", place)
    lines = report[start : end if end >= 0 else len(report)].strip().split("\n")
    return [line.strip()[:1000] for line in lines[:10] if line.strip()]
