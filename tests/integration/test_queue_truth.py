"""The queue says what is: partly sent mail is work, an action on nothing is an error, urgent mail that left is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from desk import Desk

from mailops.testing import SmtpServer, refuse


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer([refuse("bad@x.example", 550, "5.1.1", "No such user")]) as server:
        yield server


@pytest.fixture
def desk(tmp_path: Path, smtp: SmtpServer) -> Desk:
    desk = Desk(tmp_path / "w")
    desk("company", "domain", "acme.com")
    desk("server", "add", "s", "--host", "127.0.0.1", "--port", str(smtp.port), "--encryption", "none", "--filter", "acme.com")  # fmt: skip
    return desk


def send(desk: Desk, *to: str, urgent: bool = False) -> int:
    people = [word for one in to for word in ("--to", one)]
    more = ("--urgent",) if urgent else ()
    found: int = desk.json("send", "--from", "ann@acme.com", *people, "--subject", "s", "--text", "t", *more)["id"]
    return found


@pytest.mark.req("QUE-01", "QUE-06", "QUE-10")
def test_a_partly_sent_mail_is_work_until_somebody_settles_it(desk: Desk) -> None:
    mail = send(desk, "ok@x.example", "bad@x.example", "good@x.example")
    fine = send(desk, "ok@x.example")
    desk("queue", "run")
    assert [m["id"] for m in desk.json("queue", "list", "--state", "failed")["mails"]] == [mail]
    assert "Partly sent" in desk("queue", "list")
    assert desk.json("queue", "status")["partly"] == 1
    desk("queue", "vacuum", "--days", "0")
    assert [m["id"] for m in desk.json("queue", "list")["mails"]] == [mail]
    assert fine != mail
    assert desk.json("queue", "causes")[0]["count"] == 1
    report = desk.json("run", "queue", "-p", "max_failed=0", status=1)["report"]
    assert "1 of them sent to others" in Path(report).read_text("utf-8")
    assert desk.json("queue", "ignore", str(mail), "-y")["count"] == 1
    assert desk.json("queue", "list", "--state", "failed")["mails"] == []
    desk("queue", "vacuum", "--days", "0")
    assert desk.json("queue", "list")["mails"] == []


@pytest.mark.req("QUE-10", "FAQ-02")
def test_an_auto_delete_mail_stays_when_one_recipient_was_refused(desk: Desk) -> None:
    with closing(desk.ops()) as ops:
        kept = ops.send(sender="ann@acme.com", to=["ok@x.example", "bad@x.example"], subject="s", text="t", auto_delete=True)  # fmt: skip
        ops.send(sender="ann@acme.com", to="ok@x.example", subject="s", text="t", auto_delete=True)
        ops.queue.run()
        assert [m.id for m in ops.queue.page().mails] == [kept]


@pytest.mark.req("QUE-07")
@pytest.mark.parametrize("action", ["retry", "cancel", "send-now", "ignore"])
def test_an_action_on_nothing_is_an_error(desk: Desk, action: str) -> None:
    assert "queue.nothing" in desk("queue", action, "99", "-y", status=2)
    assert desk.json("queue", action, "99", "-y", status=2)["code"] == "queue.nothing"


@pytest.mark.req("QUE-11")
def test_an_urgent_mail_leaves_the_list_when_it_left(desk: Desk) -> None:
    gone, kept = send(desk, "ok@x.example", urgent=True), send(desk, "bad@x.example", urgent=True)
    assert [m["id"] for m in desk.json("queue", "list")["mails"]] == [kept]
    assert desk.json("queue", "status")["counts"] == {"outgoing": 0, "sent": 0, "failed": 1, "cancelled": 0}
    assert desk.json("queue", "show", str(gone))["mail"]["state"] == "sent"  # asked for, it is still told
