"""Reading bounces, complaints and automatic replies; a library of its own, standard library only.

``parse(raw)`` reads one message and never raises; ``classify(...)`` says why a server refused, for live replies and for
reports. See ``docs/bounces.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .reading import Classification, OriginalMessage, Ours, RecipientResult, Report, classify, parse

__all__ = ["Classification", "OriginalMessage", "Ours", "RecipientResult", "Report", "classify", "parse"]


def __getattr__(name: str) -> Any:  # loaded on first use: the rules of reading are large, and who counts needs none
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import reading

    return getattr(reading, name)
