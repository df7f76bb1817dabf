"""Practice for the guide through Mailjet: its API, its mail server and the domain's DNS on loopback, in one world."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Any

from ..dns.resolver import DnsRun, Resolver
from ..guides.checks import Services
from ..guides.service import PRACTICE, Guided, try_server
from ..model.setup import Encryption
from ..ops import Ops
from ..providers.mailjet import MailjetApi
from ..smtp import SmtpTransport
from ..testing import Authority, DnsServer, SmtpServer
from ..testing.mailjet import MailjetServer


class MailjetPractice:
    """The world of the guide for one domain. ``published``: whether the TXT record stands in DNS from the start."""

    def __init__(self, ops: Ops, domain: str, *, published: bool = True) -> None:
        self.ops, self.domain = ops, domain.lower()
        self.service = MailjetServer(self.domain, verified=(f"*@{self.domain}",))
        self._published = published
        self._open = ExitStack()

    def __enter__(self) -> MailjetPractice:
        start = self._open.enter_context
        start(self.service)
        pki = Authority(self.ops.workspace.path / "practice" / "mailjet")
        self._ca = pki.ca_file
        self.smtp = start(SmtpServer(tls=pki.server_tls("starttls"), auth={self.service.key: self.service.secret}))
        name, value = self.service.record
        zone: dict[str, Any] = {self.domain: ["A 192.0.2.1"], **({name: [f'TXT "{value}"']} if self._published else {})}
        self._dns = start(DnsRun(Resolver([start(DnsServer(zone)).address])))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._open.close()

    @property
    def console_url(self) -> str:
        """The account page."""
        return self.service.url + "/"

    def services(self) -> Services:
        """The guide's services, with the stand-ins in Mailjet's place."""
        ops = self.ops
        transport = SmtpTransport(ops.secrets, ops.clock)
        return Services(
            test=lambda server: try_server(ops, server, transport),
            setup=lambda: ops.setup,
            mailjet=lambda key, reference: MailjetApi(key, ops.secrets.get(reference), base=self.service.url),
            ask_txt=lambda name: self._dns.ask(name, "TXT"),
            server_overrides={
                "key": "practice-mailjet",
                "host": "localhost",
                "port": self.smtp.port,
                "encryption": Encryption.STARTTLS,
                "ca_file": self._ca,
            },
        )

    def guided(self) -> Guided:
        """The guide for this domain, in practice."""
        return Guided.open(self.ops, "mailjet", PRACTICE + self.domain, services=self.services())
