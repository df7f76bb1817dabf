"""The demonstration does the main job from end to end, as a new user starts it, and a second time."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from mailops import Ops
from mailops.demo import __main__ as demo
from mailops.demo import month
from mailops.demo.many import campaigns
from mailops.demo.month import Played
from mailops.demo.world import BOOKS, World, furnish, remember
from mailops.testing import ManualClock
from mailops.testing.smtp_books import read_books

pytestmark = pytest.mark.timeout(400)
FIGURES = {
    "handed over": r"([\d,]+) mails handed over",
    "left": r"([\d,]+) left,",
    "refused": r"([\d,]+) were refused for good",
    "given up": r"([\d,]+) were given up",
    "left out": r"([\d,]+) were left out",
    "waiting": r"([\d,]+) still wait",
    "reports": r"([\d,]+) delivery reports came back",
    "matched": r"([\d,]+) were tied to their mail",
}


def figures(printed: str) -> dict[str, int]:
    """The figures of the month, as the demonstration prints them."""
    text = " ".join(printed.split())
    return {name: int(re.search(pattern, text)[1].replace(",", "")) for name, pattern in FIGURES.items()}


def test_the_printed_figures_are_those_of_the_peers(
    ops_factory: Callable[..., Ops], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten days: long enough for a mail to be given up, and for a second newsletter that leaves out who is suppressed."""
    monkeypatch.setattr(month, "DAYS", 10)
    clock = ManualClock()
    ops = ops_factory(clock=clock)
    with World() as world:
        furnish(ops, world.ports)
        demo._figures(ops, demo._play(ops, world, clock))
        said = figures(capsys.readouterr().out)
        replies = sum((Counter(server.counters) for server in world.servers.values()), Counter())
        assert said["left"] == replies["accepted"]
        assert said["refused"] == replies["replied 550"] + replies["replied 552"]
        assert said["reports"] == said["matched"] == world.mailbox.accepted
    rest = ("left", "refused", "given up", "left out", "waiting")
    assert said["handed over"] == sum(said[name] for name in rest)
    assert all(said.values())


def test_campaigns_leave_reach_a_limit_and_one_that_blocks_is_found(ops_factory: Callable[..., Ops]) -> None:
    ops = ops_factory(clock=ManualClock())
    with World() as world:
        furnish(ops, world.ports)
        played = Played()
        said = list(campaigns(ops, played))
        taken = sum(server.accepted for server in world.servers.values())
    assert said[0] == "Campaign spring: 10 of 12 rows sent, 2 set aside before the first mail left."
    assert "At 12 an hour the limit is reached: 12 of summer left. Held until" in said[1]
    assert said[2].startswith("Campaign summer is at the head: ")
    assert "Behind it waits autumn." in said[2]
    assert said[3].startswith("With campaign summer cancelled: 4 mails leave")
    assert said[4].startswith("Cancelled, and the limit taken away: 4 of autumn left")
    assert taken == played.sent == played.submitted == 26
    assert ops.limits.report()[0].windows == ()


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
    red, told = re.findall(r"^   (\w+) +exit 1 ", done.stdout, re.M), re.findall(r"✗ .*\((.*)\)$", done.stdout, re.M)
    assert len(told) >= len(red) > 0
    assert [why for why in told if not why.startswith("made so: ")] == []  # a red one says why it is red
    index = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert "bounce_rate" in index
    taken = {file.stem: sum(1 for _ in read_books(file)) for file in (tmp_path / "a shop" / BOOKS).iterdir()}
    reports = taken.pop("mailbox")
    said = figures(done.stdout)
    assert said["left"] == sum(taken.values())
    assert said["reports"] == reports
    assert f">{said['left']:,}<" in index
    assert f">{said['refused']:,}<" in index
    assert "Traceback" not in done.stdout + done.stderr + index
    with Ops.open(tmp_path / "a shop") as ops:
        (job,) = ops.jobs.all()
    assert (job.notebook, job.name) == ("deliverability", "weekly-report")
    assert "The weekly report is scheduled (job weekly-report" in done.stdout


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
