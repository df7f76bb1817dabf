"""A mail as it was handed over, its trace header, and the words a refusal is answered with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from ..errors import ConfigError, MailopsError, MessageRefused, RouteError
from ..mime import head_of

MAX_HOPS = 50
_RECEIVED = re.compile(rb"\r\nreceived[ \t]{0,80}:", re.I)  # RFC 5322 §4.5: blanks before the colon are old, and read
_HELO = re.compile(r"[^A-Za-z0-9.\-:\[\]_]")
_CONTENT = (
    "line_too_long", "bare_newline", "malformed", "header_injection", "header_broken", "duplicate_header", "nul",
    "address_missing", "from_invalid",
)  # fmt: skip
_STATUS = {
    "message.too_large": "552 5.3.4",
    "message.sender_not_allowed": "553 5.7.1",
    "message.address_invalid": "550 5.1.3",
    "message.no_recipient": "554 5.5.1",
    "message.too_many_recipients": "550 5.5.3",
    **{f"message.{what}": "554 5.6.0" for what in _CONTENT},  # the mail itself is at fault, for good
}


@dataclass(frozen=True, slots=True)
class SubmittedMail:
    """What a client handed over. ``data`` has CRLF line ends and the Received header on top; Bcc is still in it.

    ``envelope_from`` is empty for the null sender. ``login`` is the signed-in user, None without sign-in.
    """

    envelope_from: str
    recipients: tuple[str, ...]
    data: bytes
    peer: str
    helo: str
    login: str | None = None
    protected: bool = False
    smtputf8: bool = False


def received(
    *,
    helo: str,
    peer: str,
    host: str,
    at: datetime,
    trace: str,
    esmtp: bool,
    protected: bool,
    login: str | None,
    smtputf8: bool,
) -> bytes:
    """The Received header (RFC 5321 §4.4; protocol words RFC 3848 and RFC 6531 §3.7.3), folded, without recipients."""
    word = "UTF8SMTP" if smtputf8 else "ESMTP" if esmtp else "SMTP"
    if word != "SMTP":
        word += ("S" if protected else "") + ("A" if login else "")
    name = _HELO.sub("?", helo)[:255] or "unknown"
    address = f"IPv6:{peer}" if ":" in peer else peer
    line = (
        f"Received: from {name} ([{address}])\r\n"
        f"\tby {host} (mailops) with {word} id {trace};\r\n"
        f"\t{format_datetime(at)}\r\n"
    )
    return line.encode("ascii", "replace")


def hops(data: bytes) -> int:
    """How often this message was passed on: its Received headers."""
    return len(_RECEIVED.findall(b"\r\n" + head_of(data)))


def status_for(error: Exception) -> str:
    """The SMTP answer for an error of :mod:`mailops.errors`: the sentence with code and enhanced code, on one line.

    What the client can mend is told in full and for good (5xx); our own trouble is temporary and told without detail.
    """
    if isinstance(error, MessageRefused):
        return f"{_STATUS.get(error.code, '550 5.7.1')} {one_line(error.message)}"
    if isinstance(error, ConfigError | RouteError):
        return "451 4.3.5 The mail system is not set up to take this mail; it was not stored"
    if isinstance(error, MailopsError):
        return "451 4.3.0 The mail could not be stored; try again later"
    return "451 4.3.0 Trouble in the mail system; the mail was not stored, try again later"


def one_line(text: str, limit: int = 400) -> str:
    """Text for a reply line: no line breaks, ASCII, bounded (RFC 5321 §4.5.3.1.5)."""
    words = " ".join(text.split()).encode("ascii", "replace").decode()
    return "".join(c if c.isprintable() else "?" for c in words)[:limit]
