"""The process that kernels are forked from; started by :class:`mailops.jobs.forking.Keeper` alone.

``argv``: its socket, and the seconds it stays without being asked (0: until standard input ends, that is, until its
keeper does). It imports, sees that it has one thread, freezes what it holds and listens. What it holds at a fork is
code: no store, no connection, no context of a socket library, no secret beyond its environment's, which each kernel
replaces by its own.

A kernel is a child of this process, so only this one learns how it ended, and tells who asked. When this one is
killed, kernels live on, and who asked sees their end by the descriptor of the process.
"""

from __future__ import annotations

import ast
import atexit
import ctypes
import gc
import json
import os
import selectors
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from ..locks import try_lock
from . import catalogue
from .forking import PATIENCE, ROOM, Asked, Standing, code_on_disk, peer_is_me, receive, refusal, send, shadowed
from .leftovers import RUN_ID
from .light import without_iris

BORN_WITH = "MAILOPS_FORK_STANDING"


def main() -> None:
    """Import, listen, fork; returns when nobody wants it any more."""
    place, linger = Path(sys.argv[1]), float(sys.argv[2])
    os.umask(0o077)
    born = Standing(**json.loads(os.environ.pop(BORN_WITH)))
    lock = os.open(place.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    if not try_lock(lock):
        return  # another was faster
    known = prepare()
    if len(os.listdir("/proc/self/task")) != 1 or threading.active_count() != 1:
        return  # a library has started a thread: nothing is forked from such a process
    with suppress(FileNotFoundError):
        place.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(place))
    place.chmod(0o600)
    listener.listen(16)
    gc.collect()
    gc.freeze()  # or each collection of a kernel would copy all pages
    try:
        _Server(listener, lock, born, known, linger).run()
    finally:
        with suppress(OSError):
            place.unlink()


READ = (
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.zmqshell",
    "pandas",
    "ipywidgets",
    "anywidget",
    "mailops.jobs.kernel",
)


def prepare() -> list[str]:
    """Import what a kernel and mailops' notebooks need; the top names of all modules that are loaded now."""
    with without_iris():
        for name in READ:
            import_module(name)
        for statement in sorted(imports_of_notebooks()):
            with suppress(Exception):  # a kernel will say so to whoever runs that notebook
                exec(statement, {})  # noqa: S102  # of our own notebooks
    return sorted({name.partition(".")[0] for name in sys.modules})


def imports_of_notebooks() -> set[str]:
    """The import statements of mailops' own notebooks."""
    found: set[str] = set()
    for path in catalogue.notebooks_folder().glob("*.ipynb"):
        for cell in catalogue.read(path)["cells"]:
            if cell.get("cell_type") != "code":
                continue
            with suppress(SyntaxError):
                tree = ast.parse("".join(cell["source"]))
                found |= {ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)}
    return found


class _Server:
    def __init__(self, listener: socket.socket, lock: int, born: Standing, known: list[str], linger: float) -> None:
        self.listener, self.lock, self.born, self.known, self.linger = listener, lock, born, known, linger
        self.goes_on = True
        self.children: dict[int, socket.socket] = {}
        self.asked_at = time.monotonic()
        self.heard, self.told = os.pipe()
        for end in (self.heard, self.told):
            os.set_blocking(end, False)

    def run(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.told)
        watched = selectors.DefaultSelector()
        watched.register(self.listener, selectors.EVENT_READ, self._answer)
        watched.register(self.heard, selectors.EVENT_READ, self._reap)
        if not self.linger:
            watched.register(0, selectors.EVENT_READ, self._keeper_ended)
        while self.goes_on:
            for key, _ in watched.select(min(self.linger / 4 or 60.0, 60.0)):
                key.data()
            if self.linger and time.monotonic() - self.asked_at > self.linger:
                return

    def _keeper_ended(self) -> None:
        if not os.read(0, 4096):
            self.goes_on = False

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            os.read(self.heard, 4096)
        while self.children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if (asker := self.children.pop(pid, None)) is not None:
                with suppress(OSError):
                    send(asker, {"ended": os.waitstatus_to_exitcode(status)})
                asker.close()

    def _answer(self) -> None:
        connection, _ = self.listener.accept()
        connection.settimeout(PATIENCE / 2)
        fds: list[int] = []
        kept = False
        try:
            if not peer_is_me(connection):
                return
            said, fds = receive(connection)
            no, asked = self._judge(said, fds)
            if asked is None:
                send(connection, {"no": no})
                return
            pid = self._fork(asked, fds, connection)
            self.children[pid], kept = connection, True
            fds.append(process := os.pidfd_open(pid))  # surely its own: nobody has waited for it yet
            send(connection, {"pid": pid}, [process])
        except (OSError, ValueError, EOFError):
            pass  # who asked starts a kernel as ever; one that was forked ends with the pipe
        finally:
            for descriptor in fds:
                os.close(descriptor)
            if not kept:
                connection.close()

    def _judge(self, said: dict[str, Any], fds: list[int]) -> tuple[str, Asked | None]:
        """Why not, or what to fork."""
        self.asked_at = time.monotonic()
        try:
            standing = Standing(**said.pop("standing"))
            asked = Asked(**said)
        except (KeyError, TypeError):
            return "an order that cannot be read", None
        if len(fds) != 3:
            return "descriptors are missing", None
        if code_on_disk() != self.born.code:
            self.goes_on = False  # an upgrade: a new server is started for the next
        if no := refusal(standing, self.born):
            return no, None
        if asked.kind not in KINDS:
            return "a kernel of another kind", None
        if name := shadowed(self.known, asked.cwd):
            return f"the notebook's folder has its own {name}", None
        return "", asked

    def _fork(self, asked: Asked, fds: list[int], connection: socket.socket) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            return pid
        code = 70
        try:
            signal.set_wakeup_fd(-1)
            for open_here in (self.listener, connection, *self.children.values()):
                open_here.close()
            for end in (self.heard, self.told, self.lock):  # the lock would outlive the server in its kernels
                os.close(end)
            code = become(asked, *fds)
        except BaseException:
            import traceback

            with suppress(BaseException):
                traceback.print_exc()
        finally:
            _leave(code)


def become(asked: Asked, stdout: int, stderr: int, alive: int) -> int:
    """In the forked process: be as if started, and run the kernel; its exit status."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, standard in ((nothing, 0), (stdout, 1), (stderr, 2)):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    os.umask(asked.umask)
    os.chdir(asked.cwd)
    show_run(asked.env.get(RUN_ID, ""))
    os.environ.clear()
    os.environ.update(asked.env)
    time.tzset()
    tempfile.tempdir = None
    wake(len(os.sched_getaffinity(0)))
    sys.argv = [sys.argv[0], *asked.argv]
    threading.Thread(target=_end_with, args=(alive,), name="mailops-alive", daemon=True).start()
    start = KINDS[asked.kind]
    try:
        start([*asked.argv, "--IPKernelApp.parent_handle=1"])  # 1: nobody's parent is watched, the pipe is
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _kernel(argv: list[str]) -> None:
    from ipykernel.kernelapp import IPKernelApp

    IPKernelApp.launch_instance(argv=argv)


def _job(argv: list[str]) -> None:
    from .kernel import main as run

    sys.argv[1:] = argv
    run()


KINDS: dict[str, Callable[[list[str]], None]] = {"kernel": _kernel, "job": _job}


def _end_with(alive: int) -> None:
    """End when the process that asked for this kernel has ended: nobody else holds the pipe's other end."""
    while os.read(alive, 1):
        pass
    os._exit(1)


def _leave(code: int) -> NoReturn:
    with suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    with suppress(BaseException):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def wake(processors: int) -> None:
    """What the imported libraries took from the server and a started process would have for itself: numpy's seed, and
    a thread of its arithmetic for each processor, unless the environment says how many."""
    numbers = sys.modules.get("numpy.random")
    if numbers is not None:
        numbers.seed()
    if any(key in os.environ for key in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")):
        return
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "openblas" in (path := line.partition("/")[2]):
            library = ctypes.CDLL(f"/{path}")
            for name in ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads"):
                if (tell := getattr(library, name, None)) is not None:
                    tell(processors)
            return


def show_run(run_id: str) -> None:
    """Have ``/proc`` show a run's id in this process's environment, as it does for started ones, so that whoever cleans
    up after a run finds it (``leftovers``): what ``/proc`` shows is the memory the environment stood in at the start,
    and the server was started with room in it."""
    line = f"{RUN_ID}={ROOM}".encode()
    at = Path("/proc/self/environ").read_bytes().find(line)
    new = f"{RUN_ID}={run_id}".encode()
    if at < 0 or len(new) > len(line):
        return
    begins = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[47])  # env_start, proc_pid_stat(5)
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(begins + at)
        memory.write(new.ljust(len(line), b"\0"))
