"""Where the world starts: the small Protocols behind which adapters and fakes stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from .model.setup import Server


class Clock(Protocol):
    """The time. Policy code never asks the system."""

    def now(self) -> datetime:
        """The present moment in UTC, with zone."""

    def monotonic(self) -> float:
        """Seconds that never jump back."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


@dataclass(frozen=True, slots=True)
class Outbound:
    """One mail for the wire: reverse-path, forward-paths, and the message as bytes with CRLF line ends.

    ``data`` is not dot-stuffed; the transport does that. ``smtputf8`` says that an address or header needs RFC 6531.
    """

    envelope_from: str
    recipients: tuple[str, ...]
    data: bytes
    smtputf8: bool = False
    eightbit: bool = False


@dataclass(frozen=True, slots=True)
class RecipientReply:
    """What the server said about one recipient. ``code`` 0 = no answer (see ``text``).

    ``stage`` is the step the answer belongs to: ``connect``, ``ehlo``, ``starttls``, ``auth``, ``mail``, ``rcpt``,
    ``data`` (the command), ``body`` (final dot), or ``local`` (refused by us, nothing was sent).
    """

    recipient: str
    code: int
    enhanced: str | None
    text: str
    stage: str
    told: Mapping[str, Any] | None = None  # an error of our own on the way (a token that cannot be had): row, fix, who

    @property
    def accepted(self) -> bool:
        return 200 <= self.code < 300

    @property
    def permanent(self) -> bool:
        return 500 <= self.code < 600


@dataclass(frozen=True, slots=True)
class SendResult:
    """The outcome of one mail on one session: a reply per recipient.

    ``unknown`` is set when the connection ended after the final dot was sent and before its answer came: the server
    may have the mail. ``connection_lost`` tells the caller to drop the session.
    """

    replies: tuple[RecipientReply, ...]
    unknown: bool = False
    connection_lost: bool = False
    transcript: tuple[str, ...] = field(default=())

    @property
    def taken(self) -> tuple[str, ...]:
        """The recipients whose mail the server has taken."""
        return tuple(reply.recipient for reply in self.replies if reply.accepted and reply.stage == "body")

    def with_later(self, later: SendResult) -> SendResult:
        """This result after a further transaction for some of its recipients: what was said to them last counts."""
        replies = {reply.recipient: reply for reply in (*self.replies, *later.replies)}
        return SendResult(
            tuple(replies.values()), later.unknown, later.connection_lost, (*self.transcript, *later.transcript)
        )


class Session(Protocol):
    """An open, signed-in SMTP session."""

    def send(self, mail: Outbound, on_step: Callable[[str], None] | None = None) -> SendResult:
        """Send one mail. Never raises for anything the server says or does; the result holds it."""

    def close(self) -> None:
        """QUIT where possible, then close. Never raises."""


class Transport(Protocol):
    """Opens sessions to outgoing servers."""

    def connect(self, server: Server) -> Session:
        """Connect, protect, sign in. Raises :class:`mailops.errors.DeliveryError` (temporary or permanent)."""


class TokenSource(Protocol):
    """Gives access tokens for SASL XOAUTH2/OAUTHBEARER; the OAuth part implements it."""

    def access_token(self, server: Server, *, refused: bool = False) -> str:
        """A token valid for some minutes more; ``refused`` asks for a fresh one after the server said no."""


class Secrets(Protocol):
    """Resolves secret references to values at the last moment."""

    def reveal(self, reference: str) -> str:
        """The value behind ``env:NAME``, ``file:PATH``, ``keyring:SERVICE/NAME`` or ``vault:NAME``."""
