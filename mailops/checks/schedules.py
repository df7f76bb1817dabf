"""Checks of what runs by itself: did each begin when it was to, and is its interval longer than it takes?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ..model.text import counted
from ..model.verdict import Verdict, VerdictState

if TYPE_CHECKING:
    from ..jobs.deadman import Watch
    from ..jobs.scheduled import ScheduledAction


def running(found: Watch) -> Verdict:
    """Everything that runs by itself began when it was to, and ended."""
    silent = [one.words for one in found.watched if one.silent]
    return Verdict(
        check="schedules.running",
        subject="scheduled jobs",
        state=VerdictState.FAILED if silent else VerdictState.PASSED,
        title="Something that runs by itself is silent" if silent else "What runs by itself runs",
        found=" ".join(silent) or counted(len(found.watched), "scheduled job"),
        expected="begun when it was to, and ended",
        fix="Start mailops serve, or put timers in place: mailops jobs export systemd.",
        code="schedules.silent" if silent else "",
        at=found.at,
    )


def long_enough(actions: Sequence[ScheduledAction], *, now: datetime) -> Verdict:
    """No interval is shorter than the last run took."""
    short = [one.warning for one in actions if one.warning]
    return Verdict(
        check="schedules.interval",
        subject="scheduled actions",
        state=VerdictState.WARNING if short else VerdictState.PASSED,
        title="An interval is shorter than a run" if short else "Intervals are longer than runs",
        found=" ".join(short) or counted(len(actions), "scheduled action"),
        expected="an interval longer than the last run took",
        fix="Let it run rarer: mailops jobs action every KEY MINUTES.",
        code="schedules.short" if short else "",
        at=now,
    )
