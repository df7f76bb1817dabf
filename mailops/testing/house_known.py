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
        "AZ-22, GO-21 and the guides' remaining steps: carried here, called by no guide yet",
        "guides/checks.py: authentication_options has no caller",
        "guides/engine.py: GuideRun.reopen has no caller",
        "oauth/redirects.py: gmail_redirect_of_database has no caller",
        "providers/mailjet.py: MailjetApi.add_sender has no caller",
        "providers/mailjet.py: MailjetApi.set_event_address has no caller",
    ),
    *_group(
        "uncalled",
        "AZ-30, 31, 33, 34, 38, 40, OUT-21, 37, 43, 49: plans and quotas that no command or card shows yet",
        "routing/usage.py: Usage.reached has no caller",
        "routing/usage.py: counted_today has no caller",
    ),
    *_group(
        "uncalled",
        "shown by the notebook of cards in the tests; the guide's view is to use it",
        "widgets/step.py: StepCard has no caller",
    ),
    *_group(
        "uncalled",
        "IN-33, IN-34, MJ-13, QUE-04: records, aliases and the envelope have no face yet",
    ),
)
