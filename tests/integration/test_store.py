"""The store opens, migrates and refuses on both databases."""

from __future__ import annotations

import ast
import gc
import os
import sqlite3
import stat
import time
import warnings
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.engine import Connection, Engine

from mailops.errors import StoreError
from mailops.store import migrate, schema
from mailops.store.database import database_url, explained, make_engine, open_database


def test_a_new_database_has_every_table_and_opens_again(store_target: str) -> None:
    first = open_database(store_target)
    assert set(schema.metadata.tables) <= set(sa.inspect(first).get_table_names())
    first.dispose()
    second = open_database(store_target)
    with second.connect() as connection:
        assert migrate.present(connection) == migrate.newest()
    second.dispose()


def test_the_migrations_make_exactly_the_tables_of_the_schema(engine: Engine) -> None:
    with engine.connect() as connection, warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*expression-based index")  # SQLite cannot tell what such an index is on
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, schema.metadata) == []
        assert "ix_events_recipient" in str(_indexes(connection, "events"))


def _indexes(connection: Connection, table: str) -> list[str]:
    catalogue = (
        "sqlite_master WHERE type = 'index' AND tbl_name"
        if connection.dialect.name == "sqlite"
        else ("(SELECT indexname AS name, tablename FROM pg_indexes) AS i WHERE tablename")
    )
    return [str(row[0]) for row in connection.execute(sa.text(f"SELECT name FROM {catalogue} = :t"), {"t": table})]


@pytest.mark.parametrize("kind", ["bounced", "sent"])
def test_an_address_is_looked_up_in_the_history_without_reading_all_of_it(engine: Engine, kind: str) -> None:
    e = schema.events
    query = sa.select(e.c.id).where(
        e.c.recipient.is_not(None), sa.func.lower(e.c.recipient) == "bob@x.example", e.c.kind == kind
    )
    text = str(query.compile(engine, compile_kwargs={"literal_binds": True}))
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            plan = connection.execute(sa.text(f"EXPLAIN QUERY PLAN {text}")).all()
        else:
            connection.execute(sa.text("SET enable_seqscan = off"))
            plan = connection.execute(sa.text(f"EXPLAIN {text}")).all()
    assert "ix_events_recipient" in str(plan)


def test_the_newest_revision_is_the_head_of_the_scripts() -> None:
    assert migrate._scripts().get_current_head() == migrate.newest()


def test_a_database_of_a_newer_schema_is_refused_and_left_alone(store_target: str) -> None:
    engine = open_database(store_target)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(sa.insert(schema.parameters).values(key="web.base.url", value="kept"))
    engine.dispose()
    with pytest.raises(StoreError) as caught:
        open_database(store_target)
    assert caught.value.code == "store.newer_schema"
    assert caught.value.facts["database_revision"] == "9999"
    assert "Upgrade mailops" in caught.value.fix
    again = make_engine(store_target)
    with again.connect() as connection:
        assert connection.execute(sa.text("SELECT value FROM parameters")).scalar() == "kept"
    again.dispose()


def test_a_migration_that_fails_half_way_changes_nothing(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second revision that fails in its middle leaves revision and rows as they were, on both databases."""
    with engine.begin() as connection:
        connection.execute(sa.insert(schema.parameters).values(key="web.base.url", value="kept"))
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    for file in (Path(migrate.__file__).parent / "migrations" / "versions").glob("0*.py"):
        (versions / file.name).write_text(file.read_text())
    (versions / "9000_broken.py").write_text(
        f"""
from alembic import op
revision = "9000"
down_revision = "{migrate.newest()}"

def upgrade():
    op.execute("CREATE TABLE half (id INTEGER)")
    op.execute("DELETE FROM parameters")
    op.execute("SELECT no_such_column FROM parameters")
"""
    )
    monkeypatch.setattr(migrate, "_FOLDER", tmp_path / "migrations")
    with pytest.raises(sa.exc.DBAPIError):
        migrate.upgrade(engine)
    with engine.connect() as connection:
        assert migrate.present(connection) == migrate.newest()
        assert connection.execute(sa.text("SELECT value FROM parameters")).scalar() == "kept"
    assert "half" not in sa.inspect(engine).get_table_names()


def test_the_database_file_is_private(tmp_path: Path) -> None:
    os.umask(0o022)
    engine = open_database(tmp_path / "mailops.db")
    with engine.begin() as connection:
        connection.execute(sa.insert(schema.parameters).values(key="a", value="b"))
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    engine.dispose()


def test_a_locked_database_is_a_clear_error(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "mailops.db", busy_seconds=0.1)
    holder = sqlite3.connect(tmp_path / "mailops.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError) as caught, explained("saving"), engine.begin():
        pass
    assert caught.value.code == "store.locked"
    assert "saving" in caught.value.message
    holder.close()
    engine.dispose()


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    file = tmp_path / "mailops.db"
    file.write_bytes(b"this is a letter, not a database" * 100)
    with pytest.raises(StoreError) as caught:
        open_database(file)
    assert caught.value.code == "store.damaged"
    assert file.read_bytes().startswith(b"this is a letter")


def test_a_missing_folder_and_an_unreachable_server_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        open_database(tmp_path / "nowhere" / "mailops.db")
    assert caught.value.code == "store.no_folder"
    with pytest.raises(StoreError) as caught:
        open_database("postgresql://nobody@127.0.0.1:1/none")
    assert caught.value.code == "store.unreachable"


def test_times_without_zone_are_refused(sqlite_engine: Engine) -> None:
    from datetime import datetime

    with pytest.raises(sa.exc.StatementError, match="without zone"), sqlite_engine.begin() as connection:
        connection.execute(sa.insert(schema.inbound_log).values(at=datetime(2026, 1, 1), decision="x", reason="y"))


def test_a_migration_is_frozen_and_leans_on_nothing_of_todays_program() -> None:
    """What a revision made stays what it made: it imports no module of ours, and names every key and constraint itself."""
    versions = Path(migrate.__file__).parent / "migrations" / "versions"
    leaning, unnamed = [], []
    for file in sorted(versions.glob("0*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or "."]
                relative = isinstance(node, ast.ImportFrom) and node.level
                leaning += [f"{file.name}: {name}" for name in names if relative or name.split(".")[0] == "mailops"]
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "").endswith("Constraint"):
                unnamed += [f"{file.name}:{node.lineno}"] * all(word.arg != "name" for word in node.keywords)
    assert leaning == []
    assert unnamed == []


@pytest.mark.postgres
def test_what_opened_a_store_lets_go_of_it(
    fresh_postgres: str, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a command, nor a run for a folder, nor a store that was refused leaves a session on the server."""
    from mailops.cli import main
    from mailops.jobs import run_notebook, write_index
    from mailops.workspace import init

    workspace = init(tmp_path / "w").path
    with (workspace / "mailops.toml").open("a", encoding="utf-8") as file:
        file.write(f'\n[database]\nurl = "{fresh_postgres}"\n')
    admin = make_engine(postgres_url)

    def sessions() -> int:
        query = sa.text("SELECT count(*) FROM pg_stat_activity WHERE datname = :name")
        for _ in range(100):
            with admin.connect() as connection:
                left = int(connection.execute(query, {"name": database_url(fresh_postgres).database}).scalar_one())
            if not left:
                return 0
            time.sleep(0.02)  # the server ends a session a moment after the line was closed
        return left

    gc.disable()  # it would close them by chance
    try:
        monkeypatch.setattr("sys.argv", ["mailops", "-w", str(workspace), "queue", "status"])
        with pytest.raises(SystemExit):
            main()
        assert sessions() == 0
        gate = Path(__file__).parents[1] / "fixtures" / "notebooks" / "gate.ipynb"
        run_notebook(gate, {"spf": "passed"}, workspace=workspace)
        assert sessions() == 0
        write_index(workspace, tmp_path / "index.html")
        assert sessions() == 0
        newer = make_engine(fresh_postgres)
        with newer.begin() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        newer.dispose()
        with pytest.raises(StoreError) as refused:
            open_database(fresh_postgres)
        assert refused.value.code == "store.newer_schema"
        assert sessions() == 0
    finally:
        gc.enable()
        admin.dispose()
