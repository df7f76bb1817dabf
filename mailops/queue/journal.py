"""The worker's journal: what went over the wire since the last commit, safe against kill -9.

A worker leases a batch and settles it in one commit each; between the two, every mail leaves two lines in a file of
the worker's own: ``start`` before the first byte, ``end`` with the server's answers. A write that returned survives
the death of the process (it is in the kernel), without a disk flush per mail. The file is locked while its worker
lives; whoever can lock it finds a dead worker's journal and settles its batch (:mod:`mailops.queue.recover`).

So after a kill, the only mails sent again are those between ``start`` and ``end``: their answer was in flight.
A power cut may also lose the last lines; then the batch since the last commit is sent again, with the same
Message-IDs. The space for a batch's lines is reserved up front, and before each mail as much as its recipients' answers
can take, so that a disk that fills up stops the worker before a mail, not after it. The servers' words are cut to that
room; who said what to whom is kept. Where the system cannot reserve (macOS), zeros are written and flushed: as good on
file systems that write over a file in place; one that copies on write (APFS, btrfs) may still need room for the lines.

Every trouble with the file is a :class:`StoreError`, and leaves no descriptor and so no lock behind. A line that cannot
be read is left out: its mail counts as begun without an answer.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import StoreError
from ..locks import try_lock
from ..model.setup import RetryPolicy, Server
from ..ports import RecipientReply, SendResult
from ..store.faults import FULL, code_of

log = logging.getLogger(__name__)
RESERVE_BYTES = 256 * 1024
BEGIN_BYTES = 16 * 1024  # the most that "start" takes: a server's line, two addresses
WORDS_BYTES = 24 * 1024  # for what the servers said about one mail
ROW_BYTES = 64  # of an answer, beside the recipient
WORDS = (2000, 400, 80, 0)  # characters of an answer's text: the most of these that the room allows


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
        """Raises :class:`StoreError`: the file cannot be made, has no room, or belongs to a living worker."""
        self.path = folder / f"{worker}.journal"
        self._fd = -1
        with _kept():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            with _kept():
                ours = try_lock(self._fd)
            if not ours:
                raise StoreError(
                    "This journal belongs to a living worker.",
                    code="store.journal_in_use",
                    facts={"journal": self.path.name},
                    fix="Let that worker end; each worker needs a name of its own.",
                )
            self.reset()
        except BaseException:  # a descriptor left open keeps the lock, and the next journal of this name out
            self.abandon()
            raise

    def reset(self) -> None:
        """Forget everything: the batch was committed. Reserves space for the next one."""
        self._at = self._reserved = 0
        self._servers: set[str] = set()
        with _kept():
            os.ftruncate(self._fd, 0)
        self._have(RESERVE_BYTES)

    def start(
        self,
        attempt_id: int,
        mail_id: int,
        server: Server,
        *,
        recipients: Sequence[str] = (),
        sent_from: str | None = None,
        envelope_from: str | None = None,
    ) -> None:
        """Record that the next byte on the wire belongs to this attempt of a mail, with what a recovery needs to judge
        it as its worker would have. The answers to its ``recipients`` find their room.

        Raises :class:`StoreError` on a full disk.
        """
        self._have(BEGIN_BYTES + _answer_bytes(recipients))
        if server.key not in self._servers:
            retry = server.retry
            known = [server.key, server.name, retry.first, retry.cap, retry.give_up]
            self._write(b"p%s\n" % json.dumps(known).encode())
            self._servers.add(server.key)
        sender = json.dumps([sent_from, envelope_from]).encode()
        self._write(b"s%d %d %s\t%s\n" % (attempt_id, mail_id, server.key.encode(), sender))

    def further(self, recipients: Sequence[str]) -> None:
        """Make room for the answers of a further transaction of the attempt. Raises :class:`StoreError`."""
        self._have(_answer_bytes(recipients))

    def end(self, attempt_id: int, result: SendResult) -> None:
        """Record what the server answered for each recipient; once for each transaction of the attempt.

        Raises :class:`StoreError` where even the reserved space cannot be written; then nothing of it stands there.
        """
        for most in WORDS:
            line = _answer(attempt_id, result, most)
            if self._at + len(line) <= self._reserved:
                break
        self._write(line)

    def _have(self, octets: int) -> None:
        """Make sure of this much room after what is written."""
        wanted = self._at + octets
        if wanted > self._reserved:
            wanted = -(-wanted // RESERVE_BYTES) * RESERVE_BYTES
            with _kept():
                _reserve(self._fd, self._reserved, wanted, written=self._at)
            self._reserved = wanted

    def _write(self, line: bytes) -> None:
        """Write a whole line, or nothing that counts: half a line has no end, and the next one goes over it."""
        done = 0
        with _kept():
            while done < len(line):
                done += os.pwrite(self._fd, line[done:], self._at + done)
        self._at += len(line)

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
        try:
            with _kept(), contextlib.suppress(FileNotFoundError):
                self.path.unlink()
        finally:
            self.abandon()


def _answer_bytes(recipients: Sequence[str]) -> int:
    return WORDS_BYTES + sum(ROW_BYTES + len(json.dumps(recipient)) for recipient in recipients)


def _answer(attempt_id: int, result: SendResult, most: int) -> bytes:
    """A line with the answers; what was said several times stands there once."""
    if len(result.replies) == 1 and result.replies[0].accepted and result.replies[0].stage == "body":
        reply = result.replies[0]
        said = json.dumps([reply.recipient, reply.enhanced, reply.text[:most]])
        return b"a%d %d %s\n" % (attempt_id, reply.code, said.encode())
    texts: dict[str, int] = {}
    rows = [
        [r.recipient, r.code, r.enhanced, texts.setdefault(r.text[:most], len(texts)), r.stage] for r in result.replies
    ]
    return b"m%d %s\n" % (attempt_id, json.dumps([list(texts), rows, result.unknown]).encode())


def _reserve(fd: int, start: int, end: int, *, written: int = 0) -> None:
    """Make the disk hold ``start`` to ``end``, zeros where nothing is ``written`` yet; OSError when it has no room."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, start, end - start)
        return
    at = max(start, written)  # a long line may have gone past what was reserved before: it must stay
    while at < end:
        at += os.pwrite(fd, bytes(end - at), at)
    os.fsync(fd)  # some file systems look for the blocks only now


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    """Turn the system's error into the store's."""
    try:
        yield
    except OSError as error:
        code = code_of(error)
        raise StoreError(
            "The worker's journal cannot be written, so nothing more is sent.",
            code=code,
            facts={"system_said": error.strerror or str(error)},
            fix="Free space on the workspace's disk; the queue goes on by itself afterwards."
            if code == FULL
            else "Give this user the workspace's folder `journal` and what is in it; the queue goes on by itself.",
        ) from error


def read(path: Path) -> list[Entry]:
    """The entries of a journal, in order of their start; half-written and damaged lines are left out.

    Raises :class:`StoreError` where the file cannot be read.
    """
    started: dict[int, tuple[int, str, str | None, str | None]] = {}
    servers: dict[str, tuple[str, RetryPolicy]] = {}
    results: dict[int, SendResult | None] = {}
    with _kept():
        data = path.read_bytes().split(b"\0", 1)[0]
    complete = data[: data.rfind(b"\n") + 1]
    for line in complete.split(b"\n")[:-1]:
        try:
            _read_line(line, started, servers, results)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            log.warning("a line of the journal %s cannot be read: %s", path.name, error)
    found = []
    for attempt, result in results.items():
        mail_id, server_key, sent_from, envelope = started.get(attempt, (0, "", None, None))
        name, policy = servers.get(server_key, ("", None))
        found.append(Entry(attempt, mail_id, server_key, result, sent_from, envelope, name, policy))
    return found


def _read_line(
    line: bytes,
    started: dict[int, tuple[int, str, str | None, str | None]],
    servers: dict[str, tuple[str, RetryPolicy]],
    results: dict[int, SendResult | None],
) -> None:
    kind, rest = line[:1], line[1:]
    if kind == b"s":
        number, mail, named = rest.split(b" ", 2)
        server, _, senders = named.partition(b"\t")
        sent_from, envelope = json.loads(senders) if senders else (None, None)
        started[int(number)] = (int(mail), server.decode(), sent_from, envelope)
        results[int(number)] = None
    elif kind == b"p":
        key, name, first, cap, give_up = json.loads(rest)
        servers[key] = (name, RetryPolicy(int(first), int(cap), int(give_up)))
    elif kind == b"a":
        attempt_id, code, packed = rest.split(b" ", 2)
        recipient, enhanced, text = json.loads(packed)
        said = SendResult((RecipientReply(recipient, int(code), enhanced, text, "body"),))
        results[int(attempt_id)] = _joined(results.get(int(attempt_id)), said)
    elif kind in (b"m", b"e"):
        attempt_id, packed = rest.split(b" ", 1)
        *texts, rows, unknown = json.loads(packed)  # "e", of older versions, has each text in its row
        replies = tuple(RecipientReply(r, c, e, texts[0][t] if texts else t, stage) for r, c, e, t, stage in rows)
        results[int(attempt_id)] = _joined(results.get(int(attempt_id)), SendResult(replies, unknown=unknown))


def _joined(before: SendResult | None, said: SendResult) -> SendResult:
    return said if before is None else before.with_later(said)


@contextlib.contextmanager
def claim(path: Path) -> Iterator[bool | None]:
    """Try to lock a dead worker's journal; yields whether it is ours (then it is removed on a clean exit), None where
    it may not be opened: nobody here can know what is in it. Raises :class:`StoreError`."""
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield False
        return
    except PermissionError as error:
        log.warning("the journal %s belongs to another user: %s", path.name, error.strerror)
        yield None
        return
    except OSError:
        with _kept():
            raise
    try:
        with _kept():
            ours = try_lock(fd)
        if not ours or not path.exists():  # its worker ended, or somebody settled it, between open and lock
            yield False
            return
        yield True
        with _kept(), contextlib.suppress(FileNotFoundError):
            path.unlink()
    finally:
        os.close(fd)
