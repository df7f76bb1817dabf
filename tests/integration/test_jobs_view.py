"""Notebooks become jobs by a card, the jobs have a page, and many workspaces one table, with their domains."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from furnish import furnish
from typer.testing import CliRunner

from mailops import Ops
from mailops.checks import rates
from mailops.cli import commands  # noqa: F401  (registers the top-level commands)
from mailops.cli.app import app
from mailops.demo.names import ask_here
from mailops.jobs import run_notebook
from mailops.store.runs import Run, finish_run, start_run
from mailops.testing import DnsServer, ManualClock, SmtpServer, refuse
from mailops.widgets import AlertsCard, JobsView, NightlyCard
from mailops.workspace import init

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture
def ops(ops_factory: Callable[..., Ops]) -> Ops:
    return ops_factory(clock=ManualClock(NOW), toml="")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_notebook_offers_itself_as_a_nightly_job(name: str) -> None:
    cells = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text("utf-8"))["cells"]
    offers = ["".join(cell["source"]) for cell in cells if "NightlyCard(" in "".join(cell["source"])]
    assert offers == [f'NightlyCard(ops, "{name}", globals())']
    assert all("NightlyCard(" not in "".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def test_the_card_schedules_the_notebook_with_the_parameters_it_has(ops: Ops) -> None:
    card = NightlyCard(ops, "bounce_rate", {"since": "7d", "by": "domain", "limit": 0.05, "other": 1})
    assert card.parameters == {"since": "7d"}, "what differs from the defaults"
    assert '--cron "30 2 * * *" -p since=7d' in card.text()
    (action,) = card.actions.actions
    assert action.label == "Make this a nightly job"
    preview = action.preview()
    assert (preview.examples, ops.jobs.all()) == (("since = '7d'",), ()), "a preview changes nothing"
    assert preview.run is not None
    assert "30 2 * * *" in str(preview.run(lambda _: None))
    (job,) = ops.jobs.all()
    assert (job.name, job.notebook, job.cron, dict(job.parameters)["since"]) == (
        "bounce_rate", "bounce_rate", "30 2 * * *", "7d",
    )  # fmt: skip
    assert "It runs as a job: bounce_rate, at 30 2 * * * (UTC)." in card.html()
    assert "in place of the job bounce_rate" in action.preview().sentence


def test_the_page_of_jobs_says_how_they_ended_and_removes_one(ops: Ops) -> None:
    job = ops.jobs.add("queue", every="1h")
    start_run(ops.engine, Run(job.run_id(NOW), "queue", {}, NOW, None, "running", None, None, None))
    finish_run(ops.engine, job.run_id(NOW), status="failed", exit_code=1, error=None, at=NOW)
    ops.jobs.tell()
    view = JobsView(ops)
    for word in ("every 1h", "2026-03-02 10:00", "failed", "fails, 2026-03-02 09:00"):
        assert word in view.text()
    view.widget  # noqa: B018 (builds the live face)
    _, remove = view.actions.actions
    assert remove.preview().run is None, "nothing is ticked"
    view.table.widget.selected = [1]
    preview = remove.preview()
    assert preview.run is not None
    preview.run(lambda _: None)
    assert ops.jobs.all() == ()
    test = AlertsCard(ops).actions.actions[0].preview()
    assert test.run is not None
    assert getattr(test.run(lambda _: None), "sentence", "") == "file: arrived."


def test_the_fleet_s_domains_are_looked_at_one_workspace_after_the_other(tmp_path: Path) -> None:
    zone = {"acme.example": ["TXT v=spf1 -all", "MX 10 mx.acme.example."], "mx.acme.example": ["A 192.0.2.1"]}
    with DnsServer(zone) as dns:
        for name in ("a-empty", "b-acme", "c-broken"):
            space = init(tmp_path / name)
            ask_here(space.path / "mailops.toml", dns.port)
            ops = Ops.open(space)
            if name == "b-acme":
                ops.change_alias_domain("acme.example")
            ops.close()
        (tmp_path / "c-broken" / "mailops.toml").write_text("[profile\n", "utf-8")
        done = CliRunner().invoke(app, ["fleet", str(tmp_path), "domain", "check", "--json"])
    assert done.exit_code == 2, done.output
    found = json.loads(done.stdout)
    assert [(one["name"], one["verdict"]) for one in found] == [
        ("a-empty", "ok"), ("b-acme", "look"), ("c-broken", "error"),
    ]  # fmt: skip
    assert found[1]["facts"]["domains"].keys() == {"acme.example"}
    assert re.search(r"acme\.example: (failed|warning)", found[1]["said"])


def test_limits_are_one_verdict(ops: Ops) -> None:
    with SmtpServer(script=[refuse(f"gone{n}@x.example") for n in range(30)]) as smtp:
        furnish(ops, smtp)
        for n in range(60):
            who = f"{'gone' if n < 30 else 'u'}{n}@x.example"
            ops.send(to=[who], sender="ann@acme.example", subject="x", text="x")
        ops.queue.run()
    assert rates.limits(ops.metrics(), now=NOW).state == "skipped", "what left today is not ripe"
    ops.clock.advance(6 * 86_400)  # type: ignore[attr-defined]
    verdict = rates.limits(ops.metrics(), now=ops.clock.now())
    assert verdict.state == "failed"
    assert "hard_bounce_rate: 50.00% (30 of 60), critical" in verdict.found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["jobs", "fleet", "deliverability", "limits_and_schedules"])
def test_the_notebook_runs_as_a_job(name: str, ops_factory: Callable[..., Ops]) -> None:
    ops = ops_factory()
    given: dict[str, Any] = {"fleet": {"domains": False}, "deliverability": {"dns": False}}.get(name, {})
    result = run_notebook(name, given, workspace=ops.workspace, timeout=200)
    assert result.status == "passed", result.message
    page = (result.folder / "report.html").read_text("utf-8")
    assert "Traceback" not in page
    assert f"mailops jobs add {name}" in page.replace("&quot;", '"')
