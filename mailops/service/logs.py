"""What a service writes to standard error: a line a record, as text or as JSON, in every library's name.

One line for each mail that was handed in, for each answer that a mail had, and for each refusal. Fields of a line are
given with ``extra={"fields": {…}}``: in JSON they are keys, in text they stand behind the sentence as ``name=value``.
Every record is redacted and can do nothing to a terminal, whoever made it.

Mail never waits for who reads the log: where a pipe or a socket is full for :data:`PATIENCE` seconds, lines are dropped
until it is read again, and their number is told.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import socket
import stat
import sys
import threading
from datetime import UTC, datetime
from typing import Any

from ..model.text import harmless
from ..secrets import RedactingFilter, redact_value

PATIENCE = 1.0
PIECE = 4096
"""Octets that a pipe takes whole or not at all (PIPE_BUF, pipe(7))."""


class Out:
    """A stream to a descriptor, waited for no longer than :data:`PATIENCE`, and not again while it is full."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._socket = descriptor, None
        self._lost = 0
        self._lock = threading.Lock()
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=os.dup(descriptor))
        elif stat.S_ISFIFO(mode):  # a description of our own: the flag is nobody else's
            with contextlib.suppress(OSError):
                self._descriptor = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK)

    def write(self, text: str) -> None:
        """Write, or lose it where nobody reads."""
        with self._lock, contextlib.suppress(OSError):
            lost = f"{self._lost} lines of log were lost, as nobody read them\n" if self._lost else ""
            rest = (lost + text).encode("utf-8", "backslashreplace")
            while rest:
                ready = select.select([], [self._descriptor], [], 0 if self._lost else PATIENCE)[1]
                try:
                    if not ready:
                        raise BlockingIOError
                    piece = rest[:PIECE]
                    flags = getattr(socket, "MSG_DONTWAIT", 0)
                    sent = self._socket.send(piece, flags) if self._socket else os.write(self._descriptor, piece)
                except BlockingIOError:
                    self._lost += 1
                    return
                rest = rest[sent:]
            self._lost = 0

    def flush(self) -> None:
        """Nothing is kept back."""


def start_logging(kind: str) -> None:
    """Send every record of this process to standard error. ``kind``: ``text`` or ``json``. Other libraries speak from
    warnings on: what they say of each command holds what clients wrote."""
    handler = logging.StreamHandler(Out(sys.stderr.fileno()))
    handler.setFormatter(formatter(kind))
    handler.addFilter(RedactingFilter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("mailops").setLevel(logging.INFO)
    logging.raiseExceptions = False  # a log that cannot be written (a full disk) is no reason to say more


def formatter(kind: str) -> logging.Formatter:
    """What makes a line of a record: ``text`` or ``json``."""
    return _Json() if kind == "json" else _Text()


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    found = redact_value(getattr(record, "fields", {}))
    return found if isinstance(found, dict) else {}


def _at(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        shown = "".join(f" {name}={_word(value)}" for name, value in _fields(record).items() if value not in (None, ""))
        line = f"{_at(record)} {record.levelname} [{record.process}] {record.getMessage()}{shown}"
        return f"{line}\n{record.exc_text or self.formatException(record.exc_info)}" if record.exc_info else line


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        told = {
            "at": _at(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            told["trace"] = record.exc_text or self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=True, default=str)


def _word(value: object) -> str:
    """A value on a line of text: one word, or quoted as JSON does it."""
    text = harmless(str(value))
    plain = text.isascii() and text and not any(c in " \t\r\n\"'=\\" for c in text)
    return text if plain else json.dumps(text, ensure_ascii=False)
