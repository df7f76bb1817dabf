"""The gate: is this message worth a closer look? Bytes only, so that ordinary mail costs next to nothing.

Signs: a null return path, Auto-Submitted, a report media type, X-Failed-Recipients, a mailer daemon as author, a
subject that announces a failure, an opening sentence that does, a text that is
data. One sign is enough to look, none is proof.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ...mime import decode_words, head_text
from .autoreply import subject_rule
from .phrases import SUBJECTS, first_of

_HEADERS = (
    b"\nx-failed-recipients:",
    b"\nauto-submitted:",
    b"\nx-auto",
    b"\nx-mail-autoreply",
    b"report-type",
    b"multipart/report",
    b"content-type: message/delivery-status",
    b"content-type: message/global-delivery-status",
    b"content-type: application/json",
    b"\nprecedence: auto",
    b"\nx-ricevuta:",
    b"autoresponder",
)
_HEADER_ANCHORS = (b"auto", b"report", b"x-failed", b"delivery-status", b"content-type: application/", b"x-ricevuta")
"""One of these stands in each of the signs above."""
_DAEMONS = (
    b"mailer-daemon",
    b"mailerdaemon",
    b"mailer_daemon",
    b"mailer daemon@",
    b"mail-daemon",
    b"maildaemon",
    b"postmaster",
    b"post_master",
    b"post-master",
    b"poostmaster",
    b"mail.delivery",
    b"maildelivery",
    b"mail-delivery",
    b"daemon@",
    b"mailsystem@",
    b"mail-system@",
    b"bounce",
    b"microsoftexchange",
    b"interscan",
    b"antivirus",
    b"no-reply@sns",
    b"-admin@",
    b"amazonses",
    b"<>",
)
"""Addresses of mail systems; a name alone can be forged too easily to count for as much."""

_NAMES = (
    b"mail delivery",
    b"mailer daemon",
    b"mail daemon",
    b"delivery system",
    b"delivery subsystem",
    b"delivery service",
    b"delivery agent",
    b"delivery notification",
    b"mail administrator",
    b"mail system",
    b"mail server",
    b"mailserver",
    b"system administrator",
    b"microsoft exchange",
    b"microsoft outlook",
    b"internet mail",
    b"jetmail",
    b"gateway",
    b"feedback",
    b"fbl",
    b"complaint",
    b"abuse",
    b"staff@hotmail",
)

_SUBJECTS = (
    b"deliver",
    b"undeliv",
    b"returned mail",
    b"return",
    b"failure",
    b"fail",
    b"bounce",
    b"rejected",
    b"error",
    b"warning",
    b"delay",
    b"non remis",
    b"unzustellbar",
    b"nicht zugestellt",
    b"no se puede",
    b"no se pudo",
    b"auto",
    b"office",
    b"kontor",
    b"til stede",
    b"kantoor",
    b"bureau:",
    b"vacation",
    b"abwesen",
    b"away",
    b"complaint",
    b"abuse",
    b"notif",
    b"undelivered",
    b"status",
    b"not member",
    b"could not",
    b"problem",
    b"message could",
    b"unreachable",
    b"impossible",
    b"non recapit",
    b"mancat",
    b"fehler",
    b"erreur",
    b"blocked",
    b"blockiert",
    b"not sent",
    *(b"stopp", b"quarant", b"fehlgeschlagen", b"angehalten", b"gehouden", b"geweigerd", b"geblokkeerd", b"mislukt"),
    *(b"bloqu", b"bloccat", b"retenu", b"retenid", b"rechaz", b"rifiutat", b"respint", b"tratten", b"blokk", b"avvis"),
    *(b"afvis", b"misslyck", b"zablok", b"wstrzym", b"odrzuc", b"odmitn"),
    *(words.encode() for words in ("заблок", "задерж", "отклон", "відхил", "затрим")),
    b"onbestelbaar",
)
_OPENING_ANCHORS = (
    b"deliver",
    b"following",
    b"this is the ",
    b"not taken",
    b"permanently",
    b"of the office",
    b"allowed",
    b"approved",
    b"spam",
    b"boxbe",
    b"challenge",
)
"""One of these stands in every opening: most mail has none of them in its first lines."""

_OPENINGS = (
    b"this is the mail system at host",
    b"this is the postfix program",
    b"this is the qmail-send program",
    b"this message was created automatically by mail delivery",
    b"this is an automatically generated delivery status",
    b"the following addresses had",
    b"could not be delivered",
    b"was not delivered to",
    b"delivery has failed",
    b"did not reach the following",
    b"unable to deliver",
    b"wasn't able to deliver",
    b"failed permanently",
    b"undeliverable",
    b"requested action not taken",
    b"out of the office",
    b"allowed list",
    b"allowed\nlist",
    b"approved sender",
    b"spam arrest",
    b"spamblocker",
    b"boxbe",
    b"challenge",
    b"[ offending message ]",
)


def _tree(marks: Iterable[bytes]) -> bytes:
    """A pattern for any of these, by common beginnings: few branches fail at each place of a text."""
    rests: dict[bytes, list[bytes]] = {}
    for mark in marks:
        if not mark:
            return b""  # a shorter one ends here
        rests.setdefault(mark[:1], []).append(mark[1:])
    branches = [re.escape(first) + _tree(some) for first, some in rests.items()]
    return branches[0] if len(branches) == 1 else b"(?:" + b"|".join(branches) + b")"


def _any_of(marks: tuple[bytes, ...]) -> re.Pattern[bytes]:
    return re.compile(_tree(marks))


_FORM = re.compile(rb"[\w.\-]{1,40}=(?:%5b|%7b|[^\s&=]{1,200}&[\w.\-]{1,40}=)", re.I)
"""A text that begins as a form does: what a service sends to a program, sent as mail."""
_DAEMON, _NAME, _SUBJECT = _any_of(_DAEMONS), _any_of(_NAMES), _any_of(_SUBJECTS)
"""For short texts, such as a field; in a long one the marks are looked for one by one, which is faster there."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What the gate saw. ``sign`` is "" for ordinary mail.

    ``daemon`` (the author's address is a mail system's) and ``null`` (no return path) are strong signs, ``named`` (only
    its display name is) is a weak one.
    """

    sign: str
    daemon: bool = False
    named: bool = False
    null: bool = False


def _value(head: bytes, name: bytes) -> bytes:
    place = head.find(name)
    if place < 0:
        return b""
    place += len(name)
    end = head.find(b"\n", place)
    while 0 <= end < len(head) - 1 and head[end + 1] in b" \t":
        end = head.find(b"\n", end + 1)
    return head[place : end if end >= 0 else len(head)]


def look(head: bytes, body: bytes) -> Gate:
    """Look at a header block and the beginning of a body (both with LF line ends)."""
    low = b"\n" + head.lower()
    sign = ""
    path = _value(low, b"\nreturn-path:").strip()
    if b"\nreturn-path:" in low:
        null = path in (b"", b"<>") or path.startswith((b"<mailer-daemon", b"mailer-daemon"))
    else:  # the hop that took it in may note the path in its trace line
        null = b"envelope-from <>" in low and b"envelope-from <>" in _value(low, b"\nreceived:")
    if null:
        sign = "return-path"
    else:
        sign = _first(_HEADERS, low) if any(mark in low for mark in _HEADER_ANCHORS) else ""
    author = _value(low, b"\nfrom:")
    address = author[author.rfind(b"<") :] if b"<" in author else author
    daemon = _DAEMON.search(address) is not None
    named = not daemon and (_NAME.search(author) is not None or _DAEMON.search(author) is not None)
    if daemon or named:
        sign = sign or "author"
    if not sign and _subject_tells(_value(low, b"\nsubject:"), head):
        sign = "subject"
    if not sign and (body[:1] in (b"{", b"[") or _FORM.match(body)):
        sign = "data"
    if not sign:
        opening = body[:1500].lower()
        if _first(_OPENING_ANCHORS, opening) and _first(_OPENINGS, opening):
            sign = "opening"
    return Gate(sign, daemon, named, null)


def _subject_tells(subject: bytes, head: bytes) -> bool:
    """Does the subject announce something? Encoded and foreign ones are decoded first."""
    if _SUBJECT.search(subject):
        return True
    if b"=?" not in subject and subject.isascii():
        return False
    decoded = decode_words(head_text(_value(b"\n" + head, _subject_name(head)))).strip()
    return bool(_SUBJECT.search(decoded.lower().encode("utf-8", "replace"))) or bool(
        first_of(SUBJECTS, decoded.lower()) or subject_rule(decoded)
    )


def _subject_name(head: bytes) -> bytes:
    """The name of the subject field as this message writes it: the value's own case matters in base64."""
    place = (b"\n" + head.lower()).find(b"\nsubject:")
    return (b"\n" + head)[place : place + 9]


def _first(marks: tuple[bytes, ...], text: bytes) -> str:
    for mark in marks:
        if mark in text:
            return mark.decode().strip()
    return ""
