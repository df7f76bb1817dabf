"""Bounce predictions: one line a message, read from a folder of ``.eml`` files or from a ``truth.jsonl``.

A truth file names each message by ``id`` and by ``file``, relative to itself. A row may hold what the reading side
knows of itself, which is handed to the reader: ``delivered_to`` (the envelope recipient) and ``ours`` (the lists
``domains``, ``bounce_addresses``, ``hosts``, ``ips``). Nothing else of it is looked at. In a folder the id is the
file's name without its ending. Fields: id, kind, recipients, reason, hard, status, results, and feedback_type for
complaints.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mailops.bounces import Ours, Report, parse
from mailops.errors import InputRefused

_FAILURES = ("bounce", "delayed", "success-dsn")


def bounces(document: Any, path: Path) -> Iterator[dict[str, Any]]:
    """Read every message once. ``document`` is unused: the argument is a folder or a JSON Lines file."""
    for ident, file, row in _messages(Path(path)):
        yield prediction(ident, file, row)


def read(raw: bytes, row: Mapping[str, Any]) -> Report:
    """A message, read with what its row says of the reading side."""
    known = row.get("ours")
    ours = Ours.of(known) if isinstance(known, Mapping) else Ours()
    return parse(raw, delivered_to=str(row.get("delivered_to") or "") or None, ours=ours)


def prediction(ident: str, file: Path, row: Mapping[str, Any]) -> dict[str, Any]:
    """The reader's answer for one file. Whatever the reader raised would be reported under ``error``, never hidden."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        return {"id": ident, "kind": "ordinary", "error": f"cannot read: {error}"}
    try:
        return as_prediction(ident, read(raw, row))
    except Exception as error:
        return {"id": ident, "kind": "ordinary", "error": repr(error)}


def as_prediction(ident: str, report: Report) -> dict[str, Any]:
    """A report as one line of predictions."""
    line: dict[str, Any] = {"id": ident, "kind": report.kind, "recipients": list(report.recipients)}
    summary = report.summary
    if summary is not None:
        line["reason"] = summary.reason
        line["hard"] = summary.hard
        line["status"] = summary.status
        line["results"] = [
            {"recipient": one.recipient, "reason": one.reason, "hard": one.hard, "status": one.status}
            for one in report.results
            if one.recipient
        ]
    elif report.kind in _FAILURES:
        line["reason"] = "undefined"
        line["hard"] = False
    if report.feedback_type:
        line["feedback_type"] = report.feedback_type
    return line


def _messages(path: Path) -> Iterator[tuple[str, Path, Mapping[str, Any]]]:
    if path.is_dir():
        for file in sorted(path.rglob("*.eml")):
            yield file.stem, file, {}
        return
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            yield str(row["id"]), path.parent / str(row["file"]), row
        except (ValueError, KeyError, TypeError) as error:
            raise InputRefused(
                "A line of the case file is not an object with id and file.",
                code="evaluate.not_jsonl",
                facts={"file": str(path), "line": number, "reason": repr(error)},
                fix="Give a folder of .eml files, or JSON Lines with id and file.",
            ) from error
