"""Addresses that get no more campaigns, or no more mail at all: why, since when, and the way back.

``decide`` weighs an address's history (pure), ``service`` keeps the list, ``reread`` shows what a better rule changes,
``lists`` reads and writes CSV.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .decide import Policy, Trace, Weighed, weigh
    from .service import Suppressions

__all__ = ["Policy", "Suppressions", "Trace", "Weighed", "weigh"]
_HOMES = {**dict.fromkeys(("Policy", "Trace", "Weighed", "weigh"), "decide"), "Suppressions": "service"}


def __getattr__(name: str) -> Any:  # loaded on first use: who reads the list needs none of it
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
