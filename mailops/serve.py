"""``mailops serve``: takes mail from applications over SMTP and sends what is due, in one process.

The listener stores a mail before it answers 250. A second thread runs the queue at intervals, so that applications need
no scheduler of their own.

Nothing is accepted while sending is dead. A run of the queue that ends with an error, of whatever class, is told with
its code and trace and tried again, after pauses that grow to :data:`LONGEST` seconds; from :data:`HOLD_AFTER` such runs
in a row on, the listener answers 451, until one succeeds. A part that ends altogether ends the process, with a status
that is not 0, so that who started it starts it again. How the runs go stands in ``serve.json`` of the workspace, for
``mailops doctor``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from .errors import ConfigError, MailopsError
from .model.address import NULL_PATH
from .model.mail import Submission
from .model.states import Rank
from .model.text import harmless
from .platforms import give_memory_back, require_journal
from .queue.compose import header_of
from .queue.job import AWAKE
from .relay.door import most_octets, recipient_barred, require_room
from .relay.logins import company_for, require_authors, require_sender
from .secrets import install_log_redaction, redact
from .settings import ServeSection
from .submission import Limits, SubmissionServer, SubmittedMail
from .submission.server import is_loopback

if TYPE_CHECKING:
    from .ops import Ops


log = logging.getLogger(__name__)
HOLD_AFTER = 3
LONGEST = 60.0
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


def _never() -> bool:
    return False


def make_server(
    ops: Ops, *, host: str | None = None, port: int | None = None, holding: Callable[[], bool] = _never
) -> SubmissionServer:
    """The one listener that ``host``, ``port`` and ``require_auth`` of ``[serve]`` describe. While it is ``holding``,
    mail is answered 451."""
    settings = ops.workspace.settings.serve
    return _server(
        ops,
        host or settings.host,
        settings.port if port is None else port,
        tls_context=_context(settings),
        users=ops.logins,
        require_auth=settings.require_auth or None,
        allow_insecure_loopback=not settings.tls_cert and is_loopback(host or settings.host),
        holding=holding,
    )


def make_servers(
    ops: Ops, *, host: str | None = None, port: int | None = None, holding: Callable[[], bool] = _never
) -> list[SubmissionServer]:
    """The listeners of ``[[serve.listener]]``, else the one of ``[serve]``; a host or port given here means that one.

    Raises :class:`ConfigError` for one that would not be safe or cannot work, before any of them listens.
    """
    settings = ops.workspace.settings.serve
    if host is not None or port is not None or not settings.listener:
        return [make_server(ops, host=host, port=port, holding=holding)]
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
                holding=holding,
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
    :class:`PlatformError` where the platform lacks what the queue needs (Windows), and :class:`MailopsError`
    ``serve.part_ended`` when a part of it ended by itself.
    """
    require_journal("mailops serve")
    give_memory_back()
    install_log_redaction()
    runner = _QueueRunner(ops, queue_every)
    servers = make_servers(ops, host=host, port=port, holding=lambda: runner.holding)
    asyncio.run(_serve(ops, servers, runner, seconds, webhooks))


async def _serve(
    ops: Ops, servers: Sequence[SubmissionServer], runner: _QueueRunner, seconds: float, webhooks: int | None = None
) -> None:
    over, ended = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, over.set)
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
    parts: list[asyncio.Task[Any]] = [asyncio.create_task(over.wait(), name="stop")]
    parts += [asyncio.create_task(server.ended(), name="listener") for server in servers]
    if runner.every > 0:
        runner.start(lambda: loop.call_soon_threadsafe(ended.set))
        parts.append(asyncio.create_task(ended.wait(), name="queue"))
    door = None
    try:
        if webhooks is not None:
            from .webhooks.server import WebhookServer

            door = WebhookServer(ops, webhooks)
            await door.start()
            sys.stdout.write(f"mailops takes webhooks on http://127.0.0.1:{door.port}/webhooks/PROVIDER\n")
            sys.stdout.flush()
            parts.append(asyncio.create_task(door.ended(), name="webhooks"))
        done, _ = await asyncio.wait(parts, timeout=seconds or None, return_when=asyncio.FIRST_COMPLETED)
        dead = {part.get_name(): part.exception() for part in done} if done and not over.is_set() else {}
    finally:
        for part in parts:
            part.cancel()
        ends = [door.stop()] if door is not None else []
        stops = [server.stop() for server in servers]
        await asyncio.gather(*parts, *ends, *stops, asyncio.to_thread(runner.stop), return_exceptions=True)
    for cause in dead.values():
        if cause is not None:
            log.critical("a part of this process ended", exc_info=cause)
    if dead:
        raise MailopsError(
            "A part of mailops serve ended by itself, so the whole ends: no mail is taken that nobody sends.",
            code="serve.part_ended",
            facts={"part": ", ".join(dead)},
            fix="Start it again (a service manager does so by itself), and read in its log what ended it.",
        )


GRACE = 8.0
"""Seconds that a stop waits for the answer to a mail that is out; service managers and containers give 10 to 90."""


class _QueueRunner:
    """Runs the queue every some seconds in a thread."""

    def __init__(self, ops: Ops, every: float) -> None:
        self._ops = ops
        self.every = every
        self.failures = 0  # runs in a row that ended with an error
        self._over = threading.Event()
        self._worker = ops.queue.worker()
        self._attention = ops.queue.attend()
        self._thread = threading.Thread(target=self._run, name="queue", daemon=True)
        self._ended: Callable[[], object] = lambda: None

    @property
    def holding(self) -> bool:
        """Whether nothing should be taken, since nothing can be sent."""
        return self.failures >= HOLD_AFTER

    def start(self, ended: Callable[[], object]) -> None:
        """``ended`` is called from the thread when it ends, for whatever reason."""
        self._ended = ended
        self._told("")
        self._thread.start()

    def stop(self) -> None:
        """Within seconds, whatever a peer does: nothing of a mail that is not complete is waited for, and an answer to
        one that is out gets :data:`GRACE` seconds."""
        self._over.set()
        began = time.monotonic()
        while self._thread.is_alive() and (waited := time.monotonic() - began) < GRACE + 15:
            self._worker.stop()  # each time: a run that just begins forgets the first
            if waited > 2:  # a healthy peer has answered by then, and its mail is finished as it should be
                self._worker.hurry(handed=waited > GRACE)
            self._thread.join(timeout=0.2)
        if not self.failures:
            with contextlib.suppress(OSError):
                (self._ops.workspace.path / STATE).unlink(missing_ok=True)

    def _run(self) -> None:
        try:
            while True:
                if self.failures:
                    ranks = () if self._over.wait(pause(self.every, self.failures)) else AWAKE
                else:
                    ranks = self._attention.wait(self._over, self.every)
                if not ranks:
                    break
                self._once(ranks)
        except BaseException:
            log.critical("the queue of this process ended", exc_info=True)
        finally:
            self._ended()

    def _once(self, ranks: tuple[Rank, ...]) -> None:
        try:
            report = self._worker.run(ranks=ranks)
        except Exception as error:
            self.failures += 1
            if isinstance(error, MailopsError):
                words = f"Queue: {error.message} [{error.code}] {error.fix}"
                log.debug("a run of the queue failed", exc_info=True)
            else:
                words = f"Queue: {type(error).__name__} [serve.queue_failed] The next run tries again."
                log.error("a run of the queue failed", exc_info=True)
            _say(sys.stderr, harmless(redact(words)))
            if self.failures == HOLD_AFTER:
                _say(sys.stderr, "Queue: nothing can be sent, so mail is answered 451 until a run succeeds.")
            self._told(words)
            return
        if self.failures:
            if self.holding:
                _say(sys.stderr, "Queue: sending goes on, and mail is taken again.")
            self.failures = 0
            self._told("")
        if report.handled:
            deferred = report.deferred + report.unknown
            _say(sys.stdout, f"Queue: {report.sent} sent, {deferred} deferred, {report.failed} failed")

    def _told(self, words: str) -> None:
        """Write how it goes over what stood there: the place was taken at the start, so a full disk has it."""
        at = self._ops.clock.now().isoformat()
        text = json.dumps({"pid": os.getpid(), "at": at, "failures": self.failures, "words": words[:250]})
        with contextlib.suppress(OSError):
            descriptor = os.open(self._ops.workspace.path / STATE, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
            try:
                os.pwrite(descriptor, text.ljust(STATE_BYTES).encode(), 0)
            finally:
                os.close(descriptor)


STATE, STATE_BYTES = "serve.json", 2048


def _say(where: TextIO, words: str) -> None:
    """A line for who reads the log. Where it cannot be written (a full disk, a reader who is gone), mail goes on."""
    with contextlib.suppress(OSError, ValueError):
        where.write(words + "\n")
        where.flush()


def pause(every: float, failures: int) -> float:
    """Seconds until the next run, after so many failed ones: they double, to :data:`LONGEST` or the usual pause."""
    return float(min(every * 2 ** min(failures, 30), max(every, LONGEST)))
