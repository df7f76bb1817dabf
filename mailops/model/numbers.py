"""Numbers that people give: how large each kind may be. One table by name, so that every face refuses alike.

A span is bounded by a century, so that no date made of it is beyond the calendar; what counts rows by the integer of
SQL databases (32 bits), a row's number by the 64 bits that SQLite and PostgreSQL store.
"""

from __future__ import annotations

import math

from ..errors import InputRefused

_CENTURY = 36_525  # days
_COUNT, _ROW = 2**31 - 1, 2**63 - 1
BOUNDS: dict[str, tuple[int, int]] = {
    "days": (0, _CENTURY),
    "hours": (0, _CENTURY * 24),
    "minutes": (0, _CENTURY * 1440),
    "seconds": (0, _CENTURY * 86_400),
    "port": (0, 65_535),
    "priority": (-_COUNT, _COUNT),
    "count": (0, _COUNT),
    "row": (0, _ROW),
}
"""Kind → the least and the most."""


def within(name: str, value: float, kind: str) -> float:
    """The number, where it is one of its kind (a key of :data:`BOUNDS`). Raises :class:`InputRefused`
    ``input.out_of_range`` for one that is smaller, larger, or none (nan)."""
    low, high = BOUNDS[kind]
    if math.isnan(value) or not low <= value <= high:
        raise refused(name, value, low, high)
    return value


def refused(name: str, value: object, low: int = 0, high: int = _ROW) -> InputRefused:
    """The error for a number that cannot be used."""
    return InputRefused(
        f"{name} cannot be {str(value)[:40]}.",
        code="input.out_of_range",
        facts={"what": name, "given": str(value)[:40]},
        fix=f"Give a number from {low:,} to {high:,}.",
    )
