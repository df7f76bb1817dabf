"""Whatever ends a run, nothing of it stays: no scratch folder with what the notebook wrote, no process that it started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailops import Ops
from mailops.jobs import run_notebook

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are known by /proc"),
]
WRITES = """
import os, subprocess, sys, time
place = os.environ["IPYTHONDIR"]  # in the run's scratch folder; what is written in the notebook's own folder stays
open(place + "/secret.txt", "w").write("hunter2")
apart = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
forked = os.fork()
if forked == 0:
    os.setsid()
    os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)"])
open(os.environ["MAILOPS_WORKSPACE"] + "/../told", "w").write(f"{place}\\n{apart.pid}\\n{forked}\\n")
"""


def notebook(folder: Path, *sources: str) -> Path:
    cells = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {"tags": []}, "source": source, "outputs": [], "execution_count": None}
        for n, source in enumerate(sources)
    ]  # fmt: skip
    file = folder / "leaves.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    file.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": cells}))
    return file


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def told(ops: Ops, seconds: float = 60) -> tuple[Path, list[int]]:
    """A folder in the run's scratch folder, and the processes the notebook started."""
    file, limit = ops.workspace.path.parent / "told", time.monotonic() + seconds
    while not (file.exists() and file.read_text().count("\n") == 3):
        assert time.monotonic() < limit
        time.sleep(0.1)
    cwd, *pids = file.read_text().split()
    return Path(cwd), [int(pid) for pid in pids]


def gone(pids: list[int], seconds: float = 5) -> bool:
    limit = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < limit:
        time.sleep(0.05)
    return not any(map(alive, pids))


@pytest.fixture
def started(
    ops_factory: Callable[..., Ops], tmp_path: Path
) -> Iterator[tuple[Ops, subprocess.Popen[bytes], Path, list[int]]]:
    ops = ops_factory()
    file = notebook(tmp_path, WRITES, "time.sleep(300)")
    command = [sys.executable, "-m", "mailops.cli", "-w", str(ops.workspace.path), "run", str(file), "--timeout", "200"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pids: list[int] = []
    try:
        cwd, pids = told(ops)
        yield ops, child, cwd, pids
    finally:
        child.kill()
        child.wait()
        for pid in pids:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def test_sigterm_ends_a_run_as_ctrl_c_does(started: tuple[Ops, subprocess.Popen[bytes], Path, list[int]]) -> None:
    ops, child, cwd, pids = started
    assert (cwd / "secret.txt").exists()
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) > 0
    assert not cwd.parent.exists()
    assert gone(pids)
    assert not [p.name for p in ops.workspace.runs.iterdir() if p.name.startswith(".work-")]


def test_what_a_killed_run_left_goes_with_the_next_one(
    started: tuple[Ops, subprocess.Popen[bytes], Path, list[int]],
) -> None:
    from mailops.jobs.history import settle

    ops, child, cwd, pids = started
    child.kill()
    child.wait()
    assert cwd.exists()
    assert len(settle(ops.workspace, ops.clock)) == 1
    assert not cwd.parent.exists()
    assert gone(pids)


@pytest.mark.parametrize(("last", "timeout", "status"), [("time.sleep(300)", 12, "error"), ("print(1)", 60, "passed")])
def test_processes_of_a_notebook_end_with_its_run(
    ops_factory: Callable[..., Ops], tmp_path: Path, last: str, timeout: float, status: str
) -> None:
    ops = ops_factory()
    result = run_notebook(notebook(tmp_path, WRITES, last), {}, workspace=ops.workspace.path, timeout=timeout)
    cwd, pids = told(ops)
    try:
        assert result.status == status, result
        assert not cwd.parent.exists()
        assert gone(pids)
    finally:
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)


def test_a_notebook_that_prints_without_end_is_judged_by_what_it_did(
    ops_factory: Callable[..., Ops], tmp_path: Path
) -> None:
    ops = ops_factory()
    loud = "for _ in range(26):\n    print('x' * 1_000_000)"
    result = run_notebook(notebook(tmp_path, loud, "print('end')"), {}, workspace=ops.workspace.path, timeout=100)
    assert (result.status, result.exit_code) == ("passed", 0), result
    assert (result.folder / "notebook.ipynb").stat().st_size < 5_000_000


def test_a_parameter_that_no_encoding_writes_is_no_traceback(ops_factory: Callable[..., Ops], tmp_path: Path) -> None:
    ops = ops_factory()
    file = notebook(tmp_path, "x = ''", "print(1)")
    whole = json.loads(file.read_text())
    whole["cells"][0]["metadata"]["tags"] = ["parameters"]
    file.write_text(json.dumps(whole))
    command = [sys.executable, "-m", "mailops.cli", "-w", str(ops.workspace.path), "run", str(file), "-p", b"x=\xff"]
    done = subprocess.run(command, capture_output=True, timeout=100)
    assert b"Traceback" not in done.stderr, done.stderr
    assert b"run.parameter" in done.stderr + done.stdout or done.returncode == 0, done.stderr
