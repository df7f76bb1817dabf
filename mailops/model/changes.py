"""What differs between a value before and after a change, in words: what a person is told that changed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, Generic, TypeVar

from .verdict import Finding

T = TypeVar("T")

_OWN = ("id", "created")
_LABELS = {
    "bounce_alias": "Bounce Alias",
    "catchall_alias": "Catchall Alias",
    "default_from": "Default From Alias",
    "from_filter": "FROM Filtering",
    "alias_domain": "Alias Domain",
    "mail_class": "mail class",
    "ca_file": "CA file",
}


@dataclass(frozen=True, slots=True)
class Changed:
    """One field that changed; texts, "" where it is empty."""

    field: str
    before: str
    after: str

    def text(self) -> str:
        label = _LABELS.get(self.field, self.field.replace("_", " "))
        return f"{label}: {self.before or '(empty)'} → {self.after or '(empty)'}"


@dataclass(frozen=True, slots=True)
class Saved(Generic[T]):
    """What was saved, what of it changed (nothing: it is new, or was so already), and what has to be said at once."""

    value: T
    changes: tuple[Changed, ...]
    notes: tuple[Finding, ...] = ()

    def lines(self) -> list[str]:
        """For people."""
        said = [f"Changed {one.text()}." for one in self.changes]
        return [*said, *(f"Note: {one.message} {one.fix}" for one in self.notes)]


def changed(before: Any, after: Any) -> tuple[Changed, ...]:
    """The fields of two dataclasses of one kind that differ, in their order. ``before`` None: nothing was there."""
    if before is None:
        return ()
    rows = ((f.name, getattr(before, f.name), getattr(after, f.name)) for f in fields(after) if f.name not in _OWN)
    return tuple(Changed(name, _said(old), _said(new)) for name, old, new in rows if _said(old) != _said(new))


def _said(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Enum):
        return str(value.value)
    return str(value.name) if hasattr(value, "name") else str(value)
