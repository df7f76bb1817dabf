"""Reports: a run as a letter whose subject states the finding, and the whole page enclosed."""

from __future__ import annotations

import email
import email.policy
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from furnish import furnish
from typer.testing import CliRunner

from mailops import Ops, Verdict, VerdictState
from mailops.cli import commands  # noqa: F401  (registers the top-level commands)
from mailops.cli.app import app
from mailops.jobs.letter import REPORTS, letter
from mailops.jobs.runner import RunResult
from mailops.testing import SmtpServer

NOTEBOOKS = Path(__file__).parents[1] / "fixtures" / "notebooks"
AT = datetime(2026, 3, 2, 7, tzinfo=UTC)
PASSED = Verdict("queue.waiting", "mails", VerdictState.PASSED, "Nothing waits too long", "3 wait", "", "")
BAD = Verdict(
    "bounce_rate.hard", "addresses", VerdictState.FAILED, "12.00% of the addresses are <dead>", "12 of 100", "", "Clean it."
)  # fmt: skip


def run(*changed: str, **other: Any) -> RunResult:
    status = {"status": "failed", "exit_code": 1, "message": "1 of 2 checks failed: bounce_rate.hard", "error": None}
    return RunResult(
        id="20260302T070000Z-abc", notebook="deliverability", title="Deliverability", seconds=3.0, started_at=AT,
        finished_at=AT, parameters={}, checks={}, changed=changed, retry=False, folder=Path(), report=Path(),
        **{**status, **other},
    )  # fmt: skip


def test_the_subject_states_the_worst_finding_and_every_verdict_is_in_words() -> None:
    made = letter(run("new: 12.00% of the addresses are <dead> (addresses)"), [PASSED, BAD], b"<html>page</html>")
    assert made.subject == "Deliverability: 12.00% of the addresses are <dead>"
    assert made.text.index("Changed since the last run") < made.text.index("Not in order: 12.00%")
    assert made.text.index("Not in order") < made.text.index("In order: Nothing waits too long")
    assert "Next: Clean it." in made.text
    assert made.enclosed[0].filename == "deliverability-20260302.html"
    assert "&lt;dead&gt;" in made.html
    assert not re.search(r"<script|<link|src=|https?:", made.html), "nothing is fetched"


def test_a_report_in_which_all_is_well_says_so() -> None:
    made = letter(run(status="passed", exit_code=0, message="Every check passed."), [PASSED], b"")
    assert made.subject == "Deliverability: Every check passed."
    stopped = letter(run(status="error", exit_code=2, message="The kernel died.", error={"error": "x"}), [BAD], b"")
    assert stopped.subject == "Deliverability: The kernel died."


def test_the_usual_reports_are_notebooks_that_take_their_parameters() -> None:
    from mailops.jobs import available

    known = {one.name: {p.name for p in one.parameters} for one in available()}
    assert set(REPORTS) == {"deliverability", "queue", "domains", "intake"}
    for notebook, parameters in REPORTS.values():
        assert parameters.keys() <= known[notebook]


def test_the_command_tells_and_writes_the_page(ops_factory: Callable[..., Ops], tmp_path: Path) -> None:
    ops = ops_factory()
    page = tmp_path / "page.html"
    words = ["-w", str(ops.workspace.path), "report", str(NOTEBOOKS / "healthy.ipynb"), "-o", str(page), "--json"]
    done = CliRunner().invoke(app, words)
    told = json.loads(done.stdout)
    assert (done.exit_code, told["run"]["status"], told["mailed"], told["not_mailed"]) == (0, "passed", [], "")
    assert page.read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.timeout(240)
def test_a_job_mails_each_run_and_an_answer_of_mail_that_is_broken_is_told(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory(toml='\n[alerts]\nsender = "mailops@acme.example"\n')
        furnish(ops, smtp)
        job = ops.jobs.add(NOTEBOOKS / "gate.ipynb", every="1w", mail_to=["ann@acme.example", "bob@acme.example"])
        assert ops.jobs.get(job.name).mail_to == ("ann@acme.example", "bob@acme.example"), "kept"
        result = ops.jobs.run(job.name)
        mail = email.message_from_bytes(bytes(smtp.messages[-1].data), policy=email.policy.default)
        assert sorted(smtp.messages[-1].recipients) == ["ann@acme.example", "bob@acme.example"]
        assert str(mail["Subject"]).startswith(f"{result.title}: ")
        (page,) = mail.iter_attachments()
        assert page.get_content_type() == "text/html"
        assert page.get_payload(decode=True).split() == result.report.read_bytes().split()
    why = ops.jobs.mail(result, ["ann@acme.example"])  # the server is gone
    assert "did not leave at once" in why
    assert '"not mailed"' in (ops.workspace.path / "alerts.jsonl").read_text()
