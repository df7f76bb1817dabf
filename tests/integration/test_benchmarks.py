"""The benchmarks also run where what they are compared with is absent (small figures: that it runs, not how fast)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_queue_is_measured_without_postfix() -> None:
    script = ROOT / "benchmarks" / "queue.py"
    words = ["--mails", "40", "--size", "1024", "--workers", "1", "--database", "sqlite", "--sink", "kit"]
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "sink: mailops.testing" in done.stdout
    assert "drained by 1 worker(s)" in done.stdout


def test_logs_are_measured_without_pflogsumm() -> None:
    command = [sys.executable, ROOT / "benchmarks" / "logs.py", "--lines", "3000", "--facts", "1500", "--pflogsumm", ""]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "pflogsumm is not here, so nothing is compared" in done.stdout
    assert "0 new when taken again" in " ".join(done.stdout.split())
