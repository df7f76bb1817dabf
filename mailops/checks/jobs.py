"""Checks of scheduled notebooks, and of all workspaces below a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ..model.text import counted
from ..model.verdict import Verdict, VerdictState


def jobs(last: Mapping[str, Any], *, now: datetime) -> Verdict:
    """No scheduled notebook ended badly. ``last``: job → its last run that has ended (None: it never ran)."""
    ran = {name: run for name, run in last.items() if run is not None}
    bad = {name: run for name, run in ran.items() if run.status != "passed"}
    title = f"{counted(len(bad), 'job')} of {len(last)} ended badly" if bad else "Every job passed"
    return Verdict(
        check="jobs",
        subject="scheduled notebooks",
        state=VerdictState.FAILED if bad else VerdictState.PASSED if ran else VerdictState.SKIPPED,
        title=title if ran else "No job has run yet" if last else "Nothing is scheduled",
        found="\n".join(f"{name}: {run.status}" for name, run in bad.items()),
        expected="Each job's last run passed",
        fix="Look at the run: mailops jobs history NAME, then mailops jobs show RUN.",
        code="jobs.failed" if bad else "",
        evidence={"runs": {name: run.id for name, run in bad.items()}},
        at=now,
    )


def fleet(found: Sequence[Any], *, what: str, now: datetime) -> Verdict:
    """Every workspace below a folder is well (:class:`mailops.jobs.fleet.Member`); ``what`` was looked at."""
    bad = [one for one in found if one.verdict != "ok"]
    worst = any(one.verdict == "error" for one in bad)
    return Verdict(
        check=f"fleet.{what}",
        subject=counted(len(found), "workspace"),
        state=VerdictState.FAILED if worst else VerdictState.WARNING if bad else VerdictState.PASSED,
        title=f"{len(bad)} of {counted(len(found), 'workspace')} {'needs' if len(bad) == 1 else 'need'} a look"
        if bad
        else "Every workspace is well",
        found="\n".join(f"{one.name}: {one.said}" for one in bad[:20]),
        expected="Each is well",
        fix="Open the workspace named, with -w FOLDER/NAME.",
        code=f"fleet.{what}" if bad else "",
        evidence={"workspaces": [one.name for one in bad]},
        at=now,
    )
