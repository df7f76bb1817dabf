"""Scheduled notebooks: what a job is, and which of its instants are due. Nothing in here runs anything.

A job's run is known by the job and the instant (UTC, whole seconds) it was due at. Both stand in the run's id, the key
of the run history, so an instant runs once, whoever looks and however often: after a restart, from two timers, from
two machines on one database.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ..errors import InputRefused
from ..model.text import counted
from ..model.zones import zone_of
from . import cron
from .often import LOWEST

MISSED = ("one", "all", "none")
FACTS = ("submitted", "sent", "deferred", "failed", "unknown", "barred", "bounced", "complained", "reported")
"""The kinds of fact a job can wait for."""
LATE = timedelta(minutes=10)
"""What of the past is still on time: a timer looks once in a while."""
BACK = timedelta(days=32)
"""How far back missed instants are looked for."""
MOST = 100
"""Missed instants that are made up for in one go."""
SHORTEST = timedelta(minutes=LOWEST)
"""The lowest interval of a job (CRON-04)."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_EVERY = re.compile(r"(\d{1,4})\s*([mhdw])")
HAND = "h"
"""Behind the job's key in the id of a run by hand."""
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


@dataclass(frozen=True, slots=True)
class Job:
    """A notebook with parameters and when it runs: one of ``every`` (``15m``, ``1d``), ``cron`` (in ``zone``), ``on``
    (a kind of fact). ``missed``: what becomes of instants nobody was there for: ``one`` run for all of them, ``all``,
    or ``none``. ``retries``: further tries where another one may end better. ``timeout`` in seconds.
    ``mail_to``: who gets each run as a letter (:mod:`.letter`). ``dst``: what ``cron`` makes of a time that the clock
    jumps over or shows twice (:mod:`.cron`): ``once``, ``both`` or ``skip``."""

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
    dst: str = "once"

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

    def run_id(self, slot: datetime, attempt: int = 1, *, by_hand: bool = False) -> str:
        """The id of the run that is due at an instant; ``attempt`` from 1. One ``by_hand`` is nobody's slot."""
        more = f"-{attempt}" if attempt > 1 else ""
        return f"{slot.astimezone(UTC):%Y%m%dT%H%M%SZ}-{self.key}{HAND if by_hand else ''}{more}"


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
    if job.dst not in cron.POLICIES:
        raise _refused("policy for daylight saving", str(job.dst), f"Use one of: {', '.join(cron.POLICIES)}.")
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


def often_enough(job: Job) -> Job:
    """The job, unless it would run more often than every :data:`SHORTEST`. Raises :class:`InputRefused`."""
    found = span(job.every) if job.every else cron.tightest(cron.parse(job.cron)) if job.cron else SHORTEST
    if found < SHORTEST:
        least, minutes = SHORTEST // timedelta(minutes=1), found // timedelta(minutes=1)
        raise InputRefused(
            f"A job runs every {counted(least, 'minute')} at most, and this one would after {minutes}.",
            code="job.too_often",
            facts={"minutes": minutes, "lowest": least, "schedule": job.every or job.cron},
            fix="Give 5 minutes or more; 15 are recommended.",
        )
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
    found = cron.runs(job.cron, zone=job.zone, first=first_day, until=end_day, dst=job.dst)
    return [at.astimezone(UTC) for at in found if after < at <= until]


def due(job: Job, had: Collection[datetime], now: datetime, newest: datetime | None = None) -> Due:
    """What a job is to run for now. ``had``: the instants that have their run; ``newest``: of the newest fact it waits
    for. An instant ahead of ``now`` that has its run was had by a clock that was ahead: it is not run again when its
    time comes, and keeps nothing back until then."""
    last = max((at for at in had if at <= now), default=None)
    if job.on:
        at = newest.replace(microsecond=0) if newest is not None else None
        if at is None or at <= (last or job.created_at) or at in had:
            return Due((), (), f"No new fact of the kind {job.on}.")
        return Due((at,), (), f"A new fact of the kind {job.on}.")
    found = instants(job, last or job.created_at, now)
    if not found:
        ahead = any(at > now for at in had)
        return Due((), (), "The clock was set back; nothing runs twice." if ahead else "Not due yet.")
    if job.missed == "all":
        return Due(tuple(found[-MOST:]), tuple(found[:-MOST]), f"{len(found)} due.")
    if job.missed == "none":
        on_time = tuple(at for at in found if now - at <= LATE)[-1:]
        dropped = tuple(at for at in found if at not in on_time)
        return Due(on_time, dropped, "Due." if on_time else "Missed, and not to be made up for.")
    return Due(
        tuple(found[-1:]), tuple(found[:-1]), "Due." if len(found) == 1 else f"One run for {len(found)} instants."
    )
