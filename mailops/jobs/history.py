"""The run history: what ran, how it ended, and the settling of runs whose process died.

A run holds a lock on its work folder (``runs/.work-<id>``) for as long as its process lives. A line that still says
"running" while nobody holds the lock belongs to a dead process: it is closed as an error, and what the dead process
left behind, which was never cleaned of secrets, is removed.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import NotFound
from ..locks import try_lock
from ..model.text import counted
from ..model.verdict import Verdict
from ..ports import Clock
from ..store.runs import Run, finish_run, get_run, list_runs, verdicts_of
from .leftovers import end_processes, remove_scratch

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from ..workspace import Workspace

WORK = ".work-"


@dataclass(frozen=True, slots=True)
class RunDetail:
    """A run with its verdicts and the files it left (name → path)."""

    run: Run
    verdicts: tuple[Verdict, ...]
    files: dict[str, Path]


def lock_work(folder: Path) -> int | None:
    """Take the lock of a work folder: a file descriptor to keep open, or None when its run is alive elsewhere."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return None
    try:
        ours = try_lock(descriptor)
    except OSError:
        ours = False
    if not ours:
        os.close(descriptor)
        return None
    return descriptor


def leave_work(folder: Path, lock: int) -> None:
    """Remove a work folder and the scratch folder it names while its lock is held, then give the lock back."""
    remove_scratch(folder)
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)
    if folder.exists():  # Windows removes no file that is open: the lock itself was left
        shutil.rmtree(folder, ignore_errors=True)


def settle(workspace: Workspace, clock: Clock) -> tuple[str, ...]:
    """Close runs of this workspace whose process died; returns their ids."""
    settled = []
    for run in list_runs(workspace.engine, status="running", limit=None):
        if run.folder is None or Path(run.folder).parent != workspace.runs:
            continue  # another machine's workspace on the same database
        work = workspace.runs / f"{WORK}{run.id}"
        if work.exists():
            lock = lock_work(work)
            if lock is None:
                continue
            end_processes(run.id)
            leave_work(work, lock)
        if _close_as_published(workspace, run, clock):
            continue
        error = {
            "error": "The process of this run ended before the run did.",
            "code": "run.abandoned",
            "facts": {},
            "fix": "Run the notebook again; if it happens often, look for an out-of-memory kill in the system's log.",
        }
        if finish_run(workspace.engine, run.id, status="error", exit_code=2, error=error, at=clock.now()):
            settled.append(run.id)
    return tuple(settled)


def _close_as_published(workspace: Workspace, run: Run, clock: Clock) -> bool:
    """A run that died between publishing and closing did end: its result.json says how."""
    try:
        said = json.loads((workspace.runs / run.id / "result.json").read_text("utf-8"))
        status, exit_code, error = said["status"], said["exit_code"], said["error"]
    except (OSError, ValueError, KeyError):
        return False
    return finish_run(workspace.engine, run.id, status=status, exit_code=exit_code, error=error, at=clock.now())


def show(workspace: Workspace, run_id: str) -> RunDetail:
    """One run by its id, or by the beginning of it. Raises :class:`NotFound`."""
    run = get_run(workspace.engine, run_id)
    if run is None:
        near = [r for r in list_runs(workspace.engine, limit=None) if run_id and r.id.startswith(run_id)]
        if len(near) != 1:
            raise NotFound(
                f"There is no run {run_id!r}."
                if not near
                else f"{counted(len(near), 'run begins', 'runs begin')} with {run_id!r}.",
                code="run.not_found",
                facts={"given": run_id, "fits": [r.id for r in near[:5]]},
                fix="mailops jobs history shows the runs.",
            )
        run = near[0]
    folder = Path(run.folder) if run.folder else None
    files = {p.name: p for p in sorted(folder.iterdir())} if folder is not None and folder.is_dir() else {}
    return RunDetail(run, verdicts_of(workspace.engine, run.id), files)


def previous(engine: Engine, run: Run) -> Run | None:
    """The last finished run of the same notebook with the same parameters, before this one."""
    for other in list_runs(engine, notebook=run.notebook, limit=200):
        same = other.id != run.id and other.started_at <= run.started_at and other.parameters == run.parameters
        if same and other.status in ("passed", "failed"):
            return other
    return None
