"""What must start where the platform is not POSIX: real processes with its modules and names hidden.

How they are hidden, and what that does not show of Windows, says ``tests/without_posix/sitecustomize.py``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailops.secrets import Vault
from mailops.testing import SmtpServer
from mailops.testing.dns_server import DnsServer

ROOT = Path(__file__).parents[2]
HIDDEN = ROOT / "tests" / "without_posix"
REPORT = ROOT / "tests" / "fixtures" / "bounces" / "exchange-2003.eml"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the locks that stand in are Linux's own")
# What may fail to be imported: the app's page needs Jupyter Server, whose send2trash takes the way of Linux here.
NEED_POSIX = {"mailops.app.acting"}


LOOP = """
import contextlib, io, json, sys, traceback
asked, answers = sys.stdin, sys.stdout
for line in asked:
    job = json.loads(line)
    out, err = (io.TextIOWrapper(io.BytesIO(), "cp1252") for _ in range(2))
    sys.stdin, sys.argv, status = io.StringIO(job["stdin"]), ["mailops", *job["words"]], 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            if "code" in job:
                exec(job["code"], {"__name__": "job"})
            else:
                from mailops.cli import main
                main()
        except SystemExit as left:
            status = left.code
        except BaseException:
            status = traceback.format_exc()
    texts = [stream.detach().getvalue().decode("cp1252") for stream in (out, err) if stream.flush() is None]
    print(json.dumps([status, *texts]), file=answers, flush=True)
"""


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MAILOPS_")}
    path = os.pathsep.join(filter(None, (str(HIDDEN), kept.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, **more}


class Hidden:
    """One process without POSIX that runs commands and programs, one after the other, on one workspace.

    It writes to pipes that have Windows' western code page.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", LOOP],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment(),
        )  # fmt: skip

    def _ask(self, status: int, **job: Any) -> tuple[str, str]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"words": [], "stdin": "", **job}) + "\n")
        self.process.stdin.flush()
        ended, out, err = json.loads(self.process.stdout.readline())
        assert ended == status, f"{job}: {ended}\n{out}\n{err}"
        return out, err

    def __call__(self, *words: str, status: int = 0, stdin: str = "") -> str:
        out, err = self._ask(status, words=["-w", str(self.folder), *words], stdin=stdin)
        return err if status == 2 and "--json" not in words else out

    def json(self, *words: str, status: int = 0) -> Any:
        return json.loads(self(*words, "--json", status=status))

    def python(self, code: str, *words: str) -> list[str]:
        """The words that a program prints."""
        return self._ask(0, code=code, words=[str(self.folder), *words])[0].split()


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hidden]:
    """A workspace that was made without POSIX."""
    made = Hidden(tmp_path_factory.mktemp("without") / "mail")
    with made.process:
        made("init", str(made.folder))
        made("company", "add", "main", "--email", "info@example.com")
        yield made
        assert made.process.stdin is not None
        made.process.stdin.close()  # it ends by itself


def test_the_names_are_hidden_and_every_module_can_be_imported() -> None:
    code = """
import importlib, os, pkgutil, signal, sys
assert os.environ["MAILOPS_HIDDEN"] and not hasattr(os, "geteuid") and not hasattr(signal, "SIGKILL")
assert not [name for name in sys.modules if name.split(".")[0] == "mailops"]
import mailops
names = [m.name for m in pkgutil.walk_packages(mailops.__path__, "mailops.") if not m.name.endswith("__main__")]
for name in names:
    try:
        importlib.import_module(name)
    except (ImportError, AttributeError) as error:
        print(name, error, file=sys.stderr)
        print(name)
print(len(names))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT,
        env=environment(HIDE_AFTER="ipykernel.kernelbase"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *failed, number = done.stdout.splitlines()
    assert set(failed) == NEED_POSIX
    assert int(number) > 300


def test_a_domain_is_checked(cli: Hidden) -> None:
    with DnsServer({"acme.example": ["TXT v=spf1 -all"]}) as server:
        words = ("domain", "check", "acme.example", "--service", "odoo", "--resolver", f"127.0.0.1:{server.port}")
        found = cli.json(*words, status=1)
        assert found["asked_of"] == f"127.0.0.1:{server.port} (given)"
        assert ("acme.example", "TXT") in {(q.name, q.type) for q in server.queries}
    assert found["results"][0]["code"] == "spf.service_not_permitted"


def test_bounce_files_are_read(cli: Hidden) -> None:
    (read,) = cli.json("bounces", "parse", str(REPORT))
    assert (read["kind"], read["results"][0]["reason"]) == ("bounce", "userunknown")
    assert cli.json("bounces", "stats", str(REPORT))["hardness"] == {"hard": 1}


def test_the_guides_start(cli: Hidden) -> None:
    assert "Usage" in cli("connect", "--help")
    code = """
import sys
from mailops import Ops
from mailops.guides.service import Guided
from mailops.widgets import GuideView
with_one = GuideView(Guided.open(Ops.open(sys.argv[1]), "mailjet", "acme.example"))
with_one.build()
print(len(with_one.html()), with_one.text().count("acme.example"))
"""
    size, named = cli.python(code)
    assert int(size) > 1000
    assert int(named) >= 1


def test_secrets_go_into_the_vault_and_come_out(cli: Hidden, tmp_path: Path) -> None:
    key = tmp_path / "open-to-all"
    key.write_text("from-a-file\n")
    key.chmod(0o644)  # as every file looks on Windows
    cli("secrets", "set", "smtp", stdin="hunter2-hunter2\n")
    code = """
import sys
from pathlib import Path
from mailops.secrets import SecretStore, Vault
store = SecretStore(Path(sys.argv[1]))
assert store.reveal("vault:smtp") == "hunter2-hunter2"
assert store.reveal("file:" + sys.argv[2]) == "from-a-file"
vault = Vault(Path(sys.argv[1]) / "secrets", lock_seconds=0.1)
with vault.hold("smtp"):
    import threading
    def other():
        try:
            vault.update("smtp", lambda old: "changed")
        except Exception as error:
            print(error.code)
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
vault.rotate_key()
print(vault.get("smtp").reveal() == "hunter2-hunter2")
"""
    assert cli.python(code, str(key)) == ["secrets.locked", "True"]
    assert "vault:smtp" in cli("secrets", "list")
    assert Vault(cli.folder / "secrets").get("smtp").reveal() == "hunter2-hunter2"  # what is written is the same


def test_mail_is_stored_and_analysed_but_not_sent(cli: Hidden) -> None:
    words = ("send", "--from", "ann@example.com", "--to", "bob@x.example", "--subject", "Zażółć ✓", "--text", "Hello")
    mail = cli.json(*words)
    assert (mail["state"], mail["subject"]) == ("outgoing", "Zażółć ✓")
    cli("queue", "show", str(mail["id"]))
    cli("queue", "status")
    code = """
import sys
from mailops import Ops
ops = Ops.open(sys.argv[1])
print(len(ops.analysis.bounce_rate()), len(ops.queue.frame()), ops.analysis.overall(None).addressed)
from mailops.errors import PlatformError
for ask in (ops.queue.run, ops.queue.worker, lambda: ops.send(to="c@x.example", urgent=True)):
    try:
        ask()
    except PlatformError as error:
        print(error.code)
print(ops.queue.health().due)
"""
    _, rows, addressed, *codes, due = cli.python(code)
    assert (rows, addressed) == ("1", "0")
    assert (codes, due) == (["platform.posix_only"] * 3, "1")  # the urgent mail was not stored either
    cli("queue", "cancel", str(mail["id"]), "--yes")


@pytest.mark.parametrize("words", [("queue", "run"), ("queue", "send-now", "--yes"), ("serve",)])
def test_queue_and_serve_say_where_they_run(cli: Hidden, words: tuple[str, ...]) -> None:
    said = cli(*words, status=2)
    assert "[platform.posix_only]" in said
    assert "Linux or macOS" in said
    assert f"asked: mailops {' '.join(words[:2])}" in said
    assert "What to do: Guides, DNS, bounce files" in said
    if words == ("queue", "run"):
        told = cli.json(*words, status=2)
        assert (told["code"], told["facts"]["missing"]) == ("platform.posix_only", ["fcntl.flock", "os.pwrite"])


def test_the_doctor_remarks_it(cli: Hidden) -> None:
    found = {f["what"]: f for f in cli.json("doctor")}
    assert found["Platform"]["ok"] is None
    assert "fcntl.flock" in found["Platform"]["seen"]


# --- jobs -------------------------------------------------------------------------------------------------------------


def notebook(path: Path, source: str) -> Path:
    cell = {"cell_type": "code", "id": "a", "execution_count": None, "metadata": {}, "outputs": [], "source": source}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}}
    path.write_text(json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}), "utf-8")
    return path


def test_a_notebook_runs_as_a_job(cli: Hidden, tmp_path: Path) -> None:
    source = "from mailops import Ops\nimport os\nassert not hasattr(os, 'geteuid')\nOps.open().queue.counts()"
    done = cli.json("run", str(notebook(tmp_path / "look.ipynb", source)))
    assert (done["status"], done["error"]) == ("passed", None)
    assert [p.name for p in (cli.folder / "runs").iterdir()] == [done["id"]]  # and its work folder is gone


SUPERVISE = """
import sys
from pathlib import Path
from mailops.jobs.process import run_child
run_child(Path(sys.argv[1]), {}, seconds=90, environment={})
"""


def alive(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks into /proc")
def test_who_stops_a_job_stops_its_kernel_without_process_groups(tmp_path: Path) -> None:
    """The child is killed; the kernel, in a session of its own, sees that and ends by itself."""
    source = f"import os, time\nopen({str(tmp_path / 'pids')!r}, 'w').write(f'{{os.getpid()}} {{os.getppid()}}\\n')\n"
    notebook(tmp_path / "input.ipynb", source + "time.sleep(90)")
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, str(tmp_path)], cwd=ROOT, env=environment(), stderr=subprocess.DEVNULL
    ) as process:
        end = time.monotonic() + 60
        while not (tmp_path / "pids").exists() or not (tmp_path / "pids").read_text().endswith("\n"):
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.05)
        kernel, child = map(int, (tmp_path / "pids").read_text().split())
        assert (alive(kernel), alive(child)) == (True, True)
        process.send_signal(signal.SIGINT)
        process.wait(20)
    while alive(kernel) or alive(child):
        assert time.monotonic() < end
        time.sleep(0.05)


# --- macOS ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


def test_the_queue_runs_where_the_disk_cannot_be_reserved(smtp: SmtpServer, tmp_path: Path) -> None:
    """macOS has all that the queue needs but ``posix_fallocate``."""
    code = """
import os, sys
del os.posix_fallocate
from mailops import Ops
from mailops.model.setup import Encryption, Server
from mailops.workspace import init
ops = Ops(init(__import__("pathlib").Path(sys.argv[1])))
ops.save_server(Server(key="main", name="Main", host="127.0.0.1", port=int(sys.argv[2]), encryption=Encryption.NONE))
for n in range(3):
    ops.send(sender="ann@acme.example", to=f"r{n}@x.example", text="Hello")
print(ops.queue.run().sent)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "mail"), str(smtp.port)],
        capture_output=True, text=True, timeout=60, cwd=ROOT,
    )  # fmt: skip
    assert (done.stdout, smtp.accepted) == ("3\n", 3), done.stderr
