"""One client's connection: aiosmtpd's SMTP protocol with our limits, sign-in and answers.

The mail is handed to ``accept`` in a thread; only when that returned, which means durably stored, does the client hear
250. A client that goes away meanwhile may send the mail again: at least once, never not at all.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import re
import secrets as randomness
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import MISSING, SMTP, AuthResult, Envelope, Session, syntax

from ..errors import MessageRefused
from ..model.address import is_valid
from ..smtp.checks import check_data
from .budget import SMALL
from .limits import Turn
from .mail import MAX_HOPS, SubmittedMail, hops, one_line, received, status_for
from .upload import Upload

if TYPE_CHECKING:
    from .server import SubmissionServer

log = logging.getLogger("mailops.submission")
HOLDING = "451 4.3.2 Nothing can be sent at present, so nothing is taken; try again later"
_TOO_LARGE = "552 5.3.4 The message is larger than this server takes"
_TEXTS = {
    "552 Error: Too much mail data": _TOO_LARGE,
    "552 Error: message size exceeds fixed maximum message size": _TOO_LARGE,
    "500 Line too long (see RFC5321 4.5.3.1.6)": "554 5.6.0 A line of the message is longer than 998 octets",
}


_ENHANCED = {
    "221": "2.0.0", "250": "2.0.0", "252": "2.1.5", "454": "4.7.0", "500": "5.5.2", "501": "5.5.4", "502": "5.5.1",
    "503": "5.5.1", "530": "5.7.0", "550": "5.0.0", "552": "5.3.4",
}  # fmt: skip
"""Codes of RFC 3463 for answers of the protocol itself, which have none (RFC 2034)."""
_BARE = re.compile(rf"({'|'.join(_ENHANCED)}) (?![245]\.\d)")
_POSTMASTER = re.compile(r"(?i)to: *<postmaster>( .*)?")

_NO_SMTP = re.compile(rb"(?i)[^a-z\s]|(?:get|post|put|head|delete|options|patch|trace|connect|pri) |ssh-|\S+ \S+ http/")
"""How other protocols begin: a browser, a proxy, TLS. RFC 5321 §4.1.1: a command begins with a letter."""
_FOREIGN = frozenset(["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PRI"])
CHUNK = 1024 * 1024
LONGEST_UPLOAD = 3600.0
"""Seconds after which pieces that come do not start the time-out anew any more."""
MAX_UNKNOWN = 2
"""Unknown commands of one client; people who type by hand make one mistake or two."""


_XTEXT = r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+"  # RFC 3461 §4
_SET_ASIDE = {
    "MAIL": {"AUTH": re.compile(rf"<>|{_XTEXT}"), "RET": re.compile("FULL|HDRS"), "ENVID": re.compile(_XTEXT)},
    "RCPT": {
        "NOTIFY": re.compile("NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY)){0,2}"),
        "ORCPT": re.compile(rf"[A-Z0-9-]{{1,100}};{_XTEXT}"),
    },
}
"""Parameters that are taken, checked, and set aside. A server that offers AUTH takes ``AUTH=`` and may treat it as
``<>`` (RFC 4954 §5); those of RFC 3461 come from programs that ask without looking whether they are offered."""


class _Session(Session):
    """aiosmtpd's session. Who signed in stands in ``auth_data``; the older name is set by the library itself, which
    warns of it each time."""

    login_data: Any = None


class _Methods(dict[str, Any]):
    """aiosmtpd's table of commands, in which what is none has a method too."""

    def __init__(self, known: dict[str, Any], session: SubmissionSession) -> None:
        super().__init__(known)
        self._session = session

    def get(self, command: str, default: Any = None) -> Any:
        return super().get(command) or partial(self._session.no_command, command)


class SubmissionSession(SMTP):
    """The server's side of one connection."""

    def __init__(self, server: SubmissionServer) -> None:
        super().__init__(
            self,
            data_size_limit=server.max_size,
            enable_SMTPUTF8=True,
            hostname=server.hostname,
            ident="mailops submission",
            tls_context=None if server.implicit_tls else server.tls_context,
            require_starttls=server.starttls_needed,
            timeout=server.timeout,
            loop=asyncio.get_running_loop(),
        )
        self.server = server
        self.client = "unknown"
        self.busy = False
        self._counted = False
        self._turned_away = False
        self._failures = 0
        self._unknown = 0
        self._parameters_of = "MAIL"
        self._greets = False
        self._heard = False
        self._smtp_methods = _Methods(self._smtp_methods, self)
        # Set here and not by argument: aiosmtpd warns about a combination that is safe with TLS from the start.
        self._auth_required = server.require_auth
        self._auth_require_tls = not (server.implicit_tls or server.allow_insecure_loopback)
        if not server.users:
            self._auth_methods.clear()

    def _create_session(self) -> Session:
        return _Session(self.loop)

    # --- coming and going ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        if self._original_transport is None:
            name = transport.get_extra_info("peername")
            self.client = str(name[0]) if name else "unknown"
            no = "421 4.3.2 This server is shutting down" if self.server.stopping else None
            no = no or self.server.meter.opened(self.client)
            if no:
                self._turned_away = True
                log.info("turned away %s: %s", self.client, no)
                transport.write(no.encode() + b"\r\n")
                transport.close()
                return
            self._counted = True
            self.server.sessions.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._turned_away:
            return
        if self._counted:
            self._counted = False
            self.server.meter.closed(self.client)
            self.server.sessions.discard(self)
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        if self._turned_away:
            return
        if not self._heard:
            self._heard = True
            if _NO_SMTP.match(data[:200]):
                self._end(data[:40])
                return
        super().data_received(data)

    def _end(self, said: bytes) -> None:
        """End the connection of who speaks another protocol: a browser or a proxy must not be used to write mail."""
        log.warning("%s speaks another protocol (%r); the connection is closed", self.client, said)
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.write(b"421 4.7.0 This is a mail server\r\n")
            self.transport.close()

    async def no_command(self, command: str, arg: str | None) -> None:
        """The answer to a line that is no command of ours."""
        self._unknown += 1
        if command in _FOREIGN or not command.isalpha() or "HTTP/" in (arg or "").upper():
            self._end(command[:40].encode("ascii", "replace"))
        elif self._unknown > MAX_UNKNOWN:
            await self.push("421 4.7.0 Too many unknown commands")
            if self.transport is not None:
                self.transport.close()
        else:
            await self.push(f"500 5.5.1 No such command: {one_line(command, 40)}")

    def eof_received(self) -> bool | None:
        return None if self._turned_away else super().eof_received()

    @property
    def idle(self) -> bool:
        """Whether no mail is under way."""
        return not self.busy and not (self.envelope and self.envelope.mail_from is not None)

    def goodbye(self) -> None:
        """End an idle session (RFC 5321 §3.8)."""
        if self.transport is not None and not self.transport.is_closing():
            self._writer.write(b"421 4.3.2 This server is shutting down\r\n")
            self.transport.close()

    def abort(self) -> None:
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()

    async def push(self, status: Any) -> None:
        told = _TEXTS.get(status, status) if isinstance(status, str) else status
        if isinstance(told, str) and not self._greets and (bare := _BARE.match(told)):
            told = f"{bare[1]} {_ENHANCED[bare[1]]} {told[4:]}"  # RFC 2034: all but greetings have one
        if isinstance(told, str) and told[:1] in "45":
            self._refused(told)
        await super().push(told)

    def _refused(self, told: str) -> None:
        """One line for each refusal: who, what, and the answer."""
        envelope = self.envelope
        fields = {
            "client": self.client,
            "login": self._login,
            "from": envelope.mail_from if envelope else None,
            "recipients": len(envelope.rcpt_tos) if envelope else 0,
            "code": told[:3],
        }
        log.info("refused: %s", told, extra={"fields": fields})

    async def handle_exception(self, error: Exception) -> str:
        log.warning("trouble with %s: %s: %s", self.client, type(error).__name__, error)
        return "451 4.3.0 Trouble in the mail system, try again later"

    # --- signing in ---------------------------------------------------------------------------------------------------

    async def auth_PLAIN(self, _server: Any, args: list[str]) -> AuthResult:
        blob = await self._response(args, "")
        if blob is None:
            return AuthResult(success=False)
        parts = blob.split(b"\0")
        if len(parts) != 3:
            await self.push("501 5.5.2 PLAIN wants three parts")
            return AuthResult(success=False)
        return await self._sign_in(parts[1], parts[2])

    async def auth_LOGIN(self, _server: Any, args: list[str]) -> AuthResult:
        login = await self._response(args, "Username:")
        if login is None:
            return AuthResult(success=False)
        password = await self.challenge_auth("Password:")
        if password is MISSING:
            return AuthResult(success=False)
        return await self._sign_in(login, bytes(password))

    async def _response(self, args: list[str], challenge: str) -> bytes | None:
        """The initial response, or the answer to the challenge; None when the client was told what is wrong."""
        if len(args) == 1:
            answer = await self.challenge_auth(challenge)
            return None if answer is MISSING else bytes(answer)
        try:
            return b"" if args[1] == "=" else base64.b64decode(args[1].encode(), validate=True)
        except (binascii.Error, ValueError):
            await self.push("501 5.5.2 This is not base64")
            return None

    async def _sign_in(self, login: bytes, password: bytes) -> AuthResult:
        name = login.decode("utf-8", "replace")
        meter = self.server.meter
        while (turn := meter.try_sign_in(self.client, name)) is Turn.WAIT:
            await asyncio.sleep(0.02)
        if turn is Turn.NO:
            return AuthResult(
                success=False, handled=False, message="454 4.7.0 Too many failed sign-ins, try again later"
            )
        right = False
        try:
            right = await self.server.in_thread(self.server.users.check, name, password)
        finally:
            meter.signed_in(self.client, name, right)
        if right:
            return AuthResult(success=True, auth_data=_SignedIn(name))
        self._failures += 1
        log.warning("failed sign-in from %s", self.client)
        if self._failures >= 3:
            await self.push("421 4.7.0 Too many failed sign-ins")
            if self.transport is not None:
                self.transport.close()
            return AuthResult(success=False)
        return AuthResult(success=False, handled=False, message="535 5.7.8 User name or password is wrong")

    # --- a mail -------------------------------------------------------------------------------------------------------

    async def handle_EHLO(
        self, _server: Any, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        kept = [line for line in responses[:-1] if not (line.startswith("250-AUTH") and not self._auth_methods)]
        most = f"250-LIMITS RCPTMAX={self.server.meter.limits.recipients}"  # RFC 9422
        return [*kept, "250-PIPELINING", "250-ENHANCEDSTATUSCODES", most, responses[-1]]

    async def smtp_EHLO(self, hostname: str) -> None:
        self._greets = True
        try:
            await super().smtp_EHLO(hostname)
        finally:
            self._greets = False

    async def smtp_HELO(self, hostname: str) -> None:
        self._greets = True
        try:
            await super().smtp_HELO(hostname)
        finally:
            self._greets = False

    @syntax("MAIL FROM: <address>", extended=" [SP <mail-parameters>]")
    async def smtp_MAIL(self, arg: str | None) -> None:
        self._parameters_of = "MAIL"
        await super().smtp_MAIL(arg)

    @syntax("RCPT TO: <address>", extended=" [SP <mail-parameters>]")
    async def smtp_RCPT(self, arg: str | None) -> None:
        self._parameters_of = "RCPT"
        meant = _POSTMASTER.fullmatch(arg or "")
        if meant and (address := await self._postmaster()):
            arg = f"TO:<{address}>{meant[1] or ''}"
        await super().smtp_RCPT(arg)

    def _getparams(self, params: Sequence[str]) -> dict[str, str | bool] | None:
        """The parameters of a command but those that are set aside; None (501) where one of these is misspelt."""
        found = super()._getparams(params)
        if found is None:
            return None
        for name, form in _SET_ASIDE[self._parameters_of].items():
            value = found.pop(name, None)
            if value is not None and (not isinstance(value, str) or not form.fullmatch(value)):
                return None
        return found

    async def handle_MAIL(
        self, _server: Any, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.server.holding():
            return HOLDING
        sender = "" if address == "<>" else address
        if sender and not is_valid(sender):
            return "553 5.1.7 The sender address is not usable"
        if no := await self._slow_down():
            return no
        if no := await self._ask("mail", sender, _size_of(options)):
            return no
        envelope.mail_from = sender or "<>"
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def _slow_down(self) -> str | None:
        """Hold the answer back while this client is over its mails a minute; the refusal once that took too long.

        Many programs never try again after a 450, but all of them wait for an answer (RFC 5321 §4.5.3.2.2: 5 minutes).
        """
        who, meter = self._login or self.client, self.server.meter
        own = await self._ask_number("per_minute")
        most = meter.limits.messages_per_minute if own is None else own
        until = self.loop.time() + meter.limits.patience
        while left := meter.wait(who, most):
            if self.loop.time() + min(left, 1.0) > until:
                seconds = max(1, round(left))
                log.info("%s is over %d mails a minute, and hears 450", who, most)
                return f"450 4.7.1 More than {most} mails in a minute from you, try again in {seconds} s"
            await asyncio.sleep(min(left, 1.0))
        return None

    async def handle_RCPT(
        self, _server: Any, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if not is_valid(address):
            return "553 5.1.3 The recipient address is not usable"
        if not address.isascii() and not envelope.smtp_utf8:
            return "553 5.6.7 A non-ASCII address needs the SMTPUTF8 parameter at MAIL"
        most = self.server.meter.limits.recipients
        if len(envelope.rcpt_tos) >= most:
            return f"452 4.5.3 Too many recipients, at most {most} in one mail"
        if no := await self._ask("recipient", address):
            return no
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    @syntax("DATA")
    async def smtp_DATA(self, arg: str) -> None:
        """Take the message. What a large one needs of memory is reserved before 354, so its client waits; slow but
        living uploads go on, as each piece that comes starts the time-out anew."""
        if await self.check_helo_needed() or await self.check_auth_needed("DATA"):
            return
        assert self.envelope is not None
        if not self.envelope.rcpt_tos:
            await self.push("503 5.5.1 RCPT first")
            return
        if arg:
            await self.push("501 5.5.4 DATA has no parameter")
            return
        budget, limits = self.server.budget, self.server.meter.limits
        announced = _size_of(self.envelope.mail_options)
        taken = announced if announced > SMALL else 0
        if not await self._patiently(budget.take(taken, limits.patience)):
            log.info("%s announced %d octets while %d are under way, and hears 452", self.client, taken, budget.used)
            await self.push("452 4.3.1 Too many large mails are under way, try again later")
            self.envelope = self._create_envelope()
            return
        try:
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            upload = Upload(self.server.max_size)
            began = self.loop.time()
            while not upload.complete:
                piece = await self._reader.read(CHUNK)
                if not piece:
                    return
                if self.loop.time() - began < LONGEST_UPLOAD:
                    self._reset_timeout()
                upload.feed(piece)
                if upload.size > max(taken, SMALL):  # more than it said, or it said nothing
                    more = max(upload.size, SMALL)
                    if not await self._patiently(budget.take(more, limits.patience)):
                        upload.drop()
                        more = 0
                    taken += more
            if upload.rest:
                self._reader.feed_data(upload.rest)  # commands that were sent along; everything before them is read
            if upload.too_large:
                await self.push(_TOO_LARGE)
            elif upload.dropped:
                await self.push("452 4.3.1 Too many large mails are under way, try again later")
            else:
                self.envelope.content = self.envelope.original_content = upload.message()
                del upload
                assert self.session is not None
                await self.push(await self.handle_DATA(self, self.session, self.envelope))
            self.envelope = self._create_envelope()
        finally:
            budget.give_back(taken)

    async def _patiently(self, turn: Awaitable[bool]) -> bool:
        """Wait for a turn without being cut off for saying nothing meanwhile."""
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        try:
            return await turn
        finally:
            self._reset_timeout()

    def _timeout_cb(self) -> None:
        """RFC 5321 §3.8: say so before the connection is closed."""
        log.info("%s said nothing for %.0f s; the connection is closed", self.client, self.server.timeout)
        if isinstance(self.transport, asyncio.WriteTransport) and not self.transport.is_closing():
            self.transport.write(b"421 4.4.2 Nothing was said for too long\r\n")
            self.transport.close()

    async def handle_DATA(self, _server: Any, session: Session, envelope: Envelope) -> str:
        server = self.server
        if server.holding():
            return HOLDING
        data = envelope.original_content or b""
        try:
            await server.in_thread(check_data, data, server.max_size)
        except MessageRefused as error:
            return status_for(error)
        if hops(data) > MAX_HOPS:
            return "554 5.4.6 The mail goes round in circles: too many Received headers"
        if server.waiting >= server.meter.limits.waiting:
            return "452 4.3.1 Too many mails are being stored, try again later"
        protected = server.implicit_tls or session.ssl is not None
        trace = received(
            helo=str(session.host_name or ""),
            peer=self.client,
            host=server.hostname,
            at=server.clock.now(),
            trace=randomness.token_hex(6),
            esmtp=bool(session.extended_smtp),
            protected=protected,
            login=self._login,
            smtputf8=bool(envelope.smtp_utf8),
        )
        mail = SubmittedMail(
            envelope_from="" if envelope.mail_from == "<>" else str(envelope.mail_from),
            recipients=tuple(envelope.rcpt_tos),
            data=trace + data,
            peer=self.client,
            helo=str(session.host_name or ""),
            login=self._login,
            protected=protected,
            smtputf8=bool(envelope.smtp_utf8),
        )
        envelope.content = envelope.original_content = None  # a large message is not kept twice
        del data
        self.busy = True
        server.waiting += 1
        began = self.loop.time()
        try:
            number = await asyncio.shield(server.in_thread(server.accept, mail))
        except Exception as error:
            status = status_for(error)
            log.warning("a mail from %s was not taken: %s: %s", self.client, type(error).__name__, error)
            return status
        finally:
            self.busy = False
            server.waiting -= 1
        server.meter.taken(self._login or self.client)
        fields = {
            "mail": str(number),
            "from": mail.envelope_from or "<>",
            "recipients": len(mail.recipients),
            "octets": len(mail.data),
            "client": self.client,
            "login": self._login,
            "protected": protected,
            "ms": round((self.loop.time() - began) * 1000),
        }
        log.info("mail %s taken", number, extra={"fields": fields})
        return f"250 2.0.0 OK queued as {one_line(str(number), 80)}"

    async def _ask_number(self, question: str) -> int | None:
        """A number that the door knows of a login; None without sign-in."""
        if self.server.door is None or self._login is None:
            return None
        try:
            found: int | None = await self.server.in_thread(getattr(self.server.door, question), self._login)
        except Exception as error:
            log.warning("%s of %s: %s: %s", question, self.client, type(error).__name__, error)
            return None
        return found

    async def _postmaster(self) -> str | None:
        """Who is meant by a postmaster without a domain, whom every server takes mail for (RFC 5321 §4.5.1)."""
        if self.server.door is None:
            return None
        try:
            return await self.server.in_thread(self.server.door.postmaster)  # type: ignore[no-any-return]
        except Exception as error:
            log.warning("postmaster of %s: %s: %s", self.client, type(error).__name__, error)
            return None

    async def _ask(self, question: str, *about: object) -> str | None:
        """The door's refusal as an answer; None when it lets the command pass."""
        if self.server.door is None:
            return None
        try:
            no = await self.server.in_thread(getattr(self.server.door, question), self._login, *about)
        except Exception as error:
            log.warning("%s of %s: %s: %s", question, self.client, type(error).__name__, error)
            return status_for(error)
        return one_line(no) if no else None

    @property
    def _login(self) -> str | None:
        who = self.session.auth_data if self.session else None
        return who.login if isinstance(who, _SignedIn) else None


def _size_of(options: Sequence[str]) -> int:
    """The octets a client announced (RFC 1870), 0 when it did not."""
    said = next((option[5:] for option in options if option.upper().startswith("SIZE=")), "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 20 else 0


class _SignedIn:
    """What stays of a sign-in: the name."""

    def __init__(self, login: str) -> None:
        self.login = login
