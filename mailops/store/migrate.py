"""Schema versions through Alembic, without its command line.

Every revision lives in ``migrations/versions``. The upgrade runs inside one transaction on both databases (SQLite can
roll back DDL too, as we begin transactions ourselves).
"""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection, Engine

from ..errors import StoreError

_FOLDER = Path(__file__).parent / "migrations"


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


def newest() -> str | None:
    """The revision this program writes."""
    return _NEWEST


def present(connection: Connection) -> str | None:
    """The revision of a database, or None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine, to: str = "head") -> None:
    """Bring the database to revision ``to`` in one transaction.

    Raises :class:`StoreError` ``store.newer_schema`` when the database's revision is not one of ours.
    """
    scripts = _scripts()
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":  # one migrator at a time; SQLite has the write lock
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7305226)")
        here = present(connection)
        known = {script.revision for script in scripts.walk_revisions()}
        if here is not None and here not in known:
            raise StoreError(
                "This database was written by a newer mailops.",
                code="store.newer_schema",
                facts={"database_revision": here, "program_revision": scripts.get_current_head()},
                fix="Upgrade mailops (pip install -U mailops) and open it again. Nothing was changed.",
            )
        context = MigrationContext.configure(
            connection,
            opts={"fn": lambda rev, _context: scripts._upgrade_revs(to, rev), "render_as_batch": True},
        )
        from alembic.operations import Operations

        with Operations.context(context):
            context.run_migrations()


_NEWEST = "0003"
