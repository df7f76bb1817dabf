"""Carries an SQLite store to a new schema on a copy; the old file is never written to until the copy is whole.

1. One process at a time: a lock on ``mailops.db.lock``. Who waited finds the store current.
2. The old file alone: SQLite's exclusive lock. Whoever else has it open (a running ``mailops serve``) holds a shared
   one, so this fails without changing a byte: ``store.in_use``.
3. Measured, told (:mod:`mailops.store.plan`), and refused where the disk has no room.
4. A copy (SQLite's backup) as ``mailops.db.new``; there the migrations run in one transaction, with foreign keys off,
   as SQLite wants it where tables are rebuilt (a dropped parent would take its children along).
5. The copy is checked: pages, foreign keys, as many rows as before in every table. Then it is flushed.
6. The old file leaves WAL mode: its ``-wal`` and ``-shm`` go by name and would be taken for the new file's. That
   changes the mode in its header, nothing else. It also shuts out a late process that opened the old file while we
   held it: SQLite sees that the name means another file now, and refuses its first write (``READONLY_DBMOVED``).
7. A hard link keeps the old file as ``mailops.db.0002``; one rename puts the new one in its place.

A kill at any point leaves the old store or the new one, never neither: until the rename the name means the old file.
A left-over ``mailops.db.new`` is removed by the next try. While the exclusive lock is held this process must not open
the old file in any other way: closing that would drop SQLite's (POSIX) lock; so no ``open`` and no ``shutil`` on it.

A revision that adds or removes rows on purpose names the tables: ``changes_rows = ("counts",)`` in its module.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event

from ..errors import MailopsError, StoreError
from ..locks import try_lock
from ..platforms import flush_folder, has_owners
from . import migrate
from .database import json_text
from .faults import OTHER, store_error
from .plan import MigrationPlan, count_rows, file_revision, kept_name, measure_file, require_rows, require_space

PATIENCE = 5.0  # seconds for others to let go of the file: those that only look let go at once, a server never does
_WINDOWS = os.name == "nt"
COMPANIONS = ("", "-journal", "-wal", "-shm")
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL)


def carry(path: Path, *, tell: Callable[[MigrationPlan], None], busy_seconds: float) -> None:
    """Bring the store in this file to the newest schema. Raises :class:`StoreError`; then the file is as it was."""
    path = path.resolve()  # a symbolic link stays one
    with explained_migration(migrate.newest()), _one_at_a_time(path, busy_seconds):
        revision = file_revision(path, busy_seconds)
        if revision == migrate.newest():
            return  # somebody else did it while we waited
        migrate.require_known(revision)
        new = path.with_name(path.name + ".new")
        with closing(alone(path, min(busy_seconds, PATIENCE))) as old:
            try:
                _carry(old, path, new, tell)
            finally:
                remove(new)


def _carry(old: sqlite3.Connection, path: Path, new: Path, tell: Callable[[MigrationPlan], None]) -> None:
    remove(new)
    plan = measure_file(old, path, migrate.newest())
    require_space(plan)
    tell(plan)
    _make_private(new, like=path)
    copy_to(old, new)
    _migrate(new)
    _check(old, new, plan)
    flush(new)
    _leave_wal(old, path)
    kept = kept_name(path, str(plan.from_revision))
    _keep(old, path, kept)
    if _WINDOWS:  # it replaces no file that is open
        old.close()
    os.replace(new, path)
    flush_folder(path.parent)


@contextmanager
def _one_at_a_time(path: Path, seconds: float) -> Iterator[None]:
    """The migration's lock. Its file goes while the lock is held; who waited for a file that is gone asks again."""
    name = path.with_name(path.name + ".lock")
    end = time.monotonic() + seconds
    while True:
        lock = os.open(name, os.O_CREAT | os.O_RDWR, 0o600)
        if try_lock(lock) and _is_still(name, lock):
            break
        os.close(lock)
        if time.monotonic() > end:
            raise StoreError(
                "Another process is bringing the store to a new schema.",
                code="store.locked",
                facts={"file": path.name, "waited_seconds": seconds},
                fix="Wait until it is done, and try again.",
            )
        time.sleep(0.05)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no file that is open: there it stays, and does no harm
            os.unlink(name)
        os.close(lock)


def _is_still(name: Path, descriptor: int) -> bool:
    """Whether the name means the file that is open."""
    try:
        return os.path.samestat(os.stat(name), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def alone(path: Path, patience: float) -> sqlite3.Connection:
    """A connection that nobody shares the file with, until it is closed. Nothing is written to get it."""
    end = time.monotonic() + patience
    while True:
        old = sqlite3.connect(path, timeout=0.0, isolation_level=None)
        try:
            old.execute("PRAGMA locking_mode=EXCLUSIVE")
            old.execute("BEGIN EXCLUSIVE")
            old.execute("COMMIT")
            return old
        except sqlite3.OperationalError as error:
            old.close()
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            if time.monotonic() > end:
                raise StoreError(
                    "The store needs a new schema, and another process has it open.",
                    code="store.in_use",
                    facts={"file": path.name, "folder": str(path.parent), "to_schema": migrate.newest()},
                    fix="Stop what uses it (mailops serve, a notebook, a queue run), then open it again. Nothing was "
                    "changed.",
                ) from error
            time.sleep(0.05)


def _make_private(new: Path, *, like: Path) -> None:
    """An empty file that is ours alone; where we are root and the store is not root's, its owner's alone."""
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    os.chmod(new, 0o600)
    owner, mine = like.stat(), new.stat()
    if has_owners() and (owner.st_uid, owner.st_gid) != (mine.st_uid, mine.st_gid):
        try:
            os.chown(new, owner.st_uid, owner.st_gid)
        except PermissionError:
            if owner.st_uid != mine.st_uid:  # the owner could not read the new one
                raise


def copy_to(old: sqlite3.Connection, new: Path) -> None:
    with closing(sqlite3.connect(new, isolation_level=None)) as copy:
        copy.execute("PRAGMA synchronous=OFF")  # flushed as a whole, once it is right
        old.backup(copy)


def _migrate(new: Path) -> None:
    url = sa.URL.create("sqlite+pysqlite", database=str(new))
    engine = sa.create_engine(url, json_serializer=json_text, poolclass=sa.pool.NullPool)

    @event.listens_for(engine, "connect")
    def connect(raw: sqlite3.Connection, _record: object) -> None:
        raw.isolation_level = None
        for setting in ("journal_mode=DELETE", "synchronous=OFF", "foreign_keys=OFF", "temp_store=MEMORY"):
            raw.execute(f"PRAGMA {setting}")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    migrate.upgrade(engine)
    engine.dispose()


def _check(old: sqlite3.Connection, new: Path, plan: MigrationPlan) -> None:
    """Raises unless the copy is whole: every row is there and every page and key right. Leaves it in WAL mode."""
    dangling = len(old.execute("PRAGMA foreign_key_check").fetchall())
    with closing(sqlite3.connect(new, isolation_level=None)) as copy:
        wrong = [str(line) for (line,) in copy.execute("PRAGMA integrity_check(5)") if line != "ok"]
        if len(copy.execute("PRAGMA foreign_key_check").fetchall()) > dangling:
            wrong.append("rows point to rows that are not there")
        require_rows(plan, count_rows(copy), migrate.changed_on_purpose(plan.from_revision), wrong)
        copy.execute("PRAGMA journal_mode=WAL")


def _leave_wal(old: sqlite3.Connection, path: Path) -> None:
    old.execute("PRAGMA journal_size_limit=0")  # under the exclusive lock a journal stays, emptied, until we close
    (mode,) = old.execute("PRAGMA journal_mode=DELETE").fetchone()
    if mode != "delete":
        raise StoreError(f"The old store stays in mode {mode}.", code="store.in_use", fix="Stop what uses it.")
    for suffix in COMPANIONS[1:]:  # empty by now: nothing of the old file may lie beside the new one
        with suppress(FileNotFoundError, PermissionError):
            os.unlink(f"{path}{suffix}")


def _keep(old: sqlite3.Connection, path: Path, kept: Path) -> None:
    """The old file under a second name; on a file system without links a copy of it."""
    if kept.exists():  # the same file: a try was killed here
        return
    try:
        os.link(path, kept)
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    part = path.with_name(path.name + ".kept")
    remove(part)
    try:
        _make_private(part, like=path)
        copy_to(old, part)
        flush(part)
        os.rename(part, kept)
    finally:
        remove(part)


def flush(file: Path) -> None:
    """A file's bytes onto the disk."""
    descriptor = os.open(file, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(new: Path) -> None:
    for suffix in COMPANIONS:
        with suppress(FileNotFoundError):
            os.unlink(f"{new}{suffix}")


@contextmanager
def explained_migration(to: str | None) -> Iterator[None]:
    """Turn what goes wrong in a migration into a :class:`StoreError`: a full disk, or a revision that failed."""
    doing = f"bringing the store to schema {to}"
    try:
        yield
    except MailopsError:
        raise
    except OSError as error:
        raise store_error(error, doing) from error
    except Exception as error:
        if isinstance(error, sqlite3.Error | sa.exc.DBAPIError):
            found = store_error(error, doing)
            if found.code != OTHER:
                raise found from error
        text = str(getattr(error, "orig", None) or error)
        raise StoreError(
            f"The store could not be brought to schema {to}; it is as it was.",
            code="store.migration_failed",
            facts={"to": to, "reason": f"{type(error).__name__}: {(text.splitlines() or [''])[0]}"[:500]},
            fix="Go on with the version of mailops that wrote the store, and report this with the facts above.",
        ) from error
