"""What runs and how it goes: one function for ``mailops status``, the card, ``/healthz`` and ``/metrics``.

Health is one word. *well*: all that should run does. *worried*: it does, and somebody should look. *down*: a part does
not work, or mail is turned away. *stopped*: nothing runs here.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError, MailopsError
from ..model.running import STALE, STATE, WORKER_STATE, Listening, Running, is_alive, last_runs, read_running
from ..model.states import MailState
from ..model.text import counted, lasting
from ..model.verdict import Verdict, VerdictState

if TYPE_CHECKING:
    from ..ledger.workers import Load
    from ..queue.view import QueueHealth

WELL, WORRIED, DOWN, STOPPED = "well", "worried", "down", "stopped"
LATE = timedelta(hours=4)
MISSED = timedelta(hours=26)
"""Since a daily job ran last."""
RECENT = timedelta(minutes=5)
"""For how long a service that was started again is a reason to look."""


@dataclass(frozen=True, slots=True)
class Status:
    """How it stands. ``queue`` is None where the store cannot be read; ``oldest_seconds``: how long the
    longest-waiting mail waits; ``jobs``: when each daily job ran last."""

    health: str
    why: tuple[str, ...]
    at: datetime
    running: tuple[Running, ...]
    queue: QueueHealth | None
    oldest_seconds: float | None
    workers: tuple[Load, ...] = ()
    jobs: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 well or worried, 1 down, 3 stopped (as the LSB has it for a service that does not run)."""
        return {WELL: 0, WORRIED: 0, DOWN: 1, STOPPED: 3}[self.health]

    def rows(self, now: datetime) -> list[tuple[str, str, str, str, str, str, str]]:
        """A row for each service: whole, service, state, process, since, time since its heartbeat, last error."""
        return [
            (
                one.kind,
                s.name,
                ("works" if s.ready else "starts" if s.pid else "down")
                + (f", started again {s.restarts}×" if s.restarts else ""),
                str(s.pid or ""),
                f"{s.since:%Y-%m-%d %H:%M:%S}" if s.since else "",
                lasting((now - s.heard).total_seconds()) if s.heard else "",
                s.error,
            )
            for one in self.running
            for s in one.services
        ]


def status(
    folder: Path,
    *,
    now: datetime,
    queue: Callable[[], QueueHealth],
    workers: Callable[[], Sequence[Load]],
) -> Status:
    """Look at the workspace's services and its queue."""
    down: list[str] = []
    worried: list[str] = []
    running = [told for name in (STATE, WORKER_STATE) if (told := _living(folder, name, now, down))]
    for one in running:
        _judge(one, now, down, worried)
    health: QueueHealth | None = None
    loads: tuple[Load, ...] = ()
    try:
        health, loads = queue(), tuple(workers())
    except MailopsError as error:
        what = "the settings" if isinstance(error, ConfigError) else "the store"
        down.append(f"{what} cannot be read: {error.message} [{error.code}] What to do: {error.fix}")
    jobs = last_runs(folder)
    if any(one.kind == "serve" and now - one.since > RECENT for one in running):
        late = [name for name, at in jobs.items() if now - at > MISSED]
        worried += [f"{name} has not run since {jobs[name]:%Y-%m-%d %H:%M} UTC; the log says why" for name in late]
        if not jobs:
            worried.append("no daily job has run yet; the log says why")
    oldest = None
    if health is not None:
        oldest = max(0.0, (now - health.oldest).total_seconds()) if health.oldest else None
        if health.owed:
            worried.append(
                f"{counted(health.owed, 'fact is', 'facts are')} owed to threads, the suppression list or submitters"
            )
        if health.due and oldest is not None and oldest > LATE.total_seconds():
            worried.append(f"the oldest mail waits for {lasting(oldest)}")
    word = DOWN if down else STOPPED if not running else WORRIED if worried else WELL
    why = [*down, *worried]
    if not running and not down:
        why.insert(0, "neither mailops serve nor mailops worker runs in this workspace")
    return Status(word, tuple(why), now, tuple(running), health, oldest, loads, jobs)


def attended(folder: Path, now: datetime) -> bool:
    """Whether ``mailops serve`` or ``mailops worker`` attends this workspace's queue, as far as this machine tells."""
    for name in (STATE, WORKER_STATE):
        silent: list[str] = []
        if _living(folder, name, now, silent) is not None and not silent:
            return True
    return False


def listening(folder: Path, now: datetime) -> tuple[Listening, ...] | None:
    """The listeners for programs' mail of the ``mailops serve`` that runs in this workspace on this machine; none while
    its intake is down, None where none runs, or one that tells nothing of them."""
    told = _living(folder, STATE, now, [])
    if told is None or told.host != socket.gethostname() or (now - told.at).total_seconds() > STALE:
        return None
    up = any(s.name == "intake" and s.ready for s in told.services)
    return (tuple(one for one in told.listening if one.takes == "submission") or None) if up else ()


def _living(folder: Path, name: str, now: datetime, down: list[str]) -> Running | None:
    """What runs; one that died, or whose parent stands still, is a reason for *down*."""
    told = read_running(folder, name)
    if told is None:
        return None
    if told.host == socket.gethostname() and os.name == "posix" and not is_alive(told.pid):
        down.append(f"mailops {told.kind} (process {told.pid}) ended without being stopped; last heard of at {told.at}")
        return None
    if (now - told.at).total_seconds() > STALE:
        down.append(f"mailops {told.kind} (process {told.pid}) has said nothing since {told.at}")
    return told


def _judge(one: Running, now: datetime, down: list[str], worried: list[str]) -> None:
    for s in one.services:
        if not s.ready and s.failures:
            down.append(f"{s.name} is down, {s.failures} times in a row: {s.error}")
        elif not s.ready and now - one.since > RECENT:
            down.append(f"{s.name} has not come up")
        elif s.restarts and s.since is not None and now - s.since < RECENT:
            worried.append(f"{s.name} was started again at {s.since:%H:%M:%S} UTC: {s.error}")
    if one.failures:
        said = f"{one.failures} runs of the queue in a row failed: {one.words}"
        (down if one.holding else worried).append(said)
    if one.holding:
        down.append("mail is answered 451, as nothing can be sent")


def services(found: Status) -> Verdict:
    """The same as a verdict, for a card or a job."""
    state = {WELL: "passed", WORRIED: "warning", DOWN: "failed", STOPPED: "skipped"}[found.health]
    parts = [f"{kind} {name}: {how}" for kind, name, how, *_ in found.rows(found.at)]
    if found.queue is not None:
        waiting = counted(found.queue.counts[MailState.OUTGOING], "mail waits", "mails wait")
        parts.append(f"{waiting}, due now: {found.queue.due_words}")
    return Verdict(
        check="services.running",
        subject="mailops serve and mailops worker in this workspace",
        state=VerdictState(state),
        title={
            WELL: "All services work",
            WORRIED: "The services work, and somebody should look",
            DOWN: "A service does not work",
            STOPPED: "No service runs here",
        }[found.health],
        found="\n".join([*found.why, *parts]),
        expected="Every service works, and nothing is owed.",
        fix="mailops status shows each service with its last error; its log says more."
        if found.health != STOPPED
        else "Start mailops serve (mailops serve export writes the unit), or let a scheduler call mailops queue run.",
        code=f"services.{found.health}" if found.health != WELL else "",
        evidence={"services": [list(row) for row in found.rows(found.at)]},
        at=found.at,
    )
