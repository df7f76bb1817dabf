"""Questions on the wire: a few UDP sockets for all questions, a window, retransmission, TCP where UDP is cut.

Sending everything at once loses packets (a thousand open questions overrun a socket's buffer), so at most ``window``
questions are open; the rest wait in line. What is not answered is sent again, to the next server where there are
several, after a time that follows the measured round trips (RFC 6298) and doubles; a question is given up ``timeout``
seconds after it was first sent. Answers are matched by socket, peer, ID and the echoed question; anything else is
dropped and counted, so that a forged or broken packet can neither answer nor end a question.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .wire import Parsed, Unreadable, encode, parse, question

Endpoint = tuple[str, int]

_SWEEP = 0.02
_FIRST_RTO = 0.8
_MIN_RTO = 0.12


@dataclass(slots=True)
class Reply:
    """What came back for one question; ``parsed`` None = nothing usable within the time."""

    parsed: Parsed | None
    server: Endpoint
    transport: str
    tries: int
    ms: float
    detail: str = ""
    wire: bytes = b""


@dataclass(slots=True)
class _Pending:
    name: str
    rdtype: str
    asked: bytes
    servers: tuple[Endpoint, ...]
    done: Callable[[Reply], None]
    recurse: bool
    dnssec: bool
    ident: int = 0
    turn: int = 0
    tries: int = 0
    started: float = 0.0
    sent: float = 0.0
    resend: float = 0.0
    wait: float = 0.0
    last: Reply | None = None
    junk: int = 0
    sock: _Port | None = None


class _Port:
    """One bound UDP socket of an address family and the questions open on it, by ID and peer."""

    __slots__ = ("asked", "open", "sock")

    def __init__(self, family: int) -> None:
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.open: dict[tuple[int, str, int], _Pending] = {}
        self.asked = 0


QUESTIONS = 16
"""Questions from one port, which the system chose at random: who guesses must find the present one (RFC 5452 §9.2)."""


class UdpClient:
    """Asks questions from the running event loop. One client belongs to one loop."""

    def __init__(self, *, window: int = 256, timeout: float = 5.0, tries: int = 4, ports: int = 4) -> None:
        self.window = window
        self.timeout = timeout
        self.tries = tries
        self.sent = 0
        self.resent = 0
        self.junk = 0
        self._ports_wanted = ports
        self._ports: dict[int, list[_Port]] = {}
        self._spent: list[_Port] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[_Pending] = deque()
        self._pending: dict[int, _Pending] = {}
        self._sweeping = False
        self._srtt = 0.0
        self._rttvar = 0.0
        self._random = random.SystemRandom()
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(
        self,
        name: str,
        rdtype: str,
        servers: tuple[Endpoint, ...],
        done: Callable[[Reply], None],
        *,
        recurse: bool = True,
        dnssec: bool = False,
    ) -> None:
        """Ask; ``done`` is called once, from the event loop, with the reply. The name must be askable."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError("this resolver belongs to another event loop")
        item = _Pending(name, rdtype, question(name, rdtype), servers, done, recurse, dnssec)
        if len(self._pending) < self.window:
            self._start(item)
        else:
            self._waiting.append(item)

    def close(self) -> None:
        """Close the sockets; open questions end as unanswered."""
        for port in [*self._spent, *(port for ports in self._ports.values() for port in ports)]:
            self._close_port(port)
        self._ports.clear()
        self._spent.clear()
        for task in list(self._tasks):
            task.cancel()
        for item in [*self._pending.values(), *self._waiting]:
            item.done(Reply(None, item.servers[0], "udp", item.tries, 0.0, "closed"))
        self._pending.clear()
        self._waiting.clear()

    # -- sending ---------------------------------------------------------------------------------------------------

    def _start(self, item: _Pending) -> None:
        assert self._loop is not None
        self._pending[id(item)] = item
        item.started = self._loop.time()
        item.wait = self._rto()
        self._send(item)
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(_SWEEP, self._sweep)

    def _rto(self) -> float:
        if not self._srtt:
            return min(_FIRST_RTO, self.timeout / 2)
        return min(max(_MIN_RTO, self._srtt + 4 * self._rttvar), self.timeout / 2)

    def _send(self, item: _Pending) -> None:
        assert self._loop is not None
        self._release(item)
        server = item.servers[item.turn % len(item.servers)]
        while True:
            drawn = self._random.getrandbits(32)  # the ID and the socket, in one draw of the system's randomness
            try:
                port = self._port(server, drawn >> 16)
            except OSError as problem:
                self._end(item, Reply(None, server, "udp", item.tries, 0.0, str(problem)))
                return
            item.ident = drawn & 0xFFFF
            key = (item.ident, server[0], server[1])
            if key not in port.open:
                break
        port.open[key] = item
        item.sock = port
        item.tries += 1
        item.sent = self._loop.time()
        item.resend = item.sent + item.wait
        item.wait *= 2
        self.sent += 1
        wire = encode(item.ident, item.asked, recurse=item.recurse, dnssec=item.dnssec)
        with contextlib.suppress(OSError):  # an unreachable server shows as a time-out, or the next one answers
            port.sock.sendto(wire, server)

    def _release(self, item: _Pending) -> None:
        if item.sock is not None:
            server = item.servers[item.turn % len(item.servers)]
            item.sock.open.pop((item.ident, server[0], server[1]), None)
            if item.sock in self._spent and not item.sock.open:
                self._spent.remove(item.sock)
                self._close_port(item.sock)
            item.sock = None

    def _port(self, server: Endpoint, drawn: int) -> _Port:
        assert self._loop is not None
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        ports = self._ports.setdefault(family, [])
        if len(ports) < self._ports_wanted:
            port = _Port(family)
            self._loop.add_reader(port.sock.fileno(), self._readable, port)
            ports.append(port)
        else:
            port = ports[drawn % len(ports)]
        port.asked += 1
        if port.asked >= QUESTIONS:  # the next ones come from another port; this one closes with its last answer
            ports.remove(port)
            self._spent.append(port)
        return port

    def _close_port(self, port: _Port) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(port.sock.fileno())
        port.sock.close()

    def _sweep(self) -> None:
        assert self._loop is not None
        self._sweeping = False
        now = self._loop.time()
        for item in list(self._pending.values()):
            if item.resend == 0.0:
                continue  # on TCP
            if now - item.started >= self.timeout:
                server = item.servers[item.turn % len(item.servers)]
                note = f"{item.junk} unreadable answers were dropped" if item.junk else ""
                self._end(item, item.last or Reply(None, server, "udp", item.tries, 0.0, note))
            elif now >= item.resend and item.tries < max(self.tries, len(item.servers)):
                self._release(item)
                item.turn += 1
                self.resent += 1
                self._send(item)
        if self._pending and not self._sweeping:
            self._sweeping = True
            self._loop.call_later(_SWEEP, self._sweep)

    # -- receiving -------------------------------------------------------------------------------------------------

    def _readable(self, port: _Port) -> None:
        for _ in range(128):  # a batch per wake-up, so that others get their turn
            try:
                wire, peer = port.sock.recvfrom(65535)
            except OSError:
                return
            if len(wire) < 12:
                self.junk += 1
                continue
            item = port.open.get(((wire[0] << 8) | wire[1], peer[0], peer[1]))
            if item is None:
                self.junk += 1
                continue
            try:
                parsed = parse(wire, item.asked, item.name, item.rdtype)
            except Unreadable:
                self.junk += 1
                item.junk += 1
                continue
            self._arrived(item, parsed, wire)

    def _arrived(self, item: _Pending, parsed: Parsed, wire: bytes) -> None:
        assert self._loop is not None
        now = self._loop.time()
        if item.tries == 1:
            self._measure(now - item.sent)
        server = item.servers[item.turn % len(item.servers)]
        if parsed.truncated:
            self._release(item)
            item.resend = 0.0
            task = self._loop.create_task(self._over_tcp(item, server))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        reply = Reply(parsed, server, "udp", item.tries, (now - item.started) * 1000, wire=wire)
        if parsed.rcode not in (0, 3) and len(item.servers) > 1 and item.turn + 1 < len(item.servers):
            self._release(item)
            item.last = reply  # kept in case the others say nothing
            item.turn += 1
            self._send(item)
            return
        self._end(item, reply)

    def _measure(self, rtt: float) -> None:
        if not self._srtt:
            self._srtt, self._rttvar = rtt, rtt / 2
        else:
            self._rttvar += 0.25 * (abs(self._srtt - rtt) - self._rttvar)
            self._srtt += 0.125 * (rtt - self._srtt)

    def _end(self, item: _Pending, reply: Reply) -> None:
        assert self._loop is not None
        self._release(item)
        self._pending.pop(id(item), None)
        if not reply.ms:
            reply.ms = (self._loop.time() - item.started) * 1000
        item.done(reply)
        while self._waiting and len(self._pending) < self.window:
            self._start(self._waiting.popleft())

    async def _over_tcp(self, item: _Pending, server: Endpoint) -> None:
        """The same question over TCP (RFC 7766), within what is left of the time."""
        assert self._loop is not None
        left = max(0.05, self.timeout - (self._loop.time() - item.started))
        wire = encode(item.ident, item.asked, recurse=item.recurse, dnssec=item.dnssec)
        writer: asyncio.StreamWriter | None = None
        reply = Reply(None, server, "tcp", item.tries, 0.0)
        try:
            async with asyncio.timeout(left):
                reader, writer = await asyncio.open_connection(*server)
                writer.write(struct.pack("!H", len(wire)) + wire)
                await writer.drain()
                (size,) = struct.unpack("!H", await reader.readexactly(2))
                got = await reader.readexactly(size)
                parsed = parse(got, item.asked, item.name, item.rdtype)
                if parsed.ident != item.ident or parsed.truncated:
                    raise Unreadable("not the answer to this question")
                reply.parsed, reply.wire = parsed, got
        except (OSError, asyncio.IncompleteReadError, Unreadable, TimeoutError) as problem:
            reply.detail = f"cut over UDP, and over TCP: {problem or type(problem).__name__}"
        finally:
            if writer is not None:
                writer.close()
        if id(item) in self._pending:
            self._end(item, reply)
