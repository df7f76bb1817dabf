"""One SMTP session of the loopback server: the commands and the mail transaction (RFC 5321 section 4.1).

The layers below are ``smtp_wire`` (bytes, waits, faults) and ``smtp_auth`` (STARTTLS, AUTH). Every command first asks
the script; the ``…_friendly`` methods are what happens when no rule speaks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from .smtp_auth import AuthSession

_MESSAGE_ID = re.compile(rb"^message-id:[ \t]*(?:\r\n[ \t]+)?([^\r\n]+)", re.IGNORECASE | re.MULTILINE)
_PATH = re.compile(r"\A(FROM|TO):[ ]*<([^<>\r\n]*)>(.*)\Z", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A mail the server took: the envelope, the bytes (CRLF, dots unstuffed), and how it came.

    ``login`` is the name of a successful AUTH, or the subject of the client's certificate.
    """

    envelope_from: str
    recipients: tuple[str, ...]
    data: bytes
    message_id: str | None
    tls: bool
    login: str | None
    session: int
    received_at: datetime
    parameters: Mapping[str, str | None] = field(default_factory=dict)


class SmtpSession(AuthSession):
    """The server's side of one connection. ``core`` holds settings, script and books; ``number`` counts from 1."""

    def _command(self, line: bytes) -> None:
        if self._challenge is not None:
            answer, self._challenge = self._challenge, None
            if self.core.trace:
                self.core.note(self.number, "command", "(auth) ***")
            answer(line)
            return
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            self._reply(500, "Command is not UTF-8", "5.5.2")
            return
        verb, _, rest = text.partition(" ")
        verb = verb.upper()
        if self.core.trace:
            shown = f"AUTH {rest.split(' ')[0]} ***" if verb == "AUTH" and " " in rest else text
            self.core.note(self.number, "command", shown)
        if len(self._buffer) > self._position and self._pipelined():
            return
        if verb == "MAIL":
            self._mail(rest)
        elif verb == "RCPT":
            self._rcpt(rest)
        elif verb == "DATA":
            self._data()
        elif verb == "BDAT" and "CHUNKING" in self.core.extensions:
            self._bdat(rest)
        elif verb in ("EHLO", "HELO"):
            self._step("ehlo", lambda: self._ehlo(verb, rest))
        elif verb == "RSET":
            self._step("rset", self._rset)
        elif verb == "NOOP":
            self._step("noop", lambda: self._reply(250, "OK", "2.0.0"))
        elif verb == "QUIT":
            self._step("quit", lambda: self._reply(221, "Bye", "2.0.0", close=True))
        elif verb == "STARTTLS":
            self._starttls()
        elif verb == "AUTH":
            self._auth(rest)
        elif verb == "VRFY":
            self._reply(252, "Send some mail, I will try my best", "2.5.0")
        else:
            self._reply(500, "Command not recognised", "5.5.1")

    def _pipelined(self) -> bool:
        decision = self._decide("pipelining")
        if decision is None:
            return False
        self._play(decision, "pipelining", lambda: None, None)
        return True

    def _ehlo(self, verb: str, name: str) -> None:
        self._greeted = True
        self._reset()
        offers = [] if verb == "HELO" else self.core.offers(self)
        self._reply(250, "\n".join([f"{self.core.hostname} greets {name.strip() or 'you'}", *offers]))

    def _rset(self) -> None:
        self._reset()
        self._reply(250, "OK", "2.0.0")

    def _mail(self, rest: str) -> None:
        parsed = _path(rest, "FROM")
        if parsed is None:
            self._reply(501, "Syntax: MAIL FROM:<address>", "5.5.4")
            return
        address, parameters = parsed
        self._step("mail", lambda: self._mail_friendly(address, parameters), (), address)

    def _mail_friendly(self, address: str, parameters: dict[str, str | None]) -> None:
        core = self.core
        size = parameters.get("SIZE") or "0"
        if not self._greeted:
            self._reply(503, "Say EHLO first", "5.5.1")
        elif core.auth_required and self.login is None:
            self._reply(530, "Authentication required", "5.7.0")
        elif self._sender is not None:
            self._reply(503, "Nested MAIL command", "5.5.1")
        elif (refused := core.foreign_parameter(parameters, core.MAIL_PARAMETERS)) is not None:
            self._reply(555, f"Parameter {refused} is not offered here", "5.5.4")
        elif not address.isascii() and "SMTPUTF8" not in parameters:
            self._reply(553, "A non-ASCII address needs SMTPUTF8", "5.6.7")
        elif not size.isdecimal():
            self._reply(501, "SIZE is a number", "5.5.4")
        elif int(size) > core.max_size:
            self._reply(552, f"Message of {size} bytes is larger than {core.max_size}", "5.3.4")
        else:
            self._sender, self._parameters = address, parameters
            self._reply(250, "OK", "2.1.0")

    def _rcpt(self, rest: str) -> None:
        parsed = _path(rest, "TO")
        if parsed is None or not parsed[0]:
            self._reply(501, "Syntax: RCPT TO:<address>", "5.5.4")
            return
        address, parameters = parsed
        if self._sender is None:
            self._reply(503, "MAIL first", "5.5.1")
            return
        self._step("rcpt", lambda: self._rcpt_friendly(address, parameters), (address,))

    def _rcpt_friendly(self, address: str, parameters: dict[str, str | None]) -> None:
        if (refused := self.core.foreign_parameter(parameters, self.core.RCPT_PARAMETERS)) is not None:
            self._reply(555, f"Parameter {refused} is not offered here", "5.5.4")
        elif not address.isascii() and "SMTPUTF8" not in self._parameters:
            self._reply(553, "A non-ASCII address needs SMTPUTF8", "5.6.7")
        elif len(self._recipients) >= self.core.max_recipients:
            self._reply(452, "Too many recipients", "4.5.3")
        else:
            self._recipients.append(address)
            if (parameters.get("NOTIFY") or "").upper() == "NEVER":
                self._never.add(address)
            self._reply(250, "OK", "2.1.5")

    def _data(self) -> None:
        if not self._recipients:
            self._reply(503 if self._sender is None else 554, "No valid recipients", "5.5.1")
            return
        self._step("data", self._data_friendly)

    def _bdat(self, rest: str) -> None:
        """A chunk (RFC 3030 section 2): its octets follow, and are taken whatever is said about it."""
        size, _, last = rest.strip().partition(" ")
        if not size.isdecimal() or last.strip().upper() not in ("", "LAST"):
            self._reply(501, "Syntax: BDAT size [LAST]", "5.5.4")
            return
        self._chunk = (int(size), bool(last.strip()))

    def _chunk_came(self, data: bytes, last: bool) -> None:
        if not self._recipients:
            self._reply(503 if self._sender is None else 554, "No valid recipients", "5.5.1")
            return
        self._step("bdat", lambda: self._chunk_friendly(data, last))

    def _chunk_friendly(self, data: bytes, last: bool) -> None:
        self._chunks.append(data)
        if not last:
            self._reply(250, f"{len(data)} octets", "2.0.0")
            return
        whole = b"".join(self._chunks)
        self._step("body", lambda: self._store(whole, len(whole), stuffed=False))

    def _data_friendly(self) -> None:
        self._in_data, self._skipped = True, 0
        self._scanned = self._position
        self._reply(354, "End data with <CR><LF>.<CR><LF>")

    def _message(self, data: bytes) -> None:
        self._in_data = False
        size, self._skipped = len(data) + self._skipped, 0
        self._step("body", lambda: self._store(data, size))

    def _store(self, data: bytes, size: int, *, stuffed: bool = True) -> None:
        if size > self.core.max_size:
            self._reset()
            self._reply(552, f"Message of {size} bytes is larger than {self.core.max_size}", "5.3.4")
            return
        if stuffed and data.startswith(b"."):
            data = data[1:]
        if stuffed and b"\r\n." in data:
            data = data.replace(b"\r\n.", b"\r\n")
        assert self._sender is not None
        message = ReceivedMessage(
            self._sender,
            tuple(self._recipients),
            data,
            message_id_of(data),
            self.tls,
            self.login,
            self.number,
            self.core.clock.now(),
            self._parameters,
        )
        later = {recipient: rule for recipient, rule in self._later.items() if recipient not in self._never}
        number = self.core.accept(message, later)
        self._messages += 1
        self._reset()
        self._reply(250, f"OK queued as {number}", "2.0.0")


def message_id_of(data: bytes) -> str | None:
    """The Message-ID field of a message, or None."""
    end = data.find(b"\r\n\r\n")
    found = _MESSAGE_ID.search(data, 0, end + 2 if end >= 0 else len(data))
    return found.group(1).strip().decode("utf-8", "replace") if found else None


def _path(rest: str, keyword: str) -> tuple[str, dict[str, str | None]] | None:
    """``FROM:<a@b> SIZE=1`` as address and parameters (names in capitals)."""
    found = _PATH.match(rest)
    if found is None or found.group(1).upper() != keyword:
        return None
    tail = found.group(3)
    if not tail:
        return found.group(2), {}
    if not tail.startswith(" "):
        return None
    parameters: dict[str, str | None] = {}
    for word in tail.split():
        name, equals, value = word.partition("=")
        parameters[name.upper()] = value if equals else None
    return found.group(2), parameters
