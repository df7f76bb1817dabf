"""What the reading side knows of itself: its domains, bounce addresses, hosts and IP addresses. Pure.

A reader that knows where a message was delivered need not guess: what is written to a bounce address of ours is a
report, whoever wrote it, and a domain that "does not exist" is another matter when it is our own. All fields may stay
empty; what the report itself tells of us (:mod:`~mailops.bounces.reading.entities`) is used besides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ...model import tag

_VERP = re.compile(r"([^\s=@]{1,64})=([A-Za-z0-9][A-Za-z0-9.-]{0,200}\.[A-Za-z0-9-]{2,63})\Z")
_TAGGED = re.compile(
    r"(?:[0-9a-z]{0,30}\d[0-9a-z]{0,30}[-+.])*([^\s=@]{1,64}=[A-Za-z0-9][A-Za-z0-9.-]{0,200}\.[A-Za-z0-9-]{2,63})\Z",
    re.I,
)
"""A number of the sending before the recipient, in what stands for a star."""
_NAMES = ("domains", "bounce_addresses", "hosts", "ips")


def _nobody(mail: str) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Ours:
    """Names that are ours; compared without regard to case.

    ``bounce_addresses`` are written without a tag: ``bounce@acme.example`` stands for ``bounce+anything@acme.example``
    too; where the tag is set off otherwise, a star stands for it (``bounce-*@acme.example``). ``keys`` are what signed
    tags (:mod:`mailops.model.tag`) are checked with. ``recipients_of`` gives the recipients of the mail that a tag
    names; it is asked for tags of bounce addresses only.
    """

    domains: frozenset[str] = frozenset()
    bounce_addresses: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    ips: frozenset[str] = frozenset()
    keys: tuple[bytes, ...] = ()
    recipients_of: Callable[[str], Sequence[str]] = field(default=_nobody, compare=False)

    @classmethod
    def of(cls, names: Mapping[str, Iterable[str]]) -> Ours:
        """From lists of names, such as a JSON object holds; keys that are none of the four are left out.

        >>> sorted(Ours.of({"domains": ["Acme.example"], "colour": ["red"]}).domains)
        ['acme.example']
        """
        four = [frozenset(str(one).lower() for one in names.get(name) or ()) for name in _NAMES]
        return cls(four[0], four[1], four[2], four[3])


@dataclass(frozen=True, slots=True)
class WrittenTo:
    """The bounce address of ours that a message was written to. ``mail_id`` is the number that a valid signed tag
    proves; ``recipients`` are those the tag names, by itself (``bounce+ann=x.example@``) or by the mail behind it."""

    address: str
    tag: str = ""
    mail_id: int | None = None
    recipients: tuple[str, ...] = ()


def _starred(ours: Ours, address: str) -> tuple[str, str] | None:
    """(the pattern, what stands for its star) of the bounce address with a star that an address fits."""
    low = address.lower()
    for pattern in ours.bounce_addresses:
        before, star, after = pattern.partition("*")
        if star and "@" in after and len(low) > len(pattern) - 1 and low.startswith(before) and low.endswith(after):
            tagged = address[len(before) : len(address) - len(after)]
            named = _TAGGED.match(tagged)
            return pattern, named[1] if named else tagged
    return None


def written_to(ours: Ours, addresses: Iterable[str]) -> WrittenTo | None:
    """Which of our bounce addresses stands among the addresses a message was delivered to, or None."""
    for one in addresses:
        local, _, domain = one.strip("<> ").rpartition("@")
        base, _, text = local.partition("+")
        address = f"{base}@{domain}".lower()
        if address not in ours.bounce_addresses:
            starred = _starred(ours, f"{local}@{domain}")
            if starred is None:
                continue
            address, text = starred
        proof = next((p for key in ours.keys if (p := tag.read(address, text, key)) is not None), None)
        named = _VERP.match(text)
        people = (f"{named[1]}@{named[2]}",) if named else tuple(ours.recipients_of(text) or ()) if text else ()
        return WrittenTo(address, text, proof.mail_id if proof else None, people)
    return None
