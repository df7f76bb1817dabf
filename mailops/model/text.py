"""Strangers' text on its way to a terminal, a file, a spreadsheet or a page: no character of it does anything there."""

from __future__ import annotations

import re
from html import escape

STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls of a terminal (ECMA-48) and of writing direction, and half surrogates (bytes of a file's name that are no
UTF-8), which no encoding writes; line ends and tabs stay."""


def harmless(text: str) -> str:
    """Text with a replacement character for what would steer a terminal, or cannot be written."""
    return STEERING.sub("\N{REPLACEMENT CHARACTER}", text)


def cell(text: str) -> str:
    """One line for a cell of CSV: harmless, and with an apostrophe before what a spreadsheet takes for a formula.

    >>> cell("=1+1")
    "'=1+1"
    """
    text = harmless(text.replace("\r", " ").replace("\n", " "))
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t") else text


def as_pre(text: str) -> str:
    """Plain text as an HTML fragment that shows it as it is."""
    return f"<pre>{escape(text)}</pre>"
