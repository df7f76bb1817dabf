"""What a service writes to standard error: a line a record, as text or as JSON, in every library's name.

One line for each mail that was handed in, for each answer that a mail had, and for each refusal. Fields of a line are
given with ``extra={"fields": {…}}``: in JSON they are keys, in text they stand behind the sentence as ``name=value``.
Every record is redacted and can do nothing to a terminal, whoever made it.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from ..model.text import harmless
from ..secrets import RedactingFilter, redact_value


def start_logging(kind: str) -> None:
    """Send every record of this process to standard error. ``kind``: ``text`` or ``json``. Other libraries speak from
    warnings on: what they say of each command holds what clients wrote."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if kind == "json" else _Text())
    handler.addFilter(RedactingFilter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("mailops").setLevel(logging.INFO)
    logging.raiseExceptions = False  # a log that cannot be written (a full disk) is no reason to say more


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
