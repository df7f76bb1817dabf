"""Notebooks as jobs: exit codes, files, modes, secrets, time limits; each run is a real papermill run in a child."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailops import Ops
from mailops.errors import NotFound, RunError
from mailops.jobs import RunResult, run_notebook, write_index
from mailops.jobs.history import settle
from mailops.jobs.history import show as detail_of
from mailops.store.runs import Run, list_runs, start_run
from mailops.testing import ManualClock

NOTEBOOKS = Path(__file__).parent.parent / "fixtures" / "notebooks"
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of nbconvert's templates and their libraries
]


def run(ops: Ops, name: str, timeout: float = 60, **params: str) -> RunResult:
    return run_notebook(NOTEBOOKS / f"{name}.ipynb", params, workspace=ops.workspace.path, timeout=timeout)


def everything(folder: Path) -> str:
    return "\n".join(p.read_bytes().decode("utf-8", "replace") for p in folder.rglob("*") if p.is_file())


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def test_a_healthy_run_leaves_notebook_report_result_and_a_line_in_the_history(sqlite_ops: Ops) -> None:
    result = run(sqlite_ops, "healthy", domain="example.org", days="7", only="a.test, b.test")
    assert (result.status, result.exit_code, result.retry) == ("passed", 0, False), result
    assert result.message == "No check failed; 1 of 2 checks gave a warning."
    assert result.parameters == {"domain": "example.org", "days": 7, "only": ["a.test", "b.test"]}
    assert {p.name for p in result.folder.iterdir()} == {
        "notebook.ipynb",
        "report.html",
        "verdicts.json",
        "result.json",
    }
    assert stat.S_IMODE(result.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in result.folder.iterdir()} == {0o600}
    assert [p.name for p in sqlite_ops.workspace.runs.iterdir()] == [result.id], "nothing else is left"

    notebook = json.loads((result.folder / "notebook.ipynb").read_text())
    assert "widgets" not in notebook["metadata"]
    assert "widget-view" not in json.dumps(notebook)
    report = result.report.read_text()
    assert (
        report.index("No check failed") < report.index("Where mail arrives (MX)") < report.index("card of example.org")
    )
    assert "import pandas" not in report, "code is hidden"
    assert "Add a second one." in report
    said = json.loads((result.folder / "result.json").read_text())
    assert said["exit_code"] == 0
    assert said["checks"] == {"passed": 1, "warning": 1}

    detail = detail_of(sqlite_ops.workspace, result.id[:16])
    assert detail.run.status == "passed"
    assert detail.run.exit_code == 0
    assert detail.run.finished_at is not None
    assert [v.check for v in detail.verdicts] == ["spf", "mx"]


def test_a_failing_gate_is_exit_1_and_the_index_links_its_report(sqlite_ops: Ops) -> None:
    first = run(sqlite_ops, "gate")
    assert (first.status, first.exit_code, first.message) == ("failed", 1, "1 of 3 checks failed: spf")
    assert "Publish the record." in first.report.read_text()
    at = ManualClock(datetime(2031, 5, 6, 7, 8, tzinfo=UTC))
    folder = sqlite_ops.workspace.path / "reports"
    index = write_index(sqlite_ops.workspace, folder / "index.html", {"Mails sent": 12345}, clock=at)
    page = index.read_text()
    assert "2031-05-06" in page
    assert "1 of 1 notebooks needs a look" in page
    assert "12,345" in page
    assert 'href="gate.html"' in page
    assert (index.parent / "gate.html").read_bytes() == first.report.read_bytes()


@pytest.mark.parametrize(
    ("name", "code", "said", "retry"),
    [
        ("bug", "run.broken", "The notebook broke in step 3: ZeroDivisionError: division by zero", False),
        ("dies", "run.kernel_died", "The notebook's Python process died.", True),
        (
            "asks",
            "run.asks_input",
            "The notebook asks a person for input in step 2; a job has nobody to answer.",
            False,
        ),
        ("early", "run.stopped_early", "The notebook stopped before its end, so its checks are not complete.", False),
    ],
)
def test_what_cannot_run_is_exit_2_with_its_reason(
    sqlite_ops: Ops, name: str, code: str, said: str, retry: bool
) -> None:
    result = run(sqlite_ops, name)
    assert (result.status, result.exit_code, result.retry) == ("error", 2, retry)
    assert result.error is not None
    assert result.error["code"] == code
    assert result.error["fix"]
    assert result.message == said
    assert said in result.report.read_text().replace("&#x27;", "'")


def test_the_time_limit_ends_the_notebook_and_its_kernel(sqlite_ops: Ops) -> None:
    result = run(sqlite_ops, "slow", timeout=5)
    assert (result.status, result.exit_code, result.retry) == ("error", 2, True)
    assert result.error is not None
    assert result.error["code"] == "run.timeout"
    assert not alive(int((sqlite_ops.workspace.path / "kernel.pid").read_text()))


def test_no_secret_is_left_anywhere(sqlite_ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    value = "Planted-Value-7391"
    monkeypatch.setenv("JOB_FIXTURE_VALUE", value)
    result = run(sqlite_ops, "leaks", password="env:JOB_FIXTURE_VALUE")
    assert result.exit_code == 2
    assert "ValueError" in result.message
    left = everything(sqlite_ops.workspace.path)
    assert "in a sentence •••" in left
    assert value not in left
    assert value not in str(result)


@pytest.mark.parametrize(
    ("params", "code", "said"),
    [
        ({"domian": "example.com"}, "run.parameter", "healthy has no parameter 'domian'. Did you mean domain?"),
        ({"days": "many"}, "run.parameter", "days wants a whole number, not 'many'."),
        ({"domain": "GOCSPX-abcdefghijkl"}, "run.secret_parameter", "looks like a Google token or client secret"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_runs(
    sqlite_ops: Ops, params: dict[str, str], code: str, said: str
) -> None:
    with pytest.raises(RunError) as caught:
        run(sqlite_ops, "healthy", **params)
    assert caught.value.code == code
    assert said in caught.value.message
    assert list_runs(sqlite_ops.engine) == ()
    assert list(sqlite_ops.workspace.runs.iterdir()) == []


def test_an_unknown_notebook_is_named(sqlite_ops: Ops) -> None:
    with pytest.raises(NotFound, match="There is no notebook 'nothing_like_it'"):
        run_notebook("nothing_like_it", workspace=sqlite_ops.workspace.path)


def test_a_run_whose_process_is_killed_is_settled_and_leaves_no_kernel(sqlite_ops: Ops) -> None:
    workspace = sqlite_ops.workspace
    code = (
        "import sys; from pathlib import Path; from mailops.jobs import run_notebook; "
        "run_notebook(sys.argv[1], workspace=Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(NOTEBOOKS / "slow.ipynb"), str(workspace.path)]
    runner = subprocess.Popen(command, cwd=Path(__file__).parent.parent.parent)
    pid_file = workspace.path / "kernel.pid"
    try:
        wait_for(lambda: pid_file.exists() and pid_file.read_text().strip() != "")
        assert settle(workspace, sqlite_ops.clock) == (), "a living run is left alone"
    finally:
        runner.kill()
        runner.wait()
    wait_for(lambda: not alive(int(pid_file.read_text())))
    (settled,) = settle(workspace, sqlite_ops.clock)
    (line,) = list_runs(sqlite_ops.engine)
    assert (line.id, line.status, line.exit_code) == (settled, "error", 2)
    assert line.error is not None
    assert line.error["code"] == "run.abandoned"
    assert list(workspace.runs.iterdir()) == [], "the uncleaned work folder is gone"


def wait_for(what: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_runs_of_another_machine_are_not_settled(sqlite_ops: Ops) -> None:
    elsewhere = Run(
        "20260101T000000Z-aaaaaa", "queue", {}, sqlite_ops.clock.now(), None, "running", None, None, "/srv/other/runs/x"
    )
    start_run(sqlite_ops.engine, elsewhere)
    assert settle(sqlite_ops.workspace, sqlite_ops.clock) == ()
    assert list_runs(sqlite_ops.engine)[0].status == "running"


def test_the_command_line_lists_and_shows_runs(sqlite_ops: Ops) -> None:
    root = Path(__file__).parent.parent.parent
    place = ["--workspace", str(sqlite_ops.workspace.path)]

    def mailops(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from mailops.cli import main; main()", *place, *words]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, env={**os.environ})

    ran = mailops("run", str(NOTEBOOKS / "gate.ipynb"), "--json")
    assert ran.returncode == 1, ran.stderr
    said = json.loads(ran.stdout)
    assert said["status"] == "failed"
    (line,) = json.loads(mailops("jobs", "history", "--json").stdout)
    assert (line["id"], line["exit_code"]) == (said["id"], 1)
    shown = mailops("jobs", "show", said["id"])
    assert "✗ failed" in shown.stdout
    assert "report.html" in shown.stdout
    assert mailops("jobs", "show", "nope").returncode == 2
