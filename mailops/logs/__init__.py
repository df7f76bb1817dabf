"""Mail logs: read, joined to mails, and kept as facts of origin ``log``; then asked where a mail is.

Three of its modules know no store and may be used alone: :mod:`.lines` (text to stamped lines), :mod:`.files` (folders,
rotated and compressed files, a file that grows) and :mod:`.join` (lines to mails, answers and refusals).
"""

from __future__ import annotations

from .files import find, follow, lines_of
from .join import Answer, Joiner, Refusal, Transaction
from .lines import Line, Seen, Stamps, read
from .quick import join_lines

__all__ = [
    "Answer",
    "Joiner",
    "Line",
    "Refusal",
    "Seen",
    "Stamps",
    "Transaction",
    "find",
    "follow",
    "join_lines",
    "lines_of",
    "read",
]
