"""``mailops bounces`` and ``mailops suppress`` on a real command line."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mailops import Ops
from mailops.testing.dsn import build_dsn

ORIGINAL = (
    b"From: ann@acme.example\r\nTo: gone@x.example\r\nMessage-ID: <1@acme.example>\r\nSubject: =1+1\r\n\r\nHi\r\n"
)


def run(*words: str, status: int = 0) -> str:
    done = subprocess.run([sys.executable, "-m", "mailops.cli", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


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
    assert "input.format" in run("bounces", "parse", str(folder), "--format", "xml", status=2)


def test_the_list_is_kept_by_command(ops_factory: Callable[..., Ops], tmp_path: Path) -> None:
    ops = ops_factory()
    at = ("-w", str(ops.workspace.path), "suppress")
    assert "gets no campaigns" in run(*at, "add", "gone@x.example", "--why", "Asked.")
    out = tmp_path / "list.csv"
    run(*at, "export", str(out))
    assert "can be mailed again: gone@x.example" in run(*at, "undo", "gone@x.example").lower()
    assert "1 added" in run(*at, "import", str(out))
    assert json.loads(run(*at, "list", "--json"))["total"] == 2
    assert "0 reports are judged otherwise" in run(*at, "diff")
    assert "0 changes applied" in run(*at, "apply", "--yes")
    assert "not_found" in run(*at, "undo", "who@x.example", status=2)
