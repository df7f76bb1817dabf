"""What a person is told of a failure: what it is about, what follows, and nothing to send again that is still tried."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from furnish import furnish
from typer.testing import CliRunner

from mailops import Ops
from mailops.cli.app import app
from mailops.testing import SmtpServer, refuse
from mailops.testing.dsn import build_dsn

WHO = "quiet@x.example"
NOT_PASSED = "Your message does not meet our policy: SPF [acme.example] with ip [192.0.2.1] = did not pass; DKIM = pass"


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return str(done.output)


@pytest.fixture
def ops(sqlite_ops: Ops, monkeypatch: pytest.MonkeyPatch) -> Ops:
    monkeypatch.chdir(sqlite_ops.workspace.path)
    return sqlite_ops


def sent(ops: Ops, subject: str = "Offer 7") -> int:
    number = ops.send(sender="Ann <ann@acme.example>", to=[WHO], subject=subject, text="Hi")
    ops.queue.run()
    return number


def why(number: int) -> tuple[str, dict[str, Any]]:
    told: dict[str, Any] = json.loads(run("bounces", "why", str(number), "--no-dns", "--json"))
    return run("bounces", "why", str(number), "--no-dns"), told


def test_a_mail_that_still_waits_is_not_to_be_sent_again(ops: Ops) -> None:
    with SmtpServer(script=[refuse(WHO, 451, "4.4.1", "Connection timed out; try later")]) as smtp:
        furnish(ops, smtp)
        said, told = why(sent(ops))
    assert "Send again" not in said
    assert "Nothing to send again: the queue still tries." in said
    assert (told["subject"], told["failures"][0]["consequence"][:18]) == ("Offer 7", "Nothing is counted")
    assert f"About: Offer 7 {told['message_id']}" in said
    assert told["message_id"].startswith("<")


def test_a_weak_answer_is_said_to_wait_for_a_second_one(ops: Ops) -> None:
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        number = sent(ops)
        report = build_dsn(smtp.messages[-1].data, WHO, "5.1.0", "550 5.1.0", "mx.x.example", to="bounce@acme.example")
    ops.bounces.take(report)
    said, told = why(number)
    assert "proposed for the suppression list" in said
    assert told["failures"][0]["strength"] == "hard, unconfirmed"
    (trouble,) = ops.why(number)
    assert trouble.failure.strength == "hard, unconfirmed"
    assert "decides" in trouble.consequence
    from mailops.widgets.bounces_view import BouncesView
    from mailops.widgets.failures_view import FailureCard

    card = FailureCard(ops, trouble.failure).html()
    assert "hard, unconfirmed" in card
    assert "proposed for the suppression list" in card
    assert "bounce hard, unconfirmed" in BouncesView(ops).reports.text()


@pytest.mark.parametrize("road", ["door", "report"])
def test_the_method_that_failed_is_named_with_the_command_for_its_domain(ops: Ops, road: str) -> None:
    script = [refuse(WHO, 550, "5.7.26", NOT_PASSED)] if road == "door" else []
    with SmtpServer(script=script) as smtp:
        furnish(ops, smtp)
        number = sent(ops)
        if road == "report":
            data = smtp.messages[-1].data
            ops.bounces.take(build_dsn(data, WHO, "5.7.26", f"550 5.7.26 {NOT_PASSED}", "mx.x.example"))
    said, _ = why(number)
    assert "SPF for acme.example did not pass." in said
    assert "mailops domain check acme.example" in said
    assert "the address stays in use" in said


def test_a_clear_one_is_said_to_end_the_mail_to_it(ops: Ops, tmp_path: Path) -> None:
    with SmtpServer(script=[refuse(WHO)]) as smtp:
        furnish(ops, smtp)
        said, told = why(sent(ops))
    assert "Nobody writes there any more" in said
    assert told["failures"][0]["strength"] == "hard"
