"""What servers write when they refuse mail: the lines of ``refusals.tsv``, read once, when the first text is asked.

A line is a rank, a reason, a phrase and its source; the head of the file says what stands in each. A phrase is
lower-case text in which ``*`` stands for "anything in between" and a leading ``^`` for "at the start"; there are no
regular expressions here, so matching is linear and cannot run away. The text is prepared by
:func:`~mailops.bounces.reading.classify.prepare`: lower case, single blanks, addresses replaced by ``@``.

The rank carries the meaning, not the order of the lines: the lowest one wins, and within it the longest phrase. "user
unknown" inside a sentence about a policy is still an unknown user, "mailbox full" outranks "mail rejected", and words
that every refusal contains come last. Weak words only count when a more specific enhanced code does not decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from mailops.errors import ConfigError

FILE = "refusals.tsv"
BLANK = "␣"
"""A blank at either end of a phrase, where a reader would not see one."""


class Phrase(NamedTuple):
    """One line of the file; ``line`` is its number there, from 1."""

    rank: int
    reason: str
    words: str
    weak: bool
    source: str
    line: int


def read(text: str) -> tuple[Phrase, ...]:
    """The phrases of a file, in the order in which they win. Raises :class:`ConfigError` with the line that is none."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line[0] == "#":
            continue
        try:
            rank, reason, words, source = line.split("\t")
            weak = rank[-1] == "w"
            place = int(rank[:-1] if weak else rank)
        except (ValueError, IndexError) as error:
            raise ConfigError(
                f"Line {number} of the table of refusals is not rank, reason, phrase and source.",
                code="bounces.phrase_line",
                facts={"line": number, "text": line[:200]},
                fix="Write the four columns with one tab between them, as the head of the file says.",
            ) from error
        found.append(Phrase(place, reason, words.replace(BLANK, " "), weak, source, number))
    return in_order(found)


def in_order(phrases: Iterable[Phrase]) -> tuple[Phrase, ...]:
    """By rank, then the longest first, then by letters: never by place in the file."""
    return tuple(sorted(phrases, key=lambda one: (one.rank, -len(one.words), one.words, one.line)))


def text() -> str:
    """The file as it was shipped."""
    return Path(__file__).with_name(FILE).read_text("utf-8")


@cache
def phrases() -> tuple[Phrase, ...]:
    """All phrases, read on the first call."""
    return read(text())
