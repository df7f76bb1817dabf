"""What a name server takes: a change held against the zone it is for, before anything else is proved of it.

Nothing may stand beside a CNAME and there is one CNAME a name (RFC 1034 section 3.6.2, RFC 2181 section 10.1), none at
the apex (SOA and NS stand there), and only what stands in the zone can be taken away: what a wildcard made up
(RFC 4592) or what is read through a CNAME belongs to another name.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from .names import askable, normalise
from .overlay import from_wildcard, same, value_of
from .records import Change, ZoneRecord
from .resolver import Asker

_BESIDE = ("TXT", "MX", "A", "AAAA", "NS", "SOA")


async def admitted(resolver: Asker, change: Change) -> tuple[Change, str]:
    """The change as the zone can take it (removals of what is not in it left out), and why a name server refuses it;
    an empty reason = it is taken."""
    stands = await asyncio.gather(*(stands_in_zone(resolver, record) for record in change.remove))
    taken = tuple(record for record, there in zip(change.remove, stands, strict=True) if there)
    fitted = replace(change, remove=tuple(dict.fromkeys(taken)))
    for reason in await asyncio.gather(*(_refusal(resolver, record, fitted) for record in change.publish)):
        if reason:
            return fitted, reason
    return fitted, ""


async def stands_in_zone(resolver: Asker, record: ZoneRecord) -> bool:
    """Whether the record is really at its name: not read through a CNAME, not made up by a wildcard."""
    answer = await resolver.ask(normalise(record.name), record.type)
    if record.type != "CNAME" and answer.chain:
        return False
    wanted = value_of(record)
    held = answer.values or (answer.chain[:1] if record.type == "CNAME" else ())
    if not any(same(record.type, wanted, one) for one in held):
        return False
    return not await from_wildcard(resolver, record.name, record.type, answer)


async def _refusal(resolver: Asker, record: ZoneRecord, change: Change) -> str:
    name = normalise(record.name)
    if not askable(name):
        return f"{record.name} is no name that DNS can carry"
    gone = {(normalise(one.name), one.type) for one in change.remove}
    alias = await resolver.ask(name, "CNAME")
    target = str(alias.values[0]) if alias.found and not alias.chain else ""
    if target and await from_wildcard(resolver, name, "CNAME", alias):
        target = ""  # what is published at the name itself takes the wildcard's place
    if (
        target
        and (name, "CNAME") not in gone
        and not (record.type == "CNAME" and same("CNAME", value_of(record), target))
    ):
        return f"{name} is an alias (CNAME) of {target}, and nothing may stand beside a CNAME: the record is kept there"
    if record.type != "CNAME":
        others = [one for one in change.publish if normalise(one.name) == name and one.type == "CNAME"]
        return f"{name} would hold a CNAME and other records" if others else ""
    for rdtype, answer in zip(_BESIDE, await asyncio.gather(*(resolver.ask(name, t) for t in _BESIDE)), strict=True):
        if not answer.found or answer.chain or await from_wildcard(resolver, name, rdtype, answer):
            continue
        removed = [value_of(one) for one in change.remove if normalise(one.name) == name and one.type == rdtype]
        if any(not any(same(rdtype, value, away) for away in removed) for value in answer.values):
            return f"a CNAME cannot stand at {name} beside its {rdtype} record"
    return ""
