"""The service for what has its time: *Auto-Vacuum* here (a job of each day is a line in :data:`JOBS`), fetching of mail
and notebooks as processes of their own (:mod:`.tasks`).

When a job last ran stands in ``schedule.json``: one whose time passed while nothing ran is made up for at the start.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from ..errors import MailopsError
from ..model.running import SCHEDULE, last_runs
from ..platforms import new_file
from .link import Link
from .pulse import Pulse, none_moves
from .tasks import Tasks

if TYPE_CHECKING:
    from ..ops import Ops
    from ..settings import ServeSection

log = logging.getLogger(__name__)
AGAIN = timedelta(minutes=15)
"""Until a job that failed is tried again."""


def _vacuum(ops: Ops) -> str:
    done = ops.vacuum()
    ended = sum(done.retention.values())
    return f"{done.removed} old sent mails removed, {ended} rows ended"


JOBS: dict[str, tuple[Callable[[ServeSection], str], Callable[[Ops], str]]] = {
    "auto_vacuum": (lambda settings: settings.vacuum_at, _vacuum),
}
"""Name → (which setting says when, what is done, told in words)."""


def next_time(at: str, last: datetime | None, now: datetime) -> datetime:
    """When a daily job is due (``at``: HH:MM, UTC) that ran last then, or never: at once when a day's run was missed.

    >>> next_time("03:30", None, datetime(2026, 5, 2, 3, 0, tzinfo=UTC)).isoformat()
    '2026-05-02T03:00:00+00:00'
    >>> next_time("03:30", datetime(2026, 5, 1, 3, 30, tzinfo=UTC), datetime(2026, 5, 2, 3, 0, tzinfo=UTC)).isoformat()
    '2026-05-02T03:30:00+00:00'
    """
    if last is None or last > now:  # never, or by a clock that was ahead
        return now
    hour, minute = (int(part) for part in at.split(":"))
    due = datetime.combine(last.astimezone(UTC).date(), time(hour, minute, tzinfo=UTC))
    while due <= last:
        due += timedelta(days=1)
    return max(due, now)


def schedule(link: Link) -> None:
    """The child process that does what is due."""
    ops = link.open_ops()
    jobs = _Jobs(ops)
    link.ready()
    pulse = Pulse(ops.clock.monotonic)
    while not link.stopping:
        if link.take_reload():
            with suppress(MailopsError):
                jobs.ops = link.open_ops()
        thread = threading.Thread(target=jobs.run, name="schedule", daemon=True)
        thread.start()
        while thread.is_alive() and not link.stopping:
            link.wait(0.2, lambda: none_moves(pulse.look(), silence=link.silence, wire=link.silence))
        link.wait(20.0)
    thread.join(ops.workspace.settings.serve.grace)  # a job's statement may be ended at any point
    jobs.tasks.stop(ops.workspace.settings.serve.grace)


class _Jobs:
    """The jobs with their times."""

    def __init__(self, ops: Ops) -> None:
        self.ops = ops
        self.tasks = Tasks()
        self._not_before: dict[str, datetime] = {}

    def run(self) -> None:
        """Do what is due, and start what is due as a process."""
        self.run_due()
        try:
            self.tasks.look(self.ops)
        except Exception:
            log.exception("what is to be started cannot be looked at")

    def run_due(self) -> None:
        """Do what is due; what fails is told and tried again later."""
        now = self.ops.clock.now()
        last = last_runs(self.ops.workspace.path)
        for name, (when, work) in JOBS.items():
            due = next_time(when(self.ops.workspace.settings.serve), last.get(name), now)
            if due > now or self._not_before.get(name, now) > now:
                continue
            try:
                log.info("%s: %s", name, work(self.ops))
            except Exception as error:
                self._not_before[name] = now + AGAIN
                told = error.message if isinstance(error, MailopsError) else type(error).__name__
                log.error("%s failed and is tried again in 15 minutes: %s", name, told, exc_info=True)
                continue
            self._keep({**last, name: now})

    def _keep(self, last: dict[str, datetime]) -> None:
        with suppress(OSError), new_file(self.ops.workspace.path / SCHEDULE, encoding="utf-8") as file:
            json.dump({name: at.isoformat() for name, at in last.items()}, file)
