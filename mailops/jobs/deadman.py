"""The dead man's switch: *scheduled*, *started* and *finished* are three facts, and it says where one is missing.

A process of its own looks (``mailops jobs watch``, from another timer than the scheduler's, or another machine on the
same store). It shares nothing with who schedules: no process, no lock, no state, no road of telling. It reads what was
to run (``jobs.json``, the settings) and what did (the store), and tells by its own file and webhook, never by mail,
since mail may be the patient. What it cannot read is an alarm too. ``ping`` asks an address while all is well, so that
somebody outside hears when nobody looks any more.
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from ..errors import MailopsError
from ..inbound.accounts import CONFIRMED, Accounts
from ..inbound.fetch import JOB as FETCH
from ..model.running import last_runs
from ..model.text import counted
from ..model.zones import zone_of
from ..ports import Clock
from ..queue import job as queue_job
from ..queue.service import JOB as QUEUE
from ..queue.vacuum import JOB as VACUUM
from ..queue.view import health
from ..secrets import redact
from ..store.runs import list_runs, newest_fact
from ..workspace import JOBS, Workspace
from . import cron
from .schedule import BACK, HAND, Job, span
from .scheduled import fetch_minutes

FILE, LOG = "watch.json", "watch.jsonl"
AGAIN, HOUR, DAY = timedelta(days=1), timedelta(hours=1), timedelta(days=1)
SECONDS = 10.0
"""How long a webhook may take to answer."""
State = Literal["well", "not started", "not finished", "not known"]


@dataclass(frozen=True, slots=True)
class Watched:
    """What is known of something that runs by itself: when it was to begin last, began last, ended last (of that
    begin), and how it stands, in a word and a sentence."""

    name: str
    scheduled: datetime | None
    started: datetime | None
    finished: datetime | None
    state: State
    words: str

    @property
    def silent(self) -> bool:
        return self.state != "well"


@dataclass(frozen=True, slots=True)
class Watch:
    """A look at all of them. ``told`` by road: "" where it arrived, or why it did not."""

    at: datetime
    watched: tuple[Watched, ...]
    told: Mapping[str, str]

    @property
    def well(self) -> bool:
        return not any(one.silent for one in self.watched)


def judge(
    name: str,
    scheduled: datetime | None,
    started: datetime | None,
    finished: datetime | None,
    *,
    now: datetime,
    limit: timedelta,
) -> Watched:
    """How one stands. ``scheduled`` is its newest time that is longer ago than it may be late; ``limit`` is how long a
    run may take.

    >>> at = datetime(2026, 1, 5, 9, tzinfo=UTC)
    >>> judge("n", at, None, None, now=at + HOUR, limit=HOUR).state
    'not started'
    >>> judge("n", at, at, None, now=at + 2 * HOUR, limit=HOUR).state
    'not finished'
    """
    if scheduled is not None and (started is None or started < scheduled):
        hangs = " and has not ended" if finished is None else ""
        last = f"it began last at {_clock(started)}{hangs}" if started else "it never began"
        words = f"{name} was to begin at {_clock(scheduled)}, and did not: {last}."
        return Watched(name, scheduled, started, finished, "not started", words)
    if started is not None and finished is None and now - started > limit:
        hours = (now - started) / HOUR
        words = f"{name} began at {_clock(started)} and has not ended for {hours:.1f} hours."
        return Watched(name, scheduled, started, finished, "not finished", words)
    words = (
        f"{name} runs" if started and finished is None else f"{name} ended" if finished else f"{name} is not due yet"
    )
    return Watched(name, scheduled, started, finished, "well", f"{words}.")


def look(workspace: Workspace, clock: Clock, *, grace: timedelta) -> tuple[Watched, ...]:
    """Every scheduled action and notebook of a workspace; what cannot be read is *not known*."""
    found: list[Watched] = []
    for what, read in (("The store", _actions), ("The jobs", _notebooks)):
        try:
            found += read(workspace, clock, grace)
        except (MailopsError, OSError, ValueError, TypeError, LookupError) as error:
            said = error.message if isinstance(error, MailopsError) else f"{type(error).__name__}: {error}"
            found.append(
                Watched(what, None, None, None, "not known", f"{what} cannot be looked at: {redact(said)[:300]}")
            )
    return tuple(found)


def _actions(workspace: Workspace, clock: Clock, grace: timedelta) -> Iterable[Watched]:
    engine, now = workspace.engine, clock.now()
    late = now - grace
    known, minutes = queue_job.times(engine), workspace.settings.queue.interval_minutes
    began, took = queue_job.measured(known, queue_job.JOB)
    started = max(filter(None, (known.get(queue_job.JOB), began)), default=None)
    waits = health(engine, now=now)
    wanted: datetime | None = queue_job.last_job(late, minutes)
    if started is None and not (waits.due and waits.oldest is not None and waits.oldest <= late):
        wanted = None  # nobody has run it yet, and nothing waits for it
    over = began + timedelta(seconds=took) if began and took is not None and began == started else None
    moved = newest_fact(engine)
    if over is None and began is not None and moved is not None and now - moved <= HOUR:
        over = moved  # a long run that sends
    limit = max(timedelta(minutes=minutes), HOUR) + grace
    yield judge(QUEUE, wanted, started, over if began == started else started, now=now, limit=limit)
    boxes = [one for one in Accounts(engine, clock).list() if one.state == CONFIRMED]
    if boxes:
        looked = min(one.checked_at or one.confirmed_at or now for one in boxes)
        yield judge(FETCH, late - timedelta(minutes=fetch_minutes(engine)), looked, looked, now=now, limit=HOUR)
    cleared = max(filter(None, (last_runs(workspace.path).get("auto_vacuum"), queue_job.measured(known, "vacuum")[0])),
                  default=None)  # fmt: skip
    if cleared is not None:
        yield judge(VACUUM, late - DAY, cleared, cleared, now=now, limit=DAY)


def _notebooks(workspace: Workspace, clock: Clock, grace: timedelta) -> Iterable[Watched]:
    now = clock.now()
    file = workspace.path / JOBS
    if not file.exists():
        return
    for one in json.loads(file.read_text("utf-8"))["jobs"]:
        created = datetime.fromisoformat(one["created_at"]).astimezone(UTC).replace(microsecond=0)
        scheduled = _newest(one, created, now - grace, workspace)
        stem = Path(one["notebook"]).stem if one["notebook"].endswith(".ipynb") else one["notebook"]
        mark = f"-{Job(one['name'], '', datetime.fromisoformat(one['created_at'])).key}"
        runs = [run for run in list_runs(workspace.engine, notebook=stem, limit=None) if mark == run.id[16:23]]
        slots = [run for run in runs if run.id[23:24] != HAND]
        due = max((datetime.strptime(run.id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) for run in slots), default=None)
        newest = max(slots, key=lambda run: run.started_at, default=None)
        begun = newest.started_at if newest else None
        if newest is not None and (scheduled is None or (due is not None and due >= scheduled)):
            begun = max(newest.started_at, scheduled or newest.started_at)  # the run of that time, however late
        elif due is not None:
            begun = due
        limit = timedelta(seconds=float(one["timeout"]) * (1 + int(one["retries"]))) + grace
        yield judge(
            f"Job {one['name']}", scheduled, begun, newest.finished_at if newest else None, now=now, limit=limit
        )


def _newest(one: Mapping[str, Any], created: datetime, late: datetime, workspace: Workspace) -> datetime | None:
    """The newest time up to ``late`` at which a job was to begin."""
    if late <= created:
        return None
    if one.get("every"):
        step = span(one["every"])
        number = (late - created) // step
        return created + number * step if number else None
    if one.get("cron"):
        zone = zone_of(one.get("zone") or "UTC")
        begin = max(created, late - BACK)
        first, until = begin.astimezone(zone).date(), late.astimezone(zone).date() + DAY
        times = cron.runs(one["cron"], zone=zone.key, first=first, until=until, dst=one.get("dst") or "once")
        return max((at.astimezone(UTC) for at in times if created < at <= late), default=None)
    newest = newest_fact(workspace.engine, str(one.get("on") or ""))
    at = newest.replace(microsecond=0) if newest else None
    return at if at is not None and created < at <= late else None


class DeadMan:
    """Looks, and tells of what is silent when it begins, after each day, and when it is well again."""

    def __init__(self, workspace: Workspace, clock: Clock) -> None:
        self._workspace, self._clock = workspace, clock

    def watch(
        self,
        *,
        file: str = "",
        webhook: str = "",
        ping: str = "",
        grace: timedelta = timedelta(minutes=15),
        tell: bool = True,
    ) -> Watch:
        """Look at everything that runs by itself; tell by ``file`` (a line of JSON each; ``watch.jsonl`` in the
        workspace) and ``webhook``; ask ``ping`` where all is well. Without ``tell`` it only looks."""
        now = self._clock.now()
        watched = look(self._workspace, self._clock, grace=grace)
        if not tell:
            return Watch(now, watched, {})
        roads: dict[str, Callable[[list[Watched]], str]] = {
            "file": lambda news: self._line(file or str(self._workspace.path / LOG), news, now)
        }
        if webhook:
            roads["webhook"] = lambda news: _ask(
                webhook, {"at": now.isoformat(), "text": _text(news), "jobs": [_plain(n) for n in news]}
            )
        before = self._kept()
        keep, told = dict(before), dict[str, str]()
        for road, by in roads.items():  # each is told until it heard: one that is down misses nothing
            news, after = self._news(watched, before, road, now)
            if not news:
                continue
            told[road] = by(news)
            if not told[road]:
                keep = {key: had for key, had in keep.items() if _road(key) != road} | after
        if keep != before:
            self._keep(keep)
        if ping and not any(one.silent for one in watched):
            told["ping"] = _ask(ping, None)
        return Watch(now, watched, told)

    def _line(self, file: str, news: list[Watched], now: datetime) -> str:
        place = Path(file).expanduser()
        place = place if place.is_absolute() else self._workspace.path / place
        try:
            with os.fdopen(os.open(place, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "a", encoding="utf-8") as out:
                for one in news:
                    out.write(json.dumps({"at": now.isoformat(), **_plain(one)}, ensure_ascii=False) + "\n")
            return ""
        except OSError as error:
            return error.strerror or str(error)

    @staticmethod
    def _news(
        watched: Sequence[Watched], before: Mapping[str, dict[str, str]], road: str, now: datetime
    ) -> tuple[list[Watched], dict[str, dict[str, str]]]:
        """What this road has not heard yet, and what it knows afterwards."""
        after: dict[str, dict[str, str]] = {}
        news: list[Watched] = []
        for one in watched:
            key = one.name if road == "file" else f"{one.name}\t{road}"
            had = before.get(key)
            if one.silent and (had is None or had["state"] != one.state or now - _time(had["told"]) >= AGAIN):
                news.append(one)
                after[key] = {"state": one.state, "told": now.isoformat()}
            elif one.silent and had is not None:
                after[key] = had
            elif had is not None:
                news.append(one)
        return news, after

    def _kept(self) -> dict[str, dict[str, str]]:
        try:
            kept = json.loads((self._workspace.path / FILE).read_text("utf-8"))
            return {
                str(name): {"state": str(one["state"]), "told": _time(one["told"]).isoformat()}
                for name, one in kept.items()
            }
        except (OSError, ValueError, TypeError, LookupError, AttributeError):
            return {}

    def _keep(self, standing: Mapping[str, Mapping[str, str]]) -> None:
        part = self._workspace.path / f".{FILE}.{os.getpid()}.part"
        try:
            with os.fdopen(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w", encoding="utf-8") as out:
                out.write(json.dumps(standing, indent=1) + "\n")
            part.replace(self._workspace.path / FILE)
        except OSError:
            part.unlink(missing_ok=True)  # it is told once more


def _road(key: str) -> str:
    return key.partition("\t")[2] or "file"


def _ask(url: str, body: Mapping[str, Any] | None) -> str:
    """POST JSON, or GET without a body; "" when it was taken, or why it was not."""
    if not url.startswith(("http://", "https://")):
        return "it is no http or https address"
    data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
    try:
        asked = urllib.request.Request(url, data, {"Content-Type": "application/json"} if data else {})  # noqa: S310
        with urllib.request.urlopen(asked, timeout=SECONDS) as answer:  # noqa: S310 (http and https alone, as above)
            answer.read(1000)
        return ""
    except (OSError, ValueError) as error:
        return redact(str(error))[:200] or type(error).__name__


def _plain(one: Watched) -> dict[str, Any]:
    times = {
        name: at.isoformat() if (at := getattr(one, name)) else None for name in ("scheduled", "started", "finished")
    }
    return {"job": one.name, "state": one.state, **times, "text": one.words}


def _text(news: list[Watched]) -> str:
    silent = sum(one.silent for one in news)
    head = (
        f"mailops: {counted(silent, 'scheduled job is', 'scheduled jobs are')} silent."
        if silent
        else "mailops: well again."
    )
    return "\n".join([head, *(one.words for one in news)])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _clock(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at else "-"
