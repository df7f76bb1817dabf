"""Every road tells the reader what is ours: what comes to the bounce address is a report, and a verdict about our own
name is none about the recipient."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from furnish import furnish
from typer.testing import CliRunner

from mailops import Ops
from mailops.cli.app import app
from mailops.store import schema
from mailops.testing import SmtpServer, refuse
from mailops.testing.dsn import build_dsn
from mailops.webhooks.service import Webhooks

WHO = "gone@x.example"
ROBOT = (
    "From: Service Desk <desk@portal.example>\r\nTo: Ann <ann@acme.example>\r\nSubject: Ticket 4711\r\n"
    f"Message-ID: <t4711@portal.example>\r\n\r\nThe mailbox {WHO} does not exist any more.\r\n"
)
OURS_IS_MISSING = "550 5.1.2 acme.example: domain not found"


def mailed(ops: Ops, smtp: Any) -> tuple[int, bytes]:
    number = ops.send(sender="Ann <ann@acme.example>", to=[WHO], subject="Hello", text="Hi")
    ops.queue.run()
    return number, bytes(smtp.messages[-1].data)


def run(*words: str) -> Any:
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


@pytest.fixture
def ops(sqlite_ops: Ops, monkeypatch: pytest.MonkeyPatch) -> Ops:
    monkeypatch.chdir(sqlite_ops.workspace.path)
    return sqlite_ops


def kinds(ops: Ops) -> list[tuple[str, str | None, str | None]]:
    b = schema.bounces
    with ops.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.select(b.c.kind, b.c.recipient, b.c.reason))]


def test_the_command_knows_the_bounce_address_and_the_mail_behind_its_tag(ops: Ops, tmp_path: Path) -> None:
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        number, _ = mailed(ops, smtp)
    letter = tmp_path / "robot.eml"
    letter.write_bytes(ROBOT.encode())
    assert run("bounces", "take", str(letter))["ordinary"] == 1  # to a person of ours, by a person
    taken = run("bounces", "take", str(letter), "--delivered-to", f"bounce+{number}@acme.example", "--each")
    (block,) = taken["reports"][0]["blocks"]
    assert (block["recipient"], block["kind"]) == (WHO, "bounce")
    assert kinds(ops) == [("bounce", WHO, "userunknown")]
    assert ops.bounces.parse(ROBOT.encode()).kind == "ordinary"
    assert ops.bounces.parse(ROBOT.encode(), "bounce@acme.example").recipients == (WHO,)


@pytest.mark.parametrize("road", ["receive", "explain"])
def test_the_gateway_knows_it(ops: Ops, tmp_path: Path, road: str) -> None:
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        number, _ = mailed(ops, smtp)
    letter = tmp_path / "robot.eml"
    letter.write_bytes(ROBOT.encode())
    (row,) = run("inbound", road, str(letter), "--delivered-to", f"bounce+{number}@acme.example")
    assert (row["decision"], row["report"]) == ("bounce", "bounce")
    assert [block["recipient"] for block in row["blocks"]] == [WHO]


def test_a_verdict_about_our_own_domain_suppresses_nobody(ops: Ops, tmp_path: Path) -> None:
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        _, original = mailed(ops, smtp)
    head, _, body = original.partition(b"\r\n\r\n")
    lines = [
        line for line in head.split(b"\r\n") if not line.lower().startswith((b"from:", b"sender:", b"return-path:"))
    ]
    bare = b"\r\n".join(lines) + b"\r\n\r\n" + body  # a report that does not return who wrote the mail
    raw = build_dsn(bare, WHO, "5.0.0", OURS_IS_MISSING, "mx.x.example", to="desk@portal.example")
    file = tmp_path / "report.eml"
    file.write_bytes(raw)
    assert run("bounces", "take", str(file))["matched"] == 1
    assert kinds(ops) == [("bounce", WHO, "rejected")]
    assert ops.suppressions.find(WHO) is None
    assert ops.suppressions.diff() == []  # reading again knows the names as well
    with ops.engine.begin() as connection:  # as the reader had it that knew none
        connection.execute(sa.update(schema.bounces).values(reason="hostunknown", hard=True))
    (change,) = ops.suppressions.diff()
    assert change.now == ("bounce", "rejected", False)


def test_a_webhook_knows_it(ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    with SmtpServer() as smtp:
        furnish(ops, smtp)
    monkeypatch.setenv("MAILOPS_TEST_LOGIN", "user:pass-word")
    ops.set_parameter("mailops.webhook.mailjet.login", "env:MAILOPS_TEST_LOGIN")
    login = {"authorization": "Basic " + base64.b64encode(b"user:pass-word").decode()}
    event = {"event": "bounce", "hard_bounce": True, "email": WHO, "time": 1, "MessageID": 7, "Message_GUID": "g"}
    Webhooks(ops).receive("mailjet", login, json.dumps([{**event, "comment": OURS_IS_MISSING}]).encode())
    assert kinds(ops) == [("bounce", WHO, "rejected")]
    assert ops.suppressions.find(WHO) is None


def test_a_refusal_at_the_door_about_our_own_name_is_none_about_the_recipient(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer(script=[refuse(WHO, 550, "5.1.2", "acme.example: domain not found")]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        number = ops.send(sender="Ann <ann@acme.example>", to=[WHO], subject="Hello", text="Hi")
        ops.queue.run()
    (row,) = ops.queue.mail(number).deliveries
    assert row.reason == "rejected"
    assert ops.suppressions.find(WHO) is None


def test_what_came_back_and_was_not_understood_is_kept(ops: Ops, tmp_path: Path) -> None:
    with SmtpServer() as smtp:
        furnish(ops, smtp)
    file = tmp_path / "odd.eml"
    head = "Return-Path: <>\r\nFrom: Mail Gateway <mail-delivery@gw.example>\r\nTo: joe@elsewhere.example\r\nSubject: ...\r\n\r\n"
    file.write_text(f"{head}(nothing that says anything)\r\n")
    (told,) = run("bounces", "take", str(file), "--each")["reports"]
    assert [(block["kind"], block["counted"]) for block in told["blocks"]] == [("unread", False)]
    assert kinds(ops) == [("unread", None, None)]
    assert ops.bounces.raw(1).startswith(b"Return-Path: <>")
    assert run("bounces", "take", str(file)) == {"repeated": 1, "matched": 0}
