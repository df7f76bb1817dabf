"""Mail systems by what they write, read from ``systems.tsv``: marks, glosses of codes, greetings.

A mark tells who wrote a report, and nothing about why: reasons come from words and codes alone, whoever wrote them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mailops.errors import ConfigError

FILE = "systems.tsv"
KINDS = ("mark", "gloss", "greeting")


def read(text: str) -> dict[str, tuple[tuple[str, str], ...]]:
    """The (system, words) of each kind. Raises :class:`ConfigError` with the line that is none."""
    found: dict[str, list[tuple[str, str]]] = {kind: [] for kind in KINDS}
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line[0] == "#":
            continue
        columns = line.split("\t")
        if len(columns) != 3 or columns[1] not in found or columns[2] != " ".join(columns[2].lower().split()):
            raise ConfigError(
                f"Line {number} of the table of mail systems is not name, kind and words.",
                code="bounces.system_line",
                facts={"line": number, "text": line[:200]},
                fix="Write the three columns with one tab between them, as the head of the file says.",
            )
        found[columns[1]].append((columns[0], columns[2]))
    return {kind: tuple(rows) for kind, rows in found.items()}


@cache
def table() -> dict[str, tuple[tuple[str, str], ...]]:
    """The shipped file, read on the first call."""
    return read(Path(__file__).with_name(FILE).read_text("utf-8"))


@cache
def glosses() -> tuple[str, ...]:
    """What wrappers put beside their codes, the longest first."""
    return tuple(sorted({words for _, words in table()["gloss"]}, key=len, reverse=True))


def wrote(prepared: str) -> str:
    """The system whose mark stands in a flat lower-case text, or ""."""
    return next((name for name, words in table()["mark"] if words in prepared), "")
