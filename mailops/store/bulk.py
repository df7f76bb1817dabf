"""Many rows in one statement.

SQLite is quickest with one prepared statement run row by row. PostgreSQL pays for every statement, so there a batch of
updates is one ``UPDATE … FROM unnest(…)``, and a batch of inserts goes as rows of few statements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

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
        renamed = [{(f"key_{n}" if n in keys else n): row[n] for n in names} for row in rows]
        connection.execute(query.values({n: sa.bindparam(n) for n in names if n not in keys}), renamed)
        return
    arrays = [sa.cast(sa.bindparam(f"array_{n}", [row[n] for row in rows]), ARRAY(table.c[n].type)) for n in names]
    new = sa.func.unnest(*arrays).table_valued(*(sa.column(n, table.c[n].type) for n in names)).render_derived("new")
    query = sa.update(table).values({table.c[n]: new.c[n] for n in names if n not in keys})
    connection.execute(query.where(*(table.c[k] == new.c[k] for k in keys), *more))


def insert_rows(connection: Connection, table: sa.Table, rows: Rows) -> None:
    """Insert rows into ``table``."""
    if not rows:
        return
    query: Any = sa.insert(table)
    if connection.dialect.name == "postgresql":
        query = query.returning(sa.literal_column("1"))  # makes SQLAlchemy send many rows per statement
    connection.execute(query, list(rows))
