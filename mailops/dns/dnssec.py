"""DNSSEC: whether an answer is signed up to a trust anchor, checked here and not believed from a flag.

A :class:`Validator` walks from the name that signed an answer up to a configured anchor (a DS record of some zone),
asks for DNSKEY and DS sets with DO, and verifies each with dnspython. States: *secure*; *insecure* (no signature, or no
DS at some cut; that there is none is not proved by NSEC here, and the reason says so); *bogus* (a signature is wrong,
expired or missing in a signed zone); *unknown* (no answer). Chains are bounded by the labels of a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from .resolver import Resolver

if TYPE_CHECKING:
    import dns.message
    import dns.name
    import dns.rrset


class Security(StrEnum):
    """RFC 4033 section 5."""

    SECURE = "secure"
    INSECURE = "insecure"
    BOGUS = "bogus"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Validation:
    """The state of one answer; ``chain`` are the zones whose keys were verified, from the signer up."""

    name: str
    type: str
    security: Security
    reason: str
    records: tuple[str, ...] = ()
    chain: tuple[str, ...] = ()


class _Stop(Exception):
    def __init__(self, security: Security, reason: str) -> None:
        super().__init__(reason)
        self.security = security


class Validator:
    """Validates answers. ``anchors`` maps a zone to its DS records in presentation form."""

    def __init__(self, resolver: Resolver, anchors: Mapping[str, tuple[str, ...]]) -> None:
        self._resolver = resolver
        self._anchors = {zone.rstrip(".").lower(): tuple(records) for zone, records in anchors.items()}
        self._keys: dict[str, dns.rrset.RRset] = {}

    async def validate(self, name: str, rdtype: str) -> Validation:
        """Fetch and verify one set of records."""
        chain: list[str] = []
        try:
            records = await self._verified(name.rstrip(".").lower(), rdtype, chain)
        except _Stop as stop:
            return Validation(name, rdtype, stop.security, str(stop), (), tuple(chain))
        lines = tuple(rdata.to_text() for rdata in records)
        return Validation(name, rdtype, Security.SECURE, "signed up to the trust anchor", lines, tuple(chain))

    async def _fetch(self, name: str, rdtype: str) -> dns.message.Message:
        import dns.exception
        import dns.message

        reply = await self._resolver.ask_raw(name, rdtype)
        if reply.parsed is None or not reply.wire:
            raise _Stop(Security.UNKNOWN, f"{name or '.'} {rdtype} got no answer")
        if reply.parsed.rcode not in (0, 3):
            raise _Stop(Security.UNKNOWN, f"{name or '.'} {rdtype}: the server answers with an error")
        try:
            return dns.message.from_wire(reply.wire)
        except dns.exception.DNSException as problem:
            raise _Stop(Security.UNKNOWN, f"{name or '.'} {rdtype} cannot be read: {problem}") from problem

    async def _verified(self, name: str, rdtype: str, chain: list[str]) -> dns.rrset.RRset:
        import dns.dnssec
        import dns.name
        import dns.rdataclass
        import dns.rdatatype
        from dns.exception import ValidationFailure

        message = await self._fetch(name, rdtype)
        owner = dns.name.from_text(name or ".")
        kind = dns.rdatatype.from_text(rdtype)
        records = message.get_rrset(message.answer, owner, dns.rdataclass.IN, kind)
        signatures = message.get_rrset(message.answer, owner, dns.rdataclass.IN, dns.rdatatype.RRSIG, kind)
        if records is None:
            raise _Stop(Security.INSECURE, f"there is no {rdtype} at {name} (its absence was not proved)")
        if signatures is None:
            if rdtype != "DS" and await self._zone_is_signed(name, chain):
                raise _Stop(Security.BOGUS, f"{name} {rdtype} has no signature, in a signed zone")
            raise _Stop(Security.INSECURE, f"{name} {rdtype} is not signed")
        signer = signatures[0].signer
        if not owner.is_subdomain(signer):
            raise _Stop(Security.BOGUS, f"{name} {rdtype} is signed by a stranger ({signer})")
        keys = await self._zone_keys(signer.to_text(omit_final_dot=True).lower(), chain)
        try:
            dns.dnssec.validate(records, signatures, {signer: keys})
        except ValidationFailure as problem:
            raise _Stop(Security.BOGUS, f"{name} {rdtype}: {problem}") from problem
        return records

    async def _zone_is_signed(self, name: str, chain: list[str]) -> bool:
        """Whether the zone a name is in has keys that lead to an anchor, so that a missing signature is an attack."""
        while name:
            answer = await self._resolver.ask(name, "SOA")
            if answer.found and not answer.chain:
                break
            name = name.partition(".")[2]
        try:
            await self._zone_keys(name, chain)
        except _Stop as stop:
            return stop.security is Security.BOGUS
        return True

    async def _zone_keys(self, zone: str, chain: list[str]) -> dns.rrset.RRset:
        """The DNSKEY set of a zone, verified by its DS (from the anchor, or from the verified parent)."""
        import dns.dnssec
        import dns.name
        import dns.rdata
        import dns.rdataclass
        import dns.rdatatype
        from dns.exception import ValidationFailure

        known = self._keys.get(zone)
        if known is not None:
            chain.append(zone or ".")
            return known
        if len(chain) > 40 or (zone or ".") in chain:
            raise _Stop(Security.BOGUS, "the chain of keys has no end")
        chain.append(zone or ".")
        if zone in self._anchors:
            listed = [dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.DS, text) for text in self._anchors[zone]]
        elif not zone:
            raise _Stop(Security.INSECURE, "no trust anchor on the way to the root")
        else:
            listed = list(await self._verified(zone, "DS", chain))
        message = await self._fetch(zone, "DNSKEY")
        owner = dns.name.from_text(zone or ".")
        keys = message.get_rrset(message.answer, owner, dns.rdataclass.IN, dns.rdatatype.DNSKEY)
        signatures = message.get_rrset(
            message.answer, owner, dns.rdataclass.IN, dns.rdatatype.RRSIG, dns.rdatatype.DNSKEY
        )
        if keys is None or signatures is None:
            raise _Stop(Security.BOGUS, f"{zone} has a DS but no signed keys")
        trusted = [key for key in keys for ds in listed if _digest_matches(owner, key, ds)]
        if not trusted:
            raise _Stop(Security.BOGUS, f"no key of {zone} fits its DS")
        anchored = dns.rrset.from_rdata_list(owner, keys.ttl, trusted)
        try:
            dns.dnssec.validate(keys, signatures, {owner: anchored})
        except ValidationFailure as problem:
            raise _Stop(Security.BOGUS, f"the keys of {zone}: {problem}") from problem
        self._keys[zone] = keys
        return keys


def _digest_matches(owner: dns.name.Name, key: object, ds: object) -> bool:
    import dns.dnssec
    from dns.exception import DNSException

    try:
        made = dns.dnssec.make_ds(owner, key, ds.digest_type, validating=True)  # type: ignore[arg-type,attr-defined]  # rdatas
    except (DNSException, ValueError):
        return False
    return bool(made == ds)
