"""Runs and verdicts in the store: what ran, how it ended, and what each check said."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..errors import StateConflict
from ..model.verdict import Verdict, VerdictState
from . import schema
from .database import dialect_insert, explained, reading

t = schema
TAKEN = "run.taken"
"""The code of a run that somebody else began."""


@dataclass(frozen=True, slots=True)
class Run:
    """One line of the run history. ``status``: running, passed, failed (checks) or error (could not run)."""

    id: str
    notebook: str
    parameters: dict[str, Any]
    started_at: datetime
    finished_at: datetime | None
    status: str
    exit_code: int | None
    error: dict[str, Any] | None
    folder: str | None

    @property
    def seconds(self) -> float | None:
        return None if self.finished_at is None else (self.finished_at - self.started_at).total_seconds()


def start_run(engine: Engine, run: Run) -> None:
    """Write the run down before anything starts, so that a crash leaves a trace. Raises :class:`StateConflict`
    :data:`TAKEN` for an id that is there."""
    with explained("starting the run"), engine.begin() as connection:
        made = connection.execute(
            dialect_insert(engine)(t.runs)
            .values(
                id=run.id,
                notebook=run.notebook,
                parameters=run.parameters,
                started_at=run.started_at,
                status=run.status,
                error=run.error,
                folder=run.folder,
            )
            .on_conflict_do_nothing(index_elements=[t.runs.c.id])
        )
    if not made.rowcount:
        raise StateConflict(
            "This run has begun already.",
            code=TAKEN,
            facts={"run": run.id},
            fix="mailops jobs history shows it; nothing is to be done.",
        )


def finish_run(
    engine: Engine, run_id: str, *, status: str, exit_code: int, error: Mapping[str, Any] | None, at: datetime
) -> bool:
    """Close a run that is still running; False when somebody closed it before."""
    with explained("closing the run"), engine.begin() as connection:
        changed = connection.execute(
            sa.update(t.runs)
            .where(t.runs.c.id == run_id, t.runs.c.status == "running")
            .values(status=status, exit_code=exit_code, error=dict(error) if error else None, finished_at=at)
        )
    return changed.rowcount == 1


def list_runs(
    engine: Engine, *, notebook: str | None = None, status: str | None = None, limit: int | None = 50
) -> tuple[Run, ...]:
    """Runs, newest first."""
    query = sa.select(t.runs).order_by(t.runs.c.started_at.desc(), t.runs.c.id.desc()).limit(limit)
    if notebook is not None:
        query = query.where(t.runs.c.notebook == notebook)
    if status is not None:
        query = query.where(t.runs.c.status == status)
    with explained("reading the run history"), reading(engine) as connection:
        return tuple(_run(row) for row in connection.execute(query))


def get_run(engine: Engine, run_id: str) -> Run | None:
    """One run, or None."""
    with explained("reading the run"), reading(engine) as connection:
        row = connection.execute(sa.select(t.runs).where(t.runs.c.id == run_id)).first()
    return None if row is None else _run(row)


def newest_fact(engine: Engine, kind: str = "") -> datetime | None:
    """The time of the newest fact in the store (of a kind), None where there is none: how new the data is."""
    query = sa.select(t.events.c.at).order_by(t.events.c.id.desc()).limit(1)
    query = query.where(t.events.c.kind == kind) if kind else query
    with explained("reading the newest fact"), reading(engine) as connection:
        at: datetime | None = connection.execute(query).scalar()
    return at


def folders(before: datetime | None = None) -> sa.Select[Any]:
    """The query for finished runs that still have their folder, oldest first; ``before``: finished by then."""
    r = t.runs.c
    query = sa.select(r.id).where(r.folder.is_not(None), r.status != "running").order_by(r.started_at, r.id)
    return query if before is None else query.where(r.finished_at < before)


def without_folder(connection: Connection, runs: Collection[str]) -> None:
    """Note that these runs have no folder any more; their parameters, which may name people, go with it."""
    connection.execute(sa.update(t.runs).where(t.runs.c.id.in_(list(runs))).values(folder=None, parameters={}))


def record_verdict(engine: Engine, run_id: str, verdict: Verdict) -> None:
    """Store a verdict; ``run_id`` is empty for a check made outside a job. ``verdict.at`` must be set."""
    values = {
        name: getattr(verdict, name)
        for name in ("check", "subject", "title", "found", "expected", "fix", "code", "evidence", "at")
    }
    with explained("recording a verdict"), engine.begin() as connection:
        connection.execute(sa.insert(t.verdicts).values(run_id=run_id, state=verdict.state.value, **values))


def verdicts_of(engine: Engine, run_id: str) -> tuple[Verdict, ...]:
    """The verdicts of a run in the order they were recorded; a check repeated on a subject counts once, the last."""
    query = sa.select(t.verdicts).where(t.verdicts.c.run_id == run_id).order_by(t.verdicts.c.id)
    with explained("reading verdicts"), reading(engine) as connection:
        rows = connection.execute(query).all()
    latest: dict[tuple[str, str], Verdict] = {}
    for row in rows:
        latest[row.check, row.subject] = _verdict(row)
    return tuple(latest.values())


def _run(row: Any) -> Run:
    return Run(
        row.id,
        row.notebook,
        dict(row.parameters or {}),
        row.started_at,
        row.finished_at,
        row.status,
        row.exit_code,
        row.error,
        row.folder,
    )


def _verdict(row: Any) -> Verdict:
    return Verdict(
        row.check,
        row.subject,
        VerdictState(row.state),
        row.title,
        row.found,
        row.expected,
        row.fix,
        row.code,
        dict(row.evidence or {}),
        row.at,
    )
