"""The record of a key of our own: proposed, proved over the world with it applied, and found published or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from .dkim import KeyLookup, lookup_key
from .dkim_key import KeyStatus
from .overlay import Overlay
from .records import Change, ZoneRecord
from .resolver import Asker


@dataclass(frozen=True, slots=True)
class OwnKey:
    """What stands in DNS for a key of ours. ``published``: receivers find this very key; ``proved``: they would, once
    ``change`` is published; ``trouble`` says in words what is in the way."""

    name: str
    value: str
    published: bool
    proved: bool
    change: Change | None
    trouble: str
    lookup: KeyLookup

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, with the record to publish."""
        rows = [(r.name, r.type, r.rdata) for r in (self.change.publish if self.change else ())]
        gone = [(r.name, r.type, r.rdata) for r in (self.change.remove if self.change else ())]
        return {
            "name": self.name,
            "type": "TXT",
            "value": self.value,
            "published": self.published,
            "proved": self.proved,
            "publish": [{"name": n, "type": t, "value": v} for n, t, v in rows],
            "remove": [{"name": n, "type": t, "value": v} for n, t, v in gone],
            "trouble": self.trouble,
            "lookup": self.lookup.as_dict(),
        }


def record_text(public_key: str) -> str:
    """The record's value (RFC 6376 §3.6.1)."""
    return f"v=DKIM1; k=rsa; p={public_key}"


async def look_at(resolver: Asker, selector: str, domain: str, public_key: str) -> OwnKey:
    """Whether receivers find this key; where not, the record to publish, and whether that mends it."""
    name, value = f"{selector}._domainkey.{domain}", record_text(public_key)
    found = await lookup_key(resolver, selector, domain)
    if _is_ours(found, public_key):
        return OwnKey(name, value, True, True, None, "", found)
    if found.status is KeyStatus.TEMPERROR:
        return OwnKey(name, value, False, False, None, found.record.message, found)
    wrong = tuple(
        ZoneRecord(name, "TXT", b"".join(cast("tuple[bytes, ...]", strings)).decode("latin-1"))
        for answer in found.answers
        for strings in (answer.values if not answer.chain else ())
    )
    gone = (*wrong, *((ZoneRecord(name, "CNAME", found.cname_target),) if found.cname_target else ()))
    why = f"receivers look for the key of mail that mailops signs at {name}"
    change = Change(why, publish=(ZoneRecord(name, "TXT", value),), remove=gone)
    after = await lookup_key(Overlay(resolver, change), selector, domain)
    said = "another key stands there" if found.status is KeyStatus.VALID else found.record.message
    return OwnKey(name, value, False, _is_ours(after, public_key), change, said, found)


def _is_ours(found: KeyLookup, public_key: str) -> bool:
    said = "".join(found.record.text.split())
    return found.status is KeyStatus.VALID and f"p={public_key}" in said.split(";")
