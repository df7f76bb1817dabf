"""What a notebook costs as a job, beside bare papermill, and what a command costs that shows a page: processor seconds.

``python benchmarks/jobs.py [--rounds 3]``. The same notebook, workspace and parameters take turns, so that a busy
machine is as busy for both; the medians of processor time (children too) and of wall time are printed. A bare run is
papermill's own engine in a fresh interpreter.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "queue.ipynb"
BARE = """
import sys, papermill
papermill.execute_notebook(
    sys.argv[1], sys.argv[2], parameters={"workspace": sys.argv[3]}, progress_bar=False, kernel_name="python3"
)
"""


def cost(command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> tuple[float, float]:
    """Processor and wall seconds of a command with all its children."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, env=dict(environment), cwd=cwd, capture_output=True, text=True, check=False)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command[:5])} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rounds", type=int, default=3)
    rounds = asked.parse_args().rounds
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        bytecode = folder / "bytecode"  # as an installed package has it, whatever this environment says
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"PYTHONPYCACHEPREFIX": str(bytecode), "PYTHONPATH": str(ROOT)}
        mailops = [sys.executable, "-m", "mailops.cli", "-w", str(folder / "workspace")]
        cost([*mailops[:3], "init", str(folder / "workspace")], environment, folder)
        bare = [sys.executable, "-c", BARE, str(NOTEBOOK), str(folder / "out.ipynb"), str(folder / "workspace")]
        measured = {
            "bare papermill": bare,
            "mailops run queue": [*mailops, "run", "queue"],
            "mailops queue list": [*mailops, "queue", "list"],
            "mailops jobs list": [*mailops, "jobs", "list"],
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in measured}
        for turn in range(rounds + 1):
            for name, command in measured.items():
                spent = cost(command, environment, folder)
                if turn:  # the first makes the bytecode
                    found[name].append(spent)
    for name, spents in found.items():
        used, wall = (statistics.median(each) for each in zip(*spents, strict=True))
        print(f"{name:20} {used:6.2f} s processor {wall:7.2f} s wall (median of {rounds})")


if __name__ == "__main__":
    main()
