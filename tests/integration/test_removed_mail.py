"""A mail that was removed is explained from what was recorded: facts outlive the mail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from desk import Desk

from mailops.testing import SmtpServer
from mailops.widgets.servers_view import ServersView


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture
def desk(tmp_path: Path, smtp: SmtpServer) -> Desk:
    made = Desk(tmp_path / "w")
    made("company", "domain", "shop.example")
    made("server", "add", "day", "--host", "127.0.0.1", "--port", str(smtp.port), "--encryption", "none", "--filter",
         "shop.example")  # fmt: skip
    return made


@pytest.mark.req("OUT-36")
@pytest.mark.parametrize("way", ["auto-delete", "vacuum"])
def test_a_removed_mail_is_explained_from_what_was_recorded(desk: Desk, way: str) -> None:
    with closing(desk.ops()) as ops:
        mail = ops.send(
            sender="Eva <eva@shop.example>", to=["a@x.example", "b@x.example"], subject="s", text="t", mail_class="mass",
            auto_delete=way == "auto-delete",
        )  # fmt: skip
    desk("queue", "run")
    if way == "vacuum":
        desk("queue", "vacuum", "--days", "0")
    assert desk.json("queue", "list")["mails"] == []
    desk("server", "add", "other", "--host", "127.0.0.1", "--filter", "eva@shop.example")
    told = desk("explain", "send", "--mail", str(mail))
    assert f"Mail {mail} was Sent: mass mail. Its message was removed" in told
    assert "with From Eva <eva@shop.example>" in told
    assert "It went to day from " in told
    assert "(sent 2)" in told
    assert "With today's set-up a mail with this From leaves so:" in told
    found = desk.json("explain", "send", "--mail", str(mail))
    assert (found["server"], found["today"]["server"], found["removed"]) == ("day", "other", True)
    assert (found["state"], found["mail_class"], found["left"]) == ("sent", "mass", None)
    with closing(desk.ops()) as ops:
        card = ServersView(ops)._explain({"mail": str(mail), "sender": "", "company": ""})
        assert "Its message was removed" in card.html()
        assert "It went to day" in card.text()


def test_a_removed_mail_of_somebody_forgotten_names_nobody(desk: Desk) -> None:
    desk(
        "send", "--from", "eva@shop.example", "--to", "a@x.example", "--subject", "s", "--text", "t", "--server", "day"
    )
    desk("queue", "run")
    desk("queue", "vacuum", "--days", "0")
    desk("forget", "eva@shop.example", "-y")
    told = desk("explain", "send", "--mail", "1")
    assert "It went to day" in told
    assert "eva@shop.example" not in told


def test_a_number_no_mail_ever_had_is_refused(desk: Desk) -> None:
    told = desk("explain", "send", "--mail", "99", status=2)
    assert "No mail ever had the number 99" in told
    assert "mailops queue list" in told
