"""One connection of the loopback SMTP server, at wire level (an asyncio protocol, no stream layer).

It works on bytes because a faithful fault is a matter of bytes: which of them had arrived, which were answered, and
what was stored before the line went dead. ``_work`` takes complete commands (or a complete message) off the buffer
until the buffer is empty or the session waits for something; answers are collected and leave together, after the
books are written::

    data_received ─► _work ─► _command / _message ─► _step: a script rule? ─► _play, else the friendly way
                                                                           └► books, then answers, one write each

What the commands mean is in ``smtp_session`` and ``smtp_auth``, which build on this class.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from .smtp_script import GARBAGE, Decision, Moment, Rule

if TYPE_CHECKING:
    from .smtp_core import SmtpCore

MAX_LINE = 16_384  # RFC 4954 section 4 asks for 12288 in AUTH
MAX_WAITING = 4 * 1024 * 1024  # bytes read ahead while the session is silent


class WireSession(asyncio.Protocol):
    """Bytes, waits and transaction of one connection. ``core`` is what sessions share; ``number`` counts from 1."""

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
        self._chunk: tuple[int, bool] | None = None  # octets of the chunk that comes, whether it is the last
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
        self._chunks: list[bytes] = []

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
            if self._chunk is not None:
                size, last = self._chunk
                if len(buffer) - self._position < size:
                    break
                data = bytes(memoryview(buffer)[self._position : self._position + size])
                self._position += size
                self._chunk = None
                self._chunk_came(data, last)
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

    # -- what the bytes mean ------------------------------------------------------------------------------------------

    def _command(self, line: bytes) -> None:
        """A complete command line, without its line end."""
        raise AssertionError("SmtpSession knows the commands")

    def _chunk_came(self, data: bytes, last: bool) -> None:
        """The octets of a BDAT command."""
        raise AssertionError("SmtpSession knows the commands")

    def _message(self, data: bytes) -> None:
        """A complete message as it came, dots still stuffed, without the final dot."""
        raise AssertionError("SmtpSession knows the commands")


def _common_name(certificate: Mapping[str, object] | None) -> str | None:
    subject = (certificate or {}).get("subject", ())
    assert isinstance(subject, tuple)
    return next((value for part in subject for key, value in part if key == "commonName"), None)
