"""One signed-in SMTP session and the sending of a mail on it.

With PIPELINING (RFC 2920) a mail costs two writes: ``MAIL`` + ``RCPT``… + ``DATA``, then the dot-stuffed body with the
final dot. Without it every command waits for its answer. Long recipient lists go out in groups, so that the answers
never fill the buffers of both sides.

With CHUNKING too (RFC 3030) it is one flight: the body follows its recipients in the same write, as one ``BDAT`` chunk.
A body of more than :data:`FLIGHT` octets waits for the answers to RCPT. A server that offers BDAT and refuses it gets
``DATA``, and no BDAT from this process any more.

What an ending means, per recipient:

* every reply is kept with the step it belongs to; refused recipients do not hold up the others;
* the connection ended **before** the final dot was out: temporary, nothing was handed over;
* the connection ended (or went silent, or spoke garbage) **after** the final dot: ``unknown``, the server may have it;
* ``421`` at any step: the server is closing, ``connection_lost`` tells the caller to drop the session.

Refusals of our own (``stage`` ``local``) carry the code a server would have given: 552 5.3.4 too large, 553 5.6.7 needs
SMTPUTF8, 554 5.6.3 needs 8BITMIME, 553 5.1.3 unusable address, 554 5.6.0 broken line ends.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..model.address import envelope_address, is_valid
from ..model.setup import Server
from ..ports import Outbound, RecipientReply, SendResult
from .wire import MAX_NOTES, Reply, Wire, WireError

RCPT_GROUP = 100
FLIGHT = 256 * 1024
FRESH = 2.0  # seconds since its last answer in which a server has hardly closed a connection for idleness
_NOT_DONE = frozenset({500, 501, 502, 503, 504, 555})  # answers to a BDAT that speak of the command
_UNSAFE = re.compile(r"[\x00-\x20\x7f<>]")
_BARE_BEFORE_DOT = re.compile(rb"(?:(?<!\r)\n|\r)\.")
_DOT_AT_START = re.compile(rb"\.(?<=[\r\n]\.)")  # three times as fast as looking for the two octets
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_CHUNK_NOTE = "… message body"
_BODY_NOTE = "… message body, final dot"

OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds each step may take: RFC 5321 §4.5.3.2, capped by the server's own time-out."""

    banner: float = 300
    command: float = 300
    data: float = 120
    block: float = 180
    final: float = 600
    quit: float = 5

    @classmethod
    def of(cls, server: Server) -> Limits:
        cap = max(server.timeout, 0.001)
        return cls(*(min(value, cap) for value in (300, 300, 120, 180, 600, 5)))


@dataclass(frozen=True, slots=True)
class Extensions:
    """What the server offered after EHLO: keyword (upper case) → parameters as written."""

    keywords: dict[str, str] = field(default_factory=dict)
    esmtp: bool = False

    def __contains__(self, keyword: object) -> bool:
        return keyword in self.keywords

    @property
    def size(self) -> int | None:
        """The size limit in octets (RFC 1870); None when there is none or it is not fixed."""
        said = self.keywords.get("SIZE", "").strip()
        return int(said) or None if said.isascii() and said.isdigit() and len(said) < 20 else None

    @property
    def mechanisms(self) -> tuple[str, ...]:
        return tuple(self.keywords.get("AUTH", "").upper().split())

    @classmethod
    def parse(cls, text: str) -> Extensions:
        """Read the lines of an EHLO reply; the first is the greeting. Also the old form ``AUTH=LOGIN``."""
        found: dict[str, str] = {}
        for line in text.split("\n")[1:]:
            word, _, rest = line.strip().partition(" ")
            keyword = word.upper()
            if not keyword:
                continue
            if keyword.startswith("AUTH="):
                keyword, rest = "AUTH", f"{word[5:]} {rest}"
            if keyword == "AUTH" and "AUTH" in found:
                rest = f"{found['AUTH']} {rest}"
            found[keyword] = rest.strip()
        return cls(found, esmtp=True)


def stuff(data: bytes, dotted: bool = True) -> bytes:
    """The message as it follows ``DATA``: dots doubled at line starts, final CRLF and dot added (RFC 5321 §4.5.2).

    ``dotted`` False says that no line starts with a dot, which saves the search.
    """
    if dotted:
        data = data.replace(b"\r\n.", b"\r\n..")
        if data.startswith(b"."):
            data = b"." + data
    return data + (b".\r\n" if data.endswith(b"\r\n") else b"\r\n.\r\n")


class SmtpSession:
    """An open, signed-in session; made by :meth:`mailops.smtp.transport.SmtpTransport.connect`.

    ``stale`` is set when a mail failed on a reused connection before the server answered its ``MAIL``: nothing was
    handed over and a fresh connection may try again at once.
    """

    def __init__(
        self,
        wire: Wire,
        server: Server,
        extensions: Extensions,
        *,
        record: bool = False,
        no_chunks: set[tuple[str, int]] | None = None,
    ) -> None:
        self.wire = wire
        self.server = server
        self.extensions = extensions
        self.limits = Limits.of(server)
        self.record = record
        self.alive = True
        self.stale = False
        self.sent = 0
        self._used_at = time.monotonic()
        self._pipelining = "PIPELINING" in extensions
        self._no_chunks = set() if no_chunks is None else no_chunks  # servers that refuse what they offer
        self._place = (server.host.lower(), server.port)
        self._max_size = min((n for n in (server.max_size, extensions.size) if n), default=None)

    @property
    def offers(self) -> frozenset[str]:
        """The extensions that the server offered, upper case."""
        return frozenset(self.extensions.keywords)

    # --- one mail -----------------------------------------------------------------------------------------------------

    def send(self, mail: Outbound, on_step: OnStep | None = None) -> SendResult:
        """Send one mail; the result holds whatever happened, nothing the server does is raised.

        ``on_step`` hears ``mail``, ``rcpt``, ``data`` once those commands were written (with PIPELINING all three after
        the one write), ``body`` after the final dot was written, ``final-reply`` after its answer was read.
        """
        attempt = _Attempt(mail)
        self.stale = False
        self.wire.notes = []
        if not self.alive:
            attempt.rest(0, None, "the session is closed", "connect")
            return attempt.result(lost=True)
        used = self.sent > 0
        self.sent += 1
        try:
            self._transact(attempt, on_step or _no_step)
        except _Ended:
            pass
        except WireError as error:
            self._drop()
            self.stale = used and not attempt.mail_answered and not attempt.unknown
            words = f"{error.text} ({attempt.stage})"
            if attempt.unknown:
                words = f"{error.text}; the message was complete, so the server may have it"
            attempt.rest(0, None, self.wire.redact(words), attempt.stage)
        except BaseException as error:
            self._drop()
            if not isinstance(error, Exception):
                raise
            attempt.rest(0, None, f"mailops stopped at {attempt.stage}: {type(error).__name__}: {error}", attempt.stage)
        self._used_at = time.monotonic()
        if attempt.anew:
            self.stale = True
        if attempt.closing:
            self.stale = used and not attempt.mail_accepted
            self._drop()
        failed = attempt.unknown or not attempt.all_accepted
        return attempt.result(lost=not self.alive, transcript=self.wire.transcript() if failed or self.record else ())

    def _transact(self, attempt: _Attempt, on_step: OnStep) -> None:
        mail, wire = attempt.mail, self.wire
        try:
            opening = self._opening(attempt)
        except _Unfit as refusal:
            attempt.rest(refusal.code, refusal.enhanced, refusal.words, "local")
        if not attempt.wanted:
            return
        if wire.pending:
            # Only a notice of the end may come unasked; anything else means that we are out of step.
            reply = wire.read(self.limits.command)
            if reply.code != 421:
                raise WireError("garbled", f"the server sent {str(reply)[:200]!r} unasked")
            attempt.closing = True
            attempt.rest_reply(reply, "mail")
            return
        if self._chunking and self._chunked(attempt, opening, on_step):
            return
        commands = [f"RCPT TO:<{address}>\r\n".encode() for address in attempt.wanted.values()]
        if self._pipelining:
            go = self._pipelined(attempt, opening, commands, on_step)
        else:
            go = self._step_by_step(attempt, opening, commands, on_step)
        if not go:
            return
        attempt.stage = "body"
        try:
            wire.write(stuff(mail.data, attempt.dotted), self.limits.block, note=_BODY_NOTE)
        except WireError as error:
            reply = self._last_words(error)
            attempt.rest_reply(reply, "body")
            attempt.closing = True
            return
        attempt.unknown = wire.handed = True
        on_step("body")
        try:
            reply = wire.read(self.limits.final)
        finally:
            wire.handed = False
        if 300 <= reply.code < 400:
            raise WireError("garbled", f"the server answered the message with {str(reply)[:200]!r}")
        attempt.unknown = False
        attempt.rest_reply(reply, "body")
        attempt.closing = reply.code == 421
        on_step("final-reply")

    @property
    def _chunking(self) -> bool:
        return self._pipelining and "CHUNKING" in self.extensions and self._place not in self._no_chunks

    def _chunked(self, attempt: _Attempt, opening: bytes, on_step: OnStep) -> bool:
        """The mail as one BDAT chunk; False when the server refused the command, and DATA is to be tried."""
        wire, mail, limit = self.wire, attempt.mail, self.limits.command
        chunk = b"BDAT %d LAST\r\n" % len(mail.data)
        # A server that closed an idle connection would leave a flight in doubt: there MAIL goes first.
        fresh = time.monotonic() - self._used_at < FRESH
        flight = fresh and len(mail.data) <= FLIGHT and len(attempt.wanted) <= RCPT_GROUP
        commands = [f"RCPT TO:<{address}>\r\n".encode() for address in attempt.wanted.values()]
        if flight:
            head = b"".join((opening, *commands, chunk))
            self._hand_over(attempt, head, on_step, ("mail", "rcpt", "data", "body"))
        if not (flight or self._pipelined(attempt, opening, commands, on_step, then=b"")):
            return True
        if flight and not self._take_mail(attempt, wire.read(limit)):
            attempt.unknown = wire.handed = False
            if not attempt.closing:
                self._skip(len(commands) + 1, sends_data=False)
            return True
        if flight:
            for recipient in list(attempt.wanted):
                attempt.stage = "rcpt"
                if not self._take_rcpt(attempt, recipient, wire.read(limit)):
                    attempt.unknown = wire.handed = False
                    return True
            attempt.unknown = wire.handed = bool(attempt.wanted)
        elif not attempt.wanted:
            self._reset(attempt)
            return True
        else:
            self._hand_over(attempt, chunk, on_step, ("data", "body"))
        attempt.stage = "body"
        try:
            reply = wire.read(self.limits.final)
        finally:
            wire.handed = False
        if 300 <= reply.code < 400:
            raise WireError("garbled", f"the server answered the message with {str(reply)[:200]!r}")
        attempt.unknown = False
        refused = attempt.wanted and reply.code in _NOT_DONE
        if refused:
            self._no_chunks.add(self._place)
        else:
            attempt.rest_reply(reply, "body")
        attempt.closing = reply.code == 421
        if reply.code >= 400 and not attempt.closing:  # its state is not known until a RSET (RFC 3030 §2)
            clear = self._reset(attempt)
            if refused and not clear:  # it took the body for commands: out of step
                self._drop()
        on_step("final-reply")
        if refused and not self.alive:
            attempt.anew = True
            attempt.rest_reply(reply, "body")
        return not (refused and self.alive)

    def _hand_over(self, attempt: _Attempt, head: bytes, on_step: OnStep, steps: tuple[str, ...]) -> None:
        """Write commands with the chunk behind them: from then on the server may have the mail."""
        wire = self.wire
        if len(wire.notes) < MAX_NOTES:
            wire.notes.append(("C", head))
        try:
            wire.write(head + attempt.mail.data, self.limits.block, note=_CHUNK_NOTE)
        except WireError as error:
            reply = self._last_words(error)
            attempt.closing = True
            attempt.rest_reply(reply, attempt.stage)
            raise _Ended from None
        attempt.unknown = wire.handed = True
        for step in steps:
            on_step(step)

    def _pipelined(
        self, attempt: _Attempt, opening: bytes, commands: list[bytes], on_step: OnStep, then: bytes = b"DATA\r\n"
    ) -> bool:
        """MAIL, RCPT and DATA in groups; returns whether the body goes out next. ``then`` empty: without DATA."""
        read, limit, wire = self.wire.read, self.limits.command, self.wire
        recipients = list(attempt.wanted)
        last = len(commands) - 1
        start = 0
        go_on: Reply | None = None
        while start <= last:
            stop = min(start + RCPT_GROUP, last + 1)
            group = commands[start:stop]
            if start == 0:
                group.insert(0, opening)
            if stop > last:
                group.append(then)
            wire.write(b"".join(group), limit)
            if start == 0:
                on_step("mail")
                on_step("rcpt")
            if stop > last and then:
                on_step("data")
            if start == 0 and not self._take_mail(attempt, read(limit)):
                if not attempt.closing:
                    self._skip(stop - start, sends_data=stop > last and bool(then))
                return False
            attempt.stage = "rcpt"
            for index in range(start, stop):
                if not self._take_rcpt(attempt, recipients[index], read(limit)):
                    return False
            if stop > last and then:
                attempt.stage = "data"
                go_on = read(self.limits.data)
            start = stop
        if go_on is None:
            return True
        return self._take_data(attempt, go_on)

    def _step_by_step(self, attempt: _Attempt, opening: bytes, commands: list[bytes], on_step: OnStep) -> bool:
        """The same without PIPELINING: every command waits for its answer."""
        wire, limit = self.wire, self.limits.command
        wire.write(opening, limit)
        on_step("mail")
        if not self._take_mail(attempt, wire.read(limit)):
            return False
        attempt.stage = "rcpt"
        for index, (recipient, command) in enumerate(zip(list(attempt.wanted), commands, strict=True)):
            wire.write(command, limit)
            if index == 0:
                on_step("rcpt")
            if not self._take_rcpt(attempt, recipient, wire.read(limit)):
                return False
        if not attempt.wanted:
            self._reset(attempt)
            return False
        attempt.stage = "data"
        wire.write(b"DATA\r\n", limit)
        on_step("data")
        return self._take_data(attempt, wire.read(self.limits.data))

    def _take_mail(self, attempt: _Attempt, reply: Reply) -> bool:
        attempt.mail_answered = True
        attempt.mail_accepted = 200 <= reply.code < 300
        if not attempt.mail_accepted:
            attempt.closing = reply.code == 421
            attempt.rest_reply(_no_success(reply), "mail")
        return attempt.mail_accepted

    def _take_rcpt(self, attempt: _Attempt, recipient: str, reply: Reply) -> bool:
        if reply.code == 421:
            attempt.closing = True
            attempt.rest_reply(reply, "rcpt")
            return False
        if not 200 <= reply.code < 300:
            attempt.settle(recipient, _no_success(reply), "rcpt")
        return True

    def _take_data(self, attempt: _Attempt, reply: Reply) -> bool:
        if reply.code == 354:
            if attempt.wanted:
                return True
            # Every recipient was refused, yet DATA was taken: a lone dot ends it (RFC 2920 §3.1).
            self.wire.write(b".\r\n", self.limits.block)
            self._after(attempt, self.wire.read(self.limits.final))
            return False
        if 200 <= reply.code < 400:
            raise WireError("garbled", f"the server answered DATA with {str(reply)[:200]!r}")
        attempt.closing = reply.code == 421
        attempt.rest_reply(reply, "data")
        if not attempt.closing:
            self._reset(attempt)
        return False

    def _skip(self, count: int, *, sends_data: bool) -> None:
        """Read the answers to what was already sent after a refused MAIL; the outcome stands, so faults only drop."""
        try:
            for _ in range(count):
                if self.wire.read(self.limits.command).code == 421:
                    return self._drop()
            if sends_data and self.wire.read(self.limits.data).code == 354:
                self.wire.write(b".\r\n", self.limits.block)
                self.wire.read(self.limits.final)
        except WireError:
            self._drop()

    def _reset(self, attempt: _Attempt) -> bool:
        """Clear the transaction the server still holds open; whether it did, and said no more."""
        try:
            self.wire.write(b"RSET\r\n", self.limits.command)
            reply = self.wire.read(self.limits.command)
        except WireError:
            self._drop()
            return False
        self._after(attempt, reply)
        return 200 <= reply.code < 300 and not self.wire.pending

    def _last_words(self, broken: WireError) -> Reply:
        """A server that ends the connection amid the body may have said why; otherwise the break itself goes on."""
        if broken.kind != "closed":
            raise broken
        try:
            reply = self.wire.read(1.0)
        except WireError:
            raise broken from None
        if reply.code < 400:
            raise broken
        return reply

    def _after(self, attempt: _Attempt, reply: Reply) -> None:
        attempt.closing = attempt.closing or reply.code == 421

    # --- before anything is sent --------------------------------------------------------------------------------------

    def _opening(self, attempt: _Attempt) -> bytes:
        """The MAIL command; settles or refuses what this server cannot carry before anything is sent."""
        mail, offered = attempt.mail, self.extensions
        data = mail.data
        size = len(data)
        if self._max_size is not None and size > self._max_size:
            words = f"the message has {size} octets, the server takes at most {self._max_size}"
            raise _Unfit(552, "5.3.4", words)
        # Line ends were checked at submission. What must not pass in any case is a line end that the other side might
        # read as one before a dot, and we did not (SMTP smuggling); the search for it costs little.
        attempt.dotted = data.startswith(b".") or _DOT_AT_START.search(data) is not None
        if attempt.dotted and _BARE_BEFORE_DOT.search(data):
            raise _Unfit(554, "5.6.0", "the message has line ends that are not CRLF")
        parameters = ""
        if "SIZE" in offered:
            parameters = f" SIZE={size}"
        if mail.eightbit and not data.isascii():
            if "8BITMIME" not in offered:
                words = (
                    "the message has 8-bit content and the server does not offer 8BITMIME; "
                    "write it as quoted-printable or base64"
                )
                raise _Unfit(554, "5.6.3", words)
            parameters += " BODY=8BITMIME"
        sender = mail.envelope_from
        if sender and (not sender.isascii() or _UNSAFE.search(sender)):
            wire_sender = _on_the_wire(sender)
            if wire_sender is None:
                raise _Unfit(553, "5.1.7", "the envelope sender is not a usable address")
            sender = wire_sender
        international = not sender.isascii()
        if mail.smtputf8:
            head = data.partition(b"\r\n\r\n")[0]
            international = international or not head.isascii()
        for recipient, address in list(attempt.wanted.items()):
            if address.isascii() and not _UNSAFE.search(address):
                continue
            on_wire = _on_the_wire(address)
            if on_wire is None:
                attempt.settle(recipient, Reply(553, "5.1.3 the address is not usable"), "local")
            elif not on_wire.isascii() and "SMTPUTF8" not in offered:
                words = "5.6.7 the address has non-ASCII characters and the server does not offer SMTPUTF8"
                attempt.settle(recipient, Reply(553, words), "local")
            else:
                attempt.wanted[recipient] = on_wire
                international = international or not on_wire.isascii()
        if international or (mail.smtputf8 and "SMTPUTF8" in offered):
            if "SMTPUTF8" not in offered:
                words = "sender or headers have non-ASCII characters and the server does not offer SMTPUTF8"
                raise _Unfit(553, "5.6.7", words)
            parameters += " SMTPUTF8"
        if not offered.esmtp:
            parameters = ""
        return f"MAIL FROM:<{sender}>{parameters}\r\n".encode()

    # --- the end ------------------------------------------------------------------------------------------------------

    def noop(self) -> bool:
        """Whether the server still answers."""
        try:
            self.wire.write(b"NOOP\r\n", self.limits.quit)
            self.alive = self.alive and 200 <= self.wire.read(self.limits.quit).code < 300
        except WireError:
            self.alive = False
        if not self.alive:
            self.wire.close()
        return self.alive

    def command(self, line: str, limit: float | None = None) -> Reply:
        """One command and its answer, for probes. Raises :class:`WireError`."""
        if _CONTROL.search(line):
            raise ValueError("a command is one line")
        self.wire.write(line.encode() + b"\r\n", limit or self.limits.command)
        return self.wire.read(limit or self.limits.command)

    def close(self) -> None:
        """QUIT where possible, then close."""
        if self.alive:
            try:
                self.wire.write(b"QUIT\r\n", self.limits.quit)
                self.wire.read(self.limits.quit)
            except WireError:
                pass
        self._drop()

    def abort(self) -> None:
        """Close without a word (after DATA, a QUIT would become part of the message)."""
        self._drop()

    def _drop(self) -> None:
        self.alive = False
        self.wire.close()


class _Ended(Exception):
    """The server ended the connection amid the mail, and said why."""


class _Unfit(Exception):
    """This server cannot carry this mail; nothing was sent."""

    def __init__(self, code: int, enhanced: str, words: str) -> None:
        super().__init__(words)
        self.code = code
        self.enhanced = enhanced
        self.words = words


class _Attempt:
    """What is known so far about one mail: who is still wanted, who has an answer."""

    __slots__ = (
        "anew",
        "answers",
        "closing",
        "dotted",
        "mail",
        "mail_accepted",
        "mail_answered",
        "stage",
        "unknown",
        "wanted",
    )

    def __init__(self, mail: Outbound) -> None:
        self.mail = mail
        self.wanted = {recipient: recipient for recipient in mail.recipients}
        self.answers: dict[str, RecipientReply] = {}
        self.stage = "mail"
        self.mail_answered = False
        self.mail_accepted = False
        self.unknown = False
        self.closing = False
        self.anew = False  # nothing was handed over, and another connection may try at once
        self.dotted = True

    def settle(self, recipient: str, reply: Reply, stage: str) -> None:
        enhanced, text = reply.split
        self.answers[recipient] = RecipientReply(recipient, reply.code, enhanced, text, stage)
        del self.wanted[recipient]

    def rest_reply(self, reply: Reply, stage: str) -> None:
        enhanced, text = reply.split
        self.rest(reply.code, enhanced, text, stage)

    def rest(self, code: int, enhanced: str | None, text: str, stage: str) -> None:
        """Give everyone without an answer this one."""
        for recipient in self.wanted:
            self.answers[recipient] = RecipientReply(recipient, code, enhanced, text, stage)
        self.wanted = {}

    @property
    def all_accepted(self) -> bool:
        return all(answer.accepted for answer in self.answers.values())

    def result(self, *, lost: bool, transcript: tuple[str, ...] = ()) -> SendResult:
        replies = tuple(self.answers[recipient] for recipient in self.mail.recipients)
        return SendResult(replies, unknown=self.unknown, connection_lost=lost, transcript=transcript)


def _no_step(_name: str) -> None:
    return None


def _no_success(reply: Reply) -> Reply:
    """A 3xx where a yes or no was due is no answer to build on: temporary, the server's words kept."""
    return Reply(450, f"unexpected answer {reply}") if 300 <= reply.code < 400 else reply


def _on_the_wire(spec: str) -> str | None:
    """The address as it may stand in an envelope command, or None."""
    if _CONTROL.search(spec) or not is_valid(spec):
        return None
    return envelope_address(spec) if not spec.rpartition("@")[2].startswith("[") else spec
