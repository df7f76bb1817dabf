"""Opens a database, brings its schema up to date, and says clearly when it cannot.

SQLite runs in WAL mode with ``synchronous=FULL``: a commit that returned is on the disk. Writers take the lock at the
start of a transaction (``BEGIN IMMEDIATE``), so two workers wait for each other instead of failing half-way.
A database whose schema is newer than this program is refused and left untouched. An older one is migrated, whole or not
at all, once it was told what that takes (:mod:`mailops.store.plan`): a file on a copy, so that the old one stays
(:mod:`mailops.store.carry`); a PostgreSQL database in one transaction.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from ..errors import ConfigError, MailopsError, MissingExtra, StoreError
from ..mime import storable
from ..model.numbers import refused
from .faults import store_error

if TYPE_CHECKING:
    from .plan import MigrationPlan

BUSY_SECONDS = 30.0
PAGES = 32_768
"""Kibibytes of pages that a connection to SQLite keeps."""


def database_url(target: str | Path) -> sa.URL:
    """The SQLAlchemy URL for a path or a URL text; PostgreSQL always through psycopg 3."""
    text = str(target)
    if text.startswith(("postgres://", "postgresql://")):
        text = "postgresql+psycopg://" + text.split("://", 1)[1]
    if "://" in text:
        try:
            return sa.make_url(text)
        except sa.exc.ArgumentError as error:
            raise ConfigError(
                "This database address cannot be read.",
                code="config.database_url",
                facts={"reason": str(error).splitlines()[0]},
                fix="Use a file path, or postgresql://user@host/database.",
            ) from error
    return sa.URL.create("sqlite+pysqlite", database=str(Path(text).expanduser()))


def make_engine(target: str | Path, *, busy_seconds: float = BUSY_SECONDS) -> Engine:
    """An engine with mailops' connection settings; nothing is opened yet."""
    url = database_url(target)
    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(
            url, json_serializer=json_text, connect_args={"timeout": busy_seconds, "check_same_thread": False}
        )
        _sqlite_settings(engine, url.database)
        return engine
    try:
        import psycopg  # noqa: F401  (only asked whether it is there)
    except ImportError as error:
        raise MissingExtra(
            "PostgreSQL needs the driver psycopg.",
            code="extra.postgres",
            facts={"url": url.render_as_string(hide_password=True)},
            fix="Install it with: pip install 'mailops[postgres]'",
        ) from error
    return sa.create_engine(url, json_serializer=json_text, pool_pre_ping=True, connect_args={"connect_timeout": 10})


def json_text(value: object) -> str:
    """JSON for a column; times and paths as text, and every text storable: neither NUL nor half surrogates."""
    text = storable(json.dumps(value, default=str, ensure_ascii=False))
    return json.dumps(_without_nul(json.loads(text)), ensure_ascii=False) if "\\u0000" in text else text


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    return {storable(k): _without_nul(v) for k, v in value.items()} if isinstance(value, dict) else value


def _sqlite_settings(engine: Engine, path: str | None) -> None:
    @event.listens_for(engine, "connect")
    def connect(raw: sqlite3.Connection, _record: object) -> None:
        raw.isolation_level = None  # we send BEGIN ourselves
        cursor = raw.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA temp_store=MEMORY")
        cursor.execute(f"PRAGMA cache_size=-{PAGES}")
        cursor.close()
        if path and path != ":memory:" and os.path.exists(path):
            for suffix in ("", "-wal", "-shm"):
                _private(path + suffix)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get("mailops_read", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _private(path: str) -> None:
    try:
        os.chmod(path, 0o600)
    except (FileNotFoundError, PermissionError):
        pass  # not created yet, or owned by the service user: its own umask decides


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn a database error into a :class:`StoreError` with code, facts and the next step; a number that no database
    holds into :class:`InputRefused` ``input.out_of_range``."""
    try:
        yield
    except MailopsError:
        raise
    except (sa.exc.DBAPIError, sqlite3.Error, sa.exc.TimeoutError) as error:
        raise store_error(error, doing) from error
    except OverflowError as error:  # the driver: an integer of more than 64 bits
        raise refused("A number", "so large") from error


def open_database(
    target: str | Path,
    *,
    busy_seconds: float = BUSY_SECONDS,
    tell: Callable[[MigrationPlan], None] | None = None,
) -> Engine:
    """Open (or make) a database and bring its schema to this version.

    ``tell`` is called with the plan before an older store is changed; by default the logger ``mailops.store`` says it.
    Raises :class:`StoreError`: ``store.newer_schema`` for a database written by a newer mailops, ``store.in_use``,
    ``store.migration_space`` or ``store.migration_failed`` for an older one that stays as it is.
    """
    url = database_url(target)
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        engine = make_engine(target, busy_seconds=busy_seconds)
        with explained("opening the database"), _let_go_on_error(engine):
            migrate(engine, tell)
        return engine
    path = Path(url.database)
    if not path.parent.is_dir():
        raise StoreError(
            "The folder for the database does not exist.",
            code="store.no_folder",
            facts={"folder": str(path.parent)},
            fix="Make the workspace first: mailops init FOLDER",
        )
    with explained("opening the database"):
        new = _made(path) or not _current(path, tell, busy_seconds)
    engine = make_engine(target, busy_seconds=busy_seconds)
    if new:
        with explained("making the database"), _let_go_on_error(engine):
            migrate(engine, tell)
    return engine


@contextmanager
def _let_go_on_error(engine: Engine) -> Iterator[None]:
    """Close the engine's connections when what it was opened for fails: nobody else will."""
    try:
        yield
    except BaseException:
        engine.dispose()
        raise


def _made(path: Path) -> bool:
    """Make an empty private file where there is none; whether it was made."""
    if path.exists():
        return False
    with explained("making the database"):
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise StoreError(
                "The database cannot be made.",
                code="store.not_writable",
                facts={"file": path.name, "reason": error.strerror or str(error)},
                fix="Check owner, mode and free space of the workspace folder.",
            ) from error
    return True


def _current(path: Path, tell: Callable[[MigrationPlan], None] | None, busy_seconds: float) -> bool:
    """Whether the file is a store of this program's schema, an older one carried over; False for an empty one."""
    from .migrate import newest
    from .plan import file_revision

    revision = file_revision(path, busy_seconds)
    if revision is None:
        _refuse_foreign(path, busy_seconds)
    if revision is not None and revision != newest():
        from .carry import carry

        carry(path, tell=tell or _tell, busy_seconds=busy_seconds)
    return revision is not None


def _refuse_foreign(path: Path, busy_seconds: float) -> None:
    """A database that has tables and no schema of ours is another program's, or a store that lost its schema's mark."""
    with closing(sqlite3.connect(path, timeout=busy_seconds, isolation_level=None)) as connection:
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name LIMIT 5"
        tables = [str(name) for (name,) in connection.execute(query)]
    if tables:
        raise StoreError(
            "This file is a database of another program.",
            code="store.foreign",
            facts={"file": path.name, "tables": tables},
            fix="Name mailops' own file under [database] in mailops.toml, or put the backup back (mailops restore).",
        )


def _tell(plan: MigrationPlan) -> None:
    from .plan import tell

    tell(plan)


def migrate(engine: Engine, tell: Callable[[MigrationPlan], None] | None = None) -> None:
    """Apply missing migrations in one transaction."""
    from .migrate import newest, present, upgrade

    with engine.connect().execution_options(mailops_read=True) as connection:
        revision = present(connection)
    if revision == newest():
        return
    if revision is None:
        upgrade(engine)
        return
    from .carry import explained_migration

    with explained_migration(newest()):
        upgrade(engine, tell=tell or _tell)


def look(target: str | Path, *, busy_seconds: float = BUSY_SECONDS) -> MigrationPlan:
    """What opening this store would take, without changing anything. Raises :class:`StoreError` as opening would."""
    from .migrate import newest, present, require_known
    from .plan import look_at_file, measure_server

    url = database_url(target)
    with explained("looking at the database"):
        if url.get_backend_name() == "sqlite":
            plan = look_at_file(Path(url.database or ""), newest(), busy_seconds)
        else:
            engine = make_engine(target, busy_seconds=busy_seconds)
            try:
                with reading(engine) as connection:
                    plan = measure_server(connection, present(connection), newest())
            finally:
                engine.dispose()
    require_known(plan.from_revision)
    return plan


def dialect_insert(engine: Engine) -> Any:
    """The dialect's own ``insert`` (for ON CONFLICT)."""
    if engine.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as postgres_insert

        return postgres_insert
    from sqlalchemy.dialects.sqlite import insert as sqlite_insert

    return sqlite_insert


def reading(engine: Engine) -> Any:
    """A connection for reading: in SQLite it takes no write lock."""
    return engine.connect().execution_options(mailops_read=True)


def alone(connection: Connection, work: int) -> None:
    """Let one transaction of this kind of ``work`` run at a time, until it ends. SQLite does so by itself (``BEGIN
    IMMEDIATE``); on PostgreSQL it is an advisory lock."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:work)"), {"work": work})


def one_report_at_a_time(connection: Connection) -> None:
    """Let one transaction at a time take in reports or change the suppression list: no report is noted twice, nobody
    listed twice."""
    alone(connection, 7312052)
