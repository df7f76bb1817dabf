"""The child process of a run: papermill with a kernel over IPC.

Started as ``python -m mailops.jobs.child`` with one JSON line on standard input: ``{"parameters": {}, "casts": {},
"seconds": float, "cwd": folder, "forks": bool}``; the current folder holds ``input.ipynb``. Written: ``output.ipynb``
and ``progress.json`` (with each step), ``kernel.pid``, and at the end ``outcome.json``. Standard input stays open for
as long as the parent lives: when it ends, kernel and child end too. Papermill changes the working directory of the
whole process and costs seconds to import, hence a process of its own.
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

from .light import without_iris

START_SECONDS = 60
_WITHOUT_CWD = "import sys; del sys.path[0]; from mailops.jobs.kernel import main; main()"
KERNEL_COMMAND = [
    sys.executable,
    "-c",
    _WITHOUT_CWD,  # modules beside the notebook are for its code (IPython adds the folder), never for the kernel's own
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
    with without_iris():
        import papermill
        from nbclient.exceptions import CellTimeoutError, DeadKernelError

    deadline = time.monotonic() + float(job["seconds"])
    refused: dict[str, Any] = {}
    _cast_parameters(job.get("casts") or {})
    try:
        papermill.execute_notebook(
            "input.ipynb",  # relative: papermill would expand braces in a path
            "output.ipynb",
            parameters=job["parameters"],
            kernel_name="python3",
            language="python",
            kernel_manager_class=_kernel_manager(work / "kernel.pid", forks=job.get("forks", False)),
            start_timeout=min(START_SECONDS, max(5, int(job["seconds"]))),
            execution_timeout=max(1, int(job["seconds"])),
            timeout_func=lambda cell: max(0.05, deadline - time.monotonic()),  # the limit is the whole run's
            shutdown_kernel="immediate",
            progress_bar=False,
            on_cell_start=lambda cell, cell_index: _tell_progress(work, cell_index),
            on_cell_error=lambda cell, cell_index, execute_reply: refused.update(execute_reply["content"]),
            cwd=job["cwd"],
        )
    except papermill.PapermillExecutionError as error:
        return {
            "ok": False,
            "kind": "raised",
            **_reason(error.ename, str(error.evalue), refused),
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


def _reason(ename: str, evalue: str, reply: dict[str, Any]) -> dict[str, str]:
    """The exception's name and words. A failing magic leaves no error among the outputs, so papermill knows only that a
    cell failed; the kernel's reply says why, at the latest in its traceback."""
    if ename != "CellExecutionError":
        return {"ename": ename, "evalue": evalue}
    return {"ename": str(reply.get("ename") or ename), "evalue": str(reply.get("evalue") or evalue)}


def _tell_progress(work: Path, index: int) -> None:
    """Write down which step begins; nothing of a run may fail for it."""
    part = work / "progress.part"
    try:
        part.write_text(json.dumps({"step": index}), "ascii")
        part.replace(work / "progress.json")
    except OSError:
        pass


def _cast_parameters(casts: dict[str, str]) -> None:
    """Have papermill's cell of parameters make of a value what the notebook's annotation says: text → ``Path``. The
    names are those of the notebook's own cell of parameters, which stands before."""
    from papermill.translators import PythonTranslator, papermill_translators

    class Annotated(PythonTranslator):  # type: ignore[misc]  # untyped
        @classmethod
        def codify(cls, parameters: dict[str, Any], comment: str = "Parameters") -> str:
            made = [f"{name} = {casts[name]}\n" for name in parameters if name in casts]
            return str(super().codify(parameters, comment)) + "".join(made)

    papermill_translators.register("python", Annotated)


def _kernel_manager(pid_file: Path, *, forks: bool) -> type:
    """A kernel manager for our interpreter and kernel, over IPC: no open port, no warning about one. ``forks``: whether
    the kernel is forked where a server for that is up."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    metadata = {}
    if forks:
        from . import provisioner

        provisioner.register()
        metadata = {"kernel_provisioner": {"provisioner_name": provisioner.NAME}}

    class JobKernelManager(AsyncKernelManager):
        def __init__(self, **kwargs: Any) -> None:
            if sys.platform != "win32":
                kwargs["transport"] = "ipc"  # its sockets in the run's own folder, never in that of the notebook
                kwargs["ip"] = str(Path(os.environ["JUPYTER_RUNTIME_DIR"]) / "kernel")
            super().__init__(**kwargs)

        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(argv=KERNEL_COMMAND, display_name="mailops", language="python", metadata=metadata)

        async def _async_launch_kernel(self, kernel_cmd: list[str], **kwargs: Any) -> None:
            await super()._async_launch_kernel(kernel_cmd, **kwargs)
            pid = getattr(self.provisioner, "pid", None)
            if pid:
                pid_file.write_text(str(pid), "ascii")

    return JobKernelManager


if __name__ == "__main__":
    main()
