"""Whether mail works both ways: the readiness report as one verdict."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from ..model.verdict import Severity, Verdict, VerdictState

if TYPE_CHECKING:
    from ..routing.readiness import Readiness


def ready(report: Readiness, *, now: datetime) -> Verdict:
    """Passed when nothing is left to do; failed while something blocks; a warning while tasks are open."""
    grave = [f for f in report.findings if f.severity in (Severity.BLOCKING, Severity.ERROR)]
    state = VerdictState.FAILED if grave else VerdictState.PASSED if report.ready else VerdictState.WARNING
    first = next(iter(report.open_tasks), None)
    fix = grave[0].fix if grave else f"{first.title}. {first.text}" if first else ""
    return Verdict(
        check="setup.ready",
        subject="sending and receiving",
        state=state,
        title="Mail works both ways" if report.ready else report.why(),
        found="\n".join(f"{f.severity.value}: {f.message}" for f in report.findings) or "no findings",
        expected="Mail leaves, and answers reach the database.",
        fix=fix,
        code=grave[0].code if grave else "" if report.ready else "setup.tasks",
        evidence={"tasks": [{"id": t.id, "title": t.title, "done": t.done} for t in report.tasks]},
        at=now,
    )
