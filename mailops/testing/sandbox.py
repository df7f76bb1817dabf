"""The sandbox: identity provider, SMTP, IMAP and POP3 on loopback as one world, in the vendors' own words.

::

    with Sandbox(folder) as world:
        world.idp.add_person("ann@example.com", "outlook", "smtp-auth-off")
        ...                                   # walk the guide, connect, run the doctor
        world.server("ann@example.com")       # an outgoing server that points here
        world.hosts("outlook")                # IMAP and POP3 likewise

Both guides can be walked to the end against it. A mail sent to an account of the sandbox arrives in its mailbox.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from mailops.model.setup import Authentication, Encryption, Server
from mailops.ports import Clock
from mailops.providers import Host

from .certs import Authority
from .identity_provider import PASSWORDS_END, IdentityProvider, Scenario
from .imap_server import ImapServer
from .mailboxes import Denied, Mailboxes
from .pop_server import PopServer
from .smtp_auth import AuthAttempt
from .smtp_server import SmtpServer
from .smtp_session import SmtpSession

_TOKEN_REFUSED = {"outlook": (535, "5.7.3", "Authentication unsuccessful"),
                  "gmail": (535, "5.7.8", "Username and Password not accepted. Learn more at\n"
                                          "https://support.google.com/mail/?p=BadCredentials")}  # fmt: skip
_PASSWORD_REFUSED = {"outlook": (535, "5.7.139", "Authentication unsuccessful, basic authentication is disabled."),
                     "gmail": (534, "5.7.9", "Application-specific password required.")}  # fmt: skip
_OFF = {"outlook": (535, "5.7.139", "Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. "
                                    "Visit https://aka.ms/smtp_auth_disabled for more information."),
        "gmail": _TOKEN_REFUSED["gmail"]}  # fmt: skip
_RETIRED = {"outlook": (550, "5.7.30", "Basic authentication is not supported for Client Submission."),
            "gmail": _PASSWORD_REFUSED["gmail"]}  # fmt: skip
_THROTTLED = {"outlook": (432, "4.3.2", "Concurrent connections limit exceeded."),
              "gmail": (421, "4.7.0", "Try again later, closing connection.")}  # fmt: skip
_USED_UP = {"outlook": (554, "5.2.0", "STOREDRV.Submission.Exception: submission quota exceeded"),
            "gmail": (550, "5.4.5", "Daily user sending limit exceeded. For more information on Gmail sending limits "
                                    "go to https://support.google.com/a/answer/166852 - gsmtp")}  # fmt: skip
_IMAP_REFUSED = {"outlook": "AUTHENTICATE failed.", "gmail": "[AUTHENTICATIONFAILED] Invalid credentials (Failure)"}
_POP_REFUSED = {"outlook": "Authentication failure: unknown user name or bad password.",
                "gmail": "[AUTH] Username and password not accepted."}  # fmt: skip
_MECHANISMS = ("XOAUTH2",)
_CHALLENGE = '{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}'


class _Session(SmtpSession):
    """SMTP with the vendors' refusals."""

    def _judge(self, attempt: AuthAttempt) -> None:
        world: Sandbox = self.core.sandbox  # type: ignore[attr-defined]  # set by the sandbox on its own core
        vendor = world.vendor(attempt.login)
        word = world.idp.judge(attempt.secret, attempt.login, "smtp") if attempt.is_token else "password"
        person = world.idp.person(attempt.login)
        if word == "password" and person is not None and person.scenario is Scenario.BASIC_ENDS:
            word = None if world.idp.clock.now() < PASSWORDS_END else "retired"
        if word in (None, "throttled"):
            self.login = attempt.login
            self.core.note(self.number, "login", f"{attempt.mechanism} {attempt.login}")
            self._reply(235, "Authentication successful", "2.7.0")
            return
        self.core.note(self.number, "login refused", f"{attempt.mechanism} {attempt.login} {word}")
        table = {"off": _OFF, "password": _PASSWORD_REFUSED, "retired": _RETIRED}.get(str(word), _TOKEN_REFUSED)
        code, enhanced, text = table[vendor]
        if vendor == "gmail" and attempt.is_token:
            self._challenge = lambda _line: self._reply(code, text, enhanced)
            self._reply(334, base64.b64encode(_CHALLENGE.encode()).decode())
        else:
            self._reply(code, text, enhanced)

    def _mail_friendly(self, address: str, parameters: dict[str, str | None]) -> None:
        world: Sandbox = self.core.sandbox  # type: ignore[attr-defined]  # as above
        person = world.idp.person(self.login or "")
        if person is not None and person.scenario == "throttled":
            code, enhanced, text = _THROTTLED[person.vendor]
            self._reply(code, text, enhanced)
            return
        super()._mail_friendly(address, parameters)

    def _store(self, data: bytes, size: int, *, stuffed: bool = True) -> None:
        world: Sandbox = self.core.sandbox  # type: ignore[attr-defined]  # as above
        sender, recipients, login = self._sender or "", list(self._recipients), self.login or ""
        person = world.idp.person(login)
        if person is not None and person.scenario is Scenario.APP_ONLY_NO_PERMISSION:
            self._reset()
            self._reply(430, "STOREDRV; mailbox logon failure; Failed to process message due to a permanent exception "
                             "with message Cannot open mailbox. MapiExceptionLogonFailed", "4.2.0")  # fmt: skip
            return
        if person is not None and person.scenario is Scenario.LIMIT:
            self._reset()
            code, enhanced, text = _USED_UP[person.vendor]
            self._reply(code, text, enhanced)
            return
        if not world.idp.may_send_as(login, sender):
            self._reset()
            self._reply(554, f"SendAsDenied; {login} not allowed to send as {sender}", "5.2.252")
            return
        super()._store(data, size, stuffed=stuffed)
        for recipient in recipients:
            world.mailboxes.deliver(recipient, data)


class _Smtp(SmtpServer):
    session_type = _Session


class Sandbox:
    """The whole world, started by ``with``. ``folder`` holds throwaway certificates and, if ``keep``, its state."""

    def __init__(self, folder: Path, *, clock: Clock | None = None, keep: bool = False, pad: int = 0) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.idp = IdentityProvider(clock=clock, state_file=self.folder / "identity.json" if keep else None, pad=pad)
        self.mailboxes = Mailboxes()
        self.authority = Authority(self.folder / "certificates")
        self.smtp: SmtpServer = _Smtp(tls=self.authority.server_tls("starttls"), auth=lambda _attempt: False)
        self.smtp._core.sandbox = self  # type: ignore[attr-defined]  # the session's way back
        tls = self.authority.server_tls("tls")
        self.imap = ImapServer(self.mailboxes, lambda a: self._judge(a, "imap"), tls=tls, mechanisms=_MECHANISMS)
        self.pop = PopServer(self.mailboxes, lambda a: self._judge(a, "pop"), tls=tls, mechanisms=_MECHANISMS)

    def __enter__(self) -> Sandbox:
        self.idp.__enter__()
        self.smtp.start()
        self.imap.start()
        self.pop.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.pop.close()
        self.imap.close()
        self.smtp.close()
        self.idp.__exit__(kind, error, tb)

    @property
    def ca_file(self) -> str:
        """What a client has to trust."""
        return self.authority.ca_file

    def vendor(self, login: str) -> str:
        person = self.idp.person(login)
        return person.vendor if person else "outlook"

    def server(self, login: str, key: str = "main", **fields: object) -> Server:
        """An outgoing server of the sandbox for this mailbox."""
        values: dict[str, object] = {
            "key": key,
            "name": key.capitalize(),
            "host": "localhost",
            "port": self.smtp.port,
            "encryption": Encryption.STARTTLS,
            "authentication": Authentication.OAUTH,
            "login": login,
            "ca_file": self.ca_file,
            "provider": self.vendor(login),
            "timeout": 10.0,
        }
        return Server(**{**values, **fields})  # type: ignore[arg-type]  # a bag of fields

    def hosts(self) -> Mapping[str, Host]:
        """Where IMAP and POP3 answer."""
        return {
            "imap": Host("localhost", self.imap.port, Encryption.TLS),
            "pop": Host("localhost", self.pop.port, Encryption.TLS),
        }

    def _judge(self, attempt: AuthAttempt, protocol: str) -> Denied | None:
        vendor = self.vendor(attempt.login)
        word = self.idp.judge(attempt.secret, attempt.login, protocol) if attempt.is_token else "password"
        if word is None:
            return None
        if word == "not_connected" and vendor == "outlook":
            return Denied("User is authenticated but not connected.", connected=protocol == "pop")
        return Denied(
            (_IMAP_REFUSED if protocol == "imap" else _POP_REFUSED)[vendor], _CHALLENGE if vendor == "gmail" else ""
        )
