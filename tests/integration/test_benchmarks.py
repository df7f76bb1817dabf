"""The benchmark of the queue also runs where Postfix is absent (small figures: that it runs, not how fast)."""

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
