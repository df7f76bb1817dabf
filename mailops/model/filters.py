"""FROM filters: which senders a server may carry.

A filter is a comma-separated list of domains and full addresses, mixed. A domain fits that domain alone, never its
subdomains; comparison ignores case; display names never matter. Blanks and lone commas count as no filter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from ..errors import ConfigError
from .address import is_valid, normalise, parse_single

_DOMAIN = re.compile(r"(?=.{1,253}\Z)[^\W_](?:[\w-]*[^\W_])?(?:\.[^\W_](?:[\w-]*[^\W_])?)+\Z")


def is_domain(name: str) -> bool:
    """Whether this is a complete domain such as ``acme.com``."""
    return bool(_DOMAIN.match(name))


@dataclass(frozen=True, slots=True)
class FromFilter:
    """A filter taken apart: full addresses and domains, normalised, in the order written."""

    addresses: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.addresses or self.domains)

    def holds_address(self, address: str) -> bool:
        """Whether the normalised address stands in the filter itself."""
        return address in self.addresses

    def holds_domain(self, address: str) -> bool:
        """Whether the domain of the normalised address stands in the filter."""
        return address.rpartition("@")[2] in self.domains

    def allows(self, address: str) -> bool:
        """Whether this address may be sent as; an empty filter allows all."""
        return self.is_empty or self.holds_address(address) or self.holds_domain(address)


@lru_cache(maxsize=4096)
def read_filter(text: str | None) -> FromFilter:
    """Take a filter apart, leniently: parts that are neither domain nor address stay and fit nobody."""
    parts = [part.strip() for part in (text or "").split(",")]
    addresses = tuple(_address(part) for part in parts if "@" in part)
    domains = tuple(part.lower() for part in parts if part and "@" not in part)
    return FromFilter(addresses, domains)


def _address(part: str) -> str:
    """The normalised address of a part; one written with a display name counts by its address."""
    found = parse_single(part)
    return normalise(found.spec if found else part)


def parse_filter(text: str | None) -> FromFilter:
    """Take a filter apart, strictly. Raises :class:`ConfigError` ``server.from_filter`` with the right form."""
    for part in (p.strip() for p in (text or "").split(",")):
        if not part:
            continue
        good = (
            is_valid(part) and bool(_DOMAIN.match(part.rpartition("@")[2]))
            if "@" in part
            else bool(_DOMAIN.match(part))
        )
        if not good:
            raise ConfigError(
                f"The FROM filter part {part!r} is neither a domain nor an address.",
                code="server.from_filter",
                facts={"part": part, "filter": text},
                fix=_suggest(part),
            )
    return read_filter(text)


def _suggest(part: str) -> str:
    if part.startswith("@"):
        return f"Write the domain without the @: {part[1:]}"
    if " " in part:
        return "Separate several values by commas: example.com, ann@example.org"
    return f"Write a complete domain such as {part}.com, or an address such as ann@example.com."
