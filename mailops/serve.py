"""``mailops serve``: takes mail from applications over SMTP and sends what is due, in one process.

The listener stores a mail before it answers 250. A second thread runs the queue, at intervals and as soon as
something came in, so that applications need no scheduler of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .errors import ConfigError, MailopsError
from .model.address import NULL_PATH
from .model.mail import Submission
from .model.text import harmless
from .platforms import give_memory_back, require_journal
from .queue.compose import header_of
from .relay.door import most_octets, recipient_barred, require_room
from .relay.logins import company_for, require_authors, require_sender
from .secrets import install_log_redaction
from .settings import ServeSection
from .submission import Limits, SubmissionServer, SubmittedMail
from .submission.server import is_loopback

if TYPE_CHECKING:
    from .ops import Ops


FRESH = 5.0
"""Seconds for which the servers' sizes are taken as read."""


class Door:
    """What the listener asks before it answers MAIL and RCPT."""

    def __init__(self, ops: Ops) -> None:
        self._ops = ops
        self._most: int | None = None
        self._read_at = -FRESH

    def _refresh(self) -> None:
        """Read what servers carry, every some seconds: a size is announced with nearly every mail."""
        now = self._ops.clock.monotonic()
        if now - self._read_at >= FRESH:
            self._most, self._read_at = most_octets(self._ops.setup), now

    def mail(self, login: str | None, sender: str, size: int) -> str | None:
        """A sender that is not the login's; a size that no server may carry."""
        require_sender(self._ops.logins.find(login), sender)
        if size:
            self._refresh()
        most = self._most
        if size and most is not None and size > most:
            return f"552 5.3.4 The message is larger than any outgoing server takes, at most {most} octets"
        return None

    def per_minute(self, login: str) -> int | None:
        """The limit of a login of its own."""
        found = self._ops.logins.find(login)
        return found.messages_per_minute if found else None

    def recipient(self, _login: str | None, address: str) -> str | None:
        """An address that gets no mail at all."""
        why = recipient_barred(self._ops.engine, address, self._ops.clock)
        return f"550 5.7.1 {why}" if why else None


def accept(ops: Ops, mail: SubmittedMail) -> str:
    """Store a submitted mail; its id in the queue, for the answer."""
    login = ops.logins.find(mail.login)
    author = header_of(mail.data, b"from") or mail.envelope_from or None
    require_authors(login, author)
    setup = ops.setup
    company, _ = company_for(login, author, setup)
    submission = Submission(
        raw=mail.data,
        sender=mail.envelope_from or None,
        return_path=mail.envelope_from or NULL_PATH,
        bounces=(login.bounces if login else None) or ops.workspace.settings.serve.bounces,
        company=company,
        login=mail.login,
        peer=mail.peer[:64],
        envelope_to=mail.recipients,
        origin="smtp",
    )
    return str(ops.queue.hand_over(submission, setup=setup, check=require_room))


def make_server(ops: Ops, *, host: str | None = None, port: int | None = None) -> SubmissionServer:
    """The one listener that ``host``, ``port`` and ``require_auth`` of ``[serve]`` describe."""
    settings = ops.workspace.settings.serve
    return _server(
        ops,
        host or settings.host,
        settings.port if port is None else port,
        tls_context=_context(settings),
        users=ops.logins,
        require_auth=settings.require_auth or None,
    )


def make_servers(ops: Ops, *, host: str | None = None, port: int | None = None) -> list[SubmissionServer]:
    """The listeners of ``[[serve.listener]]``, else the one of ``[serve]``; a host or port given here means that one.

    Raises :class:`ConfigError` for one that would not be safe or cannot work, before any of them listens.
    """
    settings = ops.workspace.settings.serve
    if host is not None or port is not None or not settings.listener:
        return [make_server(ops, host=host, port=port)]
    context = _context(settings)
    servers = []
    for one in settings.listener:
        if one.tls != "none" and context is None:
            raise ConfigError(
                f"The listener {one.host}:{one.port} is to speak TLS, but there is no certificate.",
                code="config.submission_tls",
                facts={"host": one.host, "port": one.port, "tls": one.tls},
                fix="Give tls_cert and tls_key in [serve].",
            )
        servers.append(
            _server(
                ops,
                one.host,
                one.port,
                tls_context=None if one.tls == "none" else context,
                implicit_tls=one.tls == "implicit",
                users=ops.logins if one.sign_in != "none" else {},
                require_auth=one.sign_in == "required",
                allow_insecure_loopback=one.tls == "none" and one.sign_in != "none" and is_loopback(one.host),
            )
        )
    for server in servers[1:]:
        server.budget = servers[0].budget  # memory is one, however many doors there are
    return servers


def _server(ops: Ops, host: str, port: int, **more: Any) -> SubmissionServer:
    settings = ops.workspace.settings.serve
    return SubmissionServer(
        lambda mail: accept(ops, mail),
        host,
        port,
        secrets=ops.secrets,
        allow_public=settings.allow_public,
        max_size=settings.max_size,
        hostname=settings.name,
        limits=Limits(
            recipients=settings.max_recipients,
            messages_per_minute=settings.messages_per_minute,
            connections=settings.connections_per_client,
            patience=settings.patience,
            bytes_under_way=settings.bytes_under_way,
        ),
        clock=ops.clock,
        door=Door(ops),
        **more,
    )


def _context(settings: ServeSection) -> ssl.SSLContext | None:
    """TLS as the settings want it; None without a certificate."""
    if not settings.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            "The listener's certificate cannot be read.",
            code="config.submission_tls",
            facts={"tls_cert": settings.tls_cert, "tls_key": settings.tls_key, "reason": str(error)},
            fix="Give PEM files that belong together, readable by this user.",
        ) from error
    return context


def serve(
    ops: Ops,
    *,
    host: str | None = None,
    port: int | None = None,
    queue_every: float = 30.0,
    seconds: float = 0.0,
    webhooks: int | None = None,
) -> None:
    """Listen and send until SIGTERM or SIGINT (or for ``seconds``); then finish what is under way.

    ``webhooks`` is a loopback port for providers' webhooks (a reverse proxy with TLS stands before it). Raises
    :class:`PlatformError` where the platform lacks what the queue needs (Windows).
    """
    require_journal("mailops serve")
    give_memory_back()
    install_log_redaction()
    asyncio.run(_serve(ops, make_servers(ops, host=host, port=port), queue_every, seconds, webhooks))


async def _serve(
    ops: Ops, servers: Sequence[SubmissionServer], queue_every: float, seconds: float, webhooks: int | None = None
) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, over.set)
    runner = _QueueRunner(ops, queue_every)
    started: list[SubmissionServer] = []
    try:
        for server in servers:
            await server.start()
            started.append(server)
    except BaseException:
        await asyncio.gather(*(server.stop() for server in started))
        raise
    for server in servers:
        sys.stdout.write(f"mailops takes mail on {server.host}:{server.port} (workspace {ops.workspace.path})\n")
    sys.stdout.flush()
    if queue_every > 0:
        runner.start()
    door = None
    try:
        if webhooks is not None:
            from .webhooks.server import WebhookServer

            door = WebhookServer(ops, webhooks)
            await door.start()
            sys.stdout.write(f"mailops takes webhooks on http://127.0.0.1:{door.port}/webhooks/PROVIDER\n")
            sys.stdout.flush()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), seconds or None)
    finally:
        ends = [door.stop()] if door is not None else []
        await asyncio.gather(*ends, *(server.stop() for server in servers), asyncio.to_thread(runner.stop))


GRACE = 8.0
"""Seconds that a stop waits for the answer to a mail that is out; service managers and containers give 10 to 90."""


class _QueueRunner:
    """Runs the queue every some seconds in a thread."""

    def __init__(self, ops: Ops, every: float) -> None:
        self._ops = ops
        self._every = every
        self._over = threading.Event()
        self._worker = ops.queue.worker()
        self._thread = threading.Thread(target=self._run, name="queue", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Within seconds, whatever a peer does: nothing of a mail that is not complete is waited for, and an answer to
        one that is out gets :data:`GRACE` seconds."""
        self._over.set()
        self._worker.stop()
        began = time.monotonic()
        while self._thread.is_alive() and (waited := time.monotonic() - began) < GRACE + 15:
            if waited > 2:  # a healthy peer has answered by then, and its mail is finished as it should be
                self._worker.hurry(handed=waited > GRACE)
            self._thread.join(timeout=0.2)

    def _run(self) -> None:
        while not self._over.wait(self._every):
            try:
                report = self._worker.run()
            except MailopsError as error:
                sys.stderr.write(harmless(f"Queue: {error.message} [{error.code}] {error.fix}\n"))
                continue
            if report.handled:
                sys.stdout.write(
                    f"Queue: {report.sent} sent, {report.deferred + report.unknown} deferred, {report.failed} failed\n"
                )
                sys.stdout.flush()
