"""Addresses that get no more campaigns, or no more mail at all: why, since when, and the way back.

``decide`` weighs an address's history (pure), ``service`` keeps the list, ``reread`` shows what a better rule changes,
``lists`` reads and writes CSV.
"""

from __future__ import annotations

from .decide import Policy, Trace, Weighed, weigh
from .service import Suppressions

__all__ = ["Policy", "Suppressions", "Trace", "Weighed", "weigh"]
