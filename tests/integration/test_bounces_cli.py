"""``mailops bounces`` and ``mailops suppress`` on a real command line."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest
from furnish import furnish
from peers import missing

from mailops import Ops
from mailops.testing import ManualClock, SmtpServer, refuse
from mailops.testing.dns_server import DnsServer
from mailops.testing.dsn import build_dsn

ORIGINAL = (
    b"From: ann@acme.example\r\nTo: gone@x.example\r\nMessage-ID: <1@acme.example>\r\nSubject: =1+1\r\n\r\nHi\r\n"
)


def both(*words: str, status: int = 0) -> tuple[str, str]:
    done = subprocess.run([sys.executable, "-m", "mailops.cli", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


def run(*words: str, status: int = 0) -> str:
    return "".join(both(*words, status=status))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mail").mkdir()
    raw = build_dsn(ORIGINAL, "gone@x.example", "5.1.1", "550 5.1.1 User unknown", "mx.x.example")
    (tmp_path / "mail" / "a.eml").write_bytes(raw)
    (tmp_path / "mail" / "b.eml").write_bytes(ORIGINAL)
    return tmp_path / "mail"


def test_reports_are_read_from_a_folder_without_a_workspace(folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run("bounces", "parse", str(folder), "--format", "csv"))))
    assert [(r["kind"], r["recipient"], r["reason"], r["hard"]) for r in rows] == [
        ("bounce", "gone@x.example", "userunknown", "True"),
        ("ordinary", "", "", ""),
    ]
    counted = json.loads(run("bounces", "stats", str(folder), "--format", "json"))
    assert {"what": "kind", "word": "bounce", "count": 1} in counted
    assert {"what": "hardness", "word": "hard", "count": 1} in counted
    assert "input.format" in run("bounces", "parse", str(folder), "--format", "xml", status=2)


def test_a_bad_file_is_told_and_skipped_and_all_kinds_of_boxes_are_read(folder: Path) -> None:
    raw = (folder / "a.eml").read_bytes()
    (folder / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    (folder / "empty.eml").write_bytes(b"")
    (folder / "notes.txt").write_text("milk and bread\n")
    os.mkfifo(folder / "pipe")  # to open it would wait for ever
    for name in ("cur", "new", "tmp"):
        (folder / "Maildir" / name).mkdir(parents=True)
        (folder / "Maildir" / ".Sent" / name).mkdir(parents=True)
    (folder / "Maildir" / "cur" / "1.x:2,S").write_bytes(raw)
    (folder / "Maildir" / ".Sent" / "new" / "2.x").write_bytes(ORIGINAL)
    (folder / "Maildir" / "tmp" / "3.x").write_bytes(raw)  # not yet delivered
    (folder / "Maildir" / "dovecot-uidlist").write_bytes(b"3 V1 N2: G1\n")
    lines = raw.replace(b"\r\n", b"\n").replace(b"\nHi", b"\n>From here on\nHi")
    (folder / "old.mbox").write_bytes((b"From - Mon Nov 23 06:00:00 2026\n" + lines + b"\n") * 3)
    out, err = both("bounces", "parse", str(folder), "--json")
    found = json.loads(out)
    assert [Path(r["message"]).name for r in found] == [
        "a.eml",
        "b.eml",
        "old.mbox#0",
        "old.mbox#1",
        "old.mbox#2",
        "2.x",
        "1.x:2,S",
    ]
    assert [r["kind"] for r in found] == ["bounce", "ordinary", "bounce", "bounce", "bounce", "ordinary", "bounce"]
    assert sorted(line.split(": ")[-1] for line in err.splitlines()) == [
        "it is empty",
        "it is no mail message",
        "it is no mail message",
    ]
    assert "input.no_message" in run("bounces", "stats", str(folder / "logo.png"), status=2)


def test_explain_takes_files_folders_and_boxes(folder: Path) -> None:
    said = run("bounces", "explain", str(folder))
    assert "gone@x.example: The address does not exist. (userunknown, hard, 5.1.1)" in said
    assert "To search the web for: 550 5.1.1 User unknown" in said
    rows = list(csv.DictReader(io.StringIO(run("bounces", "explain", str(folder), "--format", "csv"))))
    assert [r["search"] for r in rows] == ["550 5.1.1 User unknown", ""]
    assert json.loads(run("bounces", "explain", str(folder / "a.eml"), "--json"))[0]["who_acts"] == "sender"


@pytest.mark.req("ERR-04")
def test_a_report_without_a_reason_says_no_error_everywhere(folder: Path) -> None:
    text = b"From: MAILER-DAEMON@x.example\r\nSubject: Undelivered Mail Returned to Sender\r\nMIME-Version: 1.0\r\n"
    text += b'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n--b\r\n\r\n.\r\n--b\r\n'
    text += b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x.example\r\n\r\n"
    text += b"Final-Recipient: rfc822; gone@x.example\r\nAction: failed\r\n\r\n--b--\r\n"
    (folder / "a.eml").write_bytes(text)
    name = str(folder / "a.eml")
    [row] = csv.DictReader(io.StringIO(run("bounces", "parse", name, "--format", "csv")))
    assert (row["kind"], row["reason"], row["meaning"]) == ("bounce", "undefined", "no error")
    assert "no error" in run("bounces", "parse", name)
    assert "gone@x.example: no error" in run("bounces", "explain", name)
    assert "no error" in run("bounces", "stats", name)


def test_parquet_holds_what_csv_holds(folder: Path) -> None:
    if find_spec("pyarrow") is None:
        missing("parquet", "pyarrow is not installed")
    import pyarrow.parquet as pq

    for command, column in (("parse", "recipient"), ("explain", "search"), ("stats", "word")):
        out = folder.parent / f"{command}.parquet"
        run("bounces", command, str(folder), "--format", "parquet", "-o", str(out))
        rows = list(csv.DictReader(io.StringIO(run("bounces", command, str(folder), "--format", "csv"))))
        read = pq.read_table(out)
        assert read.column_names == list(rows[0])
        assert [value or "" for value in read.column(column).to_pylist()] == [row[column] for row in rows]
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert pq.read_table(folder.parent / "parse.parquet").column("hard").to_pylist() == [True, None]
    assert "input.format" in run("bounces", "parse", str(folder), "--format", "parquet", status=2)


def test_without_pyarrow_parquet_names_the_package_and_leaves_no_file(folder: Path) -> None:
    if find_spec("pyarrow") is not None:
        pytest.skip("pyarrow is installed here")
    out = folder.parent / "x.parquet"
    assert "pip install 'mailops[parquet]'" in run(
        "bounces", "parse", str(folder), "--format", "parquet", "-o", str(out), status=2
    )
    assert list(folder.parent.glob("*x.parquet*")) == []


def test_a_file_that_cannot_be_written_is_said(folder: Path) -> None:
    out = str(folder / "no" / "such" / "x.csv")
    assert "output.unwritable" in run("bounces", "parse", str(folder), "--format", "csv", "-o", out, status=2)


def failed_thrice(ops: Ops, smtp: SmtpServer) -> list[int]:
    """Three mails to one address, refused without a word, each on its own day."""
    furnish(ops, smtp)
    numbers = []
    for _ in range(3):
        numbers.append(ops.send(sender="Ann <ann@acme.example>", to=["bob@x.example"], subject="Hi", text="Hi"))
        ops.queue.run()
        ops.clock.advance(3600 * 24)  # type: ignore[attr-defined]  # a ManualClock
    return numbers


@pytest.mark.req("ERR-05", "ERR-06", "ERR-04")
def test_why_tells_no_error_with_the_sender_s_dns_and_names_support(
    ops_factory: Callable[..., Ops], tmp_path: Path
) -> None:
    clock = ManualClock(datetime.now(UTC) - timedelta(days=3, minutes=5))
    zone = {"acme.example": ['TXT "v=spf1 -all"']}
    with SmtpServer(script=[refuse("bob@x.example", 550, "", "")]) as smtp, DnsServer(zone) as dns:
        ops = ops_factory(clock=clock, toml=f'\n[dns]\nresolvers = ["127.0.0.1:{dns.port}"]\n')
        [first, *_] = failed_thrice(ops, smtp)
        at = ("-w", str(ops.workspace.path), "bounces")
        said = run(*at, "why", str(first))
        told = json.loads(run(*at, "why", str(first), "--json"))
        out = tmp_path / "support.zip"
        assert str(out) in run(*at, "collect", "bob@x.example", "-o", str(out))
        assert "output.unwritable" in run(*at, "collect", "bob@x.example", "-o", str(out), status=2)
    assert "bob@x.example: no error (refused" in said
    assert "DNS of acme.example: not in order" in said
    assert "SPF" in said
    assert "3 unexplained failures for the address bob@x.example in 7 days: contact support" in said
    assert told["failures"][0]["meaning"] == "no error"
    assert told["dns"]
    assert told["support"]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with zipfile.ZipFile(out) as archive:
        assert archive.namelist() == ["README.txt", "failures.csv", "dns.txt"]
        rows = list(csv.DictReader(io.TextIOWrapper(archive.open("failures.csv"))))
        assert [(r["recipient"], r["meaning"]) for r in rows] == [("bob@x.example", "no error")] * 3
        assert b"acme.example" in archive.read("dns.txt")
    assert "not_found" in run(*at, "collect", "who@x.example", "-o", str(tmp_path / "y.zip"), status=2)
    assert "not_found" in run(*at, "why", "999", status=2)


def test_what_is_collected_holds_the_raw_reports_and_no_secret(ops_factory: Callable[..., Ops], tmp_path: Path) -> None:
    ops = ops_factory()
    text = "550 5.1.1 User unknown, Authorization: Bearer abcdefghijklmnopqrstuvwxyz0123456789"
    ops.bounces.take(build_dsn(ORIGINAL, "gone@x.example", "5.1.1", text, "mx.x.example"))
    out = tmp_path / "support.zip"
    run("-w", str(ops.workspace.path), "bounces", "collect", "x.example", "-o", str(out), "--no-dns")
    with zipfile.ZipFile(out) as archive:
        assert archive.namelist() == ["README.txt", "failures.csv", "reports/1.eml"]
        raw = archive.read("reports/1.eml")
    assert b"Final-Recipient" in raw
    assert b"abcdefghijklmnopqrstuvwxyz" not in raw


def test_the_list_is_kept_by_command(ops_factory: Callable[..., Ops], tmp_path: Path) -> None:
    ops = ops_factory()
    at = ("-w", str(ops.workspace.path), "suppress")
    assert "gets no campaigns" in run(*at, "add", "gone@x.example", "--why", "Asked.")
    assert "gets no mail before 2999-12-31" in run(*at, "add", "b@x.example", "--scope", "all", "--until", "2999-12-31")
    assert "active until 2999-12-31" in run(*at, "list", "b@x")
    run(*at, "undo", "b@x.example")
    out = tmp_path / "list.csv"
    run(*at, "export", str(out))
    assert "can be mailed again: gone@x.example" in run(*at, "undo", "gone@x.example").lower()
    assert "1 added" in run(*at, "import", str(out))
    assert json.loads(run(*at, "list", "--json"))["total"] == 3
    assert "0 reports are judged otherwise" in run(*at, "diff")
    assert "0 changes applied" in run(*at, "apply", "--yes")
    assert "not_found" in run(*at, "undo", "who@x.example", status=2)


def test_the_status_code_of_a_long_reply_is_read(tmp_path: Path) -> None:
    """A line of a long reply has a hyphen after its code (RFC 5321 section 4.2.1)."""
    report = tmp_path / "report.eml"
    report.write_bytes(
        b"Return-Path: <>\r\nFrom: Mail Delivery Subsystem <mailer-daemon@mx.example.net>\r\nTo: bounce@acme.example\r\n"
        b"Subject: Delivery Status Notification (Failure)\r\n\r\n"
        b"Your message could not be delivered to bob@x.example:\r\n\r\n"
        b"550-5.7.26 This mail has been blocked because the sender is unauthenticated.\r\n550 SPF or DKIM is needed.\r\n"
    )
    [read] = json.loads(run("bounces", "parse", str(report), "--json"))
    assert [result["status"] for result in read["results"]] == ["5.7.26"]
