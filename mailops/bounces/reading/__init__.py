"""Reading bounces, complaints and automatic replies without the store: bytes in, frozen values out.

:func:`parse` tells what a message is, :func:`classify` why a server refused, :func:`explain` what follows and what to
do about it. Nothing here knows a workspace, a database or the clock, and nothing but the standard library is imported,
so that one reading serves live replies, reports, webhooks and evaluations alike. Ten recipes: ``docs/bounces.md``.
"""

from __future__ import annotations

from .classify import Classification, classify
from .explain import Explained, explain
from .ours import Ours
from .reader import parse
from .report import OriginalMessage, RecipientResult, Report

__all__ = [
    "Classification",
    "Explained",
    "OriginalMessage",
    "Ours",
    "RecipientResult",
    "Report",
    "classify",
    "explain",
    "parse",
]
