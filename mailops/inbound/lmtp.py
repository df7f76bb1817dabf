"""The LMTP listener (RFC 2033): the mail server of the MX method hands mail over, and hears 250 when it is stored.

A reply for each recipient, after the mail was stored *and* decided: 250 for what is taken (also what lies on the shelf,
which is ours to mend), 550 where nobody has one of the addresses (the mail server tells the sender), 451 when it cannot
be stored: then the mail server keeps it and comes again. The envelope goes with the mail, as Return-Path and
Delivered-To. It listens on loopback only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.lmtp import LMTP

from ..bounces.own import delivered
from ..bounces.reading.sources import MAX_MESSAGE
from ..errors import ConfigError, MailopsError
from .intake import Intake, Run, Shown
from .intake_rows import Place
from .values import Kind

ACCOUNT = "lmtp"
TAKEN, NOBODY, LATER = "250 2.0.0 stored", "550 5.1.1 no such address here", "451 4.3.0 cannot be stored now, try again"


class LmtpListener:
    """Takes mail over LMTP into the intake, from ``start`` (or ``with``) to ``stop``, in a thread of its own."""

    def __init__(self, intake: Intake, host: str = "127.0.0.1", port: int = 0) -> None:
        if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
            raise ConfigError(
                "LMTP has no sign-in, so it listens on loopback only.",
                code="inbound.lmtp_public",
                facts={"host": host},
                fix="Use 127.0.0.1 and let the mail server of this machine hand mail over.",
            )
        self._intake = intake
        self._controller = _Controller(self, hostname=host, port=port)

    @property
    def port(self) -> int:
        """The port it listens on, once it was started."""
        listening: Any = self._controller.server
        return int(listening.sockets[0].getsockname()[1])

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
        return "\r\n".join([reply] * len(recipients))

    def take(self, raw: bytes, sender: str, recipients: Sequence[str]) -> str:
        """Store and decide one mail with its envelope; the reply."""
        for address in reversed(recipients):
            raw = delivered(raw, address)
        shown = Shown(b"Return-Path: <" + sender.encode("utf-8", "replace") + b">\r\n" + raw)
        place, run = Place(ACCOUNT), Run()
        try:
            (uid,) = self._intake.take(run, place, [shown], ours=False)
            row = self._intake.known(place, [uid]).get(uid)
        except MailopsError:
            return LATER
        return NOBODY if row is not None and row.decision == Kind.NO_ROUTE.value else TAKEN


class _Controller(Controller):
    """Port 0 is any free one: the client by which aiosmtpd looks whether it is up has to know which."""

    def factory(self) -> LMTP:
        return LMTP(self.handler, data_size_limit=MAX_MESSAGE, enable_SMTPUTF8=True, ident="mailops")

    def _trigger_server(self) -> None:
        self.port = int(self.server.sockets[0].getsockname()[1])  # type: ignore[union-attr]  # it was made just now
        super()._trigger_server()  # type: ignore[no-untyped-call]  # aiosmtpd has no types here
