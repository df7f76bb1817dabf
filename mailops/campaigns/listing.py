"""The list of a campaign: rows of a CSV file, of a frame or of any mappings, each judged before anything is stored.

A row is set aside with its reason: no address, no usable one, one that stands above already, texts that cannot be made
of its fields. Blanks and case do not make another address.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..errors import InputRefused
from ..mime import storable
from ..model.address import envelope_address, is_valid, mailbox, only
from .template import Template, Unrendered
from .values import Standing

MOST_COLUMNS = 500
MOST_BY_QUERY = 1_000_000
_NO_NAME = re.compile(r"\W+")


class Found(Protocol):
    """A table as a question gives it."""

    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def rows(self) -> tuple[tuple[Any, ...], ...]: ...
    @property
    def more(self) -> bool: ...
    def as_dicts(self) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A row, judged. ``normalised`` is None where it is set aside for good."""

    address: str
    normalised: str | None
    fields: str
    standing: Standing
    reason: str | None


def rows_of(source: Path | Iterable[Mapping[str, Any]] | Any) -> Iterator[dict[str, str]]:
    """The rows of a CSV file, a pandas frame or any mappings, with texts as values; the first column called email (in
    whatever case) is ``email``. Raises :class:`InputRefused` ``campaign.list``."""
    if isinstance(source, Path):
        return _csv(source)
    if hasattr(source, "to_dict") and hasattr(source, "columns"):
        source = source.to_dict("records")
    return (_named(row) for row in source)


def from_query(found: Found) -> list[dict[str, Any]]:
    """The answer to a question as rows of a list. Raises :class:`InputRefused` ``campaign.query`` where it has no
    column called email, or was cut off: nobody is left out in silence."""
    if "email" not in map(column, found.columns):
        raise InputRefused(
            "The SELECT has no column called email.",
            code="campaign.query",
            facts={"columns": list(found.columns)},
            fix="Name one so: SELECT DISTINCT recipient AS email FROM recipients WHERE state = 'sent'.",
        )
    if found.more:
        raise InputRefused(
            f"The SELECT gives more than {MOST_BY_QUERY:,} rows.",
            code="campaign.query",
            facts={"rows": len(found.rows)},
            fix="Narrow it, or make several campaigns.",
        )
    return found.as_dicts()


def _named(row: Mapping[str, Any]) -> dict[str, str]:
    made: dict[str, str] = {}
    for name, value in row.items():
        key = column(str(name))
        if not _empty(value) and key not in made:
            made[key] = storable(str(value))
    return made


def _empty(value: Any) -> bool:
    return value is None or value != value


def column(name: str) -> str:
    """The name of a field that a column gives: ``First name`` is ``First_name``, ``E-Mail`` is ``email``.

    >>> column(" First name "), column("E-Mail")
    ('First_name', 'email')
    """
    made = _NO_NAME.sub("_", name.strip().lstrip("\ufeff")).strip("_")
    return "email" if made.lower().replace("_", "") == "email" else made


def _csv(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline(100_000)
            file.seek(0)
            mark = max(",;\t", key=head.count)
            reader = csv.reader(file, delimiter=mark, strict=True)
            names = [column(name) for name in next(reader, [])]
            _check_names(names, path)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    if len(cells) > len(names):
                        raise _refused(path, f"line {reader.line_num} has {len(cells)} cells, the head {len(names)}")
                    yield {n: storable(cell) for n, cell in zip(names, cells, strict=False) if n}
    except UnicodeDecodeError as error:
        raise _refused(path, f"it is not UTF-8 (octet {error.start})") from error
    except csv.Error as error:
        raise _refused(path, str(error)) from error
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error


def _check_names(names: list[str], path: Path) -> None:
    if "email" not in names:
        raise _refused(path, "no column is called email", columns=names[:20])
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice or len(names) > MOST_COLUMNS:
        raise _refused(path, f"columns stand twice: {', '.join(twice)}" if twice else f"{len(names):,} columns")


def _refused(path: Path, why: str, **facts: Any) -> InputRefused:
    return InputRefused(
        f"The list {path.name} cannot be read: {why}.",
        code="campaign.list",
        facts={"file": path.name, "reason": why, **facts},
        fix="Give a CSV file in UTF-8 with a first line of names; one of them is email, the others are fields.",
    )


def judged(rows: Iterable[Mapping[str, str]], template: Template) -> Iterator[Entry]:
    """Each row as it will be kept. Duplicates are found when it is stored. Raises :class:`InputRefused`
    ``campaign.fields`` where the template names fields that no column has."""
    first = True
    for row in rows:
        if first:
            first = False
            if lost := template.missing(list(row), example_of(row)):
                raise InputRefused(
                    f"The message names fields that the list has not: {', '.join(lost)}.",
                    code="campaign.fields",
                    facts={"missing": lost, "columns": sorted(row)},
                    fix="Correct the names in the message, or add the columns to the list.",
                )
        yield _judged(row, template)


def example_of(row: Mapping[str, str]) -> dict[str, str]:
    """A row's fields as a template gets them."""
    return {**row, "email": row.get("email", ""), "unsubscribe_url": ""}


def _judged(row: Mapping[str, str], template: Template) -> Entry:
    given = row.get("email", "").strip()
    fields = json.dumps({n: v for n, v in row.items() if n != "email"}, ensure_ascii=False, separators=(",", ":"))
    if not given:
        return Entry("", None, fields, Standing.MISSING, "the row has no address")
    found = only(given)
    wire = envelope_address(found.spec) if found is not None and is_valid(found.spec) else None
    if found is None or wire is None or "." not in wire.rpartition("@")[2]:
        return Entry(given[:320], None, fields, Standing.INVALID, f"{given[:100]!r} is no mail address")
    try:
        template.render(example_of(row))
    except Unrendered as error:
        return Entry(wire, None, fields, Standing.MISSING, str(error))
    return Entry(wire, mailbox(wire), fields, Standing.WAITING, None)
