"""Checks of what programs hand over: a login whose mail is refused, or takes long; reports that wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ..model.text import counted
from ..model.verdict import Verdict, VerdictState

ENOUGH = 20
"""Recipients below which a share says nothing."""


def refused(rows: Sequence[Mapping[str, Any]], *, limit: float, now: datetime) -> Verdict:
    """No login has more than this share of its recipients refused; ``rows`` are those of ``Analysis.relay``."""
    bad = [
        f"{row['login']}: {row['refused']:,} of {row['recipients']:,}"
        for row in rows
        if row["recipients"] >= ENOUGH and row["refused"] > limit * row["recipients"]
    ]
    return Verdict(
        check="relay.refused",
        subject="programs",
        state=VerdictState.SKIPPED if not rows else VerdictState.FAILED if bad else VerdictState.PASSED,
        title="A program writes to many who do not get it" if bad else "No program writes to many who do not get it",
        found="; ".join(bad) or counted(len(rows), "login"),
        expected=f"at most {limit:.0%} of a login's recipients refused",
        fix="Look at the causes: mailops queue list --login NAME --state failed; clean the program's list.",
        code="relay.refused" if bad else "",
        at=now,
    )


def slow(rows: Sequence[Mapping[str, Any]], *, seconds: float, now: datetime) -> Verdict:
    """Nearly all mail of each login leaves within this time."""
    bad = [f"{row['login']}: {row['p95']:.0f} s" for row in rows if row["timed"] and row["p95"] > seconds]
    return Verdict(
        check="relay.slow",
        subject="programs",
        state=VerdictState.SKIPPED if not rows else VerdictState.WARNING if bad else VerdictState.PASSED,
        title="Mail of a program takes long" if bad else "Mail of every program leaves soon",
        found="; ".join(bad) or counted(len(rows), "login"),
        expected=f"19 of 20 mails gone within {seconds:.0f} s",
        fix="Look whether a server defers or is slow: mailops queue status, mailops server test.",
        code="relay.slow" if bad else "",
        at=now,
    )


def untold(counts: Mapping[str, int], *, now: datetime) -> Verdict:
    """No report to a submitter waits; ``counts`` are those of ``Reports.counts``."""
    due = counts.get("due", 0)
    return Verdict(
        check="relay.untold",
        subject="reports",
        state=VerdictState.WARNING if due else VerdictState.PASSED,
        title="Submitters are not told yet" if due else "Submitters know what did not arrive",
        found=f"{due:,} due, {counts.get('told', 0):,} told, {counts.get('withheld', 0):,} withheld",
        expected="none due for long: the queue's runs tell them",
        fix="Run the queue (mailops queue run); more than reports_per_hour to one address wait.",
        code="relay.untold" if due else "",
        at=now,
    )
