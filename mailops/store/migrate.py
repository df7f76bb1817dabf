"""Schema versions through Alembic, without its command line.

Every revision lives in ``migrations/versions``. The upgrade runs inside one transaction on both databases (SQLite can
roll back DDL too, as we begin transactions ourselves). Alembic is read when there is something to migrate.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..errors import StoreError

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

    from .plan import MigrationPlan

_FOLDER = Path(__file__).parent / "migrations"


def _scripts() -> ScriptDirectory:
    return _scripts_in(_FOLDER)


@lru_cache(maxsize=2)
def _scripts_in(folder: Path) -> ScriptDirectory:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


def newest() -> str | None:
    """The revision this program writes."""
    return _NEWEST


def present(connection: Connection) -> str | None:
    """The revision of a database, or None for an empty one."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars().all()
    return str(found[0]) if found else None


def require_known(revision: str | None) -> None:
    """Raises :class:`StoreError` ``store.newer_schema`` when a database's revision is not one of ours."""
    scripts = _scripts()
    if revision is not None and revision not in {script.revision for script in scripts.walk_revisions()}:
        raise StoreError(
            "This database was written by a newer mailops.",
            code="store.newer_schema",
            facts={"database_revision": revision, "program_revision": scripts.get_current_head()},
            fix="Upgrade mailops (pip install -U mailops) and open it again. Nothing was changed.",
        )


def changed_on_purpose(revision: str | None) -> frozenset[str]:
    """The tables in which the revisions after this one add, merge or remove rows: their modules' ``changes_rows``."""
    names: set[str] = set()
    for script in _scripts().iterate_revisions("head", revision):
        names.update(getattr(script.module, "changes_rows", ()))
    return frozenset(names)


def upgrade(engine: Engine, to: str = "head", *, tell: Callable[[MigrationPlan], None] | None = None) -> None:
    """Bring the database to revision ``to`` in one transaction; ``tell`` hears the plan first, where a database server
    holds rows already (a file is carried over by :mod:`mailops.store.carry`, which tells its own).

    Raises :class:`StoreError` ``store.newer_schema`` when the database's revision is not one of ours.
    """
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext

    scripts = _scripts()
    with engine.begin() as connection:
        server = connection.dialect.name == "postgresql"
        if server:  # one migrator at a time; SQLite has the write lock
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7305226)")
        here = present(connection)
        require_known(here)
        plan = None
        if server and here is not None and here != newest():
            from .plan import measure_server

            plan = measure_server(connection, here, newest())
            if tell is not None:
                tell(plan)
        context = MigrationContext.configure(
            connection,
            opts={"fn": lambda rev, _context: scripts._upgrade_revs(to, rev), "render_as_batch": True},
        )
        with Operations.context(context):
            context.run_migrations()
        if plan is not None:
            from .plan import require_rows, server_rows

            require_rows(plan, server_rows(connection), changed_on_purpose(here))


_NEWEST = "0011"
