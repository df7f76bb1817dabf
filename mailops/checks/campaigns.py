"""Checks of mail to many: whether the campaign at the head moves, and whether a server is held at its limit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from ..campaigns.values import Blocking
from ..model.text import counted
from ..model.verdict import Verdict, VerdictState
from ..queue.allowance import ServerLimits


def moving(found: Blocking, *, hours: float, now: datetime) -> Verdict:
    """The campaign at the head made progress within so many hours."""
    stuck = found.key is not None and (found.since is None or now - found.since > timedelta(hours=hours))
    return Verdict(
        check="campaigns.moving",
        subject=found.key or "campaigns",
        state=VerdictState.FAILED if stuck else VerdictState.PASSED,
        title="A campaign holds up the others" if stuck else "No campaign is stuck",
        found=found.sentence,
        expected=f"progress within {hours:g} h",
        fix=found.fix or "Nothing is to be done.",
        code="campaigns.stuck" if stuck else "",
        at=now,
    )


def held(servers: Sequence[ServerLimits], *, now: datetime) -> Verdict:
    """No server is held while mail waits for it."""
    bad = [f"{one.server}: {one.sentence}" for one in servers if one.held_until is not None and one.waiting]
    return Verdict(
        check="limits.held",
        subject="servers",
        state=VerdictState.WARNING if bad else VerdictState.PASSED,
        title="A server is held while mail waits for it" if bad else "No server is held at its limit",
        found=" ".join(bad) or counted(len(servers), "server"),
        expected="room within the limits for what waits",
        fix="Wait for it, spread the mail over more servers, or have the limit raised: mailops limits.",
        code="limits.held" if bad else "",
        at=now,
    )
