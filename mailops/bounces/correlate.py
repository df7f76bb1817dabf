"""Ties a report to the delivery it speaks of: pure, with the way it was found and a stated confidence.

In falling order of trust:

====================================  ==========  ==================================================================
how                                   confidence  what it rests on
====================================  ==========  ==================================================================
``message-id+recipient``              1.0         the original's Message-ID, and a recipient of that mail
``verp+recipient``                    0.95        the mail's number in the return path, and a recipient of that mail
``message-id``                        0.9         the Message-ID alone, of a mail with one recipient
``x-header+recipient``                0.9         our Message-ID in an ``X-`` field of the original
``reference+recipient``               0.85        the report answers to our Message-ID
``verp``, ``x-header``, ``reference``  0.8, 0.75   alone, of a mail with one recipient
``recipient+time``                    0.6         only one mail to it is young enough
====================================  ==========  ==================================================================

Nothing else is guessed. The return path may carry the mail's number (``bounce+123@``, also with more after it, as the
product wrote it once) or the recipient (``bounce+user=example.com@``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.parser import HeaderParser
from email.utils import getaddresses

from .report import RecipientResult, Report

WINDOW = timedelta(days=7)  # RFC 5321 §4.5.4.1: senders give up after 4-5 days; two more for slow reports
SURE = 0.9  # below this a tie between report and mail is a guess, and anybody can write such a report
MAX_HEADER = 65_536
MAX_IDS = 20
_ID = re.compile(r"<[^<>\s@]{1,400}@[^<>\s@]{1,255}>")
_NUMBER = re.compile(r"(\d{1,18})(?:-.*)?\Z")
_ENCODED = re.compile(r"(.+)=([A-Za-z0-9][A-Za-z0-9.-]*\.[A-Za-z0-9-]+)\Z")
_CAME_TO = ("to", "delivered-to", "x-original-to", "envelope-to", "x-envelope-to")
CONFIDENCE = {"message-id": (1.0, 0.9), "verp": (0.95, 0.8), "x-header": (0.9, 0.75), "reference": (0.85, 0.75)}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A delivery that was accepted once. ``delivery_id`` is None when the mail itself is gone (auto-delete)."""

    mail_id: int
    delivery_id: int | None
    message_id: str
    recipient: str
    sent_at: datetime
    recipients: int = 1


@dataclass(frozen=True, slots=True)
class Clues:
    """What a report says of the mail it is about: Message-IDs by where they stood, numbers of mails and a recipient
    from a return path of ours."""

    message_ids: tuple[tuple[str, str], ...] = ()  # (where, Message-ID)
    mail_ids: tuple[int, ...] = ()
    recipient: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """Which delivery, how it was found (see the module) and how sure, from 0 to 1."""

    candidate: Candidate | None
    by: str
    confidence: float


def clues(raw: bytes, report: Report, bounce_addresses: Collection[str] = ()) -> Clues:
    """Read the clues of a report. ``bounce_addresses`` are those of the alias domains; only tags of these count."""
    head = raw[:MAX_HEADER].replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    fields = HeaderParser().parsestr(head.decode("utf-8", "replace"))
    ids: list[tuple[str, str]] = []
    if report.original.message_id:
        ids.append(("message-id", report.original.message_id))
    for name, value in report.original.headers.items():
        if name.startswith("x-"):
            ids += [("x-header", found) for found in _ID.findall(value[:2000])]
    for name in ("in-reply-to", "references"):
        ids += [("reference", found) for found in _ID.findall(str(fields.get(name) or "")[:8000])[-5:]]
    paths = [report.original.envelope_from or ""]
    for name in _CAME_TO:
        paths += [address for _, address in getaddresses([str(v)[:2000] for v in fields.get_all(name, [])])]
    tags = [tag for path in paths if (tag := _tag(path, bounce_addresses))]
    numbers = [int(found[1]) for tag in tags if (found := _NUMBER.match(tag))]
    encoded = next((f"{hit[1]}@{hit[2]}" for tag in tags if (hit := _ENCODED.match(tag))), None)
    return Clues(tuple(dict.fromkeys(ids))[:MAX_IDS], tuple(dict.fromkeys(numbers))[:MAX_IDS], encoded)


def _tag(path: str, bounce_addresses: Collection[str]) -> str | None:
    """What stands after the plus in a bounce address of ours."""
    local, _, domain = path.strip("<> ").rpartition("@")
    base, plus, tag = local.partition("+")
    return tag if plus and f"{base}@{domain}".lower() in bounce_addresses else None


def names_of(result: RecipientResult | None, found: Clues) -> frozenset[str]:
    """The addresses a result may mean, in lower case; without any, the one in the return path."""
    names = {n.lower() for n in ((result.recipient, result.original_recipient) if result else ()) if n}
    return frozenset(names or ({found.recipient.lower()} if found.recipient else ()))


def match(
    result: RecipientResult | None,
    report: Report,
    candidates: Sequence[Candidate],
    *,
    now: datetime,
    found: Clues | None = None,
) -> Match:
    """The delivery that one result of a report speaks of.

    ``candidates`` are the deliveries of the mails that the clues name, and those to the result's addresses.
    """
    if found is None:
        ids = (("message-id", report.original.message_id),) if report.original.message_id else ()
        found = Clues(ids)
    names = names_of(result, found)
    unsaid = False
    for where in CONFIDENCE:
        of_mail = _of(where, found, candidates)
        exact = [c for c in of_mail if c.recipient.lower() in names]
        both, alone = CONFIDENCE[where]
        if exact:
            return Match(exact[0], f"{where}+recipient", both)
        if of_mail and (of_mail[0].recipients == 1 or len({c.recipient for c in of_mail}) == 1):
            return Match(of_mail[0], where, alone)
        unsaid = unsaid or bool(of_mail and not names)
    if unsaid:
        return Match(None, "mail found, recipient not said", 0.0)
    young = [c for c in candidates if c.recipient.lower() in names and timedelta(0) <= now - c.sent_at <= WINDOW]
    mails = {c.mail_id for c in young}
    if len(mails) == 1:
        return Match(young[0], "recipient+time", 0.6)
    if mails:
        return Match(None, f"{min(len(mails), 999)} mails went there lately", 0.0)
    return Match(None, "no mail of ours fits", 0.0)


def _of(where: str, found: Clues, candidates: Sequence[Candidate]) -> list[Candidate]:
    if where == "verp":
        return [c for c in candidates if c.mail_id in found.mail_ids]
    ids = {value for place, value in found.message_ids if place == where}
    return [c for c in candidates if c.message_id in ids]
