"""The world with a proposal applied: answers as they would be after publishing, without publishing.

An :class:`Overlay` stands where the resolver stands, so the very same evaluation runs over it. It adds and takes away
records, follows the CNAMEs it adds, and passes everything else through. Where the zone cannot be read, nothing can be
proved, so unknown stays unknown.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from .answer import Answer, Status, present
from .names import normalise
from .records import Change, ZoneRecord
from .resolver import Asker

_MAX_CHAIN = 8


def _value(record: ZoneRecord) -> object:
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


def _same(rdtype: str, left: object, right: object) -> bool:
    if rdtype in ("TXT", "SPF"):
        return b"".join(cast("tuple[bytes, ...]", left)) == b"".join(cast("tuple[bytes, ...]", right))
    return present(rdtype, left).lower() == present(rdtype, right).lower()


class Overlay:
    """Asks ``base`` and changes its answers by ``change``."""

    def __init__(self, base: Asker, change: Change) -> None:
        self._base = base
        self._add: dict[tuple[str, str], list[object]] = {}
        self._remove: dict[tuple[str, str], list[object]] = {}
        for table, records in ((self._add, change.publish), (self._remove, change.remove)):
            for record in records:
                table.setdefault((normalise(record.name), record.type), []).append(_value(record))

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
        dealiased = bool(answer.chain) and (name, "CNAME") in self._remove
        if not (added or removed or dealiased):
            if answer.status is Status.NXDOMAIN and any(known == name for known, _ in self._add):
                return replace(answer, status=Status.NODATA, rcode="NOERROR")
            return answer
        if answer.unknown and not dealiased:
            return answer
        kept = (
            ()
            if dealiased
            else tuple(value for value in answer.values if not any(_same(rdtype, value, gone) for gone in removed))
        )
        fresh = [value for value in added if not any(_same(rdtype, value, old) for old in kept)]
        values = (*kept, *fresh)
        return replace(
            answer,
            values=values,
            status=Status.FOUND if values else Status.NODATA,
            chain=() if dealiased else answer.chain,
            rcode="NOERROR",
            detail="as it would be after the change",
        )
