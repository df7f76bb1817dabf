"""The demonstration does the main job from end to end, as a new user starts it, and a second time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(400)


def test_a_month_of_mail_is_played_and_every_notebook_runs(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mailops.demo",
        "--folder",
        str(tmp_path / "a shop"),
        "--reports",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=360, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "delivery reports came back by SMTP" in done.stdout
    assert "exit 2" not in done.stdout  # no notebook failed to run
    index = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert "bounce_rate" in index
    assert "Traceback" not in done.stdout + done.stderr + index
