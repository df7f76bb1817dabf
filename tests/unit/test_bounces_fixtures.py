"""Own messages, one or more for every rule and format: kind, recipients, reason, hard/soft and status are as written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mailops.bounces import parse

FOLDER = Path(__file__).parent.parent / "fixtures" / "bounces"
ROWS: list[dict[str, Any]] = [json.loads(line) for line in (FOLDER / "expected.jsonl").read_text("utf-8").splitlines()]


def raw(name: str) -> bytes:
    return (FOLDER / f"{name}.eml").read_bytes()


def as_crlf(data: bytes) -> bytes:
    return data.replace(b"\n", b"\r\n")


def as_cr(data: bytes) -> bytes:
    return data.replace(b"\n", b"\r")


@pytest.mark.parametrize("convert", [bytes, as_crlf, as_cr], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_message_is_read_as_written(row: dict[str, Any], convert: Any) -> None:
    report = parse(convert(raw(row["name"])))
    assert report.kind == row["kind"], report.rule
    assert sorted(report.recipients) == sorted(row["recipients"])
    summary = report.summary
    if row["reason"]:
        assert summary is not None
        assert summary.reason == row["reason"], summary.evidence
    if row["hard"] is not None:
        assert summary is not None
        assert summary.hard is row["hard"]
    if row["status"]:
        assert summary is not None
        assert summary.status == row["status"]
    assert report.feedback_type == row["feedback"]


def test_every_file_has_a_row_and_every_row_a_file() -> None:
    assert {row["name"] for row in ROWS} == {file.stem for file in FOLDER.glob("*.eml")}


def test_every_answer_carries_its_rule_and_evidence() -> None:
    for row in ROWS:
        report = parse(raw(row["name"]))
        assert report.rule
        for result in report.results:
            assert result.rule
            if result.reason not in ("undefined", "delivered", "feedback"):
                assert result.evidence, (row["name"], result)


def test_recipients_of_one_report_are_told_apart() -> None:
    report = parse(raw("exim-two-recipients"))
    assert [(one.recipient, one.reason, one.hard) for one in report.results] == [
        ("ann@dest.example", "userunknown", True),
        ("bob@dest.example", "mailboxfull", False),
    ]


def test_delivered_recipients_of_a_mixed_report_are_kept_but_not_concerned() -> None:
    report = parse(raw("mixed-delivered-and-failed"))
    assert {one.recipient: one.action for one in report.results} == {
        "bob@dest.example": "delivered",
        "ann@dest.example": "failed",
    }
    assert report.recipients == ("ann@dest.example",)


def test_the_original_message_is_known() -> None:
    original = parse(raw("postfix-user-unknown")).original
    assert original.message_id == "<m42.20260413@mailops.example>"
    assert original.to == ("ann@dest.example",)
    assert original.envelope_from == "bounce+m42-abc@mailops.example"
    assert original.subject == "Your offer"
    assert original.headers["from"] == "Shop <sales@mailops.example>"


def test_the_original_after_a_plain_text_report_is_known() -> None:
    original = parse(raw("qmail")).original
    assert original.message_id == "<m42.20260413@mailops.example>"


def test_the_alias_written_to_is_kept() -> None:
    report = parse(raw("exim-retry-timeout"))
    assert report.results[0].original_recipient == "team@dest.example"


@pytest.mark.req("IN-20")
def test_a_wrong_domain_gives_its_reason_in_words() -> None:
    from mailops.model.reasons import plain

    report = parse(raw("fields-merged-wrongly"))
    assert report.summary is not None
    assert plain(report.summary.reason) == "The domain of the address does not exist."


@pytest.mark.req("IN-18")
def test_a_report_nobody_understands_is_a_failure_that_says_no_error() -> None:
    from mailops.model.reasons import plain

    data = (
        b"Return-Path: <>\nFrom: MAILER-DAEMON@mx.example\nSubject: Undelivered Mail Returned to Sender\n"
        b'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\n\n--b\n'
        b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n"
        b"Final-Recipient: rfc822; ann@dest.example\nAction: failed\n\n--b--\n"
    )
    report = parse(data)
    assert report.kind == "bounce"
    assert report.recipients == ("ann@dest.example",)
    assert report.summary is not None
    assert report.summary.reason == "undefined"
    assert plain(report.summary.reason) == "no error"
    assert not report.summary.hard
