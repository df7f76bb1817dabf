"""A worker process for the kill tests: drains a workspace's queue, and kills itself (-9) at a chosen step.

usage: drain_child.py WORKSPACE [STEP NTH]
       drain_child.py WORKSPACE together COUNT     (begins when so many stand ready)
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from mailops import Ops

seen: Counter[str] = Counter()


def main(workspace: str, step: str = "", nth: str = "0") -> None:
    def on_step(name: str) -> None:
        seen[name] += 1
        if name == step and seen[name] == int(nth):
            os.kill(os.getpid(), signal.SIGKILL)

    ops = Ops.open(workspace)
    if step == "together":
        ready = Path(workspace) / "ready"
        ready.mkdir(exist_ok=True)
        ops.queue.counts()
        (ready / str(os.getpid())).touch()
        while len(list(ready.iterdir())) < int(nth):
            time.sleep(0.005)
    ops.queue.worker(on_step=on_step).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
