"""Every notebook of the sending part as a job: once on a healthy workspace, once with a planted fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from furnish import furnish

from mailops import Ops
from mailops.jobs import available, run_notebook
from mailops.model.setup import Authentication, Encryption
from mailops.model.states import MailState
from mailops.testing import Authority, ManualClock, SmtpServer, defer, refuse

pytestmark = pytest.mark.timeout(180)
MINE = ("start_here", "queue", "outgoing_servers", "bounce_rate")


def post(ops: Ops, count: int, domain: str = "x.example") -> None:
    for n in range(count):
        ops.send(sender="Ann <ann@acme.example>", to=[f"u{n}@{domain}"], subject=f"Mail {n}", text="Hi")
    ops.queue.run()


def job(ops: Ops, name: str, **parameters: Any) -> Any:
    return run_notebook(name, parameters, workspace=ops.workspace.path, timeout=120)


def report_of(result: Any) -> str:
    return str(result.report.read_text("utf-8"))


def test_a_healthy_workspace_passes_everywhere(
    ops_factory: Callable[..., Ops], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also: the password of the server stands in no file that a run leaves behind."""
    secret = "correct-horse-battery-9137"
    monkeypatch.setenv("SMTP_PASSWORD", secret)
    authority = Authority(tmp_path_factory.mktemp("ca"))
    with SmtpServer(tls=authority.server_tls(), auth={"ann": secret}) as smtp:
        ops = ops_factory()
        furnish(
            ops,
            smtp,
            host="localhost",
            encryption=Encryption.STARTTLS,
            authentication=Authentication.LOGIN,
            login="ann",
            password="env:SMTP_PASSWORD",
            ca_file=str(authority.ca_file),
        )
        post(ops, 40)
        tasks = ops.readiness(methods=["redirection"], dns=False).tasks
        assert ops.readiness(done=[task.id for task in tasks], dns=False).ready
        results = {name: job(ops, name, **({"dns": "false"} if name == "start_here" else {})) for name in MINE}
    for name, result in results.items():
        assert (name, result.exit_code, result.status) == (name, 0, "passed"), result.message
        text = report_of(result)
        assert "Traceback" not in text
        assert "http://" not in text.replace("http://www.w3.org/", "")  # nothing is fetched
    assert "u39@x.example" in report_of(results["queue"])
    assert "Connection Test Successful!" in report_of(results["outgoing_servers"])
    assert "0.00%" in report_of(results["bounce_rate"])
    for file in ops.workspace.path.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes(), file


def test_planted_faults_fail_the_job_and_the_report_says_what_to_do(ops_factory: Callable[..., Ops]) -> None:
    old = ManualClock(datetime.now(UTC) - timedelta(hours=9))
    with SmtpServer(script=[refuse("*@gone.example"), defer("*@slow.example")]) as smtp:
        ops = ops_factory(clock=old)
        furnish(ops, smtp, from_filter="ann@acme.example")  # the notification address has no server
        post(ops, 30, "gone.example")
        post(ops, 3, "slow.example")
        waiting = job(ops, "queue", max_failed="5", state="Delivery Failed")
    assert ops.queue.counts()[MailState.FAILED] == 30
    assert waiting.exit_code == 1
    assert "2 of 2 checks failed" in waiting.message
    assert "Run the queue job" in report_of(waiting)
    dead = job(ops, "outgoing_servers", sender="Bob <bob@acme.example>")  # the server is down by now
    assert dead.exit_code == 1
    assert "servers.plan" in dead.message
    assert "connection:main" in dead.message
    assert "notifications@acme.example" in report_of(dead)
    rate = job(ops, "bounce_rate", by="server")
    assert rate.exit_code == 1
    assert "take out addresses that do not exist" in report_of(rate)
    first = job(ops, "start_here")
    assert first.exit_code == 1
    result = json.loads((first.folder / "result.json").read_text("utf-8"))
    assert result["exit_code"] == 1


def test_every_notebook_names_its_question_and_its_parameters() -> None:
    found = {info.name: info for info in available()}
    assert set(MINE) <= set(found)
    for info in found.values():
        assert info.question.endswith((".", "?")), info.name
        assert all(p.help for p in info.parameters), info.name
