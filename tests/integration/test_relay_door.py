"""What is known to fail is refused in the dialogue; what programs say beside the addresses is no reason to refuse."""

from __future__ import annotations

import smtplib
import threading
from collections.abc import Callable

import pytest
from furnish import furnish
from relay_kit import MAIL, handing_over, relayed, told

from mailops import Ops
from mailops.model.states import MailState
from mailops.queue.together import Together
from mailops.testing import SmtpServer, refuse

TEXT = MAIL.format(sender="Ann <ann@acme.example>")


@pytest.mark.parametrize(
    ("mail", "rcpt"),
    [
        ("AUTH=<>", ""),
        ("AUTH=ann@acme.example", ""),
        ("AUTH=ann+2Bshop@acme.example", ""),
        ("RET=HDRS ENVID=QQ314159", ""),
        ("RET=full", "NOTIFY=SUCCESS,FAILURE,DELAY"),
        ("BODY=8BITMIME SIZE=400 AUTH=<>", "NOTIFY=never ORCPT=rfc822;Bob+2Bx@x.example"),
    ],
)
def test_auth_and_dsn_parameters_are_taken(ops_factory: Callable[..., Ops], mail: str, rcpt: str) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        with handing_over(ops) as client:
            client.ehlo()
            assert not client.has_extn("dsn")  # set aside, so not promised
            assert client.docmd(f"MAIL FROM:<ann@acme.example> {mail}")[0] == 250
            assert client.docmd(f"RCPT TO:<bob@x.example> {rcpt}")[0] == 250
            assert client.data(TEXT)[0] == 250
        ops.queue.run()
        assert smtp.accepted == 1


@pytest.mark.parametrize("mail", ["AUTH=a=b", "RET=SOME", "ENVID=+GG", "AUTH", "SPEED=9"])
def test_what_is_none_is_still_refused(ops_factory: Callable[..., Ops], mail: str) -> None:
    ops = ops_factory()
    with handing_over(ops) as client:
        client.ehlo()
        assert client.docmd(f"MAIL FROM:<ann@acme.example> {mail}")[0] in (501, 555)
        assert client.docmd("MAIL FROM:<ann@acme.example>")[0] == 250
        assert client.docmd("RCPT TO:<bob@x.example> NOTIFY=NEVER,DELAY")[0] == 501


def test_who_gets_no_mail_is_refused_at_rcpt(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.suppressions.add("gone@x.example", scope="all", why="asked us to stop")
        ops.suppressions.add("shy@x.example", scope="campaigns", why="no campaigns")
        with handing_over(ops) as client:
            refused = client.sendmail("ann@acme.example", ["Gone@x.example", "shy@x.example"], TEXT)
        code, words = refused["Gone@x.example"]
        ops.queue.run()
        assert smtp.accepted == 1
    assert code == 550
    assert b"asked us to stop" in words
    assert [d.recipient for d in ops.queue.mail(1).deliveries] == ["shy@x.example"]


def test_what_no_server_carries_is_refused_at_mail_and_what_its_own_does_not_at_data(
    ops_factory: Callable[..., Ops],
) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp, max_size=3_000)
        with handing_over(ops) as client:
            client.ehlo()
            code, words = client.docmd("MAIL FROM:<ann@acme.example> SIZE=5000")
            assert (code, b"3000 octets" in words) == (552, True)
            with pytest.raises(smtplib.SMTPSenderRefused):
                client.sendmail("ann@acme.example", ["bob@x.example"], TEXT + "x" * 60 * 80)
            client.mail("ann@acme.example")
            client.rcpt("bob@x.example")
            code, words = client.data(TEXT + ("x" * 70 + "\r\n") * 80)
            assert (code, b"Main" in words) == (552, True)
        assert ops.queue.page().total == 0


def test_a_mail_with_one_refused_recipient_is_found_among_the_failed(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer([refuse("gone@*", 550, "5.1.1", "No such user")]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        relayed(ops, "ann@acme.example", to=("bob@x.example", "gone@x.example"))
        relayed(ops, "ann@acme.example")
        ops.queue.run()
    listed = told(ops, "queue", "list", "--state", "failed")
    assert [mail["id"] for mail in listed["mails"]] == [1]
    assert ops.queue.mail(1).state is MailState.SENT
    assert told(ops, "queue", "list", "--state", "Sent")["total"] == 3  # the third is the report about the first


def test_what_is_handed_over_at_once_shares_commits_and_a_bad_one_stands_alone() -> None:
    """Thirty at once in few commits, while one commit takes its time."""
    commits: list[int] = []
    began = threading.Event()

    def commit(items: list[int]) -> list[int]:
        began.set()
        threading.Event().wait(0.05)
        if 13 in items:
            raise ValueError("thirteen")
        commits.append(len(items))
        return [item * 10 for item in items]

    together: Together[int] = Together(commit)  # type: ignore[arg-type]
    found: dict[int, int | str] = {}

    def put(item: int) -> None:
        try:
            found[item] = together.put(item)
        except ValueError as error:
            found[item] = str(error)

    threads = [threading.Thread(target=put, args=(n,)) for n in (0, 1, 2, 3, 14, 15, 16)]
    for thread in threads:
        thread.start()
        began.wait(5)
    for thread in threads:
        thread.join(10)
    assert len(commits) < len(threads)
    more = [threading.Thread(target=put, args=(n,)) for n in (12, 13)]
    for thread in more:
        thread.start()
    for thread in more:
        thread.join(10)
    assert found.pop(13) == "thirteen"
    assert found == {n: n * 10 for n in found}
