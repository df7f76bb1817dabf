"""Messages out of files: single ones, folders of mixed mail, Maildir folders, and mbox files of any size.

One message is in memory at a time. What is no message (a picture, an archive, a file that may not be read, one that is
too large) is told with its reason and never stops the others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAX_MESSAGE = 50 * 1024 * 1024
_FIELD = re.compile(rb"(?:\A|[\r\n])(?:From |[!-9;-~]{1,100}[ \t]*:)")  # RFC 5322 §3.6.8, or an mbox line
_START = re.compile(rb"From \S{1,320}[ \t].{0,80}?\d\d:\d\d")  # the line between messages in an mbox (RFC 4155)
MAX_START = 450  # octets of a line that are looked at
_KEPT_BY_SERVERS = re.compile(r"(?:dovecot|courierimap|maildirfolder|maildirsize|subscriptions|cyrus\.)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Skipped:
    """What was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """One message: where it stood (``file``, or ``file#number`` in an mbox), its bytes, and how many bytes of all
    files are read by now."""

    name: str
    raw: bytes
    read: int = 0


def files(paths: Sequence[Path]) -> Iterator[Path]:
    """The files under these paths, in order. Of a Maildir ``cur`` and ``new``, with its subfolders; else no hidden
    files. Links to folders, devices and pipes are left alone."""
    for path in paths:
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        here = Path(place)
        maildir = (here / "cur").is_dir() and (here / "new").is_dir()
        folders[:] = sorted(
            name for name in folders
            if not (maildir and name == "tmp") and (not name.startswith(".") or (here / name / "cur").is_dir())
        )  # fmt: skip
        for name in sorted(names):
            control = maildir and _KEPT_BY_SERVERS.match(name)
            if not name.startswith(".") and not control and (here / name).is_file():
                yield here / name


def messages(paths: Sequence[Path], on_skip: Callable[[Skipped], object] = lambda skipped: None) -> Iterator[Source]:
    """Every message in files, folders (also Maildir) and mbox files; ``on_skip`` hears what was left out."""
    done = 0
    for path in files(paths):
        try:
            size = path.stat().st_size
            if not path.is_file():
                on_skip(Skipped(str(path), "it is no regular file"))
                continue
            with path.open("rb") as file:
                yield from _of_file(path, file, size, done, on_skip)
            done += size
        except OSError as error:
            on_skip(Skipped(str(path), error.strerror or str(error)))


def _of_file(
    path: Path, file: BinaryIO, size: int, done: int, on_skip: Callable[[Skipped], object]
) -> Iterator[Source]:
    head = file.read(4096)
    file.seek(0)
    if not head.strip():
        on_skip(Skipped(str(path), "it is empty"))
    elif b"\0" in head[:1024] or not _FIELD.search(head):
        on_skip(Skipped(str(path), "it is no mail message"))
    elif _START.match(head[:MAX_START]):
        yield from _of_mbox(path, file, done, on_skip)
    elif size > MAX_MESSAGE:
        on_skip(Skipped(str(path), f"it is too large for one message ({size:,} bytes, the most is {MAX_MESSAGE:,})"))
    else:
        yield Source(str(path), file.read(MAX_MESSAGE), done + size)


def _of_mbox(path: Path, file: BinaryIO, done: int, on_skip: Callable[[Skipped], object]) -> Iterator[Source]:
    """The messages between ``From `` lines that follow an empty line. The ``>`` before a quoted ``From `` is taken off
    (mboxrd), as the writer put it there."""
    lines: list[bytes] = []
    number, size, empty = -1, 0, True

    def finished() -> Iterator[Source]:
        if number < 0:
            return
        if size > MAX_MESSAGE:
            on_skip(Skipped(f"{path}#{number}", f"it is too large for one message (the most is {MAX_MESSAGE:,} bytes)"))
        elif any(line.strip() for line in lines):
            yield Source(f"{path}#{number}", b"".join(lines), done + file.tell())

    while line := file.readline(1024 * 1024):
        if empty and _START.match(line[:MAX_START]):
            yield from finished()
            lines, number, size = [], number + 1, 0
        else:
            size += len(line)
            if size <= MAX_MESSAGE:
                lines.append(line[1:] if re.match(rb">+From ", line) else line)
            else:
                lines.clear()  # it will be told, not read
        empty = line in (b"\n", b"\r\n")
    yield from finished()
