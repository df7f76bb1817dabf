"""Zone data for the loopback name server: three ways to write it, one way to hold it.

A zone is held as ``{canonical name: {type: RRset data}}`` over the whole name space (the server is authoritative for
everything). It can be written as

* zone-file text (``$ORIGIN`` and ``$TTL`` work; names without a final dot are relative to the origin, by default the
  root),
* a mapping ``{"example.com": ["TXT v=spf1 -all", "MX 10 mx.example.com."]}``: one text a record, the value of TXT and
  SPF taken literally unless it begins with a quotation mark, names absolute with or without the final dot,
* a mapping of records as objects: ``{"type": "TXT", "strings": [...]}``, ``{"type": "A", "address": ...}``,
  ``{"type": "MX", "preference": 10, "exchange": ...}``, ``{"type": "CNAME", "target": ...}``, and
  ``{"type": "TXT", "fault": "timeout"}`` for a planted fault (``ANY`` = every type not otherwise listed).

Every record is encoded once while the zone is read, so that a mistake raises here and can never look like an empty
answer later.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
import dns.zonefile

ZoneSource = str | Mapping[str, Iterable[str | Mapping[str, Any]]]

FAULTS = ("timeout", "servfail", "refused", "notimp", "nxdomain", "truncated", "garbage", "wrong_id", "empty")


class ZoneError(ValueError):
    """A record of the zone cannot be encoded; the text names the record."""


def to_name(text: str) -> dns.name.Name:
    """An absolute DNS name from text, case kept. Characters above 127 go in as Latin-1 bytes, else UTF-8."""
    text = text.rstrip(".") if not text.endswith("\\.") else text
    if not text:
        return dns.name.root
    try:
        if "\\" in text:
            return dns.name.from_text(text + ".")
        return dns.name.Name([*(_octets(label) for label in text.split(".")), b""])
    except dns.exception.DNSException as problem:
        raise ZoneError(f"{text!r} is no DNS name: {problem!r}") from problem


def _octets(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8")


@dataclass(slots=True)
class RRData:
    """The records of one name and type."""

    ttl: int
    rdatas: list[dns.rdata.Rdata] = field(default_factory=list)


@dataclass(slots=True)
class ZoneData:
    """All records and the faults written into the zone. Keys are canonical (lower-case) names."""

    records: dict[dns.name.Name, dict[int, RRData]] = field(default_factory=dict)
    faults: dict[tuple[dns.name.Name, int], str] = field(default_factory=dict)
    parents: set[dns.name.Name] = field(default_factory=set)

    def add(self, name: dns.name.Name, rdata: dns.rdata.Rdata, ttl: int) -> None:
        """Add one record; raises :class:`ZoneError` when it does not encode."""
        try:
            rdata.to_wire(io.BytesIO(), None, None, False)
            name.to_wire(io.BytesIO())
        except (dns.exception.DNSException, ValueError) as problem:
            raise ZoneError(f"{name} {dns.rdatatype.to_text(rdata.rdtype)} {rdata}: {problem!r}") from problem
        key = name.canonicalize()
        holder = self.records.setdefault(key, {}).setdefault(rdata.rdtype, RRData(ttl))
        if rdata not in holder.rdatas:
            holder.rdatas.append(rdata)
        self._note_parents(key)

    def fault(self, name: dns.name.Name, rdtype: int, kind: str) -> None:
        """Plant a fault for one name and type (``dns.rdatatype.ANY`` = types not otherwise listed)."""
        if kind not in FAULTS:
            raise ZoneError(f"unknown fault {kind!r}; known: {', '.join(FAULTS)}")
        key = name.canonicalize()
        self.faults[key, rdtype] = kind
        self._note_parents(key)

    def _note_parents(self, key: dns.name.Name) -> None:
        self.parents.add(key)
        while key != dns.name.root:
            key = key.parent()
            if key in self.parents:
                return
            self.parents.add(key)

    def rebuild_parents(self) -> None:
        """After records were taken away."""
        self.parents.clear()
        for key in [*self.records, *(name for name, _ in self.faults)]:
            self._note_parents(key)

    def exists(self, key: dns.name.Name) -> bool:
        """True for a name with records and for an empty non-terminal (RFC 8020)."""
        return key in self.parents

    def fault_for(self, key: dns.name.Name, rdtype: int) -> str | None:
        """The planted fault; one written for ``ANY`` spares the types that have records."""
        kind = self.faults.get((key, rdtype))
        if kind is None and rdtype not in self.records.get(key, {}):
            kind = self.faults.get((key, dns.rdatatype.ANY))
        return kind

    def lookup(self, key: dns.name.Name) -> tuple[dict[int, RRData] | None, bool]:
        """The records at a name and whether they come from a wildcard (RFC 4592); None = the name does not exist."""
        if self.exists(key):
            return self.records.get(key, {}), False
        encloser = key
        while encloser != dns.name.root:
            encloser = encloser.parent()
            if self.exists(encloser):
                break
        star = dns.name.Name((b"*", *encloser.labels))
        if star in self.records:
            return self.records[star], True
        return None, False


def read_zone(source: ZoneSource, *, ttl: int = 300) -> ZoneData:
    """Read a zone from any of the three forms; raises :class:`ZoneError` with the record named."""
    data = ZoneData()
    if isinstance(source, str):
        for name, rdata, record_ttl in _from_text(source, ttl):
            data.add(name, rdata, record_ttl)
        return data
    for owner, entries in source.items():
        for entry in entries:
            add_entry(data, owner, entry, ttl=ttl)
    return data


def add_entry(data: ZoneData, owner: str, entry: str | Mapping[str, Any], *, ttl: int = 300) -> None:
    """Add one record (text or object form) or fault to a zone."""
    name = to_name(owner)
    if isinstance(entry, str):
        kind, _, value = entry.strip().partition(" ")
        data.add(name, _rdata_from_text(kind, value), ttl)
    elif "fault" in entry:
        data.fault(name, dns.rdatatype.from_text(str(entry["type"])), str(entry["fault"]))
    else:
        data.add(name, _rdata_from_object(entry), int(entry.get("ttl", ttl)))


def split_text(value: bytes) -> tuple[bytes, ...]:
    """Character-strings of at most 255 octets (RFC 1035 section 3.3.14); an empty value is one empty string."""
    return tuple(value[i : i + 255] for i in range(0, len(value), 255)) or (b"",)


def _from_text(text: str, ttl: int) -> Iterator[tuple[dns.name.Name, dns.rdata.Rdata, int]]:
    manager = dns.zonefile.RRSetsReaderManager(dns.name.root, False, dns.rdataclass.IN)
    collected = _Collector(manager, True, False)
    try:
        dns.zonefile.Reader(
            dns.tokenizer.Tokenizer(text, "zone"),
            dns.rdataclass.IN,
            collected,
            allow_include=False,
            allow_directives=True,
            default_ttl=ttl,
        ).read()
    except (dns.exception.DNSException, ValueError) as problem:
        raise ZoneError(f"the zone text cannot be read: {problem}") from problem
    yield from collected.found


class _Collector(dns.zonefile.RRsetsReaderTransaction):
    """Takes every record as it is read: several SOAs and a CNAME beside other data are what tests want to plant."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)  # type: ignore[no-untyped-call,unused-ignore]  # dnspython's has no types
        self.found: list[tuple[dns.name.Name, dns.rdata.Rdata, int]] = []

    def add(self, *args: Any) -> None:
        name, ttl, rdata = args
        self.found.append((name, rdata, ttl))


def _txt(rdtype: int, strings: Iterable[bytes]) -> dns.rdata.Rdata:
    parts = tuple(strings) or (b"",)
    for part in parts:
        if len(part) > 255:
            raise ZoneError(f"a character-string of {len(part)} octets; at most 255 fit")
    cls = _rdata_class(dns.rdatatype.RdataType.make(rdtype))
    return cls(dns.rdataclass.IN, rdtype, parts)


def _rdata_class(rdtype: int) -> Callable[..., dns.rdata.Rdata]:
    """dnspython's class for a type; its function has no types of its own."""
    find: Callable[..., Any] = dns.rdata.get_rdata_class
    found: Callable[..., dns.rdata.Rdata] = find(dns.rdataclass.IN, rdtype)
    return found


def _rdata_from_text(kind: str, value: str) -> dns.rdata.Rdata:
    rdtype = dns.rdatatype.from_text(kind)
    value = value.strip()
    if rdtype in (dns.rdatatype.TXT, dns.rdatatype.SPF) and not value.startswith('"'):
        return _txt(rdtype, split_text(_octets(value)))
    try:
        return dns.rdata.from_text(dns.rdataclass.IN, rdtype, value, origin=dns.name.root, relativize=False)
    except (dns.exception.DNSException, ValueError) as problem:
        raise ZoneError(f"{kind} {value}: {problem!r}") from problem


def _rdata_from_object(entry: Mapping[str, Any]) -> dns.rdata.Rdata:
    kind = str(entry["type"])
    rdtype = dns.rdatatype.from_text(kind)
    if "strings" in entry:
        return _txt(rdtype, (_octets(part) for part in entry["strings"]))
    if "text" in entry:
        return _txt(rdtype, split_text(_octets(entry["text"])))
    if "address" in entry:
        return _rdata_from_text(kind, str(entry["address"]))
    cls = _rdata_class(rdtype)
    if kind == "MX":
        return cls(dns.rdataclass.IN, rdtype, int(entry["preference"]), to_name(str(entry["exchange"])))
    if "target" in entry:
        return cls(dns.rdataclass.IN, rdtype, to_name(str(entry["target"])))
    if "value" in entry:
        return _rdata_from_text(kind, str(entry["value"]))
    raise ZoneError(f"a record this reader does not know: {dict(entry)!r}")
