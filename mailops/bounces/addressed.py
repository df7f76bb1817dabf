"""Is a mail a report to us, and what does each of its blocks say? Pure; the one answer for every road a report takes.

:func:`sign` looks at the head (:class:`Heading`) and at what the reader made of the mail::

    1 written to a bounce address, with or without a tag        3 of type multipart/report (RFC 6522, RFC 8098)
    2 its sender is mailer-daemon                               4 the null return path (RFC 5321 §4.5.5), and it reads
                                                                  as a report, or went to an address we sent from

:func:`understood` settles what a mail with a sign is that the reader could not read: what a machine wrote is a failure
without a reason, what a person wrote is kept and shown. :func:`kind_of` says what one block tells of its recipient.
Only ``bounce`` marks and counts; :data:`SHOWN` has the words for what is kept and shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from ..mime import fields_of, peek
from ..model.address import normalise, parse_addresses
from .correlate import CAME_TO, split_tag
from .reading.report import GIVEN_UP, GOOD_ACTIONS, RecipientResult, Report

MAX_PEOPLE = 100
REPORTS = ("bounce", "delayed", "success-dsn", "complaint")
UNREAD = "unread"
RECEIPT = "receipt"
SHOWN: Mapping[str, str] = MappingProxyType(
    {
        "delayed": "the other side still tries",
        "success-dsn": "the mail arrived",
        RECEIPT: "a receipt of the reader",
        "autoreply": "an automatic reply",
        UNREAD: "no report could be read in it, and a person may have written it",
    }
)
"""Kinds that mark nothing and count for nothing, in words."""


@dataclass(frozen=True, slots=True)
class Heading:
    """What the head of a mail says of where it came from and went to; addresses are normalised."""

    to: tuple[str, ...] = ()
    daemon: bool = False
    report_type: str | None = None  # "" when a multipart/report does not say which
    null_path: bool = False


@dataclass(frozen=True, slots=True)
class Ours:
    """Our addresses in lower case: bounce addresses, and those among a mail's recipients that we sent mail from and
    that make no records."""

    bounces: frozenset[str] = frozenset()
    senders: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Block:
    """What one recipient's block of a report came to: its kind, whether it counted, by which clue it was tied to a mail
    of ours, and the consequence in words."""

    recipient: str | None
    kind: str
    counted: bool
    by: str
    words: str


def heading_of(raw: bytes) -> Heading:
    """Read the head of a mail. Never raises."""
    fields = fields_of(peek(raw)[0])
    people = [a for name in CAME_TO for value in fields.every(name)[:20] for a in parse_addresses(value[:2000])]
    sender = parse_addresses(fields.first("from")[:2000] or fields.first("sender")[:2000])
    words = fields.first("content-type").lower().replace('"', "").replace(" ", "")
    _, said, kind = words.partition("report-type=")
    is_report = words.partition(";")[0] == "multipart/report" or "report-type=delivery-status" in words
    return Heading(
        to=tuple(dict.fromkeys(normalise(a.spec) for a in people[:MAX_PEOPLE])),
        daemon=bool(sender) and sender[0].local.lower() == "mailer-daemon",
        report_type=(kind.partition(";")[0] if said else "") if is_report else None,
        null_path=fields.first("return-path").replace(" ", "") == "<>",
    )


def sign(heading: Heading, report: Report, ours: Ours) -> str | None:
    """By which sign a mail is a report to us, in words; None for ordinary mail."""
    hit = next((a for a in heading.to if untagged(a) in ours.bounces), None)
    if hit:
        return f"it is written to the bounce address {hit}"
    if heading.daemon:
        return "its sender is mailer-daemon"
    if heading.report_type is not None:
        return "its type is multipart/report"
    if heading.null_path and report.kind in REPORTS:
        return "it has the null return path and reads as a report"
    hit = next((a for a in heading.to if untagged(a) in ours.senders), None) if heading.null_path else None
    return f"it has the null return path and is written to {hit}, which we sent mail from" if hit else None


def understood(report: Report, heading: Heading, sign: str) -> Report:
    """The report, or what stands for it where a mail with a sign could not be read."""
    if report.kind not in ("ordinary", UNREAD) or report.rule == RECEIPT:
        return report
    machine = heading.daemon or heading.null_path or heading.report_type in ("", "delivery-status")
    return replace(report, kind="bounce" if machine else "ordinary", rule=UNREAD, evidence=sign)


def kind_of(report: Report, result: RecipientResult | None) -> str:
    """What one block of a report (None: the report names nobody) says: the kind of its row."""
    if report.kind == "ordinary":
        return RECEIPT if report.rule == RECEIPT else UNREAD if report.rule == UNREAD else report.kind
    if result is None or report.kind not in ("bounce", "delayed"):
        return report.outcome
    if result.action in GOOD_ACTIONS or (result.action is None and (result.status or "").startswith("2.")):
        return "success-dsn"
    if report.kind == "delayed" or result.action == "delayed":
        return "bounce" if GIVEN_UP in result.diagnostic.lower() else "delayed"
    return "bounce"


def foreseen(report: Report) -> tuple[Block, ...]:
    """The blocks of a report before it is tied to a mail."""
    blocks = []
    for result in report.results or (None,):
        kind = kind_of(report, result)
        counts = kind in ("bounce", "complaint")
        words = SHOWN.get(kind, "kept") + "; nothing is counted" if not counts else f"counts as {kind}"
        blocks.append(Block((result.recipient if result else "") or None, kind, counts, "", words))
    return tuple(blocks)


_WORDS = {"bounce": "failed", "delayed": "delayed", "success-dsn": "delivered", RECEIPT: "delivered"}


def recipients_of(report: Report) -> list[dict[str, str]]:
    """Who a report speaks of and what became of the mail to each, in RFC 3464's words (§2.3.3): ``[{"address",
    "kind"}]``, kind failed, delayed, delivered, relayed or expanded. What says nothing of that is left out."""
    found = []
    for result in report.results:
        word = _WORDS.get(kind_of(report, result))
        if word == "delivered" and result.action in ("relayed", "expanded"):
            word = result.action
        if word and result.recipient:
            found.append({"address": result.recipient, "kind": word})
    return found


def untagged(address: str) -> str:
    """``bounce+123-mac@domain`` without its tag, in lower case."""
    tagged = split_tag(address)
    return tagged[0] if tagged else address.lower()
