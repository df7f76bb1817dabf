"""Ties a report to the delivery it speaks of: pure, with the way it was found and a stated confidence.

In falling order of trust:

====================================  ==========  ==================================================================
how                                   confidence  what it rests on
====================================  ==========  ==================================================================
``tag+recipient``, ``tag``            1.0, 0.95   a signed tag of ours in the return path (:mod:`mailops.model.tag`)
``message-id+recipient``              1.0         the original's Message-ID, and a recipient of that mail
``message-id``                        0.9         the Message-ID of a mail with one recipient; the report names nobody
``x-header+recipient``                0.9         our Message-ID in an ``X-`` field of the original
``reference+recipient``               0.9         the report answers to our Message-ID: In-Reply-To before References
``x-header``, ``reference``           0.75        of a mail with one recipient; the report names nobody
… ``of several``                      0.85        as the first four, of a mail with several recipients
``tag+other`` and so on               0.75        as above, but the report names somebody we did not write to
… ``untagged``                        0.75        by Message-ID, a complaint or a word of a mail that left with a tag
``verp+recipient``, ``verp``          0.7, 0.6    the mail's number in the return path, unsigned: it can be guessed
``recipient+time``                    0.6         only one mail to it is young enough
====================================  ==========  ==================================================================

From :data:`SURE` on a report proves that its writer has seen the mail, and that nobody but its one recipient (and who
carried it) could have: a Message-ID ends in random bits, a tag is signed. Below it anybody could have written the
report, or any recipient of that mail about another one: it marks the delivery it is tied to, and suppresses nobody by
itself
(:mod:`mailops.suppression.history`). A mail that left with a signed tag needs the tag: its real bounces carry it. Only
complaints are tied without, since a feedback loop does not answer to the return path, and prove nothing then.

Whoever has a mail of ours can write reports with its Message-ID. They count against the recipient of that mail alone
(:attr:`Match.address`), never against the address that the report names. Where the two differ, the recipient mostly
forwards, and may well have got a copy, so that is no proof either.

Nothing else is guessed. The return path may carry the mail's number (``bounce+123@``, also with more after it, as the
product wrote it once) or the recipient (``bounce+user=example.com@``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.parser import HeaderParser
from typing import TYPE_CHECKING

from ..model import tag
from ..model.address import mailbox, parse_addresses
from ..model.text import counted

if TYPE_CHECKING:
    from .reading.report import RecipientResult, Report

WINDOW = timedelta(days=7)  # RFC 5321 §4.5.4.1: senders give up after 4-5 days; two more for slow reports
SURE = 0.9
MAX_HEADER = 65_536
MAX_IDS = 60
MAX_REFERENCES = 32
UNPROVEN = "it lacks our signed return path"  # in place of a match
_ID = re.compile(r"<[^<>\s@\x00-\x1f\x7f]{1,400}@[^<>\s@\x00-\x1f\x7f]{1,255}>")
_FOLDED = re.compile(r"<[^<>]{1,1000}>")
_NUMBER = re.compile(r"(\d{1,18})(?:-.*)?\Z")
_ENCODED = re.compile(r"(.{1,320})=([A-Za-z0-9][A-Za-z0-9.-]{0,252}\.[A-Za-z0-9-]{1,63})\Z")
CAME_TO = ("to", "delivered-to", "x-original-to", "envelope-to", "x-envelope-to")
OTHER = 0.75  # the most, where the report names somebody we did not write to, or a tagged mail without its tag
SEVERAL = 0.85  # the most, where another recipient of the mail could have written it
SEVERAL_SAID = "of several"
CONFIDENCE = {
    "tag": (1.0, 0.95),
    "message-id": (1.0, 0.9),
    "x-header": (0.9, 0.75),
    "in-reply-to": (0.9, 0.75),
    "references": (0.9, 0.75),
    "verp": (0.7, 0.6),
}
_SAID_AS = {"in-reply-to": "reference", "references": "reference"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A delivery that was accepted once. ``delivery_id`` is None when the mail itself is gone (auto-delete);
    ``tagged`` says that it left with a signed tag in its return path."""

    mail_id: int
    delivery_id: int | None
    message_id: str
    recipient: str
    sent_at: datetime
    recipients: int = 1
    tagged: bool = False


@dataclass(frozen=True, slots=True)
class Clues:
    """What a report says of the mail it is about: Message-IDs by where they stood, numbers of mails and a recipient
    from a return path of ours, and what signed tags prove: mails (``proven``), and mails with the word of the recipient
    (``named``)."""

    message_ids: tuple[tuple[str, str], ...] = ()  # (where, Message-ID)
    mail_ids: tuple[int, ...] = ()
    recipient: str | None = None
    proven: tuple[int, ...] = ()
    named: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """Which delivery, how it was found (see the module) and how sure, from 0 to 1."""

    candidate: Candidate | None
    by: str
    confidence: float

    def address(self, result: RecipientResult | None) -> str | None:
        """The mailbox that a result counts against: the delivery's own recipient; what the report names where it is
        tied to none."""
        named = self.candidate.recipient if self.candidate else (result.recipient if result else "")
        return mailbox(named)[:320] if "@" in named else None


def clues(
    raw: bytes,
    report: Report,
    bounce_addresses: Collection[str] = (),
    keys: Sequence[bytes] = (),
    *,
    now: datetime | None = None,
) -> Clues:
    """Read the clues of a report. ``bounce_addresses`` (lower case) are those of the alias domains; only tags of these
    count. ``keys`` are what signed tags are checked with, ``now`` what their age is."""
    head = raw[:MAX_HEADER].replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    fields = HeaderParser().parsestr(head.decode("utf-8", "replace").replace("\x00", ""))
    ids: list[tuple[str, str]] = []
    if report.original.message_id:
        ids += [("message-id", found) for found in _ID.findall(report.original.message_id[:2000])[:1]]
    for name, value in report.original.headers.items():
        if name.startswith("x-"):
            ids += [("x-header", found) for found in _ID.findall(value[:2000])]
    ids = ids[: MAX_IDS - MAX_REFERENCES - 1]
    for name in ("in-reply-to", "references"):
        text = _FOLDED.sub(lambda found: "".join(found[0].split()), str(fields.get(name) or "")[-MAX_HEADER:])
        ids += [(name, found) for found in _ID.findall(text)[-MAX_REFERENCES:]]
    paths = [report.original.envelope_from or ""]
    for name in CAME_TO:
        paths += [a.spec for v in fields.get_all(name, [])[:MAX_IDS] for a in parse_addresses(str(v)[:2000])]
    tags = [pair for path in dict.fromkeys(paths) if (pair := split_tag(path)) and pair[0] in bounce_addresses]
    numbers = [int(found[1]) for _, text in tags if (found := _NUMBER.match(text))]
    encoded = next((f"{hit[1]}@{hit[2]}" for _, text in tags if (hit := _ENCODED.match(text))), None)
    read = [tag.read(address, text, key, now=now) for address, text in tags[:MAX_IDS] for key in keys]
    proofs = list(dict.fromkeys(one for one in read if one is not None))
    return Clues(
        tuple(dict.fromkeys(ids))[:MAX_IDS],
        tuple(dict.fromkeys(numbers))[:MAX_IDS],
        encoded,
        tuple(one.mail_id for one in proofs if one.word is None),
        tuple((one.mail_id, one.word) for one in proofs if one.word is not None),
    )


def split_tag(path: str) -> tuple[str, str] | None:
    """``bounce+tag@domain`` as (address without the tag, in lower case; tag); None without a tag."""
    local, _, domain = path.strip("<> ").rpartition("@")
    base, plus, text = local.partition("+")
    return (f"{base}@{domain}".lower(), text) if plus else None


def names_of(result: RecipientResult | None, found: Clues) -> frozenset[str]:
    """The addresses a result may mean, as deliveries write them; without any, the one in the return path."""
    names = [n for n in ((result.recipient, result.original_recipient) if result else ()) if n]
    return frozenset(mailbox(n).lower() for n in names or [found.recipient or ""] if "@" in n)


def match(
    result: RecipientResult | None,
    report: Report,
    candidates: Sequence[Candidate],
    *,
    now: datetime,
    found: Clues | None = None,
    verified: bool = False,
) -> Match:
    """The delivery that one result of a report speaks of.

    ``candidates`` are the deliveries of the mails that the clues name, and those to the result's addresses.
    ``verified`` says that the writer is proven by other means (a provider's webhook), so that a guess will do for mail
    that left with a signed tag too.
    """
    if found is None:
        ids = (("message-id", report.original.message_id),) if report.original.message_id else ()
        found = Clues(ids)
    names = names_of(result, found)
    unsaid = unproven = False
    for where in CONFIDENCE:
        of_mail = _of(where, found, candidates, now)
        both, alone = CONFIDENCE[where]
        said, tail = _SAID_AS.get(where, where), ""
        if where != "tag" and not verified and any(c.tagged for c in of_mail):
            if where == "verp" or report.kind == "bounce":
                unproven = True
                continue
            both, alone, tail = OTHER, OTHER, " untagged"
        exact = [c for c in of_mail if c.recipient.lower() in names]
        if exact and exact[0].recipients > 1 and not verified:
            return Match(exact[0], f"{said}+recipient {SEVERAL_SAID}", min(both, SEVERAL))
        if exact:
            return Match(exact[0], f"{said}+recipient{tail}", both)
        # mails of one thread share their Message-ID, so one recipient a mail does not say which mail
        if len({c.recipient.lower() for c in of_mail}) == 1 == of_mail[0].recipients:
            if names and report.kind != "complaint":  # complaints name people in a masked form (RFC 6590)
                return Match(of_mail[0], f"{said}+other", min(alone, OTHER))
            return Match(of_mail[0], f"{said}{tail}", alone)
        unsaid = unsaid or bool(of_mail and not names)
    if unsaid:
        return Match(None, "mail found, recipient not said", 0.0)
    young = [c for c in candidates if c.recipient.lower() in names and timedelta(0) <= now - c.sent_at <= WINDOW]
    mails = {c.mail_id for c in young}
    if unproven or (not verified and any(c.tagged for c in young)):
        return Match(None, UNPROVEN, 0.0)
    if len(mails) == 1:
        return Match(young[0], "recipient+time", 0.6)
    if mails:
        return Match(None, f"{counted(min(len(mails), 999), 'mail')} went there lately", 0.0)
    return Match(None, "no mail of ours fits", 0.0)


def _of(where: str, found: Clues, candidates: Sequence[Candidate], now: datetime) -> list[Candidate]:
    """The candidates that a clue means. Whom a tag names is the only recipient it can speak of."""
    if where == "verp":
        return [c for c in candidates if c.mail_id in found.mail_ids]
    if where == "tag":
        young = [c for c in candidates if c.sent_at >= now - tag.LIFE]  # a tag of before has no day of its own
        named = [replace(c, recipients=1) for c in young if (c.mail_id, tag.word_of(c.recipient)) in found.named]
        return named or [c for c in young if c.mail_id in found.proven]
    ids = {value for place, value in found.message_ids if place == where or _SAID_AS.get(where) == place}
    return [c for c in candidates if c.message_id in ids]
