"""How a mailbox stands: whether it is looked at in time, whether it answers, and whether its mail has dried up. Pure.

Silence alone is no fault, so what is usual is learnt from the mailbox itself: the gap that nine of ten of its gaps did
not exceed. Nothing for :data:`TIMES` as long is worth a look; one that had few mails has nothing usual yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from ..model.text import counted, lasting
from ..model.verdict import Verdict, VerdictState
from .accounts import CONFIRMED, Account

TIMES = 5
LATE = 3
"""Pauses between two fetches after which a mailbox that was not looked at is late."""
ENOUGH = 20
LEAST = timedelta(hours=1)


def usual_gap(arrivals: Sequence[datetime]) -> timedelta | None:
    """The gap that nine of ten gaps between arrivals did not exceed; None where there were too few to say.

    >>> from datetime import UTC
    >>> usual_gap([datetime(2026, 5, 2, hour, tzinfo=UTC) for hour in range(22)])
    datetime.timedelta(seconds=3600)
    """
    when = sorted(arrivals)
    if len(when) <= ENOUGH:
        return None
    gaps = sorted(after - before for before, after in pairwise(when))
    return gaps[(9 * len(gaps) - 1) // 10]


def standing(account: Account, arrivals: Sequence[datetime], *, minutes: float, now: datetime) -> Verdict:
    """How a mailbox stands. ``arrivals``: when its latest mails came; ``minutes``: between two fetches."""

    def said(state: VerdictState, title: str, found: str, fix: str = "", code: str = "") -> Verdict:
        return Verdict(
            check="inbound.mailbox",
            subject=account.key,
            state=state,
            title=title,
            found=found,
            expected=f"Looked at every {minutes:g} minutes, without an error, and mail as usual",
            fix=fix,
            code=code,
            at=now,
        )

    if account.state != CONFIRMED:
        fix = f"mailops inbound account test {account.key}"
        return said(VerdictState.SKIPPED, "The mailbox is a draft", "It is not fetched from.", fix, "inbound.draft")
    if account.error:
        since = f" since {account.error_at:%Y-%m-%d %H:%M} UTC" if account.error_at else ""
        fix = f"Test it: mailops inbound account test {account.key}"
        return said(VerdictState.FAILED, "The mailbox fails", f"{account.error}{since}", fix, "inbound.mailbox_fails")
    if account.checked_at is None or now - account.checked_at > timedelta(minutes=LATE * minutes):
        ago = f"for {lasting((now - account.checked_at).total_seconds())}" if account.checked_at else "yet"
        fix = "See whether mailops serve runs (mailops status), or fetch: mailops inbound fetch"
        words = f"It was not looked at {ago}."
        return said(VerdictState.FAILED, "The mailbox is looked at too late", words, fix, "inbound.mailbox_late")
    usual, last = usual_gap(arrivals), max(arrivals, default=None)
    if usual is None or last is None:
        return said(VerdictState.PASSED, "The mailbox is looked at in time", f"{counted(len(arrivals), 'mail')} so far")
    silent = now - last
    words = (
        f"Nothing for {lasting(silent.total_seconds())}; usual are {lasting(max(usual.total_seconds(), 1.0))} at most"
    )
    if silent > max(TIMES * usual, LEAST):
        fix = "Send a mail round (mailops inbound probe); look at the mailbox, its rules and its MX or redirections."
        return said(VerdictState.WARNING, "The mailbox has gone silent", words, fix, "inbound.mailbox_silent")
    return said(VerdictState.PASSED, "The mailbox is looked at in time, and mail comes as usual", words)
