"""A loopback SMTP server that behaves as a script says: ``with SmtpServer(script=[...]) as smtp: ...``.

The session protocol is in ``smtp_session``, the rules in ``smtp_script``, the books in ``smtp_books``. Here the parts
meet: :class:`SmtpCore` holds the settings and the state that sessions share, :class:`SmtpServer` runs a core in a
thread of its own with its own event loop, ``main`` runs one as a process (``python -m mailops.testing.smtp_server``).
The server binds 127.0.0.1 only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import ssl
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from mailops.clock import SystemClock
from mailops.errors import ConfigError
from mailops.ports import Clock

from .dsn import DsnSender, PendingBounce
from .smtp_books import Books, LogEntry
from .smtp_script import Rule, ScriptState, load_script
from .smtp_session import AuthAttempt, ReceivedMessage, SmtpSession

EXTENSIONS = frozenset({"PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "STARTTLS", "AUTH", "ENHANCEDSTATUSCODES", "DSN"})
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
        hostname: str = "peer.mailops.test",
        clock: Clock | None = None,
        log_file: str | Path | None = None,
        fsync: bool = False,
        store: bool = True,
        trace: bool = True,
    ) -> None:
        unknown = sorted(set(extensions) - EXTENSIONS) or sorted(set(mechanisms) - set(MECHANISMS))
        if unknown:
            raise ConfigError(f"The test peer does not know {unknown[0]}.", facts={"known": sorted(EXTENSIONS)})
        self.script = ScriptState(script)
        self.tls = tls
        self.auth = auth
        self.auth_required = auth is not None if auth_required is None else auth_required
        self.mechanisms = tuple(mechanisms)
        self.extensions = frozenset(extensions)
        self.max_size = max_size
        self.hostname = hostname
        self.clock: Clock = clock or SystemClock()
        self.store = store
        self.trace = trace
        self.books = Books(log_file, fsync=fsync)
        self.counters: Counter[str] = Counter()
        self.sessions: set[SmtpSession] = set()
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

    def starttls_offered(self, session: SmtpSession) -> bool:
        return (
            self.tls is not None and self.tls.mode == "starttls" and not session.tls and "STARTTLS" in self.extensions
        )

    def mechanisms_for(self, session: SmtpSession) -> tuple[str, ...]:
        """AUTH is offered under TLS only, where the server has TLS at all (RFC 4954 section 4)."""
        usable = self.auth is not None and "AUTH" in self.extensions and (self.tls is None or session.tls)
        return self.mechanisms if usable else ()

    def offers(self, session: SmtpSession) -> list[str]:
        """The EHLO lines after the greeting."""
        lines: list[str] = [
            name
            for name in ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN")
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


class SmtpServer:
    """A running loopback server, in a thread of its own. Use it in a ``with`` statement.

    ``script`` is a sequence of rules (see ``smtp_script``); ``tls`` a :class:`ServerTls` (``Authority.server_tls``
    makes one); ``auth`` a mapping of login to password or token, or a callable that judges an :class:`AuthAttempt`;
    ``extensions`` what EHLO offers. ``clock`` rules greylisting, rates and times of receipt; waits are real seconds.
    ``store=False`` keeps no messages, ``trace=False`` no commands and replies (both for long runs). An exception
    inside the server is raised by ``close``: a broken peer must not pass for a quiet one.
    """

    def __init__(
        self,
        script: Iterable[Rule] = (),
        *,
        tls: ServerTls | None = None,
        auth: Credentials | None = None,
        extensions: Iterable[str] = EXTENSIONS,
        port: int = 0,
        **settings: Any,
    ) -> None:
        self._core = SmtpCore(script, tls=tls, auth=auth, extensions=extensions, **settings)
        if tls is not None:
            self._core.tls_context()  # a missing file shows here, not at the first handshake
        self.host = "127.0.0.1"
        self.port = port
        self._loop = asyncio.new_event_loop()
        self._errors: list[BaseException] = []
        self._listener: asyncio.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> SmtpServer:
        """Bind and serve; returns itself. ``with`` calls it."""
        if self._thread is not None:
            return self
        self._loop.set_exception_handler(self._keep_error)
        try:
            self._listener = self._loop.run_until_complete(
                self._loop.create_server(lambda: SmtpSession(self._core), self.host, self.port, backlog=512)
            )
        except OSError:
            self._loop.close()
            self._core.books.close()
            raise
        self.port = self._listener.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"smtp-peer-{self.port}", daemon=True)
        self._thread.start()
        return self

    def _keep_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError):  # the line went away
            return
        self._errors.append(error or RuntimeError(context.get("message", "unknown trouble in the SMTP peer")))

    def close(self) -> None:
        """Stop listening, cut open sessions, end the thread. Raises what went wrong inside the server, if anything."""
        if self._thread is not None and self._listener is not None:
            self._loop.call_soon_threadsafe(self._listener.close)
            asyncio.run_coroutine_threadsafe(self._core.stop(), self._loop).result(timeout=10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=10)
        if not self._loop.is_closed():
            self._loop.close()
            self._core.books.close()
        self._thread = None
        if self._errors:
            raise self._errors.pop(0)

    def __enter__(self) -> SmtpServer:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is None:
            self.close()
            return
        try:
            self.close()
        except Exception as trouble:
            error.add_note(f"the SMTP peer failed as well: {trouble!r}")

    # -- what arrived -------------------------------------------------------------------------------------------------

    @property
    def messages(self) -> list[ReceivedMessage]:
        """The mails taken so far, oldest first (a copy)."""
        with self._core.accepted:
            return list(self._core.messages)

    @property
    def accepted(self) -> int:
        """How many mails were taken since the start; ``clear`` does not touch it."""
        return self._core.counters["accepted"]

    @property
    def log(self) -> list[LogEntry]:
        """Everything that happened, oldest first (a copy)."""
        return list(self._core.books.entries)

    @property
    def counters(self) -> dict[str, int]:
        """Sessions, mails, recipients and bytes accepted, replies by code, faults by step."""
        return dict(self._core.counters)

    @property
    def open_sessions(self) -> int:
        """Connections open at this moment."""
        return len(self._core.sessions)

    def wait_for(self, count: int, timeout: float = 10.0) -> list[ReceivedMessage]:
        """The messages, as soon as ``count`` were taken since start or ``clear``; raises :class:`TimeoutError`."""
        core = self._core

        def enough() -> bool:
            return (len(core.messages) if core.store else core.counters["accepted"]) >= count

        with core.accepted:
            if not core.accepted.wait_for(enough, timeout=timeout):
                last = "; ".join(f"{entry.event} {entry.text}" for entry in core.books.entries[-6:])
                raise TimeoutError(
                    f"{len(core.messages)} of {count} mails within {timeout} s; last: {last or 'nothing'}"
                )
            return list(core.messages)

    def clear(self) -> None:
        """Forget messages, bounces and the log in memory; counters, script state and the log file stay."""
        with self._core.accepted:
            self._core.messages.clear()
            self._core.bounces.clear()
            self._core.books.entries.clear()

    # -- reports that come back ---------------------------------------------------------------------------------------

    def pending_bounces(self) -> list[PendingBounce]:
        """The delivery reports that ``bounce`` rules have queued and nobody has delivered; ``.data`` is the mail."""
        with self._core.accepted:
            return list(self._core.bounces)

    def deliver_bounces(self, host: str, port: int) -> int:
        """Hand the pending reports to an SMTP server (null reverse-path); how many. What is refused stays pending."""
        pending = self.pending_bounces()
        sender = DsnSender(host, port)
        for bounce in sender.deliver_all(pending):
            with self._core.accepted:
                self._core.bounces.remove(bounce)
        return len(pending) - len(sender.refused)


# -- as a process -----------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until standard input closes, SIGTERM, or the end of ``--max-seconds``; prints one JSON ready line."""
    parser = argparse.ArgumentParser(prog="python -m mailops.testing.smtp_server", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 = any free port")
    parser.add_argument("--log", help="append one JSON line per accepted mail, before it is answered")
    parser.add_argument("--fsync", action="store_true", help="make each line survive a power cut")
    parser.add_argument(
        "--script", help="JSON: a list of rules, or an object with rules, auth, tls, extensions, max_size"
    )
    parser.add_argument("--no-store", action="store_true", help="keep no messages in memory")
    parser.add_argument("--max-seconds", type=float, default=3600.0, help="the longest it lives")
    options = parser.parse_args(argv)
    try:
        settings = load_script(options.script) if options.script else {}
        rules = settings.pop("rules", ())
        if "tls" in settings:
            settings["tls"] = ServerTls(**settings["tls"])
        core = SmtpCore(
            rules, log_file=options.log, fsync=options.fsync, store=not options.no_store, trace=False, **settings
        )
    except (ConfigError, TypeError, OSError) as error:
        print(f"smtp_server: {error}", file=sys.stderr)
        return 2
    asyncio.run(_serve(core, options.port, options.max_seconds))
    return 0


async def _serve(core: SmtpCore, port: int, max_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    listener = await loop.create_server(lambda: SmtpSession(core), "127.0.0.1", port, backlog=512)

    def watch_stdin() -> None:
        try:
            while os.read(0, 4096):
                pass
        except OSError:
            pass
        if not loop.is_closed():
            loop.call_soon_threadsafe(over.set)

    threading.Thread(target=watch_stdin, daemon=True).start()
    ready = {"ready": True, "host": "127.0.0.1", "port": listener.sockets[0].getsockname()[1], "pid": os.getpid()}
    print(json.dumps(ready), flush=True)
    try:
        await asyncio.wait_for(over.wait(), max_seconds)
    except TimeoutError:
        pass
    listener.close()
    await core.stop()


if __name__ == "__main__":
    sys.exit(main())
