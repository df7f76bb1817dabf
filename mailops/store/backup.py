"""A backup of the store in one file, taken while mailops runs, and the way back.

The file is a ZIP: ``backup.json`` (when, which schema, rows of every table, SHA-256 of each member), the store
(``store.db``, a copy by SQLite's backup in one step, so a state that was; or ``store.dump``, by ``pg_dump`` in its
custom format, in the very snapshot in which the rows were counted), and files of the workspace that are given. It is
made for its owner alone, under another name until it is whole, and read back before it counts.

Restoring takes the file apart beside the store, checks digests, pages, keys and rows, and only then puts it in place,
alone with the store; what stood there is kept as ``mailops.db.before-…``. A PostgreSQL database is restored in one
transaction, after a backup of what is in it was written to ``postgresql.before-…mailops``. A backup is a store of the
past: what was *Outgoing* then is *Outgoing* again, also if it left since.

https://www.sqlite.org/backup.html · https://www.postgresql.org/docs/current/app-pgdump.html
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from dataclasses import replace as replaced
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ..errors import InputRefused, MailopsError, MissingExtra, StateConflict, StoreError
from ..model.text import counted
from ..platforms import flush_folder, new_file
from . import migrate
from .carry import COMPANIONS, alone, copy_to, flush, remove
from .database import database_url, explained, make_engine
from .faults import store_error
from .plan import count_rows, file_revision

MANIFEST, FILE, DUMP = "backup.json", "store.db", "store.dump"
MAX_MANIFEST = 1 << 20
BROKEN = (OSError, EOFError, ValueError, TypeError, LookupError, RuntimeError, zipfile.BadZipFile, zlib.error)
SECONDS = 6 * 3600  # the most that pg_dump and pg_restore may take


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds: rows of every table, and of each member of the file its SHA-256. ``outgoing`` mails waited
    when it was made."""

    file: str
    at: str
    database: str  # sqlite or postgresql
    schema: str
    rows: dict[str, int]
    members: dict[str, str]
    outgoing: int
    kept: str | None = None  # by a restore: where the store of before is
    beside: tuple[str, ...] = ()  # by a restore: files of the workspace that came with it, and where they are now
    forgotten: tuple[str, ...] = ()  # by a restore: pseudonyms of people who came back and were forgotten again
    cancelled: int = 0  # by a restore: mails to or of them that were Outgoing again
    not_forgotten: tuple[str, ...] = ()  # by a restore: who could not be forgotten again, and why

    @property
    def sentence(self) -> str:
        """In words."""
        mails = self.rows.get("mails", 0)
        return (
            f"{self.file}: store of {self.at[:19].replace('T', ' ')} UTC ({self.database}, schema {self.schema}), "
            f"{counted(sum(self.rows.values()), 'row')} in {counted(len(self.rows), 'table')}, "
            f"{counted(mails, 'mail')}, {self.outgoing:,} outgoing"
        )

    def with_people(self, forgotten: tuple[str, ...], cancelled: int, left: tuple[str, ...]) -> Backup:
        """With what a restore did of people who had been forgotten since."""
        return replaced(self, forgotten=forgotten, cancelled=cancelled, not_forgotten=left)


def back_up(database: str, file: Path, *, now: datetime, beside: Mapping[str, Path] | None = None) -> Backup:
    """Write a backup of this store to a new ``file``; ``beside`` are files to take along, by their name in it.

    Raises :class:`StateConflict` where the file is there already, :class:`InputRefused` where its folder is not,
    :class:`StoreError`, and :class:`MissingExtra`
    ``backup.no_tool`` where PostgreSQL's ``pg_dump`` is not installed.
    """
    if file.exists() or file.is_symlink():
        raise StateConflict(
            "This file is there already.",
            code="backup.exists",
            facts={"file": str(file)},
            fix="Name a new file; a backup is never written over.",
        )
    if not file.parent.is_dir():
        raise InputRefused(
            "The folder for the backup is not there.",
            code="backup.no_folder",
            facts={"folder": str(file.parent)},
            fix="Make it first, or name a file in a folder that is there.",
        )
    with _doing("writing the backup"), _room(file.parent) as room:
        dialect = database_url(database).get_backend_name()
        store = room / (FILE if dialect == "sqlite" else DUMP)
        schema, rows, outgoing = (_copy_file if dialect == "sqlite" else _dump)(database, store)
        members = {store.name: store, **(beside or {})}
        digests = {name: _digest(path) for name, path in members.items()}
        made = Backup(file.name, now.isoformat(), dialect, schema, rows, digests, outgoing)
        with new_file(file) as out, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(MANIFEST, json.dumps({"mailops_backup": 1, **asdict(made)}, indent=1))
            for name, path in members.items():
                archive.write(path, name)
        flush_folder(file.parent)
    try:
        return examine(file)
    except MailopsError:  # it cannot be read back: it is none
        file.unlink(missing_ok=True)
        raise


def examine(file: Path) -> Backup:
    """What is in a backup, with every digest looked at. Raises :class:`InputRefused` ``backup.damaged``, or
    ``backup.missing`` where there is no such file."""
    if not file.is_file():
        raise InputRefused(
            "There is no such file." if not file.exists() else "This is no file.",
            code="backup.missing",
            facts={"file": str(file)},
            fix="Name a file that mailops backup wrote; nothing was changed.",
        )
    try:
        with zipfile.ZipFile(file) as archive:
            found = _manifest(archive)
            for name, digest in found.members.items():
                with archive.open(name) as member:
                    if _digest_of(member) != digest:
                        raise _damaged(file, f"{name} is not what was backed up")
            return found
    except BROKEN as error:
        raise _damaged(file, f"{type(error).__name__}: {error}"[:300]) from error


def _manifest(archive: zipfile.ZipFile) -> Backup:
    if archive.getinfo(MANIFEST).file_size > MAX_MANIFEST:
        raise ValueError("its table of contents is too long")
    told = json.loads(archive.read(MANIFEST))
    if told.pop("mailops_backup") != 1:
        raise ValueError("it is of a newer mailops")
    rows = {str(name): int(number) for name, number in told["rows"].items()}
    members = {str(name): str(digest) for name, digest in told["members"].items()}
    if sum(name in (FILE, DUMP) for name in members) != 1 or any(_unsafe(name) for name in members):
        raise ValueError("it holds no store, or names outside of a workspace")
    name = Path(str(archive.filename)).name
    database, schema = str(told["database"]), str(told["schema"])
    return Backup(name, str(told["at"]), database, schema, rows, members, int(told["outgoing"]))


def _unsafe(name: str) -> bool:
    parts = name.split("/")
    return not all(part and part not in (".", "..") and "\\" not in part and "\0" not in part for part in parts)


def restore(file: Path, database: str, *, now: datetime, replace: bool = False, folder: Path | None = None) -> Backup:
    """Put a backup in the place of this store. Files that came with it go to ``folder`` under their own names, beside
    what is there (``NAME.restored``), never over it.

    Raises :class:`StateConflict` ``backup.store_there`` where there is a store with mails and ``replace`` is not asked
    for, :class:`InputRefused` for a file that is damaged, and :class:`StoreError` ``store.in_use`` where another
    process has the store open. Then nothing was changed.
    """
    found = examine(file)
    dialect = database_url(database).get_backend_name()
    if dialect != found.database:
        raise StateConflict(
            f"This backup is of a store on {found.database}, and this workspace keeps its store on {dialect}.",
            code="backup.other_database",
            facts={"backup": found.database, "workspace": dialect},
            fix="Restore into a workspace whose [database] is of the same kind.",
        )
    migrate.require_known(found.schema)
    place = Path(database_url(database).database or "").resolve() if dialect == "sqlite" else None
    with _doing("restoring the backup"), _room(place.parent if place else file.parent) as room:
        with zipfile.ZipFile(file) as archive:
            for name in found.members:
                archive.extract(name, room)
        if place:
            kept = _swap(room / FILE, place, found, now, replace)
        else:
            into = folder or file.parent
            copy = into / _free_name(into / "postgresql", now, ".mailops")
            kept = _load(room / DUMP, database, found, replace, now, copy)
        beside = _beside(room, found, folder) if folder else ()
    return Backup(**{**asdict(found), "kept": kept, "beside": beside})


def _beside(room: Path, found: Backup, folder: Path) -> tuple[str, ...]:
    placed = []
    for name in found.members:
        if name in (FILE, DUMP):
            continue
        target = folder / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = (room / name).read_bytes()
        if target.exists() and target.read_bytes() == data:
            continue
        if target.exists() or target.is_symlink():
            target = target.with_name(f"{target.name}.restored")
        with new_file(target) as out:
            out.write(data)
        placed.append(str(target.relative_to(folder)))
    return tuple(placed)


def forgotten(database: str) -> tuple[str, ...] | None:
    """The pseudonyms of those whom a store has forgotten; None where it cannot be read, empty where there is none."""
    url = database_url(database)
    path = Path(url.database or "")
    if url.get_backend_name() == "sqlite" and not (path.exists() and path.stat().st_size):
        return ()
    engine = make_engine(database)
    try:
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table("forgotten"):
                return ()
            return tuple(str(row[0]) for row in connection.execute(sa.text("SELECT pseudonym FROM forgotten")))
    except sa.exc.SQLAlchemyError:
        return None
    finally:
        engine.dispose()


# --- SQLite -----------------------------------------------------------------------------------------------------------


def _copy_file(database: str, copy: Path) -> tuple[str, dict[str, int], int]:
    path = Path(database_url(database).database or "")
    with closing(sqlite3.connect(path, timeout=30.0, isolation_level=None)) as present:
        os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        copy_to(present, copy)
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")  # one file, without companions
        return _looked_at(connection, copy)


def _looked_at(connection: sqlite3.Connection, path: Path) -> tuple[str, dict[str, int], int]:
    """Schema, rows and outgoing mails of a whole file. Raises :class:`StoreError` for one that is not."""
    wrong = [str(line) for (line,) in connection.execute("PRAGMA integrity_check(5)") if line != "ok"]
    revision = file_revision(path, 30.0)
    if wrong or revision is None:
        raise StoreError(
            "The store is damaged, so it cannot be backed up as it is." if wrong else "There is no store in this file.",
            code="store.damaged",
            facts={"found": wrong},
            fix="Keep the file, restore the last backup, and check the disk.",
        )
    (outgoing,) = connection.execute("SELECT count(*) FROM mails WHERE state = 'outgoing'").fetchone()
    return revision, count_rows(connection), int(outgoing)


def _swap(new: Path, place: Path, found: Backup, now: datetime, replace: bool) -> str | None:
    """Put the file in place, alone with what is there; gives the name that has now."""
    with closing(sqlite3.connect(new, isolation_level=None)) as connection:
        seen = _looked_at(connection, new)
        if seen[:2] != (found.schema, found.rows):
            raise _damaged(new, "its rows are not as many as were backed up")
        connection.execute("PRAGMA journal_mode=WAL")
    _remove_companions(new)
    os.chmod(new, 0o600)
    flush(new)
    kept = None
    if place.exists():
        if place.stat().st_size and not replace:
            _refuse_full(_mails(place))
        kept = _free_name(place, now)
    with _closed_to_others(place):
        _remove_companions(place)  # a log of another file would be taken for this one's
        if kept:
            os.replace(place, place.parent / kept)
        os.replace(new, place)
    flush_folder(place.parent)
    return kept


def _free_name(place: Path, now: datetime, kind: str = "") -> str:
    name, number = f"{place.name}.before-{now:%Y%m%dT%H%M%S}", 0
    while (place.parent / (found := name + (f".{number}" if number else "") + kind)).exists():
        number += 1
    return found


@contextmanager
def _closed_to_others(place: Path) -> Iterator[None]:
    """Alone with the store, out of WAL mode; what is no database nobody has open as one."""
    try:
        old = alone(place, 5.0) if place.exists() else None
    except StoreError as error:
        raise StoreError(
            "Another process has the store open, so it cannot be replaced.",
            code="store.in_use",
            facts=error.facts,
            fix="Stop what uses it (mailops serve, a notebook, a queue run), then restore again. Nothing was changed.",
        ) from error
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise
        old = None
    try:
        if old is not None:
            old.execute("PRAGMA journal_size_limit=0")
            old.execute("PRAGMA journal_mode=DELETE")
        yield
    finally:
        if old is not None:
            old.close()


def _remove_companions(path: Path) -> None:
    for suffix in COMPANIONS[1:]:
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _mails(place: Path) -> int:
    """How many mails a store has; 0 for what is no store (that is kept all the same)."""
    try:
        with closing(sqlite3.connect(place, timeout=5.0, isolation_level=None)) as connection:
            return int(connection.execute("SELECT count(*) FROM mails").fetchone()[0])
    except sqlite3.DatabaseError:
        return 0


def _refuse_full(mails: int) -> None:
    if mails:
        raise StateConflict(
            f"There is a store here already, with {counted(mails, 'mail')}.",
            code="backup.store_there",
            facts={"mails": mails},
            fix="Ask for it with --replace; the store of now is kept under another name (PostgreSQL: as a backup).",
        )


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def _dump(database: str, file: Path) -> tuple[str, dict[str, int], int]:
    engine = make_engine(database)
    try:
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            seen = _counted(connection)
            snapshot = connection.execute(sa.text("SELECT pg_export_snapshot()")).scalar_one()
            options = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}", f"--file={file}"]
            _tool("pg_dump", database, options)
    finally:
        engine.dispose()
    file.chmod(0o600)
    return seen


def _counted(connection: sa.Connection) -> tuple[str, dict[str, int], int]:
    names = connection.execute(
        sa.text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename")
    )
    tables = [str(row[0]) for row in names if row[0] != "alembic_version"]
    if "mails" not in tables:
        raise StoreError("There is no store in this database.", code="store.damaged", facts={"tables": len(tables)})
    rows = {
        name: int(connection.execute(sa.select(sa.func.count()).select_from(sa.table(name))).scalar_one())
        for name in tables
    }
    schema = str(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one())
    outgoing = connection.execute(sa.text("SELECT count(*) FROM mails WHERE state = 'outgoing'")).scalar_one()
    return schema, rows, int(outgoing)


def _load(file: Path, database: str, found: Backup, replace: bool, now: datetime, copy: Path) -> str | None:
    """Put the dump in the database's place; where something stands there, a backup of it is written to ``copy`` first,
    and without that nothing is replaced. Gives the copy's name."""
    engine = make_engine(database)
    try:
        with engine.connect() as connection:
            there = connection.execute(sa.text("SELECT to_regclass('mails')")).scalar() is not None
            mails = int(connection.execute(sa.text("SELECT count(*) FROM mails")).scalar_one()) if there else 0
        if not replace:
            _refuse_full(mails)
        kept = back_up(database, copy, now=now).file if there else None
        options = ["--clean", "--if-exists", "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error"]
        _tool("pg_restore", database, [*options, f"--dbname={database_url(database).database}", str(file)])
        with engine.connect() as connection:
            seen = _counted(connection)
    finally:
        engine.dispose()
    if seen[:2] != (found.schema, found.rows):
        raise StoreError(
            "What was restored has not the rows of the backup.",
            code="backup.counts_differ",
            facts={"backup": found.rows, "restored": seen[1]},
            fix="Stop what uses the database, and restore again.",
        )
    return kept


def _tool(name: str, database: str, options: list[str]) -> None:
    """Run a tool of PostgreSQL; the address and the password go by its environment, where no other user sees them."""
    url = database_url(database)
    where = shutil.which(name)
    if where is None:
        raise MissingExtra(
            f"A store on PostgreSQL is backed up with {name}, which is not here.",
            code="backup.no_tool",
            facts={"tool": name},
            fix="Install PostgreSQL's client tools, of the server's version or a newer one.",
        )
    query = {key: value if isinstance(value, str) else value[0] for key, value in url.query.items()}
    given = {"PGHOST": url.host or query.get("host"), "PGPORT": url.port or query.get("port")}
    given |= {"PGUSER": url.username, "PGPASSWORD": url.password, "PGDATABASE": url.database}
    environment = {**os.environ, **{key: str(value) for key, value in given.items() if value}}
    try:
        done = subprocess.run(
            [where, "--no-password", *options],
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StoreError(f"{name} took too long.", code="store.unreachable", facts={"seconds": SECONDS}) from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise StoreError(
            f"{name} failed: {said[:300]}",
            code="backup.tool_failed",
            facts={"tool": name, "status": done.returncode, "said": done.stderr.strip()[:2000]},
            fix="Look at what it said; its version must be the server's or a newer one.",
        )


# --- files ------------------------------------------------------------------------------------------------------------


@contextmanager
def _room(folder: Path) -> Iterator[Path]:
    """A folder of our own beside the target, on its disk; gone afterwards."""
    room = Path(tempfile.mkdtemp(prefix=".backup-", dir=folder))
    try:
        yield room
    finally:
        remove(room / FILE)
        shutil.rmtree(room, ignore_errors=True)


@contextmanager
def _doing(what: str) -> Iterator[None]:
    try:
        with explained(what):
            yield
    except OSError as error:
        raise store_error(error, what) from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return _digest_of(file)


def _digest_of(file: Any) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(file: Path, why: str) -> InputRefused:
    return InputRefused(
        "This is no backup of mailops, or it is damaged.",
        code="backup.damaged",
        facts={"file": file.name, "found": why},
        fix="Take another one; nothing was changed.",
    )
