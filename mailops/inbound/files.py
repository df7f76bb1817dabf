"""Received mail out of files: .eml, Outlook's .msg, mbox, Maildir, folders of them, and a pipe.

What :mod:`mailops.bounces.reading.sources` finds, with two differences, since nothing may be lost here: a file that
says by its name or its place that it is one mail (``.eml``, ``cur/`` and ``new/`` of a Maildir) is taken as it is,
whatever stands in it; and a pipe is a mail as long as a byte comes out of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..bounces.reading.sources import MAX_MESSAGE, Skipped, files, messages
from ..errors import InputRefused
from .msg import from_msg, is_msg
from .raw import LARGE, OnDisk, Raw

OnSkip = Callable[[Skipped], object]


@dataclass(frozen=True, slots=True)
class Filed:
    """One mail and where it stood."""

    name: str
    raw: Raw


def mails(paths: Sequence[Path], on_skip: OnSkip) -> Iterator[Filed]:
    """Every mail of these files and folders, in order; ``on_skip`` hears what cannot be read, and why."""
    for path in files(paths):
        if _is_msg(path):
            yield from _of_outlook(path, on_skip)
        elif path.suffix.lower() == ".eml" or (path.parent.name in ("cur", "new") and path.is_file()):
            yield from _single(path, on_skip)
        else:
            yield from (Filed(one.name, one.raw) for one in messages([path], on_skip))


def piped(stream: BinaryIO, on_skip: OnSkip) -> Iterator[Filed]:
    """The mails of a pipe: one, or the many of an mbox. Raises :class:`InputRefused` for an empty one."""
    with tempfile.TemporaryDirectory(prefix="mailops-pipe-") as folder:
        file = Path(folder) / "standard-input"
        with file.open("wb") as out:
            while piece := stream.read(1 << 20):
                out.write(piece)
        if not file.stat().st_size:
            raise InputRefused(
                "Nothing came through the pipe.",
                code="input.no_message",
                facts={"bytes": 0},
                fix="Pipe one message or an mbox into this command.",
            )
        if _is_msg(file):
            yield from _of_outlook(file, on_skip, name="standard input")
            return
        found = list[Skipped]()
        number = 0
        for source in messages([file], found.append):
            number += 1
            yield Filed(source.name.replace(str(file), "standard input"), source.raw)
        if not number:
            yield from _single(file, on_skip, name="standard input", blank=True)
        else:
            for one in found:
                on_skip(Skipped(one.name.replace(str(file), "standard input"), one.reason))


def _is_msg(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return path.is_file() and is_msg(file.read(8))
    except OSError:
        return False


def _of_outlook(path: Path, on_skip: OnSkip, *, name: str = "") -> Iterator[Filed]:
    shown = name or str(path)
    try:
        size = path.stat().st_size
        if size > MAX_MESSAGE:
            on_skip(Skipped(shown, f"it is too large for one message ({size:,} bytes, the most is {MAX_MESSAGE:,})"))
            return
        yield Filed(shown, from_msg(path.read_bytes()))
    except OSError as error:
        on_skip(Skipped(shown, error.strerror or str(error)))
    except InputRefused as refused:
        on_skip(Skipped(shown, refused.message))


def _single(path: Path, on_skip: OnSkip, *, name: str = "", blank: bool = False) -> Iterator[Filed]:
    shown = name or str(path)
    try:
        size = path.stat().st_size
        if size > MAX_MESSAGE:
            on_skip(Skipped(shown, f"it is too large for one message ({size:,} bytes, the most is {MAX_MESSAGE:,})"))
            return
        raw: Raw = OnDisk(path.open("rb")) if size > LARGE else path.read_bytes()
    except OSError as error:
        on_skip(Skipped(shown, error.strerror or str(error)))
        return
    if isinstance(raw, OnDisk) or raw.strip() or (raw and blank):
        yield Filed(shown, raw)
    else:
        on_skip(Skipped(shown, "it is empty"))
