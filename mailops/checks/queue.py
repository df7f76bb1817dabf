"""Checks of the queue: is mail waiting too long, does too much of it fail, does the plan of servers hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ..model.states import MailState
from ..model.text import counted
from ..model.verdict import Finding, Severity, Verdict, VerdictState

if TYPE_CHECKING:
    from ..queue.view import QueueHealth


def waiting(health: QueueHealth, *, now: datetime, limit: timedelta) -> Verdict:
    """No *Outgoing* mail that is due waits longer than ``limit``."""
    oldest = health.oldest
    count = health.counts[MailState.OUTGOING]
    age = now - oldest if oldest else timedelta(0)
    late = bool(oldest) and age > limit
    return Verdict(
        check="queue.waiting",
        subject="mails in state Outgoing",
        state=VerdictState.FAILED if late else VerdictState.PASSED,
        title="Mail leaves in time" if not late else f"Mail has been waiting for {_hours(age)}",
        found=f"{count} waiting, {health.due_words} due now"
        + (f"; the oldest since {oldest:%Y-%m-%d %H:%M} UTC" if oldest else ""),
        expected=f"Nothing waits longer than {_hours(limit)}.",
        fix="Run the queue job (mailops queue run). If they stay, look at their reasons in the queue notebook: "
        "a server that does not answer, or one that puts you off.",
        code="queue.waiting_too_long" if late else "",
        evidence={"outgoing": count, "due": health.due, "held": health.held, "oldest": oldest},
        at=now,
    )


def failures(
    counts: Mapping[MailState, int],
    causes: Sequence[tuple[str, str, int]],
    *,
    now: datetime,
    limit: int,
    partly: int = 0,
) -> Verdict:
    """At most ``limit`` mails stand in *Delivery Failed*, the ``partly`` sent ones with them."""
    failed = counts[MailState.FAILED] + partly
    bad = failed > limit
    top = "; ".join(f"{n} × {reason} at {domain}" for reason, domain, n in causes[:3])
    return Verdict(
        check="queue.failures",
        subject="mails in state Delivery Failed",
        state=VerdictState.FAILED if bad else VerdictState.PASSED,
        title=f"{counted(failed, 'mail')} failed" if failed else "No mail failed",
        found=f"{failed} in Delivery Failed"
        + (f", {partly} of them sent to others" if partly else "")
        + (f" ({top})" if top and failed else ""),
        expected=f"At most {limit}.",
        fix="Open the queue notebook, group by cause, mend the cause, then Retry those mails or Cancel them.",
        code="queue.too_many_failures" if bad else "",
        evidence={"failed": failed, "limit": limit, "causes": [list(c) for c in causes[:10]]},
        at=now,
    )


def plan(findings: Sequence[Finding], *, now: datetime) -> Verdict:
    """The plan of outgoing servers holds against the rules; blocking findings and errors fail it, warnings warn."""
    grave = [f for f in findings if f.severity in (Severity.BLOCKING, Severity.ERROR)]
    mild = [f for f in findings if f.severity is Severity.WARNING]
    state = VerdictState.FAILED if grave else VerdictState.WARNING if mild else VerdictState.PASSED
    worst = next(iter(grave or mild), None)
    return Verdict(
        check="servers.plan",
        subject="the plan of outgoing servers",
        state=state,
        title="The server plan holds"
        if state is VerdictState.PASSED
        else f"Findings in the server plan: {len(grave) + len(mild)}",
        found="\n".join(f"{f.severity.value}: {f.message}" for f in findings) or "no findings",
        expected="Every sender has a server that may carry it, and the fallback is the notification address.",
        fix=worst.fix if worst else "",
        code=worst.code if worst else "",
        evidence={"findings": [{"code": f.code, "facts": f.facts} for f in findings]},
        at=now,
    )


def _hours(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    if minutes < 120:
        return counted(minutes, "minute")
    return f"{minutes / 60:.0f} hours" if minutes < 2880 else f"{minutes / 1440:.0f} days"
