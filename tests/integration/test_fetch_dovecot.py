"""Fetching from a real Dovecot: what the peer of the kit cannot show, and that our quick reading fits its answers."""

from __future__ import annotations

import imaplib
import importlib.util
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from peers import missing
from test_fetch import cli
from test_intake import furnish, mail, right, rows

from mailops import Ops
from mailops.inbound.boxes import ImapBox
from mailops.store import schema
from mailops.testing import ManualClock

BOX = "box@acme.example"
KIT = Path(__file__).parents[2] / "benchmarks" / "dovecot.py"


@pytest.fixture
def port() -> Iterator[int]:
    if shutil.which("dovecot") is None and shutil.which("dovecot", path="/usr/sbin") is None:
        missing("dovecot", "dovecot is not installed")
    spec = importlib.util.spec_from_file_location("dovecot_of_the_benchmark", KIT)
    assert spec is not None
    assert spec.loader is not None
    kit = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kit)
    with kit.dovecot(mail(number) for number in range(120)) as made:  # three portions
        yield made


@pytest.fixture
def ops(ops_factory: Callable[..., Ops], monkeypatch: pytest.MonkeyPatch) -> Ops:
    monkeypatch.setenv("BOX_PASSWORD", "x")
    made = furnish(ops_factory(clock=ManualClock()))
    made.set_parameter("mail.gateway.loop.threshold", "1000")  # the mails are alike
    return made


def add(ops: Ops, port: int, *more: str) -> None:
    code, said = cli(
        ops, "inbound", "account", "add", "box", "--host", "127.0.0.1", "--port", str(port), "--encryption", "none",
        "--login", BOX, "--password", "env:BOX_PASSWORD", *more,
    )  # fmt: skip
    assert code == 0, said
    code, said = cli(ops, "inbound", "account", "test", "box")
    assert (code, said["messages"]) == (0, 120), said


def folder(port: int, name: str) -> int:
    with imaplib.IMAP4("127.0.0.1", port) as client:
        client.login(BOX, "x")
        return int(client.select(name, readonly=True)[1][0] or 0)


def make(port: int, name: str) -> None:
    with imaplib.IMAP4("127.0.0.1", port) as client:
        client.login(BOX, "x")
        assert client.create(name)[0] == "OK"


def test_everything_is_fetched_once_in_few_commands(ops: Ops, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    add(ops, port)
    slow: list[Any] = []
    whole = ImapBox._quickly

    def quickly(self: ImapBox, uids: Any, items: str, shape: Any) -> Iterator[Any]:
        found = list(whole(self, uids, items, shape))
        slow.extend(uid for uid in uids if uid not in {one[0] for one in found})
        yield from found

    monkeypatch.setattr(ImapBox, "_quickly", quickly)
    done = ops.fetch("box")
    assert (done.well, done.counts.delivered, done.counts.gap) == (True, 120, 0)
    assert slow == []  # each answer of Dovecot has the shape that is read quickly
    assert ops.fetch("box").counts.seen == 0
    assert right(ops).delivered == 120


def test_fetched_mail_is_moved_once_it_is_stored(ops: Ops, port: int) -> None:
    make(port, "Done")
    add(ops, port, "--move-to", "Done")

    def full(name: str) -> None:
        if name == "storing":
            import sqlite3

            cause = sqlite3.OperationalError("database or disk is full")
            cause.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise sa.exc.OperationalError("INSERT", {}, cause)

    ops.intake.on_step = full
    assert [error.code for error in ops.fetch("box").errors]
    assert (folder(port, "INBOX"), folder(port, "Done")) == (120, 0)  # nothing is stored, so nothing was moved
    ops.intake.on_step = lambda name: None
    done = ops.fetch("box")
    assert (done.well, done.counts.delivered) == (True, 120), done.as_dict()
    assert (folder(port, "INBOX"), folder(port, "Done")) == (0, 120)
    assert len(rows(ops, schema.records)) == 120
    assert ops.fetch("box").well
    assert right(ops).delivered == 120
