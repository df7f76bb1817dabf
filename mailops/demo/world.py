"""The demonstration's organisation and the mail servers around it.

Two companies with an alias domain each; four outgoing servers: daily mail of either domain, the sales mailbox, and a
dedicated server for newsletters. The servers refuse, defer and bounce as the world does: dead addresses, full
mailboxes, a domain that is gone, a provider that puts a careless newsletter off, a server that is down for a day.
"""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ..errors import ConfigError
from ..model.setup import MASS_PARAMETER, AliasDomain, Company, Encryption, MailClass, Server
from ..model.text import harmless
from ..ops import Ops
from ..testing import SmtpServer, bounce_later, defer, greylist, refuse
from ..testing.dns_server import DnsServer
from ..testing.smtp_core import HOSTNAME
from ..testing.smtp_script import Rule
from .names import zone

BOOKS = "peers"  # the folder in the workspace where the mail servers write down what they took
MARK = "demo.json"  # says that a folder is the demonstration's, and on which ports its servers listen
SERVERS = ("daily", "sales", "workshop", "newsletter")


@dataclass(frozen=True, slots=True)
class Peer:
    """One of the demonstration's mail servers."""

    key: str
    name: str
    from_filter: str
    priority: int
    mail_class: MailClass | None


PEERS = (
    Peer("daily", "Daily mail", "northwind.example", 1, MailClass.TRANSACTIONAL),
    Peer("sales", "Sales mailbox", "sales@northwind.example", 1, MailClass.TRANSACTIONAL),
    Peer("workshop", "Workshop", "tools.example", 2, MailClass.TRANSACTIONAL),
    Peer("newsletter", "Newsletter", "news.northwind.example", 10, MailClass.MASS),
)


def script() -> tuple[Rule, ...]:
    """How the outside world answers."""
    return (
        refuse("*@closed-shop.example", 550, "5.1.2", "Domain closed-shop.example has no mail service"),
        refuse("gone.*", 550, "5.1.1", "The email account that you tried to reach does not exist"),
        refuse("full.*", 552, "5.2.2", "Mailbox full, quota exceeded"),
        refuse(
            "*@strict.example", 550, "5.7.1", "Message rejected due to poor reputation of the sender", sender="*news*"
        ),
        defer("*@slow.example", 451, "4.7.1", "Too many messages from your address, try again later"),
        greylist("*@careful.example", text="Greylisted for a moment, please come back"),
        bounce_later("left.*", "5.1.1", "User unknown; left the company", look="corporate"),
        bounce_later("quota.*", "5.2.2", "Mailbox is full", code=552, look="webmail"),
    )


class World:
    """The four servers, the mailbox that reports come back to, and a name server. Use as a context manager.

    With ``books`` (a folder) each mail server writes down there what it took, in a file of its name.
    """

    def __init__(self, ports: dict[str, int] | None = None, *, books: Path | None = None) -> None:
        wanted = ports or {}
        if books is not None:
            books.mkdir(exist_ok=True)

        def peer(key: str, rules: tuple[Rule, ...] = ()) -> SmtpServer:
            log = books / f"{key}.jsonl" if books is not None else None
            return SmtpServer(script=rules, port=wanted.get(key, 0), trace=False, log_file=log)

        self.servers = {p.key: peer(p.key, script()) for p in PEERS}
        self.mailbox = peer("mailbox")
        self.names = DnsServer(zone(), port=wanted.get("names", 0), log=False)
        self._stack = ExitStack()

    def __enter__(self) -> World:
        try:
            for server in (*self.servers.values(), self.mailbox, self.names):
                self._stack.enter_context(server)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    @property
    def ports(self) -> dict[str, int]:
        """Where everybody listens."""
        smtp = {key: server.port for key, server in self.servers.items()}
        return {**smtp, "mailbox": self.mailbox.port, "names": self.names.port}

    def reports(self) -> list[bytes]:
        """Send the waiting delivery reports over SMTP to the bounce mailbox, and take them from there."""
        for server in self.servers.values():
            server.deliver_bounces(self.mailbox.host, self.mailbox.port)
        taken = [message.data for message in self.mailbox.messages]
        self.mailbox.clear()
        return taken


def furnish(ops: Ops, ports: dict[str, int]) -> None:
    """Companies, alias domains and outgoing servers of the demonstration."""
    north = ops.save_alias_domain(AliasDomain("northwind.example", sequence=5))
    tools = ops.save_alias_domain(AliasDomain("tools.example", sequence=10))
    ops.save_company(Company("northwind", "Northwind Traders", "info@northwind.example", north))
    ops.save_company(Company("tools", "Northwind Tools", "hello@tools.example", tools))
    for peer in PEERS:
        ops.save_server(
            Server(
                key=peer.key,
                name=peer.name,
                host="127.0.0.1",
                port=ports[peer.key],
                encryption=Encryption.NONE,
                from_filter=peer.from_filter,
                priority=peer.priority,
                mail_class=peer.mail_class,
                timeout=10.0,
            )
        )
    ops.set_parameter(MASS_PARAMETER, "newsletter")


def remember(folder: Path, ports: dict[str, int]) -> None:
    """Write down that this folder is the demonstration's, and its ports."""
    (folder / MARK).write_text(json.dumps({"ports": ports}), encoding="utf-8")


def remembered(folder: Path) -> dict[str, int]:
    """The ports of a demonstration's folder. Raises :class:`ConfigError` when it is none."""
    try:
        ports: dict[str, int] = json.loads((folder / MARK).read_text("utf-8"))["ports"]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            "This folder holds no demonstration.",
            code="demo.none",
            facts={"folder": str(folder)},
            fix="Run the demonstration first: make demo",
        ) from error
    return ports


def require_peers(ports: dict[str, int]) -> None:
    """Raise :class:`ConfigError` unless the demonstration's own SMTP servers listen on their ports."""
    for key, port in ports.items():
        if key == "names":  # a name server, which greets nobody
            continue
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
                greeting = line.makefile("rb").readline(512)
        except OSError as error:
            greeting, reason = b"", str(error)
        else:
            reason = greeting.decode("latin-1").strip()
        if f" {HOSTNAME} ".encode() not in greeting:
            raise ConfigError(
                f"Port {port}, where a mail server of the demonstration listens, is taken by something else.",
                code="demo.port_taken",
                facts={"server": key, "port": port, "seen": harmless(reason[:200])},
                fix="End that program, or run `make demo` again: it takes new ports.",
            )
