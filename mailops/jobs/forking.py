"""Kernels that are forked from a process which has imported everything already: the door to that process.

A kernel's start is imports, nearly all of it. So one process for each user and workspace (:mod:`.fork_server`) reads
ipykernel, ipywidgets, pandas and mailops once, has no thread, and forks itself for each kernel that is asked for
(:mod:`.provisioner`). It is kept by whoever lives long, the app say, and ends with it; kernels end with who asked for
them, not with the server.

A forked process is not a started one, so :func:`refusal` compares what cannot be put on later: the code on disk, what
Python and libraries read in the environment as they start, limits, groups, control group and mounts. Whatever differs,
fails or is missing leads to a kernel that is started as ever: the server is only ever a matter of speed. Linux only
(descriptors of processes, ``/proc``; the frameworks of macOS do not bear a fork, and Windows has none).

Only the standard library is imported, as each run's child reads this.
"""

from __future__ import annotations

import array
import hashlib
import json
import os
import select
import signal
import site
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .leftovers import RUN_ID

PACKAGE = Path(__file__).resolve().parent.parent
PATIENCE = 5.0
"""Seconds that are waited for the server's answer, which takes some thousandths; then a kernel is started as ever."""
ROOM = "0" * 64
"""Stands for a run's id in the environment that the server is started with: see ``fork_server.show_run``."""
APART = 30.0
"""Seconds between two starts of a server that does not stay."""
_READ_AT_START = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "OMP_", "OPENBLAS_", "MKL_", "NPY_", "ARROW_", "JE_ARROW_")
_OURS = ("PYTHONPATH", "PYTHONUTF8")  # put on by the forked process, or judged apart
_COMMAND = "import sys; del sys.path[0]; from mailops.jobs.fork_server import main; main()"


class NoFork(Exception):
    """A kernel is not forked, and why; never shown as an error, since one is started instead."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a process was born with, and a forked one cannot take on. Texts, to be compared."""

    code: str
    variables: str
    paths: str
    limits: str
    place: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A kernel that is wanted. ``kind``: ``kernel`` (IPython's) or ``job`` (ours); ``argv``: what follows its name."""

    kind: str
    argv: list[str]
    env: dict[str, str]
    cwd: str
    umask: int


def supported() -> bool:
    """Whether this platform has what forked kernels need."""
    needed = ((os, "pidfd_open"), (os, "fork"), (os, "getuid"), (signal, "pidfd_send_signal"))
    return sys.platform.startswith("linux") and all(hasattr(module, name) for module, name in needed)


def kernel_of(command: Sequence[str], job_command: Sequence[str]) -> tuple[str, list[str]] | None:
    """Which kernel a command starts, and with what arguments; None for one that the server does not know.

    >>> kernel_of([sys.executable, "-m", "ipykernel_launcher", "-f", "c.json"], [])
    ('kernel', ['-f', 'c.json'])
    >>> kernel_of(["R", "--slave"], []) is None
    True
    """
    words = [word for word in command if word != "-Xfrozen_modules=off"]  # of use to a debugger only
    if not words or os.path.realpath(words[0]) != os.path.realpath(sys.executable):
        return None
    if words[1:3] in (["-m", "ipykernel_launcher"], ["-m", "ipykernel"]):
        return "kernel", words[3:]
    if job_command and words[:3] == list(job_command[:3]):
        return "job", words[3:]
    return None


def code_on_disk() -> str:
    """A sum over what would be imported: the interpreter, the folders of packages (each installation changes one), and
    every source of mailops. An upgrade makes it another."""
    told: list[Any] = [sys.executable, sys.version]
    for folder in sorted({*site.getsitepackages(), site.getusersitepackages()}):
        try:
            told.append((folder, os.stat(folder).st_mtime_ns))
        except OSError:
            continue
    for path in sorted(PACKAGE.rglob("*.py")):
        found = path.stat()
        told.append((str(path), found.st_mtime_ns, found.st_size))
    return hashlib.sha256(repr(told).encode()).hexdigest()


def standing(environment: Mapping[str, str]) -> Standing:
    """That of this process, with the environment that a kernel would get."""
    import resource

    kinds = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))
    limits = [(name, resource.getrlimit(getattr(resource, name))) for name in kinds]
    belongs = (os.getresuid(), os.getresgid(), sorted(os.getgroups()))
    variables = sorted((k, v) for k, v in environment.items() if k.startswith(_READ_AT_START) and k not in _OURS)
    return Standing(
        code_on_disk(),
        repr((speaks_utf8(environment), variables)),
        repr(other_paths(environment)),
        repr((limits, belongs, os.nice(0))),
        repr((Path("/proc/self/cgroup").read_text(), os.readlink("/proc/self/ns/mnt"), os.readlink("/proc/self/root"))),
    )


def speaks_utf8(environment: Mapping[str, str]) -> bool:
    """Whether Python started with this environment takes files for UTF-8 (PEP 538, 540, and the locale).

    >>> speaks_utf8({"LANG": "de_DE.ISO-8859-1"}), speaks_utf8({"LANG": "C"}), speaks_utf8({"PYTHONUTF8": "1"})
    (False, True, True)
    """
    if environment.get("PYTHONUTF8") == "1":
        return True
    named = next((environment[key] for key in ("LC_ALL", "LC_CTYPE", "LANG") if environment.get(key)), "C")
    if named in ("C", "POSIX"):
        return environment.get("PYTHONUTF8") != "0"
    return "utf" in named.lower()


def other_paths(environment: Mapping[str, str]) -> list[str]:
    """The folders of ``PYTHONPATH`` without mailops' own, which the server has first anyhow."""
    given = environment.get("PYTHONPATH", "").split(os.pathsep)
    return [path for path in given if path and os.path.realpath(path) != str(PACKAGE.parent)]


def refusal(asked: Standing, here: Standing) -> str:
    """Why a process of one standing cannot be forked from one of another; "" when it can.

    >>> old, new = Standing("1", "", "", "", ""), Standing("2", "", "", "", "")
    >>> refusal(new, old), refusal(new, new)
    ('the code has changed since the server started', '')
    """
    words = {
        "code": "the code has changed since the server started",
        "variables": "variables that are read as a program starts differ",
        "paths": "PYTHONPATH differs",
        "limits": "limits, groups or niceness differ",
        "place": "control group or mounts differ",
    }
    return next((said for name, said in words.items() if getattr(asked, name) != getattr(here, name)), "")


def shadowed(names: Sequence[str], folder: str) -> str:
    """A module of a notebook's own folder that the server has another of; "" where there is none."""
    if os.path.realpath(folder) == str(PACKAGE.parent):
        names = [name for name in names if name != PACKAGE.name]
    try:
        inside = os.listdir(folder)
    except OSError:
        return ""
    ours = {entry.removesuffix(".py") for entry in inside if entry.endswith(".py") or "." not in entry}
    return min(ours & set(names), default="")


# --- where the server is ----------------------------------------------------------------------------------------------


def place_of(workspace: str | Path | None) -> Path:
    """The server's socket: one for each user and workspace, in a folder of this user's own (0700). Raises
    :class:`NoFork` where the folder is somebody else's, or open to others."""
    root = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    folder = root / f"mailops-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise NoFork(f"no folder for the socket: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise NoFork("the folder of the socket is not this user's alone")
    name = hashlib.sha256(os.path.realpath(workspace).encode() if workspace else b"").hexdigest()[:20]
    return folder / f"{name}.sock"


def send(connection: socket.socket, said: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
    """One JSON object, its length before it, the descriptors with its first octet."""
    data = json.dumps(said).encode()
    head = struct.pack("!I", len(data))
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    connection.sendmsg([head], rights)
    connection.sendall(data)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """What :func:`send` sent. Raises OSError or ValueError for anything else, and EOFError at the end."""
    head, told, _, _ = connection.recvmsg(4, socket.CMSG_SPACE(8 * array.array("i").itemsize))
    descriptors = array.array("i")
    for level, kind, data in told:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    try:
        while len(head) < 4:
            head += _some(connection, 4 - len(head))
        length, data = struct.unpack("!I", head)[0], b""
        if length > 8_000_000:
            raise ValueError("too long")
        while len(data) < length:
            data += _some(connection, length - len(data))
        said = json.loads(data)
        if not isinstance(said, dict):
            raise ValueError("no object")
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    return said, list(descriptors)


def _some(connection: socket.socket, size: int) -> bytes:
    got = connection.recv(min(size, 1 << 20))
    if not got:
        raise EOFError
    return got


def peer_is_me(connection: socket.socket) -> bool:
    """Whether the other end is a process of this user (SO_PEERCRED, unix(7))."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", data)[1] == os.getuid())


def reach(place: Path) -> socket.socket:
    """A connection to the server. Raises :class:`NoFork` where there is none."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(PATIENCE)
    try:
        connection.connect(str(place))
        if not peer_is_me(connection):
            raise NoFork("the server is another user's")
    except OSError as error:
        connection.close()
        raise NoFork("no server") from error
    except BaseException:
        connection.close()
        raise
    return connection


# --- asking it --------------------------------------------------------------------------------------------------------


class Forked:
    """A forked kernel, for Jupyter what ``subprocess.Popen`` is for a started one. It is known by a descriptor of its
    process, so that no signal meets another that got its number."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, process: int, alive: int, connection: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._process, self._alive, self._connection = process, alive, connection

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._process], [], [], 0)[0]:
            self.returncode = self._status()
            self._close()
        return self.returncode

    def _status(self) -> int:
        """How it ended: the server, whose child it was, knows; without it nobody does."""
        self._connection.settimeout(1.0)
        try:
            return int(receive(self._connection)[0]["ended"])
        except (OSError, ValueError, EOFError, KeyError, TypeError):
            return 1

    def wait(self, timeout: float | None = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise subprocess.TimeoutExpired("kernel", timeout or 0)
            select.select([self._process], [], [], left)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._process, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _close(self) -> None:
        os.close(self._process)
        os.close(self._alive)
        self._connection.close()

    def __del__(self) -> None:
        if self.returncode is None:
            self.returncode = 1
            self._close()


def fork(asked: Asked, place: Path, *, stdout: int = 1, stderr: int = 2) -> Forked:
    """Have a kernel forked. It ends when this process does, however that ends. Raises :class:`NoFork`."""
    connection = reach(place)
    ends, alive = os.pipe()  # the kernel reads one end, which ends when the other is closed, with this process
    got: list[int] = []
    try:
        send(connection, {"standing": asdict(standing(asked.env)), **asdict(asked)}, [stdout, stderr, ends])
        said, got = receive(connection)
    except (OSError, ValueError, EOFError) as error:
        said = {"no": f"the server broke off: {error}"}
    finally:
        os.close(ends)
    if "pid" in said and len(got) == 1:
        return Forked(int(said["pid"]), got[0], alive, connection)
    for descriptor in (alive, *got):
        os.close(descriptor)
    connection.close()
    raise NoFork(str(said.get("no", "an answer that is none")))


# --- keeping one ------------------------------------------------------------------------------------------------------


class Keeper:
    """Keeps a server for as long as this process lives; with ``linger`` (seconds) it stays so long after the last
    kernel was asked for, whoever has ended by then."""

    def __init__(self, workspace: str | Path | None, *, linger: float = 0.0) -> None:
        self._workspace, self._linger = workspace, linger
        self._server: subprocess.Popen[bytes] | None = None
        self._started = -APART

    @property
    def pid(self) -> int | None:
        """The server's process, where this keeper started one and it lives."""
        return self._server.pid if self._server is not None and self._server.poll() is None else None

    def look(self) -> bool:
        """Start a server where none answers; whether one was started. Nothing is waited for, nothing raised."""
        if not supported() or self.pid is not None or time.monotonic() - self._started < APART:
            return False
        try:
            place = place_of(self._workspace)
            reach(place).close()
            return False
        except NoFork:
            pass
        self._started = time.monotonic()
        self.close()  # of one that has ended
        try:
            place = place_of(self._workspace)
            self._server = subprocess.Popen(
                [sys.executable, "-c", _COMMAND, str(place), str(self._linger)],
                stdin=subprocess.PIPE if not self._linger else subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=born_with(os.environ),
                start_new_session=True,
            )
        except (OSError, NoFork):
            return False
        if self._linger:
            self._server.returncode = 0  # it stays when this process has ended, so nobody waits for it
        return True

    def close(self) -> None:
        """Let the server go; kernels stay."""
        if self._server is not None and self._server.stdin is not None:
            self._server.stdin.close()
            self._server.wait()
            self._server = None


def born_with(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of the server: this one, with what keeps it to one thread, and the room for a run's id."""
    given = {key: value for key, value in environment.items() if key != RUN_ID}
    path = os.pathsep.join([str(PACKAGE.parent), *other_paths(environment)])
    installed = {"site-packages", "dist-packages"} & set(PACKAGE.parts)
    return {
        RUN_ID: ROOM,
        **given,
        **({} if installed else {"PYTHONPATH": path}),
        "PYTHONUTF8": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
        "MAILOPS_FORK_STANDING": json.dumps(asdict(standing(environment))),
    }
