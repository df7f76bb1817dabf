"""The worker's journal: what went over the wire since the last commit, safe against kill -9.

A worker leases and settles a batch in one commit each; between the two, every mail leaves two lines in a file of
the worker's own: ``start`` before the first byte, ``end`` with the server's answers. A write that returned survives
the death of the process (it is in the kernel), without a disk flush per mail. The file is locked while its worker
lives; whoever can lock it finds a dead worker's journal and settles its batch (:mod:`mailops.queue.recover`).

One journal for all sessions of a worker, since recovery takes "not named here" for "never started": whole lines,
under a lock. There are two generations, the second in a file beside the first (``NAME.journal.2``). New mails go to one
of them; when it is long the other one takes over, and it is emptied as soon as all that it names is recorded. The lock
of the first file is that of both.

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
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import StoreError
from ..locks import try_lock
from ..model.setup import RetryPolicy, Server
from ..ports import RecipientReply, SendResult
from ..store.faults import FULL, code_of

log = logging.getLogger(__name__)
RESERVE_BYTES = 256 * 1024
LIMIT = 2 * 1024 * 1024  # octets after which the other generation takes over
BEGIN_BYTES = 16 * 1024  # the most that "start" takes: a server's line, two addresses
WORDS_BYTES = 24 * 1024  # for what the servers said about one mail
ROW_BYTES = 64  # of an answer, beside the recipient
_PLAIN = re.compile(r"[A-Za-z0-9@._+=-]*").fullmatch
WORDS = (2000, 400, 80, 0)  # characters of an answer's text: the most of these that the room allows


@dataclass(frozen=True, slots=True)
class Entry:
    """One attempt of a journal: ``result`` is None when the answer never came. An attempt's number may be given away
    again when its mail is removed, so the entry names the mail too. The From and envelope sender that left, the
    number of the routing rule, and the server's name and retry policy at that time, are None (name: empty) in journals
    of older versions."""

    attempt_id: int
    mail_id: int
    server_key: str
    result: SendResult | None
    sent_from: str | None = None
    envelope_from: str | None = None
    rule: int | None = None
    server_name: str = ""
    policy: RetryPolicy | None = None


class _Generation:
    """One of the two files: what is written, what the disk holds for it, and what is named in it and not recorded."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.at = self.reserved = 0
        self.servers: set[tuple[str, RetryPolicy]] = set()
        self.named: set[int] = set()
        self.promised: dict[int, int] = {}  # attempt → octets kept free for its answers

    def reset(self) -> None:
        self.at = self.reserved = 0
        self.servers.clear()
        self.promised.clear()
        with _kept():
            os.ftruncate(self.fd, 0)
        self.have(RESERVE_BYTES)

    @property
    def owing(self) -> int:
        """Octets that answers on their way may still take."""
        return sum(self.promised.values())

    def have(self, octets: int) -> None:
        """Make sure of this much room after what is written and what is promised."""
        wanted = self.at + self.owing + octets
        if wanted > self.reserved:
            wanted = -(-wanted // RESERVE_BYTES) * RESERVE_BYTES
            with _kept():
                _reserve(self.fd, self.reserved, wanted, written=self.at)
            self.reserved = wanted

    def write(self, line: bytes) -> None:
        """Write a whole line, or nothing that counts: half a line has no end, and the next one goes over it."""
        done = 0
        with _kept():
            while done < len(line):
                done += os.pwrite(self.fd, line[done:], self.at + done)
        self.at += len(line)


class Journal:
    """One worker's journal, for all its threads."""

    def __init__(self, folder: Path, worker: str) -> None:
        """Raises :class:`StoreError`: the file cannot be made, has no room, or belongs to a living worker."""
        self.path = folder / f"{worker}.journal"
        self._lock = threading.Lock()
        self._fds: list[int] = []
        with _kept():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fds.append(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        try:
            with _kept():
                ours = try_lock(self._fds[0])
            if not ours:
                raise StoreError(
                    "This journal belongs to a living worker.",
                    code="store.journal_in_use",
                    facts={"journal": self.path.name},
                    fix="Let that worker end; each worker needs a name of its own.",
                )
            self._files = [_Generation(self._fds[0])]
            self._now = self._files[0]  # where new mails are named
            self._at_home: dict[int, _Generation] = {}  # attempt → where it is named
            self.reset()
        except BaseException:  # a descriptor left open keeps the lock, and the next journal of this name out
            self.abandon()
            raise

    def reset(self) -> None:
        """Empty the present generation, of which all is recorded; reserves space for what comes."""
        self._now.reset()

    def start(
        self,
        attempt_id: int,
        mail_id: int,
        server: Server,
        *,
        recipients: Sequence[str] = (),
        sent_from: str | None = None,
        envelope_from: str | None = None,
        rule: int | None = None,
    ) -> None:
        """Record that the next byte on the wire belongs to this attempt of a mail, with what a recovery needs to judge
        it as its worker would have. The answers to its ``recipients`` find their room.

        Raises :class:`StoreError` on a full disk.
        """
        sender = json.dumps([sent_from, envelope_from, rule]).encode()
        with self._lock:
            self._turn()
            here = self._now
            octets = _answer_bytes(recipients)
            here.have(BEGIN_BYTES + octets)
            if (server.key, server.retry) not in here.servers:
                retry = server.retry
                known = [server.key, server.name, retry.first, retry.cap, retry.give_up]
                here.write(b"p%s\n" % json.dumps(known).encode())
                here.servers.add((server.key, server.retry))
            here.write(b"s%d %d %s\t%s\n" % (attempt_id, mail_id, server.key.encode(), sender))
            here.promised[attempt_id] = octets
            here.named.add(attempt_id)
            self._at_home[attempt_id] = here

    def further(self, attempt_id: int, recipients: Sequence[str]) -> None:
        """Make room for the answers of a further transaction of the attempt. Raises :class:`StoreError`."""
        with self._lock:
            here, octets = self._at_home[attempt_id], _answer_bytes(recipients)
            here.have(octets)
            here.promised[attempt_id] = here.promised.get(attempt_id, 0) + octets

    def end(self, attempt_id: int, result: SendResult) -> None:
        """Record what the server answered for each recipient; once for each transaction of the attempt.

        Raises :class:`StoreError` where even the reserved space cannot be written; then nothing of it stands there.
        """
        with self._lock:
            here = self._at_home[attempt_id]
            room = here.reserved - here.at - here.owing + here.promised.pop(attempt_id, 0)
            for most in WORDS:
                line = _answer(attempt_id, result, most)
                if len(line) <= room:
                    break
            here.write(line)

    def recorded(self, attempts: Iterable[int]) -> None:
        """These attempts are recorded in the store: a generation that names no others is emptied, when it is not the
        present one or has grown long. Raises :class:`StoreError`."""
        with self._lock:
            for attempt_id in attempts:
                if (home := self._at_home.pop(attempt_id, None)) is not None:
                    home.named.discard(attempt_id)
                    home.promised.pop(attempt_id, None)
            for here in self._files:
                if here.at and not here.named and (here is not self._now or here.at > LIMIT):
                    here.reset()

    def _turn(self) -> None:
        """Let the other generation take over from one that is long, if it is empty; else the long one grows."""
        if self._now.at <= LIMIT:
            return
        if len(self._files) == 1:
            second = second_of(self.path)
            with _kept():
                self._fds.append(os.open(second, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o600))
            self._files.append(_Generation(self._fds[1]))
            self._files[1].have(RESERVE_BYTES)
        other = self._files[1 - self._files.index(self._now)]
        if not other.at:
            self._now = other

    @property
    def size(self) -> int:
        """Octets that are written in both generations."""
        return sum(one.at for one in self._files)

    def abandon(self) -> None:
        """Leave the files, unlocked, for the next run to settle."""
        while self._fds:
            os.close(self._fds.pop())

    def close(self) -> None:
        """Remove the files: nothing is open any more."""
        if not self._fds:
            return
        try:
            with _kept():
                _remove(self.path)
        finally:
            self.abandon()


def second_of(path: Path) -> Path:
    """Where a journal's second generation is."""
    return path.with_name(f"{path.name}.2")


def _remove(path: Path) -> None:
    """Both files of a journal; the one that recovery looks for goes last."""
    second_of(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _answer_bytes(recipients: Sequence[str]) -> int:
    """At least what :func:`_answer` takes: a character is twelve octets in JSON at most, and one where it is plain."""
    return WORDS_BYTES + sum(ROW_BYTES + (2 if _PLAIN(name) else 14) * len(name) + 2 for name in recipients)


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


_Left = tuple[str | None, str | None, int | None]
_Start = tuple[int, str, _Left, tuple[str, RetryPolicy | None]]
_NOWHERE: _Start = (0, "", (None, None, None), ("", None))


def read(path: Path) -> list[Entry]:
    """The entries of both generations of a journal, in order of their start; half-written and damaged lines are left
    out.

    Raises :class:`StoreError` where the file cannot be read.
    """
    started: dict[int, _Start] = {}
    results: dict[int, SendResult | None] = {}
    with _kept():
        parts = [one.read_bytes() for one in (path, second_of(path)) if one is path or one.exists()]
    for part in parts:
        data = part.split(b"\0", 1)[0]
        complete = data[: data.rfind(b"\n") + 1]
        servers: dict[str, tuple[str, RetryPolicy]] = {}
        for line in complete.split(b"\n")[:-1]:
            try:
                _read_line(line, started, servers, results)
            except (ValueError, TypeError, LookupError, AttributeError) as error:
                log.warning("a line of the journal %s cannot be read: %s", path.name, error)
    found = []
    for attempt, result in results.items():
        mail_id, server_key, (sent_from, envelope, rule), (name, policy) = started.get(attempt, _NOWHERE)
        found.append(Entry(attempt, mail_id, server_key, result, sent_from, envelope, rule, name, policy))
    return found


def _read_line(
    line: bytes,
    started: dict[int, _Start],
    servers: dict[str, tuple[str, RetryPolicy]],
    results: dict[int, SendResult | None],
) -> None:
    kind, rest = line[:1], line[1:]
    if kind == b"s":
        number, mail, named = rest.split(b" ", 2)
        server, _, senders = named.partition(b"\t")
        sent_from, envelope, *rule = json.loads(senders) if senders else (None, None)
        key, left = server.decode(), (sent_from, envelope, int(rule[0]) if rule and rule[0] is not None else None)
        started[int(number)] = (int(mail), key, left, servers.get(key, ("", None)))
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
        with _kept():
            _remove(path)
    finally:
        os.close(fd)
