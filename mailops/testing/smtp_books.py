"""The books of the loopback SMTP server: what happened, and what was accepted, in memory and in a file.

A mail's line is in the file before its 250 leaves (``flush`` runs ahead of every write of answers), by one unbuffered
write: it survives a kill -9 of either side. ``fsync=True`` makes it survive a power cut too, at the price of speed.
Each line is one JSON object; mails have ``"event": "accepted"`` with ``n``, ``session``, ``message_id``, ``from``,
``recipients``, ``bytes`` and ``at``.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple


class LogEntry(NamedTuple):
    """One event of a session: number from 1, seconds since the server's start, session number, what, detail."""

    number: int
    at: float
    session: int
    event: str
    text: str


class Books:
    """The append-only log in memory, and its file. One loop writes; other threads only read ``entries``."""

    def __init__(self, path: str | Path | None = None, *, fsync: bool = False) -> None:
        self.entries: list[LogEntry] = []
        self._start = time.monotonic()
        self._pending: list[str] = []
        self._fsync = fsync
        self._file: int | None = None
        if path is not None:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, session: int, event: str, text: str = "") -> None:
        """Add an event to the log in memory."""
        entries = self.entries
        entries.append(LogEntry(len(entries) + 1, time.monotonic() - self._start, session, event, text))

    def record(self, line: dict[str, Any]) -> None:
        """Add a line for the file; ``flush`` writes it."""
        if self._file is not None:
            self._pending.append(json.dumps(line, ensure_ascii=False) + "\n")

    def flush(self) -> None:
        """Put the waiting lines into the file."""
        if not self._pending or self._file is None:
            return
        left = memoryview("".join(self._pending).encode("utf-8"))
        self._pending.clear()
        while left:
            left = left[os.write(self._file, left) :]
        if self._fsync:
            os.fsync(self._file)

    def close(self) -> None:
        """Write what waits and close the file."""
        self.flush()
        if self._file is not None:
            os.close(self._file)
            self._file = None


def read_books(path: str | Path) -> Iterator[dict[str, Any]]:
    """The lines of a books file, oldest first; a line cut short by a kill is left out."""
    try:
        text = Path(path).read_bytes()
    except FileNotFoundError:
        return
    for line in text.splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield json.loads(line)
