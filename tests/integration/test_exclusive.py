"""Locks that go with their process, on both databases: kept from threads, objects and processes, and free after a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from mailops import Ops
from mailops.errors import StoreError
from mailops.store.database import make_engine
from mailops.store.exclusive import FileLocks, Locks, SessionLocks, alone, locks_of

HOLDER = """
import sys, time
from pathlib import Path
from mailops.store.database import make_engine
from mailops.store.exclusive import locks_of
held = locks_of(make_engine(sys.argv[1]), Path(sys.argv[2]), "holding").take("one")
print(held is not None, flush=True)
time.sleep(60)
"""


@pytest.fixture
def made(ops_on: Callable[..., Ops]) -> Iterator[Callable[[], Locks]]:
    ops = ops_on()
    url = ops.engine.url.render_as_string(hide_password=False)
    given: list[Locks] = []

    def make() -> Locks:
        given.append(locks_of(ops.engine, ops.workspace.path / "held", "testing"))
        return given[-1]

    make.url, make.folder = url, ops.workspace.path / "held"  # type: ignore[attr-defined]
    yield make
    for locks in given:
        locks.close()


def test_a_lock_is_one_s_own_until_it_is_let_go(made: Callable[[], Locks]) -> None:
    mine, yours = made(), made()
    free = mine.take("one")
    assert free is not None
    assert mine.take("one") is None is yours.take("one")  # the same object's other threads are kept out too
    other = yours.take("two")
    assert other is not None
    free()
    again = yours.take("one")
    assert again is not None
    free()  # twice does no harm, and lets nobody else's go
    assert mine.take("one") is None
    again()
    other()
    with alone(mine, "one") as ours, alone(yours, "one") as theirs:
        assert (ours, theirs) == (True, False)
    with alone(made(), "one") as ours:
        assert ours


def test_closing_lets_go_of_a_database_s(made: Callable[[], Locks]) -> None:
    mine, yours = made(), made()
    if isinstance(mine, FileLocks):
        pytest.skip("a file's lock is its holder's")
    assert mine.take("one") is not None
    assert yours.take("one") is None
    mine.close()
    assert yours.take("one") is not None  # though the pool keeps the connection


def test_a_lock_goes_with_its_process(made: Callable[[], Locks]) -> None:
    call = [sys.executable, "-c", HOLDER, made.url, str(made.folder)]  # type: ignore[attr-defined]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "True\n"
        locks = made()
        assert locks.take("one") is None
        child.send_signal(signal.SIGKILL)
        child.wait()
        for _ in range(100):
            if locks.take("one") is not None:
                return
            time.sleep(0.05)
    pytest.fail("nobody holds it, and it is not free")


def test_a_broken_line_is_told_and_the_next_one_works(made: Callable[[], Locks]) -> None:
    locks = made()
    if not isinstance(locks, SessionLocks):
        pytest.skip("files have no line")
    free = locks.take("one")
    assert free is not None
    other = make_engine(made.url)  # type: ignore[attr-defined]
    with other.connect() as connection:
        connection.execute(sa.text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"))
    other.dispose()
    with pytest.raises(StoreError):
        locks.take("two")
    assert locks.take("one") is not None
    free()  # of the line that broke


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as caught:
        FileLocks(tmp_path / "file" / "held", "testing").take("one")
    assert caught.value.facts["doing"] == "testing"
