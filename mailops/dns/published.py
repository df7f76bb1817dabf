"""Is it published yet? Given records against what DNS says, at one resolver or every authoritative server, and watched.

Four answers: *present*, *absent*, *different*, *unknown*. A watch asks all authoritative servers directly, with growing
pauses; it says "published" only when every server that answers has the record in two looks running, and never takes
that back, so nobody sees it flip while servers catch up. How long old answers may live in caches is said with it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .answer import Answer
from .domain import name_servers
from .names import normalise
from .records import ZoneRecord, text_octets
from .resolver import Asker, Resolver
from .transport import Endpoint

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 300.0


class Presence(StrEnum):
    """How a wanted record stands."""

    PRESENT = "present"
    ABSENT = "absent"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Sighting:
    """One record at one server: how it stands, what is there instead, and how long an old answer may be cached."""

    record: ZoneRecord
    presence: Presence
    found: tuple[str, ...]
    server: str
    ttl: int
    reason: str


def compare(record: ZoneRecord, answer: Answer) -> Sighting:
    """Hold one answer against a wanted record. Final dots, case of names and the cutting of strings do not matter."""
    base = (record,)
    server, ttl = answer.server, answer.ttl
    if answer.unknown:
        return Sighting(*base, Presence.UNKNOWN, (), server, 0, f"{record.name} could not be read ({answer.status})")
    if not answer.found:
        return Sighting(*base, Presence.ABSENT, (), server, ttl, f"nothing of type {record.type} at {record.name}")
    if record.type == "TXT":
        wanted = text_octets(record.value)
        values = [b"".join(parts) for parts in answer.strings]
        found = tuple(value.decode("utf-8", "replace") for value in values)
        if wanted in values:
            return Sighting(*base, Presence.PRESENT, found, server, ttl, "as wanted")
        family = _family(wanted)
        rivals = [value for value in values if family and value.lower().startswith(family.lower())]
        if not rivals and _shared_name(record):
            return Sighting(
                *base, Presence.ABSENT, found, server, ttl, "other TXT records stand there, this one does not"
            )
        shown = (rivals or values)[0].decode("utf-8", "replace")
        return Sighting(*base, Presence.DIFFERENT, found, server, ttl, f"there is {shown!r} instead")
    found = tuple(line.rstrip(".").lower() for line in answer.lines)
    if record.rdata.rstrip(".").lower() in found:
        return Sighting(*base, Presence.PRESENT, found, server, ttl, "as wanted")
    return Sighting(*base, Presence.DIFFERENT, found, server, ttl, f"there is {', '.join(found)} instead")


def _family(value: bytes) -> bytes:
    """What marks the TXT records of one owner: ``v=spf1``, ``mj-verify=``; empty for a bare token."""
    name, equals, _ = value.partition(b"=")
    if name.strip().lower() == b"v":
        return re.split(rb"[ ;]", value, maxsplit=1)[0]
    return name + equals if equals else b""


def _shared_name(record: ZoneRecord) -> bool:
    """Names that carry TXT records of many owners: the domain itself, not an underscore name."""
    return not record.name.startswith("_") and "._" not in record.name


async def check_records(resolver: Asker, records: Sequence[ZoneRecord]) -> tuple[Sighting, ...]:
    """Each pasted host and value as present, absent, different or unknown."""
    answers = await asyncio.gather(*(resolver.ask(normalise(record.name), record.type) for record in records))
    return tuple(compare(record, answer) for record, answer in zip(records, answers, strict=True))


async def authoritative_servers(
    resolver: Asker, domain: str, endpoints: Mapping[str, Endpoint] | None = None
) -> dict[str, Endpoint]:
    """The zone's name servers with an address each. ``endpoints`` replaces addresses (loopback tests, split views)."""
    out: dict[str, Endpoint] = {}
    for name in await name_servers(resolver, normalise(domain)):
        if endpoints and name in endpoints:
            out[name] = endpoints[name]
            continue
        answer = await resolver.ask(name, "A")
        if not answer.found:
            answer = await resolver.ask(name, "AAAA")
        if answer.found:
            out[name] = (answer.names[0], 53)
    return out


@dataclass(frozen=True, slots=True)
class Look:
    """All servers at one moment. ``published`` counts servers that have every record."""

    sightings: Mapping[str, tuple[Sighting, ...]]

    @property
    def published(self) -> int:
        return sum(all(one.presence is Presence.PRESENT for one in seen) for seen in self.sightings.values())

    @property
    def unknown(self) -> int:
        return sum(any(one.presence is Presence.UNKNOWN for one in seen) for seen in self.sightings.values())

    @property
    def old_ttl(self) -> int:
        """The longest time an old answer may still be cached, in seconds."""
        old = [one.ttl for seen in self.sightings.values() for one in seen if one.presence is not Presence.PRESENT]
        return max(old, default=0)


async def look(resolver: Resolver, servers: Mapping[str, Endpoint], records: Sequence[ZoneRecord]) -> Look:
    """Ask every server for every record, past all caches."""

    async def one(endpoint: Endpoint) -> tuple[Sighting, ...]:
        asked = (resolver.ask_at(endpoint, normalise(record.name), record.type) for record in records)
        answers = await asyncio.gather(*asked)
        return tuple(compare(record, answer) for record, answer in zip(records, answers, strict=True))

    results = await asyncio.gather(*(one(endpoint) for endpoint in servers.values()))
    return Look(dict(zip(servers, results, strict=True)))


def ready(sightings: Sequence[Sighting]) -> tuple[bool, str]:
    """Whether to press a provider's "check now" button yet, and the sentence that says so."""
    missing = [one for one in sightings if one.presence is not Presence.PRESENT]
    if not missing:
        return True, "every record is visible; press the button"
    wait = max(one.ttl for one in missing)
    names = ", ".join(dict.fromkeys(f"{one.record.name} ({one.presence})" for one in missing))
    return False, f"do not press yet: {names}; an old answer may be cached for {wait} s"


@dataclass(slots=True)
class Watch:
    """The decisions of a watch, apart from time: feed it looks, it says where things stand and when to look again."""

    published: bool = False
    looks: int = 0
    pause: float = FIRST_PAUSE
    _good: int = 0
    _cached: int = 0

    def see(self, seen: Look) -> str:
        """Take one look; the sentence to show. ``pause`` holds the seconds until the next."""
        self.looks += 1
        total, have = len(seen.sightings), seen.published
        self._cached = max(self._cached, seen.old_ttl)
        complete = total > 0 and have > 0 and have + seen.unknown == total
        self._good = self._good + 1 if complete else 0
        if self._good >= 2:
            self.published = True
        self.pause = min(self.pause * 1.6, LONGEST_PAUSE) if self.looks > 1 else FIRST_PAUSE
        if self.published:
            tail = f"; old answers may be cached for up to {_minutes(self._cached)}" if self._cached else ""
            return f"published on all {total} name servers{tail}"
        if complete:
            self.pause = FIRST_PAUSE
            return f"seen on {have} of {total} name servers; looking once more to be sure"
        tail = f", {seen.unknown} did not answer" if seen.unknown else ""
        return f"published on {have} of {total} name servers{tail}"


def _minutes(seconds: int) -> str:
    return f"{max(1, round(seconds / 60))} min"
