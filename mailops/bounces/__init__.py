"""Reading bounces, complaints and automatic replies; a library of its own, standard library only.

``parse(raw)`` reads one message and never raises; ``classify(...)`` says why a server refused, for live replies and for
reports. See ``docs/bounces.md``.
"""

from __future__ import annotations

from .reading.classify import Classification, classify
from .reading.ours import Ours
from .reading.reader import parse
from .reading.report import OriginalMessage, RecipientResult, Report

__all__ = ["Classification", "OriginalMessage", "Ours", "RecipientResult", "Report", "classify", "parse"]
