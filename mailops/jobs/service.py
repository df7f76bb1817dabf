"""Jobs of a workspace: kept in ``jobs.json``, run when they are due, their history, and two runs compared.

There is no process that waits: ``tick`` runs what is due and ends, so cron or a systemd timer is all it needs. While a
job runs it holds a lock; another tick that finds it so refuses the overlap, and what was refused is a missed instant
like any other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..errors import ConfigError, MailopsError, NotFound, StoreError
from ..ports import Clock
from ..store.exclusive import FileLocks, alone
from ..store.runs import TAKEN, Run, finish_run, get_run, list_runs, newest_fact, start_run, verdicts_of
from ..workspace import JOBS as FILE
from ..workspace import Workspace
from . import catalogue, clean, history
from .alerts import Alert, Alerts, Send, Told, no_mail
from .letter import letter
from .often import too_short
from .parameters import bind, parameters_of
from .runner import RunResult, run_notebook
from .schedule import BACK, HAND, Due, Job, checked, due, instants, often_enough
from .verdicts import Change, changes


@dataclass(frozen=True, slots=True)
class Ticked:
    """What a tick made of one job: the runs it made (newest last), what it let go, and why in a sentence. ``due``:
    whether there was something to run."""

    job: str
    reason: str
    runs: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    dropped: tuple[datetime, ...] = ()
    error: Mapping[str, Any] | None = None
    due: bool = True


@dataclass(frozen=True, slots=True)
class RunsDiff:
    """Two runs compared by what they found: checks that changed (worst first), parameters and versions that differ
    (name → both values). ``same``: nothing of it."""

    before: str
    after: str
    status: tuple[str, str]
    changes: tuple[Change, ...]
    parameters: dict[str, tuple[Any, Any]]
    made_with: dict[str, tuple[Any, Any]]

    @property
    def same(self) -> bool:
        return self.status[0] == self.status[1] and not (self.changes or self.parameters or self.made_with)


class Jobs:
    """The scheduled notebooks of one workspace."""

    def __init__(self, workspace: Workspace, clock: Clock, send: Send = no_mail) -> None:
        self._workspace = workspace
        self._clock = clock
        self._send = send
        self.alerts = Alerts(workspace, clock, send)

    def all(self) -> tuple[Job, ...]:
        """All jobs, by name. Raises :class:`ConfigError` for a file of jobs that cannot be read."""
        file = self._workspace.path / FILE
        try:
            loaded = json.loads(file.read_text("utf-8"))
            made = [_read(one) for one in loaded["jobs"]]
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                "The workspace's jobs cannot be read.",
                code="config.jobs",
                facts={"file": FILE, "reason": str(error)[:200]},
                fix=f"Mend {FILE} in the workspace, or remove it and add the jobs again.",
            ) from error
        return tuple(sorted((checked(job) for job in made), key=lambda job: job.name))

    def get(self, name: str) -> Job:
        """One job. Raises :class:`NotFound`."""
        jobs = {job.name: job for job in self.all()}
        if name not in jobs:
            raise NotFound(
                f"There is no job {name!r}.",
                code="job.not_found",
                facts={"given": name, "known": sorted(jobs)},
                fix="mailops jobs list shows them.",
            )
        return jobs[name]

    def add(
        self,
        notebook: str | Path,
        *,
        name: str = "",
        every: str = "",
        cron: str = "",
        on: str = "",
        zone: str = "",
        parameters: Mapping[str, Any] | None = None,
        missed: str = "one",
        retries: int = 0,
        timeout: float = 600.0,
        mail_to: Sequence[str] = (),
        dst: str = "once",
    ) -> Job:
        """Schedule a notebook (name or path). One of the same name takes its place. Raises for what could not run: an
        unknown notebook, a wrong parameter, a schedule that cannot be read, or one of less than five minutes."""
        path = catalogue.find(notebook)
        source = catalogue.read(path)
        catalogue.require_python(source, path.stem)
        clean.register_known(self._workspace, parameters or {})
        bound = bind(parameters_of(source), parameters or {}, path.stem)
        own = path.parent == catalogue.notebooks_folder()
        now = self._clock.now().astimezone(UTC).replace(microsecond=0)
        label = name or "".join(c if c.isalnum() or c in "-_" else "-" for c in path.stem.lower())[:40]
        given = path.stem if own else str(path)
        zone = zone or self._workspace.settings.profile.zone
        made = Job(label, given, now, bound, every, cron, on, zone, missed, retries, timeout, tuple(mail_to), dst)
        job = often_enough(checked(made))
        with self._locked():
            self._keep([*(other for other in self.all() if other.name != job.name), job])
        return job

    def remove(self, name: str) -> Job:
        """Schedule it no more; its runs stay in the history."""
        with self._locked():
            job = self.get(name)
            self._keep([other for other in self.all() if other.name != name])
        return job

    def history(self, name: str, limit: int = 20) -> tuple[Run, ...]:
        """The runs of a job, newest first."""
        history.settle(self._workspace, self._clock)
        return self._runs(self.get(name))[:limit]

    def next_times(self, name: str, count: int = 5) -> tuple[datetime, ...]:
        """When a job that follows the clock runs next (UTC); nothing for one that waits for a fact, or does not run in
        the month to come."""
        job, now = self.get(name), self._clock.now()
        return (
            ()
            if job.on
            else tuple(instants(replace(job, created_at=min(job.created_at, now)), now, now + BACK)[:count])
        )

    def warning(self, name: str) -> str:
        """That a job's interval is shorter than its last run took, with both figures; empty where it is not."""
        soon = self.next_times(name, 2)
        last = next((run for run in self._runs(self.get(name)) if run.seconds is not None), None)
        if last is None or len(soon) < 2:
            return ""
        return too_short(f"Job {name}", (soon[1] - soon[0]) / timedelta(minutes=1), last.seconds)

    def run(self, name: str) -> RunResult:
        """Run a job now, whenever it is due. Raises :class:`ConfigError` ``job.running`` while it runs already."""
        job = self.get(name)
        with self._alone(job) as free:
            if not free:
                raise ConfigError(
                    f"The job {name} is running.", code="job.running", facts={"job": name}, fix="Wait for its end."
                )
            slot = self._clock.now().replace(microsecond=0)
            while get_run(self._workspace.engine, job.run_id(slot, by_hand=True)) is not None:  # of this second already
                slot += timedelta(seconds=1)
            return self._try(job, slot, by_hand=True)[-1]

    def waiting(self) -> bool:
        """Whether the time of a job, or of an alert, has come, so that :meth:`tick` would do something."""
        jobs = self.all()
        return any(self._due(job).slots for job in jobs) or self.alerts.pending(self._last(jobs))

    def tell(self) -> tuple[Told, ...]:
        """Tell what is to be told of how jobs ended (:mod:`.alerts`)."""
        return self.alerts.look(self._last(self.all()))

    def last(self) -> dict[str, Run | None]:
        """Of each job its last run that has ended; None where none has."""
        jobs = self.all()
        ended = self._last(jobs)
        return {job.name: ended.get(job.name) for job in jobs}

    def _last(self, jobs: Sequence[Job]) -> dict[str, Run]:
        """Of each job its last run that has ended."""
        ended = ((job.name, next((run for run in self._runs(job) if run.status != "running"), None)) for job in jobs)
        return {name: run for name, run in ended if run is not None}

    def tick(self) -> tuple[Ticked, ...]:
        """Run what is due, one job after the other, and tell what has changed. What a job's failing says is in the
        answer; the rest go on."""
        history.settle(self._workspace, self._clock)
        done = tuple(self._tick(job) for job in self.all())
        self.tell()
        return done

    def _tick(self, job: Job) -> Ticked:
        with self._alone(job) as free:
            found = self._due(job)
            if not found.slots:
                return Ticked(job.name, found.reason, dropped=found.dropped, due=False)
            if not free:
                return Ticked(job.name, "It is still running; an overlap is refused.")
            ended: list[tuple[str, str]] = []
            broken: MailopsError | None = None
            for slot in found.slots:
                try:
                    ended += [(result.id, result.status) for result in self._try(job, slot)]
                except MailopsError as error:  # this job's alone: its notebook is gone, say
                    broken = error
                    ended += [(run.id, run.status) for run in self._runs(job) if _slot(run.id) == slot][:1]
        ids, statuses = tuple(run_id for run_id, _ in ended), tuple(status for _, status in ended)
        said, told = (broken.message, broken.as_dict()) if broken is not None else (found.reason, None)
        return Ticked(job.name, said, ids, statuses, found.dropped, told)

    def _due(self, job: Job) -> Due:
        had = {slot for run in self._runs(job) if (slot := _slot(run.id)) is not None}
        newest = newest_fact(self._workspace.engine, job.on) if job.on else None
        return due(job, had, self._clock.now(), newest)

    def _try(self, job: Job, slot: datetime, *, by_hand: bool = False) -> list[RunResult]:
        """The runs for one instant: the first try, and others while they may end better. An instant that has its run
        already, by whoever, has none. One that could not begin leaves its line in the history too, and raises."""
        results: list[RunResult] = []
        for attempt in range(1, job.retries + 2):
            run_id = job.run_id(slot, attempt, by_hand=by_hand)
            if get_run(self._workspace.engine, run_id) is not None:
                continue
            try:
                result = run_notebook(
                    job.notebook,
                    job.parameters,
                    workspace=self._workspace,
                    timeout=job.timeout,
                    clock=self._clock,
                    run_id=run_id,
                )
            except MailopsError as error:
                if error.code == TAKEN:  # another scheduler was quicker
                    continue
                self._note(job, run_id, error)
                raise
            results.append(result)
            if not result.retry:
                break
        if results and job.mail_to:
            self.mail(results[-1], job.mail_to)
        return results

    def mail(self, result: RunResult, to: Sequence[str]) -> str:
        """Send a run as a letter; "" when it left, or why it did not at once. One that could not even be queued is
        told as an alert."""
        text = letter(result, verdicts_of(self._workspace.engine, result.id), result.report.read_bytes())
        why = self._send(to, text.subject, text.text, html=text.html, attachments=text.enclosed)
        if why:
            subject = f"mailops: the report of {result.notebook} was not mailed at once"
            facts = {"job": result.notebook, "kind": "not mailed", "run": result.id, "reasons": [why]}
            self.alerts.tell(Alert(result.notebook, "not mailed", subject, f"{subject}: {why}", facts))
        return why

    def _note(self, job: Job, run_id: str, error: MailopsError) -> None:
        """The line of a run that could not begin. Where the store takes none, what went wrong is told all the same."""
        from ..secrets import redact_value

        engine, now = self._workspace.engine, self._clock.now()
        given = redact_value(dict(job.parameters))
        try:
            if get_run(engine, run_id) is None:
                start_run(engine, Run(run_id, _stem(job), given, now, None, "running", None, None, None))
                finish_run(engine, run_id, status="error", exit_code=2, error=error.as_dict(), at=now)
        except StoreError:
            return

    def _runs(self, job: Job) -> tuple[Run, ...]:
        mark, runs = f"-{job.key}", list_runs(self._workspace.engine, notebook=_stem(job), limit=None)
        return tuple(run for run in runs if mark in run.id[16:])

    def _keep(self, jobs: list[Job]) -> None:
        file = self._workspace.path / FILE
        part = file.with_name(f".{FILE}.part")
        plain = [
            {**asdict(job), "created_at": job.created_at.isoformat()} for job in sorted(jobs, key=lambda j: j.name)
        ]
        with os.fdopen(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w", encoding="utf-8") as out:
            out.write(json.dumps({"jobs": plain}, ensure_ascii=False, indent=1) + "\n")
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with alone(FileLocks(self._workspace.path, "changing the jobs"), f".{FILE}.lock") as free:
            if not free:
                raise ConfigError(
                    "Somebody else changes the jobs at this moment.", code="job.busy", fix="Do it again in a moment."
                )
            yield

    def _alone(self, job: Job) -> AbstractContextManager[bool]:
        """Files on PostgreSQL too: the runs are this workspace's, and of two workspaces on one store each instant's run
        belongs to whoever made its row first."""
        return alone(FileLocks(self._workspace.runs, "beginning a job"), f".job-{job.key}.lock")


def _read(kept: Mapping[str, Any]) -> Job:
    made = {"created_at": datetime.fromisoformat(kept["created_at"]), "mail_to": tuple(kept.get("mail_to", ()))}
    return Job(**{**kept, **made})


def _stem(job: Job) -> str:
    """The notebook's name in the run history."""
    return Path(job.notebook).stem if job.notebook.endswith(".ipynb") else job.notebook


def _slot(run_id: str) -> datetime | None:
    """The instant that a run is of; None for one by hand."""
    if run_id[23:24] == HAND:
        return None
    try:
        return datetime.strptime(run_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def diff(workspace: Workspace, before: str, after: str) -> RunsDiff:
    """What changed from one run to another (ids, or their beginnings). Raises :class:`NotFound`."""
    old, new = history.show(workspace, before), history.show(workspace, after)
    return RunsDiff(
        old.run.id,
        new.run.id,
        (old.run.status, new.run.status),
        changes(old.verdicts, new.verdicts),
        _differ(old.run.parameters, new.run.parameters),
        _differ(_made_with(old), _made_with(new)),
    )


def _made_with(detail: history.RunDetail) -> dict[str, Any]:
    """What a run rested on, flat, without what differs between any two: the time of the data."""
    try:
        kept = dict(json.loads(detail.files["result.json"].read_text("utf-8")).get("made_with") or {})
    except (KeyError, OSError, ValueError):
        return {}
    kept.pop("data_at", None)
    return {**{k: v for k, v in kept.items() if k != "packages"}, **(kept.get("packages") or {})}


def _differ(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = dict.fromkeys([*old, *new])
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}
