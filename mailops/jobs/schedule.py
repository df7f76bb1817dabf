"""Scheduled notebooks: what a job is, and which of its instants are due. Nothing in here runs anything.

A job's run is known by the job and the instant (UTC, whole seconds) it was due at. Both stand in the run's id, the key
of the run history, so an instant runs once, whoever looks and however often: after a restart, from two timers, from
two machines on one database.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ..errors import InputRefused
from ..model.zones import zone_of
from . import cron

MISSED = ("one", "all", "none")
FACTS = ("submitted", "sent", "deferred", "failed", "unknown", "barred", "bounced", "complained", "reported")
"""The kinds of fact a job can wait for."""
LATE = timedelta(minutes=10)
"""What of the past is still on time: a timer looks once in a while."""
BACK = timedelta(days=32)
"""How far back missed instants are looked for."""
MOST = 100
"""Missed instants that are made up for in one go."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_EVERY = re.compile(r"(\d{1,4})\s*([mhdw])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


@dataclass(frozen=True, slots=True)
class Job:
    """A notebook with parameters and when it runs: one of ``every`` (``15m``, ``1d``), ``cron`` (in ``zone``), ``on``
    (a kind of fact). ``missed``: what becomes of instants nobody was there for: ``one`` run for all of them, ``all``,
    or ``none``. ``retries``: further tries where another one may end better. ``timeout`` in seconds.
    ``mail_to``: who gets each run as a letter (:mod:`.letter`)."""

    name: str
    notebook: str
    created_at: datetime
    parameters: Mapping[str, Any] = field(default_factory=dict)
    every: str = ""
    cron: str = ""
    on: str = ""
    zone: str = "UTC"
    missed: str = "one"
    retries: int = 0
    timeout: float = 600.0
    mail_to: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Six digits that stand for the job in the ids of its runs; a job of the same name made anew has others."""
        return hashlib.sha256(f"{self.name} {self.created_at.isoformat()}".encode()).hexdigest()[:6]

    @property
    def when(self) -> str:
        """When it runs, in words."""
        if self.every:
            return f"every {self.every}"
        return f"at {self.cron} ({self.zone})" if self.cron else f"after each {self.on}"

    def run_id(self, slot: datetime, attempt: int = 1) -> str:
        """The id of the run that is due at an instant; ``attempt`` from 1."""
        return f"{slot.astimezone(UTC):%Y%m%dT%H%M%SZ}-{self.key}" + (f"-{attempt}" if attempt > 1 else "")


@dataclass(frozen=True, slots=True)
class Due:
    """The instants a job is to run for now, those that are let go, and why in a sentence."""

    slots: tuple[datetime, ...]
    dropped: tuple[datetime, ...]
    reason: str


def checked(job: Job) -> Job:
    """The job, if it can be kept. Raises :class:`InputRefused` with what would be right."""
    if not _NAME.fullmatch(job.name):
        raise _refused("name", job.name, "Use small letters, digits, - and _, at most 40.")
    given = [f"--{name} {value}" for name in ("every", "cron", "on") if (value := getattr(job, name))]
    if len(given) > 1:
        raise InputRefused(
            f"A job has one schedule, and {len(given)} were given: {' and '.join(given)[:200]}.",
            code="input.job",
            facts={"what": "schedule", "given": given},
            fix="Give one of --every, --cron and --on; for two schedules, add two jobs (--name).",
        )
    if not given:
        raise _refused("schedule", "", "Give one of --every, --cron and --on.")
    if job.missed not in MISSED:
        raise _refused("missed", job.missed, f"Use one of: {', '.join(MISSED)}.")
    if not 0 <= job.retries <= 10:
        raise _refused("retries", str(job.retries), "Use 0 to 10.")
    if not 0 < job.timeout <= 86_400:
        raise _refused("timeout", str(job.timeout), "Give seconds, at most a day.")
    if job.every:
        span(job.every)
    if job.cron:
        cron.parse(job.cron)
    if job.on and job.on not in FACTS:
        raise _refused("on", job.on, f"Use one of: {', '.join(FACTS)}.")
    zone_of(job.zone)
    return job


def _refused(what: str, given: str, hint: str) -> InputRefused:
    return InputRefused(
        f"The job's {what} cannot be {given[:60]!r}.", code="input.job", facts={"what": what, "given": given}, fix=hint
    )


def span(every: str) -> timedelta:
    """``15m``, ``6h``, ``1d``, ``2w`` as a time. Raises :class:`InputRefused`."""
    found = _EVERY.fullmatch(every.strip().lower())
    if found is None or not int(found[1]):
        raise _refused("interval", every, "Write a number and m, h, d or w: 15m, 6h, 1d.")
    return int(found[1]) * _UNITS[found[2]]


def instants(job: Job, after: datetime, until: datetime) -> list[datetime]:
    """When a job that follows the clock is due: later than ``after``, up to ``until`` (UTC), at most the last
    :data:`BACK`. An interval is counted from the job's making, so it is the same whoever asks."""
    after = max(after, job.created_at, until - BACK)
    if after >= until:
        return []
    if job.every:
        step = span(job.every)
        start = job.created_at.astimezone(UTC).replace(microsecond=0)
        first = (after - start) // step + 1
        last = (until - start) // step
        return [start + number * step for number in range(first, last + 1)]
    zone = zone_of(job.zone)
    first_day, end_day = after.astimezone(zone).date(), until.astimezone(zone).date() + timedelta(days=1)
    found = cron.runs(job.cron, zone=job.zone, first=first_day, until=end_day)
    return [at.astimezone(UTC) for at in found if after < at <= until]


def due(job: Job, last: datetime | None, now: datetime, newest: datetime | None = None) -> Due:
    """What a job is to run for now. ``last``: its last run's instant; ``newest``: of the newest fact it waits for."""
    if job.on:
        since = last or job.created_at
        if newest is None or newest.replace(microsecond=0) <= since:
            return Due((), (), f"No new fact of the kind {job.on}.")
        return Due((newest.replace(microsecond=0),), (), f"A new fact of the kind {job.on}.")
    found = instants(job, last or job.created_at, now)
    if not found:
        return Due(
            (), (), "Not due yet." if last is None or last <= now else "The clock was set back; nothing runs twice."
        )
    if job.missed == "all":
        return Due(tuple(found[-MOST:]), tuple(found[:-MOST]), f"{len(found)} due.")
    if job.missed == "none":
        on_time = tuple(at for at in found if now - at <= LATE)[-1:]
        dropped = tuple(at for at in found if at not in on_time)
        return Due(on_time, dropped, "Due." if on_time else "Missed, and not to be made up for.")
    return Due(
        tuple(found[-1:]), tuple(found[:-1]), "Due." if len(found) == 1 else f"One run for {len(found)} instants."
    )
