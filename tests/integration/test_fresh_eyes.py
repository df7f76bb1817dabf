"""What somebody meets who knows nothing of mailops yet: wrong input is refused with the next step, and nothing is cut."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from desk import Desk

from mailops import Ops
from mailops.testing import DnsServer

LONG = "Nothing of this sentence may be cut away, because the last word of it tells what to do: call Anna"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "w")


@pytest.mark.parametrize("name", ["", "  "])
def test_a_workspace_wants_a_folder(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    told = desk("init", name, status=2)
    assert "workspace.no_name" in told
    assert "Name the folder" in told
    assert not (tmp_path / "mailops.toml").exists()
    assert desk.json("init", name, status=2)["code"] == "workspace.no_name"


@pytest.mark.parametrize("database", ["", "two words", 'a"b', "a\nb"])
def test_a_workspace_wants_a_database_that_can_be_a_name(desk: Desk, tmp_path: Path, database: str) -> None:
    assert "config.bad_setting" in desk("init", str(tmp_path / "x"), "--database", database, status=2)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("password", [b"p\n", b"1234567", b"        \n"])
def test_a_password_that_is_guessed_at_once_is_refused(desk: Desk, password: bytes) -> None:
    told = desk("serve", "user", "add", "shop", status=2, stdin=password)
    assert "serve.login_invalid" in told
    assert "at least 8 characters" in told
    assert desk.json("serve", "user", "list") == []
    desk("serve", "user", "add", "shop", stdin=b"12345678\n")
    assert "at_least: 8" in desk("serve", "user", "password", "shop", status=2, stdin=password)


def test_a_sender_that_is_no_address_is_told_so_with_the_next_step(desk: Desk) -> None:
    desk("server", "add", "s", "--host", "127.0.0.1", "--filter", "acme.com")
    told = desk("explain", "send", "--from", "nonsense", status=2)
    assert "message.from_invalid" in told
    assert "from: nonsense" in told
    assert "Give one address such as name@example.com." in told


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[profile]\nhosting = "online"\nx = = 3\n', 3),
        ("[profile]\nhosting = 'online\n", 2),
        ("[profile]\n[profile]\n", 2),
        ("[queue]\n\nbatch = 0\n", 3),
        ("[queue]\nbatch = 5\nbatsh = 5\n", 3),
        ('[serve]\nhost = "127.0.0.1"\n\n[serve.users.shop]\nfoo = 1\n', 5),
    ],
)
def test_settings_that_cannot_be_read_name_file_and_line(desk: Desk, text: str, line: int) -> None:
    (desk.folder / "mailops.toml").write_text(text, "utf-8")
    told = desk("server", "list", status=2)
    assert str(desk.folder / "mailops.toml") in told
    assert f"line: {line}" in told


def test_settings_in_another_encoding_name_the_line(desk: Desk) -> None:
    (desk.folder / "mailops.toml").write_bytes(b"[profile]\n# caf\xe9\n")
    assert "line: 2" in desk("server", "list", status=2)


def test_a_setting_of_the_environment_is_named_as_such(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILOPS_QUEUE__BATCH", "none")
    told = desk("server", "list", status=2)
    assert "MAILOPS_QUEUE__BATCH" in told
    assert "line:" not in told


def test_a_backup_into_a_folder_that_is_not_there_says_so(desk: Desk, tmp_path: Path) -> None:
    told = desk("backup", str(tmp_path / "no" / "b.zip"), status=2)
    assert "backup.no_folder" in told
    assert str(tmp_path / "no") in told
    assert "Make it first" in told


@pytest.mark.parametrize(
    ("host", "option", "expected"),
    [
        ("smtp.own.example", (), "v=spf1 a:smtp.own.example ~all"),
        ("192.0.2.9", (), "v=spf1 ip4:192.0.2.9 ~all"),
        ("2001:db8::9", (), "v=spf1 ip6:2001:db8::9 ~all"),
        ("127.0.0.1", (), ""),
        ("localhost", (), ""),
        ("smtp.own.example", ("--ip", "192.0.2.77"), "v=spf1 ip4:192.0.2.77 ~all"),
    ],
)
def test_the_spf_advice_for_an_own_server_is_not_empty(
    tmp_path: Path, host: str, option: tuple[str, ...], expected: str
) -> None:
    zone = {
        "own.example": ["SOA ns.own.example. h.own.example. 1 3600 600 86400 120", "MX 10 smtp.own.example."],
        "smtp.own.example": ["A 192.0.2.9"],
    }
    with DnsServer(zone) as server:
        where = f"{server.address[0]}:{server.address[1]}"
        desk = Desk(tmp_path / "dns", toml=f'\n[dns]\nresolvers = ["{where}"]\ntimeout = 1.0\n')
        desk("company", "domain", "own.example")
        desk("server", "add", "own", "--host", host)
        told = desk.json("domain", "check", "own.example", *option, status=1)
    [row] = [row for row in told["results"] if row["code"] == "spf.missing"]
    assert "v=spf1 ~all" not in str(row)
    if expected:
        assert expected in row["fix"]
        assert row["expected"] == expected
    if not option:
        assert "--ip" in row["fix"]
        assert not row["publish"]  # nobody but its keeper knows what it sends from


def test_the_next_runs_are_ahead() -> None:
    now = datetime.now(UTC)
    found = Ops.next_runs("*/30 * * * *")
    assert found
    assert found[0] > now
    today = Ops.next_runs("*/30 * * * *", first=now.date())
    assert len(today) >= len(found)
    assert today[0].astimezone(UTC).time().isoformat() == "00:00:00"


@pytest.mark.parametrize("width", ["80", "200"])
def test_the_queue_cuts_no_reason(desk: Desk, monkeypatch: pytest.MonkeyPatch, width: str) -> None:
    monkeypatch.setenv("COLUMNS", width)
    desk("server", "add", "gone", "--host", "127.0.0.1")
    desk("send", "--from", "a@acme.com", "--to", "b@x.example", "--subject", LONG, "--text", "t", "--server", "gone")
    desk("server", "remove", "gone")
    desk("queue", "run")
    told = desk("queue", "list")
    [mail] = desk.json("queue", "list")["mails"]
    assert "1 mail fits; shown from 1." in told
    for text in (LONG, mail["failure_reason"]):
        assert all(word in told for word in re.findall(r"\w+", text))
    assert mail["failure_reason"] in " ".join(desk("queue", "show", "1").split())


def test_a_count_has_its_word(desk: Desk) -> None:
    desk("server", "add", "s", "--host", "127.0.0.1")
    assert re.search(r"\b1 finding\.", desk("server", "check"))
    desk("send", "--from", "a@acme.com", "--to", "b@x.example", "--subject", "s", "--text", "t")
    assert "1 mail: Cancel Email done." in desk("queue", "cancel", "1", "-y")
    assert "0 old sent mails removed." in desk("queue", "vacuum")


def test_no_text_of_the_package_writes_a_bare_plural() -> None:
    """``{number} mails`` says "1 mails" one day: :func:`mailops.model.text.counted` does not."""
    import mailops

    bare = re.compile(
        r"\{(?:len\([a-z_.]+\)|[a-z_.]*(?:count|total|handled|removed|days|minutes|attempts))(?::,)?\} "
        r"(?:mails|findings|rows|reports|recipients|days|tasks|files|logins|minutes|facts|checks|runs)\b"
    )
    found = []
    for path in Path(os.path.dirname(mailops.__file__)).rglob("*.py"):
        if {"testing", "demo"} & set(path.parts):
            continue
        found += [f"{path.name}: {one}" for one in bare.findall(path.read_text("utf-8"))]
    assert found == []
