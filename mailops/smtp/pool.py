"""Sessions kept open between mails, so that a mail costs two round trips and not a new connection.

The pool is itself a :class:`mailops.ports.Transport`: ``connect`` hands out a kept session where one is free,
``close`` on it gives it back. A session is used again while it is younger than ``idle`` seconds since its last mail and
has carried fewer than ``messages`` mails; servers end sessions after their own limits, so when a reused one turns out
closed before its ``MAIL`` was answered, the mail goes out on a fresh connection once, without anybody noticing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..errors import DeliveryError
from ..model.setup import Server
from ..ports import Clock, Outbound, RecipientReply, SendResult
from .session import SmtpSession
from .transport import SmtpTransport


class SessionPool:
    """Keeps up to ``server.max_sessions`` idle sessions per server (none with ``keep`` False); safe to use from several
    threads."""

    def __init__(
        self, transport: SmtpTransport, clock: Clock, *, idle: float = 60.0, messages: int = 1000, keep: bool = True
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._idle = idle
        self.messages = messages
        self._keep = keep
        self._free: dict[Server, list[tuple[SmtpSession, float]]] = {}
        self._lock = threading.Lock()

    def connect(self, server: Server) -> PooledSession:
        """A session to the server, kept or new. Raises :class:`mailops.errors.DeliveryError`."""
        return PooledSession(self, server, self._take(server) or self._transport.connect(server))

    def close(self) -> None:
        """QUIT all sessions that are not in use."""
        with self._lock:
            sessions = [session for kept in self._free.values() for session, _ in kept]
            self._free.clear()
        for session in sessions:
            session.close()

    def interrupt(self, *, handed: bool = False) -> None:
        """As :meth:`SmtpTransport.interrupt`."""
        self._transport.interrupt(handed=handed)

    def _take(self, server: Server) -> SmtpSession | None:
        now = self._clock.monotonic()
        old: list[SmtpSession] = []
        found = None
        with self._lock:
            for key, kept in list(self._free.items()):
                old += [session for session, since in kept if now - since > self._idle]
                if fresh := [(session, since) for session, since in kept if now - since <= self._idle]:
                    self._free[key] = fresh
                else:
                    del self._free[key]
            if self._free.get(server):
                found = self._free[server].pop()[0]
        for session in old:
            session.close()
        return found

    def give_back(self, server: Server, session: SmtpSession) -> None:
        """Keep the session for the next mail, or close it when it is spent."""
        if self._keep and session.alive and session.sent < self.messages:
            with self._lock:
                kept = self._free.setdefault(server, [])
                if len(kept) < max(server.max_sessions, 1):
                    kept.append((session, self._clock.monotonic()))
                    return
        session.close()

    def renew(self, server: Server, session: SmtpSession) -> SmtpSession:
        """A new session in place of this one. Raises :class:`mailops.errors.DeliveryError`."""
        session.close()
        return self._transport.connect(server)


class PooledSession:
    """A session on loan from a :class:`SessionPool`."""

    def __init__(self, pool: SessionPool, server: Server, session: SmtpSession) -> None:
        self._pool = pool
        self._server = server
        self.session = session

    @property
    def offers(self) -> frozenset[str]:
        """As :attr:`SmtpSession.offers`."""
        return self.session.offers

    def send(self, mail: Outbound, on_step: Callable[[str], None] | None = None) -> SendResult:
        """As :meth:`SmtpSession.send`; reconnects at the messages limit, and once for a stale session."""
        try:
            if self.session.alive and self.session.sent >= self._pool.messages:
                self.session = self._pool.renew(self._server, self.session)
            result = self.session.send(mail, on_step)
            if not self.session.stale:
                return result
            self.session = self._pool.renew(self._server, self.session)
        except DeliveryError as error:
            return refused_by(error, mail)
        return self.session.send(mail, on_step)

    def close(self) -> None:
        """Give the session back, or close it when it is spent."""
        self._pool.give_back(self._server, self.session)


def refused_by(error: DeliveryError, mail: Outbound) -> SendResult:
    """A failed connection as the outcome of a mail: each recipient gets the server's reply, or code 0 and words."""
    facts = error.facts
    code, stage = int(facts.get("smtp_code") or 0), str(facts.get("stage") or "connect")
    enhanced = facts.get("enhanced")
    replies = tuple(RecipientReply(recipient, code, enhanced, error.message, stage) for recipient in mail.recipients)
    return SendResult(replies, connection_lost=True, transcript=tuple(facts.get("transcript") or ()))
