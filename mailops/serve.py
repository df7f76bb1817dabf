"""``mailops serve``: takes mail from applications over SMTP and sends what is due, as services under a small parent.

The listener stores a mail before it answers 250. Another process runs the queue at intervals, so that applications need
no scheduler of their own (:mod:`mailops.service`). This module is the intake and the command.

Nothing is accepted while sending is dead: while runs of the queue fail one after the other, or its process cannot be
kept up, the listener answers 451. A service that ends or hangs is started again; the whole ends, with a status that is
not 0, when nothing can be taken any more. How it stands is in ``serve.json`` of the workspace, for ``mailops status``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .errors import ConfigError, MailopsError
from .model.address import NULL_PATH
from .model.mail import Submission
from .model.running import MOST, WORKER_STATE, Listening
from .platforms import give_memory_back, require_journal
from .queue.compose import header_of
from .relay.door import most_octets, recipient_barred, require_room
from .relay.logins import company_for, require_authors, require_sender
from .relay.round import WithTicket, answer_to
from .secrets import install_log_redaction
from .service.definitions import INTAKE, MAILBOXES, QUEUE, RECEIVE, SCHEDULE
from .service.link import BEAT, Link, Order
from .service.logs import start_logging
from .service.pulse import Pulse, one_stands
from .service.queueing import LONGEST, pause
from .service.supervisor import Supervisor
from .settings import ServeSection
from .submission import Limits, SubmissionServer, SubmittedMail
from .submission.server import bound, is_loopback
from .workspace import Workspace

if TYPE_CHECKING:
    from .ops import Ops


__all__ = ["LONGEST", "Door", "accept", "intake", "listening", "make_server", "make_servers", "pause", "serve", "work"]
log = logging.getLogger(__name__)
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

    def postmaster(self) -> str | None:
        """That of the first alias domain."""
        domain = self._ops.setup.domain_of(None)
        return f"postmaster@{domain.name}" if domain else None

    def recipient(self, _login: str | None, address: str) -> str | None:
        """An address that gets no mail at all."""
        why = recipient_barred(self._ops.engine, address, self._ops.clock)
        return f"550 5.7.1 {why}" if why else None


def accept(ops: Ops, mail: SubmittedMail) -> str:
    """Store a submitted mail; its id in the queue, for the answer. That of ``serve check`` is stored nowhere."""
    answer = answer_to(mail, ops.workspace.path, ops.clock.now())
    if answer is not None:
        return answer
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


def listening(server: SubmissionServer) -> Listening:
    """Where a listener is, and how it is spoken to."""
    tls = "implicit" if server.implicit_tls else "starttls" if server.tls_context is not None else "none"
    sign_in = "required" if server.require_auth else "offered" if server.users else "none"
    return Listening(server.host, server.port, tls, sign_in, server.hostname)


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
        users=WithTicket(ops.logins, ops.workspace.path, ops.clock),
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
                users=WithTicket(ops.logins, ops.workspace.path, ops.clock) if one.sign_in != "none" else {},
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
        limits=_limits(settings),
        clock=ops.clock,
        door=Door(ops),
        **more,
    )


def _limits(settings: ServeSection) -> Limits:
    return Limits(
        recipients=settings.max_recipients,
        messages_per_minute=settings.messages_per_minute,
        connections=settings.connections_per_client,
        patience=settings.patience,
        bytes_under_way=settings.bytes_under_way,
    )


def _context(settings: ServeSection) -> ssl.SSLContext | None:
    """TLS as the settings want it; None without a certificate."""
    if not settings.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, settings)
    return context


def _load(context: ssl.SSLContext, settings: ServeSection) -> None:
    """Give a context the certificate of the settings; connections that stand keep theirs."""
    try:
        context.load_cert_chain(str(settings.tls_cert), settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            "The listener's certificate cannot be read.",
            code="config.submission_tls",
            facts={"tls_cert": settings.tls_cert, "tls_key": settings.tls_key, "reason": str(error)},
            fix="Give PEM files that belong together, readable by this user.",
        ) from error


def serve(
    ops: Ops,
    *,
    host: str | None = None,
    port: int | None = None,
    queue_every: float = 30.0,
    seconds: float = 0.0,
    webhooks: int | None = None,
) -> None:
    """Listen and send until SIGTERM or SIGINT (or for ``seconds``); then finish what is under way. SIGHUP reads
    certificate, logins and limits anew; no session is dropped.

    ``webhooks`` is a loopback port for providers' webhooks (a reverse proxy with TLS stands before it), and for
    ``/healthz`` and ``/metrics``; without it ``http`` of ``[serve]`` counts. Raises :class:`PlatformError` where the
    platform lacks what the queue needs (Windows), :class:`ConfigError` for what cannot be listened on,
    :class:`StateConflict` where a second one would run, and :class:`MailopsError` ``serve.part_ended`` when a part of
    it could not be kept up.
    """
    require_journal("mailops serve")
    give_memory_back()
    install_log_redaction()
    settings = ops.workspace.settings.serve
    start_logging(settings.log)
    options = {"host": host, "port": port, "queue_every": queue_every}
    single = host is not None or port is not None or not settings.listener
    places = [(host or settings.host, settings.port if port is None else port)]
    if not single:
        places = [(one.host, one.port) for one in settings.listener]
    http = settings.http if webhooks is None else webhooks
    sockets: dict[str, list[socket.socket]] = {}
    try:
        for number, place in enumerate(places):
            sockets[f"smtp {number}"] = bound(*place)
        if http is not None:
            from .webhooks.server import bound as http_bound

            sockets["http"] = [http_bound(http)]
        for number, one in enumerate(settings.receiver):
            sockets[f"receive {number}"] = bound(one.host, one.port)
        services = [
            INTAKE,
            *([QUEUE] if queue_every > 0 else []),
            SCHEDULE,
            *([MAILBOXES] if settings.watch else []),
            *([RECEIVE] if settings.receiver else []),
        ]
        order = Order(ops.workspace.path, ops.clock, options, sockets)
        Supervisor(services, order, settings=lambda: _times(ops)).run(seconds=seconds)
    finally:
        for sock in (sock for found in sockets.values() for sock in found):
            sock.close()


def work(ops: Ops, *, queue_every: float = 30.0, seconds: float = 0.0) -> None:
    """Only send, until SIGTERM or SIGINT (or for ``seconds``): on more machines with one PostgreSQL store, where each
    worker passes over what another one holds; beside ``mailops serve`` too. Raises as :func:`serve`."""
    require_journal("mailops worker")
    install_log_redaction()
    start_logging(ops.workspace.settings.serve.log)
    order = Order(ops.workspace.path, ops.clock, {"queue_every": queue_every})
    _say(f"mailops sends what is due (workspace {ops.workspace.path})")
    Supervisor([QUEUE], order, settings=lambda: _times(ops), kind="worker", state=WORKER_STATE).run(seconds=seconds)


def _times(ops: Ops) -> tuple[float, float]:
    """Grace period and silence, as the settings are now."""
    settings = Workspace(ops.workspace.path).settings.serve
    return settings.grace, settings.silence


def intake(link: Link) -> None:
    """The child process that takes mail and webhooks."""
    asyncio.run(_Intake(link).run())


class _Intake:
    """The listeners on the parent's sockets."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._ops = ops = link.open_ops()
        options = link.order.options
        self._servers = make_servers(
            ops, host=options["host"], port=options["port"], holding=lambda: self._link.holding
        )
        self._pulse = Pulse(ops.clock.monotonic)

    async def run(self) -> None:
        link, over, reload = self._link, asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, over.set)
        loop.add_signal_handler(signal.SIGHUP, reload.set)
        sockets = link.order.sockets
        for number, server in enumerate(self._servers):
            await server.start(sockets[f"smtp {number}"])
            _say(f"mailops takes mail on {server.host}:{server.port} (workspace {self._ops.workspace.path})")
        door = None
        if "http" in sockets:
            from .webhooks.server import WebhookServer

            [sock] = sockets["http"]
            door = WebhookServer(self._ops, sock=sock)
            await door.start()
            _say(f"mailops takes webhooks on http://127.0.0.1:{door.port}/webhooks/PROVIDER")
        link.say(listeners=[listening(server).as_told() for server in self._servers][:MOST])
        link.ready()
        parts = [asyncio.create_task(server.ended(), name="listener") for server in self._servers]
        if door is not None:
            parts.append(asyncio.create_task(door.ended(), name="webhooks"))
        try:
            while not over.is_set():
                why = one_stands(self._pulse.look(), silence=link.silence)
                if why or (door is not None and door.silent(link.silence)):
                    link.say(stuck=why or "the HTTP listener stands still")
                else:
                    link.beat()
                done, _ = await asyncio.wait([*parts], timeout=min(BEAT, link.silence / 4))
                for part in done:
                    raise part.exception() or MailopsError(f"The {part.get_name()} ended.", code="serve.part_ended")
                link.hear()
                if link.stopping:
                    over.set()
                if reload.is_set():
                    reload.clear()
                    self._reload()
        finally:
            link.stop()
            grace = self._ops.workspace.settings.serve.grace
            ends = [door.stop()] if door is not None else []
            await asyncio.gather(*ends, *(server.stop(grace) for server in self._servers), return_exceptions=True)
            for part in parts:
                part.cancel()

    def _reload(self) -> None:
        """Certificate, logins and limits as the settings are now. What cannot be used is told, and all stays."""
        try:
            ops = type(self._ops)(Workspace(self._ops.workspace.path), clock=self._ops.clock, engine=self._ops.engine)
            settings = ops.workspace.settings.serve
            _context(settings)  # one that cannot be used must not spoil the one in use
            options = self._link.order.options
            fresh = make_servers(ops, host=options["host"], port=options["port"])
            for server in self._servers:
                if server.tls_context is not None and settings.tls_cert:
                    _load(server.tls_context, settings)
        except MailopsError as error:
            log.error("The settings cannot be used, so what was goes on: %s [%s]", error.message, error.code)
            return
        before, after = ([(s.host, s.implicit_tls, not s.tls_context) for s in x] for x in (self._servers, fresh))
        if before != after:
            log.warning("Which addresses are listened on, and with which TLS, changes with the next start only.")
        self._ops = ops
        for server, made in zip(self._servers, fresh, strict=False):
            server.take_over(made)
        log.info("certificate, logins and limits are those of the settings now")


def _say(words: str) -> None:
    """A line for who started it. Where it cannot be written (a reader who is gone), mail goes on."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(words + "\n")
        sys.stdout.flush()
