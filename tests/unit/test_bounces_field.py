"""Messages that were written and labelled without sight of the reader: each is read as its label says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mailops.bounces import classify, parse
from mailops.bounces.reading.report import Report

FOLDER = Path(__file__).parent.parent / "fixtures" / "bounces_field"
ROWS: list[dict[str, Any]] = [json.loads(line) for line in (FOLDER / "truth.jsonl").read_text("utf-8").splitlines()]
REPORTS = ("bounce", "delayed", "success-dsn")
FAILURES = ("bounce", "delayed")


@pytest.mark.parametrize("ends", ["as sent", "lf", "crlf"])
@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_message_is_read_as_labelled(row: dict[str, Any], ends: str) -> None:
    raw = (FOLDER / row["file"]).read_bytes()
    if ends != "as sent":
        raw = raw.replace(b"\r\n", b"\n")
    if ends == "crlf":
        raw = raw.replace(b"\n", b"\r\n")
    report = parse(raw)
    assert report.kind in (row["kind_ok"] or [row["kind"]]), report.rule
    if report.kind not in (*REPORTS, "complaint"):
        return
    if row["recipients"] is not None:
        _same_people(report, row["recipients"])
    if report.kind in FAILURES and row["kind"] in FAILURES:
        _same_judgement(report, row)
    if row.get("feedback_type"):
        assert report.feedback_type == row["feedback_type"]


def _same_people(report: Report, wanted: list[dict[str, Any]]) -> None:
    left = {address.lower() for address in report.recipients}
    for person in wanted:
        names = {person["address"].lower(), *(name.lower() for name in person.get("alt") or [])}
        assert left & names, f"{person['address']} is missing in {left}"
        left -= names
    assert not left


def _same_judgement(report: Report, row: dict[str, Any]) -> None:
    summary = report.summary
    assert summary is not None
    if row["reason"]:
        assert summary.reason in (row["reason"], *(row["reason_ok"] or [])), summary.evidence
    if row["hard"] is not None:
        assert summary.hard is row["hard"], summary.rule
    if row["status"]:
        assert summary.status in row["status"]
    for person in row.get("per_recipient") or []:
        found = {r.recipient.lower(): r.reason for r in report.results}
        assert found[person["address"].lower()] == person["reason"]


def test_every_file_has_a_row_and_every_row_a_file() -> None:
    assert {row["file"] for row in ROWS} == {f"eml/{file.name}" for file in (FOLDER / "eml").glob("*.eml")}


REPLIES: list[dict[str, Any]] = [
    json.loads(line) for line in (FOLDER.parent / "replies_field" / "replies.jsonl").read_text("utf-8").splitlines()
]


@pytest.mark.parametrize("row", REPLIES, ids=[row["id"] for row in REPLIES])
def test_reply_is_classified_as_labelled(row: dict[str, Any]) -> None:
    found = classify(row["code"], row["enhanced"], row["text"], row["stage"], row["host"])
    if "read_as" in row:
        assert found.reason == row["read_as"], found.rule
        return
    assert found.reason in (row["reason"], *row["reason_ok"]), found.rule
    assert row["hard"] in (None, found.hard), found.rule
