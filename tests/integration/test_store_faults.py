"""Real faults of both databases, told apart by their numbers: the words of a database are not ours to read."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from mailops.errors import StoreError
from mailops.store.database import explained, make_engine
from mailops.store.faults import store_error

NOTES = "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT NOT NULL)"


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Engine]:
    """A small SQLite database with short patience."""
    made = make_engine(tmp_path / "notes.db", busy_seconds=0.1)
    with made.begin() as connection:
        connection.exec_driver_sql(NOTES)
    yield made
    made.dispose()


@pytest.fixture
def server(fresh_postgres: str) -> Iterator[Engine]:
    """The same table with one row on PostgreSQL."""
    made = make_engine(fresh_postgres)
    with made.begin() as connection:
        connection.exec_driver_sql(NOTES)
        connection.exec_driver_sql("INSERT INTO notes VALUES (1, 'one'), (2, 'two')")
    yield made
    made.dispose()


def caught(work: Callable[[], object]) -> StoreError:
    with pytest.raises(StoreError) as error, explained("keeping a note"):
        work()
    return error.value


def run(engine: Engine, *statements: str) -> Callable[[], None]:
    def work() -> None:
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    return work


# --- SQLite -----------------------------------------------------------------------------------------------------------


def busy(engine: Engine, path: Path) -> Callable[[], None]:
    def work() -> None:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        try:
            run(engine, "INSERT INTO notes VALUES (1, 'one')")()
        finally:
            holder.close()

    return work


def full(engine: Engine, path: Path) -> Callable[[], None]:
    return run(engine, "PRAGMA max_page_count=4", "INSERT INTO notes VALUES (1, hex(zeroblob(100000)))")


def read_only(engine: Engine, path: Path) -> Callable[[], None]:
    return run(engine, "PRAGMA query_only=ON", "INSERT INTO notes VALUES (1, 'one')")


def a_folder(engine: Engine, path: Path) -> Callable[[], None]:
    return run(make_engine(path.parent), "SELECT 1")


def a_letter(engine: Engine, path: Path) -> Callable[[], None]:
    letter = path.with_name("letter.db")
    letter.write_bytes(b"this is a letter, not a database" * 100)
    return run(make_engine(letter), "SELECT 1")


def torn(engine: Engine, path: Path) -> Callable[[], None]:
    """A page of the file was written over."""
    run(engine, "INSERT INTO notes VALUES (1, 'one')")()
    with engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        size = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    engine.dispose()
    with path.open("r+b") as file:
        file.seek(size)
        file.write(b"\xff" * size)
    return run(engine, "SELECT * FROM notes")


def beyond_the_words(engine: Engine, path: Path) -> Callable[[], None]:
    """The database names our own column, and the column's name sounds like a fault."""
    return run(engine, "CREATE TABLE doors (locked INTEGER NOT NULL)", "INSERT INTO doors VALUES (NULL)")


def closed_by_us(engine: Engine, path: Path) -> Callable[[], object]:
    """The module's own error carries no number, and is none of the database's."""
    connection = sqlite3.connect(path)
    connection.close()
    return lambda: connection.execute("SELECT 1")


@pytest.mark.parametrize(
    ("fault", "code", "name"),
    [
        (busy, "store.locked", "SQLITE_BUSY"),
        (full, "store.full", "SQLITE_FULL"),
        (read_only, "store.not_writable", "SQLITE_READONLY"),
        (a_folder, "store.not_writable", "SQLITE_CANTOPEN"),
        (a_letter, "store.damaged", "SQLITE_NOTADB"),
        (torn, "store.damaged", "SQLITE_CORRUPT"),
        (beyond_the_words, "store.error", "SQLITE_CONSTRAINT_NOTNULL"),
        (closed_by_us, "store.error", None),
    ],
)
def test_faults_of_sqlite(
    notes: Engine,
    tmp_path: Path,
    fault: Callable[[Engine, Path], Callable[[], object]],
    code: str,
    name: str | None,
) -> None:
    error = caught(fault(notes, tmp_path / "notes.db"))
    assert (error.code, error.facts.get("database_code")) == (code, name)
    assert error.facts["doing"] == "keeping a note"


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def held(engine: Engine) -> Callable[[], None]:
    """Somebody holds the row for longer than we wait."""

    def work() -> None:
        with engine.begin() as holder:
            holder.exec_driver_sql("UPDATE notes SET body = 'mine' WHERE id = 1")
            run(engine, "SET LOCAL lock_timeout = '50ms'", "UPDATE notes SET body = 'ours' WHERE id = 1")()

    return work


def not_serial(engine: Engine) -> Callable[[], None]:
    def work() -> None:
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection, connection.begin():
            connection.exec_driver_sql("SELECT * FROM notes")
            run(engine, "UPDATE notes SET body = 'theirs' WHERE id = 1")()
            connection.exec_driver_sql("UPDATE notes SET body = 'ours' WHERE id = 1")

    return work


def deadlock(engine: Engine) -> Callable[[], None]:
    """Two transactions want each other's row; the server ends one of them."""

    def work() -> None:
        with engine.connect() as one, engine.connect() as two:
            for connection, own in ((one, 1), (two, 2)):
                connection.exec_driver_sql("SET deadlock_timeout = '50ms'")
                connection.exec_driver_sql(f"UPDATE notes SET body = 'own' WHERE id = {own}")
            ended: list[sa.exc.DBAPIError] = []

            def other(connection: Connection, row: int) -> None:
                try:
                    connection.exec_driver_sql(f"UPDATE notes SET body = 'other' WHERE id = {row}")
                except sa.exc.DBAPIError as error:
                    ended.append(error)
                connection.rollback()

            waiting = threading.Thread(target=other, args=(two, 1))
            waiting.start()
            other(one, 2)
            waiting.join(10)
            raise ended[0]

    return work


def slow(engine: Engine) -> Callable[[], None]:
    return run(engine, "SET LOCAL statement_timeout = '50ms'", "SELECT pg_sleep(5)")


def shut_down(engine: Engine) -> Callable[[], None]:
    """The administrator ends the session while it works."""

    def work() -> None:
        with engine.connect() as connection:
            ours = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            ending = threading.Timer(0.2, run(engine, f"SELECT pg_terminate_backend({ours})"))
            ending.start()
            try:
                connection.exec_driver_sql("SELECT pg_sleep(5)")
            finally:
                ending.join()

    return work


def hung_up(engine: Engine) -> Callable[[], None]:
    """The line is gone before the statement: the driver's own error, without a number."""

    def work() -> None:
        with engine.connect() as connection:
            raw: object = connection.connection.driver_connection
            os.close(raw.fileno())  # type: ignore[attr-defined]
            os.open(os.devnull, os.O_RDWR)  # takes the number, so that nobody else's file is closed with the line
            connection.exec_driver_sql("SELECT 1")

    return work


def for_reading(engine: Engine) -> Callable[[], None]:
    return run(engine, "SET TRANSACTION READ ONLY", "UPDATE notes SET body = 'ours'")


def not_allowed(engine: Engine) -> Callable[[], None]:
    return run(engine, "CREATE ROLE guest_of_a_test", "SET LOCAL ROLE guest_of_a_test", "SELECT * FROM notes")


def raised(state: str) -> Callable[[Engine], Callable[[], None]]:
    """A fault that cannot be had on loopback, as the server would say it in another language."""
    return lambda engine: run(engine, f"DO $$ BEGIN RAISE 'Kein Platz' USING ERRCODE = '{state}'; END $$")


def doors(engine: Engine) -> Callable[[], None]:
    return run(engine, "CREATE TABLE doors (locked INTEGER NOT NULL)", "INSERT INTO doors VALUES (NULL)")


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("fault", "code", "state"),
    [
        (held, "store.locked", "55P03"),
        (not_serial, "store.locked", "40001"),
        (deadlock, "store.locked", "40P01"),
        (slow, "store.unreachable", "57014"),
        (shut_down, "store.unreachable", "57P01"),
        (hung_up, "store.unreachable", None),
        (for_reading, "store.not_writable", "25006"),
        (not_allowed, "store.not_writable", "42501"),
        (raised("53100"), "store.full", "53100"),
        (raised("53300"), "store.unreachable", "53300"),
        (raised("XX001"), "store.damaged", "XX001"),
        (doors, "store.error", "23502"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_faults_of_postgresql(
    server: Engine, fault: Callable[[Engine], Callable[[], object]], code: str, state: str | None
) -> None:
    error = caught(fault(server))
    assert (error.code, error.facts.get("database_code")) == (code, state)


@pytest.mark.postgres
def test_a_database_that_is_not_there_is_an_address_to_check(fresh_postgres: str) -> None:
    engine = make_engine(fresh_postgres + "_none")
    assert caught(run(engine, "SELECT 1")).code == "store.unreachable"


def test_a_pool_without_a_free_session_is_no_answer(notes: Engine) -> None:
    assert store_error(sa.exc.TimeoutError("QueuePool limit of size 5 reached"), "x").code == "store.unreachable"


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "store.full"),
        (errno.EDQUOT, "store.full"),
        (errno.EIO, "store.full"),
        (errno.EACCES, "store.not_writable"),
        (errno.EROFS, "store.not_writable"),
    ],
)
def test_the_systems_own_numbers(number: int, code: str) -> None:
    assert store_error(OSError(number, os.strerror(number)), "copying the store").code == code
