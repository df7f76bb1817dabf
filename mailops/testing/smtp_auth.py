"""STARTTLS (RFC 3207) and AUTH (RFC 4954) of the loopback SMTP server: PLAIN, LOGIN, XOAUTH2, OAUTHBEARER.

Whether credentials are right is the owner's word (``SmtpCore.credentials_right``); here is the dialogue around it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field

from .smtp_wire import WireSession


@dataclass(frozen=True, slots=True)
class AuthAttempt:
    """What a client showed to sign in; ``secret`` is the password, or the access token of XOAUTH2/OAUTHBEARER."""

    mechanism: str
    login: str
    secret: str = field(repr=False)

    @property
    def is_token(self) -> bool:
        return self.mechanism in ("XOAUTH2", "OAUTHBEARER")


class AuthSession(WireSession):
    """A connection that can be protected and signed in."""

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
