"""The list as CSV, in and out."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from ..errors import InputRefused
from ..model.address import parse_first
from ..model.text import csv_rows
from .decide import SCOPES
from .service import Suppressions
from .store import Suppression

COLUMNS = ("address", "scope", "state", "source", "reason", "why", "hard", "since", "until", "actor")
MAX_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: how many were added, were there already, and which lines could not be read."""

    added: int
    present: int
    refused: tuple[str, ...]


def export(rows: Iterable[Suppression]) -> str:
    """The list as CSV text. Cells that a spreadsheet would take for a formula get a leading apostrophe."""
    out = io.StringIO()
    write = csv_rows(out)
    write(COLUMNS)
    for row in rows:
        values = asdict(row)
        write([_plain(values[name]) for name in COLUMNS])
    return out.getvalue()


def load(suppressions: Suppressions, text: str, *, scope: str = "campaigns", actor: str = "import") -> Imported:
    """Add addresses from CSV text: with a heading line (a column ``address`` or ``email``, maybe ``scope``, ``why``,
    ``until``, ``state``), or one address on each line. Rows that were undone, or whose end is over, are left out."""
    lines = [line for line in csv.reader(io.StringIO(text.lstrip("\ufeff"))) if line]
    if len(lines) > MAX_ROWS:
        raise InputRefused(
            "The list is too long.",
            code="input.too_large",
            facts={"lines": len(lines), "limit": MAX_ROWS},
            fix="Split the file and import the parts.",
        )
    head = [cell.strip().lower() for cell in lines[0]] if lines else []
    named = "address" if "address" in head else "email" if "email" in head else None
    keys = head if named else ["address"]
    added = present = 0
    refused = []
    for number, line in enumerate(lines[1:] if named else lines, start=2 if named else 1):
        row = dict(zip(keys, (cell.strip() for cell in line), strict=False))
        if row.get("state") in ("undone", "proposed"):
            continue
        spec = row.get(named or "address", "").removeprefix("'")
        parsed, wanted = parse_first(spec), row.get("scope") or scope
        try:
            until = _moment(row.get("until"))
        except ValueError:
            parsed = until = None
        if parsed is None or not parsed.domain or wanted not in SCOPES:
            refused.append(f"line {number}: {','.join(line)[:120]}")
            continue
        if suppressions.is_over(until):
            continue
        before = suppressions.find(parsed.spec)
        if before is not None and before.covers(wanted, until):
            present += 1
            continue
        why = row.get("why", "").removeprefix("'") or "Imported."
        suppressions.add(parsed.spec, scope=wanted, why=why, until=until, actor=actor, source="import")
        added += 1
    return Imported(added, present, tuple(refused))


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _plain(value: object) -> str:
    return "" if value is None else value.isoformat() if isinstance(value, datetime) else str(value)
