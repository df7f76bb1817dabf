"""What is idle or unclear among the lines of ``refusals.tsv``: ``python -m mailops.bounces.reading.lint``.

Each phrase is probed by the matcher itself with its own text, among signs that stand in no phrase: bare, and where it
has ``*`` once with the pieces close together and once as far apart as they may be. What else stands in all of these
consists of letters of this phrase alone, so it stands in every text in which the phrase does. Findings:

* *repeat*: a phrase of the same reason and no higher rank always stands there too, so the line adds nothing;
* *shadow*: a phrase of another reason and a lower rank always stands there too, so the line never says its reason;
* *unreached*: no probe makes the line decide: :func:`~mailops.bounces.reading.classify.prepare` takes such words out
  of a text, a provider's own table answers before, or no piece has three letters by which it would be looked for;
* *unclear*: a rank with two reasons, or a reason that :mod:`~mailops.model.reasons` does not know.

Weak words do not count in long texts and forestall only other weak words. Words about spam and viruses are not looked
for in links, so they forestall other reasons only in phrases of more than one word, which no link holds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ...model.reasons import REASONS
from . import patterns
from .classify import NOT_IN_LINKS, WINDOW, Table, compile_table, match_text, pieces_of, prepare, standing
from .patterns import Phrase
from .providers import provider_answer

SIGN = "¤"
"""Stands in no phrase, so that nothing can stand across it."""


class Finding(NamedTuple):
    """A line that should be mended: what is wrong with it, and the line that is in its way, if one is."""

    kind: str
    line: int
    words: str
    reason: str
    by: Phrase | None = None

    def __str__(self) -> str:
        said = f"{patterns.FILE}:{self.line}: {self.kind}: {self.reason} {self.words!r}"
        return said if self.by is None else f"{said}, by line {self.by.line}: {self.by.reason} {self.by.words!r}"


def lint(text: str) -> list[Finding]:
    """All findings in a file, by line. Raises :class:`~mailops.errors.ConfigError` for a line that is none."""
    lines = patterns.read(text)
    usable = tuple(one for one in lines if any(len(piece.removeprefix("^")) > 2 for piece in pieces_of(one.words)))
    found = [Finding("unreached", one.line, one.words, one.reason) for one in set(lines) - set(usable)]
    found += _unclear(lines)
    table = compile_table(usable)
    always = [_always(one, table) for one in usable]
    for number, one in enumerate(usable):
        by = _in_the_way(number, usable, always)
        if by is not None:
            kind = "repeat" if by.reason == one.reason else "shadow"
            found.append(Finding(kind, one.line, one.words, one.reason, by))
        elif not any(_decides(one, probe, table) for probe in probes(one.words)):
            found.append(Finding("unreached", one.line, one.words, one.reason))
    return sorted(found, key=lambda finding: (finding.line, finding.kind))


def probes(words: str) -> list[str]:
    """Texts in which a phrase stands and nothing else does."""
    pieces = pieces_of(words)
    start = "" if words[0] == "^" else SIGN
    near = start + SIGN.join(pieces).removeprefix("^") + SIGN
    if len(pieces) == 1:
        return [near]
    far = start + pieces[0].removeprefix("^") + "".join(piece.rjust(WINDOW, SIGN) for piece in pieces[1:]) + SIGN
    return [near, far]


def _always(one: Phrase, table: Table) -> frozenset[int]:
    """The numbers of the phrases that stand wherever this one does."""
    return frozenset.intersection(*(frozenset(standing(probe, table)) for probe in probes(one.words)))


def _in_the_way(number: int, lines: Sequence[Phrase], always: Sequence[frozenset[int]]) -> Phrase | None:
    """The phrase that decides whenever this one could, or says the same within its rank; None if there is none."""
    one = lines[number]
    for other_number in sorted(always[number] - {number}):
        other = lines[other_number]
        if other.rank > one.rank or (other.weak and not one.weak):
            continue
        if other.reason in NOT_IN_LINKS and one.reason not in NOT_IN_LINKS and " " not in one.words.strip():
            continue
        same_extent = number in always[other_number]
        if other.rank == one.rank and same_extent and other_number > number:
            continue  # of two that say the same one may stay
        return other
    return None


def _decides(one: Phrase, probe: str, table: Table) -> bool:
    prepared = prepare(probe)
    if match_text(prepared, weak=True, among=table) != (one.reason, one.words):
        return False
    return provider_answer("", prepared, "") is None


def _unclear(lines: Sequence[Phrase]) -> Iterator[Finding]:
    first: dict[int, Phrase] = {}
    for one in sorted(lines, key=lambda one: one.line):
        owner = first.setdefault(one.rank, one)
        if owner.reason != one.reason:
            yield Finding("unclear", one.line, one.words, one.reason, owner)
        elif one.reason not in REASONS:
            yield Finding("unclear", one.line, one.words, one.reason)


def main(arguments: list[str]) -> int:
    """Print the findings of the shipped file, or of the one named; exit status 1 when there are any."""
    text = Path(arguments[0]).read_text("utf-8") if arguments else patterns.text()
    found = lint(text)
    for finding in found:
        sys.stdout.write(f"{finding}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
