"""A loopback POP3 server (RFC 1939) with STLS (RFC 2595), CAPA (RFC 2449) and SASL sign-in (RFC 5034)."""

from __future__ import annotations

import base64
import binascii
import socket
from collections.abc import Mapping

from .line_server import LineServer, LineSession
from .mailboxes import Denied, Judge, Mailboxes, StoredMail, judge_of
from .smtp_auth import AuthAttempt, parse_sasl
from .smtp_core import ServerTls

REFUSED = "Authentication failure: unknown user name or bad password."


class _Session(LineSession):
    server: PopServer

    def __init__(self, server: LineServer, sock: socket.socket) -> None:
        super().__init__(server, sock)
        self._user = ""
        self._login: str | None = None
        self._mails: list[StoredMail] = []
        self._gone: set[int] = set()

    def run(self) -> None:
        self._say("+OK mailops loopback POP3 ready")
        while True:
            line = self.read_line().decode("utf-8", "replace")
            name, _, rest = line.partition(" ")
            name = name.upper()
            self.server.log.append(f"{name} ***" if name in ("PASS", "AUTH") else line[:200])
            if name == "QUIT":
                if self._login:
                    self.server.mailboxes.remove(self._login, self._gone)
                self._say("+OK bye")
                return
            act = getattr(self, f"_do_{name.lower()}", None)
            if act is None or (self._login is None and name not in ("CAPA", "STLS", "AUTH", "USER", "PASS", "NOOP")):
                self._say("-ERR not understood here")
            else:
                act(rest.strip())

    def _say(self, text: str) -> None:
        self.write(text.encode() + b"\r\n")

    # --- signing in ---------------------------------------------------------------------------------------------------

    def _do_capa(self, rest: str) -> None:
        lines = ["+OK", "TOP", "UIDL", "RESP-CODES"]
        if self.server.starttls_offered(self):
            lines.append("STLS")
        if self.server.tls is None or self.tls:
            lines += ["USER", "SASL " + " ".join(self.server.mechanisms)]
        self._say("\r\n".join([*lines, "."]))

    def _do_stls(self, rest: str) -> None:
        if not self.server.starttls_offered(self):
            self._say("-ERR not offered")
            return
        self._say("+OK begin TLS")
        self.start_tls()

    def _do_auth(self, rest: str) -> None:
        mechanism, _, initial = rest.partition(" ")
        mechanism = mechanism.upper()
        if mechanism not in self.server.mechanisms or (self.server.tls is not None and not self.tls):
            self._say("-ERR mechanism not offered")
            return
        if initial:  # the line may hold 255 octets, and Exchange refuses the one-line form altogether
            self._say("-ERR Protocol error. Connection is closed. 10")
            return
        self._say("+ ")
        try:
            text = base64.b64decode(self.read_line(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            self._say("-ERR cannot decode")
            return
        attempt = parse_sasl(mechanism, text)
        denied = self.server.judge(attempt) if attempt else Denied("malformed")
        if attempt is not None and denied is None:
            self._enter(attempt.login)
            return
        assert denied is not None
        if attempt is not None and attempt.is_token and denied.challenge:
            self._say("+ " + base64.b64encode(denied.challenge.encode()).decode())
            self.read_line()
        self._say(f"-ERR {denied.text}")

    def _do_user(self, rest: str) -> None:
        self._user = rest
        self._say("+OK")

    def _do_pass(self, rest: str) -> None:
        denied = self.server.judge(AuthAttempt("USER", self._user, rest))
        if denied is None:
            self._enter(self._user)
        else:
            self._say(f"-ERR {denied.text}")

    def _enter(self, login: str) -> None:
        self._login = login
        self._mails = self.server.mailboxes.mails(login)
        self._say(f"+OK {len(self._mails)} messages")

    # --- the mailbox --------------------------------------------------------------------------------------------------

    def _mail(self, rest: str) -> StoredMail | None:
        number = rest.split(" ")[0]
        if number.isdigit() and 0 < int(number) <= len(self._mails):
            mail = self._mails[int(number) - 1]
            if mail.uid not in self._gone:
                return mail
        self._say("-ERR no such message")
        return None

    def _left(self) -> list[tuple[int, StoredMail]]:
        return [(n, m) for n, m in enumerate(self._mails, 1) if m.uid not in self._gone]

    def _do_noop(self, rest: str) -> None:
        self._say("+OK")

    def _do_stat(self, rest: str) -> None:
        left = self._left()
        self._say(f"+OK {len(left)} {sum(len(m.data) for _, m in left)}")

    def _do_list(self, rest: str) -> None:
        self._table(rest, lambda mail: str(len(mail.data)))

    def _do_uidl(self, rest: str) -> None:
        self._table(rest, lambda mail: f"{self.server.mailboxes.uidvalidity}-{mail.uid}")

    def _table(self, rest: str, show: object) -> None:
        assert callable(show)
        if rest:
            mail = self._mail(rest)
            if mail is not None:
                self._say(f"+OK {rest} {show(mail)}")
            return
        self._say("\r\n".join(["+OK", *(f"{n} {show(m)}" for n, m in self._left()), "."]))

    def _do_retr(self, rest: str) -> None:
        mail = self._mail(rest)
        if mail is not None:
            self._lines(mail.data)

    def _do_top(self, rest: str) -> None:
        number, _, count = rest.partition(" ")
        mail = self._mail(number)
        if mail is not None:
            head, _, body = mail.data.partition(b"\r\n\r\n")
            lines = body.split(b"\r\n")[: int(count) if count.isdigit() else 0]
            self._lines(head + b"\r\n\r\n" + b"\r\n".join(lines))

    def _lines(self, data: bytes) -> None:
        stuffed = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in data.split(b"\r\n"))
        end = b"" if stuffed.endswith(b"\r\n") else b"\r\n"
        self.write(b"+OK\r\n" + stuffed + end + b".\r\n")

    def _do_dele(self, rest: str) -> None:
        mail = self._mail(rest)
        if mail is not None:
            self._gone.add(mail.uid)
            self._say("+OK")

    def _do_rset(self, rest: str) -> None:
        self._gone.clear()
        self._say("+OK")


class PopServer(LineServer):
    """``auth``: a mapping of login to password or token, or a judge of :class:`AuthAttempt`."""

    session_type = _Session

    def __init__(
        self,
        mailboxes: Mailboxes,
        auth: Mapping[str, str] | Judge,
        *,
        tls: ServerTls | None = None,
        mechanisms: tuple[str, ...] = ("PLAIN", "XOAUTH2", "OAUTHBEARER"),
        port: int = 0,
    ) -> None:
        super().__init__(tls=tls, port=port)
        self.mailboxes = mailboxes
        self.mechanisms = mechanisms
        self.judge = judge_of(auth, REFUSED)
