"""What to do about a failure: a diagnosis in one sentence and the tasks that follow from it, for people.

Data only. ``CASES`` are known texts with a cause of their own and go before ``ADVICE``, which has one row a reason.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...model.reasons import REASONS, plain
from .classify import classify, prepare


@dataclass(frozen=True, slots=True)
class Advice:
    """A diagnosis and its tasks, in the order in which to do them."""

    diagnosis: str
    tasks: tuple[str, ...]


CASES: tuple[tuple[str, str, Advice], ...] = (
    (
        "sender-identity",
        "does not match a verified sender identity",
        Advice(
            "The sender is not verified at the mail provider.",
            (
                "Look at the outgoing mail server: does its FROM filter fit the sender?",
                "Look at the default FROM address of the alias domain.",
                "Allow the address (or its domain) as a sender at the provider.",
            ),
        ),
    ),
)

ADVICE: dict[str, Advice] = {
    "userunknown": Advice(
        "The address does not exist.", ("Ask the recipient for the right address.", "Correct or remove the contact.")
    ),
    "hostunknown": Advice(
        "The domain of the address does not exist.",
        ("Check the spelling behind the @.", "Correct or remove the contact."),
    ),
    "hasmoved": Advice("The recipient has a new address.", ("Ask for the new address and correct the contact.",)),
    "notaccept": Advice("This domain takes no mail.", ("Ask the recipient for another address.",)),
    "suspend": Advice(
        "The mailbox is disabled or unused.",
        ("Ask the recipient by another way.", "Remove the contact when it stays so."),
    ),
    "filtered": Advice("The recipient's own filter refused the message.", ("Ask the recipient to allow the sender.",)),
    "mailboxfull": Advice("The mailbox is full.", ("Try again later.", "Tell the recipient by another way.")),
    "mesgtoobig": Advice("The message is too large.", ("Send it with smaller attachments or with links.",)),
    "exceedlimit": Advice(
        "The message is too large for this mailbox.", ("Send it with smaller attachments or with links.",)
    ),
    "expired": Advice(
        "The other server could not be reached in time.", ("Check the domain's MX records.", "Send again later.")
    ),
    "networkerror": Advice(
        "The way to the other server is broken.", ("Check the domain's MX records.", "Send again later.")
    ),
    "systemerror": Advice(
        "The other server has a fault.", ("Send again later.", "Tell the other side's administrator.")
    ),
    "systemfull": Advice("The other server has no space left.", ("Send again later.",)),
    "mailererror": Advice("A program of the other server failed.", ("Tell the other side's administrator.",)),
    "toomanyconn": Advice(
        "We opened too many connections or named too many recipients.",
        ("Lower the server's connections and batch size.",),
    ),
    "speeding": Advice(
        "We sent too much in a short time.", ("Lower the sending rate.", "Spread the campaign over more time.")
    ),
    "blocked": Advice(
        "Our server's address is blocked there.",
        (
            "Check the blocklists named in the answer.",
            "Ask for removal there.",
            "Look for the cause: spam, a hacked account.",
        ),
    ),
    "badreputation": Advice(
        "Our address or domain has a bad reputation there.",
        ("Check complaints and bounce rates.", "Send less, and only to people who asked for it."),
    ),
    "requireptr": Advice(
        "Our server's address has no proper name.", ("Set a PTR record that points back to the server's name.",)
    ),
    "authfailure": Advice(
        "SPF, DKIM or DMARC did not pass.", ("Run the domain check.", "Correct the record it names.")
    ),
    "rejected": Advice(
        "Our sender address was refused.",
        ("Check that the sender's domain exists and takes mail.", "Check the server's FROM filter."),
    ),
    "norelaying": Advice(
        "The server does not handle mail for this address.",
        ("Check the domain's MX records.", "When it is our own server: check its login."),
    ),
    "spamdetected": Advice(
        "The message was taken for spam.", ("Check its links and its text.", "Run the domain check.")
    ),
    "virusdetected": Advice("A virus was found in the message.", ("Check the attachments and the sender's computer.",)),
    "contenterror": Advice("The content or its form was refused.", ("Check attachments and their types.",)),
    "policyviolation": Advice(
        "A policy of the other side refused the message.", ("Read the page named in the answer.", "Ask the other side.")
    ),
    "notcompliantrfc": Advice("The message breaks a mail standard.", ("Check its header fields.",)),
    "syntaxerror": Advice("A command or an address was not understood.", ("Check the address for stray characters.",)),
    "securityerror": Advice(
        "The other side's security rules refused the mail.",
        (
            "Read its answer: it may ask for a login, for encryption, or refuse the sender.",
            "Check login and encryption of the outgoing server.",
            "Run the domain check.",
        ),
    ),
    "onhold": Advice("The other side gave no clear reason.", ("Send again later.", "Read the full report.")),
    "undefined": Advice(
        "no error",
        (
            "Read the full report.",
            "Run the domain check: SPF and DKIM are the most common causes of a failure without text.",
        ),
    ),
}


def advise(text: str = "", reason: str | None = None) -> Advice:
    """The advice for a reply or a diagnostic. ``reason`` is the answer already known; else the text is classified."""
    prepared = prepare(text)
    for _, words, advice in CASES:
        if words in prepared:
            return advice
    known = reason if reason in REASONS else classify(text=text).reason
    return ADVICE.get(known or "undefined", ADVICE["undefined"])


def cause(reason: str | None, *, failed: bool) -> str:
    """The reason as a column of a table wants it: its word; ``no error`` for a failure that nobody could interpret;
    "" where nothing failed and nothing is known."""
    if failed and (not reason or reason == "undefined"):
        return plain("undefined")
    return "" if not reason or reason == "undefined" else reason
