"""Opening a session: connect, greet, protect, sign in.

No downgrade anywhere: STARTTLS asked for and not offered is refused; credentials never pass an unprotected line, except
to a loopback peer of a server explicitly set to no encryption. All failures are
:class:`~mailops.errors.DeliveryError` with ``facts`` ``server``, ``host``, ``port``, ``stage`` and, where the server
spoke, ``smtp_code``, ``enhanced``, ``reply``. A 5xx answer is permanent; everything that repairing the set-up, the
network or a certificate mends is temporary, so the mail stays in the queue meanwhile.

Codes: ``smtp.host_unknown``, ``smtp.no_response``, ``smtp.closed``, ``smtp.garbled``, ``smtp.reply``,
``smtp.not_supported``, ``smtp.tls``, ``smtp.tls_expired``, ``smtp.tls_hostname``, ``smtp.tls_untrusted``,
``smtp.tls_not_spoken``, ``smtp.auth_refused``, ``smtp.auth_unprotected``, ``smtp.config``.
"""

from __future__ import annotations

import base64
import ipaddress
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import DeliveryError, MailopsError, PermanentFailure, TemporaryFailure
from ..model.address import ascii_domain
from ..model.setup import DEFAULT_KEY, Authentication, DefaultServer, Encryption, Server
from ..ports import Clock, Secrets, TokenSource
from . import auth, tls
from .session import Extensions, Limits, SmtpSession
from .wire import Reply, Wire, WireError, cut

Watch = Callable[[str, Reply | None], None]


class SmtpTransport:
    """Opens sessions to outgoing servers (:class:`mailops.ports.Transport`).

    ``helo`` is the name to greet with; by default the machine's own name when it is a full one, else the address as a
    literal (RFC 5321 §4.1.3). ``record`` keeps the transcript of every mail, not only of failed ones.
    """

    def __init__(
        self,
        secrets: Secrets,
        clock: Clock,
        tokens: TokenSource | None = None,
        default: DefaultServer | None = None,
        *,
        helo: str | None = None,
        record: bool = False,
    ) -> None:
        self.clock = clock
        self._secrets = secrets
        self._tokens = tokens
        self._default = default
        self._helo = helo
        self._record = record
        self._contexts: dict[tuple[object, ...], ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self.no_chunks: set[tuple[str, int]] = set()  # servers that offer BDAT and refuse it
        self._wires: weakref.WeakSet[Wire | socket.socket] = weakref.WeakSet()

    def interrupt(self, *, handed: bool = False) -> None:
        """Cut every connection of this transport, from another thread: also those being opened. One on which a message
        is out and its answer awaited is left alone unless ``handed``: that mail's fate would not be known."""
        for one in list(self._wires):
            if isinstance(one, socket.socket):
                cut(one)
            elif handed or not one.handed:
                one.cut()

    def watch_over(self, one: Wire | socket.socket) -> None:
        """Count a connection among those that :meth:`interrupt` cuts."""
        self._wires.add(one)

    def connect(self, server: Server) -> SmtpSession:
        """Connect, protect, sign in. Raises :class:`DeliveryError`, temporary or permanent."""
        return self.open(server)

    def open(self, server: Server, watch: Watch | None = None) -> SmtpSession:
        """As :meth:`connect`; ``watch`` hears every finished stage with the server's reply (None where there is none):
        ``connect``, ``ehlo``, ``starttls``, ``auth``."""
        return _Opening(self.resolve(server), self, watch or _silent).run()

    def resolve(self, server: Server) -> Server:
        """The server with the default server's connection when it borrows it (authentication ``cli``)."""
        borrows = server.authentication is Authentication.CLI
        if not borrows and (server.host or server.key != DEFAULT_KEY):
            return server
        default = self._default
        if default is None or not default.host:
            who = f"Server {server.name!r} uses the default server" if borrows else "The default server is to send"
            raise TemporaryFailure(
                f"{who}, and none is configured here: a hosted one takes mail from inside its database only.",
                code="smtp.config",
                facts={"server": server.key, "stage": "connect"},
                fix="Fill in [default_server] in mailops.toml, or add a server of your own.",
            )
        return replace(
            server,
            host=default.host,
            port=default.port,
            encryption=default.encryption,
            authentication=Authentication.LOGIN if default.login else Authentication.NONE,
            login=default.login,
            password=default.password,
            ca_file=default.ca_file,
        )

    def context(self, server: Server) -> ssl.SSLContext:
        """The server's TLS context, made once for each set of files."""
        if server.authentication is Authentication.CERTIFICATE:
            return tls.context_for(server, self._secrets)
        try:
            key = (server.ca_file, Path(server.ca_file).stat().st_mtime_ns if server.ca_file else 0)
        except OSError:
            return tls.context_for(server, self._secrets)  # says what is wrong with the file
        with self._lock:
            if key not in self._contexts:
                self._contexts[key] = tls.context_for(server, self._secrets)
            return self._contexts[key]

    def greeting_name(self, sock: socket.socket) -> str:
        if self._helo:
            return self._helo
        name = socket.gethostname()
        if "." in name.strip(".") and (wire := ascii_domain(name)) and not name.endswith(".localdomain"):
            return wire
        address = str(sock.getsockname()[0]).partition("%")[0]
        return f"[IPv6:{address}]" if ":" in address else f"[{address}]"

    @property
    def secrets(self) -> Secrets:
        return self._secrets

    @property
    def tokens(self) -> TokenSource | None:
        return self._tokens

    @property
    def record(self) -> bool:
        return self._record


class _Opening:
    """One connection being made; a method per stage."""

    def __init__(self, server: Server, transport: SmtpTransport, watch: Watch) -> None:
        self.server = server
        self.transport = transport
        self.watch = watch
        self.limits = Limits.of(server)
        self.stage = "connect"
        self.wire: Wire | None = None
        self.extensions = Extensions()

    def run(self) -> SmtpSession:
        try:
            wire = self._connect()
            self._ehlo(wire)
            if self.server.encryption is Encryption.STARTTLS:
                self._starttls(wire)
            self._auth(wire)
            return SmtpSession(
                wire,
                self.server,
                self.extensions,
                record=self.transport.record,
                no_chunks=self.transport.no_chunks,
            )
        except WireError as error:
            raise self._broken(error) from error
        except DeliveryError as error:
            self._fill(error)
            raise
        except MailopsError as error:  # a secret or a token that cannot be had
            raised = self._trouble(error.message, error.code, error.fix, error.facts)
            raise raised from error
        except BaseException:
            if self.wire is not None:
                self.wire.close()
            raise

    # --- stages -------------------------------------------------------------------------------------------------------

    def _connect(self) -> Wire:
        server = self.server
        host = server.host.strip().removeprefix("[").removesuffix("]")
        name = ascii_domain(host) if host else None
        if not name or any(c.isspace() or ord(c) < 33 for c in name) or not 0 < server.port < 65536:
            raise self._trouble(
                f"The server name {server.host!r} with port {server.port} cannot be used.",
                "smtp.host_unknown",
                "Give a host name or an IP address, and a port from 1 to 65535.",
            )
        if server.authentication is Authentication.CERTIFICATE and server.encryption is Encryption.NONE:
            raise self._trouble(
                f"Server {server.name!r} signs in by certificate, and that needs TLS or STARTTLS.",
                "smtp.config",
                "Choose TLS or STARTTLS as the encryption.",
            )
        sock = self._dial(name)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.wire = wire = Wire(sock)
        self.transport.watch_over(wire)
        if server.encryption is Encryption.TLS:
            self._handshake(wire)
        reply = wire.read(self.limits.banner)
        if reply.code != 220:
            raise self._said(reply)
        self.watch("connect", reply)
        return wire

    def _dial(self, name: str) -> socket.socket:
        """The first address that answers, all within the time-out."""
        started, limit = time.monotonic(), self.limits.banner
        try:
            found = socket.getaddrinfo(name, self.server.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise self._trouble(
                f"The server name {self.server.host!r} is not known: {getattr(error, 'strerror', None) or error}.",
                "smtp.host_unknown",
                "Check the spelling of the host name, and that this machine's DNS works.",
            ) from error
        told = "no address"
        for family, kind, protocol, _, address in found:
            left = limit - (time.monotonic() - started)
            if left <= 0:
                break
            sock = socket.socket(family, kind, protocol)
            self.transport.watch_over(sock)
            try:
                sock.settimeout(left)
                sock.connect(address)
                return sock
            except OSError as error:
                sock.close()
                told = (
                    "no answer in time" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
                )
        raise self._trouble(
            f"No response from {self.server.host}:{self.server.port} ({told}).",
            "smtp.no_response",
            "Check host and port, that the server runs, and that no firewall blocks the way (port 25 often is).",
        )

    def _ehlo(self, wire: Wire) -> None:
        self.stage = "ehlo"
        name = self.transport.greeting_name(wire.sock)
        wire.write(f"EHLO {name}\r\n".encode(), self.limits.command)
        reply = wire.read(self.limits.command)
        if 200 <= reply.code < 300:
            self.extensions = Extensions.parse(reply.text)
        elif 500 <= reply.code < 600:  # RFC 5321 §3.2: an old server; greet it the old way
            wire.write(f"HELO {name}\r\n".encode(), self.limits.command)
            reply = wire.read(self.limits.command)
            self.extensions = Extensions()
        if not 200 <= reply.code < 300:
            raise self._said(reply)
        self.watch("ehlo", reply)

    def _starttls(self, wire: Wire) -> None:
        self.stage = "starttls"
        if "STARTTLS" not in self.extensions:
            raise self._trouble(
                f"{self.server.host}:{self.server.port} does not offer STARTTLS; nothing is sent without protection.",
                "smtp.not_supported",
                "Choose TLS (usually port 465) when the provider offers that, or another port with STARTTLS.",
            )
        wire.write(b"STARTTLS\r\n", self.limits.command)
        reply = wire.read(self.limits.command)
        if reply.code != 220:
            raise self._said(reply)
        if wire.pending:  # anything before the handshake could have been put there by a third party
            raise WireError("garbled", "the server sent unprotected data after its answer to STARTTLS")
        self._handshake(wire)
        self.watch("starttls", reply)
        self._ehlo(wire)  # RFC 3207 §4.2: what was offered before does not count

    def _handshake(self, wire: Wire) -> None:
        host = self.server.host.strip().removeprefix("[").removesuffix("]")
        self.stage = "starttls" if self.server.encryption is Encryption.STARTTLS else "connect"
        try:
            wire.start_tls(self.transport.context(self.server), ascii_domain(host) or host, self.limits.command)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            raise WireError("closed", "the server closed the connection in the TLS handshake") from None
        except ssl.SSLError as error:
            code, words, fix = tls.explain(error, self.server)
            raise self._trouble(words, code, fix) from error
        except TimeoutError:
            raise WireError("timeout", f"the TLS handshake did not end within {self.limits.command:g} s") from None
        except OSError as error:
            raise WireError(
                "closed", f"the connection ended in the TLS handshake: {error.strerror or error}"
            ) from error

    def _auth(self, wire: Wire) -> None:
        server, wants = self.server, self.server.authentication
        self.stage = "auth"
        offered = self.extensions.mechanisms
        if wants is Authentication.NONE or (wants is Authentication.CERTIFICATE and "EXTERNAL" not in offered):
            return
        if not wire.protected and not _is_loopback(wire.sock):
            raise self._trouble(
                f"Server {server.name!r} would get its credentials over an unprotected connection; they were not sent.",
                "smtp.auth_unprotected",
                "Choose STARTTLS or TLS as the encryption.",
            )
        if wants is Authentication.CERTIFICATE:
            reply, told = auth.exchange(wire, "EXTERNAL", *auth.external(server.login), self.limits.command)
        elif wants is Authentication.OAUTH:
            reply, told = self._token_login(wire, offered)
        else:
            reply, told = self._password_login(wire, offered)
        if reply.code != 235:
            raise self._auth_refused(reply, told)
        self.watch("auth", reply)

    def _password_login(self, wire: Wire, offered: tuple[str, ...]) -> tuple[Reply, str]:
        server = self.server
        if not server.login or not server.password:
            raise self._trouble(
                f"Server {server.name!r} signs in with a login, but user name or password is missing.",
                "smtp.config",
                "Give both the user name and the reference of the password.",
            )
        names = auth.pick_password_mechanism(offered, wire.protected)
        if not names:
            raise self._not_offered(offered, "PLAIN, LOGIN or CRAM-MD5")
        password = self.transport.secrets.reveal(server.password)
        login = auth.login_on_the_wire(server.login)
        wire.keep_secret([password, base64.b64encode(password.encode()).decode()])
        makers = {"PLAIN": auth.plain, "LOGIN": auth.login_steps, "CRAM-MD5": auth.cram_md5}
        reply, told = Reply(504, ""), ""
        for name in names:
            reply, told = auth.exchange(wire, name, *makers[name](login, password), self.limits.command)
            if reply.code != 504:  # only "this mechanism not" sends us to the next one; a wrong password must not
                break
        return reply, told

    def _token_login(self, wire: Wire, offered: tuple[str, ...]) -> tuple[Reply, str]:
        server, tokens = self.server, self.transport.tokens
        if tokens is None or not server.login:
            raise self._trouble(
                f"Server {server.name!r} signs in with OAuth, but "
                + ("its mailbox address is missing." if tokens else "no mailbox is connected."),
                "smtp.config",
                "Give the mailbox address as the user name and connect the mailbox.",
            )
        name = next((name for name in ("XOAUTH2", "OAUTHBEARER") if name in offered), None)
        if name is None:
            raise self._not_offered(offered, "XOAUTH2 or OAUTHBEARER")
        login = auth.login_on_the_wire(server.login)
        reply, told = Reply(535, ""), ""
        for refused in (False, True):
            token = tokens.access_token(server, refused=refused)
            wire.keep_secret([token])
            if name == "XOAUTH2":
                steps = auth.xoauth2(login, token)
            else:
                steps = auth.oauthbearer(login, token, server.host, server.port)
            reply, told = auth.exchange(wire, name, *steps, self.limits.command)
            if not 500 <= reply.code < 600:
                break
        return reply, told

    # --- failures -----------------------------------------------------------------------------------------------------

    def _facts(self) -> dict[str, Any]:
        server = self.server
        return {"server": server.key, "host": server.host, "port": server.port, "stage": self.stage}

    def _fill(self, error: DeliveryError) -> None:
        """Add what every failure carries, and close."""
        for key, value in self._facts().items():
            error.facts.setdefault(key, value)
        if self.wire is not None:
            error.facts.setdefault("transcript", list(self.wire.transcript()))
            self.wire.close()

    def _trouble(self, words: str, code: str, fix: str, facts: Mapping[str, Any] | None = None) -> TemporaryFailure:
        error = TemporaryFailure(words, code=code, fix=fix, facts={**(facts or {}), **self._facts()})
        self._fill(error)
        return error

    def _broken(self, error: WireError) -> TemporaryFailure:
        where = f"{self.server.host}:{self.server.port}"
        codes = {"timeout": "smtp.no_response", "garbled": "smtp.garbled", "tls": "smtp.tls"}
        fixes = {
            "smtp.no_response": "Try again later; check that the port is right for the chosen encryption.",
            "smtp.garbled": "Check that an SMTP server listens there, and that encryption and port belong together.",
            "smtp.closed": "Check the server's log; it may refuse this machine's address or the chosen encryption.",
        }
        code = codes.get(error.kind, "smtp.closed")
        text = self.wire.redact(error.text) if self.wire else error.text
        return self._trouble(f"{where}: {text}.", code, fixes.get(code, "Check the server's TLS set-up."))

    def _said(self, reply: Reply, code: str = "smtp.reply", words: str = "", fix: str | None = None) -> DeliveryError:
        kind = PermanentFailure if 500 <= reply.code < 600 else TemporaryFailure
        shown = self.wire.redact(str(reply)) if self.wire else str(reply)
        enhanced, text = reply.split
        facts = {**self._facts(), "smtp_code": reply.code, "enhanced": enhanced, "reply": shown, "text": text}
        where = f"{self.server.host}:{self.server.port}"
        return kind(words or f"{where} replied {shown!r} ({self.stage}).", code=code, facts=facts, fix=fix)

    def _auth_refused(self, reply: Reply, told: str) -> DeliveryError:
        oauth = self.server.authentication is Authentication.OAUTH
        error = self._said(
            reply,
            "smtp.auth_refused" if 500 <= reply.code < 600 else "smtp.reply",
            f"{self.server.host}:{self.server.port} did not accept the sign-in of {self.server.login!r}: {reply}",
            "Connect the mailbox again and check that it may send by SMTP."
            if oauth
            else "Check user name and password; some providers want an app password or have SMTP AUTH switched off.",
        )
        error.message = error.args[0] if self.wire is None else self.wire.redact(error.message)
        if told:
            error.facts["challenge"] = self.wire.redact(told) if self.wire else told
        return error

    def _not_offered(self, offered: tuple[str, ...], wanted: str) -> TemporaryFailure:
        has = ", ".join(offered) or "no way to sign in"
        return self._trouble(
            f"{self.server.host}:{self.server.port} offers {has}; {wanted} is needed.",
            "smtp.not_supported",
            "Check authentication and encryption: many servers offer sign-in only after STARTTLS.",
        )


def _is_loopback(sock: socket.socket) -> bool:
    """Whether the peer we are really connected to is this machine."""
    try:
        return ipaddress.ip_address(str(sock.getpeername()[0]).partition("%")[0]).is_loopback
    except (OSError, ValueError):
        return False


def _silent(_stage: str, _reply: Reply | None) -> None:
    return None
