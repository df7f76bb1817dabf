"""All workspaces below a folder: a line each, and what fails in one stops no other."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mailops import Ops
from mailops.cli import main
from mailops.errors import InputRefused
from mailops.store.runs import Run, finish_run, start_run
from mailops.workspace import init


def cli(*words: str, status: int) -> Any:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(sys, "argv", ["mailops", *words, "--json"])
        with pytest.raises(SystemExit) as left:
            main()
    assert left.value.code == status, out.getvalue()
    return json.loads(out.getvalue())


def test_each_workspace_has_its_line_and_a_broken_one_stops_no_other(tmp_path: Path) -> None:
    for name in ("a-well", "b-broken", "c-emptied", "group/d-look"):
        init(tmp_path / name).engine.dispose()
    (tmp_path / "b-broken" / "mailops.toml").write_text("[profile\n", "utf-8")
    for file in (tmp_path / "c-emptied").glob("mailops.db*"):
        file.write_bytes(b"")
    look = init(tmp_path / "group" / "d-look")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    start_run(look.engine, Run("r", "queue", {}, at, None, "running", None, None, None))
    finish_run(look.engine, "r", status="failed", exit_code=1, error=None, at=at)
    look.engine.dispose()

    found = cli("fleet", str(tmp_path), "status", status=2)
    assert [(one["name"], one["verdict"]) for one in found] == [
        ("a-well", "ok"),
        ("b-broken", "error"),
        ("c-emptied", "error"),
        ("group/d-look", "look"),
    ]
    assert found[2]["error"]["code"] == "store.emptied"
    assert "queue" in found[3]["said"]
    assert found[0]["facts"]["counts"]["outgoing"] == 0


def test_a_notebook_that_cannot_run_is_told_for_each(tmp_path: Path) -> None:
    for name in ("a", "b"):
        init(tmp_path / name).engine.dispose()
    found = cli("fleet", str(tmp_path), "run", "no_such_notebook", status=2)
    assert [one["error"]["code"] for one in found] == ["run.notebook_not_found"] * 2


def test_a_folder_without_workspaces_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="no workspace"):
        Ops.fleet_status(tmp_path)
