"""DKIM keys in DNS: looking one up and telling the ways it goes wrong apart.

The key of selector ``s`` of domain ``d`` is the one TXT record at ``s._domainkey.d``, often reached through a CNAME to
the provider. What is looked for besides the key: several records, a CNAME that leads nowhere, a wildcard answering for
every selector, and a name with the domain appended twice, which is what a DNS panel makes of a full name typed where
the short one was meant.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from .answer import Answer, Status
from .dkim_key import KeyRecord, KeyStatus, parse_key
from .names import label_count, normalise, parent
from .resolver import Asker

_PROBE = "mailops-wildcard-probe"


@dataclass(frozen=True, slots=True)
class KeyLookup:
    """What stands at one selector. ``found_at`` is where the record was put by mistake."""

    selector: str
    domain: str
    name: str
    record: KeyRecord
    cname_target: str | None = None
    chain: tuple[str, ...] = ()
    wildcard: bool = False
    found_at: str | None = None
    answers: tuple[Answer, ...] = ()

    @property
    def status(self) -> KeyStatus:
        return self.record.status

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready evidence."""
        record = self.record
        return {
            "selector": self.selector,
            "domain": self.domain,
            "name": self.name,
            "status": str(record.status),
            "reason": record.reason,
            "message": record.message,
            "key_type": record.key_type,
            "bits": record.bits,
            "testing": record.testing,
            "strict_identity": record.strict_identity,
            "hashes": list(record.hashes),
            "warnings": list(record.warnings),
            "cname_target": self.cname_target,
            "wildcard": self.wildcard,
            "found_at": self.found_at,
            "asked": [answer.as_dict() for answer in self.answers],
        }


async def lookup_key(resolver: Asker, selector: str, domain: str) -> KeyLookup:
    """Look one selector up and judge what is there."""
    selector, domain = normalise(selector), normalise(domain)
    name = f"{selector}._domainkey.{domain}"
    probe_name = ".".join([_PROBE, *selector.split(".")[1:], "_domainkey", domain])
    answer, probe = await asyncio.gather(resolver.ask(name, "TXT"), resolver.ask(probe_name, "TXT"))
    target = answer.chain[0] if answer.chain else None
    base = (selector, domain, name)
    if answer.unknown:
        message = f"{name} could not be read ({answer.status}); it may well be there"
        record = KeyRecord(KeyStatus.TEMPERROR, reason=str(answer.status), message=message)
        return KeyLookup(*base, record, target, answer.chain, answers=(answer,))
    if answer.found:
        same = probe.found and probe.chain == answer.chain and set(probe.values) == set(answer.values)
        if len(answer.values) > 1:
            message = (
                f"{len(answer.values)} TXT records at {answer.chain[-1] if answer.chain else name}; one is allowed"
            )
            record = KeyRecord(KeyStatus.INVALID, reason="multiple_records", message=message)
        else:
            record = parse_key(answer.texts[0])
        return KeyLookup(*base, record, target, answer.chain, same, answers=(answer, probe))
    if target is not None:
        same = probe.chain == answer.chain
        message = f"{name} points to {target}, and nothing is there"
        if label_count(target) > label_count(domain) and target.endswith("." + domain):
            message += f"; the target has {domain} appended: its final dot is missing"
        record = KeyRecord(KeyStatus.MISSING, reason="dangling_cname", message=message)
        return KeyLookup(*base, record, target, answer.chain, same, answers=(answer,))
    doubled = await _doubled(resolver, name, domain)
    if doubled is not None:
        twice = doubled.name.startswith(f"{name}.")
        message = f"the record stands at {doubled.name}"
        message += (
            ": the panel appended the domain once more" if twice else f", where nobody looks; its place is {name}"
        )
        reason = "doubled_name" if twice else "misplaced"
        record = KeyRecord(KeyStatus.MISSING, reason=reason, message=message)
        return KeyLookup(*base, record, found_at=doubled.name, answers=(answer, doubled))
    record = KeyRecord(KeyStatus.MISSING, reason="no_record", message=f"there is no record at {name}")
    return KeyLookup(*base, record, answers=(answer,))


async def _doubled(resolver: Asker, name: str, domain: str) -> Answer | None:
    """The answer at ``name`` with the zone appended once more (the zone may be any ancestor of the domain), or where a
    key stands at the name without ``_domainkey``."""
    zones = [domain]
    while label_count(parent(zones[-1])) >= 2:
        zones.append(parent(zones[-1]))
    selector = name.removesuffix(f"._domainkey.{domain}")
    others = [f"{selector}.{domain}", f"{selector}.domainkey.{domain}", f"_domainkey.{domain}"]
    answers = await asyncio.gather(
        *(resolver.ask(one, "TXT") for one in (*(f"{name}.{zone}" for zone in zones), *others))
    )
    for answer in answers[: len(zones)]:
        if answer.found or (answer.chain and answer.status is not Status.INVALID):
            return answer
    for answer in answers[len(zones) :]:  # the name without _domainkey may well be of another use
        if (answer.chain and "_domainkey." in answer.chain[0]) or (
            answer.found and not answer.chain and any(parse_key(text).key for text in answer.texts)
        ):
            return answer
    return None
