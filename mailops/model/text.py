"""Strangers' text on its way to a terminal, a file, a spreadsheet or a page: no character of it does anything there."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from html import escape
from typing import Any


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its word: ``1 mail``, ``2,000 mails``; ``many`` where an s is not enough.

    >>> counted(1, "mail"), counted(2000, "mail"), counted(0, "entry", "entries")
    ('1 mail', '2,000 mails', '0 entries')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def lasting(seconds: float) -> str:
    """A span of time in its two largest units.

    >>> lasting(9), lasting(3600), lasting(151941)
    ('9 seconds', '1 hour', '1 day 18 hours')
    """
    parts: list[str] = []
    rest = max(0, int(seconds))
    for size, word in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        number, rest = divmod(rest, size)
        if number or (size == 1 and not parts):
            parts.append(counted(number, word))
        elif parts:
            break
        if len(parts) == 2:
            break
    return " ".join(parts)


STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls of a terminal (ECMA-48) and of writing direction, and half surrogates (bytes of a file's name that are no
UTF-8), which no encoding writes; line ends and tabs stay."""


def harmless(text: str) -> str:
    """Text with a replacement character for what would steer a terminal, or cannot be written."""
    return STEERING.sub("\N{REPLACEMENT CHARACTER}", text)


_FORMULA = re.compile(r"(\A|[;\t|])(\s{0,20})(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""Where a spreadsheet begins a formula: at the start, also after blanks and in the wide forms, and after what separates
cells in another country's settings."""


def cell(text: str) -> str:
    """One line for a cell of CSV: harmless, and with an apostrophe before what a spreadsheet takes for a formula.

    >>> cell("=1+1"), cell("x;=1+1")
    ("'=1+1", "x;'=1+1")
    """
    text = harmless(text.replace("\r", " ").replace("\n", " "))
    text = _FORMULA.sub(r"\1\2'", text)
    return "'" + text if text[:1] == "\t" else text


def csv_rows(out: Any) -> Callable[[Iterable[str]], object]:
    """What writes rows of CSV to ``out``, headings too: every cell safe and in quotes (OWASP, CSV injection)."""
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    return lambda cells: writer.writerow([cell(text) for text in cells])


def as_pre(text: str) -> str:
    """Plain text as an HTML fragment that shows it as it is."""
    return f"<pre>{escape(text)}</pre>"
