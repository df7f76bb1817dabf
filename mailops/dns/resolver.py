"""The resolver all checks of a run share: asks each question once, keeps every answer as evidence.

A :class:`Resolver` is one look at the world. What was asked once is not asked again in its life; questions in flight
are shared; failures are kept too, so that the report of a run is coherent and a dead server costs its time-out once.
For a fresh look make a new one, or call :meth:`Resolver.forget`. It asks exactly the servers it was given and says so
in every answer; :meth:`Resolver.system` takes the machine's own, and its ``source`` says that.

The core is asynchronous; :class:`DnsRun` below is the blocking face, safe inside a notebook whose loop already runs.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, Self, TypeVar

from ..errors import DnsError
from ..model.text import counted
from .answer import Answer, Status
from .names import askable
from .transport import Endpoint, Reply, UdpClient
from .wire import RCODES

T = TypeVar("T")

_MAX_CHAIN = 12
_FAILED = {2: Status.SERVFAIL, 3: Status.NXDOMAIN, 5: Status.REFUSED}


class Asker(Protocol):
    """What evaluators need: a question in, an answer out, never an exception for what DNS says."""

    def ask(self, name: str, rdtype: str) -> Awaitable[Answer]:
        """Ask once; the name is normalised text (see :mod:`mailops.dns.names`)."""


async def together(jobs: Iterable[Awaitable[T]]) -> list[T]:
    """The results of all jobs, run at the same time; a single one is awaited as it is, without a task."""
    few = list(jobs)
    return list(await asyncio.gather(*few)) if len(few) > 1 else [await job for job in few]


class Resolver:
    """Asks ``servers`` (host and port each). ``timeout`` is the longest a question may take, in seconds."""

    def __init__(
        self,
        servers: Iterable[Endpoint],
        *,
        timeout: float = 5.0,
        tries: int = 4,
        window: int = 256,
        source: str = "given",
        max_answers: int = 200_000,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.servers: tuple[Endpoint, ...] = tuple((host, int(port)) for host, port in servers)
        if not self.servers:
            raise DnsError("no name server to ask", code="dns.no_server", fix="Name one: --resolver 192.0.2.53:53")
        self.source = source
        self._client = UdpClient(window=window, timeout=timeout, tries=tries)
        self._answers: dict[tuple[str, str], Answer] = {}
        self._flight: dict[tuple[str, str], list[asyncio.Future[Answer]]] = {}
        self._max = max_answers
        self._wall = wall
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    def system(cls, **options: object) -> Resolver:
        """The machine's own resolvers (``/etc/resolv.conf``); answers may be filtered or cached there."""
        import dns.resolver

        try:
            found = dns.resolver.Resolver()
        except dns.resolver.NoResolverConfiguration as problem:
            raise DnsError(
                "this machine has no resolver configured",
                code="dns.no_server",
                fix="Name one: --resolver 192.0.2.53:53",
            ) from problem
        pairs = [(str(host), found.port) for host in found.nameservers]
        return cls(pairs, source="this machine's resolver", **options)  # type: ignore[arg-type]  # passed through

    @property
    def asked_of(self) -> str:
        """Who was asked, for people: ``192.0.2.53:53 (given)``."""
        return ", ".join(_endpoint(server) for server in self.servers) + f" ({self.source})"

    @property
    def evidence(self) -> tuple[Answer, ...]:
        """Every answer of this run, in the order they came."""
        return tuple(self._answers.values())

    @property
    def sent(self) -> int:
        """Datagrams sent so far, retransmissions included."""
        return self._client.sent

    def close(self) -> None:
        """Close the sockets."""
        self._client.close()

    def ask(self, name: str, rdtype: str) -> asyncio.Future[Answer]:
        """The answer, from this run's memory where the question was asked before.

        Each caller has a future of its own, so that one who gives up takes nothing from the others; no task is made.
        """
        key = (name, rdtype)
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        known = self._answers.get(key)
        if known is None and not askable(name):
            known = self._keep(Answer(name, rdtype, Status.INVALID, at=self._wall(), detail="no possible name"))
        if known is not None:
            waiter.set_result(known)
        elif key in self._flight:
            self._flight[key].append(waiter)
        else:
            self._flight[key] = [waiter]
            self._client.submit(name, rdtype, self.servers, lambda reply: self._replied(key, reply))
        return waiter

    async def ask_at(self, server: Endpoint, name: str, rdtype: str, *, recurse: bool = False) -> Answer:
        """Ask one server directly, past the run's memory (authoritative comparison, watch)."""
        if not askable(name):
            return Answer(name, rdtype, Status.INVALID, at=self._wall(), detail="no possible name")
        return self._read(name, rdtype, await self._exchange(name, rdtype, (server,), recurse=recurse), ())[0]

    async def ask_raw(self, name: str, rdtype: str) -> Reply:
        """The raw reply with signatures (DO set), for validation."""
        return await self._exchange(name, rdtype, self.servers, dnssec=True)

    async def _exchange(
        self, name: str, rdtype: str, servers: tuple[Endpoint, ...], *, recurse: bool = True, dnssec: bool = False
    ) -> Reply:
        flight: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def done(reply: Reply) -> None:
            if not flight.done():
                flight.set_result(reply)

        self._client.submit(name, rdtype, servers, done, recurse=recurse, dnssec=dnssec)
        return await flight

    # -- from reply to answer --------------------------------------------------------------------------------------

    def _keep(self, answer: Answer) -> Answer:
        if len(self._answers) >= self._max:
            self._answers.pop(next(iter(self._answers)))
        self._answers[answer.name, answer.type] = answer
        return answer

    def _replied(self, key: tuple[str, str], reply: Reply) -> None:
        answer, rest = self._read(*key, reply, ())
        if rest is not None:
            task = asyncio.get_running_loop().create_task(self._follow(key, answer, rest))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        self._deliver(key, answer)

    def _deliver(self, key: tuple[str, str], answer: Answer) -> None:
        self._keep(answer)
        for waiter in self._flight.pop(key, ()):
            if not waiter.done():
                waiter.set_result(answer)

    async def _follow(self, key: tuple[str, str], answer: Answer, target: str) -> None:
        """The server left the end of a CNAME chain to us: ask on."""
        chain = list(answer.chain)
        ttl, ms = answer.ttl, answer.ms
        result = answer
        while True:
            if not askable(target):
                result = Answer(*key, Status.NXDOMAIN, detail=f"CNAME to {target!r}, no possible name")
                break
            reply = await self._exchange(target, key[1], self.servers)
            result, rest = self._read(target, key[1], reply, (key[0], *chain))
            chain += result.chain
            ttl, ms = min(ttl, result.ttl) if result.ttl else ttl, ms + result.ms
            if rest is None:
                break
            if rest in chain[:-1] or len(chain) > _MAX_CHAIN:
                result = Answer(*key, Status.LOOP, detail="CNAME records lead in a circle")
                break
            target = rest
        self._deliver(
            key,
            Answer(
                *key,
                result.status,
                result.values,
                tuple(chain),
                ttl,
                result.server or answer.server,
                result.rcode or answer.rcode,
                ms,
                answer.at,
                result.transport,
                result.tries,
                result.authentic,
                result.detail,
            ),
        )

    def _read(self, name: str, rdtype: str, reply: Reply, before: tuple[str, ...]) -> tuple[Answer, str | None]:
        """The answer in a reply, and the CNAME target still to be asked for where the reply stops short."""
        at, server, parsed = self._wall(), _endpoint(reply.server), reply.parsed
        if parsed is None:
            detail = reply.detail or f"no answer within {self._client.timeout:g} s, sent {counted(reply.tries, 'time')}"
            return Answer(name, rdtype, Status.TIMEOUT, server=server, ms=reply.ms, at=at, detail=detail), None
        rcode = RCODES.get(parsed.rcode, str(parsed.rcode))
        owner, chain, ttl = name, [], 1 << 31
        if parsed.cnames and rdtype != "CNAME":
            seen = {name, *before}
            while owner in parsed.cnames:
                ttl = min(ttl, parsed.ttls.get(owner, ttl))
                owner = parsed.cnames[owner]
                chain.append(owner)
                if owner in seen or len(chain) > _MAX_CHAIN:
                    loop = Answer(
                        name, rdtype, Status.LOOP, (), tuple(chain), server=server, rcode=rcode, ms=reply.ms, at=at,
                        detail="CNAME records lead in a circle",
                    )  # fmt: skip
                    return loop, None
                seen.add(owner)
        values = tuple(parsed.values.get(owner, ()))
        if values:
            status, ttl = Status.FOUND, min(ttl, parsed.ttls.get(owner, ttl))
        elif parsed.rcode == 0:
            status = Status.NODATA
        else:
            status = _FAILED.get(parsed.rcode, Status.ERROR)
        if not values and parsed.negative_ttl is not None:
            ttl = min(ttl, parsed.negative_ttl)
        answer = Answer(
            name,
            rdtype,
            status,
            values,
            tuple(chain),
            ttl if ttl < 1 << 31 else 0,
            server,
            rcode,
            reply.ms,
            at,
            reply.transport,
            reply.tries,
            parsed.authentic,
        )
        open_end = chain and not values and parsed.rcode == 0 and parsed.negative_ttl is None
        return answer, owner if open_end else None


def _endpoint(server: Endpoint) -> str:
    return f"[{server[0]}]:{server[1]}" if ":" in server[0] else f"{server[0]}:{server[1]}"


class DnsRun:
    """The blocking face: its own event loop in its own thread, so that it works with or without a running loop.

    ::

        with DnsRun(Resolver([("127.0.0.1", 5353)])) as run:
            answer = run.ask("example.com", "TXT")
            result = run.do(lambda resolver: check_host(resolver, ...))
    """

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="dns-run", daemon=True)
        self._thread.start()

    def do(self, job: Callable[[Resolver], Awaitable[T]]) -> T:
        """Run an asynchronous job over the resolver and wait for its result."""

        async def run() -> T:
            return await job(self.resolver)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def ask(self, name: str, rdtype: str) -> Answer:
        """One question, from memory where it was asked before."""
        return self.do(lambda resolver: resolver.ask(name, rdtype))

    def close(self) -> None:
        """End the loop and close the sockets."""
        if self._loop.is_closed():
            return

        async def shut() -> None:
            self.resolver.close()

        asyncio.run_coroutine_threadsafe(shut(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, value: object, traceback: object) -> None:
        self.close()
