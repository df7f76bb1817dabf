"""What is against the rules of :mod:`mailops.testing.house` today: a list that can only shrink.

One group for each reason: the rule, what has to happen for the group to be opened, and what stands in which file.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Known:
    """One offence that stands for now, and why; to be opened."""

    rule: str
    file: str
    what: str
    why: str


def _group(rule: str, why: str, *said: str) -> tuple[Known, ...]:
    """The entries of one reason; each is ``file: what``."""
    pairs = (one.split(": ", 1) for one in said)
    return tuple(Known(rule, f"mailops/{file}", what, why) for file, what in pairs)


KNOWN: tuple[Known, ...] = (
    *_group(
        "table",
        "IN-33, IN-34, MJ-13: the helper borrows tables until a guide calls it and keeps its state",
        "threads/verification.py: threads does delete guide_answers",
        "threads/verification.py: threads does insert guide_answers",
        "threads/verification.py: threads does update alias_domains",
    ),
    *_group(
        "uncalled",
        "a mail's headers and recipients are to be looked at before it is handed in",
    ),
    *_group(
        "uncalled",
        "wanted by the domain checks: DANE, reverse names, all servers of a zone, watching until published",
    ),
    *_group(
        "uncalled",
        "calls of Mailjet's API and a redirect address that no guide makes yet",
        "oauth/redirects.py: gmail_redirect_of_database has no caller",
        "providers/mailjet.py: MailjetApi.add_sender has no caller",
        "providers/mailjet.py: MailjetApi.set_event_address has no caller",
    ),
    *_group(
        "uncalled",
        "the searching for leaks is for whoever ships reports",
    ),
)
