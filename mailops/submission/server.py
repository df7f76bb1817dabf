"""The submission listener: binds, protects, limits, and stops without losing a mail.

It listens on loopback unless ``allow_public`` says otherwise, and then only with TLS and sign-in. Passwords are taken
over TLS only; ``allow_insecure_loopback`` lifts that for clients on this machine. Stopping: no new connections, idle
sessions hear 421, mails under way are finished, then the rest is cut.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from ..clock import SystemClock
from ..errors import ConfigError
from ..ports import Clock, Secrets
from .budget import Budget
from .limits import Limits, Meter
from .mail import SubmittedMail
from .protocol import SubmissionSession
from .users import Users


class Door(Protocol):
    """What is asked, in a thread, before a command is answered: the refusal, code first, or None to let it pass."""

    def mail(self, login: str | None, sender: str, size: int) -> str | None:
        """About ``MAIL FROM``; ``sender`` is empty for the null path, ``size`` 0 where none was announced."""

    def recipient(self, login: str | None, address: str) -> str | None:
        """About ``RCPT TO``."""

    def per_minute(self, login: str) -> int | None:
        """The mails a minute that a login may hand over; None: as the listener says."""

    def postmaster(self) -> str | None:
        """The address of the postmaster here; None where there is no domain for one."""


class SubmissionServer:
    """Takes mail over SMTP and calls ``accept`` with it, in a thread; what that returns stands in the 250 answer.

    ``accept`` must return only when the mail is durably stored. A :class:`~mailops.errors.MessageRefused` from it is a
    5xx for the client, every other error a 4xx. ``users`` maps logins to hashes (:func:`hash_password`) or secret
    references (then ``secrets`` is needed). ``require_auth`` is on as soon as there are users. With ``implicit_tls``
    the connection is protected from the start (port 465), else STARTTLS is offered.

    While ``holding`` says so, nothing is taken: 451.

    Use ``await start()`` / ``await stop()`` on a loop of yours, or a ``with`` statement, which runs one in a thread.
    Raises :class:`ConfigError` for a combination that is not safe or cannot work.
    """

    def __init__(
        self,
        accept: Callable[[SubmittedMail], object],
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls_context: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        users: Mapping[str, str] | None = None,
        secrets: Secrets | None = None,
        require_auth: bool | None = None,
        allow_public: bool = False,
        allow_insecure_loopback: bool = False,
        max_size: int = 25 * 1024 * 1024,
        limits: Limits | None = None,
        timeout: float = 300.0,
        hostname: str | None = None,
        clock: Clock | None = None,
        holding: Callable[[], bool] = lambda: False,
        door: Door | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.accept = accept
        self.holding = holding
        self.door = door
        self.host = host
        self.port = port
        self.tls_context = tls_context
        self.implicit_tls = implicit_tls
        self.users = Users(users if users is not None else {}, secrets)
        self.require_auth = bool(self.users) if require_auth is None else require_auth
        self.allow_insecure_loopback = allow_insecure_loopback
        self.max_size = max_size
        self.timeout = timeout
        self.hostname = hostname or socket.gethostname()
        self.clock: Clock = clock or SystemClock()
        self.meter = Meter(limits or Limits(), self.clock)
        self.budget = budget or Budget(self.meter.limits.bytes_under_way)
        self.sessions: set[SubmissionSession] = set()
        self.waiting = 0
        self.stopping = False
        self._check(allow_public)
        self.starttls_needed = tls_context is not None and not implicit_tls and allow_public
        self._listeners: list[asyncio.Server] = []
        self._threads: ThreadPoolExecutor | None = None
        self._thread: _LoopThread | None = None

    def _check(self, allow_public: bool) -> None:
        """Refuse what would take mail from strangers or passwords in the clear."""
        local = is_loopback(self.host)
        if not local and not allow_public:
            raise _config(
                f"The submission listener would be reachable from other machines on {self.host}.",
                "config.submission_public",
                "Listen on 127.0.0.1, or allow public listening, which needs TLS and users.",
                host=self.host,
            )
        if not local and (self.tls_context is None or not self.require_auth or self.allow_insecure_loopback):
            raise _config(
                f"Listening on {self.host} needs TLS and sign-in.",
                "config.submission_unprotected",
                "Give a certificate and users, and require sign-in.",
                host=self.host,
            )
        if self.require_auth and not self.users:
            raise _config("Sign-in is required, but there are no users.", "config.submission_users", "Add a user.")
        if self.users and self.tls_context is None and not self.allow_insecure_loopback:
            raise _config(
                "There are users but no TLS, so nobody could sign in.",
                "config.submission_unprotected",
                "Give tls_cert and tls_key in [serve]; on a loopback address sign-in goes without.",
            )
        if self.implicit_tls and self.tls_context is None:
            raise _config("TLS from the start needs a certificate.", "config.submission_tls", "Give a certificate.")
        if self.max_size <= 0 or not 0 <= self.port < 65536:
            raise _config(
                "Size limit and port must be usable numbers.",
                "config.submission_number",
                "Give a size limit above 0 and a port from 0 (any free one) to 65535.",
                max_size=self.max_size,
                port=self.port,
            )

    # --- on a loop ----------------------------------------------------------------------------------------------------

    async def start(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Bind, or take these (:func:`bound`), and serve; afterwards ``port`` is the real one."""
        self.stopping = False
        context = self.tls_context if self.implicit_tls else None
        loop = asyncio.get_running_loop()
        for sock in bound(self.host, self.port) if sockets is None else sockets:
            self._listeners.append(
                await loop.create_server(lambda: SubmissionSession(self), sock=sock, ssl=context, backlog=128)
            )
        self._threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="submission")
        self.port = self._listeners[0].sockets[0].getsockname()[1]

    async def ended(self) -> None:
        """Wait until it listens no more."""
        await asyncio.gather(*(listener.wait_closed() for listener in self._listeners))

    def take_over(self, other: SubmissionServer) -> None:
        """Go on as ``other`` is set up, which never listened: logins, limits, sizes, name. Sessions that stand
        stay, and what they are in the midst of is finished as it began."""
        self.accept, self.door, self.users = other.accept, other.door, other.users
        self.max_size, self.hostname, self.require_auth = other.max_size, other.hostname, other.require_auth
        self.meter.limits = other.meter.limits
        self.budget.octets = other.budget.octets

    async def stop(self, timeout: float = 10.0) -> None:
        """Stop taking connections, let mails under way end (at most ``timeout`` seconds), then close the rest."""
        self.stopping = True
        for listener in self._listeners:
            listener.close()
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while self.sessions and loop.time() < end:
            for session in list(self.sessions):
                if session.idle:
                    session.goodbye()
            await asyncio.sleep(0.02)
        for session in list(self.sessions):
            session.abort()
        for _ in range(50):
            if not self.sessions:
                break
            await asyncio.sleep(0.02)
        if self._threads is not None:
            # A mail being stored is stored to the end, though its client may not hear of it.
            await loop.run_in_executor(None, self._threads.shutdown)
            self._threads = None
        self._listeners.clear()

    def in_thread(self, work: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Run blocking work off the loop."""
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *args)

    # --- in a thread --------------------------------------------------------------------------------------------------

    def __enter__(self) -> SubmissionServer:
        self._thread = _LoopThread()
        try:
            self._thread.run(self.start())
        except BaseException:
            self._thread.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._thread is not None:
            try:
                self._thread.run(self.stop())
            finally:
                self._thread.close()
                self._thread = None


class _LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="submission", daemon=True)
        self._thread.start()

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def bound(host: str, port: int) -> list[socket.socket]:
    """Sockets for a listener, one for each address of the host's name; port 0 takes a free one, the same for all. They
    do not listen yet. An address of a family that this machine has not is left out, where there is another. Raises
    :class:`ConfigError` ``config.submission_bind``."""
    found: list[socket.socket] = []
    trouble: OSError | None = None
    try:
        for family, kind, proto, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            try:
                sock = socket.socket(family, kind, proto)
                found.append(sock)
                if os.name == "posix":
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind((address[0], port, *address[2:]))
                port = sock.getsockname()[1]
            except OSError as error:
                if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise
                trouble = error
                if error.errno == errno.EADDRNOTAVAIL:
                    found.pop().close()
        if not found:
            raise trouble or OSError("the name has no address")
    except (OSError, OverflowError) as error:
        for sock in found:
            sock.close()
        said = "a port is a number from 0 to 65535" if isinstance(error, OverflowError) else error.strerror or error
        raise _config(
            f"Cannot listen on {host}:{port}: {said}.",
            "config.submission_bind",
            f"{host} is no address of this machine. Give one that it has: 127.0.0.1, or 0.0.0.0 for all of them."
            if isinstance(error, socket.gaierror) or getattr(error, "errno", None) == errno.EADDRNOTAVAIL
            else "Choose a free port; ports below 1024 need the right to bind them.",
            host=host,
            port=port,
        ) from error
    return found


def is_loopback(host: str) -> bool:
    """Whether the name or address means only this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _config(message: str, code: str, fix: str, **facts: Any) -> ConfigError:
    return ConfigError(message, code=code, facts=facts, fix=fix)
