"""A disk that fills: nothing lost, nothing twice whose answer was read, and what waits leaves by itself afterwards.

``RLIMIT_FSIZE`` stands for the disk: the kernel cuts a write at that octet of a file and refuses the rest (EFBIG where a
full disk says ENOSPC), in a process that runs, without a file system of its own.
"""

from __future__ import annotations

import errno
import os
import resource
import smtplib
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from furnish import furnish
from test_serve import pids
from test_serve_faults import serving

from mailops import Ops
from mailops.errors import StoreError
from mailops.model.states import MailState
from mailops.queue import journal as journals
from mailops.secrets import Vault
from mailops.store import schema
from mailops.testing import SmtpServer
from mailops.testing.smtp_session import SmtpSession

pytestmark = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="the limit of another process is Linux's own")
FREE = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def pad(database: Path, octets: int) -> int:
    """Let the write-ahead log begin anew and grow to more than this; its size."""
    log = database.with_name(f"{database.name}-wal")
    connection = sqlite3.connect(database, isolation_level=None, timeout=20)
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("CREATE TABLE IF NOT EXISTS padding (x BLOB)")
        connection.execute("INSERT INTO padding VALUES (zeroblob(?))", (octets,))
        connection.execute("DELETE FROM padding")
    finally:
        size = log.stat().st_size
        connection.close()
    return size


@pytest.mark.slow
def test_the_store_s_disk_fills_at_any_octet_while_serve_runs(tmp_path: Path) -> None:
    """For each octet: 451 or 250; what heard 250 arrives once, and the next mail leaves when there is room."""
    with serving(tmp_path) as served:
        answers: Counter[int] = Counter()
        taken: list[str] = []
        for step in range(60):
            size = pad(served.ops.workspace.path / "mailops.db", 300_000)
            room = size + step * 1_777  # over the pages of taking a mail in, leasing it and settling it, at odd octets
            everybody = [served.child.pid, *pids(served.ops).values()]
            for pid in everybody:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
            try:
                taken.append(served.submit())
                answers[250] += 1
            except smtplib.SMTPResponseException as error:
                answers[error.smtp_code] += 1
            for pid in everybody:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, FREE)
            taken.append(served.submit_patiently())
            served.until(lambda: set(taken) <= set(served.arrived()), f"with room for {room} octets again")
        assert set(answers) == {250, 451}
        served.until(lambda: served.ops.queue.counts()[MailState.OUTGOING] == 0, "a mail that left still waits")
        assert served.arrived() == Counter(taken)
        books_equal(served.ops, served.smtp)


def books_equal(ops: Ops, smtp: SmtpServer) -> None:
    """The store's facts are the sink's log, and agree with each other."""
    e = schema.events
    with ops.engine.connect() as connection:
        sent = connection.execute(
            sa.select(e.c.message_id, e.c.recipient).where(e.c.kind == "sent").order_by(e.c.id)
        ).all()
    got = [(f"<{m.message_id.strip('<>')}>", r) for m in smtp.messages for r in m.recipients]
    assert sorted((str(row.message_id), str(row.recipient)) for row in sent) == sorted(got)
    assert ops.books().agree


class Disk:
    """The journal's disk, with so many octets left to write; what was reserved is there, as ``posix_fallocate`` says,
    unless ``copies`` (a file system that copies on write needs new room for every octet)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, copies: bool) -> None:
        self.left = 1 << 40
        self.copies = copies
        self._write, self._reserve = os.pwrite, os.posix_fallocate
        monkeypatch.setattr(journals.os, "pwrite", self.pwrite)
        monkeypatch.setattr(journals.os, "posix_fallocate", self.posix_fallocate)

    def posix_fallocate(self, fd: int, offset: int, length: int) -> None:
        if not self.copies:
            if length > self.left:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.left -= length
        self._reserve(fd, offset, length)

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        ready = len(data) if self.copies else max(0, min(len(data), os.fstat(fd).st_size - offset))
        whole = min(len(data), self.left if self.copies else ready + self.left)
        if not whole:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.left -= whole if self.copies else max(0, whole - ready)
        return self._write(fd, data[:whole], offset)


@pytest.mark.slow
def test_the_journal_s_disk_fills_at_each_octet_of_a_small_drain(
    ops_factory: Callable[..., Ops], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where what was reserved is not there: what the server answered is in the store, and nothing goes twice."""
    disk = Disk(monkeypatch, copies=True)
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)

        def drain() -> int:
            before = disk.left
            for n in range(2):
                ops.send(sender="ann@acme.example", to=[f"u{n}@x.example"], subject="s", text="t")
            ops.queue.run()
            return before - disk.left

        octets, told = drain(), 0
        assert octets > 200
        for left in range(octets):
            disk.left = left
            with pytest.raises(StoreError) as caught:
                drain()
            told += caught.value.code == "store.full"
            disk.left = 1 << 40
            ops.queue.run()
            assert ops.queue.counts()[MailState.OUTGOING] == 0
        assert told == octets
        assert Counter(m.message_id for m in smtp.messages).most_common(1)[0][1] == 1
        assert smtp.accepted == 2 * (octets + 1)
        books_equal(ops, smtp)


class TalkativeSession(SmtpSession):
    def _reply(self, code: int, text: str, *more: Any, **named: Any) -> None:
        super()._reply(code, text.replace("queued", "queued, and thank you" * 18), *more, **named)


class Talkative(SmtpServer):
    """A server whose answer to a mail has 400 characters."""

    session_type = TalkativeSession


@pytest.mark.parametrize("most", [0, 300])
def test_a_mail_to_thousands_whose_long_answers_find_a_full_disk_goes_once(
    ops_factory: Callable[..., Ops], monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """2,000 recipients, a text of 400 characters, the disk is full from the moment the mail is begun, and the worker
    dies before it could tell the store: all it has is the journal."""
    everybody = [f"user{n:04d}@x.example" for n in range(2000)]
    disk = Disk(monkeypatch, copies=False)
    more = {"max_recipients": most} if most else {}
    with Talkative(**more) as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        mail_id = ops.send(sender="ann@acme.example", to=everybody, subject="s", text="t")

        def full(step: str) -> None:
            if step == "journaled":
                disk.left = 0
            if step == "recorded":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            ops.queue.worker(on_step=full).run()
        disk.left = 1 << 40
        ops.queue.run()
        assert ops.queue.mail(mail_id).state is MailState.SENT
        taken = Counter(r for m in smtp.messages for r in m.recipients)
        assert taken == Counter(everybody)
        books_equal(ops, smtp)


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.argv = ["mailops", *sys.argv[2:]]
from mailops.cli import main
main()
"""


def limited(octets: int, *command: str, said: str = "") -> subprocess.CompletedProcess[str]:
    """The command line where no file can be longer than this."""
    call = [sys.executable, "-c", LIMITED, str(octets), *command]
    return subprocess.run(call, input=said, capture_output=True, text=True, timeout=100, check=False)


def test_the_vault_keeps_what_it_held_where_the_disk_is_full(sqlite_ops: Ops) -> None:
    vault = Vault(sqlite_ops.workspace.secrets)
    vault.put("old", "a-secret-of-before")
    where = str(sqlite_ops.workspace.path)
    for octets in range(0, 900, 37):
        done = limited(octets, "-w", where, "secrets", "set", "new", said="another-secret\n")
        assert "Traceback" not in done.stderr, done.stderr
        held = Vault(sqlite_ops.workspace.secrets)
        assert held.get("old").reveal() == "a-secret-of-before"
        assert (held.find("new") is not None) is (done.returncode == 0)
        assert not [p.name for p in sqlite_ops.workspace.secrets.iterdir() if p.name.endswith((".part", ".tmp"))]
        if done.returncode == 0:
            break


def test_a_run_without_room_says_so_and_leaves_no_half_result(sqlite_ops: Ops) -> None:
    where = sqlite_ops.workspace.path
    sqlite_ops.engine.connect().close()
    done = limited(50_000_000, "-w", str(where), "run", "start_here")
    assert done.returncode in (0, 1, 2, 3)
    for octets in (100, 5_000, 40_000, 400_000):
        done = limited(octets, "-w", str(where), "run", "start_here")
        assert done.returncode != 0
        assert "Traceback" not in done.stderr, done.stderr
        assert not [p for p in (where / "runs").iterdir() if not (p / "result.json").exists()]
