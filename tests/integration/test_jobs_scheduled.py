"""Scheduled notebooks: kept, run once an instant, never twice at a time, with a history; two runs compared."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mailops import Ops
from mailops.cli import main
from mailops.errors import NotFound, RunError
from mailops.jobs.service import Jobs
from mailops.jobs.verdicts import RunContext
from mailops.model.verdict import Verdict, VerdictState
from mailops.store.runs import Run, finish_run, list_runs, start_run
from mailops.testing import ManualClock
from mailops.workspace import init

NOTEBOOKS = Path(__file__).parent.parent / "fixtures" / "notebooks"
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.timeout(240)]


def cli(ops: Ops, *words: str, status: int = 0) -> Any:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(sys, "argv", ["mailops", "-w", str(ops.workspace.path), *words, "--json"])
        with pytest.raises(SystemExit) as left:
            main()
    assert left.value.code == status, out.getvalue()
    return json.loads(out.getvalue())


def test_an_instant_runs_once_and_leaves_its_line(sqlite_ops: Ops) -> None:
    clock = ManualClock(sqlite_ops.clock.now())
    jobs = Jobs(sqlite_ops.workspace, clock)
    made = jobs.add(NOTEBOOKS / "gate.ipynb", every="1h", name="hourly")
    assert [one.runs for one in jobs.tick()] == [()]
    clock.advance(3 * 3600 + 60)
    (done,) = jobs.tick()
    assert done.statuses == ("failed",), done
    assert len(done.dropped) == 2
    assert done.runs == (made.run_id(made.created_at + timedelta(hours=3)),)
    assert [one.runs for one in Jobs(sqlite_ops.workspace, clock).tick()] == [()], "also after a restart"
    assert [run.id for run in jobs.history("hourly")] == list(done.runs)
    told = json.loads((sqlite_ops.workspace.path / "alerts.jsonl").read_text())
    assert (told["job"], told["kind"], told["run"]) == ("hourly", "failing", done.runs[0])
    assert told["reasons"]


def test_a_run_by_hand_is_nobody_s_slot(sqlite_ops: Ops) -> None:
    """At 6f79daf it counted as the newest instant, so a missed one was never made up for."""
    clock = ManualClock(sqlite_ops.clock.now())
    jobs = Jobs(sqlite_ops.workspace, clock)
    made = jobs.add(NOTEBOOKS / "gate.ipynb", every="1h", name="hourly", missed="all")
    clock.advance(3 * 3600 + 60)
    by_hand = jobs.run("hourly")
    assert by_hand.id == made.run_id(clock.now(), by_hand=True)
    (done,) = jobs.tick()
    assert done.runs == tuple(made.run_id(made.created_at + timedelta(hours=n)) for n in (1, 2, 3))
    assert len(jobs.history("hourly")) == 4


def test_two_schedulers_and_one_store_run_each_instant_once(sqlite_ops: Ops, tmp_path: Path) -> None:
    clock = ManualClock(sqlite_ops.clock.now())
    one = Jobs(sqlite_ops.workspace, clock)
    made = one.add(NOTEBOOKS / "gate.ipynb", every="1h", name="hourly", missed="all")
    other = init(tmp_path / "other")
    (other.path / "mailops.toml").write_text(f'[database]\nurl = "{sqlite_ops.workspace.database}"\n', "utf-8")
    (other.path / "jobs.json").write_bytes((sqlite_ops.workspace.path / "jobs.json").read_bytes())
    two = Jobs(other, clock)
    clock.advance(3 * 3600 + 60)
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda jobs=jobs: answers.append(jobs.tick()[0])) for jobs in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
    ids = [made.run_id(made.created_at + timedelta(hours=n)) for n in (1, 2, 3)]
    assert sorted(run for answer in answers for run in answer.runs) == ids
    assert sorted(run.id for run in list_runs(sqlite_ops.engine)) == ids
    assert all(answer.error is None for answer in answers)
    other.engine.dispose()


def test_an_overlap_is_refused_and_made_up_for_later(sqlite_ops: Ops) -> None:
    clock = ManualClock(sqlite_ops.clock.now())
    jobs = Jobs(sqlite_ops.workspace, clock)
    made = jobs.add("queue", every="1h")
    clock.advance(3600)
    with jobs._alone(made) as free:
        assert free
        (done,) = Jobs(sqlite_ops.workspace, clock).tick()
    assert (done.runs, done.reason) == ((), "It is still running; an overlap is refused.")
    assert list_runs(sqlite_ops.engine) == ()


def test_a_job_that_cannot_run_stops_no_other(sqlite_ops: Ops, tmp_path: Path) -> None:
    clock = ManualClock(sqlite_ops.clock.now())
    jobs = Jobs(sqlite_ops.workspace, clock)
    gone = tmp_path / "gone.ipynb"
    gone.write_text((NOTEBOOKS / "gate.ipynb").read_text("utf-8"), "utf-8")
    jobs.add(gone, every="1h", name="a-gone")
    jobs.add("queue", every="1d", name="b-other")
    gone.unlink()
    clock.advance(3600)
    first, second = jobs.tick()
    assert first.error is not None
    assert first.error["code"] == "run.notebook_not_found"
    assert second.reason == "Not due yet."


def test_a_run_that_could_not_begin_has_its_line_and_is_not_tried_again(sqlite_ops: Ops, tmp_path: Path) -> None:
    clock = ManualClock(sqlite_ops.clock.now())
    jobs = Jobs(sqlite_ops.workspace, clock)
    gone = tmp_path / "gone.ipynb"
    gone.write_text((NOTEBOOKS / "gate.ipynb").read_text("utf-8"), "utf-8")
    made = jobs.add(gone, every="1h", name="a-gone", missed="all", retries=2)
    gone.unlink()
    clock.advance(2 * 3600)
    (done,) = jobs.tick()
    due = [made.run_id(made.created_at + timedelta(hours=n)) for n in (1, 2)]
    assert (list(done.runs), done.statuses) == (due, ("error", "error"))
    (again,) = jobs.tick()
    assert (again.reason, again.error) == ("Not due yet.", None)
    (newest, _) = cli(sqlite_ops, "jobs", "history", "a-gone")
    assert (newest["id"], newest["status"], newest["error"]["code"]) == (due[1], "error", "run.notebook_not_found")
    (shown,) = cli(sqlite_ops, "jobs", "list")
    assert shown["last"]["status"] == "error"
    (member,) = Ops.fleet_status(sqlite_ops.workspace.path)
    assert (member.verdict, "gone" in member.said) == ("look", True)
    for number in (3, 4):  # by hand too, twice in a second
        with pytest.raises(NotFound):
            jobs.run("a-gone")
        assert [run.status for run in jobs.history("a-gone")] == ["error"] * number


def test_the_commands_keep_list_and_remove_jobs(sqlite_ops: Ops) -> None:
    words = ["jobs", "add", "queue", "--cron", "30 2 * * *", "--zone", "Europe/Berlin", "-p", "max_failed=3"]
    assert cli(sqlite_ops, *words, "--dst", "both")["dst"] == "both"
    assert cli(sqlite_ops, "jobs", "add", "queue", "--every", "4m", status=2)["code"] == "job.too_often"
    added = cli(sqlite_ops, *words)
    assert (added["name"], added["parameters"]) == ("queue", {"max_failed": 3})
    (line,) = cli(sqlite_ops, "jobs", "list")
    assert line["cron"] == "30 2 * * *"
    assert line["next"]
    assert line["last"] is None
    assert cli(sqlite_ops, "jobs", "history", "queue") == []
    assert cli(sqlite_ops, "jobs", "tick")[0]["runs"] == []
    assert (sqlite_ops.workspace.path / "jobs.json").stat().st_mode & 0o077 == 0
    assert "jobs.json" in sqlite_ops.workspace.files()
    assert cli(sqlite_ops, "jobs", "remove", "queue")["name"] == "queue"
    assert cli(sqlite_ops, "jobs", "remove", "queue", status=2)["code"] == "job.not_found"


def test_what_could_not_run_is_not_scheduled(sqlite_ops: Ops) -> None:
    with pytest.raises(RunError, match="has no parameter 'stat'"):
        sqlite_ops.jobs.add("queue", every="1h", parameters={"stat": "x"})
    with pytest.raises(NotFound):
        sqlite_ops.jobs.add("no_such_notebook", every="1h")
    assert sqlite_ops.jobs.all() == ()
    (sqlite_ops.workspace.path / "jobs.json").write_text("{", "utf-8")
    assert cli(sqlite_ops, "jobs", "list", status=2)["code"] == "config.jobs"


def test_two_runs_are_compared_by_what_they_found(sqlite_ops: Ops) -> None:
    now = sqlite_ops.clock.now()
    for name, since, state in (("one", "7d", VerdictState.PASSED), ("two", "30d", VerdictState.FAILED)):
        run = Run(name, "domain_dns", {"since": since}, now, None, "running", None, None, None)
        start_run(sqlite_ops.engine, run)
        told = Verdict("spf", "a.test", state, "SPF", found=name)
        RunContext(sqlite_ops.engine, name, sqlite_ops.clock).record(told)
        status = "passed" if state is VerdictState.PASSED else "failed"
        finish_run(sqlite_ops.engine, name, status=status, exit_code=0, error=None, at=now)
    found = cli(sqlite_ops, "runs", "diff", "one", "two", status=1)
    assert [(c["kind"], c["verdict"]["check"]) for c in found["changes"]] == [("newly failing", "spf")]
    assert found["parameters"] == {"since": ["7d", "30d"]}
    assert cli(sqlite_ops, "runs", "diff", "two", "one")["changes"][0]["kind"] == "recovered"
    assert cli(sqlite_ops, "runs", "diff", "one", "three", status=2)["code"] == "run.not_found"
