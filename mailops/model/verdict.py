"""A check's outcome with its evidence: what was looked at, found, expected, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class VerdictState(StrEnum):
    """The state of one check or guide step; icon and word are shown together, never colour alone."""

    WAITING = "waiting"
    READY = "ready"
    CHECKING = "checking"
    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"  # could not be found out (time-out, no answer); never the same as failed

    @property
    def icon(self) -> str:
        return {
            "waiting": "…",
            "ready": "▸",
            "checking": "⟳",
            "passed": "✓",
            "warning": "!",
            "failed": "✗",
            "skipped": "–",
            "unknown": "?",
        }[self]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check says of one subject. ``code`` is stable (``spf.missing``); ``evidence`` is JSON-ready and
    holds no secret; ``fix`` is the next step for a person."""

    check: str
    subject: str
    state: VerdictState
    title: str
    found: str = ""
    expected: str = ""
    fix: str = ""
    code: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)
    at: datetime | None = None

    @property
    def passed(self) -> bool:
        return self.state in (VerdictState.PASSED, VerdictState.WARNING, VerdictState.SKIPPED)


class Severity(StrEnum):
    """How much a finding matters."""

    BLOCKING = "blocking"  # nothing works until it is mended
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a validator has to say about a set-up: stable code, plain sentence, values, next step."""

    code: str
    severity: Severity
    message: str
    fix: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
