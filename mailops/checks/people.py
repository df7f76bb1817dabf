"""Checks of what is kept of people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from ..model.verdict import Verdict, VerdictState


def retention(overdue: Mapping[str, int], *, now: datetime) -> Verdict:
    """Nothing is kept longer than its kind; ``overdue`` are rows by kind that are (:meth:`mailops.Ops.overdue`)."""
    late = sum(overdue.values())
    return Verdict(
        check="people.retention",
        subject="retention",
        state=VerdictState.WARNING if late else VerdictState.PASSED,
        title="Something is kept longer than it should be" if late else "Nothing is kept longer than it should be",
        found=", ".join(f"{number} {kind}" for kind, number in overdue.items())
        or "nothing older than its kind is kept",
        expected="Auto-Vacuum ends each kind after its days",
        fix="Run Auto-Vacuum every day: mailops queue vacuum" if late else "",
        code="people.retention" if late else "",
        at=now,
    )
