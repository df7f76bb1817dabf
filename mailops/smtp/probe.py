"""Test Connection: everything up to the message, and no message.

Connects, signs in, names a sender (``MAIL FROM`` must give 250) and a recipient (250 or 251), asks ``DATA`` (354), then
closes the connection without a body and without a dot, so no mail is sent. Which sender to use is the routing's rule;
it comes in as an argument.
"""

# ruff: noqa: PT028 - test_connection is the product's name for it, not a pytest function

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..errors import DeliveryError
from ..model.address import envelope_address
from ..model.setup import Encryption, Server
from ..model.verdict import Finding, VerdictState
from ..ports import Clock
from .session import SmtpSession
from .transport import SmtpTransport
from .wire import Reply, WireError

SUCCESS = "Connection Test Successful!"
NOTE = (
    "A passed test does not prove that mail goes out: restrictions may remain at the provider, "
    "such as limits, sender rules or a blocked account. Send a real test mail to be sure."
)
DEFAULT_RECIPIENT = "noreply@odoo.com"  # the product's own habit; nothing is ever sent to it

_LABELS = {
    "connect": "Connect",
    "ehlo": "Greet",
    "starttls": "Protect the connection",
    "auth": "Sign in",
    "mail": "Name the sender",
    "rcpt": "Name the recipient",
    "data": "Ask to hand over a message",
}
# One heading for each class of error; the sentence with the details follows.
_CLASSES = {
    "smtp.host_unknown": "The server name cannot be found.",
    "smtp.no_response": "The server did not answer.",
    "smtp.closed": "The server ended the connection before the test was over.",
    "smtp.garbled": "The other side does not speak SMTP.",
    "smtp.reply": "The server refused.",
    "smtp.not_supported": "An option is not supported by the server.",
    "smtp.tls": "The protected connection failed.",
    "smtp.tls_expired": "The server's certificate has expired.",
    "smtp.tls_hostname": "The server's certificate is for another name.",
    "smtp.tls_untrusted": "The server's certificate is not trusted.",
    "smtp.tls_not_spoken": "Encryption and port number do not belong together.",
    "smtp.auth_refused": "The server refused the sign-in.",
    "smtp.auth_unprotected": "The sign-in was held back.",
    "smtp.config": "The server's set-up is not complete.",
    "smtp.sender_refused": "The server refused the sender address.",
    "smtp.recipient_refused": "The server refused the test recipient.",
    "smtp.data_refused": "The server refused to take a message.",
}
_FIXES = {
    "mail": "Use a sender that this server or provider lets you send as; look at the server's FROM filter.",
    "rcpt": "The server does not relay for this sign-in: check authentication, or that this machine may relay.",
    "data": "Read the server's reply; sending may be switched off or limited for this account.",
}


@dataclass(frozen=True, slots=True)
class ConnectionStep:
    """One step of the test: its state, what the server replied, and the seconds it took."""

    name: str
    label: str
    state: VerdictState
    reply: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ConnectionTest:
    """The result of Test Connection. ``code``, ``facts`` and ``fix`` are set when it failed; the transcript holds no
    secret."""

    ok: bool
    server: str
    message: str
    note: str
    steps: tuple[ConnectionStep, ...]
    transcript: tuple[str, ...] = ()
    code: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    fix: str = ""
    warnings: tuple[Finding, ...] = ()

    def judged(self, finding: Finding | None) -> ConnectionTest:
        """The result with what the rules say of the sender that mail really gets: no step of the test shows it."""
        if finding is None:
            return self
        note = f"{finding.message} {finding.fix}" if self.ok else self.note
        return replace(self, warnings=(*self.warnings, finding), note=note)

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON-ready values."""
        return {
            "ok": self.ok,
            "server": self.server,
            "message": self.message,
            "note": self.note,
            "steps": [
                {"name": s.name, "label": s.label, "state": s.state.value, "reply": s.reply, "seconds": s.seconds}
                for s in self.steps
            ],
            "transcript": list(self.transcript),
            "code": self.code,
            "facts": self.facts,
            "fix": self.fix,
            "warnings": [asdict(f) for f in self.warnings],
        }


def test_connection(
    server: Server,
    transport: SmtpTransport,
    *,
    sender: str,
    recipient: str = DEFAULT_RECIPIENT,
    progress: Callable[[ConnectionStep], None] | None = None,
) -> ConnectionTest:
    """Test an outgoing server without sending a mail; never raises for what the other side does.

    ``progress`` hears each step as it ends.
    """
    return _Probe(server, transport, transport.clock, progress).run(sender, recipient)


test_connection.__test__ = False  # type: ignore[attr-defined]  # pytest would take the name for a test


class _Probe:
    def __init__(
        self, server: Server, transport: SmtpTransport, clock: Clock, progress: Callable[[ConnectionStep], None] | None
    ) -> None:
        self.server = server
        self.transport = transport
        self.clock = clock
        self.progress = progress
        self.steps: list[ConnectionStep] = []
        self.since = clock.monotonic()

    def run(self, sender: str, recipient: str) -> ConnectionTest:
        try:
            session = self.transport.open(self.server, self._stage)
        except DeliveryError as error:
            stage = str(error.facts.get("stage") or "connect")
            self._step(stage, VerdictState.FAILED, str(error.facts.get("reply") or error.message))
            return self._failed(error.code, error.message, error.facts, error.fix)
        self.since = self.clock.monotonic()
        try:
            return self._envelope(session, sender, recipient)
        finally:
            session.abort()

    def _envelope(self, session: SmtpSession, sender: str, recipient: str) -> ConnectionTest:
        on_wire, to = envelope_address(sender) or sender, envelope_address(recipient) or recipient
        plan = (
            ("mail", f"MAIL FROM:<{on_wire}>", (250,), "smtp.sender_refused"),
            ("rcpt", f"RCPT TO:<{to}>", (250, 251), "smtp.recipient_refused"),
            ("data", "DATA", (354,), "smtp.data_refused"),
        )
        for name, line, wanted, code in plan:
            facts: dict[str, Any] = {"server": self.server.key, "stage": name, "sender": sender, "recipient": recipient}
            try:
                reply = session.command(line)
            except WireError as error:
                kind = {"timeout": "smtp.no_response", "garbled": "smtp.garbled", "tls": "smtp.tls"}
                words = session.wire.redact(error.text)
                self._step(name, VerdictState.FAILED, words)
                facts["transcript"] = list(session.wire.transcript())
                return self._failed(kind.get(error.kind, "smtp.closed"), words, facts, _FIXES[name])
            except ValueError:
                words = "the address holds a line break or control character"
                self._step(name, VerdictState.FAILED, words)
                return self._failed(code, words, facts, "Give a plain address.")
            shown = session.wire.redact(str(reply))
            if reply.code not in wanted:
                self._step(name, VerdictState.FAILED, shown)
                enhanced, _ = reply.split
                facts |= {"smtp_code": reply.code, "enhanced": enhanced, "reply": shown}
                facts["transcript"] = list(session.wire.transcript())
                return self._failed(code, f"The server replied {shown!r}.", facts, _FIXES[name])
            self._step(name, VerdictState.PASSED, shown)
        return ConnectionTest(True, self.server.key, SUCCESS, NOTE, tuple(self.steps), session.wire.transcript())

    def _stage(self, name: str, reply: Reply | None) -> None:
        if name == "ehlo" and any(step.name == "ehlo" for step in self.steps):
            return  # the second greeting, after STARTTLS, is part of protecting the connection
        self._step(name, VerdictState.PASSED, str(reply or "")[:300])

    def _step(self, name: str, state: VerdictState, reply: str) -> None:
        now = self.clock.monotonic()
        step = ConnectionStep(name, _LABELS.get(name, name), state, reply, round(now - self.since, 6))
        self.since = now
        self.steps.append(step)
        if self.progress:
            self.progress(step)

    def _failed(self, code: str, words: str, facts: dict[str, Any], fix: str) -> ConnectionTest:
        done = {step.name for step in self.steps}
        for name in _LABELS:
            needed = name != "starttls" or self.server.encryption is Encryption.STARTTLS
            if name not in done and needed:
                self.steps.append(ConnectionStep(name, _LABELS[name], VerdictState.SKIPPED))
        order = list(_LABELS)
        self.steps.sort(key=lambda step: order.index(step.name) if step.name in order else 0)
        shown = {key: value for key, value in facts.items() if key != "transcript"}
        heading = _CLASSES.get(code, "The connection test failed.")
        return ConnectionTest(
            False, self.server.key, f"{heading} {words}".strip(), "", tuple(self.steps),
            tuple(facts.get("transcript") or ()), code, shown, fix,
        )  # fmt: skip
