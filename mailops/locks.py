"""The one door to file locks between processes; nothing else in mailops imports ``fcntl`` or ``msvcrt``.

A lock belongs to an open file. It keeps out everybody who opened the same file for themselves (another process, or the
same one once more), and goes when the descriptor is closed or its process dies, however that happens. Nothing waits in
here: who wants to wait asks again.

POSIX has ``flock`` for this. Windows locks ranges of bytes, and others can neither read nor write what is locked; so
one byte far behind the end is taken, and the file's content stays open to all. **The Windows branch has been read
against the documentation of ``msvcrt.locking``, not run on Windows.** Both modules are imported where they are used, so
that this one can be imported everywhere.
"""

from __future__ import annotations

import errno
import os
from importlib import import_module
from importlib.util import find_spec

from .errors import PlatformError

# Behind every file that is locked here (the largest, a journal, is cut at some MB), and within a signed 32-bit number,
# which is what older C runtimes of Windows take as a position.
FAR = 1 << 30


def has_flock() -> bool:
    """Whether this platform has the locks of POSIX."""
    return find_spec("fcntl") is not None


def try_lock(descriptor: int) -> bool:
    """Take the exclusive lock of an open file; False at once when somebody else has it.

    Raises :class:`PlatformError` where there are no locks, and OSError for what is not a matter of who has it.
    """
    try:
        import fcntl
    except ImportError:
        return _try_byte(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _try_byte(descriptor: int) -> bool:
    try:
        msvcrt = import_module("msvcrt")  # by name: type checkers on Linux know nothing of what is in it
    except ImportError as error:
        raise PlatformError(
            "This platform has no locks on files, so two processes cannot be kept apart.",
            code="platform.no_locks",
            facts={"missing": ["fcntl", "msvcrt"]},
            fix="Use Linux, macOS or Windows.",
        ) from error
    stood = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, FAR, os.SEEK_SET)  # it locks from the present position on
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EDEADLK):  # the C runtime's words for "taken"
            return False
        raise
    finally:
        os.lseek(descriptor, stood, os.SEEK_SET)
    return True
