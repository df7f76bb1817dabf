"""The vocabulary of reasons: Sisimai's words, plain words for people, who must act, hard or soft, provider classes.

Hard means: mailing this address again is pointless and harms the sender, so it is suppressed at once. The table
``HARD`` is a value: :func:`hard_table` makes a changed one, for organisations that judge suspended mailboxes as gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Hardness = Literal["hard", "soft"]
Actor = Literal["nobody", "sender", "recipient", "sender's administrator", "recipient's administrator"]


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: ``plain`` is shown to people; the class names are those of the providers' own reports.

    Which provider class stands beside which reason is our judgement: no provider publishes such a map.
    """

    name: str
    plain: str
    actor: Actor
    hardness: Hardness
    sparkpost: int
    postmark: str
    ses: str
    sendgrid: str
    mailgun: str


def _row(
    name: str,
    plain: str,
    actor: Actor,
    sparkpost: int,
    postmark: str,
    ses: str,
    sendgrid: str,
    hardness: Hardness = "soft",
) -> tuple[str, Reason]:
    permanent = hardness != "soft" or ses.startswith("Permanent")
    mailgun = "permanent" if permanent else "temporary"
    return name, Reason(name, plain, actor, hardness, sparkpost, postmark, ses, sendgrid, mailgun)


_THEIRS: Actor = "recipient's administrator"
_OURS: Actor = "sender's administrator"

REASONS: Mapping[str, Reason] = MappingProxyType(
    dict(
        (
            _row(
                "userunknown",
                "The address does not exist.",
                "sender",
                10,
                "HardBounce",
                "Permanent/NoEmail",
                "Invalid Address",
                "hard",
            ),
            _row(
                "hostunknown",
                "The domain of the address does not exist.",
                "sender",
                21,
                "DnsError",
                "Permanent/General",
                "Invalid Address",
                "hard",
            ),
            _row(
                "hasmoved",
                "The recipient has moved to another address.",
                "sender",
                10,
                "AddressChange",
                "Permanent/General",
                "Invalid Address",
                "hard",
            ),
            _row(
                "notaccept",
                "The domain takes no mail at all.",
                "sender",
                21,
                "DnsError",
                "Permanent/General",
                "Technical Failure",
                "hard",
            ),
            _row(
                "suspend",
                "The mailbox is disabled or inactive.",
                "recipient",
                10,
                "HardBounce",
                "Permanent/General",
                "Mailbox Unavailable",
            ),
            _row(
                "filtered",
                "The mailbox refused the message.",
                "recipient",
                20,
                "SoftBounce",
                "Transient/General",
                "Mailbox Unavailable",
            ),
            _row(
                "mailboxfull",
                "The mailbox is full.",
                "recipient",
                22,
                "SoftBounce",
                "Transient/MailboxFull",
                "Mailbox Unavailable",
            ),
            _row(
                "mesgtoobig",
                "The message is too large for the other server.",
                "sender",
                23,
                "SoftBounce",
                "Transient/MessageTooLarge",
                "Technical Failure",
            ),
            _row(
                "exceedlimit",
                "The message is too large for this mailbox.",
                "sender",
                23,
                "SoftBounce",
                "Transient/MessageTooLarge",
                "Technical Failure",
            ),
            _row(
                "expired",
                "The other server did not take the message in time.",
                _THEIRS,
                24,
                "Transient",
                "Transient/General",
                "Technical Failure",
            ),
            _row(
                "networkerror",
                "The other server could not be reached.",
                _THEIRS,
                70,
                "Transient",
                "Transient/General",
                "Technical Failure",
            ),
            _row(
                "systemerror",
                "The other server has a fault.",
                _THEIRS,
                40,
                "SoftBounce",
                "Transient/General",
                "Technical Failure",
            ),
            _row(
                "systemfull",
                "The other server has no space left.",
                _THEIRS,
                40,
                "SoftBounce",
                "Transient/General",
                "Technical Failure",
            ),
            _row(
                "mailererror",
                "A program of the other server failed.",
                _THEIRS,
                40,
                "SoftBounce",
                "Transient/General",
                "Technical Failure",
            ),
            _row(
                "toomanyconn",
                "Too many connections or recipients at once.",
                _OURS,
                70,
                "Transient",
                "Transient/General",
                "Frequency or Volume Too High",
            ),
            _row(
                "speeding",
                "Too many messages in a short time.",
                _OURS,
                70,
                "Transient",
                "Transient/General",
                "Frequency or Volume Too High",
            ),
            _row(
                "blocked",
                "Our server's address is blocked there.",
                _OURS,
                51,
                "Blocked",
                "Transient/General",
                "Reputation",
            ),
            _row(
                "badreputation",
                "Our server or domain has a bad reputation there.",
                _OURS,
                51,
                "Blocked",
                "Transient/General",
                "Reputation",
            ),
            _row(
                "requireptr",
                "Our server's address has no proper name (PTR record).",
                _OURS,
                50,
                "Blocked",
                "Transient/General",
                "Reputation",
            ),
            _row(
                "authfailure",
                "SPF, DKIM or DMARC did not pass.",
                _OURS,
                50,
                "DMARCPolicy",
                "Transient/ContentRejected",
                "Reputation",
            ),
            _row(
                "rejected", "Our sender address was refused.", _OURS, 50, "Blocked", "Transient/General", "Reputation"
            ),
            _row(
                "norelaying",
                "The server does not handle mail for this address.",
                _OURS,
                54,
                "Blocked",
                "Permanent/General",
                "Technical Failure",
            ),
            _row(
                "spamdetected",
                "The message was taken for spam.",
                "sender",
                52,
                "SpamNotification",
                "Transient/ContentRejected",
                "Content",
            ),
            _row(
                "virusdetected",
                "A virus was found in the message.",
                "sender",
                53,
                "VirusNotification",
                "Transient/AttachmentRejected",
                "Content",
            ),
            _row(
                "contenterror",
                "The content or its form was refused.",
                "sender",
                53,
                "Blocked",
                "Transient/ContentRejected",
                "Content",
            ),
            _row(
                "policyviolation",
                "A policy of the other side refused the message.",
                "sender",
                50,
                "Blocked",
                "Transient/ContentRejected",
                "Content",
            ),
            _row(
                "notcompliantrfc",
                "The message breaks a mail standard.",
                _OURS,
                50,
                "Blocked",
                "Transient/ContentRejected",
                "Content",
            ),
            _row(
                "syntaxerror",
                "A command or an address was not understood.",
                _OURS,
                50,
                "Blocked",
                "Transient/ContentRejected",
                "Technical Failure",
            ),
            _row(
                "securityerror",
                "The other side's security rules refused the mail.",
                _OURS,
                50,
                "Blocked",
                "Transient/ContentRejected",
                "Technical Failure",
            ),
            _row(
                "onhold",
                "The other side gave no clear reason.",
                "nobody",
                1,
                "Unknown",
                "Undetermined/Undetermined",
                "Unclassified",
            ),
            _row("undefined", "no error", "nobody", 1, "Unknown", "Undetermined/Undetermined", "Unclassified"),
            _row("vacation", "An automatic reply.", "nobody", 60, "AutoResponder", "Transient/General", "Unclassified"),
            _row(
                "feedback",
                "The recipient reported the message as unwanted.",
                "sender",
                51,
                "SpamComplaint",
                "Complaint",
                "spamreport",
            ),
            _row("delivered", "Delivered.", "nobody", 0, "Delivered", "Delivery", "delivered"),
        )
    )
)

SUPPRESSED = "suppressed"
"""No reason of a bounce: mailops itself kept the mail back, since the address is on the suppression list."""
_KEPT_BACK = "Kept back by mailops: the address is on the suppression list."

HARD: Mapping[str, Hardness] = MappingProxyType({name: reason.hardness for name, reason in REASONS.items()})
"""The default table; Sisimai's convention."""


def hard_table(**changes: Hardness) -> Mapping[str, Hardness]:
    """The default table with some reasons judged otherwise: ``hard_table(suspend="hard")``."""
    unknown = set(changes) - set(HARD)
    if unknown:
        from ..errors import ConfigError

        raise ConfigError(
            f"Unknown bounce reason: {', '.join(sorted(unknown))}.",
            code="config.bounce_reason",
            facts={"unknown": sorted(unknown), "known": sorted(HARD)},
            fix="Use one of the reasons of `mailops.model.reasons.REASONS`.",
        )
    return MappingProxyType({**HARD, **changes})


def is_hard(reason: str, temporary: bool = False, table: Mapping[str, Hardness] = HARD) -> bool:
    """Should the address be suppressed? Never for a ``temporary`` answer: the code was 4yz or 4.y.z (RFC 5321 section
    4.2.1: to be tried again), or the other side still tries."""
    return not temporary and table.get(reason, "soft") == "hard"


def who_acts(reason: str) -> Actor:
    """Who can do something about it."""
    known = REASONS.get(reason)
    return known.actor if known else "nobody"


def plain(reason: str) -> str:
    """The reason in words for people; ``no error`` when the report could not be interpreted."""
    if reason == SUPPRESSED:
        return _KEPT_BACK
    known = REASONS.get(reason)
    return known.plain if known else REASONS["undefined"].plain
