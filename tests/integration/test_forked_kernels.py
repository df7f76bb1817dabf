"""Kernels forked from a server that has imported everything: real ones, as jobs and under Jupyter's own manager; they
are what started ones are, and whatever is off leads to a started one."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mailops import Ops
from mailops.jobs import run_notebook
from mailops.jobs.forking import Keeper, NoFork, place_of, reach, supported
from mailops.workspace import init

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    # Jupyter's blocking manager leaves the loop that it ran in open
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.skipif(not supported(), reason="kernels are forked on Linux only"),
]


def notebook(folder: Path, *sources: str) -> Path:
    cells = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {"tags": []}, "source": source, "outputs": [], "execution_count": None}
        for n, source in enumerate(sources)
    ]  # fmt: skip
    folder.mkdir(exist_ok=True)
    file = folder / "own.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    file.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": cells}))
    return file


TELLS = """
import json, os, sys
json.dump({"pid": os.getpid(), "parent": os.getppid(), "cwd": os.getcwd(), "umask": os.umask(0o077), "env": dict(os.environ),
           "group": os.getpgid(0), **globals().get("more", {})}, open("told.json", "w"))
"""


def told(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "told.json").read_text()))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def wait(until: Callable[[], Any], seconds: float = 30) -> Any:
    end = time.monotonic() + seconds
    while not (found := until()):
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)
    return found


def answers(workspace: Path) -> bool:
    try:
        reach(place_of(workspace)).close()
    except NoFork:
        return False
    return True


@pytest.fixture(scope="module")
def ops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ops]:
    """A workspace, and a folder for sockets of this module's own, whose path is short enough for one."""
    folder = tmp_path_factory.mktemp("forked") / "workspace"
    init(folder).engine.dispose()
    with tempfile.TemporaryDirectory(prefix="mo-test-") as place, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", place)
        patch.setenv("MAILOPS_WORKSPACE", str(folder))
        with Ops.open(folder) as ops:
            yield ops


@pytest.fixture(scope="module")
def keeper(ops: Ops) -> Iterator[Keeper]:
    keeper = Keeper(ops.workspace.path)
    yield keeper
    keeper.close()


@pytest.fixture
def kept(ops: Ops, keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> Keeper:
    """A server for the workspace, up."""
    if keeper.pid is None:
        keeper._started = -1000.0  # the pause between two starts is over
        monkeypatch.setenv("ONLY_THE_SERVERS", "yes")
        assert keeper.look()
        monkeypatch.delenv("ONLY_THE_SERVERS")
        wait(lambda: answers(ops.workspace.path))
    return keeper


@pytest.fixture
def manager(kept: Keeper) -> Iterator[Callable[[], Any]]:
    """Kernels under Jupyter's own manager, by the provisioner."""
    from jupyter_client.manager import KernelManager
    from jupyter_client.provisioning import KernelProvisionerFactory

    from mailops.jobs import provisioner

    provisioner.register()
    factory = KernelProvisionerFactory.instance()
    before, factory.default_provisioner_name = factory.default_provisioner_name, provisioner.NAME
    made: list[Any] = []

    def start() -> Any:
        manager = KernelManager()
        manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        made.append((manager, client))
        return manager, client

    yield start
    factory.default_provisioner_name = before
    for manager, client in made:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
        manager.context.destroy(linger=0)


def said(client: Any, code: str, seconds: float = 60) -> str:
    """What a cell printed, or the name of its error."""
    out: list[str] = []

    def hear(message: dict[str, Any]) -> None:
        content = message["content"]
        out.append(content.get("text") or content.get("ename") or "")

    client.execute_interactive(code, timeout=seconds, output_hook=hear, allow_stdin=False)
    return "".join(out)


def test_a_job_is_forked_and_is_what_a_started_one_is(ops: Ops, kept: Keeper, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    file = notebook(folder, "import beside\nmore = {'beside': beside.NAME}", TELLS, "print('x' * 10)")
    (folder / "beside.py").write_text("NAME = 'beside the notebook'\n")
    os.environ["MAILOPS_TEST_TOLD"] = "from who asked"
    try:
        forked = run_notebook(file, workspace=ops.workspace.path, timeout=60)
        one = told(folder)
        os.environ["MAILOPS_KERNELS__FORK"] = "false"
        started = run_notebook(file, workspace=ops.workspace.path, timeout=60)
        other = told(folder)
    finally:
        del os.environ["MAILOPS_TEST_TOLD"]
        os.environ.pop("MAILOPS_KERNELS__FORK", None)
    assert (forked.status, started.status) == ("passed", "passed"), (forked, started)
    assert one["parent"] == kept.pid, "forked from the server"
    assert other["parent"] != kept.pid, "the settings say that it is started"
    for same in ("cwd", "umask", "beside"):
        assert one[same] == other[same], same
    assert one["beside"] == "beside the notebook"
    assert one["group"] == one["pid"], "it leads a group of its own, to be ended whole"
    differ = {
        "MAILOPS_RUN_ID",
        "JPY_PARENT_PID",
        "IPYTHONDIR",
        "JUPYTER_RUNTIME_DIR",
        "MAILOPS_KERNELS__FORK",
        "JPY_SESSION_NAME",
    }
    assert {k: v for k, v in one["env"].items() if k not in differ} == {
        k: v for k, v in other["env"].items() if k not in differ
    }
    assert one["env"]["MAILOPS_TEST_TOLD"] == "from who asked"
    assert one["env"]["MAILOPS_RUN_ID"] == forked.id
    assert "ONLY_THE_SERVERS" not in one["env"]
    cells = [json.loads((r.folder / "notebook.ipynb").read_text())["cells"][-1]["outputs"] for r in (forked, started)]
    assert cells[0] == cells[1]
    assert "x" * 10 in json.dumps(cells[0])


def test_two_at_once_share_no_chance(ops: Ops, kept: Keeper, tmp_path: Path) -> None:
    draw = "import numpy, random\nmore = {'drawn': [float(numpy.random.rand()), random.random()]}"
    files = [notebook(tmp_path / name, draw, TELLS) for name in "ab"]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda f: run_notebook(f, workspace=ops.workspace.path, timeout=90), files))
    assert [r.status for r in results] == ["passed", "passed"]
    a, b = (told(file.parent) for file in files)
    assert a["parent"] == b["parent"] == kept.pid
    assert a["pid"] != b["pid"]
    assert not {*a["drawn"]} & {*b["drawn"]}


def test_what_a_forked_job_leaves_behind_is_ended_with_it(ops: Ops, kept: Keeper, tmp_path: Path) -> None:
    """A process that is forked without another program has the server's environment in /proc, where runs are known."""
    away = (
        "import os, time\naway = os.fork()\nif not away:\n    os.setsid()\n    time.sleep(600)\nmore = {'away': away}"
    )
    file = notebook(tmp_path / "own", away, TELLS)
    assert run_notebook(file, workspace=ops.workspace.path, timeout=60).status == "passed"
    found = told(file.parent)
    assert found["parent"] == kept.pid
    wait(lambda: not alive(found["away"]) and not alive(found["pid"]))
    assert kept.pid, "the server stays"


def test_an_interrupt_a_restart_and_a_kill_reach_the_kernel_alone(manager: Callable[[], Any], kept: Keeper) -> None:
    one, client = manager()
    assert said(client, "import os; print(os.getppid(), end='')") == str(kept.pid)
    first = one.provisioner.pid

    def interrupt() -> None:
        time.sleep(1.0)
        one.interrupt_kernel()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(interrupt)
        assert said(client, "import time; time.sleep(60)", 30) == "KeyboardInterrupt"
    assert said(client, "print(6 * 7, end='')") == "42"

    one.restart_kernel(now=True)
    client.wait_for_ready(timeout=60)
    assert said(client, "import os; print(os.getppid(), end='')") == str(kept.pid)
    assert one.provisioner.pid != first
    assert not alive(first)

    os.kill(one.provisioner.pid, signal.SIGKILL)
    wait(lambda: not one.is_alive())
    assert one.provisioner.process.poll() == -signal.SIGKILL, "the server tells how it ended"
    assert kept.pid


def test_a_killed_server_takes_no_kernel_with_it_and_the_next_is_started(
    manager: Callable[[], Any], kept: Keeper
) -> None:
    one, client = manager()
    assert said(client, "kept = 41") == ""
    server = kept.pid
    assert server
    os.kill(server, signal.SIGKILL)
    wait(lambda: not alive(server))
    assert said(client, "print(kept + 1, end='')") == "42"
    two, other = manager()
    assert said(other, "import os; print(os.getppid(), end='')") == str(os.getpid()), "started as ever"
    assert two.provisioner.unforked == "no server"
    pid = one.provisioner.pid
    one.shutdown_kernel(now=True)
    wait(lambda: not alive(pid))
    kept._started = -1000.0  # the pause between two starts is over
    assert kept.look(), "and the lock of the first has not stayed with its kernels"
    wait(lambda: kept.pid and answers(Path(os.environ["MAILOPS_WORKSPACE"])))


def test_a_kernel_ends_with_who_asked_for_it(kept: Keeper) -> None:
    code = (
        "from jupyter_client.manager import KernelManager as M\n"
        "from jupyter_client.provisioning import KernelProvisionerFactory as F\n"
        "from mailops.jobs import provisioner as p\n"
        "import os, time\n"
        "p.register(); F.instance().default_provisioner_name = p.NAME\n"
        "m = M(); m.start_kernel(); print(m.provisioner.unforked or m.provisioner.pid, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as asker:
        assert asker.stdout is not None
        kernel = int(asker.stdout.readline())
        assert Path(f"/proc/{kernel}/stat").read_text().rpartition(")")[2].split()[1] == str(kept.pid)
        asker.kill()
        wait(lambda: not alive(kernel))
    assert kept.pid


def test_an_upgrade_ends_the_server_and_kernels_are_started(ops: Ops, kept: Keeper, tmp_path: Path) -> None:
    from mailops.jobs import forking

    file = notebook(tmp_path / "own", TELLS)
    source = Path(forking.__file__)
    before = source.stat()
    try:
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000_000))  # as an installation leaves it
        assert run_notebook(file, workspace=ops.workspace.path, timeout=60).status == "passed"
    finally:
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert told(file.parent)["parent"] != kept.pid
    wait(lambda: kept.pid is None and not answers(ops.workspace.path))


@pytest.mark.parametrize(
    ("name", "value"),
    [("LC_ALL", "en_US.ISO-8859-1"), ("PYTHONPATH", "elsewhere"), ("OMP_NUM_THREADS", "1"), ("LD_PRELOAD", "")],
)
def test_what_is_read_at_a_start_cannot_be_put_on_later(kept: Keeper, tmp_path: Path, name: str, value: str) -> None:
    from mailops.jobs.forking import Asked, fork

    env = {**os.environ, name: value if name != "PYTHONPATH" else str(tmp_path)}
    with pytest.raises(NoFork, match="differ"):
        fork(Asked("kernel", [], env, str(tmp_path), 0o077), place_of(os.environ["MAILOPS_WORKSPACE"]))


def test_a_notebook_with_a_module_of_the_servers_name_gets_its_own(ops: Ops, kept: Keeper, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    file = notebook(folder, "import ipywidgets\nmore = {'whose': ipywidgets.WHOSE}", TELLS)
    (folder / "ipywidgets.py").write_text("WHOSE = 'mine'\n")
    assert run_notebook(file, workspace=ops.workspace.path, timeout=60).status == "passed"
    assert told(folder)["whose"] == "mine"
    assert told(folder)["parent"] != kept.pid


def test_the_socket_is_its_users_alone(kept: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    place = place_of(os.environ["MAILOPS_WORKSPACE"])
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    assert place_of("/elsewhere") != place, "one for each workspace"
    again = Keeper(os.environ["MAILOPS_WORKSPACE"])
    assert not again.look(), "one is enough"
    place.parent.chmod(0o755)
    try:
        with pytest.raises(NoFork, match="not this user's alone"):
            place_of("")
    finally:
        place.parent.chmod(0o700)


def test_nonsense_at_the_socket_ends_nothing(kept: Keeper) -> None:
    place = place_of(os.environ["MAILOPS_WORKSPACE"])
    for words in (b"", b"\0\0\0\2[]", b"\xff" * 64, b'\0\0\0\x0f{"standing": 5}'):
        with reach(place) as connection:
            connection.sendall(words)
    assert answers(Path(os.environ["MAILOPS_WORKSPACE"]))
    assert kept.pid


def test_a_server_stays_after_a_run_where_the_settings_say_so(ops: Ops, tmp_path: Path) -> None:
    file = notebook(tmp_path / "own", TELLS)
    workspace = init(tmp_path / "another")
    workspace.engine.dispose()
    with (workspace.path / "mailops.toml").open("a") as settings:
        settings.write("\n[kernels]\nlinger_minutes = 0.1\n")
    first = run_notebook(file, workspace=workspace.path, timeout=60)
    one = told(file.parent)
    wait(lambda: answers(workspace.path))
    second = run_notebook(file, workspace=workspace.path, timeout=60)
    two = told(file.parent)
    assert (first.status, second.status) == ("passed", "passed")
    assert one["parent"] != two["parent"]
    assert "fork_server" in Path(f"/proc/{two['parent']}/cmdline").read_text()
    wait(lambda: not alive(two["parent"]))


def children(pid: int) -> list[int]:
    return [int(n) for task in Path(f"/proc/{pid}/task").iterdir() for n in (task / "children").read_text().split()]


def test_the_app_forks_its_pages_kernels_and_ends_with_all_of_them(ops: Ops, tmp_path: Path) -> None:
    workspace = init(tmp_path / "apps")
    workspace.engine.dispose()
    env = {
        **os.environ,
        "MAILOPS_WORKSPACE": str(workspace.path),
        "MAILOPS_APP_ACT": "act-token",
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "run"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "conf"),
    }
    command = [sys.executable, "-m", "mailops", "app", "--port", "0"]
    with subprocess.Popen(
        command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as app:
        try:
            assert app.stdout is not None
            address = re.search(r"(http://127\.0\.0\.1:\d+)/mailops/home", app.stdout.readline())
            assert address
            wait(lambda: answers(workspace.path), 60)
            server = next(
                pid for pid in children(app.pid) if b"fork_server" in Path(f"/proc/{pid}/cmdline").read_bytes()
            )
            page = f"{address[1]}/voila/render/jobs.ipynb?token=act-token"
            with urllib.request.urlopen(
                page, timeout=60
            ) as answer:  # its beginning comes before the notebook has ended
                assert answer.read(100)
                kernel = wait(lambda: children(server))[0]
                os.kill(app.pid, signal.SIGTERM)
                wait(lambda: not alive(app.pid))
            wait(lambda: not alive(kernel) and not alive(server))
        finally:
            app.kill()
