"""A clock that moves only when told: the :class:`mailops.ports.Clock` port for tests and what-if runs.

Two times are kept apart, as on a real machine: ``monotonic`` never jumps, the wall clock may (``jump``). ``sleep``
moves both and returns at once; with ``blocking=True`` it waits until another thread calls ``advance``.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

DEFAULT_START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


class ManualClock:
    """Time under control. ``start`` is the wall time (with zone); ``slept`` lists the seconds asked of ``sleep``.

    ``patience`` bounds, in real seconds, how long a blocking ``sleep`` waits for ``advance`` before it raises
    :class:`TimeoutError`: a test that forgot to advance fails instead of hanging.
    """

    def __init__(self, start: datetime = DEFAULT_START, *, blocking: bool = False, patience: float = 30.0) -> None:
        if start.tzinfo is None:
            raise ValueError("start needs a time zone")
        self._now = start.astimezone(UTC)
        self._monotonic = 0.0
        self._blocking = blocking
        self._patience = patience
        self._moved = threading.Condition()
        self._sleepers = 0
        self.slept: list[float] = []

    def now(self) -> datetime:
        """The wall time in UTC."""
        with self._moved:
            return self._now

    def monotonic(self) -> float:
        """Seconds since the clock was made; only ``advance`` and ``sleep`` move them."""
        with self._moved:
            return self._monotonic

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass: at once, or (blocking) when another thread has advanced that far."""
        if seconds < 0:
            raise ValueError(f"cannot sleep {seconds} seconds")
        with self._moved:
            self.slept.append(seconds)
            if not self._blocking:
                self._move(seconds)
                return
            due = self._monotonic + seconds
            self._sleepers += 1
            self._moved.notify_all()
            try:
                if not self._moved.wait_for(lambda: self._monotonic >= due, timeout=self._patience):
                    raise TimeoutError(f"nobody advanced the clock by {seconds} s within {self._patience} s")
            finally:
                self._sleepers -= 1

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        if seconds < 0:
            raise ValueError("time only moves forward; use jump() to set the wall clock back")
        with self._moved:
            self._move(seconds)

    def jump(self, seconds: float) -> None:
        """Move the wall clock only, forward or back, as a correction by NTP or a person does."""
        with self._moved:
            self._now += timedelta(seconds=seconds)

    def wait_for_sleepers(self, count: int = 1, timeout: float = 10.0) -> None:
        """Wait (real time) until ``count`` threads are inside a blocking ``sleep``; raises :class:`TimeoutError`."""
        with self._moved:
            if not self._moved.wait_for(lambda: self._sleepers >= count, timeout=timeout):
                raise TimeoutError(f"{self._sleepers} of {count} threads sleep on this clock")

    def _move(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds
        self._moved.notify_all()
