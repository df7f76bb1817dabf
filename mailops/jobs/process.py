"""Starts the child process of a run and makes sure that it and its kernel end in time, whatever happens."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .leftovers import PREFIX, RUN_ID, end_processes, note_scratch

GRACE = 10.0  # seconds past the limit for starting and for writing the notebook, before the child is killed
LOOK = 0.25  # seconds between two looks at how far a run is
_SOCKET_ROOM = 60  # characters; a Unix socket's path may have 107 in all
_SHORT = Path("/tmp")  # noqa: S108
# A process group of its own, so that the child ends with all it started. Windows has no such groups; there, ending the
# child is enough: Jupyter's kernels watch their parent and end with it, on Windows by its handle.
_GROUPS = hasattr(os, "killpg")
_APART: dict[str, Any] = (
    {"start_new_session": True} if _GROUPS else {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the child ended. ``kind``: done, raised, timeout, died (the kernel), start (of the kernel), runner, lost."""

    kind: str
    ename: str = ""
    evalue: str = ""
    step: int | None = None


def run_child(
    work: Path,
    parameters: Mapping[str, Any],
    *,
    seconds: float,
    environment: Mapping[str, str],
    casts: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    progress: Callable[[int], None] | None = None,
    forks: bool = False,
) -> Outcome:
    """Run ``work/input.ipynb`` in a child process; returns after at most ``seconds`` + :data:`GRACE`.

    The notebook works in ``cwd``, or else in a private temporary folder that is gone afterwards, as are all processes
    that it started. ``forks``: the kernel may be forked from a server (:mod:`.forking`). ``casts``: parameter →
    expression that makes of its value what the notebook wants. ``progress`` is called with each step's index as it
    begins. Nothing is raised for what the notebook does.
    """
    root = tempfile.gettempdir()
    if len(root) > _SOCKET_ROOM and _SHORT.is_dir():
        root = str(_SHORT)
    scratch = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
    try:
        note_scratch(work, scratch)
        for folder in ("cwd", "ipython", "run"):
            (scratch / folder).mkdir(mode=0o700)
        job = {
            "parameters": dict(parameters),
            "casts": dict(casts or {}),
            "seconds": seconds,
            "cwd": str(cwd or scratch / "cwd"),
            "forks": forks,
        }
        return _supervise(work, job, seconds + GRACE, _environment(environment, scratch), progress)
    finally:
        end_processes(environment.get(RUN_ID, ""))
        shutil.rmtree(scratch, ignore_errors=True)


def _environment(extra: Mapping[str, str], scratch: Path) -> dict[str, str]:
    environment = {
        **os.environ,
        "IPYTHONDIR": str(scratch / "ipython"),  # the user's start-up files and history stay out of jobs
        "JUPYTER_RUNTIME_DIR": str(scratch / "run"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYTHONUTF8": "1",
        **extra,
    }
    package = Path(__file__).resolve().parent.parent.parent
    if not {"site-packages", "dist-packages"} & set(package.parts):  # a checkout that is not installed
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH"))))
    return environment


def _supervise(
    work: Path,
    job: dict[str, Any],
    seconds: float,
    environment: dict[str, str],
    progress: Callable[[int], None] | None,
) -> Outcome:
    log = work / "child.log"
    with open(log, "wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "mailops.jobs.child"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=work,
            env=environment,
            **_APART,
        )
    timed_out = False
    try:
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps(job).encode() + b"\n")
            child.stdin.flush()
        except BrokenPipeError:
            pass  # it died at once; the log says why
        timed_out = not _waited(child, seconds, work, progress)
    finally:
        if child.returncode is None:  # too long, or this process was interrupted
            if _GROUPS:
                _kill_group(child.pid)
            else:
                child.kill()
            child.wait()
        if _GROUPS and not (work / "outcome.json").exists():
            _kill_kernel(work / "kernel.pid")
        if child.stdin is not None:
            try:
                child.stdin.close()
            except BrokenPipeError:
                pass
    return _outcome(work, timed_out, log)


def _waited(child: subprocess.Popen[bytes], seconds: float, work: Path, progress: Callable[[int], None] | None) -> bool:
    """Wait for the child's end, and tell each step as it begins; False when the time is up."""
    end, told = time.monotonic() + seconds, -1
    while (left := end - time.monotonic()) > 0:
        try:
            child.wait(left if progress is None else min(left, LOOK))
            return True
        except subprocess.TimeoutExpired:
            if progress is not None and (step := step_of(work)) is not None and step > told:
                progress(step)
                told = step
    return False


def step_of(work: Path) -> int | None:
    """The index of the step that a run is at, from its work folder; None before the first, or when it is over."""
    try:
        return int(json.loads((work / "progress.json").read_text("ascii"))["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _outcome(work: Path, timed_out: bool, log: Path) -> Outcome:
    try:
        said = json.loads((work / "outcome.json").read_text("utf-8"))
        return Outcome(said["kind"], said.get("ename") or "", said.get("evalue") or "", said.get("step"))
    except (OSError, ValueError, KeyError):
        if timed_out:
            return Outcome("timeout")
        last = log.read_bytes()[-2000:].decode("utf-8", "replace").strip().splitlines()
        return Outcome("lost", "", last[-1] if last else "")


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _kill_kernel(pid_file: Path) -> None:
    """The kernel leads a session of its own, so the child's group does not reach it."""
    try:
        pid = int(pid_file.read_text("ascii"))
        if os.getpgid(pid) == pid:
            _kill_group(pid)
    except (OSError, ValueError):
        pass  # it never started, or is gone
