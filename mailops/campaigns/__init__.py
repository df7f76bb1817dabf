"""Campaigns: one message to many, each person once, one campaign after the other.

``service`` is what the faces hold; ``feed`` hands recipients to the queue in portions, so that the queue's worker,
journal and ledger carry them; ``hearing`` keeps each recipient's row up to what became of the mail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .service import Campaigns
    from .values import Campaign, Status

__all__ = ["Campaign", "Campaigns", "Status"]
_HOMES = {"Campaign": "values", "Campaigns": "service", "Status": "values"}


def __getattr__(name: str) -> Any:  # loaded on first use: who only hears of mails writes none
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
