"""What strangers wrote steers no terminal, and shows no secret."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mailops.cli.app import app
from mailops.cli.output import print_error, print_json, say, table
from mailops.errors import InputRefused

HOSTILE = "gone\x1b]0;title\x07\x1b[2J\x9b31m\r\u202emoc.elpmaxe"
STEERING = {"\x1b", "\x07", "\x9b", "\r", "\u202e"}


def test_no_output_for_people_carries_controls(capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE)
    table(["Subject"], [[HOSTILE]])
    print_error(InputRefused(HOSTILE, facts={"subject": HOSTILE}), json_wanted=False)
    told = capsys.readouterr()
    for text in (told.out, told.err):
        assert not STEERING & set(text)
        assert "gone\N{REPLACEMENT CHARACTER}]0;title" in text


def test_json_carries_them_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"subject": HOSTILE})
    told = capsys.readouterr().out
    assert not STEERING & set(told)
    assert json.loads(told) == {"subject": HOSTILE}


def test_a_table_is_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    table(["Reply"], [["535 Authorization: Bearer abcdefghijklmnopqrstuvwxyz0123456789"]])
    assert "abcdefghijklmnopqrstuvwxyz" not in capsys.readouterr().out


@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_file_whose_name_is_no_text_is_read_and_told(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "mail"
    folder.mkdir()
    head = (
        b"Return-Path: <>\nFrom: MAILER-DAEMON@x.example\nSubject: Undelivered\n\n<gone@x.example>: 550 User unknown\n"
    )
    (folder / os.fsdecode(b"b\xe9\x1b[31m.eml")).write_bytes(head)
    (folder / os.fsdecode(b"p\xe9\x1b[31m.png")).write_bytes(b"\0")
    for more in ((), ("--format", form), ("--format", form, "-o", str(tmp_path / "out"))):
        told = CliRunner().invoke(app, ["bounces", "parse", str(folder), *more])
        assert told.exit_code == 0, told.output
        assert not STEERING & set(told.output)
    text = (tmp_path / "out").read_text("utf-8")
    assert "gone@x.example" in text
    assert not STEERING & set(text)


def test_a_hostile_report_is_explained_in_plain_characters(tmp_path: Path) -> None:
    file = tmp_path / "report.eml"
    words = "550 5.1.1 User unknown \x1b[2J\x9b31m"
    file.write_bytes(
        b"Return-Path: <>\nFrom: MAILER-DAEMON@x.example\nSubject: Undelivered\n\n<gone@x.example>: " + words.encode()
    )
    for more in ("explain", "parse", "stats"):
        told = CliRunner().invoke(app, ["bounces", more, str(file)])
        assert told.exit_code == 0, told.output
        assert not STEERING & set(told.output)
