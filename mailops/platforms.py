"""What differs between platforms: what the queue and serve need, and the one answer where it is not there.

Their worker keeps a journal that must survive its death (:mod:`mailops.queue.journal`): proven on Linux, and macOS has
the same calls. Windows has not; there everything else starts, and these two say so. It is judged by what is there, not
by the platform's name. Only the standard library is imported, for ``mailops doctor``.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import PlatformError
from .locks import has_flock


def lacking() -> tuple[str, ...]:
    """What the worker's journal needs and this platform has not; empty on Linux and macOS."""
    there = {"fcntl.flock": has_flock(), "os.pwrite": hasattr(os, "pwrite")}
    return tuple(name for name, found in there.items() if not found)


def require_journal(asked: str) -> None:
    """Raise :class:`PlatformError` where a worker cannot keep its journal. ``asked`` names what was wanted."""
    missing = lacking()
    if missing:
        raise PlatformError(
            "The queue and serve run on Linux or macOS; this platform lacks what the worker's journal needs.",
            code="platform.posix_only",
            facts={"asked": asked, "platform": sys.platform, "missing": list(missing)},
            fix="Guides, DNS, bounce files, analysis and the app work here, and mail can be put into the queue. "
            "To send it, run the queue or serve on Linux or macOS (on Windows: in WSL).",
        )


def has_owners() -> bool:
    """Whether files have an owner and a mode that say who may read them. Windows keeps access lists, of which Python
    shows nothing: every file there looks as if all could read it."""
    return hasattr(os, "geteuid")


@contextmanager
def new_file(path: Path, **text: Any) -> Iterator[IO[Any]]:
    """A file for its owner alone, written beside its place and moved there when all is written: never through a link,
    and what stood there stays until then. ``text``: encoding and newline for a text file; without, octets.

    Raises OSError; then nothing is left.
    """
    path = path.parent / path.name
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(handle, "w" if text else "wb", **text) as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def flush_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, after a rename. Windows opens no folders, and so has no such call: there
    a rename is as durable as its file system makes it."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def give_memory_back() -> None:
    """Let large messages leave no holes: glibc is told to keep few arenas, and to give blocks above 1 MB back to the
    system at once (mallopt(3)). Elsewhere nothing is done."""
    import ctypes

    if not sys.platform.startswith("linux"):
        return
    tell = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if tell is not None:
        tell(-8, 2)  # M_ARENA_MAX
        tell(-3, 1024 * 1024)  # M_MMAP_THRESHOLD, which else grows with what is freed
