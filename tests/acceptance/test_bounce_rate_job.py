"""The notebook bounce_rate as a job: nothing sent, few mails, failures without a reason, figures as files."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from furnish import furnish

from mailops import Ops
from mailops.jobs import run_notebook
from mailops.testing import DnsServer, SmtpServer, refuse
from mailops.testing.dsn import build_dsn

pytestmark = pytest.mark.timeout(180)


def job(ops: Ops, **parameters: Any) -> tuple[Any, str]:
    result = run_notebook("bounce_rate", parameters, workspace=ops.workspace.path, timeout=120)
    return result, str(result.report.read_text("utf-8"))


def test_an_empty_workspace_has_nothing_to_check(ops_factory: Callable[..., Ops]) -> None:
    result, report = job(ops_factory())
    assert (result.exit_code, result.message) == (0, "Nothing to check here yet.")
    assert "Traceback" not in report
    assert "Nothing was sent in this time." in report


@pytest.mark.req("ERR-05", "ERR-06")
def test_failures_without_a_reason_bring_the_sender_s_dns_into_the_report(ops_factory: Callable[..., Ops]) -> None:
    script = [refuse("silent@mute.example", 550, "", ""), refuse("gone@x.example")]
    with SmtpServer(script=script) as smtp, DnsServer({"acme.example": ['TXT "v=spf1 -all"']}, ttl=60) as dns:
        ops = ops_factory(toml=f'\n[dns]\nresolvers = ["127.0.0.1:{dns.port}"]\n')
        furnish(ops, smtp)
        for address in ["silent@mute.example"] * 3 + ["gone@x.example", "ann@x.example", "full@x.example"]:
            ops.send(sender="Ann <ann@acme.example>", to=[address], subject="Hi", text="Hi")
        ops.queue.run()
        raw = smtp.messages[-1].data
        ops.bounces.take(build_dsn(raw, "full@x.example", "5.2.2", "552 5.2.2 Mailbox full", "mx.x.example"))
        asked = len(dns.queries)
        result, report = job(ops, export="csv", by="class")
        assert len(dns.queries) > asked
    assert result.exit_code == 1  # five of six came back: surely above the limit, however few
    assert "1 of 5 checks failed: bounce_rate" in result.message
    assert "DNS of acme.example: not in order" in report
    assert "mailops bounces collect silent@mute.example" in report
    assert "silent@mute.example" in report
    assert "too few to say" in report or "critical" in report
    [folder] = (ops.workspace.path / "exports").iterdir()
    assert len(list(folder.iterdir())) == 9
    with (folder / "causes.csv").open() as file:
        assert {row["reason"]: row["addresses"] for row in csv.DictReader(file)} == {
            "undefined": "1",
            "userunknown": "1",
            "mailboxfull": "1",
        }


@pytest.mark.req("ERR-02")
def test_the_known_case_of_an_unverified_sender_shows_its_three_tasks(ops_factory: Callable[..., Ops]) -> None:
    from mailops.widgets.failures_view import FailureCard

    text = "The from address does not match a verified Sender Identity"
    with SmtpServer(script=[refuse("bob@x.example", 550, "", text, step="data")]) as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        mail_id = ops.send(sender="Ann <ann@acme.example>", to=["bob@x.example"], subject="Hi", text="Hi")
        ops.queue.run()
    [failure] = ops.analysis.failures_of(mail_id)
    shown = FailureCard(ops, failure).html()
    assert "The sender is not verified at the mail provider." in shown
    assert shown.count("<li") == 3
    assert text in shown
    assert "Mail delivery failed via SMTP server 'Main'" in (ops.queue.mail(mail_id).failure_reason or "")
    assert failure.at <= datetime.now(UTC)
