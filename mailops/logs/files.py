"""Log files as lines: a folder's files in the order of time, compressed ones, and a file that grows and is rotated.

Names follow logrotate and Odoo: ``mail.log``, ``mail.log.1``, ``odoo.log.2026-01-31.gz``. The order is that of the
first stamp in each, whatever the names say.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..errors import InputRefused
from .lines import LONGEST, Seen, Stamps, read

BLOCK = 1 << 20
_NAMES = re.compile(r"(?i)(mail|maillog|odoo|postfix|syslog|messages|journal|.*\.log|.*\.json)([.\-_].*)?$").match
_OPEN: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.open,
    b"BZ": bz2.open,
    b"\xfd7": lzma.open,
}


class Source(NamedTuple):
    """A log file and the first moment in it (seconds since 1970; 0 where no line has a stamp)."""

    path: Path
    first: int


def find(paths: Iterable[str | Path], *, zone: tzinfo | None = None) -> list[Source]:
    """The log files that these files and folders name, the oldest first.

    A folder gives what is called like a log, down to its subfolders. Raises :class:`InputRefused` for what is not there
    or may not be read.
    """
    files: dict[Path, None] = {}
    for given in paths:
        path = Path(given).expanduser()
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and _NAMES(p.name))
            files.update(dict.fromkeys(inside))
        elif path.exists():
            files[path] = None
        else:
            raise _unreadable(path, "there is no such file or folder")
    found = []
    for path in files:
        first = next((line.at for line in read(_head(path), stamps_of(path, zone), Seen())), 0)
        found.append(Source(path, first))
    return sorted(found, key=lambda source: (source.first, str(source.path)))


def stamps_of(path: Path, zone: tzinfo | None = None) -> Stamps:
    """How the stamps of a file are read: none is later than its last change."""
    try:
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    return Stamps(zone=zone, reference=written)


def _head(path: Path, number: int = 50) -> Iterator[str]:
    for line, _ in zip(lines_of(path), range(number), strict=False):
        yield line


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a file, uncompressed where its first octets say so. A compressed file that ends early gives what is
    whole; a last line without its end is given too. Raises :class:`InputRefused`."""
    try:
        with path.open("rb") as raw:
            opener = _OPEN.get(raw.peek(2)[:2]) if isinstance(raw, io.BufferedReader) else None
            with opener(raw) if opener else raw as file:
                yield from _split(_blocks(file))
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while True:
        try:
            block = file.read1(BLOCK)  # type: ignore[attr-defined]  # what is whole of a file that ends early
        except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError):
            return
        if not block:
            return
        yield block


def _split(blocks: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for block in blocks:
        whole, mark, end = block.rpartition(b"\n")
        if not mark:
            rest = (rest + block)[:LONGEST]  # a line that never ends is none
            continue
        yield from (rest + whole).decode("utf-8", "replace").split("\n")
        rest = end[:LONGEST]
    if rest:
        yield rest.decode("utf-8", "replace")


class Place(NamedTuple):
    """How far a growing file was read: which file it was (device and inode), and the octets of whole lines."""

    device: int = 0
    inode: int = 0
    offset: int = 0


def follow(
    path: Path,
    *,
    place: Place | None = None,
    stop: Callable[[], bool] = lambda: False,
    pause: float = 0.5,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[tuple[list[str], Place]]:
    """Whole lines of a file as they are written, a block at a time, with the place that was reached; an empty block
    each time there is nothing new. Ends when ``stop`` says so.

    A file that was moved away is read to its end before the new one is begun, one that was cut is begun again. With a
    ``place`` of an earlier run what was rotated away since is found beside it by its inode and read first.
    """
    file: IO[bytes] | None = None
    here = place or Place()
    if place is not None and place.inode and (_identity(path) != place[:2]):
        old = next((p for p in path.parent.glob(f"{path.name}*") if _identity(p) == place[:2]), None)
        if old is not None:
            with old.open("rb") as moved:
                moved.seek(place.offset)
                yield list(_split(_blocks(moved))), place
        here = Place()
    try:
        while True:
            if file is None:
                try:
                    file = path.open("rb")
                except FileNotFoundError:
                    file = None
                except OSError as error:
                    raise _unreadable(path, error.strerror or str(error)) from error
                else:
                    about = os.fstat(file.fileno())
                    same = (about.st_dev, about.st_ino) == here[:2] and about.st_size >= here.offset
                    here = Place(about.st_dev, about.st_ino, here.offset if same else 0)
                    file.seek(here.offset)
            lines: list[str] = []
            gone = file is not None and _identity(path) != here[:2]  # looked at before the last read
            if file is not None:
                block = file.read(BLOCK)
                whole, mark, rest = block.rpartition(b"\n")
                if len(rest) > LONGEST:
                    whole, mark = block, b"x"
                if gone and len(block) < BLOCK:
                    whole, mark = block.removesuffix(b"\n"), b"x" if block else b""
                if mark:
                    lines = whole.decode("utf-8", "replace").split("\n")
                    here = here._replace(
                        offset=here.offset + (len(block) if whole == block or gone else len(whole) + 1)
                    )
                file.seek(here.offset)
                if os.fstat(file.fileno()).st_size < here.offset:  # cut to nothing, as copytruncate does
                    here = here._replace(offset=0)
                    file.seek(0)
                if gone and not lines:
                    file.close()
                    file, here = None, Place()
            yield lines, here
            if lines or (gone and path.exists()):
                continue
            if stop():
                return
            sleep(pause)
    finally:
        if file is not None:
            file.close()


def _identity(path: Path) -> tuple[int, int]:
    try:
        about = path.stat()
    except OSError:
        return 0, 0
    return about.st_dev, about.st_ino


def _unreadable(path: Path, why: str) -> InputRefused:
    return InputRefused(
        f"The log {path.name} cannot be read: {why}.",
        code="logs.unreadable",
        facts={"file": str(path), "reason": why},
        fix="Name a log file or a folder of logs that this user may read; Debian gives /var/log to the group adm.",
    )
