"""A disk that fills at every octet of a small drain: the journal and the store, in one file system.

On Linux as root, the file system is a real one, as small as it takes (tmpfs), and runs full at each page. Everywhere else,
and for what lies within a page, ``RLIMIT_FSIZE`` stands for it: the kernel takes what is before that octet of a file and
refuses the rest. ``make test`` strikes at the edges of every write; ``make sweep`` at each octet, in parts.

At each place: what was taken arrives, once; what was not taken does not; what waits leaves when there is room again, and
the store's facts are the sink's log.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from furnish import furnish
from test_full_disk import books_equal, pad

from mailops import Ops
from mailops.errors import StoreError
from mailops.model.states import MailState
from mailops.testing import SmtpServer
from mailops.workspace import init

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limit of a running process is Linux's own")
FRAME = 4096 + 24  # a page of the store, as it stands in the write-ahead log
EDGES = (0, 25, FRAME - 1)  # nothing of a frame of the log, its header and a torn page, all but its last octet
PARTS = 64
PART = os.environ.get("MAILOPS_SWEEP_PARTS", "0")


class Drain:
    """A small drain, struck by a disk that is full, and the next one."""

    def __init__(self, ops: Ops, smtp: SmtpServer) -> None:
        self.ops, self.smtp = ops, smtp
        self.taken: list[str] = []
        self.told: Counter[str] = Counter()

    def hand_over(self) -> None:
        number = self.ops.send(sender="ann@acme.example", to=["u@x.example"], subject="s", text="t")
        self.taken.append(self.ops.queue.mail(number).message_id)

    def struck(self) -> None:
        """One mail while there is no room: it is taken or refused, and a run ends well or says why."""
        for step in (self.hand_over, self.ops.queue.run):
            try:
                step()
                self.told[f"{step.__name__} done"] += 1
            except StoreError as error:
                self.told[f"{step.__name__} {error.code}"] += 1

    def goes_on(self) -> None:
        """There is room again."""
        self.hand_over()
        self.ops.queue.run()
        assert self.ops.queue.counts()[MailState.OUTGOING] == 0

    def holds(self) -> None:
        assert Counter(m.message_id.strip("<>") for m in self.smtp.messages) == Counter(
            m.strip("<>") for m in self.taken
        )
        books_equal(self.ops, self.smtp)


@contextlib.contextmanager
def at_most(octets: int) -> Iterator[None]:
    """No file of this process may be longer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def octets_of_a_drain(drain: Drain, database: Path) -> int:
    size = pad(database, 300_000)
    drain.goes_on()
    return database.with_name(f"{database.name}-wal").stat().st_size - size


def sweep(ops: Ops, places: Callable[[int], Iterable[int]]) -> Counter[str]:
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        drain = Drain(ops, smtp)
        database = ops.workspace.path / "mailops.db"
        drain.goes_on()
        octets = octets_of_a_drain(drain, database)
        assert octets > 20 * FRAME
        for place in places(octets):
            with at_most(pad(database, 300_000) + place):
                drain.struck()
            drain.goes_on()
        drain.holds()
        return drain.told


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_store_s_disk_fills_at_the_edges_of_every_write(sqlite_ops: Ops) -> None:
    told = sweep(sqlite_ops, lambda octets: sorted(f + e for f in range(0, octets, FRAME) for e in EDGES))
    assert told["hand_over store.full"] > 20
    assert told["run store.full"] > 20
    assert set(told) <= {"hand_over store.full", "hand_over done", "run store.full", "run done"}


def _parts() -> list[int]:
    first, _, last = PART.partition("-")
    return list(range(int(first), int(last or first) + 1))


@pytest.mark.sweep
@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("part", _parts())
def test_the_store_s_disk_fills_at_each_octet(sqlite_ops: Ops, part: int) -> None:
    """Every 64th octet of a drain from the ``part``-th on: all parts are each octet, and each is spread over all writes."""
    told = sweep(sqlite_ops, lambda octets: range(part, octets, PARTS))
    assert told["hand_over store.full"] > 100
    assert told["run store.full"] > 100
    assert set(told) <= {"hand_over store.full", "hand_over done", "run store.full", "run done"}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("to mount a file system takes root; RLIMIT_FSIZE stands for it in the other tests")
    done = subprocess.run([mount, "-t", "tmpfs", "-o", "size=6m", "mailops-test", str(place)], capture_output=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode(errors='replace').strip()[:200]}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_real_file_system_runs_full_at_each_page_of_a_drain(small: Path) -> None:
    """Journal, store, log and lock files are on it, as many pages are free as the step says, and then all of them."""
    ballast = small / "ballast"
    with SmtpServer() as smtp:
        ops = Ops.open(init(small / "w"))
        furnish(ops, smtp)
        drain = Drain(ops, smtp)
        drain.goes_on()
        page = os.sysconf("SC_PAGE_SIZE")
        for pages in range(200):
            ops.engine.dispose()  # a new log, that has to grow
            ops.queue.counts()
            with ballast.open("wb") as full:
                with contextlib.suppress(OSError):
                    while True:
                        os.write(full.fileno(), b"x" * page)
                full.truncate(max(0, full.tell() - pages * page))
            drain.struck()
            ballast.unlink()
            drain.goes_on()
        assert drain.told["hand_over store.full"] > 5
        assert drain.told["run store.full"] > 3
        assert drain.told["run done"] > 3
        drain.holds()
        ops.close()
