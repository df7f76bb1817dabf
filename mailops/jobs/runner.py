"""Runs a notebook as a job: load, bind, execute, judge, publish.

A run works in ``runs/.work-<id>`` (0700), where papermill saves after each step; only the cleaned files are moved, by
one rename, to ``runs/<id>``: ``notebook.ipynb``, ``report.html``, ``verdicts.json``, ``result.json``. Exit codes:

====  ==========================================================================================
0     all checks passed (or none were made)
1     the notebook ran, and its gate or a recorded verdict says that something failed
2     it could not run: a bug, a dead kernel, out of time, a question to a person, stopped early
====  ==========================================================================================

A notebook that is given by its path works in its own folder, as under papermill: what lies beside it can be read and
imported, what it writes stays. mailops' own work in a scratch folder.

A wrong parameter is refused with :class:`RunError` before anything starts and leaves no line in the history.
"""

from __future__ import annotations

import json
import os
import secrets as randomness
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ..clock import SystemClock
from ..errors import RunError, StoreError
from ..model.verdict import Verdict
from ..ports import Clock
from ..store.runs import Run, finish_run, start_run, verdicts_of
from ..workspace import Workspace, borrowed
from . import catalogue, clean, history, provenance
from .forking import Keeper
from .light import prepare_report
from .parameters import bind, casts, from_file, parameters_of
from .process import Outcome, run_child
from .verdicts import changes, failing, summary


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. ``status``: passed, failed or error; ``retry``: another try may end better.

    ``error`` holds error, code, facts and fix where the status is error; ``checks`` counts verdicts by state.
    """

    id: str
    notebook: str
    title: str
    status: str
    exit_code: int
    message: str
    seconds: float
    started_at: datetime
    finished_at: datetime
    parameters: dict[str, Any]
    checks: dict[str, int]
    changed: tuple[str, ...]
    retry: bool
    error: dict[str, Any] | None
    folder: Path
    report: Path
    made_with: dict[str, Any] = field(default_factory=dict)
    """What the result rests on: the notebook's path and SHA-256, versions, the time of the store's newest fact."""
    output: Path | None = None
    """The further copy of the finished notebook that was asked for."""


SKIP = "skip-execution"
"""Jupyter's own tag of a cell that is not to be executed."""
MAX_OUTPUT = 400_000_000
"""Bytes of a finished notebook that are read."""


def run_notebook(
    notebook: str | Path,
    params: Mapping[str, Any] | None = None,
    *,
    workspace: Path | Workspace,
    timeout: float = 600.0,
    cwd: Path | None = None,
    file: Path | None = None,
    output: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    run_id: str = "",
    clock: Clock | None = None,
) -> RunResult:
    """Run a notebook (name or path) with parameters (texts are converted) in at most ``timeout`` seconds.

    ``file``: a YAML or JSON file of parameters, over which ``params`` go. ``cwd``: the folder it works in, instead of
    its own. ``output``: where a further copy of the finished notebook goes, however the run ends. ``progress``: called
    with the number of the step that begins and of all steps. ``run_id``: the run's id, where it is known before.
    Raises :class:`NotFound` or :class:`RunError` when it cannot be started; whatever happens later is in the result.
    """
    given = {**(from_file(file) if file is not None else {}), **(params or {})}
    with borrowed(workspace) as space, _ended_like_an_interruption():
        return _run(space, _Wanted(notebook, given, timeout, cwd, output, progress, run_id), clock or SystemClock())


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What was asked of :func:`run_notebook`."""

    notebook: str | Path
    params: Mapping[str, Any]
    timeout: float
    cwd: Path | None
    output: Path | None
    progress: Callable[[int, int], None] | None
    run_id: str


@contextmanager
def _ended_like_an_interruption() -> Iterator[None]:
    """SIGTERM, which service managers send, unwinds as Ctrl-C does, so that nothing of a run stays behind. Only where
    the program has no handler of its own, and in the main thread, as Python hears signals nowhere else."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _run(space: Workspace, wanted: _Wanted, time: Clock) -> RunResult:
    path, source, title = _load(wanted.notebook)
    clean.register_known(space, wanted.params)  # before they are looked at: a known secret is refused
    parameters = parameters_of(source)
    bound = bind(parameters, wanted.params, path.stem)
    if not wanted.timeout > 0:
        raise RunError(
            "The time limit must be above zero.",
            code="run.timeout",
            facts={"timeout": wanted.timeout},
            fix="Give seconds.",
        )
    cwd = _works_in(path, wanted.cwd)
    copy = _copy_to(wanted.output, path)
    history.settle(space, time)
    rests_on = provenance.of(wanted.notebook, path, space.engine)
    run, work, lock = _begin(space, path.stem, bound, time, wanted.run_id)
    try:
        outcome = _execute(space, run, work, source, bound, casts(parameters, bound), cwd, wanted)
        result, verdicts, finished = _judge(space, run, outcome, source, work, title, time)
        result = replace(result, made_with=rests_on, output=copy)
        _publish(space, result, verdicts, finished, work)
        if copy is not None:
            _write_copy(copy, finished)
        _close(space, result)
    except BaseException as error:
        _give_up(space, run, error, time)
        raise
    finally:
        history.leave_work(work, lock)
    return result


def _load(notebook: str | Path) -> tuple[Path, dict[str, Any], str]:
    path = catalogue.find(notebook)
    source = catalogue.read(path)
    catalogue.require_python(source, path.stem)
    return path, source, catalogue.title_and_question(source, path.stem)[0]


def _works_in(notebook: Path, given: Path | None) -> Path | None:
    """The folder a notebook works in: the one given, or its own; None for mailops' own notebooks, which keep
    nothing."""
    if given is None:
        return None if notebook.parent == catalogue.notebooks_folder() else notebook.parent
    folder = given.expanduser()
    if not folder.is_dir():
        raise RunError(
            "The folder that the notebook is to work in does not exist.",
            code="run.cwd",
            facts={"folder": str(folder)},
            fix="Make the folder, or leave --cwd out: a notebook works in its own folder.",
        )
    return folder.resolve()


def _copy_to(given: Path | None, notebook: Path) -> Path | None:
    """Where a copy of the finished notebook is to go: a file, or the notebook's name in a folder."""
    if given is None:
        return None
    target = given.expanduser()
    target = (target / notebook.name if target.is_dir() else target).resolve()
    why = (
        "it is the notebook itself"
        if target == notebook.resolve()
        else "its folder does not exist"
        if not target.parent.is_dir()
        else ""
    )
    if why:
        raise RunError(
            "The finished notebook cannot be written there.",
            code="run.output",
            facts={"output": str(target), "why": why},
            fix="Name another file, in a folder that exists.",
        )
    return target


def _write_copy(target: Path, notebook: Mapping[str, Any]) -> None:
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.unlink(missing_ok=True)
        _write(part, json.dumps(notebook, ensure_ascii=False, indent=1))
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise RunError(
            "The finished notebook cannot be written there.",
            code="run.output",
            facts={"output": str(target), "why": error.strerror or str(error)},
            fix="The run itself is kept: mailops jobs history. Check owner, mode and free space of the folder.",
        ) from error


def _begin(space: Workspace, name: str, bound: Mapping[str, Any], clock: Clock, known_id: str) -> tuple[Run, Path, int]:
    """The work folder with its lock, and the line in the history that says "running"."""
    from ..secrets import redact_value

    now = clock.now()
    run_id = known_id or f"{now:%Y%m%dT%H%M%SZ}-{randomness.token_hex(3)}"
    work = space.runs / f"{history.WORK}{run_id}"
    try:
        space.runs.mkdir(mode=0o700, exist_ok=True)
        work.mkdir(mode=0o700)
        lock = history.lock_work(work)
    except OSError as error:
        raise StoreError(
            "The run's folder cannot be made.",
            code="run.not_writable",
            facts={"folder": str(work), "reason": error.strerror or str(error)},
            fix="Check owner, mode and free space of the workspace's runs folder.",
        ) from error
    assert lock is not None, "a folder made this moment is nobody else's"
    run = Run(run_id, name, redact_value(dict(bound)), now, None, "running", None, None, str(space.runs / run_id))
    try:
        start_run(space.engine, run)
    except BaseException:
        history.leave_work(work, lock)
        raise
    return run, work, lock


def _execute(
    space: Workspace,
    run: Run,
    work: Path,
    source: dict[str, Any],
    bound: Mapping[str, Any],
    made: Mapping[str, str],
    cwd: Path | None,
    wanted: _Wanted,
) -> Outcome:
    _write(work / "input.ipynb", json.dumps(source))
    environment = {"MAILOPS_WORKSPACE": str(space.path), "MAILOPS_RUN_ID": run.id}
    prepare_report()
    steps, tell = len(source["cells"]) + bool(bound), wanted.progress
    outcome = run_child(
        work,
        bound,
        seconds=wanted.timeout,
        environment=environment,
        casts=made,
        cwd=cwd,
        progress=(lambda step: tell(min(step + 1, steps), steps)) if tell is not None else None,
        forks=space.settings.kernels.fork,
    )
    if space.settings.kernels.fork and (stays := space.settings.kernels.linger_minutes):
        Keeper(space.path, linger=stays * 60).look()
    if tell is not None:
        tell(steps, steps)  # also where it was over before anybody looked
    return outcome


def _judge(
    space: Workspace, run: Run, outcome: Outcome, source: dict[str, Any], work: Path, title: str, clock: Clock
) -> tuple[RunResult, tuple[Verdict, ...], dict[str, Any]]:
    """Status, exit code and message from the outcome and the recorded verdicts; and the finished notebook, cleaned."""
    saved = _saved_notebook(work)
    finished = clean.clean_notebook(saved or source)
    verdicts = verdicts_of(space.engine, run.id)
    status, error = decide(outcome, verdicts, saved is not None and _stopped_early(saved))
    before = history.previous(space.engine, run)
    changed = changes(verdicts_of(space.engine, before.id), verdicts) if before is not None else ()
    counts: dict[str, int] = {}
    for verdict in verdicts:
        counts[verdict.state.value] = counts.get(verdict.state.value, 0) + 1
    now = clock.now()
    folder = space.runs / run.id
    result = RunResult(
        id=run.id,
        notebook=run.notebook,
        title=title,
        status=status,
        exit_code={"passed": 0, "failed": 1, "error": 2}[status],
        message=error.message if error is not None else summary(verdicts),
        seconds=max(0.0, (now - run.started_at).total_seconds()),
        started_at=run.started_at,
        finished_at=now,
        parameters=run.parameters,
        checks=counts,
        changed=tuple(f"{c.kind}: {c.verdict.title or c.verdict.check} ({c.verdict.subject})" for c in changed),
        retry=error is not None and outcome.kind in ("timeout", "died", "start", "lost"),
        error=error.as_dict() if error is not None else None,
        folder=folder,
        report=folder / "report.html",
    )
    return result, verdicts, finished


def decide(outcome: Outcome, verdicts: Sequence[Verdict], stopped_early: bool) -> tuple[str, RunError | None]:
    """The status, and the error where it is one. A failed verdict counts also where the gate was forgotten."""
    from ..secrets import redact

    step = f" in step {outcome.step + 1}" if outcome.step is not None else ""
    if outcome.kind == "raised" and outcome.ename == "ChecksFailed":
        return "failed", None
    if outcome.kind == "done" and not stopped_early:
        return ("failed" if failing(verdicts) else "passed"), None
    if outcome.kind == "done":
        return "error", RunError(
            "The notebook stopped before its end, so its checks are not complete.",
            code="run.stopped_early",
            fix="Do not call sys.exit() in a notebook; record a verdict and go on.",
        )
    if outcome.kind == "timeout":
        return "error", RunError(
            "The notebook did not finish within its time limit.",
            code="run.timeout",
            fix="Try again; give it more time with --timeout, or look at what it waits for in the report.",
        )
    if outcome.kind == "died":
        return "error", RunError(
            "The notebook's Python process died.",
            code="run.kernel_died",
            fix="Try again; if it dies again, look for an out-of-memory kill in the system's log.",
        )
    if outcome.kind == "raised" and outcome.ename == "StdinNotImplementedError":
        return "error", RunError(
            f"The notebook asks a person for input{step}; a job has nobody to answer.",
            code="run.asks_input",
            fix="Make the answer a parameter.",
        )
    if outcome.kind == "raised":
        said = redact(f"{outcome.ename}: {outcome.evalue}".strip(": "))[:500]
        return "error", RunError(
            f"The notebook broke{step}: {said}",
            code="run.broken",
            facts={"error": outcome.ename},
            fix="Open the report's last section for the whole error.",
        )
    return "error", RunError(
        "The notebook's Python process could not be started."
        if outcome.kind == "start"
        else "The run's own process failed.",
        code=f"run.{outcome.kind}",
        facts={"reason": redact(f"{outcome.ename} {outcome.evalue}".strip())[:500]},
        fix="Try again; `mailops doctor` checks the installation.",
    )


def _saved_notebook(work: Path) -> dict[str, Any] | None:
    """What papermill saved last; None when it could not save (or was killed while doing so). What was printed is cut
    already (:mod:`mailops.jobs.flood`), so the limit is against a machine that has not the memory."""
    try:
        return catalogue.read(work / "output.ipynb", most=MAX_OUTPUT)
    except RunError:
        return None


def _stopped_early(notebook: Mapping[str, Any]) -> bool:
    """Whether a code cell that has code, and was not to be skipped, was not executed (``sys.exit(0)`` counts as success
    and skips the rest)."""
    return any(
        c["cell_type"] == "code"
        and "".join(c["source"]).strip()
        and c.get("execution_count") is None
        and SKIP not in c.get("metadata", {}).get("tags", ())
        for c in notebook["cells"]
    )


def _publish(
    space: Workspace, result: RunResult, verdicts: Sequence[Verdict], notebook: dict[str, Any], work: Path
) -> None:
    """Write the files into a folder of their own, then move it to its place in one step."""
    from .report import render

    ready = work / "ready"
    ready.mkdir(mode=0o700)
    _write(ready / "notebook.ipynb", json.dumps(notebook, ensure_ascii=False, indent=1))
    _write(ready / "report.html", render(result, verdicts, notebook))
    _write(ready / "verdicts.json", _json([asdict(v) for v in verdicts]))
    _write(ready / "result.json", _json(asdict(result)))
    ready.rename(result.folder)


def _json(value: Any) -> str:
    def plain(item: Any) -> str:
        return item.isoformat() if isinstance(item, datetime) else str(item)

    return json.dumps(value, ensure_ascii=False, indent=2, default=plain) + "\n"


def _write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _close(space: Workspace, result: RunResult) -> None:
    finish_run(
        space.engine,
        result.id,
        status=result.status,
        exit_code=result.exit_code,
        error=result.error,
        at=result.finished_at,
    )


def _give_up(space: Workspace, run: Run, error: BaseException, clock: Clock) -> None:
    """The history must not say "running" for a run that this process stopped."""
    said = {
        "error": "The run was stopped."
        if isinstance(error, KeyboardInterrupt)
        else f"The run failed: {type(error).__name__}",
        "code": "run.stopped",
        "facts": {},
        "fix": "Run the notebook again.",
    }
    try:
        finish_run(space.engine, run.id, status="error", exit_code=2, error=said, at=clock.now())
    except StoreError:
        pass  # the next run settles it
