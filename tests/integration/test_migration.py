"""An older store is brought to a new schema on a copy: said first, refused where it cannot be, and never half.

The new schema is a planted revision 9000 after today's, so that these tests outlive any real migration.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import logging
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mailops.cli import main
from mailops.errors import StoreError
from mailops.store import carry, migrate, plan, schema
from mailops.store.database import make_engine, open_database

CHILD = Path(__file__).with_name("migrate_child.py")
OLD = str(migrate.newest())
AT = "2026-01-05 09:00:00.000000"
GOOD = 'op.add_column("parameters", sa.Column("note", sa.Text))'
# What a store holds besides: as many mails as make some pages, each with its bytes and a recipient.
FILL = [
    "INSERT INTO parameters (key, value) VALUES ('web.base.url', 'kept')",
    *(
        line
        for n in range(1, 41)
        for line in (
            "INSERT INTO mails (id, message_id, state, mail_class, subject, size, created_at, queued_at, due_at) VALUES"
            f" ({n}, '<{n}@acme.example>', 'sent', 'transactional', 'Mail {n}', 9, '{AT}', '{AT}', '{AT}')",
            "INSERT INTO deliveries (mail_id, recipient, normalised, domain, state, updated_at)"
            f" VALUES ({n}, 'u{n}@x.example', 'u{n}@x.example', 'x.example', 'sent', '{AT}')",
        )
    ),
]
ROWS = {"parameters": 1, "mails": 40, "deliveries": 40}

Plant = Callable[..., Path]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of today's schema with rows, closed cleanly."""
    path = tmp_path / "w" / "mailops.db"
    path.parent.mkdir()
    fill(str(path))
    assert os.listdir(path.parent) == ["mailops.db"]
    return path


def fill(target: str) -> None:
    engine = open_database(target)
    with engine.begin() as connection:
        for line in FILL:
            connection.exec_driver_sql(line)
    engine.dispose()


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plant:
    """Adds revision 9000 with this body; from then on it is the newest. Returns the folder of migrations."""

    def make(body: str = GOOD, more: str = "") -> Path:
        versions = tmp_path / "migrations" / "versions"
        shutil.copytree(Path(migrate.__file__).parent / "migrations" / "versions", versions)
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        (versions / "9000_planted.py").write_text(
            f"import time\nimport sqlalchemy as sa\nfrom alembic import op\nrevision = '9000'\n"
            f"down_revision = '{OLD}'\n{more}\n\ndef upgrade():\n{lines}"
        )
        monkeypatch.setattr(migrate, "_FOLDER", versions.parent)
        monkeypatch.setattr(migrate, "_NEWEST", "9000")
        return versions.parent

    return make


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry, "PATIENCE", 0.2)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rows(path: Path) -> dict[str, int]:
    """Rows of a file, read as any program would; the file must be whole."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {t: n for t, n in plan.count_rows(connection).items() if n}


def revision(path: Path) -> str | None:
    return plan.file_revision(path, 1.0)


def refused(target: Path | str) -> StoreError:
    with pytest.raises(StoreError) as caught:
        open_database(target)
    return caught.value


def content_of(data: bytes) -> bytes:
    """A database's bytes without its header's notes of journal mode and change counter."""
    blank = bytearray(data)
    for part in (slice(18, 20), slice(24, 28), slice(92, 100)):
        blank[part] = bytes(part.stop - part.start)
    return bytes(blank)


CHILDREN: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _no_children_are_left() -> Iterator[None]:
    yield
    while CHILDREN:
        with CHILDREN.pop() as left:  # closes its pipes
            left.kill()


def child(*words: object, **more: Any) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    CHILDREN.append(
        subprocess.Popen([sys.executable, str(CHILD), *map(str, words)], text=True, **pipes, **more)  # type: ignore[call-overload]
    )
    return CHILDREN[-1]


@contextlib.contextmanager
def connected(target: str) -> Iterator[sa.Connection]:
    """A connection that leaves nothing open."""
    engine = make_engine(target)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


# --- told first -------------------------------------------------------------------------------------------------------


def test_a_plan_follows_from_what_was_measured() -> None:
    made = plan.make_plan(
        store="mailops.db", folder="/w", from_revision="0002", to_revision="0003", rows={"mails": 1200, "runs": 4},
        size=60_000_000, free=80_000_000_000, kept="mailops.db.0002",
    )  # fmt: skip
    assert (made.due, made.fits, made.needed) == (True, True, 132_000_000)
    assert made.seconds == pytest.approx(0.2 + 60_000_000 / plan.FILE_BYTES_PER_SECOND, abs=0.1)
    assert made.sentence == (
        "The store is brought from schema 0002 to 0003: 1,204 rows, about 2 s (an estimate), needs 132 MB (80 GB free). "
        "The old file stays as mailops.db.0002."
    )
    plan.require_space(made)


@pytest.mark.parametrize(
    ("free", "fits"), [(219, False), (220, True), (None, True)], ids=["short", "just enough", "unknown"]
)
def test_space_is_compared_with_what_is_free(free: int | None, fits: bool) -> None:
    made = plan.make_plan(
        store="s", folder="/w", from_revision="1", to_revision="2", rows={}, size=100, free=free, kept="s.1"
    )
    assert made.needed == 220
    assert made.fits is fits


@pytest.mark.parametrize(("count", "said"), [(0, "0 bytes"), (999, "999 bytes"), (3_100_000, "3.1 MB"), (8 * 10**13, "80.0 TB")])  # fmt: skip
def test_sizes_are_said_shortly(count: int, said: str) -> None:
    assert plan._bytes(count) == said


def test_the_migration_is_told_and_the_old_file_stays(
    store: Path, plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    plant()
    before = store.read_bytes()
    with caplog.at_level(logging.INFO, "mailops.store"):
        engine = open_database(store)
    [told] = [r.getMessage() for r in caplog.records if r.name == "mailops.store"]
    assert told.startswith(f"The store is brought from schema {OLD} to 9000: 81 rows, about 1 s (an estimate), needs ")
    assert told.endswith(f"The old file stays as mailops.db.{OLD}.")
    with engine.connect() as connection:
        assert migrate.present(connection) == "9000"
        assert connection.exec_driver_sql("SELECT value, note FROM parameters").fetchall() == [("kept", None)]
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    engine.dispose()
    kept = store.with_name(f"mailops.db.{OLD}")
    assert sorted(os.listdir(store.parent)) == ["mailops.db", kept.name]
    assert content_of(kept.read_bytes()) == content_of(before)
    assert rows(kept) == rows(store) == ROWS
    assert {stat.S_IMODE(f.stat().st_mode) for f in store.parent.iterdir()} == {0o600}


def test_the_next_opening_has_nothing_to_say(store: Path, plant: Plant, caplog: pytest.LogCaptureFixture) -> None:
    plant()
    open_database(store).dispose()
    caplog.clear()
    open_database(store).dispose()
    assert [r for r in caplog.records if r.name == "mailops.store"] == []
    assert len(os.listdir(store.parent)) == 2


def test_who_opens_may_hear_the_plan_instead(store: Path, plant: Plant) -> None:
    plant()
    heard: list[plan.MigrationPlan] = []
    open_database(store, tell=heard.append).dispose()
    [told] = heard
    assert (told.from_revision, told.to_revision, told.kept) == (OLD, "9000", f"mailops.db.{OLD}")
    assert {t: n for t, n in told.rows.items() if n} == ROWS
    assert told.size == store.with_name(str(told.kept)).stat().st_size


def test_a_new_and_a_current_store_say_nothing_and_load_no_alembic(store: Path) -> None:
    code = (
        "import sys\nfrom mailops.store.database import open_database\n"
        f"open_database({str(store)!r}).dispose()\nassert 'alembic' not in sys.modules\n"
        f"open_database({str(store.with_name('new.db'))!r}).dispose()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(os.listdir(store.parent)) == ["mailops.db", "new.db"]


# --- the command line -------------------------------------------------------------------------------------------------


def cli(folder: Path, *words: str, status: int = 0) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["mailops", "-w", str(folder), *words])
        with pytest.raises(SystemExit) as left:
            main()
    assert left.value.code == status, (out.getvalue(), err.getvalue())
    return out.getvalue(), err.getvalue()


@pytest.fixture
def workspace(store: Path) -> Path:
    from mailops.workspace import init

    return init(store.parent).path


def test_the_plan_is_shown_without_touching_anything(workspace: Path, store: Path, plant: Plant) -> None:
    plant()
    before, names = digest(store), sorted(os.listdir(workspace))
    shown = json.loads(cli(workspace, "store", "plan", "--json")[0])
    assert (shown["due"], shown["fits"], shown["rows_total"]) == (True, True, 81)
    assert (shown["from_revision"], shown["to_revision"], shown["rows"]["mails"]) == (OLD, "9000", 40)
    assert f"from schema {OLD} to 9000" in cli(workspace, "store", "plan")[0]
    assert (digest(store), sorted(os.listdir(workspace))) == (before, names)


def test_the_plan_of_a_current_and_of_no_store(workspace: Path, store: Path) -> None:
    assert "nothing is to be done" in cli(workspace, "store", "plan")[0]
    shown = json.loads(cli(workspace, "store", "plan", "--json")[0])
    assert (shown["due"], shown["needed"], shown["seconds"]) == (False, 0, 0)
    store.unlink()
    assert "made on first use" in cli(workspace, "store", "plan")[0]
    assert not store.exists()


def test_a_plan_without_room_exits_1(
    workspace: Path, store: Path, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    assert "1.0 kB free" in cli(workspace, "store", "plan", status=1)[0]


def test_the_plan_reads_what_a_dead_process_left_in_the_wal_and_leaves_it_there(
    workspace: Path, store: Path, plant: Plant
) -> None:
    writer = child("write", store)
    assert writer.wait(timeout=60) == -signal.SIGKILL
    wal = store.with_name("mailops.db-wal")
    before = digest(store), digest(wal)
    plant()
    shown = json.loads(cli(workspace, "store", "plan", "--json")[0])
    assert shown["rows"]["parameters"] == 2
    assert (digest(store), digest(wal)) == before
    open_database(store).dispose()
    assert rows(store) == rows(store.with_name(f"mailops.db.{OLD}")) == {**ROWS, "parameters": 2}


def test_any_command_migrates_and_says_so_on_standard_error_only(workspace: Path, plant: Plant) -> None:
    """A process of its own: in pytest somebody listens to the logger, at a terminal nobody does."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom mailops.store import migrate\n"
        f"migrate._FOLDER, migrate._NEWEST = Path({str(plant())!r}), '9000'\n"
        f"sys.argv = ['mailops', '-w', {str(workspace)!r}, 'queue', 'status', '--json']\n"
        "from mailops.cli import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["sent"] == 40
    assert done.stderr.startswith(f"The store is brought from schema {OLD} to 9000: 81 rows, ")
    assert len(done.stderr.splitlines()) == 1


def test_the_store_is_migrated_by_hand(workspace: Path, store: Path, plant: Plant) -> None:
    plant()
    said = json.loads(cli(workspace, "store", "migrate", "--json")[0])
    assert (said["from"], said["to"], said["kept"]) == (OLD, "9000", f"mailops.db.{OLD}")
    assert said["rows"]["mails"] == 40
    said = json.loads(cli(workspace, "store", "migrate", "--json")[0])
    assert (said["from"], said["to"], said["kept"]) == ("9000", "9000", None)
    assert "of schema 9000" in cli(workspace, "store", "migrate")[0]


# --- refused ----------------------------------------------------------------------------------------------------------


def test_no_room_is_refused_before_anything_is_changed(
    store: Path, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant()
    before = digest(store)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    error = refused(store)
    assert error.code == "store.migration_space"
    assert (error.facts["free"], error.facts["folder"]) == (1000, str(store.parent))
    assert error.facts["needed"] >= 2 * store.stat().st_size
    assert os.listdir(store.parent) == ["mailops.db"]
    assert digest(store) == before


def test_a_store_in_rollback_mode_is_not_even_switched_when_there_is_no_room(
    store: Path, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kept old file that was put back is in that mode."""
    with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    plant()
    before = digest(store)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
        assert refused(store).code == "store.migration_space"
    assert digest(store) == before
    open_database(store).dispose()
    assert digest(store.with_name(f"mailops.db.{OLD}")) == before  # nothing had to be changed: byte for byte
    assert rows(store) == ROWS


def test_a_disk_that_fills_up_in_the_copy_leaves_the_old_file(store: Path, plant: Plant) -> None:
    assert store.stat().st_size > 64 * 1024
    before = digest(store)
    out, err = (full := child("small", store, plant())).communicate(timeout=60)
    assert full.returncode == 2, err
    assert json.loads(out)["code"] == "store.full"
    assert os.listdir(store.parent) == ["mailops.db"]
    assert digest(store) == before
    open_database(store).dispose()
    assert (revision(store), rows(store)) == ("9000", ROWS)


def test_a_store_that_another_process_has_open_is_not_migrated(store: Path, plant: Plant) -> None:
    before = digest(store)
    holder = child("hold", store)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    plant()
    error = refused(store)
    assert error.code == "store.in_use"
    assert error.facts["file"] == "mailops.db"
    assert "mailops serve" in error.fix
    assert digest(store) == before
    holder.communicate("", timeout=60)
    assert digest(store) == before
    open_database(store).dispose()
    assert (revision(store), rows(store)) == ("9000", ROWS)


def test_somebody_else_migrating_is_waited_for_and_then_said(store: Path, plant: Plant) -> None:
    plant()
    with carry._one_at_a_time(store, 1.0), pytest.raises(StoreError) as caught:
        open_database(store, busy_seconds=0.2)
    assert caught.value.code == "store.locked"
    assert revision(store) == OLD
    assert os.listdir(store.parent) == ["mailops.db"]


BROKEN = {
    "SQL": 'op.execute("DELETE FROM parameters")\nop.execute("SELECT no_such_column FROM parameters")',
    "Python": 'op.execute("DELETE FROM parameters")\nraise KeyError("planted")',
    "lost rows": 'op.execute("DELETE FROM deliveries WHERE mail_id > 20")',
    "lost table": 'op.drop_table("deliveries")',
    "dangling": 'op.execute("UPDATE deliveries SET mail_id = 999 WHERE mail_id = 1")',
}
SAID = {
    "SQL": "no such column",
    "Python": "KeyError: 'planted'",
    "lost rows": "deliveries: 40 rows before, 20 after",
    "lost table": "deliveries: 40 rows before, no table after",
    "dangling": "rows point to rows that are not there",
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_migration_that_fails_leaves_the_old_file_byte_for_byte(
    store: Path, plant: Plant, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digest(store)
    with monkeypatch.context() as patch:
        plant(BROKEN[what])
        error = refused(store)
        assert error.code == "store.migration_failed"
        assert SAID[what] in str(error.facts)
        patch.undo()
    assert os.listdir(store.parent) == ["mailops.db"]
    assert digest(store) == before


def test_the_old_version_goes_on_after_a_failed_migration(store: Path, plant: Plant, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        versions = plant(BROKEN["SQL"])
        refused(store)
        assert versions == migrate._FOLDER
        patch.setattr(migrate, "_NEWEST", OLD)
        engine = open_database(store)
        with engine.begin() as connection:
            connection.execute(sa.insert(schema.parameters).values(key="a", value="b"))
        engine.dispose()
    assert rows(store) == {**ROWS, "parameters": 2}


def test_a_revision_may_change_rows_where_it_says_so(store: Path, plant: Plant) -> None:
    plant(BROKEN["lost rows"], 'changes_rows = ("deliveries",)')
    open_database(store).dispose()
    assert rows(store) == {**ROWS, "deliveries": 20}


def test_a_table_that_is_rebuilt_keeps_its_children(store: Path, plant: Plant) -> None:
    """SQLite rebuilds a table by dropping it; with foreign keys on, that would delete what points to it."""
    plant('with op.batch_alter_table("mails", recreate="always") as batch:\n    batch.drop_column("origin")')
    open_database(store).dispose()
    assert rows(store) == ROWS


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_kept_file_is_never_overwritten(store: Path, plant: Plant) -> None:
    taken = store.with_name(f"mailops.db.{OLD}")
    taken.write_text("somebody's")
    plant()
    open_database(store).dispose()
    assert taken.read_text() == "somebody's"
    assert rows(store.with_name(f"mailops.db.{OLD}.1")) == ROWS


def test_without_hard_links_the_old_file_is_kept_as_a_copy(
    store: Path, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    plant()
    open_database(store).dispose()
    kept = store.with_name(f"mailops.db.{OLD}")
    assert rows(kept) == rows(store) == ROWS
    assert (revision(kept), revision(store)) == (OLD, "9000")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert sorted(os.listdir(store.parent)) == ["mailops.db", kept.name]


def test_a_link_to_the_store_stays_a_link(store: Path, plant: Plant, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(store)
    plant()
    open_database(link).dispose()
    assert link.is_symlink()
    assert (revision(store), rows(store.with_name(f"mailops.db.{OLD}"))) == ("9000", ROWS)


def test_root_leaves_the_store_to_its_owner(store: Path, plant: Plant) -> None:
    owner = (12345, 12345) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(store, *owner)
    plant()
    open_database(store).dispose()
    assert {(f.stat().st_uid, f.stat().st_gid) for f in store.parent.iterdir()} == {owner}


# --- processes --------------------------------------------------------------------------------------------------------


def test_a_kill_at_any_line_leaves_a_store_that_opens(store: Path, plant: Plant, tmp_path: Path) -> None:
    """Whatever was going on, the store is the old or the new one, whole; and the next opening ends with the new one."""
    migrations = plant()
    out, err = (killer := child("kills", store, migrations, tmp_path / "killed")).communicate(timeout=100)
    assert killer.returncode == 0, err
    lines = json.loads(out)
    places = {line.partition(":")[0] for line in lines}
    assert places == {"carry", "_carry", "_make_private", "copy_to", "_leave_wal", "_keep", "flush_folder"}
    found: set[str | None] = set()
    for n, line in enumerate(lines, 1):
        path = tmp_path / "killed" / str(n) / "mailops.db"
        found.add(revision(path))
        assert rows(path) == ROWS, line
        open_database(path).dispose()
        assert (revision(path), rows(path)) == ("9000", ROWS), line
        kept = path.with_name(f"mailops.db.{OLD}")
        assert (revision(kept), rows(kept)) == (OLD, ROWS), line
        left = {name for name in os.listdir(path.parent) if name != "mailops.db.lock"}
        assert left == {"mailops.db", kept.name}, line
    assert found == {OLD, "9000"}


def test_what_a_killed_try_left_is_removed(store: Path, plant: Plant) -> None:
    for name in ("mailops.db.new", "mailops.db.new-journal", "mailops.db.new-wal"):
        store.with_name(name).write_bytes(b"half of something")
    plant()
    open_database(store).dispose()
    assert sorted(os.listdir(store.parent)) == ["mailops.db", f"mailops.db.{OLD}"]
    assert rows(store) == ROWS


def test_of_several_openers_one_migrates_and_all_end_with_a_good_store(store: Path, plant: Plant) -> None:
    migrations = plant(f"{GOOD}\ntime.sleep(0.5)")
    openers = [child("open", store, migrations) for _ in range(3)]
    said = [opener.communicate(timeout=60) for opener in openers]
    assert [opener.returncode for opener in openers] == [0, 0, 0], said
    assert {out for out, _ in said} == {"9000\n"}
    assert sum("is brought from schema" in err for _, err in said) == 1, said
    assert rows(store) == ROWS
    assert sorted(os.listdir(store.parent)) == ["mailops.db", f"mailops.db.{OLD}"]


def test_who_opened_the_old_file_just_before_the_swap_cannot_write_to_it(store: Path, plant: Plant) -> None:
    """An old version that came while the migration had the file: it would write mails where nobody looks."""
    late = sqlite3.connect(store, isolation_level=None)  # open, and nothing read yet
    plant()
    open_database(store).dispose()
    with pytest.raises(sqlite3.OperationalError) as caught:
        late.execute("PRAGMA journal_mode=WAL")
    assert caught.value.sqlite_errorname == "SQLITE_READONLY_DBMOVED"
    with pytest.raises(sqlite3.OperationalError):
        late.execute("INSERT INTO parameters (key, value) VALUES ('late', 'x')")
    late.close()
    assert rows(store) == rows(store.with_name(f"mailops.db.{OLD}")) == ROWS


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


@pytest.mark.postgres
def test_a_postgresql_database_is_told_and_migrated_in_place(
    fresh_postgres: str, plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    fill(fresh_postgres)
    plant()
    open_database(fresh_postgres).dispose()
    [told] = [r.getMessage() for r in caplog.records if r.name == "mailops.store"]
    assert f"from schema {OLD} to 9000: 81 rows, about 1 s (an estimate), needs " in told
    assert "what is free on the server is not known here" in told
    assert "pg_dump makes a copy first" in told
    with connected(fresh_postgres) as connection:
        assert connection.exec_driver_sql("SELECT note FROM parameters").fetchall() == [(None,)]


@pytest.mark.postgres
@pytest.mark.parametrize("what", ["SQL", "Python", "lost rows"])
def test_a_migration_that_fails_changes_nothing_on_postgresql(fresh_postgres: str, plant: Plant, what: str) -> None:
    fill(fresh_postgres)
    plant(BROKEN[what])
    error = refused(fresh_postgres)
    assert error.code == "store.migration_failed"
    assert (SAID[what] if what != "SQL" else "no_such_column") in str(error.facts)
    with connected(fresh_postgres) as connection:
        assert migrate.present(connection) == OLD
        assert {t: n for t, n in plan.server_rows(connection).items() if n} == ROWS


@pytest.mark.postgres
def test_the_plan_of_a_postgresql_store_is_shown(fresh_postgres: str, tmp_path: Path, plant: Plant) -> None:
    from mailops.workspace import init

    fill(fresh_postgres)
    workspace = init(tmp_path / "p").path
    with (workspace / "mailops.toml").open("a") as toml:
        toml.write(f'\n[database]\nurl = "{fresh_postgres}"\n')
    plant()
    shown = json.loads(cli(workspace, "store", "plan", "--json")[0])
    assert (shown["due"], shown["free"], shown["kept"], shown["rows_total"]) == (True, None, None, 81)
    with connected(fresh_postgres) as connection:
        assert migrate.present(connection) == OLD
