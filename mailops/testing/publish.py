"""A proposal published for real: applied to a copy of the zone as a name server would take it, to be asked again.

:func:`publish` works on the mapping form of a zone (:mod:`mailops.testing.dns_zone`) and obeys what servers obey: only
what stands in the zone can be taken away, nothing stands beside a CNAME, and dnspython's zone reader takes the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import dns.exception
import dns.name
import dns.zone

from ..dns.answer import quote_strings
from .dns_zone import ZoneSource, read_zone, to_name

Rows = Iterable[Mapping[str, str]]
_SERIAL = "ns.invalid. hostmaster.invalid. 1 3600 600 86400 60"


class NotPublishable(AssertionError):
    """A name server, or the zone as it is, does not take this change."""


def publish(zone: Mapping[str, Iterable[object]], changes: Iterable[Mapping[str, object]]) -> dict[str, list[object]]:
    """The zone after the changes: rows with ``publish`` and ``remove``, as ``DomainReport.as_dict()`` has them."""
    out: dict[str, list[object]] = {name.lower().rstrip("."): list(entries) for name, entries in zone.items()}
    added: set[tuple[str, str, str]] = set()
    gone: set[tuple[str, str, str]] = set()
    for change in changes:
        for row in change.get("remove", ()):  # type: ignore[attr-defined]
            key = (row["name"].lower().rstrip("."), row["type"], row["value"])
            if key not in gone:
                gone.add(key)
                _take(out, *key)
        for row in change.get("publish", ()):  # type: ignore[attr-defined]
            key = (row["name"].lower().rstrip("."), row["type"], row["value"])
            if key not in added:
                added.add(key)
                _put(out, *key)
    name_server_takes(cast("ZoneSource", out))
    return out


def _entry(kind: str, value: str) -> str:
    if kind in ("TXT", "SPF"):
        octets = value.encode("utf-8")
        return f"{kind} {quote_strings([octets[at : at + 255] for at in range(0, len(octets), 255)] or [b''])}"
    return f"{kind} {value.rstrip('.')}." if kind in ("CNAME", "MX", "NS", "PTR") else f"{kind} {value}"


def _rdata(name: str, entry: object) -> tuple[str, bytes]:
    """Type and comparable octets of one entry."""
    for kinds in read_zone({name: [entry]}).records.values():  # type: ignore[list-item]  # both forms
        for rdtype, held in kinds.items():
            rdata = held.rdatas[0]
            text = b"".join(rdata.strings) if hasattr(rdata, "strings") else rdata.to_text().lower().encode()
            return dns.rdatatype.RdataType.make(rdtype).name, text
    return "fault", b""


def _take(zone: dict[str, list[object]], name: str, kind: str, value: str) -> None:
    wanted = _rdata(name, _entry(kind, value))
    also = (kind, value.encode("latin-1", "replace"))
    left = [entry for entry in zone.get(name, []) if _rdata(name, entry) not in (wanted, also)]
    if len(left) < len(zone.get(name, [])):  # a server holds a record once, however often it was written
        zone[name] = left
        return
    raise NotPublishable(f"{name} {kind} {value!r} is to be taken away and does not stand in the zone")


def _put(zone: dict[str, list[object]], name: str, kind: str, value: str) -> None:
    entry = _entry(kind, value)
    if not any(_rdata(name, entry) == _rdata(name, one) for one in zone.get(name, [])):
        zone.setdefault(name, []).append(entry)


def name_server_takes(zone: ZoneSource) -> None:
    """Raise :class:`NotPublishable` when dnspython's zone reader refuses the zone (CNAME and other data, bad names)."""
    lines = [f". 300 IN SOA {_SERIAL}", ". 300 IN NS ns.invalid."]
    for name, kinds in read_zone(zone).records.items():
        for held in kinds.values():
            lines += [f"{name} {held.ttl} IN {one.rdtype.name} {one}" for one in held.rdatas]
    try:
        dns.zone.from_text("\n".join(lines) + "\n", origin=dns.name.root, relativize=False)
    except (dns.exception.DNSException, ValueError) as problem:
        raise NotPublishable(f"the zone is refused: {problem}") from problem
    for name, kinds in read_zone(zone).records.items():
        if dns.rdatatype.CNAME in kinds and (len(kinds) > 1 or len(kinds[dns.rdatatype.CNAME].rdatas) > 1):
            raise NotPublishable(f"{name}: a CNAME and other data")
        to_name(name.to_text())


def zone_text(zone: ZoneSource, origin: str) -> str:
    """The part of a zone at and below ``origin`` as a master file (RFC 1035 section 5), for a name server's checker.

    A start of authority is put on top where there is none; a name server is, too.
    """
    top = to_name(origin)
    lines: list[str] = []
    types: set[int] = set()
    for name, kinds in read_zone(zone).records.items():
        if not name.is_subdomain(top):
            continue
        types |= set(kinds) if name == top else set()
        for held in kinds.values():
            lines += [f"{name} {held.ttl} IN {one.rdtype.name} {one}" for one in held.rdatas]
    head = [f"{top} 300 IN SOA {_SERIAL}"] if dns.rdatatype.SOA not in types else []
    head += [f"{top} 300 IN NS ns.invalid."] if dns.rdatatype.NS not in types else []
    return "\n".join([*head, *lines]) + "\n"
