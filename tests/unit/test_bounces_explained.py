"""A report in words: what it is about, what follows, and tasks that fit what the answer names."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ORIGINAL = (
    "Return-Path: <bounce@acme.example>\nFrom: Sales <sales@acme.example>\nTo: lena@dest.example\n"
    "Subject: Offer 12\nMessage-ID: <12.7@acme.example>\n\nHello\n"
)


def report(fields: str, action: str = "failed", head: str = "Auto-Submitted: auto-replied\n") -> str:
    return (
        f"Return-Path: <>\nFrom: MAILER-DAEMON@mx.relay.example\nTo: bounce@acme.example\nSubject: Report\n{head}"
        "MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
        "--b\nContent-Type: text/plain\n\nThe mail system tells you this.\n\n--b\nContent-Type: message/delivery-status\n\n"
        f"Reporting-MTA: dns; mx.relay.example\n\nFinal-Recipient: rfc822; lena@dest.example\nAction: {action}\n{fields}\n\n"
        f"--b\nContent-Type: message/rfc822\n\n{ORIGINAL}\n--b--\n"
    )


def explain(tmp_path: Path, raw: str, *options: str) -> str:
    (tmp_path / "m.eml").write_text(raw, "utf-8")
    command = [sys.executable, "-m", "mailops.cli", "bounces", "explain", str(tmp_path / "m.eml"), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_delay_asks_for_nothing(tmp_path: Path) -> None:
    fields = (
        "Status: 4.4.1\nDiagnostic-Code: smtp; 451 4.4.1 timed out\nWill-Retry-Until: Fri, 4 Dec 2026 09:00:00 +0000"
    )
    said = explain(tmp_path, report(fields, "delayed"))
    assert "Send again" not in said
    assert "Nothing: the other side still tries" in said
    assert "by Fri, 4 Dec 2026" in said


def test_what_it_is_about_is_said(tmp_path: Path) -> None:
    said = explain(tmp_path, report("Status: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 User unknown"))
    assert "Offer 12" in said
    assert "<12.7@acme.example>" in said
    assert "suppressed" in said
    row = json.loads(explain(tmp_path, report("Status: 5.1.1"), "--json"))[0]
    assert (row["subject"], row["original_message_id"]) == ("Offer 12", "<12.7@acme.example>")


def test_the_text_for_people_is_shown_where_there_is_no_other(tmp_path: Path) -> None:
    said = explain(tmp_path, report("Status: 5.0.0"))
    assert "(no text)" not in said
    assert "The mail system tells you this." in said


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("From: ann@x.example\nSubject: Hi\n\nHello\n", "It reports nothing"),
        ("From: ann@x.example\nAuto-Submitted: auto-replied\nSubject: Away\n\nBack on Monday\n", "Nobody is counted"),
        (
            "From: fbl@x.example\nSubject: complaint\nContent-Type: multipart/report; report-type=feedback-report; boundary=f\n\n"
            "--f\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nOriginal-Rcpt-To: <lena@dest.example>\n\n--f--\n",
            "Stop mailing this person",
        ),
        (
            "Return-Path: <>\nFrom: MAILER-DAEMON@x.example\nSubject: ...\n\n(nothing)\n",
            "counts against nobody. Missing:",
        ),
    ],
    ids=["ordinary", "autoreply", "complaint", "unread"],
)
def test_each_kind_has_its_consequence(tmp_path: Path, raw: str, words: str) -> None:
    assert words in explain(tmp_path, raw)


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        (
            "550 5.7.515 Access denied, sending domain acme.example does not meet the required authentication level. "
            "Spf= Fail , Dkim= Pass , DMARC= Pass",
            (("SPF", "acme.example"),),
        ),
        (
            "550-5.7.26 Your email has been blocked because the sender is unauthenticated. 550-5.7.26 DKIM = did not pass "
            "550-5.7.26 SPF [acme.example] with ip: [192.0.2.7] = did not pass",
            (("DKIM", "acme.example"), ("SPF", "acme.example")),
        ),
        (
            "550 5.7.26 Unauthenticated email from acme.example is not accepted due to domain's DMARC policy",
            (("DMARC", "acme.example"),),
        ),
        ("550 5.7.20 DKIM signature is fine, no complaint", ()),
        ("421-4.7.30 Your email has been rate limited because DKIM authentication didn't pass", (("DKIM", ""),)),
        (
            "421-4.7.32 rate limited because the From: header (RFC5322) in this message isn't aligned with either the "
            "authenticated SPF or DKIM organizational domain",
            (("DMARC", ""),),
        ),
        ("421-4.7.40 the sending domain doesn't have a DMARC record", (("DMARC", ""),)),
    ],
)
def test_the_method_that_failed_is_named_with_its_domain(text: str, failed: tuple[tuple[str, str], ...]) -> None:
    from mailops.bounces.reading.advice import authentication

    assert authentication(text) == failed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "550 5.7.515 Access denied, sending domain acme.example does not meet the required authentication level. "
            "Spf= Fail , Dkim= Pass",
            "SPF for acme.example did not pass",
        ),
        (
            "550 5.7.26 Unauthenticated email from acme.example is not accepted due to domain's DMARC policy",
            "mailops domain check acme.example",
        ),
    ],
)
def test_the_command_that_checks_the_domain_is_named(tmp_path: Path, text: str, words: str) -> None:
    assert words in explain(tmp_path, report(f"Status: 5.7.26\nDiagnostic-Code: smtp; {text}"))


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup", "allow sales@acme.example"),
        ("421-4.7.28 Gmail has detected an unusual rate of mail", "Google Postmaster Tools"),
        ("550 5.7.233 tenant exceeded its daily limit", "administrator of that organisation"),
        ("550 5.7.236 trial tenants may not send", "administrator of that organisation"),
        ("451 4.7.500 Server busy. Please try again later", "Lower the sending rate"),
        ("554 5.7.1 blocked using zen.spamhaus.org", "spamhaus.org and ask for removal"),
    ],
)
def test_the_tasks_fit_what_the_answer_says(tmp_path: Path, text: str, task: str) -> None:
    status = text[4:].split(" ")[0]
    said = explain(tmp_path, report(f"Status: {status}\nDiagnostic-Code: smtp; {text}"), "--json")
    assert task in json.loads(said)[0]["tasks"]


def test_no_list_is_named_where_the_answer_names_none(tmp_path: Path) -> None:
    said = explain(tmp_path, report("Status: 5.7.1\nDiagnostic-Code: smtp; 554 5.7.1 your address is blocked"))
    assert "named in the answer" not in said


def test_the_codes_of_a_long_reply_stand_once_in_the_search(tmp_path: Path) -> None:
    text = "550-5.7.26 Your email has been blocked 550-5.7.26 because the sender is unauthenticated 550 5.7.26 See"
    said = explain(tmp_path, report(f"Status: 5.7.26\nDiagnostic-Code: smtp; {text}"), "--json")
    wanted = "550 5.7.26 Your email has been blocked because the sender is unauthenticated See"
    assert json.loads(said)[0]["search"] == wanted


def test_a_failure_is_never_called_delivered(tmp_path: Path) -> None:
    said = explain(tmp_path, report("Status: 2.0.0\nDiagnostic-Code: smtp; 250 ok"))
    assert "Delivered." not in said


def test_the_command_line_is_told_what_is_ours(tmp_path: Path) -> None:
    raw = (
        "From: Robot <robot@dest.example>\nTo: bounce+7@acme.example\nSubject: Not accepted\n\nWe could not hand this over.\n\n"
        "Addressee: <lena@dest.example>\nAnswer: 550 no such mailbox here\n"
    )
    assert "Kind: ordinary" in explain(tmp_path, raw)
    assert "Kind: bounce" in explain(tmp_path, raw, "--bounce-address", "bounce@acme.example")


@pytest.mark.parametrize(
    ("status", "text", "reason", "words"),
    [
        (
            "4.7.500",
            "451 4.7.500 Server busy. Please try again later from [192.0.2.1].",
            "speeding",
            "Lower the sending rate",
        ),
        (
            "4.7.28",
            "421 4.7.28 Gmail has detected an unusual rate of mail from your SPF domain. gsmtp",
            "speeding",
            "Postmaster",
        ),
        ("5.7.233", "550 5.7.233 The tenant exceeded its daily limit for external recipients", "speeding", "licences"),
        (
            "5.7.236",
            "550 5.7.236 The tenant is a trial and may not send outside",
            "policyviolation",
            "domain of its own",
        ),
        ("5.7.129", "550 5.7.129 not authorized to send to the recipient", "securityerror", "allow sales@acme.example"),
    ],
)
def test_pace_and_limits_say_who_must_act(tmp_path: Path, status: str, text: str, reason: str, words: str) -> None:
    said = explain(tmp_path, report(f"Status: {status}\nDiagnostic-Code: smtp; {text}"))
    assert f"({reason}, soft, {status})" in said
    assert words in said
    assert "Send again" not in said


def test_a_dead_address_that_is_still_tried_is_said_to_be_so_for_now(tmp_path: Path) -> None:
    said = explain(tmp_path, report("Status: 4.1.1\nDiagnostic-Code: smtp; 450 4.1.1 User unknown", "delayed"))
    assert "For now: The address does not exist." in said
    assert "suppressed" not in said


def test_an_answer_that_names_no_domain_is_about_the_one_of_the_sender() -> None:
    from mailops.bounces.reading.advice import advise

    said = advise("550 5.7.1 unauthenticated email is not accepted", "authfailure", sender="sales@acme.example")
    assert said.tasks[0] == "Run: mailops domain check acme.example"
