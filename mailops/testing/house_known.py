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


KNOWN: tuple[Known, ...] = ()
