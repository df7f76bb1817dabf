"""Checks of what logs tell: whether a mail that was asked for arrived, and whether its way is known to its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from ..logs.trace import Journey
from ..model.text import counted
from ..model.verdict import Verdict, VerdictState

SHOWN = 5


def arrived(asked: str, journeys: Sequence[Journey], *, now: datetime) -> Verdict:
    """No recipient of the mails that were found was refused or still waits."""
    ways = Counter(path.state for one in journeys for path in one.paths)
    bad = [
        f"{one.message_id or 'a mail'} to {path.recipient}: {path.says}"
        for one in journeys
        for path in one.paths
        if path.state in ("refused", "waiting", "lost", "stopped")
    ]
    state = VerdictState.PASSED
    if not journeys:
        state = VerdictState.SKIPPED
    elif ways["refused"]:
        state = VerdictState.FAILED
    elif bad:
        state = VerdictState.WARNING
    return Verdict(
        check="trace.arrived",
        subject=asked or "nothing asked",
        state=state,
        title="Mail did not arrive"
        if bad
        else "The mail was taken over by the next server"
        if journeys
        else "No mail found",
        found="; ".join(bad[:SHOWN])
        or f"{counted(len(journeys), 'mail')}, {ways['held']} taken over, {ways['delivered']} delivered",
        expected="every recipient's copy taken over or delivered",
        fix="Open the mail above: the text to send to whoever has it next stands below its steps.",
        code="trace.arrived" if bad else "",
        at=now,
    )


def joined(asked: str, journeys: Sequence[Journey], *, now: datetime) -> Verdict:
    """The way of each mail is in the logs from its beginning to its end."""
    loose = [line for one in journeys for line in one.unjoined]
    return Verdict(
        check="trace.joined",
        subject=asked or "nothing asked",
        state=VerdictState.SKIPPED if not journeys else VerdictState.WARNING if loose else VerdictState.PASSED,
        title="Part of the way is in no log that was taken" if loose else "The whole way is known",
        found="; ".join(loose[:SHOWN]) or counted(len(journeys), "mail"),
        expected="the beginning and the end of each stay in a queue",
        fix="Take the logs of the days around it: mailops logs take PATH; they may be taken in any order.",
        code="trace.joined" if loose else "",
        at=now,
    )
