"""Runs real mail servers of Debian for tests, in cells of their own.

A cell is a private mount, name and process namespace (``unshare``): the server sees a host name, users, a resolver and
empty state folders that the test made, the machine sees nothing of it, and the end of the cell ends every process in
it. The network stays the machine's loopback. Making a cell takes root.

Postfix comes from the machine. Exim and OpenSMTPD exclude it as packages, so ``.ci/run`` unpacks them without
installing them: to ``MAILOPS_TEST_MTAS``, or ``mailops-test/mtas`` in the user's cache folder.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from peers import missing

RECIPES = Path(__file__).parent / "realservers"
START_SECONDS = 30.0
# Users that the packages would make. Their numbers exist in the cell only, where they own what the server writes.
USERS = {"Debian-exim": 64101, "opensmtpd": 64102, "opensmtpq": 64103}
Routes = Mapping[str, tuple[str, int]]  # domain to loopback address and port
# The cell ends with the tests, however they end.
UNSHARE = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--")
CELL = """
set -e
hostname mx.relay.example
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
mount --bind "$1/resolv.conf" /etc/resolv.conf
mount --bind "$1/hosts" /etc/hosts
shift
for folder in $1; do mount -t tmpfs -o mode=755 tmpfs "$folder"; done
shift
eval "$1"
shift
exec "$@"
"""


def folder_of_mtas() -> Path:
    """Where ``.ci/run`` has unpacked Exim and OpenSMTPD."""
    given = os.environ.get("MAILOPS_TEST_MTAS")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else cache / "mailops-test" / "mtas"


def program(name: str) -> str | None:
    """A mail server's program: of the machine, or of the unpacked packages."""
    unpacked = folder_of_mtas() / "usr" / "sbin"
    return shutil.which(name) or shutil.which(name, path=f"/usr/sbin{os.pathsep}{unpacked}")


def free_ports(count: int) -> list[int]:
    """Ports for servers that cannot bind port 0. Below the range the system takes for outgoing connections, or one of
    those could take a port between this look and the server's start."""
    held: list[socket.socket] = []
    while len(held) < count:
        with contextlib.suppress(OSError):
            held.append(socket.create_server(("127.0.0.1", random.randrange(20_000, 32_000))))
    ports = [s.getsockname()[1] for s in held]
    for sock in held:
        sock.close()
    return ports


def postfix_setting(name: str) -> str:
    """A compiled-in default of the machine's Postfix."""
    binary = shutil.which("postconf") or "/usr/sbin/postconf"
    return subprocess.run(
        [binary, "-dh", name], capture_output=True, text=True, timeout=20, check=True
    ).stdout.strip()  # fmt: skip


def wait_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server that was just started takes connections. AssertionError: it has ended; TimeoutError."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, "it ended at once"
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return
        except OSError:
            time.sleep(0.02)
    raise TimeoutError(f"nothing listens on {port}")


def fill(recipe: Path, target: Path, values: Mapping[str, object]) -> Path:
    """Write a configuration from its template: each ``@NAME@`` becomes its value."""
    text = recipe.read_text("utf-8")
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    target.write_text(text, "utf-8")
    return target


@dataclass(frozen=True)
class Relay:
    """A running mail server that takes everything on ``port`` and hands it on."""

    name: str
    port: int
    folder: Path

    def log(self) -> str:
        """What it has written of itself, for the words of a failing test."""
        texts = [p.read_text("utf-8", "replace") for p in [*sorted(self.folder.glob("*log")), self.folder / "out"]]
        return "\n".join(texts)[-6000:]


@contextlib.contextmanager
def relay(
    name: str, routes: Routes, resolver: str, lifetime: int, *, instance: str = "mailops-test", pipes: str = ""
) -> Iterator[Relay]:
    """Start ``postfix``, ``exim`` or ``opensmtpd`` as a relay. ``routes`` says where mail for a domain goes; any other domain
    is looked up at ``resolver`` (port 53). Mail that stays refused for ``lifetime`` seconds is given up. Postfix alone is
    called ``instance`` in its log, and gives mail for the domain ``pipes`` to a program."""
    if os.geteuid() != 0:
        missing("mtas", "needs root, for a private mount namespace")
    tools = all(shutil.which(tool) for tool in ("setpriv", "unshare"))
    if not tools or subprocess.run([*UNSHARE, "true"], capture_output=True, timeout=20).returncode:
        missing("mtas", "this machine makes no private mount namespaces (unshare)")
    folder = Path(tempfile.mkdtemp(prefix="mo-"))
    folder.chmod(0o755)
    try:
        (port,) = free_ports(1)
        start = SERVERS[name](
            folder, routes, {"RUN": folder, "PORT": port, "LIFETIME": lifetime, "NAME": instance, "PIPES": pipes}
        )
        _own_etc(folder, resolver)
        with (folder / "out").open("wb") as out:
            process = subprocess.Popen(
                [*UNSHARE, "sh", "-c", CELL, "cell", folder, start.hide, start.first, *start.command],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd="/",
            )  # fmt: skip
        running = Relay(name, port, folder)
        try:
            try:
                wait_port(port, process)
            except (AssertionError, TimeoutError) as trouble:
                pytest.fail(f"{name} did not start: {trouble}; {running.log()}")
            yield running
        finally:
            _end(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Start:
    """How a server starts in its cell: the folders of the machine it must not see, what to do first, its command."""

    command: tuple[str | Path, ...]
    first: str = ":"
    hide: str = ""


def _binary(name: str) -> str:
    found = program(name)
    if found is None:
        missing("mtas", f"{name} is neither installed nor in {folder_of_mtas()}; .ci/run puts it there")
        raise AssertionError
    return found


def _postfix(folder: Path, routes: Routes, values: dict[str, object]) -> Start:
    binary, config = _binary("postfix"), folder / "config"
    named = [f"{domain}=smtp:[{host}]:{port}" for domain, (host, port) in routes.items()]
    values["ROUTES"] = ", ".join([*named, *([f"{values['PIPES']}=collect:"] if values["PIPES"] else [])])
    values |= {"DAEMONS": postfix_setting("daemon_directory"), "SHLIB": postfix_setting("shlib_directory")}
    for made in (config, folder / "spool", folder / "data"):
        made.mkdir()
    shutil.chown(folder / "data", "postfix", "postfix")
    for name in ("main", "master"):
        fill(RECIPES / f"relay-postfix-{name}.cf.in", config / f"{name}.cf", values)
    return Start((binary, "-c", config, "start-fg"))


def _exim(folder: Path, routes: Routes, values: dict[str, object]) -> Start:
    # It calls itself again as its own user, whom the way to the unpacked one need not be open to.
    values["BINARY"] = binary = folder / "exim4"
    shutil.copyfile(_binary("exim4"), binary)
    binary.chmod(0o755)
    values["DOMAINS"] = " : ".join(routes)
    values["ROUTES"] = " ".join(f'{domain}="{host}::{port}"' for domain, (host, port) in routes.items())
    config = fill(RECIPES / "relay-exim.conf.in", folder / "exim.conf", values)
    return Start((binary, "-C", config, "-bdf", "-q1s"), f"chown Debian-exim:Debian-exim {folder}")


def _opensmtpd(folder: Path, routes: Routes, values: dict[str, object]) -> Start:
    binary = _binary("smtpd")
    values["DOMAINS"] = ", ".join(f'"{domain}"' for domain in routes)
    values["ROUTES"] = ", ".join(f'"{d}" = "smtp+notls://{host}:{port}"' for d, (host, port) in routes.items())
    config = fill(RECIPES / "relay-opensmtpd.conf.in", folder / "smtpd.conf", values)
    first = "mkdir -p -m 755 /var/lib/opensmtpd/empty && mkdir -m 711 /var/spool/smtpd"  # compiled in
    return Start((binary, "-d", "-f", config), first, "/var/lib /var/spool /run")


SERVERS = {"postfix": _postfix, "exim": _exim, "opensmtpd": _opensmtpd}


def _own_etc(folder: Path, resolver: str) -> None:
    """The machine's users and those of the packages; no name of the machine but localhost; our resolver."""
    users = "".join(f"{user}:x:{number}:{number}::/nonexistent:/usr/sbin/nologin\n" for user, number in USERS.items())
    groups = "".join(f"{user}:x:{number}:\n" for user, number in USERS.items())
    (folder / "passwd").write_text(_without(Path("/etc/passwd")) + users, "utf-8")
    (folder / "group").write_text(_without(Path("/etc/group")) + groups, "utf-8")
    (folder / "resolv.conf").write_text(f"nameserver {resolver}\noptions timeout:2 attempts:1\n", "utf-8")
    (folder / "hosts").write_text("127.0.0.1 localhost\n", "utf-8")


def _without(file: Path) -> str:
    return "".join(line for line in file.read_text("utf-8").splitlines(True) if line.split(":")[0] not in USERS)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a cell by its first process: the kernel ends all others with it, before that one counts as ended."""
    with contextlib.suppress(OSError):
        for first in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("utf-8").split():
            os.kill(int(first), signal.SIGKILL)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=20)
