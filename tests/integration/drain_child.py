"""A worker process for the kill tests: drains a workspace's queue, and kills itself (-9) at a chosen step.

usage: drain_child.py WORKSPACE [STEP NTH]
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter

from mailops import Ops

seen: Counter[str] = Counter()


def main(workspace: str, step: str = "", nth: str = "0") -> None:
    def on_step(name: str) -> None:
        seen[name] += 1
        if name == step and seen[name] == int(nth):
            os.kill(os.getpid(), signal.SIGKILL)

    ops = Ops.open(workspace)
    ops.queue.worker(on_step=on_step).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
