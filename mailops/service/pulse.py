"""Whether the work of a process moves, seen from a thread of its own: where each thread stands, compared over time.

A heartbeat from a thread that only beats says nothing of the work. Here a thread counts as standing while it is at the
same instruction of the same calls and has used no time of the processor: one that waits in a loop moves, one that is
stuck in a lock, a disk or a sleep does not. (One that spins for ever moves, too: nothing is said of that.)
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType


@dataclass(frozen=True, slots=True)
class Standing:
    """A thread that stands still: for how many seconds, and whether it waits for the other side of a connection."""

    name: str
    seconds: float
    on_wire: bool


class Pulse:
    """Watches the threads of this process that run code of mailops, but the one that asks. ``now`` counts seconds."""

    def __init__(self, now: Callable[[], float], *, wire: tuple[str, ...] = ("mailops.smtp.",)) -> None:
        self._now = now
        self._wire = wire
        self._stood: dict[int, tuple[object, float]] = {}

    def look(self) -> list[Standing]:
        """The threads as they stand now; one that moved since the last look stands for 0 seconds."""
        now, here = self._now(), threading.get_ident()
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        seen: dict[int, tuple[object, float]] = {}
        found = []
        for number, frame in sys._current_frames().items():
            calls = list(_calls(frame))
            modules = [str(call.f_globals.get("__name__", "")) for call in calls]
            if number == here or not any(name.startswith("mailops.") for name in modules):
                continue
            place = (tuple((id(call), call.f_lasti) for call in calls), _used(number))
            before = self._stood.get(number)
            since = before[1] if before is not None and before[0] == place else now
            seen[number] = (place, since)
            on_wire = any(name.startswith(self._wire) for name in modules)
            found.append(Standing(names.get(number, str(number)), now - since, on_wire))
        self._stood = seen
        return found


def none_moves(threads: list[Standing], *, silence: float, wire: float) -> str:
    """For work that its threads share: why it stands, or nothing where one of them moves or waits for a server that
    still has time to answer."""
    if not threads or any(t.seconds < (max(wire, silence) if t.on_wire else silence) for t in threads):
        return ""
    return _words(min(threads, key=lambda t: t.seconds))


def one_stands(threads: list[Standing], *, silence: float, wire: float = 0.0) -> str:
    """For work of which each thread has its own: which of them is stuck, or nothing. One that waits for a server may
    do so for ``wire`` seconds."""
    stuck = (t for t in threads if t.seconds >= (max(wire, silence) if t.on_wire else silence))
    return next((_words(t) for t in stuck), "")


def _words(thread: Standing) -> str:
    return f"its work stands still for {thread.seconds:.0f} s (thread {thread.name})"


def _used(number: int) -> int:
    """Nanoseconds of the processor that a thread used; 0 where the system does not tell (macOS)."""
    clock_of = getattr(time, "pthread_getcpuclockid", None)
    return time.clock_gettime_ns(clock_of(number)) if clock_of is not None else 0


def _calls(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
