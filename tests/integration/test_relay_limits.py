"""Limits that lose nothing: an answer is held back before it refuses, counted is what was taken, memory has a bound."""

from __future__ import annotations

import asyncio
import re
import smtplib
import socket
import threading
import time
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest
from furnish import furnish
from relay_kit import MAIL
from test_serve import pids, serving

from mailops import Ops
from mailops.submission import Limits, SubmissionServer
from mailops.submission.budget import Budget
from mailops.submission.upload import Upload
from mailops.testing import SmtpServer

TEXT = MAIL.format(sender="ann@acme.example")


class Desk:
    """Takes everything."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []

    def __call__(self, mail: object) -> int:
        self.mails.append(mail.data)  # type: ignore[attr-defined]
        return len(self.mails)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def client(server: SubmissionServer, timeout: float = 30) -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", server.port, timeout=timeout)


def test_over_the_limit_the_answer_comes_late_and_the_mail_is_taken(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailops.submission.limits.WINDOW", 2.0)
    with SubmissionServer(desk, limits=Limits(messages_per_minute=3, patience=10)) as server, client(server) as line:
        began = time.monotonic()
        for _ in range(4):
            line.sendmail("ann@acme.example", ["bob@x.example"], TEXT)
        assert time.monotonic() - began > 1.5
    assert len(desk.mails) == 4


def test_what_was_not_taken_is_not_counted(desk: Desk) -> None:
    """A Test Connection, a mail refused, a client that thinks better of it."""
    with SubmissionServer(desk, limits=Limits(messages_per_minute=1)) as server, client(server) as line:
        for _ in range(3):
            line.mail("ann@acme.example")
            line.rset()
            with pytest.raises(smtplib.SMTPDataError):
                line.sendmail("ann@acme.example", ["bob@x.example"], TEXT + "\0")
        line.sendmail("ann@acme.example", ["bob@x.example"], TEXT)
        with pytest.raises(smtplib.SMTPSenderRefused, match="450"):
            line.sendmail("ann@acme.example", ["bob@x.example"], TEXT)


def test_one_programs_limit_is_no_other_programs(desk: Desk) -> None:
    class Door:
        def mail(self, login: str | None, sender: str, size: int) -> str | None:
            return None

        def recipient(self, login: str | None, address: str) -> str | None:
            return None

        def per_minute(self, login: str) -> int | None:
            return {"slow": 1, "free": 0}.get(login)

    from mailops.submission import hash_password

    users = {name: hash_password("pw") for name in ("slow", "free", "other")}
    limits = Limits(messages_per_minute=2)
    with SubmissionServer(desk, users=users, allow_insecure_loopback=True, limits=limits, door=Door()) as server:
        taken = {}
        for name in users:
            with client(server) as line:
                line.login(name, "pw")
                taken[name] = 0
                for _ in range(4):
                    try:
                        line.sendmail("ann@acme.example", ["bob@x.example"], TEXT)
                        taken[name] += 1
                    except smtplib.SMTPSenderRefused:
                        break
    assert taken == {"slow": 1, "free": 4, "other": 2}


def test_large_mails_wait_for_each_other_and_all_arrive(desk: Desk) -> None:
    large = TEXT + ("x" * 76 + "\r\n") * 14_000  # about 1.1 MB each, 1.5 MB under way
    limits = Limits(bytes_under_way=1_500_000, patience=30)
    with SubmissionServer(desk, limits=limits) as server:
        most: list[int] = []

        def send() -> None:
            with client(server) as line:
                line.sendmail("ann@acme.example", ["bob@x.example"], large)
                most.append(server.budget.used)

        threads = [threading.Thread(target=send) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert server.budget.used == 0
    assert len(desk.mails) == 6
    assert max(most) <= 1_500_000


def test_what_has_no_room_in_time_is_asked_to_come_back(desk: Desk) -> None:
    with SubmissionServer(desk, limits=Limits(bytes_under_way=600_000)) as server, client(server) as one:
        one.ehlo()
        one.docmd("MAIL FROM:<a@acme.example> SIZE=500000")
        one.rcpt("bob@x.example")
        assert one.docmd("DATA")[0] == 354
        with client(server) as two:
            two.ehlo()
            two.docmd("MAIL FROM:<a@acme.example> SIZE=500000")
            two.rcpt("bob@x.example")
            assert two.docmd("DATA")[0] == 452
            two.sendmail("a@acme.example", ["bob@x.example"], TEXT)  # a small one passes
        one.send(TEXT + "\r\n.\r\n")
        assert one.getreply()[0] == 250
        with client(server) as two:
            two.ehlo()
            two.docmd("MAIL FROM:<a@acme.example> SIZE=500000")
            two.rcpt("bob@x.example")
            assert two.docmd("DATA")[0] == 354


def test_a_slow_but_living_upload_goes_on_and_a_dead_one_hears_421(desk: Desk) -> None:
    with SubmissionServer(desk, timeout=1.0) as server, client(server) as line:
        line.ehlo()
        line.mail("ann@acme.example")
        line.rcpt("bob@x.example")
        line.docmd("DATA")
        for part in TEXT.splitlines(keepends=True):
            time.sleep(0.5)  # five lines: more than the time-out in all
            line.send(part)
        line.send("\r\n.\r\n")
        assert line.getreply()[0] == 250
        time.sleep(1.5)
        assert line.getreply()[0] == 421  # RFC 5321 §3.8: said before the connection is closed
    assert len(desk.mails) == 1


def test_limits_are_announced(desk: Desk) -> None:
    with SubmissionServer(desk) as server, client(server) as line:
        line.ehlo()
        assert line.esmtp_features["limits"] == "RCPTMAX=10000"  # RFC 9422


def test_commands_sent_along_behind_the_dot_are_answered(desk: Desk) -> None:
    with SubmissionServer(desk) as server, socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        lines = ["EHLO x", "MAIL FROM:<a@x.example>", "RCPT TO:<b@x.example>", "DATA"]
        raw.sendall("".join(f"{line}\r\n" for line in lines).encode())
        time.sleep(0.2)
        raw.sendall((TEXT + ".\r\nMAIL FROM:<c@x.example>\r\nRSET\r\nQUIT\r\n").encode())
        heard = b""
        while piece := raw.recv(4096):
            heard += piece
    assert [line[:3] for line in heard.split(b"\r\n") if line[3:4] == b" "][-4:] == [b"250", b"250", b"250", b"221"]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_pieces_of_any_size_make_the_same_message(size: int) -> None:
    sent = b"..one\r\n.\r\x20\r\n..\r\nx\n.\r\ny\r\n.z\r\n" + b"\r\n.\r\nNEXT"
    upload = Upload(10_000)
    at = 0
    while not upload.complete:
        upload.feed(sent[at : at + size])
        at += size
    assert upload.message() == b".one\r\n\r\x20\r\n.\r\nx\n.\r\ny\r\nz\r\n\r\n"
    assert (upload.rest + sent[at:]) == b"NEXT"


def test_an_empty_message_and_one_too_large_end_where_they_end() -> None:
    empty = Upload(10)
    empty.feed(b".\r\nQUIT\r\n")
    assert (empty.complete, empty.message(), empty.rest) == (True, b"", b"QUIT\r\n")
    large = Upload(10)
    for _ in range(50):
        large.feed(b"0123456789\r\n")
        assert large.size < 30
    large.feed(b".\r\nQUIT\r\n")
    assert (large.complete, large.too_large, large.rest) == (True, True, b"QUIT\r\n")


def test_the_budget_gives_turns_in_order() -> None:
    async def play() -> list[str]:
        budget, done = Budget(100), list[str]()
        assert await budget.take(80, 1)

        async def one(name: str, octets: int) -> None:
            if await budget.take(octets, 5):
                done.append(name)
                await asyncio.sleep(0.01)
                budget.give_back(octets)

        tasks = [asyncio.create_task(one(name, n)) for name, n in (("a", 60), ("b", 10), ("c", 500))]
        await asyncio.sleep(0.05)
        assert not done  # b would fit, and waits behind a
        assert not await budget.take(10, 0.01)
        budget.give_back(80)
        await asyncio.gather(*tasks)
        assert budget.used == 0
        return done

    assert asyncio.run(play()) == ["a", "b", "c"]


@pytest.mark.timeout(180)
def test_700_mails_and_150_recipients_lose_nothing(ops_factory: Callable[..., Ops]) -> None:
    """As Odoo's mail job sends them (one connection, default settings), and Django's newsletter."""
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        with serving(ops, "--queue-every", "0") as (_, port), smtplib.SMTP("127.0.0.1", port, timeout=60) as line:
            for number in range(700):
                message = EmailMessage()
                message["From"], message["To"] = "ann@acme.example", f"u{number}@x.example"
                message["Subject"] = f"Number {number}"
                message.set_content("Hello")
                assert line.send_message(message) == {}
            assert line.sendmail("ann@acme.example", [f"r{n}@x.example" for n in range(150)], TEXT) == {}
        ops.queue.run()
        assert smtp.accepted == 701
        assert sum(len(m.recipients) for m in smtp.messages) == 850


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads a process's memory from /proc")
@pytest.mark.timeout(240)
def test_twenty_large_mails_at_once_in_bounded_memory(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        large = TEXT + ("x" * 76 + "\r\n") * (25_000_000 // 78)
        failed: list[Exception] = []
        with serving(ops, "--queue-every", "0") as (_, port):

            def send() -> None:
                try:
                    with smtplib.SMTP("127.0.0.1", port, timeout=200) as line:
                        line.sendmail("ann@acme.example", ["bob@x.example"], large)
                except Exception as error:
                    failed.append(error)

            threads = [threading.Thread(target=send) for _ in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(220)
            status = Path(f"/proc/{pids(ops)['intake']}/status").read_text("ascii")
        peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1])  # type: ignore[index]
        assert not failed
        assert ops.queue.page().total == 20
        assert peak < 500_000  # kB
