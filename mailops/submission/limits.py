"""What one client may do: connections, mails a minute, recipients a mail, failed sign-ins. Plain counting, no I/O."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

from ..ports import Clock

WINDOW = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a listener; a client is a signed-in login, else an IP address."""

    messages_per_minute: int = 0  # 0 = no limit
    connections: int = 20  # at one time, from one address
    total_connections: int = 200  # at one time, from all
    recipients: int = 10_000  # per mail; RFC 5321 §4.5.3.1.8 asks for at least 100, but not all send a second part
    failed_logins_per_minute: int = 10
    waiting: int = 50  # mails being stored at one time; above that clients are asked to come back


class Meter:
    """Counts what clients do; owned by one event loop."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.limits = limits
        self._clock = clock
        self._open: Counter[str] = Counter()
        self._mails: dict[str, deque[float]] = {}
        self._failures: dict[str, deque[float]] = {}

    def opened(self, peer: str) -> str | None:
        """Count a new connection; the answer to turn it away with, or None. Pair with :meth:`closed` when None."""
        if self._open.total() >= self.limits.total_connections:
            return "421 4.3.2 Too many connections to this server, try again later"
        if self._open[peer] >= self.limits.connections:
            return f"421 4.7.0 Too many connections from you, at most {self.limits.connections} at a time"
        if self._recent(self._failures, peer) >= self.limits.failed_logins_per_minute:
            return "421 4.7.0 Too many failed sign-ins, try again in a minute"
        self._open[peer] += 1
        return None

    def closed(self, peer: str) -> None:
        self._open[peer] -= 1
        if self._open[peer] <= 0:
            del self._open[peer]

    def mail(self, client: str) -> str | None:
        """Count a mail; the answer to defer it with, or None."""
        most = self.limits.messages_per_minute
        if not most:
            return None
        if self._recent(self._mails, client) >= most:
            left = max(1, round(WINDOW - (self._clock.monotonic() - self._mails[client][0])))
            return f"450 4.7.1 More than {most} mails in a minute from you, try again in {left} s"
        self._note(self._mails, client)
        return None

    def failed_login(self, peer: str) -> None:
        self._note(self._failures, peer)

    def may_sign_in(self, peer: str) -> bool:
        return self._recent(self._failures, peer) < self.limits.failed_logins_per_minute

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
        book.setdefault(key, deque()).append(self._clock.monotonic())
