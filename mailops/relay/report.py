"""Writes the report a submitter gets: ``multipart/report`` (RFC 6522) with ``message/delivery-status`` (RFC 3464).

Headers of the mail come back, its body does not. Every part is 7-bit, so any server carries it: a non-ASCII recipient
is written as ``utf-8-addr-xtext`` (RFC 6533 §3), the returned headers as quoted-printable.
"""

from __future__ import annotations

import quopri
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.utils import format_datetime

from ..mime import decode_words, head_text
from ..model.text import counted

MOST_HEADERS = 32 * 1024
"""Octets of the mail's headers that come back."""


@dataclass(frozen=True, slots=True)
class Undelivered:
    """One recipient who did not get the mail. ``status`` is an enhanced code (RFC 3463), ``server`` the host that
    said ``reply``, empty where mailops itself said it."""

    recipient: str
    status: str
    code: int | None
    reply: str
    at: datetime
    server: str = ""


def build(
    head: bytes,
    people: Sequence[Undelivered],
    *,
    sender: str,
    to: str,
    host: str,
    arrived: datetime,
    message_id: str,
) -> bytes:
    """The report as a complete mail but for Date and Message-ID, with CRLF line ends.

    ``head`` are the headers of the mail (without the empty line), ``sender`` the From of the report, ``to`` the
    envelope sender of the mail, ``host`` who reports.
    """
    subject = _subject(head)
    fence = f"=_{uuid.uuid4().hex}"
    reference = [f"In-Reply-To: {message_id}", f"References: {message_id}"] if _is_id(message_id) else []
    top = [
        f"From: {sender}",
        f"To: <{to}>",
        f"Subject: {Header(f'Undelivered: {subject}', 'utf-8' if not subject.isascii() else None, 200).encode()}",
        *reference,
        "Auto-Submitted: auto-replied",  # RFC 3834 §5
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{fence}"',
    ]
    parts = [
        _encoded('text/plain; charset="utf-8"', "\r\n".join(_words(people, subject, host))),
        _status(people, host, arrived),
        _encoded('text/rfc822-headers; charset="utf-8"', head_text(head[:MOST_HEADERS])),
    ]
    body = "".join(f"--{fence}\r\n{part}\r\n" for part in parts)
    return "\r\n".join([*top, "", f"{body}--{fence}--\r\n"]).encode("utf-8", "replace")


def _words(people: Sequence[Undelivered], subject: str, host: str) -> list[str]:
    who = "one recipient" if len(people) == 1 else counted(len(people), "recipient")
    lines = [f"This is the mail relay at {host}.", "", f"Your mail “{subject}” did not reach {who}:", ""]
    for one in people:
        said = f"{one.server or 'mailops'} said: {' '.join((str(one.code or ''), one.reply)).strip()}"
        lines += [f"  {one.recipient}", f"    {' '.join(said.split())[:900]}", ""]
    return [*lines, "It is not tried again. The headers of the mail are attached; its text is not.", ""]


def _status(people: Sequence[Undelivered], host: str, arrived: datetime) -> str:
    lines = [
        "Content-Type: message/delivery-status",
        "",
        f"Reporting-MTA: dns; {host}",
        f"Arrival-Date: {format_datetime(arrived)}",
    ]
    for one in people:
        said = " ".join(f"{one.code or ''} {one.reply}".split()).encode("ascii", "replace").decode()[:900]
        lines += ["", f"Final-Recipient: {_address(one.recipient)}", "Action: failed", f"Status: {one.status}"]
        lines += [f"Remote-MTA: dns; {one.server}"] if one.server else []
        lines += [f"Diagnostic-Code: {'smtp' if one.code else 'x-mailops'}; {said}"] if said else []
        lines.append(f"Last-Attempt-Date: {format_datetime(one.at)}")
    return "\r\n".join([*lines, ""])


def _address(recipient: str) -> str:
    """The typed address: RFC 3464 §2.3.2, RFC 6533 §3."""
    if recipient.isascii():
        return f"rfc822; {recipient}"
    return "utf-8; " + "".join(c if c.isascii() and c not in "\\+=" else f"\\x{{{ord(c):X}}}" for c in recipient)


def _encoded(kind: str, text: str) -> str:
    lines = quopri.encodestring(text.encode("utf-8", "replace").replace(b"\r\n", b"\n"), quotetabs=False)
    wire = lines.replace(b"\n", b"\r\n").decode("ascii")
    return f"Content-Type: {kind}\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{wire}\r\n"


def _subject(head: bytes) -> str:
    found = re.search(rb"(?im)^subject[ \t]*:((?:[^\r\n]|\r\n[ \t]){0,2000})", head)
    text = " ".join(decode_words(head_text(found[1])).split()) if found else ""
    return "".join(c if c.isprintable() else "?" for c in text)[:200] or "(no subject)"


def _is_id(text: str) -> bool:
    return bool(re.fullmatch(r"<[!-~]{3,900}>", text))


def status_of(kind: str, code: int | None, status: str | None) -> str:
    """The status of a failure: the one that was said, else the general one of its class (RFC 3463)."""
    if status and re.fullmatch(r"[45]\.\d{1,3}\.\d{1,3}", status):
        return status
    if kind == "barred":
        return "5.7.1"
    return "4.4.7" if code and 400 <= code < 500 else "5.0.0"  # 4.4.7: its time is over
