"""The demonstration does the main job from end to end, as a new user starts it, and a second time."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mailops.demo.world import World, remember

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


def with_peers(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "mailops.demo", "--folder", str(folder), "with-peers", *command]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=folder, check=False)


def test_lab_and_app_may_be_open_at_the_same_time(tmp_path: Path) -> None:
    """Both are started by ``with-peers``; the second finds the servers up, and says when others sit on the ports."""
    with World() as world:
        ports = world.ports
        remember(tmp_path, ports)
        second = with_peers(tmp_path, sys.executable, "-c", "print('the second one')")
        assert second.returncode == 0, second.stderr
        assert "are up already" in second.stdout
        assert "the second one" in second.stdout
    with socket.create_server(("127.0.0.1", ports["daily"])) as stranger:

        def greet() -> None:
            line, _ = stranger.accept()
            with line:
                line.sendall(b"HTTP/1.1 400 no\r\n")

        answering = threading.Thread(target=greet)
        answering.start()
        taken = with_peers(tmp_path, sys.executable, "-c", "print('never')")
        answering.join(10)
    assert taken.returncode == 2
    assert "demo.port_taken" in taken.stderr
    assert "never" not in taken.stdout
