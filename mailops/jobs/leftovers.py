"""What a run leaves behind when nobody can clean up any more: its scratch folder, and processes of its notebook.

The scratch folder's name stands in the work folder (``scratch``), so that whoever removes that, the run itself or a
later one, removes both. Processes are known by the run's id in their environment, which they inherit whatever session
or parent they give themselves; Linux shows it in ``/proc``. Elsewhere only the kernel's process group is ended.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import time
from pathlib import Path

PREFIX = "mo-"
NAME = "scratch"
RUN_ID = "MAILOPS_RUN_ID"
_PROC = Path("/proc")


def note_scratch(work: Path, scratch: Path) -> None:
    """Write down where a run's scratch folder is, before anything is put there."""
    (work / NAME).write_text(str(scratch), "utf-8")


def remove_scratch(work: Path) -> None:
    """Remove the scratch folder that a work folder names, if it is a folder of ours."""
    try:
        scratch = Path((work / NAME).read_text("utf-8"))
        found = scratch.lstat()
    except (OSError, ValueError):
        return
    own = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
    if scratch.is_absolute() and scratch.name.startswith(PREFIX) and stat.S_ISDIR(found.st_mode) and own:
        shutil.rmtree(scratch, ignore_errors=True)


def end_processes(run_id: str) -> int:
    """Kill every process of this user that a run started and that still lives; returns how many there were."""
    ended: set[int] = set()
    for _ in range(20):  # a process may start another while we look
        living = _living(run_id)
        if not living:
            break
        for pid in living:
            try:
                os.kill(pid, signal.SIGKILL)
                ended.add(pid)
            except (ProcessLookupError, PermissionError):
                continue
        time.sleep(0.02)
    return len(ended)


def _living(run_id: str) -> list[int]:
    mark = f"{RUN_ID}={run_id}".encode()
    found = []
    for entry in _PROC.iterdir() if run_id and _PROC.is_dir() else ():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0") and b") Z " not in (entry / "stat").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue  # another user's, or gone
    return found
