"""Many rows in one statement.

SQLite is quickest with one prepared statement run row by row. It is compiled once for a batch and handed to the driver
with its values made ready in one go: what SQLAlchemy does for each row takes longer there than the row itself.
PostgreSQL pays for every statement, so there a batch of updates is one ``UPDATE … FROM unnest(…)``, and a batch of
inserts goes as rows of few statements.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .database import PAGES

Rows = Sequence[Mapping[str, Any]]


def update_rows(connection: Connection, table: sa.Table, keys: Sequence[str], rows: Rows, *more: Any) -> None:
    """Update rows of ``table`` found by the columns ``keys``; ``more`` are further conditions.

    Every row names the same columns: its keys, and the new values of the others.
    """
    if not rows:
        return
    names = list(rows[0])
    if connection.dialect.name != "postgresql":
        query = sa.update(table).where(*(table.c[k] == sa.bindparam(f"key_{k}") for k in keys), *more)
        query = query.values({n: sa.bindparam(n) for n in names if n not in keys})
        named = {(f"key_{n}" if n in keys else n): n for n in names}
        _run(connection, *_ready(query.compile(dialect=connection.dialect), named, connection.dialect), rows)
        return
    from sqlalchemy.dialects.postgresql import ARRAY

    arrays = [sa.cast(sa.bindparam(f"array_{n}", [row[n] for row in rows]), ARRAY(table.c[n].type)) for n in names]
    new = sa.func.unnest(*arrays).table_valued(*(sa.column(n, table.c[n].type) for n in names)).render_derived("new")
    query = sa.update(table).values({table.c[n]: new.c[n] for n in names if n not in keys})
    connection.execute(query.where(*(table.c[k] == new.c[k] for k in keys), *more))


def insert_rows(connection: Connection, table: sa.Table, rows: Rows) -> None:
    """Insert rows into ``table``."""
    if not rows:
        return
    if connection.dialect.name != "postgresql":
        _run(connection, *_insertion(table, tuple(rows[0]), connection.dialect), rows)
        return
    query: Any = sa.insert(table)
    query = query.returning(sa.literal_column("1"))  # makes SQLAlchemy send many rows per statement
    connection.execute(query, list(rows))


def insert_numbered(connection: Connection, table: sa.Table, rows: Rows) -> list[int]:
    """Insert rows into a table with the key ``id`` that nobody else writes to meanwhile; their ids, in order. Where the
    table gives no number away twice (AUTOINCREMENT), those of rows that are gone are passed over."""
    if not rows:
        return []
    if connection.dialect.name != "postgresql":
        last = int(connection.execute(sa.select(sa.func.max(table.c.id))).scalar() or 0)
        if table.dialect_options["sqlite"]["autoincrement"]:
            given = sa.text("SELECT seq FROM sqlite_sequence WHERE name = :name").bindparams(name=table.name)
            last = max(last, int(connection.execute(given).scalar() or 0))
        first = last + 1
        ids = list(range(first, first + len(rows)))
        insert_rows(connection, table, [{**row, "id": key} for key, row in zip(ids, rows, strict=True)])
        return ids
    made = connection.execute(sa.insert(table).returning(table.c.id, sort_by_parameter_order=True), list(rows))
    return [int(row.id) for row in made]


def insert_blob(
    connection: Connection, table: sa.Table, key: Mapping[str, int], column: str, size: int, pieces: Iterable[bytes]
) -> None:
    """Insert a row with a large value that is not to be in memory whole; ``key`` is the table's number."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.insert(table).values({**key, column: b"".join(pieces)}))
        return
    driver: Any = connection.connection.driver_connection
    connection.exec_driver_sql("PRAGMA cache_size=-2048")  # its pages are not needed again
    try:
        connection.execute(sa.insert(table).values({**key, column: sa.func.zeroblob(size)}))
        with driver.blobopen(table.name, column, *key.values()) as blob:
            for piece in pieces:
                blob.write(piece)
    finally:
        connection.exec_driver_sql(f"PRAGMA cache_size=-{PAGES}")


def among(column: Any, values: Collection[Any]) -> sa.ColumnElement[bool]:
    """``column IN values`` for many values: they are handed over as one parameter, not looked at one by one."""
    found: sa.ColumnElement[bool] = column.in_(sa.bindparam("among", list(values), unique=True, expanding=True))
    return found


Column = Callable[[Rows], Iterable[Any]]


@lru_cache(maxsize=100)
def _insertion(table: sa.Table, names: tuple[str, ...], dialect: sa.Dialect) -> tuple[str, list[Column]]:
    query = sa.insert(table).values({name: sa.bindparam(name) for name in names})
    return _ready(query.compile(dialect=dialect), {name: name for name in names}, dialect)


def _ready(compiled: Any, named: Mapping[str, str], dialect: sa.Dialect) -> tuple[str, list[Column]]:
    """A statement's text, and for each of its places what gives the values of all rows; ``named`` says which parameter
    is which column of a row, every other parameter has its own value."""
    return str(compiled), [_column(compiled.binds[place], named.get(place), dialect) for place in compiled.positiontup]


def _column(bind: Any, name: str | None, dialect: sa.Dialect) -> Column:
    process = bind.type.dialect_impl(dialect).bind_processor(dialect)
    if name is None:
        fixed = bind.value if process is None else process(bind.value)
        return lambda rows: repeat(fixed, len(rows))
    if process is None:
        return lambda rows: [row[name] for row in rows]
    return lambda rows: [process(row[name]) for row in rows]


def _run(connection: Connection, text: str, columns: Sequence[Column], rows: Rows) -> None:
    connection.exec_driver_sql(text, list(zip(*[column(rows) for column in columns], strict=True)))
