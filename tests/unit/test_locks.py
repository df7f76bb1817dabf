"""The locks keep processes apart and die with them; the journal's place on the disk is taken before a mail leaves."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailops.locks import FAR, try_lock
from mailops.model.setup import Server
from mailops.ports import RecipientReply, SendResult
from mailops.queue import journal
from mailops.queue.journal import RESERVE_BYTES, Journal

ROOT = Path(__file__).parents[2]
MAIN = Server("main", "Main")
HOLD = """
import os, sys
from mailops.locks import try_lock
held = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
print(try_lock(held), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has locked ``tmp_path/lock``."""
    words = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        yield process
        process.kill()


def opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def test_another_process_is_kept_out_and_a_killed_one_keeps_nobody_out(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    descriptor = opened(tmp_path / "lock")
    assert not try_lock(descriptor)
    holder.kill()  # SIGKILL: it can do nothing more
    holder.wait(10)
    assert try_lock(descriptor)
    os.close(descriptor)


def test_a_lock_goes_with_its_open_file_and_keeps_out_the_same_process_too(tmp_path: Path) -> None:
    first, second = opened(tmp_path / "lock"), opened(tmp_path / "lock")
    assert try_lock(first)
    assert not try_lock(second)
    os.close(first)
    assert try_lock(second)
    os.close(second)


def importers(folder: Path) -> list[str]:
    """Who in a source tree imports a module that locks files, with the line."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [a.value for a in node.args if isinstance(a, ast.Constant)] if isinstance(node, ast.Call) else []
            if {"fcntl", "msvcrt"} & set(map(str, names)):
                found.append(f"{path.relative_to(folder).as_posix()}:{node.lineno}")
    return found


def test_only_the_door_imports_what_locks_files() -> None:
    assert {line.split(":")[0] for line in importers(ROOT / "mailops")} - {"locks.py"} == set()


def test_who_goes_past_the_door_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import os\n\ndef f():\n    from fcntl import flock\n")
    (tmp_path / "b.py").write_text("import importlib\nimportlib.import_module('msvcrt')\n")
    (tmp_path / "c.py").write_text("'''import fcntl'''\nfrom .fcntl import x\n")
    assert importers(tmp_path) == ["a.py:4", "b.py:2"]


# --- the journal's place ----------------------------------------------------------------------------------------------


@pytest.fixture(params=["reserves", "writes zeros"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A system that can reserve, and one (macOS) that cannot."""
    if request.param == "writes zeros":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    return str(request.param)


def test_the_journal_takes_its_place_up_front_and_lines_past_it_stay(system: str, tmp_path: Path) -> None:
    who = [f"{'r' * 60}{n}@{'x' * 60}.{'y' * 60}.{'z' * 60}.example" for n in range(1100)]
    wide = SendResult(tuple(RecipientReply(one, 550, "5.1.1", "", "rcpt") for one in who))
    made = Journal(tmp_path, "w")
    assert made.path.stat().st_blocks * 512 >= RESERVE_BYTES
    for number in range(1, 5):
        made.start(number, number, MAIN)
        made.end(number, wide)  # one such line is longer than what is reserved at a time
    made.start(5, 5, MAIN)
    assert made.size > 4 * RESERVE_BYTES
    made.abandon()
    entries = journal.read(made.path)
    assert [(e.attempt_id, e.result) for e in entries] == [*((n, wide) for n in range(1, 5)), (5, None)]
    again = Journal(tmp_path, "v")
    again.reset()
    assert (again.size, journal.read(again.path)) == (0, [])
    again.close()


FULL = """
import os, resource, sys
from pathlib import Path
if sys.argv[1] == "writes zeros":
    del os.posix_fallocate
from mailops.errors import StoreError
from mailops.model.setup import Server
from mailops.ports import RecipientReply, SendResult
from mailops.queue.journal import RESERVE_BYTES, Journal
made, main = Journal(Path(sys.argv[2]), "w"), Server("main", "Main")
resource.setrlimit(resource.RLIMIT_FSIZE, (RESERVE_BYTES, RESERVE_BYTES))  # no file may grow beyond this
answer = SendResult((RecipientReply("a@x.example", 250, "2.0.0", "ok", "body"),))
for number in range(1, 100_000):
    try:
        made.start(number, number, main)
    except StoreError as error:
        print(error.code, made.size < RESERVE_BYTES)
        break
    made.end(number, answer)  # what was begun finds its place: an error here would lose an answer
"""


def test_a_disk_that_is_full_is_told_at_the_start_of_a_mail_never_at_its_end(system: str, tmp_path: Path) -> None:
    words = [sys.executable, "-c", FULL, system, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("store.full True\n", "")


def test_the_locked_byte_is_behind_every_file_that_is_locked() -> None:
    from mailops.queue.journal import LIMIT

    assert 8 * LIMIT < FAR < 1 << 31
