"""The listeners of the MX method: LMTP (RFC 2033), by which a mail server of this machine hands mail over, and SMTP
(RFC 5321), which an MX record may lead to itself. Both say 250 when the mail is stored.

A reply for each recipient, after the mail was stored *and* decided: 250 for what is taken (also what lies on the shelf,
which is ours to mend), 550 where nobody has one of the addresses (the mail server tells the sender), 451 when it cannot
be stored: then the mail server keeps it and comes again. The envelope goes with the mail, as Return-Path and
Delivered-To. LMTP listens on loopback only. SMTP is for anybody, so it takes mail for the alias domains alone (550
5.7.1 at RCPT: it relays nothing), in either spelling, and offers STARTTLS where it was given a certificate.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from types import TracebackType
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP

from ..bounces.own import delivered
from ..bounces.reading.sources import MAX_MESSAGE
from ..errors import ConfigError, MailopsError
from ..model.address import ascii_domain
from ..submission.server import is_loopback
from .intake import Intake, Run, Shown
from .intake_rows import Place
from .values import Kind

ACCOUNT = "lmtp"
MOST_RECIPIENTS = 100
TAKEN, NOBODY, LATER = "250 2.0.0 stored", "550 5.1.1 no such address here", "451 4.3.0 cannot be stored now, try again"


class LmtpListener:
    """Takes mail over LMTP into the intake, from ``start`` (or ``with``) to ``stop``, in a thread of its own."""

    account = ACCOUNT

    def __init__(
        self, intake: Intake, host: str = "127.0.0.1", port: int = 0, *, sock: socket.socket | None = None
    ) -> None:
        if not is_loopback(host):
            raise ConfigError(
                "LMTP has no sign-in, so it listens on loopback only.",
                code="inbound.lmtp_public",
                facts={"host": host},
                fix="Use 127.0.0.1 and let the mail server of this machine hand mail over.",
            )
        self._intake = intake
        self._controller: Controller = _Controller(self, hostname=host, port=port, sock=sock)

    @property
    def port(self) -> int:
        """The port it listens on, once it was started."""
        listening: Any = self._controller.server
        return int(listening.sockets[0].getsockname()[1])

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        thread: Any = self._controller._thread
        return thread is not None and thread.is_alive()

    def start(self) -> Self:
        """Listen."""
        self._controller.start()
        return self

    def stop(self) -> None:
        """Stop listening; a mail under way is finished or was never answered."""
        self._controller.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """aiosmtpd's hook: one reply a recipient, joined by line ends."""
        import asyncio

        recipients = list(envelope.rcpt_tos)
        sender = (envelope.mail_from or "").removeprefix("<").removesuffix(">")  # the null path comes as <>
        work = (envelope.content, sender, recipients)
        reply = await asyncio.get_running_loop().run_in_executor(None, self.take, *work)
        return self.replies(reply, len(recipients))

    def replies(self, reply: str, recipients: int) -> str:
        """What is said after the data: LMTP has a reply for each recipient."""
        return "\r\n".join([reply] * recipients)

    def take(self, raw: bytes, sender: str, recipients: Sequence[str]) -> str:
        """Store and decide one mail with its envelope; the reply."""
        for address in reversed(recipients):
            raw = delivered(raw, address)
        shown = Shown(b"Return-Path: <" + sender.encode("utf-8", "replace") + b">\r\n" + raw)
        place, run = Place(self.account), Run()
        try:
            (uid,) = self._intake.take(run, place, [shown], ours=False)
            row = self._intake.known(place, [uid]).get(uid)
        except MailopsError:
            return LATER
        return NOBODY if row is not None and row.decision == Kind.NO_ROUTE.value else TAKEN


class SmtpListener(LmtpListener):
    """Takes mail over SMTP for the alias domains: what an MX record leads to. ``domains`` says which they are now."""

    account = "smtp"

    def __init__(
        self,
        intake: Intake,
        domains: Callable[[], Collection[str]],
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: SSLContext | None = None,
        sock: socket.socket | None = None,
    ) -> None:
        self._intake, self._domains = intake, domains
        self._controller = _SmtpController(self, hostname=host, port=port, tls=tls, sock=sock)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        """aiosmtpd's hook: whether this recipient is taken."""
        import asyncio

        if len(envelope.rcpt_tos) >= MOST_RECIPIENTS:
            return "452 4.5.3 too many recipients"
        try:
            ours = await asyncio.get_running_loop().run_in_executor(None, self._domains)
        except MailopsError:
            return LATER
        domain = ascii_domain(address.rpartition("@")[2].lower())
        if domain not in {ascii_domain(name.lower()) for name in ours}:
            return "550 5.7.1 this server takes no mail for that domain"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    def replies(self, reply: str, recipients: int) -> str:
        """One reply for the whole mail."""
        return reply


def starttls(certificate: str | Path, key: str | Path | None) -> SSLContext:
    """The context of a certificate (PEM). Raises :class:`ConfigError` ``inbound.certificate`` where it is no good."""
    context = SSLContext(PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ValueError) as error:
        raise ConfigError(
            "The certificate cannot be used.",
            code="inbound.certificate",
            facts={"certificate": str(certificate), "reason": str(error)[:200]},
            fix="Give a PEM file with the certificate, and its key (in the same file, or --key).",
        ) from error
    return context


class _Controller(Controller):
    """Port 0 is any free one: the client by which aiosmtpd looks whether it is up has to know which. ``sock`` is bound
    already, by who starts this process."""

    def __init__(self, *given: Any, sock: socket.socket | None = None, **named: Any) -> None:
        self._sock = sock
        super().__init__(*given, **named)

    def _create_server(self) -> Any:
        if self._sock is None:
            return super()._create_server()
        return self.loop.create_server(self._factory_invoker, sock=self._sock, ssl=self.ssl_context)

    def factory(self) -> SMTP:
        return LMTP(self.handler, data_size_limit=MAX_MESSAGE, enable_SMTPUTF8=True, ident="mailops")

    def _trigger_server(self) -> None:
        self.port = int(self.server.sockets[0].getsockname()[1])  # type: ignore[union-attr]  # it was made just now
        super()._trigger_server()  # type: ignore[no-untyped-call]  # aiosmtpd has no types here


class _SmtpController(_Controller):
    def __init__(self, *given: Any, tls: SSLContext | None, **named: Any) -> None:
        self._tls = tls
        super().__init__(*given, **named)

    def factory(self) -> SMTP:
        return SMTP(
            self.handler, data_size_limit=MAX_MESSAGE, enable_SMTPUTF8=True, ident="mailops", tls_context=self._tls
        )
