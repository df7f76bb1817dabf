"""Rows as JSON, CSV or Parquet, written as they come, so that a large mailbox needs no memory of its size."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import InputRefused, MissingExtra
from ..model.text import csv_rows, harmless
from ..platforms import new_file
from .output import as_json, plain

FORMATS = ("json", "csv", "parquet")
BATCH = 5000
Columns = Mapping[str, type]


class RowFile:
    """Takes rows one by one. ``columns`` are the names with str, int, bool or float: every row has just these."""

    def __init__(self, form: str, columns: Columns, out: Any) -> None:
        self.form, self.columns, self.out = form, columns, out
        self.rows = 0
        self._batch: list[Mapping[str, Any]] = []
        self._parquet: Any = None
        if form == "csv":
            self._csv = csv_rows(out)
            self._csv(list(columns))
        if form == "parquet":
            self._parquet = _parquet_writer(columns, out)

    def write(self, row: Mapping[str, Any]) -> None:
        """One row more."""
        from ..secrets import redact

        if self.form == "csv":
            self._csv([redact("" if row[name] is None else str(plain(row[name]))) for name in self.columns])
        elif self.form == "json":
            text = redact(as_json(row)).replace("\n", "\n  ")
            self.out.write(("[\n  " if not self.rows else ",\n  ") + text)
        else:
            clean = {n: harmless(redact(v)) if isinstance(v := plain(row[n]), str) else v for n in self.columns}
            self._batch.append(clean)
            if len(self._batch) >= BATCH:
                self._flush()
        self.rows += 1

    def close(self) -> None:
        """Write the end."""
        if self.form == "json":
            self.out.write("[]\n" if not self.rows else "\n]\n")
        if self._parquet is not None:
            self._flush()
            self._parquet.close()

    def _flush(self) -> None:
        pa: Any = import_module("pyarrow")
        if self._batch:
            self._parquet.write_table(pa.Table.from_pylist(self._batch, schema=self._parquet.schema))
            self._batch = []


def _parquet_writer(columns: Columns, out: Any) -> Any:
    pa: Any = import_module("pyarrow")
    pq: Any = import_module("pyarrow.parquet")
    types = {str: pa.string(), int: pa.int64(), bool: pa.bool_(), float: pa.float64()}
    return pq.ParquetWriter(out, pa.schema([(name, types[kind]) for name, kind in columns.items()]))


@contextmanager
def row_file(form: str, columns: Columns, output: Path | None) -> Iterator[RowFile]:
    """A file of rows at ``output``, else standard output. A file appears only when all rows are written, readable by
    its owner alone: reports name people.

    Raises :class:`InputRefused` for an unknown format and for Parquet without a file, :class:`MissingExtra` without
    pyarrow.
    """
    if form not in FORMATS:
        raise InputRefused(
            f"There is no format {form!r}.",
            code="input.format",
            facts={"format": form},
            fix="Use json, csv or parquet.",
        )
    if form == "parquet":
        _check_parquet(output)
    if output is None:
        rows = RowFile(form, columns, sys.stdout)
        yield rows
        rows.close()
        return
    try:
        text: dict[str, Any] = {} if form == "parquet" else {"encoding": "utf-8", "newline": ""}
        with new_file(output, **text) as file:
            rows = RowFile(form, columns, file)
            yield rows
            rows.close()
    except OSError as error:
        raise InputRefused(
            "The file cannot be written.",
            code="output.unwritable",
            facts={"file": str(output), "reason": error.strerror or str(error)},
            fix="Name a file in a folder that exists and that you may write to.",
        ) from error


def _check_parquet(output: Path | None) -> None:
    from importlib.util import find_spec

    if find_spec("pyarrow") is None:
        raise MissingExtra(
            "Parquet needs the package pyarrow.",
            code="extra.parquet",
            facts={"format": "parquet"},
            fix="Install it with: pip install 'mailops[parquet]'. Or use --format csv.",
        )
    if output is None:
        raise InputRefused(
            "Parquet is not for a terminal.",
            code="input.format",
            facts={"format": "parquet"},
            fix="Name a file with --output.",
        )
