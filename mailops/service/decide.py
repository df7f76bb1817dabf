"""What is to be done about a child: pure functions that give the choice and its reason."""

from __future__ import annotations

from dataclasses import dataclass

FIRST, LONGEST = 0.2, 60.0
HOLD_AFTER = 5
"""Failures in a row of the queue's process from which on no mail is taken; of a vital one, until the whole ends."""
STEADY = 1.0
"""Seconds of work after which earlier failures are forgotten. The queue's are forgotten with a run."""
END_WITHIN = 5.0
"""Seconds between SIGTERM and SIGKILL for one that hangs, at most."""
STARTING = 60.0
"""Seconds that one may take to be ready, where it may be silent for less."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How a child stands, in seconds since. ``ending``: since it was told to end; ``due``: until it may be started."""

    alive: bool
    silent: float = 0.0
    ending: float | None = None
    due: float = 0.0
    failures: int = 0
    ready: bool = True
    stuck: str = ""
    """What it said of itself, where its work does not move."""


@dataclass(frozen=True, slots=True)
class Choice:
    """``action``: ``wait``, ``start``, ``end`` (SIGTERM), ``kill``, or ``give_up``."""

    action: str
    reason: str = ""


def choose(seen: Seen, *, silence: float, vital: bool = False) -> Choice:
    """What to do about a child now."""
    if not seen.alive:
        if vital and seen.failures >= HOLD_AFTER:
            return Choice("give_up", f"it ended {seen.failures} times in a row")
        if seen.due > 0:
            return Choice("wait", f"started again in {seen.due:.1f} s")
        return Choice("start")
    if seen.ending is not None:
        if seen.ending >= min(END_WITHIN, silence):
            return Choice("kill", "it did not end when told to")
        return Choice("wait", "it was told to end")
    if seen.stuck:
        return Choice("end", seen.stuck)
    if seen.silent >= (silence if seen.ready else max(silence, STARTING)):
        return Choice("end", f"no heartbeat for {seen.silent:.0f} s")
    return Choice("wait")


def pause(failures: int) -> float:
    """Seconds until the next start after so many failures in a row: they double, to a minute."""
    return float(min(FIRST * 2 ** min(max(failures, 1) - 1, 30), LONGEST))


def counted(failures: int, *, vital: bool, worked: bool, by_signal: bool) -> int:
    """Failures in a row with one more. A vital service that worked and was ended from outside can be kept up, however
    often that happens: what counts for giving up is that it cannot begin, or ends by itself."""
    return max(failures, 1) if vital and worked and by_signal else failures + 1


def ended_how(status: int) -> str:
    """A wait status (os.waitpid) in words."""
    import os
    import signal

    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return f"it was ended by {signal.Signals(number).name}"
        except ValueError:
            return f"it was ended by signal {number}"
    return f"it ended by itself with status {os.waitstatus_to_exitcode(status)}"
