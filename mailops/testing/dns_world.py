"""A loopback name server and a resolver that asks it, together: what most DNS tests and demos begin with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..dns.resolver import DnsRun, Resolver
from .dns_server import DnsServer
from .dns_zone import ZoneSource


@contextmanager
def dns_world(
    zone: ZoneSource | None = None, *, latency: float = 0.0, timeout: float = 2.0
) -> Iterator[tuple[DnsServer, DnsRun]]:
    """``(server, run)``: change the zone through the first, ask through the second; ``forget()`` looks anew."""
    server = DnsServer(zone, latency=latency)
    with server, DnsRun(Resolver([server.address], timeout=timeout)) as run:
        yield server, run
