"""One SMTP session of the loopback server, at wire level (RFC 5321; an asyncio protocol, no stream layer).

It works on bytes because a faithful fault is a matter of bytes: which of them had arrived, which were answered, and
what was stored before the line went dead. ``_work`` takes complete commands (or a complete message) off the buffer
until the buffer is empty or the session waits for something; answers are collected and leave together, after the
books are written::

    data_received ─► _work ─► _command / _message ─► script rule? ─► _play, else the friendly way
                                                                      └► books, then answers, in one write each
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from .smtp_script import GARBAGE, Decision, Moment, Rule

if TYPE_CHECKING:
    from .smtp_server import SmtpCore

MAX_LINE = 16_384  # RFC 4954 section 4 asks for 12288 in AUTH
MAX_RECIPIENTS = 10_000
MAX_WAITING = 4 * 1024 * 1024  # bytes read ahead while the session is silent

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


@dataclass(frozen=True, slots=True)
class AuthAttempt:
    """What a client showed to sign in; ``secret`` is the password, or the access token of XOAUTH2/OAUTHBEARER."""

    mechanism: str
    login: str
    secret: str = field(repr=False)

    @property
    def is_token(self) -> bool:
        return self.mechanism in ("XOAUTH2", "OAUTHBEARER")


class SmtpSession(asyncio.Protocol):
    """The server's side of one connection. ``core`` holds settings, script and books; ``number`` counts from 1."""

    def __init__(self, core: SmtpCore) -> None:
        self.core = core
        self.number = core.next_session()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._buffer = bytearray()
        self._position = 0  # bytes of the buffer already taken
        self._scanned = 0  # where the search for the final dot goes on
        self._out: list[bytes] = []
        self._waiting = True  # nothing is taken off the buffer: handshake, silence, slow answer
        self._closing = False
        self._slow: float | None = None  # seconds between bytes of the answer being made
        self._mute = False  # the step takes effect, its answer is swallowed
        self._in_data = False
        self._overlong = False  # the line being read is too long to keep
        self._skipped = 0  # bytes of an over-large message already thrown away
        self._challenge: Callable[[bytes], None] | None = None
        self.tls = False
        self.login: str | None = None
        self._greeted = False
        self._messages = 0
        self._reset()

    def _reset(self) -> None:
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._later: dict[str, Rule] = {}
        self._never: set[str] = set()
        self._parameters: dict[str, str | None] = {}

    # -- the connection -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.core.sessions.add(self)
        self.core.note(self.number, "connected", str(transport.get_extra_info("peername")))
        if self.core.tls is not None and self.core.tls.mode == "tls":
            self._handshake(self._greet)
        else:
            self._greet()

    def _greet(self) -> None:
        self._step("connect", lambda: self._reply(220, f"{self.core.hostname} ESMTP mailops test peer"))
        self._work()

    def connection_lost(self, exc: Exception | None) -> None:
        if self not in self.core.sessions:
            return
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None
        self.core.sessions.discard(self)
        self.core.note(self.number, "closed", "" if exc is None else str(exc))

    def abort(self) -> None:
        """Cut the line now."""
        self._closing = True
        if self._task is not None and not self._task.done():
            self._task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._waiting:
            if len(self._buffer) > MAX_WAITING and self._transport is not None:
                self._transport.pause_reading()
            return
        self._work()

    def eof_received(self) -> bool:
        return False

    # -- TLS ----------------------------------------------------------------------------------------------------------

    def _handshake(self, then: Callable[[], None]) -> None:
        """Start TLS, or play what the script says about the handshake."""
        self._waiting = True
        decision = self._decide("tls")
        if decision is None:
            assert self._transport is not None
            self._transport.pause_reading()
            self._task = asyncio.get_running_loop().create_task(self._upgrade(then))
            return
        rule = decision.rule
        self.core.note(self.number, "fault", decision.reason)
        if rule.action == "silence":
            if rule.seconds:
                self._later_on(rule.seconds, self._hang_up)
            return
        if rule.action == "garbage" and self._transport is not None:
            self._transport.write(GARBAGE[rule.garbage])
        self._hang_up()

    async def _upgrade(self, then: Callable[[], None]) -> None:
        assert self._transport is not None
        assert self.core.tls is not None
        loop = asyncio.get_running_loop()
        try:
            secured = await loop.start_tls(
                self._transport, self, self.core.tls_context(), server_side=True, ssl_handshake_timeout=30
            )
        except asyncio.CancelledError:
            self.connection_lost(None)
            raise
        except OSError as error:  # ssl.SSLError is one
            self.core.note(self.number, "tls failed", str(error))
            self.core.counters["tls failed"] += 1
            plain = self._transport
            self.connection_lost(error)  # a line lost in the handshake is not reported to the protocol above it
            if plain is not None:
                plain.abort()
            return
        if secured is None or self._closing:
            return
        self._transport = secured
        self.tls = True
        peer = secured.get_extra_info("ssl_object")
        subject = _common_name(peer.getpeercert() if isinstance(peer, ssl.SSLObject) else None)
        if subject:
            self.login = subject
        self.core.note(self.number, "tls", subject or "")
        self._waiting = False
        then()

    # -- the work loop ------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Take what is complete off the buffer; then books first, answers after."""
        buffer = self._buffer
        while not self._waiting and not self._closing:
            if self._in_data:
                if not self._take_message():
                    break
                continue
            end = buffer.find(b"\n", self._position)
            if end < 0:
                if len(buffer) - self._position > MAX_LINE:  # bounded memory; the answer waits for the line's end
                    self._overlong, self._position = True, len(buffer)
                break
            line = bytes(buffer[self._position : end])
            self._position = end + 1
            if self._overlong or len(line) > MAX_LINE:
                self._overlong = False
                self._reply(500, "Line too long", "5.5.2")
                continue
            self._command(line.removesuffix(b"\r"))
        if self._position:
            del buffer[: self._position]
            self._scanned = max(0, self._scanned - self._position)
            self._position = 0
        self._flush()

    def _flush(self) -> None:
        if not self._out:
            return
        self.core.books.flush()
        if self._transport is not None:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _take_message(self) -> bool:
        """The message up to the final dot, when it is all there (RFC 5321 section 4.1.1.4)."""
        buffer, start = self._buffer, self._position
        if not self._skipped and buffer.startswith(b".\r\n", start):
            self._position = start + 3
            self._message(b"")
            return True
        end = buffer.find(b"\r\n.\r\n", max(self._scanned, start))
        if end < 0:
            self._scanned = max(start, len(buffer) - 4)
            limit = self.core.max_size
            if len(buffer) - start > limit + 65_536:  # bounded memory: keep only what may be part of the final dot
                self._skipped += len(buffer) - 4 - start
                self._position = self._scanned = len(buffer) - 4
            return False
        data = bytes(memoryview(buffer)[start : end + 2])
        self._position = end + 5
        self._message(data)
        return True

    def _later_on(self, seconds: float, call: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, call)

    def _go_on(self) -> None:
        """End a wait."""
        self._waiting = False
        if self._transport is not None and not self._closing:
            self._transport.resume_reading()
            self._work()

    def _hang_up(self) -> None:
        self._waiting = self._closing = True
        if self._transport is not None:
            self._transport.close()

    # -- answers ------------------------------------------------------------------------------------------------------

    def _reply(self, code: int, text: str, enhanced: str | None = None, *, close: bool = False) -> None:
        """Queue an answer. ``text`` may have several lines; ``enhanced`` is left out when not announced (RFC 2034)."""
        if self._mute:
            return
        prefix = f"{enhanced} " if enhanced and "ENHANCEDSTATUSCODES" in self.core.extensions else ""
        lines = text.split("\n")
        last = len(lines) - 1
        wire = "".join(f"{code}{' ' if i == last else '-'}{prefix}{line}\r\n" for i, line in enumerate(lines))
        if self.core.trace:
            self.core.note(self.number, "reply", wire.rstrip().replace("\r\n", " | "))
        if code >= 400:
            self.core.counters[f"replied {code}"] += 1
        if self._slow is not None:
            self._trickle(wire.encode("utf-8"), self._slow, close)
            return
        self._out.append(wire.encode("utf-8"))
        if close:
            self._flush()
            self._hang_up()

    def _trickle(self, wire: bytes, pause: float, close: bool) -> None:
        """Write an answer byte by byte."""
        self._flush()
        self.core.books.flush()
        self._waiting = True

        def step(at: int) -> None:
            if self._transport is None:
                return
            self._transport.write(wire[at : at + 1])
            if at + 1 < len(wire):
                self._later_on(pause, lambda: step(at + 1))
            elif close:
                self._hang_up()
            else:
                self._go_on()

        step(0)

    # -- the script ---------------------------------------------------------------------------------------------------

    def _decide(
        self, step: str, recipients: tuple[str, ...] | None = None, sender: str | None = None
    ) -> Decision | None:
        script = self.core.script
        if not script.covers(step):
            return None
        return script.decide(
            Moment(
                step,
                sender=sender if sender is not None else self._sender or "",
                recipients=recipients if recipients is not None else tuple(self._recipients),
                session_messages=self._messages,
                monotonic=self.core.clock.monotonic(),
            )
        )

    def _step(
        self,
        step: str,
        friendly: Callable[[], None],
        recipients: tuple[str, ...] | None = None,
        sender: str | None = None,
    ) -> None:
        """Do a step the friendly way, unless a rule says otherwise."""
        self._waiting = False
        decision = self._decide(step, recipients, sender)
        if decision is None:
            friendly()
        else:
            self._play(decision, step, friendly, recipients)

    def _play(
        self, decision: Decision, step: str, friendly: Callable[[], None], recipients: tuple[str, ...] | None
    ) -> None:
        rule = decision.rule
        self.core.note(self.number, "fault", decision.reason)
        self.core.counters[f"{rule.action} at {step}"] += 1
        if rule.action == "bounce":
            assert recipients
            self._later[recipients[-1]] = rule
            friendly()
            return
        if rule.action in ("reply", "greylist", "rate"):
            if step == "body":
                self._reset()
            self._reply(rule.code, rule.text, rule.enhanced, close=rule.closes)
            return
        if rule.after:
            self._mute = True
            friendly()
            self._mute = False
            self.core.books.flush()
        if rule.action == "drop":
            self._flush()
            self._hang_up()
        elif rule.action == "garbage":
            self._garbage(rule, step)
        elif rule.action == "silence":
            self._wait(rule, (lambda: None) if rule.after else friendly)
        else:
            self._wait(rule, friendly, byte_seconds=rule.byte_seconds or None)

    def _garbage(self, rule: Rule, step: str) -> None:
        if step == "body" and not rule.after:
            self._reset()
        self._out.append(GARBAGE[rule.garbage])
        if rule.close:
            self._flush()
            self._hang_up()

    def _wait(self, rule: Rule, then: Callable[[], None], byte_seconds: float | None = None) -> None:
        """Stop answering for a while; 0 seconds of silence last until the client leaves."""
        self._flush()
        self._waiting = True

        def resume() -> None:
            self._waiting = False
            self._slow = byte_seconds
            then()
            self._slow = None
            if not self._waiting:
                self._go_on()

        if rule.seconds or rule.action == "slow":
            self._later_on(rule.seconds, resume)

    # -- commands -----------------------------------------------------------------------------------------------------

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
        elif len(self._recipients) >= MAX_RECIPIENTS:
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

    def _data_friendly(self) -> None:
        self._in_data, self._skipped = True, 0
        self._scanned = self._position
        self._reply(354, "End data with <CR><LF>.<CR><LF>")

    def _message(self, data: bytes) -> None:
        self._in_data = False
        size, self._skipped = len(data) + self._skipped, 0
        self._step("body", lambda: self._store(data, size))

    def _store(self, data: bytes, size: int) -> None:
        if size > self.core.max_size:
            self._reset()
            self._reply(552, f"Message of {size} bytes is larger than {self.core.max_size}", "5.3.4")
            return
        if data.startswith(b"."):
            data = data[1:]
        if b"\r\n." in data:
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

    # -- STARTTLS and AUTH --------------------------------------------------------------------------------------------

    def _starttls(self) -> None:
        if not self.core.starttls_offered(self):
            self._reply(502, "STARTTLS is not offered", "5.5.1")
            return
        self._step("starttls", self._starttls_friendly)

    def _starttls_friendly(self) -> None:
        self._reply(220, "Ready to start TLS", "2.0.0")
        self._flush()
        self._position = len(self._buffer)  # RFC 3207 section 4.2: nothing said in clear counts any more
        self._greeted, self.login = False, None
        self._reset()
        self._handshake(self._go_on)

    def _auth(self, rest: str) -> None:
        mechanism, _, initial = rest.partition(" ")
        mechanism = mechanism.upper()
        if mechanism not in self.core.mechanisms_for(self):
            self._reply(504 if self.core.auth is not None else 502, "Mechanism not offered", "5.5.4")
            return
        if self.login is not None:
            self._reply(503, "Already signed in", "5.5.1")
            return
        self._step("auth", lambda: self._auth_friendly(mechanism, initial.strip()))

    def _auth_friendly(self, mechanism: str, initial: str) -> None:
        if mechanism == "LOGIN":
            if initial:
                self._login_name(initial.encode())
            else:
                self._ask("Username:", self._login_name)
        elif initial:
            self._sasl(mechanism, b"" if initial == "=" else initial.encode())
        else:
            self._ask("", lambda line: self._sasl(mechanism, line))

    def _ask(self, prompt: str, then: Callable[[bytes], None]) -> None:
        self._challenge = then
        self._reply(334, base64.b64encode(prompt.encode()).decode())

    def _login_name(self, line: bytes) -> None:
        name = self._decoded(line)
        if name is not None:
            self._ask("Password:", lambda secret: self._login_secret(name, secret))

    def _login_secret(self, name: str, line: bytes) -> None:
        secret = self._decoded(line)
        if secret is not None:
            self._judge(AuthAttempt("LOGIN", name, secret))

    def _sasl(self, mechanism: str, line: bytes) -> None:
        text = self._decoded(line)
        if text is None:
            return
        attempt = parse_sasl(mechanism, text)
        if attempt is None:
            self._reply(501, f"Malformed {mechanism} message", "5.5.2")
        else:
            self._judge(attempt)

    def _decoded(self, line: bytes) -> str | None:
        if line == b"*":
            self._reply(501, "Authentication cancelled", "5.7.0")
            return None
        try:
            return base64.b64decode(line, validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            self._reply(501, "Cannot decode the answer", "5.5.2")
            return None

    def _judge(self, attempt: AuthAttempt) -> None:
        if self.core.credentials_right(attempt):
            self.login = attempt.login
            self.core.note(self.number, "login", f"{attempt.mechanism} {attempt.login}")
            self._reply(235, "Authentication successful", "2.7.0")
            return
        self.core.note(self.number, "login refused", f"{attempt.mechanism} {attempt.login}")
        if attempt.is_token:  # RFC 7628 section 3.2.2: the reason first, then the client's empty answer, then 535
            self._challenge = lambda _line: self._reply(535, "Token not accepted", "5.7.8")
            reason = b'{"status":"invalid_token","schemes":"bearer","scope":"https://mail.example.test/"}'
            self._reply(334, base64.b64encode(reason).decode())
            return
        self._reply(535, "Authentication credentials invalid", "5.7.8")


# -- small readers ----------------------------------------------------------------------------------------------------


def message_id_of(data: bytes) -> str | None:
    """The Message-ID field of a message, or None."""
    end = data.find(b"\r\n\r\n")
    found = _MESSAGE_ID.search(data, 0, end + 2 if end >= 0 else len(data))
    return found.group(1).strip().decode("utf-8", "replace") if found else None


def parse_sasl(mechanism: str, text: str) -> AuthAttempt | None:
    """A decoded initial response of PLAIN (RFC 4616), XOAUTH2, or OAUTHBEARER (RFC 7628); None when malformed."""
    if mechanism == "PLAIN":
        parts = text.split("\0")
        return AuthAttempt(mechanism, parts[1] or parts[0], parts[2]) if len(parts) == 3 else None
    fields = [part for part in text.split("\x01") if part]
    if mechanism == "XOAUTH2":
        user = next((part[5:] for part in fields if part.startswith("user=")), None)
    else:
        header = next((part for part in fields[:1] if part.startswith(("n,", "y,"))), "")
        user = next((part[2:] for part in header.split(",") if part.startswith("a=")), "" if header else None)
    token = next((part[12:] for part in fields if part.lower().startswith("auth=bearer ")), None)
    return AuthAttempt(mechanism, user, token) if user is not None and token else None


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


def _common_name(certificate: Mapping[str, object] | None) -> str | None:
    subject = (certificate or {}).get("subject", ())
    assert isinstance(subject, tuple)
    return next((value for part in subject for key, value in part if key == "commonName"), None)
