"""What to do about a failure: a diagnosis in one sentence and the tasks that follow from it, for people.

``CASES`` are known texts with a cause of their own and go before ``ADVICE``, which has one row a reason. What the text
itself names (the method that failed and for which domain, the blocklist) stands in the tasks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...model.reasons import REASONS, is_hard, plain
from .classify import classify, prepare
from .entities import blocklist
from .report import GOOD_ACTIONS, RecipientResult, Report


@dataclass(frozen=True, slots=True)
class Advice:
    """A diagnosis and its tasks, in the order in which to do them."""

    diagnosis: str
    tasks: tuple[str, ...]


CASES: tuple[tuple[str, tuple[str, ...], Advice], ...] = (
    (
        "sender-identity",
        ("does not match a verified sender identity",),
        Advice(
            "The sender is not verified at the mail provider.",
            (
                "Look at the outgoing mail server: does its FROM filter fit the sender?",
                "Look at the default FROM address of the alias domain.",
                "Allow the address (or its domain) as a sender at the provider.",
            ),
        ),
    ),
    (
        "tenant-limit",
        ("5.7.233", "tenant external recipient rate limit", "tenant exceeded its daily limit"),
        Advice(
            "The Microsoft 365 organisation we send through has used up its daily limit for outside recipients.",
            (
                "Wait until the 24 hours are over, and spread the campaign over more days.",
                "Ask the administrator of that organisation: the limit follows the number of its licences.",
            ),
        ),
    ),
    (
        "tenant-trial",
        ("5.7.236", "5.7.235"),
        Advice(
            "The Microsoft 365 organisation we send through may not send outside: a trial, or its default domain.",
            (
                "Ask the administrator of that organisation to verify a domain of its own and to send from it.",
                "A trial's limits end with the trial: a paid licence lifts them.",
            ),
        ),
    ),
    (
        "tenant-suspicious",
        ("5.7.705", "5.7.708"),
        Advice(
            "The Microsoft 365 organisation we send through, or its addresses, is held for suspicious sending.",
            (
                "Ask the administrator of that organisation to look for hacked accounts and to have it released.",
                "Send nothing more through it until then.",
            ),
        ),
    ),
    (
        "microsoft-pace",
        ("4.7.500", "4.7.650", "4.7.651"),
        Advice(
            "Microsoft slows our server's address down.",
            ("Lower the sending rate to Microsoft's domains.", "Look at the address in Microsoft's SNDS."),
        ),
    ),
    (
        "google-pace",
        ("4.7.28", "unusual rate of", "p=receivingrate", "rate limited to protect"),
        Advice(
            "Gmail slows our mail down: too much of it, or too much that nobody asked for.",
            ("Lower the sending rate to Gmail.", "Look at spam rate and reputation in Google Postmaster Tools."),
        ),
    ),
    (
        "restricted",
        ("5.7.129", "5.7.133", "5.7.124", "5.7.135", "5.7.136", "restrictedtorecipientspermission"),
        Advice(
            "Only people of that organisation, or those it allows, may write there.",
            ("Ask its administrator to allow {sender}.",),
        ),
    ),
)
"""Known texts with a cause of their own: a name, words of which one stands in the prepared text, the advice."""

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
        ("Look the address up in the large blocklists.", "Look for the cause: spam, a hacked account."),
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


_NOT_PASSED = re.compile(
    r"\b(spf|dkim|dmarc)\b(?:\s{0,2}\[[^\]\n]{0,100}\])?(?:\s(?:with|check|ip|for|of|policy|record|verification|"
    r"authentication|alignment|:?\s?\[[^\]\n]{0,64}\]){0,3}){0,4}\s{0,2}(?:=|:|has|is|did|does)?\s{0,2}"
    r"(?:fail\w*|did(?: not|n.t) pass|not pass\w*|none|soft ?fail|perm ?error|neutral|not aligned|missing|invalid|"
    r"not valid)\b"
    r"|\b(?:fail(?:ed|s|ing)?(?: to pass)?|violat\w+|does(?: not|n't) (?:pass|meet)|not accepted due to)\b.{0,60}?"
    r"\b(spf|dkim|dmarc)\b",
    re.I,
)
_UNALIGNED = re.compile(
    r"\bfrom\b.{0,80}?(?:\bnot|n['\u2019]t|\bun)\s{0,2}aligned|(?:no|not have a|n.t have a) dmarc record",
    re.IGNORECASE,
)
"""The domain of From agrees with neither, or has no policy: that is DMARC, also where the word is not said."""
_PASSED = re.compile(r"\b(spf|dkim|dmarc)\b\s{0,2}(?:\[[^\]\n]{0,100}\])?\s{0,2}[=:]\s{0,2}pass", re.I)
_NAME = r"((?!\d+\.\d+\.\d)[a-z0-9][a-z0-9-]{0,62}(?:\.[a-z0-9-]{1,63}){1,8})"
_DOMAIN_OF = re.compile(
    rf"(?:(?:spf|dkim|dmarc)\s{{0,2}}\[{_NAME}\]|header\.(?:from|d|i)=@?{_NAME}|smtp\.mailfrom=(?:[^@\s]{{0,64}}@)?{_NAME}"
    rf"|(?:e-?mail|message|mail) from {_NAME} (?:is|was) not|(?:sending |sender.s |from |the )?domain:? \[?{_NAME}"
    rf"|polic(?:y|ies) (?:of|for) {_NAME}|from: header .{{0,20}}{_NAME})",
    re.I,
)


def authentication(text: str) -> tuple[tuple[str, str], ...]:
    """Which of SPF, DKIM and DMARC did not pass, each with the domain the text names for it, or "".

    >>> authentication("550 5.7.26 DKIM = did not pass SPF [acme.example] with ip: [192.0.2.7] = did not pass")
    (('DKIM', 'acme.example'), ('SPF', 'acme.example'))
    """
    text = " ".join(text[:4_000].split())
    text = re.sub(r"\b\d{3}-\d\.\d{1,3}\.\d{1,3} ", "", text)
    passed = {found.group(1).upper() for found in _PASSED.finditer(text)}
    failed = [(one or other).upper() for one, other in _NOT_PASSED.findall(text)]
    if not failed and _UNALIGNED.search(text):
        failed = ["DMARC"]
    named = next((name for hit in _DOMAIN_OF.findall(text) for name in hit if name), "")
    own = {
        found.group(1).upper(): found.group(2).lower()
        for found in re.finditer(rf"\b(spf|dkim|dmarc)\s{{0,2}}\[{_NAME}\]", text, re.I)
    }
    return tuple((one, own.get(one, named.lower())) for one in dict.fromkeys(failed) if one not in passed)


_SENDING_AGAIN = ("send again later.", "try again later.")
QUEUED = "Nothing to send again: the queue still tries."


def advise(
    text: str = "",
    reason: str | None = None,
    *,
    sender: str = "",
    delayed: bool = False,
    until: str = "",
    queued: bool = False,
) -> Advice:
    """The advice for a reply or a diagnostic. ``reason`` is the answer already known; else the text is classified.

    ``sender`` is the address or domain we wrote from. ``delayed`` says that the other side still tries, ``until`` for
    how long: then there is nothing to do, and to send again would make doubles. ``queued`` says that our own queue
    still tries: what helps is told, without sending again.
    """
    advice = _advised(text, reason, sender, delayed, until)
    if not queued:
        return advice
    left = tuple(task for task in advice.tasks if task.lower() not in _SENDING_AGAIN)
    return Advice(advice.diagnosis, (QUEUED, *left))


def _advised(text: str, reason: str | None, sender: str, delayed: bool, until: str) -> Advice:
    prepared = prepare(text)
    known = reason if reason in REASONS else classify(text=text).reason
    known = known or "undefined"
    advice = ADVICE.get(known, ADVICE["undefined"])
    case = next((one for _, words, one in CASES if any(word in prepared for word in words)), None)
    if delayed:
        when = f" by {until}" if until else ""
        told = f"Nothing: the other side still tries. It will be delivered, or reported as failed{when}."
        diagnosis = case.diagnosis if case else advice.diagnosis
        return Advice(f"For now: {diagnosis}" if is_hard(known) else diagnosis, (told,))
    if case is not None:
        tasks = tuple(task.format(sender=sender or "our sender") for task in case.tasks)
        return Advice(case.diagnosis, tasks)
    if known == "authfailure":
        return _of_authentication(text, sender) or advice
    if known in ("blocked", "badreputation") and (named := blocklist(text)):
        return Advice(
            advice.diagnosis, (f"Look the address up at {named} and ask for removal there.", *advice.tasks[-1:])
        )
    return advice


def _of_authentication(text: str, sender: str) -> Advice | None:
    """The advice for the methods that the answer names."""
    failed = authentication(text)
    home = sender.rpartition("@")[2]
    if not failed:
        check = (f"Run: mailops domain check {home}", "Correct the record it names.")
        return Advice(ADVICE["authfailure"].diagnosis, check) if home else None
    names = [f"{method} for {domain or home}" if domain or home else method for method, domain in failed]
    domains = dict.fromkeys(domain or home for _, domain in failed)
    checks = [f"Run: mailops domain check {domain}" for domain in domains if domain]
    return Advice(
        f"{', '.join(names)} did not pass.", (*(checks or ["Run the domain check."]), "Correct the record it names.")
    )


CONSEQUENCES = {
    "hard": "Nobody writes there any more: the address is suppressed once the report is tied to a mail of ours.",
    "hard, unconfirmed": "The address stays in use for now: the ground is too weak. A second report like it decides.",
    "soft": "It counts as one soft bounce; the address stays in use.",
    "delayed": "Nothing is counted: the other side still tries.",
    "success-dsn": "It arrived as far as the other side says. Nothing to do.",
    "autoreply": "Nobody is counted: the mail arrived, and a machine answered.",
    "complaint": "Stop mailing this person: the address goes onto the suppression list.",
    "no complaint": "No complaint: nobody is counted.",
    "unread": "It came back to us and was not understood: it is kept and shown, and counts against nobody.",
    "ordinary": "It reports nothing: nothing is recorded.",
}
"""What follows from a message, in a sentence for each kind."""


def consequence(report: Report, result: RecipientResult | None = None) -> str:
    """What follows from a report, or from what it says of one recipient."""
    if report.kind == "complaint":
        return CONSEQUENCES["complaint" if report.outcome == "complaint" else "no complaint"]
    if result is not None and result.action in GOOD_ACTIONS:
        return CONSEQUENCES["success-dsn"]
    if report.outcome != "bounce":
        told = CONSEQUENCES.get(report.kind, CONSEQUENCES["ordinary"])
        return f"{told} Missing: {', '.join(report.missing)}." if report.missing else told
    return CONSEQUENCES[result.strength if result else "soft"]


def cause(reason: str | None, *, failed: bool) -> str:
    """The reason as a column of a table wants it: its word; ``no error`` for a failure that nobody could interpret;
    "" where nothing failed and nothing is known."""
    if failed and (not reason or reason == "undefined"):
        return plain("undefined")
    return "" if not reason or reason == "undefined" else reason
