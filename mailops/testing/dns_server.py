"""An authoritative name server on loopback, for tests, demos and everyone who wants to try advice before publishing it.

It speaks real DNS over UDP and TCP (one port, chosen by the system), is authoritative for the whole name space, and
knows wildcards, empty non-terminals, CNAME chains, truncation, EDNS sizes, negative answers with an SOA, signed zones
(RRSIG and NSEC travel when the question carries DO), latency, and planted faults per name and type::

    with DnsServer({"example.com": ["TXT v=spf1 -all"]}) as server:
        server.address            # ("127.0.0.1", 40123)
        server.add("example.com", "MX 10 mx.example.com.")
        server.fault("example.com", "TXT", "servfail")
        server.queries            # what was asked, in order

Answers are encoded once and kept until the zone changes, so thousands of questions a second cost the client more than
the server. A mistake in a zone raises where the zone is given; a mistake while answering is kept in ``errors``,
answered with SERVFAIL, and raised by :meth:`DnsServer.stop`, so that it never passes for an empty answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from .dns_zone import RRData, ZoneData, ZoneError, ZoneSource, add_entry, read_zone, to_name

__all__ = ["DnsServer", "Query", "ZoneError"]

_MAX_CHAIN = 16


@dataclass(frozen=True, slots=True)
class Query:
    """One question as it came in. ``name`` is lower-case without final dot; ``at`` is ``time.monotonic()``."""

    name: str
    type: str
    transport: str
    at: float


@dataclass(frozen=True, slots=True)
class _Reply:
    """An encoded answer without its two ID octets; ``fault`` says how to misbehave instead."""

    wire: bytes
    name: str
    type: str
    fault: str | None = None


@dataclass(slots=True)
class _LiveFault:
    kind: str
    left: int | None


class DnsServer:
    """The server. ``latency`` is in seconds and applies to every answer; it can be changed while running."""

    def __init__(
        self,
        zone: ZoneSource | None = None,
        *,
        latency: float = 0.0,
        ttl: int = 300,
        negative_ttl: int = 60,
        host: str = "127.0.0.1",
        port: int = 0,
        max_udp: int = 1232,
        log: bool = True,
    ) -> None:
        self.latency = latency
        self.ttl = ttl
        self.negative_ttl = negative_ttl
        self.max_udp = max_udp
        self.log = log
        self.queries: list[Query] = []
        self.errors: list[BaseException] = []
        self._host, self._wanted_port = host, port
        self._data = read_zone(zone, ttl=ttl) if zone is not None else ZoneData()
        self._live: dict[tuple[dns.name.Name, int], _LiveFault] = {}
        self._cache: dict[tuple[bytes, str], _Reply] = {}
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._udp: socket.socket | None = None
        self._tcp: socket.socket | None = None

    # -- life ------------------------------------------------------------------------------------------------------

    @property
    def address(self) -> tuple[str, int]:
        """``(host, port)`` of both transports; the server must be running."""
        if self._udp is None:
            raise RuntimeError("the name server is not running")
        name: tuple[str, int] = self._udp.getsockname()[:2]
        return name

    @property
    def port(self) -> int:
        return self.address[1]

    def start(self) -> Self:
        """Bind both transports and answer from a background thread."""
        if self._thread is not None:
            raise RuntimeError("the name server is running already")
        self._tcp, self._udp = _bind_pair(self._host, self._wanted_port)
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), name="dns-server", daemon=True)
        self._thread.start()
        if not ready.wait(10):
            raise RuntimeError("the name server did not start within 10 s")
        return self

    def stop(self) -> None:
        """Stop answering; raises the first error met while answering, if there was one."""
        if self._thread is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
        self._thread = self._loop = None
        for sock in (self._udp, self._tcp):
            if sock is not None:
                sock.close()
        self._udp = self._tcp = None
        self.check()

    def check(self) -> None:
        """Raise the first error met while answering."""
        if self.errors:
            raise self.errors[0]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: object, value: object, traceback: object) -> None:
        if kind is None:
            self.stop()
        else:
            with contextlib.suppress(Exception):
                self.stop()

    # -- the zone, live --------------------------------------------------------------------------------------------

    def set_zone(self, zone: ZoneSource) -> None:
        """Replace all records and written-in faults."""
        data = read_zone(zone, ttl=self.ttl)
        with self._lock:
            self._data = data
            self._cache.clear()

    def add(self, name: str, *entries: str | Mapping[str, Any], ttl: int | None = None) -> None:
        """Add records (``"TXT v=spf1 -all"`` or object form) to a name."""
        with self._lock:
            for entry in entries:
                add_entry(self._data, name, entry, ttl=self.ttl if ttl is None else ttl)
            self._cache.clear()

    def remove(self, name: str, rdtype: str | None = None) -> None:
        """Take away one type, or everything, at a name."""
        key = to_name(name).canonicalize()
        with self._lock:
            held = self._data.records.get(key, {})
            if rdtype is None:
                self._data.records.pop(key, None)
            else:
                held.pop(dns.rdatatype.from_text(rdtype), None)
                if not held:
                    self._data.records.pop(key, None)
            self._data.rebuild_parents()
            self._cache.clear()

    def replace(self, name: str, rdtype: str, *entries: str | Mapping[str, Any], ttl: int | None = None) -> None:
        """Publish ``entries`` in place of what the name had of this type."""
        with self._lock:
            self.remove(name, rdtype)
            self.add(name, *entries, ttl=ttl)

    def fault(self, name: str, rdtype: str, kind: str, *, times: int | None = None) -> None:
        """Misbehave for this name and type; ``times`` limits it (``timeout`` twice, then answer)."""
        probe = ZoneData()
        probe.fault(to_name(name), dns.rdatatype.from_text(rdtype), kind)  # same names, same complaints
        with self._lock:
            self._live[to_name(name).canonicalize(), dns.rdatatype.from_text(rdtype)] = _LiveFault(kind, times)
            self._cache.clear()

    def clear_faults(self) -> None:
        """Forget all faults, also those written into the zone."""
        with self._lock:
            self._live.clear()
            self._data.faults.clear()
            self._data.rebuild_parents()
            self._cache.clear()

    def asked(self, rdtype: str | None = None) -> list[str]:
        """The names asked so far, in order, optionally of one type."""
        return [q.name for q in list(self.queries) if rdtype is None or q.type == rdtype]

    # -- answering -------------------------------------------------------------------------------------------------

    def _serve(self, ready: threading.Event) -> None:
        assert self._udp is not None
        assert self._tcp is not None
        loop = asyncio.new_event_loop()
        self._loop = loop
        loop.add_reader(self._udp.fileno(), self._read_udp)
        tcp = loop.run_until_complete(asyncio.start_server(self._tcp_client, sock=self._tcp))
        ready.set()
        try:
            loop.run_forever()
        finally:
            loop.remove_reader(self._udp.fileno())
            tcp.close()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    def _read_udp(self) -> None:
        sock, loop = self._udp, self._loop
        if sock is None or loop is None:
            return
        for _ in range(256):  # a batch per wake-up, then let the timers of delayed answers run
            try:
                data, peer = sock.recvfrom(65535)
            except (BlockingIOError, ConnectionError):
                return
            except OSError:
                return
            wire = self._answer(data, "udp")
            if wire is None:
                continue
            if self.latency:
                loop.call_later(self.latency, self._send_udp, wire, peer)
            else:
                self._send_udp(wire, peer)

    def _send_udp(self, wire: bytes, peer: Any) -> None:
        if self._udp is not None:
            with contextlib.suppress(OSError):
                self._udp.sendto(wire, peer)

    async def _tcp_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (size,) = struct.unpack("!H", await reader.readexactly(2))
                wire = self._answer(await reader.readexactly(size), "tcp")
                if wire is None:
                    continue
                if self.latency:
                    await asyncio.sleep(self.latency)
                writer.write(struct.pack("!H", len(wire)) + wire)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def _answer(self, data: bytes, transport: str) -> bytes | None:
        """The octets to send back for one question; None = say nothing."""
        if len(data) < 12 or data[2] & 0x80:
            return None
        with self._lock:
            reply = self._cache.get((data[2:], transport))
            if reply is None:
                try:
                    reply, keep = self._build(data, transport)
                except Exception as problem:
                    self.errors.append(problem)
                    return data[:2] + struct.pack("!HHHHH", 0x8002, 0, 0, 0, 0)
                if keep:
                    self._cache[data[2:], transport] = reply
        if self.log:
            self.queries.append(Query(reply.name, reply.type, transport, time.monotonic()))
        if reply.fault == "timeout":
            return None
        if reply.fault == "garbage":
            return data[:2] + b"\xff" * 40
        if reply.fault == "wrong_id":
            return bytes((data[0] ^ 0x55, data[1])) + reply.wire
        return data[:2] + reply.wire

    def _build(self, data: bytes, transport: str) -> tuple[_Reply, bool]:
        try:
            query = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return _Reply(struct.pack("!HHHHH", 0x8001, 0, 0, 0, 0), "", "malformed"), True
        if not query.question:
            return _Reply(struct.pack("!HHHHH", 0x8001, 0, 0, 0, 0), "", "none"), True
        question = query.question[0]
        name, rdtype = question.name, question.rdtype
        key = name.canonicalize()
        fault, keep = self._fault(key, rdtype)
        response = dns.message.make_response(query, recursion_available=False, our_payload=self.max_udp)
        response.flags |= dns.flags.AA
        if fault in ("servfail", "refused", "notimp", "nxdomain"):
            response.set_rcode(dns.rcode.from_text(fault))
        elif fault == "truncated" and transport == "udp":
            response.flags |= dns.flags.TC
        elif fault not in ("timeout", "garbage", "empty"):
            self._fill(response, name, rdtype, dnssec=bool(query.ednsflags & dns.flags.DO))
        wire = response.to_wire(max_size=65535)
        limit = min(max(query.payload, 512) if query.edns >= 0 else 512, max(self.max_udp, 512))
        if transport == "udp" and len(wire) > limit:
            response.answer.clear()
            response.authority.clear()
            response.flags |= dns.flags.TC
            wire = response.to_wire()
        shown = key.to_text(omit_final_dot=True)
        return _Reply(wire[2:], shown, dns.rdatatype.to_text(rdtype), fault), keep

    def _fault(self, key: dns.name.Name, rdtype: int) -> tuple[str | None, bool]:
        for place in ((key, rdtype), (key, int(dns.rdatatype.ANY))):
            live = self._live.get(place)
            if live is None:
                continue
            if live.left is None:
                return live.kind, True
            if live.left > 0:
                live.left -= 1
                return live.kind, False
        return self._data.fault_for(key, rdtype), True

    def _fill(self, response: dns.message.Message, name: dns.name.Name, rdtype: int, *, dnssec: bool) -> None:
        seen: set[dns.name.Name] = set()
        for _ in range(_MAX_CHAIN):
            key = name.canonicalize()
            held, _wild = self._data.lookup(key)
            if held is None:
                response.set_rcode(dns.rcode.NXDOMAIN)
                self._deny(response, key, dnssec)
                return
            cname = held.get(dns.rdatatype.CNAME)
            if cname is not None and rdtype not in (dns.rdatatype.CNAME, dns.rdatatype.ANY):
                _put(response.answer, name, dns.rdatatype.CNAME, cname, held, dnssec)
                seen.add(key)
                name = cname.rdatas[0].target  # type: ignore[attr-defined]  # a CNAME rdata has a target
                if name.canonicalize() in seen or self._data.fault_for(name.canonicalize(), rdtype):
                    return  # a loop, or a target the client has to ask for itself
                continue
            if rdtype == dns.rdatatype.ANY:
                for kind, found in held.items():
                    _put(response.answer, name, kind, found, held, dnssec)
                return
            if rdtype in held:
                _put(response.answer, name, rdtype, held[rdtype], held, dnssec)
            else:
                self._deny(response, key, dnssec)
            return

    def _deny(self, response: dns.message.Message, key: dns.name.Name, dnssec: bool) -> None:
        """The SOA of a negative answer (RFC 2308), and with DO the zone's NSEC records (RFC 4035 section 3.1.3)."""
        apex = key
        while apex != dns.name.root and dns.rdatatype.SOA not in self._data.records.get(apex, {}):
            apex = apex.parent()
        held = self._data.records.get(apex, {})
        soa = held.get(dns.rdatatype.SOA)
        if soa is None:
            text = f". . 1 7200 900 1209600 {self.negative_ttl}"
            made = dns.rdata.from_text("IN", "SOA", text, relativize=False)
            _put(response.authority, dns.name.root, dns.rdatatype.SOA, RRData(self.negative_ttl, [made]), {}, False)
            return
        _put(response.authority, apex, dns.rdatatype.SOA, soa, held, dnssec)
        if not dnssec:
            return
        for owner, records in self._data.records.items():
            nsec = records.get(dns.rdatatype.NSEC)
            if nsec is None or not owner.is_subdomain(apex):
                continue
            following = nsec.rdatas[0].next.canonicalize()  # type: ignore[attr-defined]  # an NSEC rdata has a next
            star = dns.name.Name((b"*", *apex.labels))
            if owner == key or _covers(owner, following, key) or _covers(owner, following, star):
                _put(response.authority, owner, dns.rdatatype.NSEC, nsec, records, True)


def _covers(owner: dns.name.Name, following: dns.name.Name, key: dns.name.Name) -> bool:
    """Whether ``key`` lies in the gap an NSEC record describes; the last one points back to the apex."""
    return bool(owner < key < following or following <= owner < key)


def _put(
    section: list[dns.rrset.RRset],
    name: dns.name.Name,
    rdtype: int,
    data: RRData,
    held: Mapping[int, RRData],
    dnssec: bool,
) -> None:
    rrset = dns.rrset.from_rdata_list(name, data.ttl, data.rdatas)
    section.append(rrset)
    signatures = held.get(dns.rdatatype.RRSIG) if dnssec else None
    if signatures is not None and rdtype != dns.rdatatype.RRSIG:
        covering = [r for r in signatures.rdatas if r.type_covered == rdtype]  # type: ignore[attr-defined]  # RRSIG
        if covering:
            section.append(dns.rrset.from_rdata_list(name, signatures.ttl, covering))


def _bind_pair(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A TCP and a UDP socket on the same port; with port 0 another pair is tried when the UDP one is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for attempt in range(20):
        tcp = socket.socket(family, socket.SOCK_STREAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp = socket.socket(family, socket.SOCK_DGRAM)
        try:
            tcp.bind((host, port))
            udp.bind((host, tcp.getsockname()[1]))
        except OSError:
            tcp.close()
            udp.close()
            if port or attempt == 19:
                raise
            continue
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        udp.setblocking(False)
        tcp.listen(64)
        tcp.setblocking(False)
        return tcp, udp
    raise OSError("no free pair of ports")
