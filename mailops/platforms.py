"""What differs between platforms: what the queue and serve need, and the one answer where it is not there.

Their worker keeps a journal that must survive its death (:mod:`mailops.queue.journal`): proven on Linux, and macOS has
the same calls. Windows has not; there everything else starts, and these two say so. It is judged by what is there, not
by the platform's name. Only the standard library is imported, for ``mailops doctor``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

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
