"""What is against the rules of :mod:`mailops.testing.house` today: a list that can only shrink.

It is empty. Who adds a line says why, and what has to happen for it to go.
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


KNOWN: tuple[Known, ...] = ()
