"""What the schedule starts as a process of its own: fetching of mail, and notebooks that are due.

Each is the command that a person would type, so it has the same locks, the same records and the same log; at most one
of each runs at a time. One that is cut off at a stop is settled by its next run.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from ..errors import MailopsError
from ..inbound.accounts import CONFIRMED
from ..jobs.scheduled import fetch_minutes

if TYPE_CHECKING:
    from ..ops import Ops

log = logging.getLogger(__name__)


def fetching_due(ops: Ops) -> bool:
    """Whether a confirmed mailbox was not looked at for the minutes that the set-up names."""
    limit = ops.clock.now() - timedelta(minutes=fetch_minutes(ops.engine))
    looked = [one.checked_at for one in ops.mailboxes.list() if one.state == CONFIRMED]
    return any(at is None or at <= limit for at in looked)


def notebooks_due(ops: Ops) -> bool:
    """Whether a job's time has come."""
    return ops.jobs.waiting()


TASKS: dict[str, tuple[Callable[[Ops], bool], tuple[str, ...]]] = {
    "fetch": (fetching_due, ("inbound", "fetch", "--json")),
    "jobs": (notebooks_due, ("jobs", "tick", "--json")),
}
"""Name → (whether it is due, the command)."""


class Tasks:
    """The tasks of one workspace that run now."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def look(self, ops: Ops) -> None:
        """Start what is due, and tell of what has ended. What cannot be asked is told, and asked again."""
        for name, (due, words) in TASKS.items():
            child = self._running.get(name)
            if child is not None:
                if child.poll() is None:
                    continue
                del self._running[name]
                level = logging.INFO if child.returncode in (0, 1) else logging.ERROR
                log.log(level, "%s ended with status %d", name, child.returncode)
            try:
                wanted = due(ops)
            except MailopsError as error:
                log.error("%s cannot be looked at: %s [%s]", name, error.message, error.code)
                continue
            if wanted:
                command = [sys.executable, "-m", "mailops", "-w", str(ops.workspace.path), *words]
                nothing = subprocess.DEVNULL
                self._running[name] = subprocess.Popen(command, stdin=nothing, stdout=nothing, start_new_session=True)

    def stop(self, grace: float) -> None:
        """End what runs: first asked, then made to."""
        for child in self._running.values():
            child.terminate()
        for child in self._running.values():
            try:
                child.wait(grace)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._running.clear()
