"""Whose name stands in a refusal: the recipient's, or one of ours. Pure.

"550 shop.example: domain not found" is a verdict about a recipient's domain, or about the sender's: the words are
the same, the name beside them is not. So before a reason about an address or a domain is believed, the name that
stands nearest to the words is looked at: an address or domain of the sender makes it ``rejected``, a host or IP
address of ours ``blocked``. Names of blocklists are words too, in a link as well: who is told to look there is blocked,
whatever the code says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

NEAR = 48
"""Characters between a name and the words about it."""
ABOUT_NAMES = frozenset({"userunknown", "hostunknown", "notaccept", "suspend", "hasmoved"})
"""Reasons that are said of a name, which may be ours."""
_IN_PASSING = re.compile(r"(?:from|by|for sender|sent by|client|connected to|in reply to|via)[\s:=<(\[\"']{0,4}$")
_LISTS = re.compile(
    r"\b(?:spamhaus|spamcop|barracudacentral|uceprotect|sorbs|abusix|mailspike|invaluement|psbl|surriel|nixspam|"
    r"manitu|backscatterer|dronebl|spamrats|truncate\.gbudb|surbl|uribl|dnsbl\.[\w-]+|[\w-]+\.dnsbl|rbl\.[\w-]+|"
    r"blocklist\.de|hostkarma|fabel\.dk|0spam|s5h|spfbl)\.(?:org|net|com|zone|de|dk|fr|nl|it|jp|ru|info|name|io)\b"
)


@dataclass(frozen=True, slots=True)
class Entities:
    """Names in lower case: the recipients' and ours. A domain that is on both sides is the recipients'."""

    recipients: frozenset[str] = frozenset()
    senders: frozenset[str] = frozenset()
    sender_domains: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    ips: frozenset[str] = frozenset()


def entities(
    recipients: Iterable[str], senders: Iterable[str], domains: Iterable[str], hosts: Iterable[str], ips: Iterable[str]
) -> Entities:
    """The names of a report, each on one side only."""
    theirs = {one.lower() for one in recipients if one}
    their_domains = {one.rpartition("@")[2] for one in theirs}
    mine = {one.lower() for one in senders if "@" in one} - theirs
    my_domains = {one.rpartition("@")[2] for one in mine} | {one.lower() for one in domains}
    return Entities(
        frozenset(theirs | their_domains),
        frozenset(mine),
        frozenset(one for one in my_domains - their_domains if "." in one),
        frozenset(one.lower() for one in hosts) - their_domains,
        frozenset(ips),
    )


def blocklist(text: str) -> str:
    """The name of a known blocklist in a text, links included, or "".

    >>> blocklist("550 5.1.3 see https://www.spamhaus.org/query/ip/192.0.2.7")
    'spamhaus.org'
    """
    found = _LISTS.search(text[:4_000].lower())
    return found.group(0) if found else ""


def about_us(text: str, words: str, reason: str, names: Entities) -> tuple[str, str] | None:
    """(reason, name) when a verdict about a name is one about ours; None when it stands.

    ``words`` are those that decided, ``text`` is where they stood.

    >>> us = entities(["ann@x.example"], ["bounce@shop.example"], [], [], [])
    >>> about_us("550 shop.example: domain not found", "domain not found", "hostunknown", us)
    ('rejected', 'shop.example')
    """
    if reason not in ABOUT_NAMES or not (names.senders or names.sender_domains or names.hosts or names.ips):
        return None
    low = " ".join(text[:4_000].lower().split())
    spans = _spans(low, words.lower())
    best: tuple[int, str, str] | None = None
    sides = (
        ("", names.recipients),
        ("rejected", names.senders),
        ("rejected", names.sender_domains),
        ("blocked", names.hosts),
        ("blocked", names.ips),
    )
    for side, some in sides:
        for name in some:
            for begin in _places(low, name):
                if side and _IN_PASSING.search(low[max(0, begin - 24) : begin]):
                    continue
                far = min(max(start - begin - len(name), begin - end, 0) for start, end in spans)
                if best is None or far < best[0]:
                    best = (far, side, name)
    if best is None or not best[1] or best[0] > NEAR:
        return None
    return best[1], best[2]


def _places(low: str, name: str) -> list[int]:
    """Where a name stands as a whole, and not as a part of a longer one."""
    found: list[int] = []
    place = low.find(name)
    while place >= 0 and len(found) < 20:
        before, after = low[place - 1 : place], low[place + len(name) : place + len(name) + 2]
        longer = after[:1].isalnum() or (after[:1] and after[:1] in "-_") or (after[:1] == "." and after[1:].isalnum())
        if not longer and not (before.isalnum() or (before and before in "_.@-")):
            found.append(place)
        place = low.find(name, place + 1)
    return found


def _spans(low: str, words: str) -> list[tuple[int, int]]:
    """Where the words stand, else where any long word of theirs does, else the whole text."""
    pieces = [piece.strip(" ^@<>:") for piece in words.split("*")]
    spans = [(found.start(), found.end()) for piece in pieces if piece for found in re.finditer(re.escape(piece), low)]
    if not spans:
        long = [word for word in words.split() if len(word) > 4]
        spans = [(found.start(), found.end()) for word in long[-3:] for found in re.finditer(re.escape(word), low)]
    return spans or [(0, len(low))]
