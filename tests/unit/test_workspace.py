"""The workspace folder: made once, private, found by name, by variable or by walking up."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from mailops import Ops
from mailops.errors import ConfigError, StoreError
from mailops.model.setup import AliasDomain
from mailops.workspace import find, init


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def unnamed(monkeypatch):
    monkeypatch.delenv("MAILOPS_WORKSPACE", raising=False)


def test_a_new_workspace_is_private(tmp_path):
    made = init(tmp_path / "a" / "mail", hosting="sh", database="acme")
    assert mode(made.path) == 0o700
    assert [mode(made.path / name) for name in ("runs", "secrets", "journal")] == [0o700] * 3
    assert mode(made.path / "mailops.toml") == 0o600
    assert made.settings.profile.database == "acme"


def test_the_database_file_is_private(tmp_path):
    made = init(tmp_path / "mail")
    made.engine.dispose()
    assert mode(made.path / "mailops.db") == 0o600


def test_making_it_again_changes_nothing(tmp_path):
    first = init(tmp_path / "mail")
    (first.path / "mailops.toml").write_text("[queue]\nbatch = 5\n")
    assert init(tmp_path / "mail", database="other").settings.queue.batch == 5


def test_found_by_name_before_variable_before_walking_up(tmp_path, monkeypatch):
    given, named, above = (init(tmp_path / name).path for name in ("given", "named", "above"))
    deep = above / "runs" / "deep"
    deep.mkdir()
    monkeypatch.chdir(deep)
    assert find().path == above
    monkeypatch.setenv("MAILOPS_WORKSPACE", str(named))
    assert find().path == named
    assert find(given).path == given


def test_a_folder_that_is_none_is_said(tmp_path):
    with pytest.raises(ConfigError) as caught:
        find(tmp_path)
    assert caught.value.code == "workspace.not_found"
    assert str(tmp_path) in caught.value.fix


def test_none_above_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        find()
    assert "mailops init" in caught.value.fix


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as caught:
        init(tmp_path / "file" / "mail")
    assert caught.value.code == "workspace.not_writable"
    assert caught.value.facts["reason"]


def test_an_account_of_one_s_own_is_respected(tmp_path):
    """A folder that was there keeps its mode; what mailops makes in it is private."""
    folder = tmp_path / "mail"
    folder.mkdir()
    os.chmod(folder, 0o750)
    init(folder)
    assert mode(folder) == 0o750
    assert mode(folder / "secrets") == 0o700


def test_an_emptied_store_is_not_taken_for_a_new_one(ops_factory: Callable[..., Ops]) -> None:
    ops = ops_factory()
    ops.save_alias_domain(AliasDomain("acme.example"))
    workspace = ops.workspace.path
    ops.close()
    for file in workspace.glob("mailops.db*"):
        os.truncate(file, 0) if file.name == "mailops.db" else file.unlink()
    with pytest.raises(StoreError) as refused:
        _ = Ops.open(workspace).setup
    assert refused.value.code == "store.emptied"
    assert (workspace / "mailops.db").stat().st_size == 0, "it is left as it was found"


def test_the_first_lines_need_one_import_and_close_by_themselves(tmp_path: Path) -> None:
    import mailops

    with mailops.Ops.open(mailops.init(tmp_path / "mail")) as ops:
        ops.save_alias_domain(mailops.AliasDomain("example.com"))
        ops.save_company(mailops.Company("main", "Example"))
        server = mailops.Server("own", "Own", host="127.0.0.1", encryption=mailops.Encryption.NONE)
        assert ops.save_server(server).key == "own"
        engine = ops.engine
    assert engine.pool.checkedin() == 0  # type: ignore[attr-defined]
    assert {"Server", "init"} <= set(dir(mailops))
