"""The child process of a run: papermill with a kernel over IPC.

Started as ``python -m mailops.jobs.child`` with one JSON line on standard input:
``{"parameters": {}, "seconds": float, "cwd": folder}``; the current folder holds ``input.ipynb``. Written:
``output.ipynb`` (after each step), ``kernel.pid``, and at the end ``outcome.json``. Standard input stays open for as
long as the parent lives: when it ends, kernel and child end too. Papermill changes the working directory of the whole
process and costs seconds to import, hence a process of its own.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

START_SECONDS = 60
KERNEL_COMMAND = [
    sys.executable,
    "-m",
    "mailops.jobs.kernel",
    "-f",
    "{connection_file}",
    "--HistoryManager.enabled=False",  # a history on disk would keep what was typed
]


def main() -> None:
    """Run the notebook and write the outcome; the process's own exit status says only whether that worked."""
    os.umask(0o077)
    work = Path.cwd()
    job = json.loads(_read_line())
    threading.Thread(target=_end_with_parent, args=(work / "kernel.pid",), daemon=True).start()
    outcome = execute(job, work)
    part = work / "outcome.part"
    part.write_text(json.dumps(outcome), "utf-8")
    part.rename(work / "outcome.json")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # the watching thread sits in a read; nothing else is left to do


def _read_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        chunk = os.read(0, 65_536)
        if not chunk:
            raise SystemExit("no job on standard input")
        line += chunk
    return line


def _end_with_parent(kernel_pid: Path) -> None:
    while os.read(0, 1):
        pass
    if hasattr(os, "killpg"):  # elsewhere (Windows) the kernel sees by itself that this process has ended
        try:
            os.killpg(int(kernel_pid.read_text()), signal.SIGKILL)
        except (OSError, ValueError):
            pass  # no kernel yet, or it is gone
    os._exit(3)


def execute(job: dict[str, Any], work: Path) -> dict[str, Any]:
    """Run papermill; returns ``{"ok": bool, "ename", "evalue", "kind", "step"}``."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    deadline = time.monotonic() + float(job["seconds"])
    try:
        papermill.execute_notebook(
            "input.ipynb",  # relative: papermill would expand braces in a path
            "output.ipynb",
            parameters=job["parameters"],
            kernel_name="python3",
            language="python",
            kernel_manager_class=_kernel_manager(work / "kernel.pid"),
            start_timeout=min(START_SECONDS, max(5, int(job["seconds"]))),
            execution_timeout=max(1, int(job["seconds"])),
            timeout_func=lambda cell: max(0.05, deadline - time.monotonic()),  # the limit is the whole run's
            shutdown_kernel="immediate",
            progress_bar=False,
            cwd=job["cwd"],
        )
    except papermill.PapermillExecutionError as error:
        return {
            "ok": False,
            "kind": "raised",
            "ename": error.ename,
            "evalue": str(error.evalue),
            "step": error.cell_index,
        }
    except CellTimeoutError:
        return {"ok": False, "kind": "timeout", "ename": "CellTimeoutError", "evalue": ""}
    except DeadKernelError:
        return {"ok": False, "kind": "died", "ename": "DeadKernelError", "evalue": ""}
    except Exception as error:  # whatever else: the parent writes it into the history
        kind = "start" if not Path(work / "kernel.pid").exists() else "runner"
        return {"ok": False, "kind": kind, "ename": type(error).__name__, "evalue": str(error)}
    return {"ok": True, "kind": "done"}


def _kernel_manager(pid_file: Path) -> type:
    """A kernel manager for our interpreter and kernel, over IPC: no open port, no warning about one."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    class JobKernelManager(AsyncKernelManager):
        def __init__(self, **kwargs: Any) -> None:
            if sys.platform != "win32":
                kwargs["transport"] = "ipc"
            super().__init__(**kwargs)

        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(argv=KERNEL_COMMAND, display_name="mailops", language="python")

        async def _async_launch_kernel(self, kernel_cmd: list[str], **kwargs: Any) -> None:
            await super()._async_launch_kernel(kernel_cmd, **kwargs)
            pid = getattr(self.provisioner, "pid", None)
            if pid:
                pid_file.write_text(str(pid), "ascii")

    return JobKernelManager


if __name__ == "__main__":
    main()
