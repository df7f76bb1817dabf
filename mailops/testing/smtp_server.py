"""A loopback SMTP server that behaves as a script says: ``with SmtpServer(script=[...]) as smtp: ...``.

The session protocol is in ``smtp_session``, the rules in ``smtp_script``, the books in ``smtp_books``, what sessions
share in ``smtp_core``. Here a core gets to run: :class:`SmtpServer` in a thread of its own with its own event loop,
``main`` as a process (``python -m mailops.testing.smtp_server``).
The server binds 127.0.0.1 only.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import stat
import sys
import threading
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

from mailops.errors import ConfigError

from .dsn import DsnSender, PendingBounce
from .smtp_books import LogEntry
from .smtp_core import EXTENSIONS, Credentials, ServerTls, SmtpCore
from .smtp_script import Rule, load_script
from .smtp_session import ReceivedMessage, SmtpSession


class SmtpServer:
    """A running loopback server, in a thread of its own. Use it in a ``with`` statement.

    ``script`` is a sequence of rules (see ``smtp_script``); ``tls`` a :class:`ServerTls` (``Authority.server_tls``
    makes one); ``auth`` a mapping of login to password or token, or a callable that judges an :class:`AuthAttempt`;
    ``extensions`` what EHLO offers. ``clock`` rules greylisting, rates and times of receipt; waits are real seconds.
    ``store=False`` keeps no messages, ``trace=False`` no commands and replies (both for long runs). An exception
    inside the server is raised by ``close``: a broken peer must not pass for a quiet one.
    """

    session_type: type[SmtpSession] = SmtpSession

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
        # The loop runs in its own thread from the start: the caller may be inside another loop (a notebook is).
        self._thread = threading.Thread(target=self._loop.run_forever, name="smtp-peer", daemon=True)
        self._thread.start()
        listening = self._loop.create_server(lambda: self.session_type(self._core), self.host, self.port, backlog=512)
        try:
            self._listener = asyncio.run_coroutine_threadsafe(listening, self._loop).result(timeout=10)
        except OSError:
            self._end_loop()
            raise
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    def _end_loop(self) -> None:
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=10)
        if not self._loop.is_closed():
            self._loop.close()
            self._core.books.close()
        self._thread = None

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
        self._end_loop()
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
    """Serve until SIGTERM, the end of ``--max-seconds``, or that of a pipe on standard input; prints one JSON ready
    line."""
    parser = argparse.ArgumentParser(prog="python -m mailops.testing.smtp_server", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 = any free port")
    parser.add_argument("--log", help="append one JSON line per accepted mail, before it is answered")
    parser.add_argument("--fsync", action="store_true", help="make each line survive a power cut")
    parser.add_argument(
        "--script",
        help="JSON: a list of rules, or an object with rules, auth, tls, extensions, max_size, max_recipients",
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
            rules,
            log_file=options.log,
            fsync=options.fsync,
            store=not options.no_store,
            **{"trace": False, **settings},  # nobody could read it in another process; a script may still name it
        )
    except (ConfigError, TypeError, OSError) as error:
        print(f"smtp_server: {error}", file=sys.stderr)
        return 2
    asyncio.run(_serve(core, options.port, options.max_seconds))
    return 0


def _is_pipe(descriptor: int) -> bool:
    """Whether somebody holds the other end: then its end is ours. In the background, under nohup or systemd, nobody
    does, and standard input is at its end from the start."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


async def _serve(core: SmtpCore, port: int, max_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows; the end of standard input stops it there
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

    if _is_pipe(0):
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
