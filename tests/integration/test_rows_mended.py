"""Rows that a hand audit found partly met, each from a face, with values of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from desk import Desk

from mailops.testing import SmtpServer
from mailops.threads.service import Entry


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "w")


def server_at(desk: Desk, smtp: SmtpServer, *more: str) -> None:
    desk("server", "add", "day", "--host", "127.0.0.1", "--port", str(smtp.port), "--encryption", "none", *more)


@pytest.mark.req("IN-18", "ERR-04")
@pytest.mark.parametrize("body", ["", "   ", "zzz qqq", "Sorry.", "Guru meditation 77"])
@pytest.mark.parametrize("road", ["bounces take", "inbound receive"])
def test_a_report_nobody_can_interpret_says_no_error(
    desk: Desk, smtp: SmtpServer, tmp_path: Path, road: str, body: str
) -> None:
    desk("company", "domain", "shop.example")
    server_at(desk, smtp, "--filter", "shop.example")
    with closing(desk.ops()) as ops:
        record = ops.threads.create_record("lead", "Order")
        ops.threads.follow(record, ops.threads.add_contact("Ben", "ben@x.example"))
        posted = ops.threads.post(record, Entry("Hello", author_email="Eva <eva@shop.example>"))
        ops.queue.run()
    file = tmp_path / "report.eml"
    file.write_text(
        f"From: MAILER-DAEMON <mailer-daemon@mx.example>\r\nTo: bounce@shop.example\r\nReferences: {posted.message_id}\r\n"
        f"Message-ID: <r@mx.example>\r\nSubject: Undelivered\r\n\r\n{body}\r\n", newline=""
    )  # fmt: skip
    desk(*road.split(), str(file))
    [line] = desk.json("envelope", "show", "1")["lines"]
    assert (line["state"], line["reason"]) == ("bounce", "no error")
    assert (line["details"] or "") == body.strip()
    assert "no error" in desk("envelope", "show", "1")


@pytest.mark.req("OUT-51")
def test_a_complete_default_from_overwrites_every_from_but_where_a_server_is_set(desk: Desk, smtp: SmtpServer) -> None:
    desk("company", "domain", "shop.example")
    server_at(desk, smtp, "--filter", "shop.example")
    asked = desk("company", "domain", "shop.example", "--default-from", "all@post.example", status=2)
    assert "overwrites the From of all outgoing mail" in asked
    assert "only mail with a server set on it, and mass mail through a Dedicated Server" in asked
    desk("company", "domain", "shop.example", "--default-from", "all@post.example", "-y")
    told = desk.json("explain", "send", "--from", "Eva <eva@shop.example>")
    assert told["from_after"] == '"Eva" <all@post.example>'
    told = desk.json("explain", "send", "--from", "Eva <eva@shop.example>", "--mass")
    assert told["from_after"] == '"Eva" <all@post.example>'  # no server is dedicated: mass mail is mail
    told = desk.json("explain", "send", "--from", "Eva <eva@shop.example>", "--server", "day")
    assert told["from_after"] == "Eva <eva@shop.example>"
    assert any("all@post.example does not count here" in warning for warning in told["warnings"])
    desk("company", "parameter", "mailops.mass_mailing.server", "day")
    told = desk.json("explain", "send", "--from", "Eva <eva@shop.example>", "--mass")
    assert told["from_after"] == "Eva <eva@shop.example>"
    assert any("Dedicated Server" in warning for warning in told["warnings"])
