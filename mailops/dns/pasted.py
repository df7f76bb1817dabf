"""Records as people paste them: what a text document, a panel or a zone file leaves in a TXT value, taken out again.

A pure reading of one value: the text as it was meant, and a sentence for each thing that was taken out. Nothing is
guessed here about what a tag or a term means; that is the business of the mender of each kind of record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .check_common import readable

_INVISIBLE = dict.fromkeys((0xFEFF, 0x200B, 0x200C, 0x200D, 0x2060, 0x00AD), None)
_SPACES = dict.fromkeys(
    (0x00A0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0x09, 0x0A, 0x0B, 0x0C, 0x0D), " "
)
_DASHES = dict.fromkeys((0x2010, 0x2011, 0x2012, 0x2013, 0x2014, 0x2015, 0x2212, 0xFE63, 0xFF0D, 0x96, 0x97), "-")
_CURLY = dict.fromkeys(
    (0x201C, 0x201D, 0x201E, 0x201F, 0x2018, 0x2019, 0x201A, 0x2032, 0x2033, 0xAB, 0xBB, *range(0x91, 0x95), 0xFF02),
    '"',
)  # fmt: skip
_MARKS = {0x037E: ";", 0xFF1B: ";", 0xFF1A: ":", 0xFF1D: "=", 0xFF0C: ","}

_STEPS: tuple[tuple[Mapping[int, str | None], str], ...] = (
    (_INVISIBLE, "an invisible character (such as a byte order mark) was pasted"),
    (_SPACES, "a no-break space, tab or line break stands where a space belongs"),
    (_DASHES, "a dash of a text document stands where the hyphen-minus belongs"),
    (_MARKS, "a foreign mark looks like ; : = or , and is another character"),
    (_CURLY, "curly quotation marks were pasted from a text document"),
)


_LINE = re.compile(r"\s*(?:[\w.@*-]+\s+)?(?:[0-9]+\s+)?(?:IN\s+)?TXT\s*[:=]?\s+(?=v\s*=)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Pasted:
    """``text`` as it was meant; ``causes`` one sentence for each thing taken out (none = it was clean)."""

    text: str
    causes: tuple[str, ...] = ()


def cleaned(text: str) -> Pasted:
    """One TXT value (one character an octet, or as typed) without what pasting and panels put into it."""
    value, causes = readable(text), []
    for table, cause in _STEPS:
        changed = value.translate(table)
        if changed != value:
            causes.append(cause)
        value = changed
    if "\\" in value:
        causes.append("backslashes of a zone file were typed into the panel")
        value = re.sub(r"\\([^0-9]|$)", r"\1", value)
    if '"' in value:
        causes.append("quotation marks were typed into the panel")
        # "one" "two" of a zone file is one value, cut into strings
        value = re.sub(r'"\s*"', "", value.strip().strip('"')).replace('"', "")
    if (bare := value.strip().strip("'`\xb4")) != value.strip():  # no record begins or ends with one
        causes.append("quotation marks were typed into the panel")
        value = bare
    line = _LINE.match(value)
    if line is not None:
        causes.append("the name and type of the record were typed into its value")
        value = value[line.end() :]
    if value.strip() != value:
        causes.append("a space stands before or after the record")
    value = re.sub(r" {2,}", " ", value.strip())
    return Pasted(value, tuple(dict.fromkeys(causes)))
