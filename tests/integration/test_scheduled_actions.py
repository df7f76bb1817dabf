"""Scheduled actions (CRON-04 to CRON-09) and the dead man's switch, which shares nothing with who schedules."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from furnish import furnish
from test_campaigns import make, people
from test_jobs_scheduled import NOTEBOOKS, cli

from mailops import Ops
from mailops.checks import schedules
from mailops.jobs import deadman
from mailops.jobs.service import Jobs
from mailops.queue import job
from mailops.store.runs import Run, finish_run, start_run
from mailops.testing import ManualClock, SmtpServer
from mailops.widgets import ActionsView, WhatIfCard, interval_form, watch_sheet
from mailops.workspace import init

AT = datetime(2026, 11, 30, 13, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)


def actions(ops: Ops) -> dict[str, dict[str, Any]]:
    return {one["key"]: one for one in cli(ops, "jobs", "action", "list")}


@pytest.mark.req("CRON-04", "CRON-05", "CRON-08", "CRON-09")
def test_the_four_actions_with_their_intervals_and_a_change_that_asks(tmp_path: Path) -> None:
    ops = Ops.open(init(tmp_path / "w"))
    found = actions(ops)
    assert {key: (one["label"], one["minutes"], one["usual"]) for key, one in found.items()} == {
        "queue": ("Mail: Email Queue Manager", 15, 60),  # proposed for a new workspace
        "fetch": ("Mail: Fetchmail Service", 5, 5),
        "campaigns": ("Mail Marketing: Process queue", 1440, 1440),
        "vacuum": ("Auto-Vacuum", 1440, 1440),
    }
    assert found["queue"]["recommended"] == 15
    assert {one["path"] for one in found.values()} == {"Settings → Technical → Automation: Scheduled Actions"}
    change = ["jobs", "action", "every", "queue"]
    refused = cli(ops, *change, "30", status=2)
    assert refused["code"] == "state.not_confirmed"
    assert refused["facts"]["impact"] == [
        "Changing how often a scheduled action runs is generally not recommended. "
        "Mail: Email Queue Manager: every 15 minutes becomes every 30."
    ]
    assert cli(ops, *change, "30", "--yes")["minutes"] == 30
    assert "interval_minutes = 30" in (ops.workspace.path / "mailops.toml").read_text()
    assert Ops.open(ops.workspace.path).workspace.settings.queue.interval_minutes == 30
    for minutes in ("4", "1", "0"):
        wrong = cli(ops, *change, minutes, "--yes", status=2)
        assert (wrong["code"], wrong["facts"]["lowest"]) == ("job.too_often", 5)
    assert cli(ops, "jobs", "action", "every", "fetch", "10", "--yes")["minutes"] == 10
    assert ops.readiness(dns=False).tasks is not None
    assert actions(ops)["fetch"]["minutes"] == 10
    assert cli(ops, "jobs", "action", "every", "campaigns", "60", "--yes", status=2)["code"] == "job.fixed"
    assert cli(ops, "jobs", "action", "every", "mail", "60", "--yes", status=2)["code"] == "job.no_action"
    before = (ops.workspace.path / "mailops.toml").read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAILOPS_QUEUE__INTERVAL_MINUTES", "20")
        assert cli(ops, *change, "45", "--yes", status=2)["code"] == "config.from_environment"
    assert (ops.workspace.path / "mailops.toml").read_text() == before


@pytest.mark.req("CRON-08")
def test_running_one_by_hand_asks_and_a_timer_s_command_does_not(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        ops.send(sender="ann@acme.example", to="b@x.example", text="t")
        assert cli(ops, "jobs", "action", "run", "queue", status=2)["code"] == "state.not_confirmed"
        assert smtp.accepted == 0
        done = cli(ops, "jobs", "action", "run", "queue", "--yes")
        assert (done["label"], done["did"]) == ("Mail: Email Queue Manager", "1 sent, 0 deferred, 0 failed")
        ops.send(sender="ann@acme.example", to="b@x.example", text="t")
        cli(ops, "queue", "run")
        assert smtp.accepted == 2
        assert "old sent mails removed" in ops.scheduled.run("vacuum")
        found = actions(ops)
        assert found["queue"]["took"] >= 0
        assert found["vacuum"]["last_at"]


@pytest.mark.req("CRON-06")
def test_an_interval_below_the_measured_run_is_warned_of_with_numbers(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        clock = ManualClock(AT)
        ops = ops_factory(clock=clock)
        furnish(ops, smtp)
        ops.limits.set("main", count=5, per="minute")
        ops.scheduled.every("queue", 5)
        make(ops, "one", people(40))
        ops.campaigns.send("one")
        ops.queue.run()  # by the limit it takes seven minutes
        found = actions(ops)["queue"]
        assert 420 <= found["took"] <= 479
        assert re.fullmatch(
            r"Mail: Email Queue Manager runs every 5 minutes, and its last run took 7\.\d minutes: not all mail may be "
            r"processed, and the job may time out\. Let it run every 15 minutes or rarer\.",
            found["warning"],
        )
        assert ops.scheduled.every("queue", 15).warning == ""


@pytest.mark.req("CRON-06")
def test_a_notebook_s_interval_below_its_run_is_warned_of(ops_factory: Callable[..., Ops]) -> None:
    clock = ManualClock(AT)
    ops = ops_factory(clock=clock)
    made = Jobs(ops.workspace, clock).add("queue", every="5m")
    assert cli(ops, "jobs", "list")[0]["warning"] == ""
    start_run(ops.engine, Run(made.run_id(AT), "queue", {}, AT, None, "running", None, None, None))
    finish_run(ops.engine, made.run_id(AT), status="passed", exit_code=0, error=None, at=AT + timedelta(minutes=7))
    warned = cli(ops, "jobs", "list")[0]["warning"]
    assert warned.startswith("Job queue runs every 5 minutes, and its last run took 7.0 minutes: not all mail")


def test_a_campaign_s_time_is_the_next_one_of_its_action(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory(clock=ManualClock(AT))
        furnish(ops, smtp)
        make(ops, "one", people(2))
        assert ops.scheduled.get("campaigns").next_at is None
        ops.campaigns.schedule("one", AT + timedelta(minutes=70))
        assert ops.scheduled.get("campaigns").next_at == AT + timedelta(minutes=70)
        assert ops.scheduled.get("queue").next_at == ops.queue.next_job


@pytest.mark.parametrize("kind", ["systemd", "cron"])
def test_timers_for_a_machine_without_serve(sqlite_ops: Ops, kind: str, tmp_path: Path) -> None:
    text = cli(sqlite_ops, "jobs", "export", kind)["text"]
    for words in ("queue run", "inbound fetch", "jobs tick", "queue vacuum", "jobs watch"):
        assert f"{sqlite_ops.workspace.path} {words}" in text
    if kind == "cron":
        assert {line.split("  ")[0] for line in text.splitlines() if line[0] != "#"} == {
            "*/15 * * * *", "*/5 * * * *", "* * * * *", "30 3 * * *", "7-59/10 * * * *",
        }  # fmt: skip
    else:
        assert text.count("OnCalendar=") == text.count("Type=oneshot") == 5
        if shutil.which("systemd-analyze"):
            for line in text.splitlines():
                if line.startswith("OnCalendar="):
                    command = ["systemd-analyze", "calendar", line.partition("=")[2]]
                    assert subprocess.run(command, check=False, capture_output=True).returncode == 0, line
    assert cli(sqlite_ops, "jobs", "export", "windows", status=2)["code"] == "serve.export_kind"


def test_scheduled_started_and_finished_are_three_facts(ops_factory: Callable[..., Ops]) -> None:
    clock = ManualClock(AT)
    ops = ops_factory(clock=clock)
    jobs = Jobs(ops.workspace, clock)
    made = jobs.add(NOTEBOOKS / "gate.ipynb", every="1h", name="hourly")
    assert cli(ops, "jobs", "watch", status=0)["well"] is True
    clock.advance(3600 + 600)
    assert ops.watch_jobs().well, "ten minutes late is not silent yet"
    clock.advance(600)
    found = ops.watch_jobs()
    [one] = [w for w in found.watched if w.silent]
    assert (one.name, one.state, one.scheduled, one.started) == ("Job hourly", "not started", AT + HOUR, None)
    line = json.loads((ops.workspace.path / "watch.jsonl").read_text())
    assert (line["job"], line["state"]) == ("Job hourly", "not started")
    assert "was to begin at 2026-11-30 14:20 UTC, and did not: it never began." in line["text"]
    slot = made.run_id(AT + HOUR)
    start_run(ops.engine, Run(slot, "gate", {}, clock.now(), None, "running", None, None, None))
    assert ops.watch_jobs().well, "it runs"
    clock.advance(made.timeout + 16 * 60)
    [one] = [w for w in ops.watch_jobs().watched if w.silent]
    assert one.state == "not finished"
    assert "has not ended for 0.4 hours" in one.words


def test_a_run_by_hand_proves_no_scheduler(ops_factory: Callable[..., Ops]) -> None:
    clock = ManualClock(AT)
    ops = ops_factory(clock=clock)
    made = Jobs(ops.workspace, clock).add(NOTEBOOKS / "gate.ipynb", every="1h", name="hourly")
    clock.advance(3600 + 1200)
    hand = made.run_id(clock.now(), by_hand=True)
    start_run(ops.engine, Run(hand, "gate", {}, clock.now(), None, "running", None, None, None))
    assert not ops.watch_jobs().well


def test_the_queue_that_nobody_runs_is_told_without_mail(ops_factory: Callable[..., Ops]) -> None:
    heard: list[tuple[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.do_GET()

        def do_GET(self) -> None:
            heard.append((self.path, None)) if self.command == "GET" else None
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with SmtpServer() as smtp, HTTPServer(("127.0.0.1", 0), Hook) as hook:
        Thread(target=hook.serve_forever, daemon=True).start()
        at = f"http://127.0.0.1:{hook.server_port}"
        clock = ManualClock(AT)
        ops = ops_factory(clock=clock)
        furnish(ops, smtp)
        ops.queue.run()
        assert ops.watch_jobs(ping=f"{at}/well").told == {"ping": ""}
        assert heard.pop() == ("/well", None)
        ops.send(sender="ann@acme.example", to="b@x.example", text="t")
        clock.advance(2 * 3600)
        away = ops.watch_jobs(file="silent.jsonl", webhook="http://127.0.0.1:9/hook")
        assert (away.told["file"], bool(away.told["webhook"])) == ("", True)
        found = ops.watch_jobs(file="silent.jsonl", webhook=f"{at}/hook", ping=f"{at}/well")
        assert found.told == {"webhook": ""}, "the road that was down is told as soon as it is there"
        [(path, told)] = heard
        assert path == "/hook"
        assert told["jobs"][0]["job"] == "Mail: Email Queue Manager"
        assert told["text"].startswith("mailops: 1 scheduled job is silent.")
        assert smtp.accepted == 0, "it sends no mail"
        assert ops.watch_jobs(file="silent.jsonl", webhook=f"{at}/hook").told == {}, "told once"
        clock.advance(86_400)
        assert set(ops.watch_jobs(file="silent.jsonl").told) == {"file"}, "and once a day"
        ops.queue.run()
        assert ops.watch_jobs(file="silent.jsonl").told == {"file": ""}, "it is well again"
        lines = [json.loads(line) for line in (ops.workspace.path / "silent.jsonl").read_text().splitlines()]
        assert [line["state"] for line in lines] == ["not started", "not started", "well"]
        hook.shutdown()


def test_a_run_of_the_queue_that_hangs_is_told(ops_factory: Callable[..., Ops]) -> None:
    clock = ManualClock(AT)
    ops = ops_factory(clock=clock)
    job.ran(ops.engine, AT)
    job.begins(ops.engine, job.JOB, AT)
    assert ops.watch_jobs().well
    clock.advance(2 * 3600)
    [one] = [w for w in ops.watch_jobs().watched if w.silent]
    assert "it began last at 2026-11-30 13:20 UTC and has not ended." in one.words
    job.ended(ops.engine, job.JOB, clock.now())
    job.ran(ops.engine, clock.now())
    assert ops.watch_jobs().well


def test_what_cannot_be_read_is_an_alarm_and_shares_nothing_with_the_scheduler(ops_factory: Callable[..., Ops]) -> None:
    ops = ops_factory(clock=ManualClock(AT))
    (ops.workspace.path / "jobs.json").write_text("{", "utf-8")
    [one] = [w for w in ops.watch_jobs().watched if w.silent]
    assert (one.name, one.state) == ("The jobs", "not known")
    used = set(Path(deadman.__file__).read_text("utf-8").split())
    assert not used & {".alerts", ".service", ".runner", "..store.exclusive", "Send"}


@pytest.mark.req("CRON-08", "CRON-06")
def test_the_page_of_limits_and_schedules_acts_after_a_question(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        make(ops, "one", people(3))
        ops.campaigns.send("one")
        view = ActionsView(ops)
        for word in ("Mail: Fetchmail Service", "15 min (recommended: 15)", "Auto-Vacuum", "never"):
            assert word in view.text()
        view.widget  # noqa: B018 (builds the live face)
        [run] = view.actions.actions
        assert run.preview().run is None, "nothing is ticked"
        view.table.widget.selected = [1]
        preview = run.preview()
        assert "generally not recommended" in preview.sentence
        assert smtp.accepted == 0, "a preview does nothing"
        told = WhatIfCard(ops.what_if()).text()
        assert "3 mails leave" in told
        assert "u2@x.example" in told
        assert preview.run is not None
        assert preview.run(lambda _: None) == "Mail: Email Queue Manager: 3 sent, 0 deferred, 0 failed."
        form = interval_form(ops)
        asked = form._submit({"key": "queue", "minutes": "30", "again": ""})
        assert "Type queue once more" in str(asked)
        assert ops.workspace.settings.queue.interval_minutes == 15
        assert "runs every 30 minutes" in str(form._submit({"key": "queue", "minutes": "30", "again": "queue"}))
        assert "scheduled" in watch_sheet(ops.watch_jobs(tell=False)).text().lower()
        assert schedules.running(ops.watch_jobs(tell=False)).passed
        assert schedules.long_enough(ops.scheduled.all(), now=AT).passed
