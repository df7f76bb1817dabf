"""What one client may do: connections, mails a minute, recipients a mail, failed sign-ins. Plain counting, no I/O.

Failed sign-ins count per address *and* login: who guesses one login's password bars that login at that address, and no
other program there. A place among the tries is taken before the password is looked at, so tries side by side are no
more than tries one after the other. An address that guesses many logins is turned away at connect, but never this
machine's own (as Postfix exempts ``$mynetworks``).
"""

from __future__ import annotations

import ipaddress
from collections import Counter, deque
from dataclasses import dataclass
from enum import Enum

from ..ports import Clock

WINDOW = 60.0
KEPT = 100_000  # moments kept of one client; no limit counts further
SPRAY = 5  # times the failures of one login that an address may have with all logins


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a listener; a client is a signed-in login, else an IP address."""

    messages_per_minute: int = 0  # 0 = no limit; counted are mails that were taken
    connections: int = 20  # at one time, from one address
    total_connections: int = 200  # at one time, from all
    recipients: int = 10_000  # per mail; RFC 5321 §4.5.3.1.8 asks for at least 100, but not all send a second part
    failed_logins_per_minute: int = 10  # from one address with one login
    waiting: int = 200  # mails being stored at one time; above that clients are asked to come back
    patience: float = 0.0  # seconds for which an answer is held back before one of the limits refuses
    bytes_under_way: int = 64 * 1024 * 1024  # of large mails at one time


class Turn(Enum):
    """Whether a password may be tried now."""

    GO = "go"
    WAIT = "wait"  # as many tries are under way as may fail
    NO = "no"


class Meter:
    """Counts what clients do; owned by one event loop."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.limits = limits
        self._clock = clock
        self._open: Counter[str] = Counter()
        self._mails: dict[str, deque[float]] = {}
        self._failures: dict[str, deque[float]] = {}
        self._trying: Counter[str] = Counter()

    def opened(self, peer: str) -> str | None:
        """Count a new connection; the answer to turn it away with, or None. Pair with :meth:`closed` when None."""
        if self._open.total() >= self.limits.total_connections:
            return "421 4.3.2 Too many connections to this server, try again later"
        if self._open[peer] >= self.limits.connections:
            return f"421 4.7.0 Too many connections from you, at most {self.limits.connections} at a time"
        if not _own(peer) and self._recent(self._failures, peer) >= SPRAY * self.limits.failed_logins_per_minute:
            return "421 4.7.0 Too many failed sign-ins, try again in a minute"
        self._open[peer] += 1
        return None

    def closed(self, peer: str) -> None:
        self._open[peer] -= 1
        if self._open[peer] <= 0:
            del self._open[peer]

    def wait(self, client: str, most: int) -> float:
        """Seconds until a client that may hand over ``most`` mails a minute (0 = any number) may go on; 0 = now."""
        if not most or self._recent(self._mails, client) < most:
            return 0.0
        return max(0.01, WINDOW - (self._clock.monotonic() - self._mails[client][0]))

    def taken(self, client: str) -> None:
        """Count a mail that was taken: what was refused, or given up by its client, cost nobody anything."""
        self._note(self._mails, client)

    def try_sign_in(self, peer: str, login: str) -> Turn:
        """A place among the tries of this address with this login. Pair ``GO`` with :meth:`signed_in`."""
        key, most = _pair(peer, login), self.limits.failed_logins_per_minute
        failed = self._recent(self._failures, key)
        if failed >= most or (not _own(peer) and self._recent(self._failures, peer) >= SPRAY * most):
            return Turn.NO
        if failed + self._trying[key] >= most:
            return Turn.WAIT
        self._trying[key] += 1
        return Turn.GO

    def signed_in(self, peer: str, login: str, right: bool) -> None:
        """The end of a try."""
        key = _pair(peer, login)
        self._trying[key] -= 1
        if self._trying[key] <= 0:
            del self._trying[key]
        if not right:
            self._note(self._failures, key)
            self._note(self._failures, peer)

    def _recent(self, book: dict[str, deque[float]], key: str) -> int:
        times = book.get(key)
        if times is None:
            return 0
        oldest = self._clock.monotonic() - WINDOW
        while times and times[0] <= oldest:
            times.popleft()
        if not times:
            del book[key]
        return len(times)

    def _note(self, book: dict[str, deque[float]], key: str) -> None:
        if len(book) > 10_000:  # forget those who did nothing for a minute; addresses are cheap to make up
            for other in list(book):
                self._recent(book, other)
        book.setdefault(key, deque(maxlen=KEPT)).append(self._clock.monotonic())


def _pair(peer: str, login: str) -> str:
    return f"{peer} {login[:320]}"


def _own(peer: str) -> bool:
    """Whether the client is on this machine: one program that guesses must not shut the others out."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
