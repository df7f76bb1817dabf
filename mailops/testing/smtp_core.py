"""What all sessions of a loopback SMTP server share: settings, script state, books, messages, waiting reports."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mailops.clock import SystemClock
from mailops.errors import ConfigError
from mailops.ports import Clock

from .dsn import PendingBounce
from .smtp_auth import AuthAttempt
from .smtp_books import Books
from .smtp_script import Rule, ScriptState
from .smtp_session import ReceivedMessage
from .smtp_wire import WireSession

EXTENSIONS = frozenset({"PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "STARTTLS", "AUTH", "ENHANCEDSTATUSCODES", "DSN"})
KNOWN = EXTENSIONS | {"CHUNKING"}  # offered where it is asked for: faults at DATA are the common ones
HOSTNAME = "peer.mailops.test"  # as the peers call themselves
MECHANISMS = ("PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER")
Credentials = Mapping[str, str] | Callable[[AuthAttempt], bool]


@dataclass(frozen=True, slots=True)
class ServerTls:
    """How the server protects connections: ``mode`` is ``starttls`` or ``tls`` (at once), the rest are PEM files.

    With ``client_ca`` a client certificate is asked for (needed when ``require_client``); a verified one signs in.
    """

    mode: str
    certfile: str
    keyfile: str
    client_ca: str | None = None
    require_client: bool = False

    def __post_init__(self) -> None:
        if self.mode not in ("starttls", "tls"):
            raise ConfigError(f"TLS mode is 'starttls' or 'tls', not {self.mode!r}.", facts={"mode": self.mode})

    def context(self) -> ssl.SSLContext:
        """The server-side context made from the files."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certfile, self.keyfile)
        if self.client_ca is not None:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED if self.require_client else ssl.CERT_OPTIONAL
        return context


class SmtpCore:
    """Settings, script, books and messages of one server; everything here runs in the server's loop."""

    MAIL_PARAMETERS = {
        "SIZE": "SIZE",
        "BODY": "8BITMIME",
        "SMTPUTF8": "SMTPUTF8",
        "RET": "DSN",
        "ENVID": "DSN",
        "AUTH": "AUTH",
    }
    RCPT_PARAMETERS = {"NOTIFY": "DSN", "ORCPT": "DSN"}

    def __init__(
        self,
        script: Iterable[Rule] = (),
        *,
        tls: ServerTls | None = None,
        auth: Credentials | None = None,
        auth_required: bool | None = None,
        mechanisms: Sequence[str] = MECHANISMS,
        extensions: Iterable[str] = EXTENSIONS,
        max_size: int = 50 * 1024 * 1024,
        max_recipients: int = 10_000,
        hostname: str = HOSTNAME,
        clock: Clock | None = None,
        log_file: str | Path | None = None,
        fsync: bool = False,
        store: bool = True,
        trace: bool = True,
    ) -> None:
        unknown = sorted(set(extensions) - KNOWN) or sorted(set(mechanisms) - set(MECHANISMS))
        if unknown:
            raise ConfigError(f"The test peer does not know {unknown[0]}.", facts={"known": sorted(KNOWN)})
        self.script = ScriptState(script)
        self.tls = tls
        self.auth = auth
        self.auth_required = auth is not None if auth_required is None else auth_required
        self.mechanisms = tuple(mechanisms)
        self.extensions = frozenset(extensions)
        self.max_size = max_size
        self.max_recipients = max_recipients
        self.hostname = hostname
        self.clock: Clock = clock or SystemClock()
        self.store = store
        self.trace = trace
        self.books = Books(log_file, fsync=fsync)
        self.counters: Counter[str] = Counter()
        self.sessions: set[WireSession] = set()
        self.accepted = threading.Condition()
        self.messages: list[ReceivedMessage] = []
        self.bounces: list[PendingBounce] = []
        self._context: ssl.SSLContext | None = None

    def next_session(self) -> int:
        self.counters["sessions"] += 1
        return self.counters["sessions"]

    def note(self, session: int, event: str, text: str = "") -> None:
        if self.trace:
            self.books.note(session, event, text)

    def tls_context(self) -> ssl.SSLContext:
        assert self.tls is not None
        if self._context is None:
            self._context = self.tls.context()
        return self._context

    def starttls_offered(self, session: WireSession) -> bool:
        return (
            self.tls is not None and self.tls.mode == "starttls" and not session.tls and "STARTTLS" in self.extensions
        )

    def mechanisms_for(self, session: WireSession) -> tuple[str, ...]:
        """AUTH is offered under TLS only, where the server has TLS at all (RFC 4954 section 4)."""
        usable = self.auth is not None and "AUTH" in self.extensions and (self.tls is None or session.tls)
        return self.mechanisms if usable else ()

    def offers(self, session: WireSession) -> list[str]:
        """The EHLO lines after the greeting."""
        lines: list[str] = [
            name
            for name in ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN", "CHUNKING")
            if name in self.extensions
        ]
        if "SIZE" in self.extensions:
            lines.append(f"SIZE {self.max_size}")
        if self.starttls_offered(session):
            lines.append("STARTTLS")
        mechanisms = self.mechanisms_for(session)
        if mechanisms:
            lines.append("AUTH " + " ".join(mechanisms))
        return lines

    def foreign_parameter(self, parameters: Mapping[str, str | None], known: Mapping[str, str]) -> str | None:
        """The first MAIL or RCPT parameter whose extension is not offered (RFC 5321 section 4.1.1.11)."""
        for name in parameters:
            if known.get(name) not in self.extensions:
                return name
        return None

    def credentials_right(self, attempt: AuthAttempt) -> bool:
        if self.auth is None:
            return False
        if callable(self.auth):
            return self.auth(attempt)
        if attempt.login:
            return self.auth.get(attempt.login) == attempt.secret
        return attempt.is_token and attempt.secret in self.auth.values()

    def accept(self, message: ReceivedMessage, later: Mapping[str, Rule]) -> int:
        """Book a mail; its number. The caller flushes the books before it answers."""
        counters = self.counters
        with self.accepted:
            counters["accepted"] += 1
            number = counters["accepted"]
            counters["recipients accepted"] += len(message.recipients)
            counters["bytes accepted"] += len(message.data)
            if self.store:
                self.messages.append(message)
            if message.envelope_from:  # a report about a report would start a loop (RFC 5321 section 6.1)
                for recipient, rule in later.items():
                    self.bounces.append(PendingBounce(message, recipient, rule, self.hostname, len(self.bounces) + 1))
            self.accepted.notify_all()
        self.books.record(
            {
                "event": "accepted",
                "n": number,
                "session": message.session,
                "message_id": message.message_id,
                "from": message.envelope_from,
                "recipients": message.recipients,
                "bytes": len(message.data),
                "at": message.received_at.isoformat(),
            }
        )
        self.note(message.session, "accepted", message.message_id or "")
        return number

    async def stop(self) -> None:
        """Cut every session and wait until they have ended."""
        for session in list(self.sessions):
            session.abort()
        for _ in range(200):
            if not self.sessions:
                break
            await asyncio.sleep(0.005)
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.books.close()
