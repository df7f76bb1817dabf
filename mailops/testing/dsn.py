"""Delivery reports as other mail systems send them: multipart/report (RFC 6522), message/delivery-status (RFC 3464).

The wording is our own; the shape follows three families an admin meets: ``classic`` (a Unix MTA: plain words, the
whole original), ``corporate`` (a groupware server: HTML beside the text, header of the original only, Remote-MTA) and
``webmail`` (a large provider: short text, X- fields). Reports are written as bytes by hand because the original must
come back byte for byte, whatever it holds.
"""

from __future__ import annotations

import re
import smtplib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import sha256
from typing import TYPE_CHECKING

from mailops.errors import ConfigError

from .smtp_script import LOOKS, Rule

if TYPE_CHECKING:
    from .smtp_session import ReceivedMessage

ACTIONS = ("failed", "delayed", "delivered", "relayed", "expanded")

_SUBJECTS = {
    "classic": {"failed": "Undelivered mail returned", "delayed": "Delivery is taking longer (still trying)"},
    "corporate": {"failed": "Undeliverable: {subject}", "delayed": "Delayed: {subject}"},
    "webmail": {"failed": "Delivery Status Notification (Failure)", "delayed": "Delivery Status Notification (Delay)"},
}


@dataclass(frozen=True, slots=True)
class PendingBounce:
    """A report that waits to be sent: the accepted message, whom it did not reach, and the rule that says why."""

    message: ReceivedMessage
    recipient: str
    rule: Rule
    reporting_mta: str
    number: int

    @property
    def to(self) -> str:
        """Where the report goes: the envelope sender of the message."""
        return self.message.envelope_from

    @property
    def data(self) -> bytes:
        """The report as a mail, CRLF line ends."""
        rule = self.rule
        status = rule.enhanced or ("5.0.0" if rule.code >= 500 else "4.0.0")
        return build_dsn(
            self.message.data,
            self.recipient,
            status,
            f"{rule.code} {status} {rule.text}",
            self.reporting_mta,
            to=self.to,
            look=rule.look,
            arrived=self.message.received_at,
            sent=self.message.received_at,
            envelope_id=self.message.parameters.get("ENVID"),
            serial=self.number,
        )


def build_dsn(
    original: bytes,
    recipient: str,
    status: str,
    diagnostic: str,
    reporting_mta: str,
    action: str = "failed",
    *,
    to: str | None = None,
    look: str = "classic",
    original_recipient: str | None = None,
    remote_mta: str | None = None,
    arrived: datetime | None = None,
    sent: datetime | None = None,
    envelope_id: str | None = None,
    serial: int = 1,
) -> bytes:
    """A delivery report about ``original`` for one recipient, as a complete mail with CRLF line ends.

    ``status`` is the enhanced code (``5.1.1``), ``diagnostic`` the remote reply, ``to`` where the report is addressed
    (default: the Return-Path or From of the original). Non-ASCII recipients are written as ``utf-8;`` (RFC 6533).
    """
    if look not in LOOKS or action not in ACTIONS or not re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", status):
        raise ConfigError(
            "This delivery report cannot be built.",
            facts={"look": look, "looks": LOOKS, "action": action, "actions": ACTIONS, "status": status},
        )
    if any(mark in value for value in (recipient, diagnostic, reporting_mta, to or "") for mark in "\r\n"):
        raise ConfigError("A field of the delivery report holds a line break.", facts={"recipient": recipient})
    header, _, _ = original.partition(b"\r\n\r\n")
    subject = _field(header, "subject") or "(no subject)"
    target = (
        to or _address(_field(header, "return-path") or _field(header, "from") or "") or f"postmaster@{reporting_mta}"
    )
    sent = sent or arrived or datetime.now(UTC)
    mark = sha256(original + recipient.encode() + str(serial).encode()).hexdigest()[:24]
    boundary = f"=_report_{mark}"
    kind = "delayed" if action == "delayed" else "failed"
    title = _SUBJECTS[look][kind] if action in ("failed", "delayed") else "Delivery report: " + action
    daemon = "postmaster" if look == "corporate" else "mailer-daemon"
    utf8 = not (
        recipient.isascii() and diagnostic.isascii() and target.isascii() and (original_recipient or "").isascii()
    )
    top = [
        f"From: Mail Delivery System <{daemon}@{reporting_mta}>",
        f"To: <{target}>",
        f"Subject: {title.format(subject=subject)}",
        f"Date: {format_datetime(sent)}",
        f"Message-ID: <{mark}@{reporting_mta}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status; boundary="{boundary}"',
    ]
    original_id = _field(header, "message-id")
    if look != "classic" and original_id:
        top += [f"In-Reply-To: {original_id}", f"References: {original_id}"]
    if look == "webmail":
        top.append(f"X-Failed-Recipients: {recipient}")
    about = [f"Reporting-MTA: dns; {reporting_mta}"]
    if envelope_id:
        about.append(f"Original-Envelope-Id: {envelope_id}")
    about.append(f"Arrival-Date: {format_datetime(arrived or sent)}")
    kind_of = "rfc822" if recipient.isascii() else "utf-8"
    per_recipient = [
        f"Original-Recipient: {kind_of};{original_recipient or recipient}",
        f"Final-Recipient: {kind_of}; {recipient}",
        f"Action: {action}",
        f"Status: {status}",
    ]
    if remote_mta or look == "corporate":
        per_recipient.append(f"Remote-MTA: dns; {remote_mta or 'mx.' + recipient.rpartition('@')[2]}")
    per_recipient.append(f"Diagnostic-Code: smtp; {diagnostic}")
    if action == "delayed":
        per_recipient.append(f"Last-Attempt-Date: {format_datetime(sent)}")
    words = _words(look, action, recipient, diagnostic, reporting_mta)
    status_type, original_type = "message/delivery-status", "message/rfc822"
    returned = original
    if utf8:
        status_type = "message/global-delivery-status"
    if look == "corporate":
        original_type, returned = "text/rfc822-headers", header + b"\r\n"
    parts = [
        _text_part(words, look, boundary),
        f"Content-Type: {status_type}\r\n{_encoding(utf8)}\r\n".encode()
        + "\r\n".join([*about, "", *per_recipient, ""]).encode("utf-8"),
        f"Content-Type: {original_type}\r\n{_encoding(not returned.isascii())}\r\n".encode() + returned,
    ]
    fence = f"--{boundary}\r\n".encode()
    body = b"".join(fence + part + (b"" if part.endswith(b"\r\n") else b"\r\n") + b"\r\n" for part in parts)
    return "\r\n".join([*top, "", ""]).encode("utf-8") + body + f"--{boundary}--\r\n".encode()


def _words(look: str, action: str, recipient: str, diagnostic: str, mta: str) -> list[str]:
    """The part for people, in the manner of the look."""
    verdict = {
        "failed": "could not be delivered",
        "delayed": "has not been delivered yet; further attempts follow and nothing needs to be done",
    }.get(action, f"was {action}")
    if look == "corporate":
        return [
            f"Your message to {recipient} {verdict}.",
            "",
            "Details for mail administrators",
            f"Reporting server: {mta}",
            recipient,
            f"Remote server returned '{diagnostic}'",
        ]
    if look == "webmail":
        return [
            "** Report on your message **",
            "",
            f"The message to {recipient} {verdict}.",
            "",
            "The answer of the other server was:",
            diagnostic,
        ]
    return [
        f"This is the mail system at host {mta}.",
        "",
        f"A message you sent {verdict}.",
        "The original comes with this report.",
        "",
        f"<{recipient}>: the remote host said: {diagnostic}",
    ]


def _text_part(words: list[str], look: str, boundary: str) -> bytes:
    text = "\r\n".join([*words, ""]).encode("utf-8")
    encoding = _encoding(not text.isascii())
    plain = f"Content-Type: text/plain; charset=utf-8\r\n{encoding}\r\n".encode() + text
    if look != "corporate":
        return plain
    inner = f"{boundary}_words"
    escaped = [line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for line in words]
    html = "<html><body>\r\n" + "".join(f"<p>{line}</p>\r\n" for line in escaped if line) + "</body></html>\r\n"
    return (
        f'Content-Type: multipart/alternative; boundary="{inner}"\r\n\r\n--{inner}\r\n'.encode()
        + plain
        + f"\r\n--{inner}\r\nContent-Type: text/html; charset=utf-8\r\n{encoding}\r\n".encode()
        + html.encode("utf-8")
        + f"\r\n--{inner}--\r\n".encode()
    )


def _encoding(eightbit: bool) -> str:
    return "Content-Transfer-Encoding: 8bit\r\n" if eightbit else ""


def _field(header: bytes, name: str) -> str | None:
    """An unfolded header field of the original, or None."""
    found = re.search(rb"^%s:[ \t]*((?:[^\r\n]|\r\n[ \t])*)" % name.encode(), header, re.IGNORECASE | re.MULTILINE)
    return re.sub(r"\r\n[ \t]+", " ", found.group(1).decode("utf-8", "replace")).strip() if found else None


def _address(value: str) -> str:
    found = re.search(r"<([^<>\s]+)>", value) or re.search(r"([^\s<>,]+@[^\s<>,]+)", value)
    return found.group(1) if found else ""


class DsnSender:
    """Hands reports to an SMTP server with the null reverse-path; ``refused`` keeps what was not taken, and why."""

    def __init__(self, host: str, port: int, *, helo: str = "peer.mailops.test", timeout: float = 10.0) -> None:
        self.host = host
        self.port = port
        self._helo = helo
        self._timeout = timeout
        self.refused: list[tuple[PendingBounce, str]] = []

    def deliver(self, data: bytes, to: str) -> None:
        """Hand over one report; raises :class:`smtplib.SMTPException` or :class:`OSError`."""
        with smtplib.SMTP(self.host, self.port, local_hostname=self._helo, timeout=self._timeout) as client:
            self._hand(client, data, to)

    def deliver_all(self, bounces: Iterable[PendingBounce]) -> Iterator[PendingBounce]:
        """Hand over each; yields those that were taken."""
        with smtplib.SMTP(self.host, self.port, local_hostname=self._helo, timeout=self._timeout) as client:
            for bounce in bounces:
                try:
                    self._hand(client, bounce.data, bounce.to)
                except smtplib.SMTPResponseException as error:
                    self.refused.append((bounce, f"{error.smtp_code} {error.smtp_error!r}"))
                except smtplib.SMTPRecipientsRefused as error:
                    self.refused.append((bounce, str(error.recipients)))
                else:
                    yield bounce

    @staticmethod
    def _hand(client: smtplib.SMTP, data: bytes, to: str) -> None:
        client.ehlo_or_helo_if_needed()
        options = [] if data.isascii() else ["BODY=8BITMIME"]
        if not to.isascii() or not data.partition(b"\r\n\r\n")[0].isascii():
            options.append("SMTPUTF8")
        client.sendmail("", [to], data, mail_options=options)
