"""How often something may run: five minutes at least, and longer than it takes."""

from __future__ import annotations

import math

from ..errors import InputRefused
from ..model.text import counted

LOWEST, RECOMMENDED, DAY = 5, 15, 24 * 60
"""Minutes between two runs: at least, as recommended, and of what runs once a day."""


def too_short(label: str, minutes: float, seconds: float | None) -> str:
    """The warning for an interval that is shorter than a run took; empty for one that is not.

    >>> too_short("Auto-Vacuum", 5, 60), too_short("Auto-Vacuum", 5, 700)[-37:]
    ('', 'Let it run every 15 minutes or rarer.')
    """
    if seconds is None or seconds <= minutes * 60:
        return ""
    better = max(math.ceil(seconds / 60 / RECOMMENDED) * RECOMMENDED, RECOMMENDED)
    return (
        f"{label} runs every {counted(int(minutes), 'minute')}, and its last run took {seconds / 60:.1f} minutes: "
        f"not all mail may be processed, and the job may time out. Let it run every {better} minutes or rarer."
    )


def checked_minutes(label: str, minutes: int) -> int:
    """An interval that may be. Raises :class:`InputRefused`."""
    if not LOWEST <= minutes <= DAY:
        raise InputRefused(
            f"{label} cannot run every {counted(minutes, 'minute')}.",
            code="job.too_often" if minutes < LOWEST else "input.job",
            facts={"minutes": minutes, "lowest": LOWEST, "longest": DAY},
            fix=f"Give {LOWEST} minutes or more, at most a day; {RECOMMENDED} are recommended.",
        )
    return minutes
