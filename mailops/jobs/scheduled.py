"""Scheduled actions: what runs by itself for mail, how often, when next, and whether that is often enough.

::

    Mail: Email Queue Manager       every queue.interval_minutes (60; 15 recommended; 5 at least)
    Mail: Fetchmail Service         every 5 minutes, or as the set-up says
    Mail Marketing: Process queue   once a day, triggered early by a campaign; part of the queue job
    Auto-Vacuum                     once a day

A run is measured where it is made (:func:`mailops.queue.job.begins`): an interval that is shorter than the last run is
warned of, with both figures.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ..campaigns.values import JOB as CAMPAIGNS
from ..errors import NotFound, StateConflict
from ..inbound.fetch import JOB as FETCH
from ..queue.service import JOB as QUEUE
from ..queue.vacuum import JOB as VACUUM
from ..store.setup import READINESS, parameter
from .often import DAY, LOWEST, checked_minutes

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

PATH = ("Settings", "Technical", "Automation: Scheduled Actions")
"""Where they are edited in Odoo, in developer mode."""
DEFAULTS = {"queue": 60, "fetch": 5, "campaigns": DAY, "vacuum": DAY}
LABELS = {"queue": QUEUE, "fetch": FETCH, "campaigns": CAMPAIGNS, "vacuum": VACUUM}
BY_HAND = "Running a scheduled action by hand is generally not recommended: what is urgent leaves without it."
CHANGING = "Changing how often a scheduled action runs is generally not recommended."


@dataclass(frozen=True, slots=True)
class ScheduledAction:
    """One of them. ``minutes`` between two runs (``usual`` by default, ``lowest`` at least), ``took`` seconds of the
    last run that was measured, ``warning`` where that is longer, ``fixed`` why its interval cannot be changed."""

    key: str
    label: str
    minutes: int
    usual: int
    last_at: datetime | None
    next_at: datetime | None
    took: float | None
    warning: str = ""
    fixed: str = ""
    lowest: int = LOWEST
    recommended: int | None = None
    path: str = " → ".join(PATH)


def fetch_minutes(engine: Engine) -> int:
    """Minutes between two fetches: as the set-up says, else 5."""
    return int(json.loads(parameter(engine, READINESS) or "{}").get("fetch_minutes") or DEFAULTS["fetch"])


class ScheduledActions:
    """The scheduled actions of a workspace. ``look`` says how each stands, ``put`` changes an interval, ``work`` runs
    one, each by its key."""

    def __init__(
        self,
        look: Callable[[], Mapping[str, ScheduledAction]],
        put: Mapping[str, Callable[[int], None]],
        work: Mapping[str, Callable[[], str]],
    ) -> None:
        self._look, self._put, self._work = look, put, work

    def all(self) -> tuple[ScheduledAction, ...]:
        """Each with its interval, last and next run, and the warning where its interval is too short."""
        return tuple(self._look().values())

    def get(self, key: str) -> ScheduledAction:
        """One of them. Raises :class:`NotFound`."""
        found = self._look()
        if key not in found:
            raise NotFound(
                f"There is no scheduled action {key!r}.",
                code="job.no_action",
                facts={"given": key, "known": list(found)},
                fix="mailops jobs action list shows them.",
            )
        return found[key]

    def every(self, key: str, minutes: int) -> ScheduledAction:
        """Let one run every so many minutes, from the next start or reload of ``mailops serve`` on. Raises
        :class:`InputRefused` for less than five, :class:`StateConflict` for one whose interval is fixed."""
        there = self.get(key)
        if there.fixed:
            raise StateConflict(
                f"The interval of {there.label} is fixed.",
                code="job.fixed",
                facts={"action": key, "why": there.fixed},
                fix=f"Leave it: {there.fixed}.",
            )
        self._put[key](checked_minutes(there.label, minutes))
        return self.get(key)

    def run(self, key: str) -> str:
        """Run one now; what it did, in a sentence."""
        self.get(key)
        return self._work[key]()


def daily(last: datetime | None, at: str, now: datetime) -> datetime:
    """When what runs once a day at a time (HH:MM, UTC) is due next; at once where it never ran, or missed a day."""
    hour, minute = (int(part) for part in at.split(":"))
    due = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if last is not None and last > now - timedelta(days=1):
        return due if due > now else due + timedelta(days=1)
    return now
