"""The worker's journal: what went over the wire since the last commit, safe against kill -9.

A worker leases a batch and settles it in one commit each; between the two, every mail leaves two lines in a file of
the worker's own: ``start`` before the first byte, ``end`` with the server's answers. A write that returned survives
the death of the process (it is in the kernel), without a disk flush per mail. The file is locked while its worker
lives; whoever can lock it finds a dead worker's journal and settles its batch (:mod:`mailops.queue.recover`).

So after a kill, the only mails sent again are those between ``start`` and ``end``: their answer was in flight.
A power cut may also lose the last lines; then the batch since the last commit is sent again, with the same
Message-IDs. The space for a batch's lines is reserved up front, so that a disk that fills up stops the worker before a
mail, not after it. Where the system cannot reserve (macOS), zeros are written and flushed: as good on file systems that
write over a file in place; one that copies on write (APFS, btrfs) may still need room for the lines themselves.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import StoreError
from ..locks import try_lock
from ..model.setup import RetryPolicy, Server
from ..ports import RecipientReply, SendResult

RESERVE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One attempt of a journal: ``result`` is None when the answer never came. An attempt's number may be given away
    again when its mail is removed, so the entry names the mail too. The From and envelope sender that left, and the
    server's name and retry policy at that time, are None (name: empty) in journals of older versions."""

    attempt_id: int
    mail_id: int
    server_key: str
    result: SendResult | None
    sent_from: str | None = None
    envelope_from: str | None = None
    server_name: str = ""
    policy: RetryPolicy | None = None


class Journal:
    """One worker's journal file. Not for use by two threads at once."""

    def __init__(self, folder: Path, worker: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = folder / f"{worker}.journal"
        self._fd = os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600)
        if not try_lock(self._fd):
            os.close(self._fd)
            raise BlockingIOError(errno.EWOULDBLOCK, "This journal belongs to a living worker", str(self.path))
        self._at = 0
        self._reserved = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything: the batch was committed. Reserves space for the next one."""
        try:
            os.ftruncate(self._fd, 0)
            _reserve(self._fd, 0, RESERVE_BYTES)
        except OSError as error:
            raise _full(error) from error
        self._at, self._reserved = 0, RESERVE_BYTES
        self._servers: set[str] = set()

    def start(
        self,
        attempt_id: int,
        mail_id: int,
        server: Server,
        *,
        sent_from: str | None = None,
        envelope_from: str | None = None,
    ) -> None:
        """Record that the next byte on the wire belongs to this attempt of a mail, with what a recovery needs to judge
        it as its worker would have.

        Raises :class:`StoreError` on a full disk.
        """
        if self._at + 64 * 1024 > self._reserved:
            try:
                _reserve(self._fd, self._reserved, self._reserved + RESERVE_BYTES, written=self._at)
            except OSError as error:
                raise _full(error) from error
            self._reserved += RESERVE_BYTES
        if server.key not in self._servers:
            retry = server.retry
            known = [server.key, server.name, retry.first, retry.cap, retry.give_up]
            self._write(b"p%s\n" % json.dumps(known).encode())
            self._servers.add(server.key)
        sender = json.dumps([sent_from, envelope_from]).encode()
        self._write(b"s%d %d %s\t%s\n" % (attempt_id, mail_id, server.key.encode(), sender))

    def end(self, attempt_id: int, result: SendResult) -> None:
        """Record what the server answered for each recipient; once for each transaction of the attempt."""
        if len(result.replies) == 1 and result.replies[0].accepted and result.replies[0].stage == "body":
            reply = result.replies[0]
            self._write(
                b"a%d %d %s\n"
                % (attempt_id, reply.code, json.dumps([reply.recipient, reply.enhanced, reply.text]).encode())
            )
            return
        rows = [[r.recipient, r.code, r.enhanced, r.text[:2000], r.stage] for r in result.replies]
        self._write(b"e%d %s\n" % (attempt_id, json.dumps([rows, result.unknown]).encode()))

    def _write(self, line: bytes) -> None:
        self._at += os.pwrite(self._fd, line, self._at)

    @property
    def size(self) -> int:
        """Bytes written since the last reset."""
        return self._at

    def abandon(self) -> None:
        """Leave the file, unlocked, for the next run to settle."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def close(self) -> None:
        """Remove the file: nothing is open any more."""
        if self._fd < 0:
            return
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        os.close(self._fd)
        self._fd = -1


def _reserve(fd: int, start: int, end: int, *, written: int = 0) -> None:
    """Make the disk hold ``start`` to ``end``, zeros where nothing is ``written`` yet; OSError when it has no room."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, start, end - start)
        return
    at = max(start, written)  # a long line may have gone past what was reserved before: it must stay
    while at < end:
        at += os.pwrite(fd, bytes(end - at), at)
    os.fsync(fd)  # some file systems look for the blocks only now


def _full(error: OSError) -> StoreError:
    return StoreError(
        "The worker's journal cannot be written, so nothing more is sent.",
        code="store.full",
        facts={"system_said": error.strerror or str(error)},
        fix="Free space on the workspace's disk; the queue goes on by itself afterwards.",
    )


def read(path: Path) -> list[Entry]:
    """The entries of a journal, in order of their start; a half-written last line is ignored."""
    started: dict[int, tuple[int, str, str | None, str | None]] = {}
    servers: dict[str, tuple[str, RetryPolicy]] = {}
    results: dict[int, SendResult | None] = {}
    with path.open("rb") as file:
        data = file.read().split(b"\0", 1)[0]
    complete = data[: data.rfind(b"\n") + 1]
    for line in complete.splitlines():
        kind, rest = line[:1], line[1:]
        if kind == b"s":
            number, mail, named = rest.split(b" ", 2)
            server, _, senders = named.partition(b"\t")
            sent_from, envelope = json.loads(senders) if senders else (None, None)
            started[int(number)] = (int(mail), server.decode(), sent_from, envelope)
            results[int(number)] = None
        elif kind == b"p":
            key, name, first, cap, give_up = json.loads(rest)
            servers[key] = (name, RetryPolicy(first, cap, give_up))
        elif kind == b"a":
            attempt_id, code, packed = rest.split(b" ", 2)
            recipient, enhanced, text = json.loads(packed)
            said = SendResult((RecipientReply(recipient, int(code), enhanced, text, "body"),))
            results[int(attempt_id)] = _joined(results.get(int(attempt_id)), said)
        elif kind == b"e":
            attempt_id, packed = rest.split(b" ", 1)
            rows, unknown = json.loads(packed)
            said = SendResult(tuple(RecipientReply(*row) for row in rows), unknown=unknown)
            results[int(attempt_id)] = _joined(results.get(int(attempt_id)), said)
    found = []
    for attempt, result in results.items():
        mail_id, server_key, sent_from, envelope = started.get(attempt, (0, "", None, None))
        name, policy = servers.get(server_key, ("", None))
        found.append(Entry(attempt, mail_id, server_key, result, sent_from, envelope, name, policy))
    return found


def _joined(before: SendResult | None, said: SendResult) -> SendResult:
    return said if before is None else before.with_later(said)


@contextlib.contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Try to lock a dead worker's journal; yields whether it is ours (then it is removed on a clean exit)."""
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield False
        return
    try:
        if not try_lock(fd):
            yield False
            return
        if not path.exists():  # its worker ended, or somebody settled it, between open and lock
            yield False
            return
        yield True
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    finally:
        os.close(fd)
