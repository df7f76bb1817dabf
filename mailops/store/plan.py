"""What a migration costs, said before anything is changed: rows, seconds, space.

The figures are measured (:func:`measure_file`, :func:`measure_server`); what follows from them is a pure function,
:func:`make_plan`. It is told through the logger ``mailops.store`` as a warning: without any set-up Python prints those
on standard error, so a person at a terminal or in a notebook reads it and ``--json`` on standard output stays JSON.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..errors import StoreError
from ..model.text import harmless

log = logging.getLogger("mailops.store")

# A store of 274 MB with 680,000 rows took 3 s on two busy cores (copied 0.4, an index over 600,000 events 0.6, checked
# 2.0): 90 MB a second, its pages in memory. A third of that is said, for disks that must read and write them.
# PostgreSQL beside it made such an index over 600,000 events in 0.9 s; a sixth of that rate is said.
FILE_BYTES_PER_SECOND = 30_000_000
SERVER_ROWS_PER_SECOND = 100_000
# In per cent of what the store takes now. A file: the copy, its rollback journal while it is migrated (as large again,
# where every page changes), and a tenth of that. A server: what rewritten tables take twice, and a tenth.
FILE_SPACE, SERVER_SPACE = 220, 110


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """What bringing a store from one schema to another takes. ``seconds`` is an estimate; ``free`` is None where it
    cannot be known from here; ``kept`` is the name under which the old file stays (None on a database server)."""

    store: str
    folder: str | None
    from_revision: str | None
    to_revision: str | None
    rows: Mapping[str, int]
    size: int
    seconds: float
    needed: int
    free: int | None
    kept: str | None

    @property
    def due(self) -> bool:
        """Whether there is anything to carry over: a store that is new is simply made."""
        return self.from_revision is not None and self.from_revision != self.to_revision

    @property
    def fits(self) -> bool:
        return self.free is None or self.free >= self.needed

    @property
    def sentence(self) -> str:
        """The plan as a person reads it."""
        if not self.due:
            return (
                "There is no store yet; it is made on first use."
                if self.from_revision is None
                else f"The store is of schema {self.from_revision}, which this program writes: nothing is to be done."
            )
        rows = sum(self.rows.values())
        free = "what is free on the server is not known here" if self.free is None else f"{_bytes(self.free)} free"
        after = (
            f"The old file stays as {self.kept}."
            if self.kept
            else "It happens whole or not at all; pg_dump makes a copy first, if you want one."
        )
        return harmless(
            f"The store is brought from schema {self.from_revision} to {self.to_revision}: "
            f"{rows:,} row{'' if rows == 1 else 's'}, about {max(1, round(self.seconds)):,} s (an estimate), "
            f"needs {_bytes(self.needed)} ({free}). {after}"
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, with what follows from the figures."""
        return {
            **asdict(self),
            "rows_total": sum(self.rows.values()),
            "due": self.due,
            "fits": self.fits,
            "sentence": self.sentence,
        }


def make_plan(
    *,
    store: str,
    from_revision: str | None,
    to_revision: str | None,
    rows: Mapping[str, int],
    size: int,
    free: int | None,
    folder: str | None = None,
    kept: str | None = None,
) -> MigrationPlan:
    """The plan that follows from what was measured. A file is copied, so it takes time and space by its bytes; a
    server migrates in place, so it takes time by its rows, and space for what a rewritten table takes twice."""
    if from_revision in (None, to_revision):
        seconds, needed = 0.0, 0
    elif folder is not None:
        seconds, needed = 0.2 + size / FILE_BYTES_PER_SECOND, _share(size, FILE_SPACE)
    else:
        seconds, needed = 0.2 + sum(rows.values()) / SERVER_ROWS_PER_SECOND, _share(size, SERVER_SPACE)
    return MigrationPlan(
        store, folder, from_revision, to_revision, dict(rows), size, round(seconds, 1), needed, free, kept
    )


def _share(size: int, per_cent: int) -> int:
    return -(-size * per_cent // 100)


def tell(plan: MigrationPlan) -> None:
    """Say what is about to happen."""
    log.warning("%s", plan.sentence)


def require_space(plan: MigrationPlan) -> None:
    """Raises :class:`StoreError` ``store.migration_space`` when the plan does not fit on the disk."""
    if plan.fits:
        return
    raise StoreError(
        f"The store must be brought from schema {plan.from_revision} to {plan.to_revision}, and the disk has no room "
        "for it.",
        code="store.migration_space",
        facts={"needed": plan.needed, "free": plan.free, "folder": plan.folder, "size": plan.size},
        fix="Free space in the workspace's folder, or move the workspace to a larger disk. Nothing was changed.",
    )


def require_rows(
    plan: MigrationPlan, after: Mapping[str, int], meant: frozenset[str], more: Sequence[str] = ()
) -> None:
    """Raises :class:`StoreError` ``store.migration_failed`` when a table has not the rows it had and no revision on the
    way means that (``meant``), or when something else was found wrong (``more``)."""
    wrong = [*more]
    for table, before in plan.rows.items():
        if table not in meant and after.get(table) != before:
            wrong.append(f"{table}: {before} rows before, {after.get(table, 'no table')} after")
    if wrong:
        raise StoreError(
            f"The store as brought to schema {plan.to_revision} is not right, so it stays as it was.",
            code="store.migration_failed",
            facts={"wrong": wrong[:10], "from": plan.from_revision, "to": plan.to_revision},
            fix="Go on with the version of mailops that wrote the store, and report this with the facts above.",
        )


# --- measuring --------------------------------------------------------------------------------------------------------


def file_revision(path: Path, busy_seconds: float) -> str | None:
    """The schema of an SQLite file, or None where it has none yet. Asked with a bare connection: a file that must not
    be migrated is not even switched to WAL, and a current store opens without loading Alembic."""
    with closing(sqlite3.connect(path, timeout=busy_seconds, isolation_level=None)) as connection:
        return _revision(connection)


def _revision(connection: sqlite3.Connection) -> str | None:
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise
    return None if row is None else str(row[0])


def count_rows(connection: sqlite3.Connection) -> dict[str, int]:
    """Rows of every table of ours."""
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name <> 'alembic_version'"
        " ORDER BY name"
    ).fetchall()
    return {n: int(connection.execute(f'SELECT count(*) FROM "{n}"').fetchone()[0]) for (n,) in names}  # noqa: S608


def measure_file(connection: sqlite3.Connection, path: Path, to_revision: str | None) -> MigrationPlan:
    """The plan for an SQLite file. What is free is asked of the folder's disk."""
    (pages,), (page_size,) = (connection.execute(f"PRAGMA {p}").fetchone() for p in ("page_count", "page_size"))
    revision = _revision(connection)
    due = revision is not None and revision != to_revision
    return make_plan(
        store=path.name,
        folder=str(path.parent),
        from_revision=revision,
        to_revision=to_revision,
        rows=count_rows(connection),
        size=int(pages) * int(page_size),
        free=shutil.disk_usage(path.parent).free,
        kept=kept_name(path, str(revision)).name if due else None,
    )


def kept_name(path: Path, revision: str) -> Path:
    """A name for the old file that nothing has: ``mailops.db.0002``, else ``mailops.db.0002.1`` and so on. The same
    file under that name already (a try that was killed between link and swap) counts as free."""
    name, number = path.with_name(f"{path.name}.{revision}"), 0
    while name.is_symlink() or (name.exists() and not name.samefile(path)):
        number += 1
        name = path.with_name(f"{path.name}.{revision}.{number}")
    return name


def kept_files(path: Path) -> list[Path]:
    """The older stores that migrations left beside this one."""
    return sorted(file for file in path.parent.glob(f"{path.name}.0*") if file.is_file())


def look_at_file(path: Path, to_revision: str | None, busy_seconds: float) -> MigrationPlan:
    """The plan for a file, without touching it: what a dead process left in its ``-wal`` is read and left there."""
    path = path.resolve()
    if not path.exists() or path.stat().st_size == 0:
        return make_plan(
            store=path.name, folder=str(path.parent), from_revision=None, to_revision=to_revision, rows={}, size=0,
            free=shutil.disk_usage(path.parent).free,
        )  # fmt: skip
    # A connection that may write clears up after itself, but would take an old -wal into the file as it closes.
    wal = path.with_name(path.name + "-wal")
    mode = "ro" if wal.exists() and wal.stat().st_size else "rw"
    with closing(sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, timeout=busy_seconds)) as connection:
        return measure_file(connection, path, to_revision)


def server_rows(connection: Connection) -> dict[str, int]:
    """Rows of every table of ours on a database server."""
    names = [name for name in sa.inspect(connection).get_table_names() if name != "alembic_version"]
    count = sa.select(sa.func.count())
    return {name: connection.execute(count.select_from(sa.table(name))).scalar_one() for name in sorted(names)}


def measure_server(connection: Connection, from_revision: str | None, to_revision: str | None) -> MigrationPlan:
    """The plan for a PostgreSQL database."""
    return make_plan(
        store=str(connection.engine.url.database),
        from_revision=from_revision,
        to_revision=to_revision,
        rows=server_rows(connection),
        size=int(connection.execute(sa.text("SELECT pg_database_size(current_database())")).scalar_one()),
        free=None,
    )


def _bytes(count: int) -> str:
    """A size with two digits that matter: ``3.1 MB``, ``80 GB``."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.1f} {unit}" if size < 10 and unit != "bytes" else f"{size:,.0f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
