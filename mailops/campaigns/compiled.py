"""A campaign's message serialised once, with slots: what differs from one recipient to the next is put between the
pieces, so that a mail costs its texts and not a run of the library.

The library composes a sample whose slots hold marks; the sample's bytes are cut there. What the slots cannot take (an
address that is not ASCII or too long for one line, a text that holds the boundary) is composed by the library whole.
Either way the parsed mail is the library's. Fields of unsubscribing are put in by hand: the library would fold a link.
"""

from __future__ import annotations

import re
from base64 import encodebytes
from binascii import b2a_qp
from dataclasses import replace
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import lru_cache

from ..model.mail import Composed, Submission
from ..queue.compose import compose, transfer_encoding
from ..smtp import checks
from .template import Rendered

_SLOT = "slot.mailops.invalid"
_SUBJECT, _TEXT, _HTML = "mailops slot subject", "mailops slot text", "mailops slot html"
_MARKS = re.compile(
    rb"(?m)^(?:(?P<date>Date: [^\r\n]*)|(?P<id>Message-ID: <slot@slot\.mailops\.invalid>)"
    rb"|(?P<to>To: slot@slot\.mailops\.invalid)|(?P<subject>Subject: mailops slot subject)"
    rb"|(?P<cte>Content-Transfer-Encoding: 7bit)|(?P<text>mailops slot text)|(?P<html>mailops slot html))\r\n"
)
_PLAIN_TO, _PLAIN_SUBJECT = 60, 66  # characters that a field takes without being folded
_BOUNDARY = re.compile(rb'boundary="([^"]+)"')


class Compiled:
    """A message with slots. ``base`` is what all mails have alike; it is composed at ``now``, which raises
    :class:`mailops.errors.MessageRefused` for what could not be sent to anybody."""

    def __init__(self, base: Submission, *, now: datetime, return_path: str | None) -> None:
        self._base, self._return_path = base, return_path
        marked = replace(
            base,
            to=(f"slot@{_SLOT}",),
            message_id=f"<slot@{_SLOT}>",
            subject=_SUBJECT,
            text=_TEXT if base.text is not None or base.html is None else None,
            html=_HTML if base.html is not None else None,
        )
        self._sample = compose(marked, now=now, return_path=return_path)
        raw = self._sample.raw
        self._bodies = [name for name in ("text", "html") if getattr(marked, name) is not None]
        self._pieces: list[tuple[bytes, str]] = []
        at, bodies = 0, iter(self._bodies)
        for hit in _MARKS.finditer(raw):
            name = str(hit.lastgroup)
            self._pieces.append((raw[at : hit.start()], f"cte {next(bodies)}" if name == "cte" else name))
            at = hit.end()
        self._tail = raw[at:]
        boundary = _BOUNDARY.search(raw)
        self._boundary = boundary[1] if boundary else None
        wanted = {"date", "id", "to", "subject", *self._bodies, *(f"cte {name}" for name in self._bodies)}
        self._whole = sorted(name for _, name in self._pieces) != sorted(wanted) or self._sample.smtputf8

    def mail(self, to: str, message_id: str, rendered: Rendered, *, now: datetime, first: bytes = b"") -> Composed:
        """One recipient's mail; ``first`` are further whole lines for its head. Raises
        :class:`mailops.errors.MessageRefused` for what cannot be sent."""
        if self._whole or not to.isascii() or len(to) > _PLAIN_TO:
            return self._library(to, message_id, rendered, now, first)
        slots = {
            "date": _date(now.replace(microsecond=0)),
            "id": b"Message-ID: " + message_id.encode() + b"\r\n",
            "to": b"To: " + to.encode() + b"\r\n",
            "subject": _subject(rendered.subject),
        }
        for name in self._bodies:
            slots[f"cte {name}"], slots[name] = _body(getattr(rendered, name) or "")
            if self._boundary is not None and self._boundary in slots[name]:
                return self._library(to, message_id, rendered, now, first)
        parts: list[bytes] = []
        for before, name in self._pieces:
            parts += (before, slots[name])
        raw = b"".join((*parts, self._tail))
        return self._with(raw, self._sample, to, message_id, rendered, first)

    def _library(self, to: str, message_id: str, rendered: Rendered, now: datetime, first: bytes) -> Composed:
        """The same, composed by the library."""
        text, html = rendered.text, rendered.html
        mine = replace(self._base, to=(to,), message_id=message_id, subject=rendered.subject, text=text, html=html)
        made = compose(mine, now=now, return_path=self._return_path)
        return self._with(made.raw, made, to, message_id, rendered, first)

    def _with(self, raw: bytes, like: Composed, to: str, message_id: str, rendered: Rendered, first: bytes) -> Composed:
        if first:
            raw = b"".join((raw[: like.from_end], first, raw[like.from_end :]))
        checks.check_data(raw)
        recipients = like.recipients if like is not self._sample else (to,)
        return replace(like, raw=raw, message_id=message_id, subject=rendered.subject, recipients=recipients)


@lru_cache(maxsize=8)
def _date(now: datetime) -> bytes:
    return b"Date: " + format_datetime(now).encode() + b"\r\n"


@lru_cache(maxsize=512)
def _subject(text: str) -> bytes:
    if (
        len(text) <= _PLAIN_SUBJECT
        and text.isascii()
        and text.isprintable()
        and "=?" not in text
        and text == text.strip()
    ):
        return b"Subject: " + text.encode() + b"\r\n" if text else b"Subject: \r\n"
    message = EmailMessage(policy=SMTP)
    message["Subject"] = text
    return bytes(message).rpartition(b"\r\n")[0]


def _body(text: str) -> tuple[bytes, bytes]:
    """The transfer encoding's field and the encoded text, with the line ends of the wire."""
    encoding = transfer_encoding(text)
    lines = text.encode("utf-8", "replace").splitlines()
    if encoding == "7bit":
        body = b"".join(line + b"\r\n" for line in lines) or b"\r\n"
    elif encoding == "quoted-printable":
        body = b2a_qp(b"\n".join((*lines, b"")), istext=True).replace(b"\n", b"\r\n")
    else:
        body = encodebytes(b"\r\n".join((*lines, b""))).replace(b"\n", b"\r\n")
    return b"Content-Transfer-Encoding: " + encoding.encode() + b"\r\n", body
