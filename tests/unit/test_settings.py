"""Settings: file and environment, in that order of weight reversed; what is wrong is named."""

from __future__ import annotations

import pytest

from mailops.errors import ConfigError
from mailops.model.setup import Hosting
from mailops.settings import load_settings


@pytest.fixture
def written(tmp_path):
    def write(text: str):
        path = tmp_path / "mailops.toml"
        path.write_text(text, "utf-8")
        return path

    return write


def test_a_missing_file_gives_the_defaults(tmp_path):
    settings = load_settings(tmp_path / "mailops.toml")
    assert settings.profile.hosting is Hosting.ON_PREMISE
    assert settings.database.url == "mailops.db"
    assert (settings.serve.host, settings.serve.port) == ("127.0.0.1", 2525)


def test_the_file_is_read(written):
    settings = load_settings(written('[profile]\nhosting = "sh"\ndatabase = "acme"\n[queue]\ninterval_minutes = 15\n'))
    assert settings.as_profile().hosting is Hosting.SH
    assert settings.as_profile().database == "acme"
    assert settings.queue.interval_minutes == 15


def test_the_environment_wins_and_leaves_the_rest(written, monkeypatch):
    monkeypatch.setenv("MAILOPS_QUEUE__BATCH", "7")
    settings = load_settings(written("[queue]\nbatch = 50\ninterval_minutes = 30\n"))
    assert (settings.queue.batch, settings.queue.interval_minutes) == (7, 30)


def test_an_empty_variable_is_no_value(written, monkeypatch):
    monkeypatch.setenv("MAILOPS_QUEUE__BATCH", "")
    assert load_settings(written("")).queue.batch == 200


@pytest.mark.parametrize(
    ("text", "setting", "fix"),
    [
        ("[queue]\nbacth = 5\n", "queue.bacth", "Did you mean 'batch'?"),
        ("[qeue]\nbatch = 5\n", "qeue", "Did you mean 'queue'?"),
        ("[serve]\nmax_sizes = 5\n", "serve.max_sizes", "Did you mean 'max_size'?"),
        ("[queue]\nzzz = 5\n", "queue.zzz", "docs/settings.md"),
    ],
)
def test_an_unknown_setting_names_the_nearest_one(written, text, setting, fix):
    with pytest.raises(ConfigError) as caught:
        load_settings(written(text))
    assert caught.value.code == "config.unknown_setting"
    assert caught.value.facts["setting"] == setting
    assert fix in caught.value.fix


def test_an_unknown_variable_is_an_error_too(written, monkeypatch):
    monkeypatch.setenv("MAILOPS_QUEUE__BACTH", "7")
    with pytest.raises(ConfigError, match="bacth"):
        load_settings(written(""))


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("[queue]\nbatch = 0\n", "queue.batch"),
        ("[queue]\nbatch = 'many'\n", "queue.batch"),
        ("[queue]\ninterval_minutes = 4\n", "queue.interval_minutes"),
        ("[serve]\nport = 70000\n", "serve.port"),
        ("[profile]\nhosting = 'cloud'\n", "profile.hosting"),
        ("[profile]\ndatabase = 'a b'\n", "profile.database"),
    ],
)
def test_a_bad_value_is_named(written, text, setting):
    with pytest.raises(ConfigError) as caught:
        load_settings(written(text))
    assert caught.value.code == "config.bad_setting"
    assert caught.value.facts["setting"] == setting
    assert "mailops.toml" in caught.value.fix


def test_a_password_must_be_a_reference_and_is_not_repeated(written):
    with pytest.raises(ConfigError) as caught:
        load_settings(written('[default_server]\npassword = "hunter2hunter2"\n'))
    assert caught.value.code == "config.bad_setting"
    assert "hunter2" not in str(caught.value.as_dict())
    assert load_settings(written('[default_server]\npassword = "env:SMTP_PASSWORD"\n')).default_server.password


@pytest.mark.parametrize("raw", [b"[queue\n", b"batch = \xff\n"])
def test_a_broken_file_names_the_reason(tmp_path, raw):
    path = tmp_path / "mailops.toml"
    path.write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert caught.value.code == "config.toml"
    assert caught.value.facts["reason"]
