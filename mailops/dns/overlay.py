"""The world with a proposal applied: answers as they would be after publishing, without publishing.

An :class:`Overlay` stands where the resolver stands, so the very same evaluation runs over it. It adds and takes away
records, follows the CNAMEs it adds, lets nothing stand beside a CNAME, and passes everything else through. Where the
zone cannot be read, nothing can be proved, so unknown stays unknown.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from .answer import Answer, Status, present
from .names import normalise, parent
from .records import Change, ZoneRecord
from .resolver import Asker

_MAX_CHAIN = 8
_PROBE = "mailops-wildcard-probe"


def value_of(record: ZoneRecord) -> object:
    """A record's value as :class:`~mailops.dns.answer.Answer` holds it."""
    match record.type:
        case "TXT" | "SPF":
            return record.strings
        case "MX":
            preference, _, host = record.value.partition(" ")
            return int(preference), normalise(host) if host != "." else ""
        case "CNAME" | "NS" | "PTR":
            return normalise(record.value)
        case _:
            return record.value


def same(rdtype: str, left: object, right: object) -> bool:
    """Whether two values are one record: the cutting of strings and the case of names do not matter."""
    if rdtype in ("TXT", "SPF"):
        return b"".join(cast("tuple[bytes, ...]", left)) == b"".join(cast("tuple[bytes, ...]", right))
    return present(rdtype, left).lower() == present(rdtype, right).lower()


async def from_wildcard(resolver: Asker, name: str, rdtype: str, answer: Answer) -> bool:
    """Whether a name nobody made gets the same answer (RFC 4592): the answer is then a wildcard's."""
    above = parent(normalise(name))
    if not above or not (answer.found or answer.chain):
        return False
    probe = await resolver.ask(f"{_PROBE}.{above}", rdtype)
    return bool(probe.found or probe.chain) and probe.chain == answer.chain and set(probe.values) == set(answer.values)


class Overlay:
    """Asks ``base`` and changes its answers by ``change``."""

    def __init__(self, base: Asker, change: Change) -> None:
        self._base = base
        self._add: dict[tuple[str, str], list[object]] = {}
        self._remove: dict[tuple[str, str], list[object]] = {}
        for table, records in ((self._add, change.publish), (self._remove, change.remove)):
            for record in records:
                table.setdefault((normalise(record.name), record.type), []).append(value_of(record))

    async def ask(self, name: str, rdtype: str) -> Answer:
        """The answer after the change."""
        return await self._ask(name, rdtype, 0)

    async def _ask(self, name: str, rdtype: str, depth: int) -> Answer:
        alias = self._add.get((name, "CNAME"))
        if alias and rdtype != "CNAME":
            target = str(alias[0])
            if depth >= _MAX_CHAIN:
                return Answer(name, rdtype, Status.LOOP, detail="CNAME records lead in a circle")
            inner = await self._ask(target, rdtype, depth + 1)
            return replace(inner, name=name, chain=(target, *inner.chain))
        answer = await self._base.ask(name, rdtype)
        added, removed = self._add.get((name, rdtype), []), self._remove.get((name, rdtype), [])
        dealiased = bool(answer.chain) and (
            (name, "CNAME") in self._remove
            or (bool(added) and rdtype != "CNAME" and await from_wildcard(self._base, name, rdtype, answer))
        )
        if not (added or removed or dealiased):
            if answer.status is Status.NXDOMAIN and any(known == name for known, _ in self._add):
                return replace(answer, status=Status.NODATA, rcode="NOERROR")
            return answer
        if (answer.unknown or (answer.chain and rdtype != "CNAME")) and not dealiased:
            return answer  # nothing can be added beside a CNAME, and what it leads to stands in another zone
        kept = (
            ()
            if dealiased
            else tuple(value for value in answer.values if not any(same(rdtype, value, gone) for gone in removed))
        )
        fresh = [value for value in added if not any(same(rdtype, value, old) for old in kept)]
        values = (*kept, *fresh)
        return replace(
            answer,
            values=values,
            status=Status.FOUND if values else Status.NODATA,
            chain=() if dealiased else answer.chain,
            rcode="NOERROR",
            detail="as it would be after the change",
        )
