"""Alerts of jobs: told when one begins to fail, still fails after a day, or is well again; by roads that are really there."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from furnish import furnish
from typer.testing import CliRunner

from mailops import Ops
from mailops.cli import commands  # noqa: F401  (registers the top-level commands)
from mailops.cli.app import app
from mailops.jobs.alerts import Standing, decide, is_quiet
from mailops.store.runs import Run, finish_run, start_run
from mailops.testing import ManualClock, SmtpServer
from mailops.testing.smtp_script import Rule

NOTEBOOKS = Path(__file__).parents[1] / "fixtures" / "notebooks"
START = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR = 3600


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.heard.append(body)  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Any]:
    server = HTTPServer(("127.0.0.1", 0), _Hook)
    server.heard, server.status = [], 204  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def ended(ops: Ops, status: str, name: str = "gate") -> None:
    """A run of the job, which ends now."""
    now, job = ops.clock.now(), ops.jobs.get(name)
    run = job.run_id(now)
    start_run(ops.engine, Run(run, name, {}, now, None, "running", None, None, None))
    error = {"error": "The kernel died.", "code": "run.died"} if status == "error" else None
    finish_run(ops.engine, run, status=status, exit_code=0 if status == "passed" else 1, error=error, at=now)


def lines(ops: Ops) -> list[dict[str, Any]]:
    file = ops.workspace.path / "alerts.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def made(factory: Callable[..., Ops], clock: ManualClock, toml: str = "") -> Ops:
    ops = factory(clock=clock, toml=f"\n[alerts]\n{toml}\n" if toml else "")
    ops.jobs.add(NOTEBOOKS / "gate.ipynb", every="1h", name="gate")
    return ops


def test_only_a_change_is_told_and_a_day_of_failing(ops_factory: Callable[..., Ops], clock: ManualClock) -> None:
    ops = made(ops_factory, clock)
    said = []
    for status in ["passed"] * 3 + ["failed"] * 27 + ["error"] * 2 + ["passed"] * 3:
        clock.advance(HOUR)
        ended(ops, status)
        ops.jobs.tell()
        ops.jobs.tell()  # once more changes nothing
    said = [(one["kind"], one["at"][:13]) for one in lines(ops)]
    assert said == [("failing", "2026-03-02T13"), ("still failing", "2026-03-03T13"), ("recovered", "2026-03-03T18")]
    assert ops.jobs.tell() == ()


def test_a_restart_and_a_clock_set_back_tell_nothing_twice(ops_factory: Callable[..., Ops], clock: ManualClock) -> None:
    ops = made(ops_factory, clock)
    clock.advance(HOUR)
    ended(ops, "failed")
    assert len(ops.jobs.tell()) == 1
    again = Ops.open(ops.workspace.path, clock=ManualClock(START))
    assert again.jobs.tell() == ()
    assert not again.jobs.alerts.pending(again.jobs._last(again.jobs.all()))
    again.close()


def test_quiet_hours_hold_what_is_to_be_told_and_drop_what_was_over(
    ops_factory: Callable[..., Ops], clock: ManualClock
) -> None:
    ops = made(ops_factory, clock, 'quiet = "20:00-07:00"')
    clock.advance(12 * HOUR)  # 21:00
    ended(ops, "failed")
    assert ops.jobs.tell() == ()
    clock.advance(2 * HOUR)
    ended(ops, "passed")
    assert ops.jobs.tell() == (), "nobody was told, and it is over"
    clock.advance(HOUR)
    ended(ops, "failed")
    assert ops.jobs.tell() == ()
    clock.advance(8 * HOUR)  # 08:00
    assert [one.alert.kind for one in ops.jobs.tell()] == ["failing"]
    assert lines(ops)[0]["since"] == "2026-03-03T00:00:00+00:00"


def test_mail_webhook_and_file_hear_it(ops_factory: Callable[..., Ops], clock: ManualClock, hook: Any) -> None:
    url = f"http://127.0.0.1:{hook.server_port}/alert"
    with SmtpServer() as smtp:
        ops = made(
            ops_factory,
            clock,
            f'mail = ["ann@acme.example"]\nsender = "alerts@acme.example"\nwebhook = "{url}"\nfile = "told.jsonl"',
        )
        furnish(ops, smtp)
        clock.advance(HOUR)
        ended(ops, "error")
        (told,) = ops.jobs.tell()
        assert told.roads == {"mail": "", "webhook": "", "file": ""}
        (mail,) = smtp.messages
        assert b"Subject: mailops: gate fails" in mail.data
        assert b"The kernel died." in mail.data
    assert [(one["job"], one["kind"], one["reasons"]) for one in hook.heard] == [
        ("gate", "failing", ["The kernel died."])
    ]
    assert json.loads((ops.workspace.path / "told.jsonl").read_text())["text"] == hook.heard[0]["text"]


def test_an_alert_that_mail_does_not_take_goes_another_road(
    ops_factory: Callable[..., Ops], clock: ManualClock
) -> None:
    """The job that fails may be the one that watches mail: its alert must not wait in the queue alone."""
    with SmtpServer([Rule("mail", "reply", 421, "4.3.0", "Come back later")]) as smtp:
        ops = made(ops_factory, clock, 'mail = ["ann@acme.example"]\nsender = "alerts@acme.example"')
        furnish(ops, smtp)
        clock.advance(HOUR)
        ended(ops, "failed")
        (told,) = ops.jobs.tell()
    assert "did not leave at once" in told.roads["mail"]
    assert told.roads["file"] == ""
    (line,) = lines(ops)
    assert "did not leave at once" in line["not_by"]["mail"]


def test_an_alert_that_went_nowhere_is_tried_again(
    ops_factory: Callable[..., Ops], clock: ManualClock, hook: Any
) -> None:
    url = f"http://127.0.0.1:{hook.server_port}/alert"
    ops = made(ops_factory, clock, f'webhook = "{url}"\nfile = "gone/told.jsonl"')
    hook.status = 503
    clock.advance(HOUR)
    ended(ops, "failed")
    (told,) = ops.jobs.tell()
    assert not told.arrived
    assert ops.jobs.waiting()
    hook.status = 204
    assert [one.arrived for one in ops.jobs.tell()] == [True]
    assert ops.jobs.tell() == ()


def test_the_command_line(ops_factory: Callable[..., Ops], clock: ManualClock) -> None:
    ops = made(ops_factory, clock)
    run, words = CliRunner(), ["-w", str(ops.workspace.path), "jobs", "alerts"]
    assert run.invoke(app, [*words, "--json"]).exit_code == 0
    clock.advance(HOUR)
    ended(ops, "failed")
    ops.jobs.tell()
    done = run.invoke(app, [*words, "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["jobs"]["gate"]["failing"] is True
    assert "alerts.jsonl" in run.invoke(app, words).stdout
    assert json.loads(run.invoke(app, [*words, "--test", "--json"]).stdout) == {"file": ""}
    assert lines(ops)[-1]["kind"] == "test"


def test_a_year_of_a_job_that_fails_now_and_then() -> None:
    """Each failing is told once a day at most, each recovery once, and none of it in the quiet hours."""
    now, standing, told = START, Standing(), []
    for hour in range(365 * 24):
        now = START + timedelta(hours=hour)
        status = "failed" if hour % 400 < hour // 50 else "passed"  # ever longer failings
        run = Run(f"r{hour}", "x", {}, now, now, status, 1, None, None)
        decision = decide(standing, run, now, quiet=is_quiet("22:00-07:00", now, "Europe/Berlin"))
        standing = decision.standing
        if decision.kind:
            told.append((now, decision.kind))
    kinds = [kind for _, kind in told]
    assert all(b != "failing" for a, b in itertools.pairwise(kinds) if a != "recovered")
    assert all(a != "recovered" for a, b in itertools.pairwise(kinds) if b != "failing")
    assert not any(is_quiet("22:00-07:00", at, "Europe/Berlin") for at, _ in told)
    spans = [b - a for (a, _), (b, kind) in itertools.pairwise(told) if kind == "still failing"]
    assert spans
    assert min(spans) >= timedelta(days=1)
    assert max(spans) <= timedelta(hours=34), "a day, and at most the quiet hours more"
