"""Pages and evidence of notebook runs that name somebody, and their end. The line of a run and its verdicts stay."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..ledger.erasure import Held, Person
from ..store.runs import folders, without_folder

MAX_FILE = 50_000_000


class RunHolder:
    """The folders of runs below ``place``."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def find(self, connection: Connection, address: str) -> Iterable[Held]:
        rows = tuple({"run": run, "files": names} for run, names in self._naming(connection, address))
        yield Held("pages of runs", len(rows), rows)

    def forget(self, connection: Connection, person: Person) -> Mapping[str, int]:
        runs = [run for run, _ in self._naming(connection, person.address)]
        self._end(connection, runs)
        return {"pages of runs": len(runs)}

    def old(self, kind: str, before: datetime) -> sa.Select[Any] | None:
        return folders(before) if kind == "runs" else None

    def end(self, connection: Connection, kind: str, which: Sequence[Any]) -> None:
        self._end(connection, which)

    def _end(self, connection: Connection, runs: Sequence[str]) -> None:
        without_folder(connection, runs)
        for run in runs:
            shutil.rmtree(self._place / run, ignore_errors=True)

    def _naming(self, connection: Connection, address: str) -> Iterator[tuple[str, list[str]]]:
        """Finished runs with a file that holds the address, and these files."""
        sought = address.encode()
        for run in connection.execute(folders()).scalars().all():
            place = self._place / run
            found = sorted(
                str(file.relative_to(place))
                for file in place.rglob("*")
                if file.is_file() and not file.is_symlink() and _holds(file, sought)
            )
            if found:
                yield run, found


def _holds(file: Path, sought: bytes) -> bool:
    try:
        return file.stat().st_size <= MAX_FILE and sought in file.read_bytes().lower()
    except OSError:
        return False
