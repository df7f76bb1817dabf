"""The connection doctor: a ladder from the name of the server to a mail that went out and was found again.

::

    DNS → TCP → TLS → token → claims → sign-in → mailbox → sender → test mail

Each rung is a :class:`mailops.model.verdict.Verdict`: what was seen, the catalogue's row, the fix, and who has to act
(``evidence["who"]``). A rung that another one made unreachable waits; the sending and the reading side fail apart.
"""

from __future__ import annotations

import imaplib
import poplib
import socket
import ssl
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any

from ..clock import SystemClock
from ..errors import DeliveryError, MailopsError
from ..model.setup import Encryption, Server
from ..model.text import counted
from ..model.verdict import Verdict, VerdictState
from ..ports import Clock, Outbound
from ..providers import Host, Provider, provider, provider_of_host
from ..providers.refusals import Row, explain_reply
from ..secrets import redact
from ..smtp import SmtpTransport, test_connection
from ..smtp.tls import context_for, explain
from .account import Account
from .claims import judge_claims, read_claims
from .sasl import imap_sign_in, pop_sign_in
from .tokens import TokenService

RUNGS = ("dns", "tcp", "tls", "token", "claims", "sasl", "mailbox", "sender", "mail")
TITLES = {
    "dns": "The server's name",
    "tcp": "The way to the server",
    "tls": "The protected connection",
    "token": "The token",
    "claims": "What the token says",
    "sasl": "Sign-in for sending",
    "mailbox": "The mailbox",
    "sender": "The sender",
    "mail": "A test mail out and back",
}
_NEEDS = {"tcp": ("dns",), "tls": ("tcp",), "claims": ("token",), "sasl": ("tls", "token"), "sender": ("sasl",)}
LONG_AUTH = 2048


@dataclass(frozen=True, slots=True)
class Reading:
    """Where the mailbox is read: a host, and ``imap`` or ``pop``."""

    host: Host
    protocol: str = "imap"


class Doctor:
    """Examines outgoing servers that sign in by OAuth. ``wait`` is how long the test mail may take, in seconds."""

    def __init__(
        self,
        tokens: TokenService,
        *,
        clock: Clock | None = None,
        timeout: float = 15.0,
        wait: float = 60.0,
    ) -> None:
        self.tokens = tokens
        self.clock: Clock = clock or SystemClock()
        self.timeout = timeout
        self.wait = wait

    def examine(
        self,
        server: Server,
        *,
        reading: Reading | None = None,
        sender: str | None = None,
        test_mail: bool = True,
        progress: Callable[[Verdict], None] | None = None,
    ) -> tuple[Verdict, ...]:
        """Climb the ladder for one server; never raises for what the other side does.

        ``reading`` defaults to the provider's IMAP host; ``sender`` to the server's login. ``test_mail=False`` stops
        short of sending.
        """
        return _Climb(self, server, reading, sender or server.login or "", test_mail, progress).run()


def examine(tokens: TokenService, server: Server, **options: Any) -> tuple[Verdict, ...]:
    """As :meth:`Doctor.examine`, in one call."""
    return Doctor(tokens).examine(server, **options)


class _Failed(Exception):
    """A rung that does not hold."""

    def __init__(
        self,
        found: str,
        fix: str,
        code: str,
        facts: dict[str, Any] | None = None,
        *,
        row: Row | None = None,
        unknown: bool = False,
    ) -> None:
        super().__init__(found)
        self.found, self.fix, self.code, self.row, self.unknown, self.facts = (
            found,
            fix,
            code,
            row,
            unknown,
            facts or {},
        )


class _Climb:
    def __init__(
        self,
        doctor: Doctor,
        server: Server,
        reading: Reading | None,
        sender: str,
        test_mail: bool,
        progress: Callable[[Verdict], None] | None,
    ) -> None:
        self.doctor = doctor
        self.server = replace(server, timeout=min(server.timeout, doctor.timeout))
        self.tokens = doctor.tokens
        self.sender = sender
        self.test_mail = test_mail
        self.progress = progress
        self.about = _provider(server)
        self.reading = reading or (Reading(self.about.imap) if self.about and self.about.imap else None)
        self.transport = SmtpTransport(self.tokens.secrets, doctor.clock, tokens=self.tokens)
        self.verdicts: dict[str, Verdict] = {}
        self.reads_as = self.tokens.reading_as(server) or server.login or ""
        self.token = ""
        self.addresses: list[str] = []

    def run(self) -> tuple[Verdict, ...]:
        for rung in RUNGS:
            verdict = self._rung(rung)
            self.verdicts[rung] = verdict
            if self.progress:
                self.progress(verdict)
        return tuple(self.verdicts[rung] for rung in RUNGS)

    def _rung(self, rung: str) -> Verdict:
        needs = list(_NEEDS.get(rung, ()))
        if rung == "mail":
            needs = ["sender", "mailbox"]
        if rung == "mailbox":
            needs = ["token"]
        blocked = [n for n in needs if not self.verdicts[n].passed]
        if blocked:
            return self._verdict(rung, VerdictState.WAITING, f"Not reached: {TITLES[blocked[0]].lower()} comes first.")
        try:
            result = getattr(self, f"_{rung}")()
        except _Failed as failed:
            return self._bad(rung, failed)
        except MailopsError as error:
            return self._bad(rung, _Failed(error.message, error.fix, error.code, error.facts))
        if isinstance(result, Verdict):
            return replace(result, check=f"doctor.{rung}", title=TITLES[rung])
        found, evidence = result
        if rung == "mail" and not self.test_mail:
            return self._verdict(rung, VerdictState.SKIPPED, found)
        return self._verdict(rung, VerdictState.PASSED, found, evidence=evidence)

    def _verdict(self, rung: str, state: VerdictState, found: str, **more: Any) -> Verdict:
        return Verdict(
            f"doctor.{rung}", self.server.key, state, TITLES[rung], redact(found), at=self.doctor.clock.now(), **more
        )

    def _bad(self, rung: str, failed: _Failed) -> Verdict:
        evidence = {k: v for k, v in failed.facts.items() if k != "transcript"}
        if failed.row is not None:
            evidence |= {"row": failed.row.id, "class": failed.row.kind, "who": failed.row.who}
        state = VerdictState.UNKNOWN if failed.unknown else VerdictState.FAILED
        return self._verdict(rung, state, failed.found, fix=failed.fix, code=failed.code, evidence=_plain(evidence))

    # --- the way to the server ----------------------------------------------------------------------------------------

    def _dns(self) -> tuple[str, dict[str, Any]]:
        try:
            found = socket.getaddrinfo(self.server.host, self.server.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise _Failed(
                f"{self.server.host} has no address: {getattr(error, 'strerror', None) or error}.",
                "Check the spelling of the server's name, and that this machine's DNS works.",
                "smtp.host_unknown",
                {"host": self.server.host},
                unknown=getattr(error, "errno", None) == socket.EAI_AGAIN,
            ) from error
        self.addresses = list(dict.fromkeys(str(item[4][0]) for item in found))
        return f"{self.server.host} has the address {', '.join(self.addresses[:4])}.", {"addresses": self.addresses}

    def _tcp(self) -> tuple[str, dict[str, Any]]:
        try:
            with socket.create_connection((self.server.host, self.server.port), self.doctor.timeout) as sock:
                peer = sock.getpeername()[0]
        except OSError as error:
            raise _Failed(
                f"{self.server.host}:{self.server.port} does not answer: {error.strerror or error}.",
                "Check the port (587 for STARTTLS, 465 for TLS), and that no firewall stands between.",
                "smtp.no_response",
                {"addresses": self.addresses},
            ) from error
        return f"{peer} answers on port {self.server.port}.", {"peer": str(peer)}

    def _tls(self) -> tuple[str, dict[str, Any]]:
        ca = self.server.ca_file or ssl.get_default_verify_paths().openssl_cafile
        if self.server.encryption is Encryption.NONE:
            raise _Failed(
                "The connection is not protected, so no token can go over it.",
                "Choose STARTTLS or TLS as the encryption.",
                "smtp.auth_unprotected",
            )
        try:
            with _protected(self.server, context_for(self.server, self.tokens.secrets), self.doctor.timeout) as sock:
                peer: Any = sock.getpeercert() or {}
                version = sock.version()
        except ssl.SSLError as error:
            code, words, fix = explain(error, self.server)
            row = explain_reply("outlook", "tls", str(error)) if self.about and self.about.id == "outlook" else None
            unverified = isinstance(error, ssl.SSLCertVerificationError)
            raise _Failed(words, fix, code, {"ca_file": ca}, row=None if unverified else row) from error
        except OSError as error:
            raise _Failed(
                f"The handshake did not come to an end: {error}.",
                "Check encryption and port.",
                "smtp.tls",
                {"ca_file": ca},
            ) from error
        issuer = dict(pair[0] for pair in peer.get("issuer", ()) if pair)
        by = issuer.get("organizationName") or issuer.get("commonName") or "an unnamed authority"
        return f"{version}, certificate by {by}.", {
            "version": version, "issuer": by, "until": peer.get("notAfter"), "ca_file": ca,
        }  # fmt: skip

    # --- the token ----------------------------------------------------------------------------------------------------

    def _token(self) -> tuple[str, dict[str, Any]]:
        self.token = self.tokens.access_token(self.server)
        encoded = len(self.token) * 4 // 3 + 60
        note = ""
        if encoded > LONG_AUTH:
            note = f" Its AUTH line has about {encoded} octets; some relays stop at {LONG_AUTH}."
        return f"There is a token in force.{note}", {"length": len(self.token), "auth_line": encoded}

    def _claims(self) -> Verdict:
        return judge_claims(read_claims(self.token), self._account(), self.doctor.clock.now())

    # --- sending ------------------------------------------------------------------------------------------------------

    def _sasl(self) -> tuple[str, dict[str, Any]]:
        try:
            session = self.transport.open(self.server)
        except DeliveryError as error:
            raise self._smtp_failed(error.message, error.code, error.fix, error.facts) from error
        offered = list(session.extensions.mechanisms)
        session.close()
        who = self._account().user
        of = self.server.login if who.lower() == (self.server.login or "").lower() else f"{who} for {self.server.login}"
        return f"The server took the token of {of}.", {"offered": offered}

    def _sender(self) -> Verdict | tuple[str, dict[str, Any]]:
        result = test_connection(self.server, self.transport, sender=self.sender, recipient=self.server.login or "")
        if not result.ok:
            raise self._smtp_failed(result.message, result.code, result.fix, result.facts)
        own = {(self.server.login or "").lower(), self.reads_as.lower()}
        if self.about is not None and self.about.id == "outlook" and self.sender.lower() not in own:
            return self._verdict(
                "sender", VerdictState.WARNING,
                f"{self.sender} is taken as the sender by name, but the message will be refused (SendAsDenied): "
                f"{self.server.login} may send as itself only.",
                fix=f"Set the server's FROM filter to {self.server.login}, or have an administrator grant Send As on "
                f"{self.sender}.",
                code="auth.envelope_sender",
                evidence={"sender": self.sender, "mailbox": self.server.login, "who": "admin"},
            )  # fmt: skip
        return f"{self.sender} is taken as the sender.", {"sender": self.sender}

    def _smtp_failed(self, message: str, code: str, fix: str, facts: dict[str, Any]) -> _Failed:
        said = f"{facts.get('smtp_code', '')} {facts.get('reply', '')} {facts.get('challenge', '')} {message}"
        row = explain_reply(self.about.id if self.about else None, "smtp", said)
        if row is None:
            return _Failed(message, fix, code, facts)
        return _Failed(row.cause, row.fix, f"auth.{row.id}", {**facts, "said": redact(said.strip())[:400]}, row=row)

    # --- reading ------------------------------------------------------------------------------------------------------

    def _mailbox(self) -> Verdict | tuple[str, dict[str, Any]]:
        if self.reading is None:
            return self._verdict("mailbox", VerdictState.SKIPPED, "No server for reading is known.")
        if self.reading.protocol == "pop":
            with self._pop() as pop:
                count = pop.stat()[0]
        else:
            with self._imap() as imap:
                count = self._select(imap)
        member = ""
        if self.reads_as.lower() != (account := self._account()).user.lower():
            member = f" with the token of {account.user}"
        found = f"The mailbox of {self.reads_as} is open{member}; it holds {counted(count, 'mail')}."
        return found, {"mails": count, "mailbox": self.reads_as, "member": account.user}

    def _account(self) -> Account:
        return self.tokens.accounts.load(self.tokens.key_of(self.server)).account

    def _imap(self) -> imaplib.IMAP4:
        assert self.reading is not None
        host = self.reading.host
        context = context_for(self.server, self.tokens.secrets)
        try:
            if host.encryption is Encryption.TLS:
                imap: imaplib.IMAP4 = imaplib.IMAP4_SSL(
                    host.name, host.port, ssl_context=context, timeout=self.doctor.timeout
                )
            else:
                imap = imaplib.IMAP4(host.name, host.port, timeout=self.doctor.timeout)
                imap.starttls(context)
        except (OSError, imaplib.IMAP4.error) as error:
            raise self._unread(error) from error
        try:
            imap_sign_in(imap, self.reads_as, self._ask, provider=self.about.id if self.about else None)
        except BaseException:
            imap.shutdown()
            raise
        return imap

    def _select(self, imap: imaplib.IMAP4) -> int:
        try:
            state, data = imap.select("INBOX", readonly=True)
            said = f"{state} {_text(data)}"
        except imaplib.IMAP4.error as error:
            state, said = "BAD", f"BAD {error}"
        if state != "OK":
            row = explain_reply(self.about.id if self.about else None, "imap", said)
            if row is None:
                raise _Failed(
                    f"INBOX does not open: {said}",
                    "Look at the mailbox's licence and rights.",
                    "auth.mailbox",
                    {"said": said},
                )
            raise _Failed(row.cause, row.fix, f"auth.{row.id}", {"said": redact(said)[:400]}, row=row)
        return int(data[0] or 0) if data and data[0] else 0

    def _pop(self) -> _Pop:
        assert self.reading is not None
        host = self.reading.host
        context = context_for(self.server, self.tokens.secrets)
        try:
            if host.encryption is Encryption.TLS:
                pop: poplib.POP3 = poplib.POP3_SSL(host.name, host.port, timeout=self.doctor.timeout, context=context)
            else:
                pop = poplib.POP3(host.name, host.port, timeout=self.doctor.timeout)
                pop.stls(context)
        except (OSError, poplib.error_proto) as error:
            raise self._unread(error) from error
        try:
            pop_sign_in(pop, self.reads_as, self._ask, provider=self.about.id if self.about else None)
        except BaseException:
            pop.close()
            raise
        return _Pop(pop)

    def _unread(self, error: Exception) -> _Failed:
        assert self.reading is not None
        where = f"{self.reading.host.name}:{self.reading.host.port}"
        if isinstance(error, ssl.SSLError):
            code, words, fix = explain(
                error, replace(self.server, host=self.reading.host.name, port=self.reading.host.port)
            )
            return _Failed(words, fix, code)
        return _Failed(
            f"{where} does not answer: {error}.", "Check host and port for reading.", "auth.reading", {"where": where}
        )

    def _ask(self, refused: bool) -> str:
        return self.tokens.access_token(self.server, refused=refused)

    # --- out and back -------------------------------------------------------------------------------------------------

    def _mail(self) -> Verdict | tuple[str, dict[str, Any]]:
        if not self.test_mail:
            return "Not asked for.", {}
        login = self.server.login or ""
        ident = f"<mailops-doctor-{uuid.uuid4().hex}@{login.rpartition('@')[2] or 'localhost'}>"
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self.sender, self.reads_as or login, "mailops test mail"
        message["Message-ID"], message["Date"] = ident, format_datetime(self.doctor.clock.now())
        message["Auto-Submitted"] = "auto-generated"
        message.set_content("This mail proves that sending and reading work. You can delete it.\n")
        data = message.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        try:
            session = self.transport.open(self.server)
        except DeliveryError as error:
            raise self._smtp_failed(error.message, error.code, error.fix, error.facts) from error
        result = session.send(Outbound(self.sender, (self.reads_as or login,), data))
        session.close()
        reply = result.replies[0]
        if not reply.accepted:
            words = f"The server refused the mail: {reply.code} {reply.text}"
            facts = {
                "smtp_code": reply.code,
                "reply": f"{reply.code} {reply.enhanced or ''} {reply.text}",
                "stage": reply.stage,
            }
            raise self._smtp_failed(words, "smtp.reply", "Read the server's reply.", facts)
        if self.reading is None or (self.reading.protocol == "pop" and not self._found_by_pop(ident)):
            return self._verdict(
                "mail", VerdictState.WARNING, "The mail went out; it was not looked for again.",
                fix="Look for it in the mailbox.", code="auth.mail_not_seen", evidence={"message_id": ident},
            )  # fmt: skip
        if self.reading.protocol == "imap" and not self._found_by_imap(ident):
            raise _Failed(
                f"The mail was accepted, but is not in the mailbox after {self.doctor.wait:g} s.",
                "Look into the junk folder and the provider's message trace; a rule may move or hold it.",
                "auth.mail_not_back",
                {"message_id": ident},
            )
        return "A test mail went out and was found again.", {"message_id": ident}

    def _waits(self) -> Iterator[None]:
        """Look at once, then with growing pauses, until the wait is over."""
        end, pause = self.doctor.clock.monotonic() + self.doctor.wait, 0.1
        while True:
            yield
            if self.doctor.clock.monotonic() + pause > end:
                return
            self.doctor.clock.sleep(pause)
            pause = min(pause * 2, 5.0)

    def _found_by_imap(self, ident: str) -> bool:
        with self._imap() as imap:
            for _ in self._waits():
                self._select(imap)  # some servers show new mail only then
                _, data = imap.search(None, "HEADER", "Message-ID", f'"{ident}"')
                if data and data[0]:
                    return True
        return False

    def _found_by_pop(self, ident: str) -> bool:
        for _ in self._waits():
            with self._pop() as pop:
                for number in range(pop.stat()[0], 0, -1):
                    if ident.encode() in b"\n".join(pop.top(number)):
                        return True
        return False


class _Pop:
    """A POP3 session that closes itself."""

    def __init__(self, pop: poplib.POP3) -> None:
        self._pop = pop

    def __enter__(self) -> _Pop:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._pop.quit()
        except (OSError, poplib.error_proto):
            self._pop.close()

    def stat(self) -> tuple[int, int]:
        return self._pop.stat()

    def top(self, number: int) -> list[bytes]:
        return self._pop.top(number, 0)[1]


def _provider(server: Server) -> Provider | None:
    if server.provider:
        try:
            return provider(server.provider)
        except MailopsError:
            return None
    return provider_of_host(server.host)


def _protected(server: Server, context: ssl.SSLContext, timeout: float) -> ssl.SSLSocket:
    """A protected connection to an SMTP server, for a look at its certificate."""
    sock = socket.create_connection((server.host, server.port), timeout)
    try:
        if server.encryption is Encryption.STARTTLS:
            stream = sock.makefile("rb", buffering=0)
            _ask_line(stream, None, sock)
            _ask_line(stream, b"EHLO localhost\r\n", sock)
            if not _ask_line(stream, b"STARTTLS\r\n", sock).startswith(b"220"):
                raise OSError("the server does not offer STARTTLS")
        return context.wrap_socket(sock, server_hostname=server.host)
    except BaseException:
        sock.close()
        raise


def _ask_line(stream: Any, line: bytes | None, sock: socket.socket) -> bytes:
    """Send a command and read its reply to the last line (bounded)."""
    if line is not None:
        sock.sendall(line)
    for _ in range(100):
        reply: bytes = stream.readline(4096)
        if not reply:
            raise OSError("the server closed the connection")
        if reply[3:4] != b"-":
            return reply
    raise OSError("the reply does not come to an end")


def _text(data: Any) -> str:
    return " ".join(d.decode("utf-8", "replace") if isinstance(d, bytes) else str(d) for d in data or ())


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts as JSON-ready values without secrets."""
    return {k: redact(v) if isinstance(v, str) else v if isinstance(v, (int, float, bool, list, type(None))) else str(v)
            for k, v in facts.items()}  # fmt: skip
