"""Fetching from real IMAP and POP3 peers on loopback: nothing lost, nothing doubled, whatever happens beside it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_intake import cli, furnish, mail, right, rows

from mailops import Ops
from mailops.errors import AuthError, ConfigError, NotFound, TemporaryFailure
from mailops.inbound.ingest import Result
from mailops.model.setup import Encryption
from mailops.store import schema
from mailops.testing import Authority, ManualClock
from mailops.testing.imap_server import ImapServer
from mailops.testing.line_server import Gone
from mailops.testing.mailboxes import Mailboxes
from mailops.testing.pop_server import PopServer

BOX = "help@acme.example"
LOGINS = {BOX: "s3cret", "lead@acme.example": "s3cret"}


@pytest.fixture
def boxes() -> Mailboxes:
    return Mailboxes(BOX)


@pytest.fixture
def imap(boxes: Mailboxes) -> Iterator[ImapServer]:
    with ImapServer(boxes, LOGINS) as server:
        yield server


@pytest.fixture
def pop(boxes: Mailboxes) -> Iterator[PopServer]:
    with PopServer(boxes, LOGINS) as server:
        yield server


@pytest.fixture
def ops(ops_factory: Callable[..., Ops], monkeypatch: pytest.MonkeyPatch) -> Ops:
    monkeypatch.setenv("BOX_PASSWORD", "s3cret")
    return furnish(ops_factory(clock=ManualClock()))


def add(ops: Ops, server: Any, key: str = "box", *more: str, login: str = BOX, test: bool = True) -> dict[str, Any]:
    protocol = "imap" if isinstance(server, ImapServer) else "pop3"
    code, made = cli(
        ops, "inbound", "account", "add", key, "--protocol", protocol, "--host", "127.0.0.1", "--port",
        str(server.port), "--encryption", "none", "--login", login, "--password", "env:BOX_PASSWORD", *more,
    )  # fmt: skip
    assert code == 0, made
    if test:
        code, made = cli(ops, "inbound", "account", "test", key)
        assert code == 0, made
    return dict(made)


def read(boxes: Mailboxes, *numbers: int, box: str = BOX) -> None:
    """Somebody reads these mails, by number in the box."""
    for number in numbers:
        boxes.mails(box)[number].flags.add("\\Seen")


# --- the ways in ------------------------------------------------------------------------------------------------------


@pytest.mark.req("IN-39", "IN-41")
def test_imap_takes_what_is_unread_and_deletes_nothing(ops: Ops, boxes: Mailboxes, imap: ImapServer) -> None:
    for number in range(8):
        boxes.deliver(BOX, mail(number))
    read(boxes, 0, 1, 2, 3, 4)
    told = add(ops, imap)
    assert (told["state"], told["messages"], told["first_run"]) == ("confirmed", 8, 3)
    code, said = cli(ops, "inbound", "fetch")
    assert code == 0, said
    assert (said["seen"], said["stored"], said["skipped"], said["delivered"], said["gap"]) == (8, 8, 5, 3, 0)
    assert len(boxes.mails(BOX)) == 8
    assert all("\\Seen" in one.flags for one in boxes.mails(BOX))
    assert {row.reason for row in rows(ops, schema.intake) if row.state == "skipped"} == {"read before the start"}
    code, again = cli(ops, "inbound", "fetch", "--account", "box")
    assert (code, again["seen"], again["stored"], again["decided"]) == (0, 0, 0, 0)
    (one,) = cli(ops, "inbound", "ledger")[1]["sums"]
    assert (one["account"], one["folder"], one["uidvalidity"], one["seen"]) == ("box", "INBOX", 1, 8)
    assert right(ops).delivered == 3


@pytest.mark.req("IN-39")
def test_pop_takes_the_whole_mailbox_and_deletes_it_when_it_is_stored(
    ops: Ops, boxes: Mailboxes, pop: PopServer
) -> None:
    for number in range(8):
        boxes.deliver(BOX, mail(number))
    told = add(ops, pop)
    assert "fetched and deleted" in told["warnings"][0]
    code, said = cli(ops, "inbound", "fetch")
    assert (code, said["seen"], said["delivered"], said["gap"]) == (0, 8, 8, 0)
    assert boxes.mails(BOX) == []
    assert right(ops).delivered == 8


def test_all_mail_is_taken_from_the_start_where_that_is_asked_for(ops: Ops, boxes: Mailboxes, imap: ImapServer) -> None:
    for number in range(3):
        boxes.deliver(BOX, mail(number))
    read(boxes, 0, 1, 2)
    add(ops, imap, "box", "--take-read")
    assert ops.fetch().counts.delivered == 3


@pytest.mark.req("IN-42")
def test_each_mailbox_makes_records_of_its_own_kind(ops: Ops, boxes: Mailboxes, imap: ImapServer) -> None:
    add(ops, imap, "tasks", "--model", "task")
    add(ops, imap, "leads", "--model", "lead", login="lead@acme.example")
    boxes.deliver(BOX, mail(1, to="anything@else.example"))
    boxes.deliver("lead@acme.example", mail(2, to="anything@else.example"))
    assert ops.fetch().counts.delivered == 2
    assert sorted(row.model for row in rows(ops, schema.records)) == ["lead", "task"]


def test_a_mailbox_is_a_draft_until_its_test_has_passed(ops: Ops, boxes: Mailboxes, imap: ImapServer) -> None:
    boxes.deliver(BOX, mail(1))
    made = add(ops, imap, test=False)
    assert (made["state"], made["password"]) == ("draft", "env:BOX_PASSWORD")
    assert ops.fetch().counts.seen == 0  # only what is confirmed
    with pytest.raises(ConfigError, match="draft"):
        ops.fetch("box")
    with pytest.raises(NotFound):
        ops.fetch("other")
    cli(ops, "inbound", "account", "test", "box")
    assert [one["state"] for one in cli(ops, "inbound", "account", "list")[1]] == ["confirmed"]
    assert ops.fetch("box").counts.delivered == 1
    add(ops, imap, test=False)  # changed: to be tested again
    assert ops.mailboxes.get("box").state == "draft"


def test_what_is_wrong_is_said(ops: Ops, imap: ImapServer, monkeypatch: pytest.MonkeyPatch, boxes: Mailboxes) -> None:
    add(ops, imap, test=False)
    monkeypatch.setenv("BOX_PASSWORD", "wrong")
    with pytest.raises(AuthError) as refused:
        ops.fetching.test("box")
    assert "wrong" not in str(refused.value.facts)
    monkeypatch.setenv("BOX_PASSWORD", "s3cret")
    add(ops, imap, "box", "--folder", "Archive", test=False)
    with pytest.raises(ConfigError) as folder:
        ops.fetching.test("box")
    assert folder.value.code == "inbound.folder"
    with ImapServer(boxes, LOGINS) as other:
        add(ops, other, test=False)
    with pytest.raises(TemporaryFailure) as gone:
        ops.fetching.test("box")
    assert gone.value.code == "inbound.connection"
    assert ops.mailboxes.get("box").state == "draft"


@pytest.mark.req("IN-37")
def test_a_persons_own_mailbox_is_warned_of(ops: Ops, imap: ImapServer) -> None:
    ops.threads.add_contact("Helga", BOX, is_user=True)
    assert "shared one" in add(ops, imap)["warnings"][0]


@pytest.mark.req("IN-40")
@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_a_token_signs_in(
    ops: Ops, boxes: Mailboxes, tmp_path: Path, mechanism: str, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path / "ca")
    tls = authority.server_tls("tls")
    kind: Any = ImapServer if protocol == "imap" else PopServer
    monkeypatch.setattr(
        type(ops.tokens), "access_token", lambda self, server, refused=False: f"token of {server.login}"
    )
    boxes.deliver(BOX, mail(1))
    with kind(boxes, {BOX: f"token of {BOX}"}, tls=tls, mechanisms=(mechanism,)) as server:
        words = ("--protocol", protocol, "--host", "localhost", "--port", str(server.port), "--login", BOX)
        code, made = cli(
            ops, "inbound", "account", "add", "box", *words, "--password", "oauth", "--ca-file", authority.ca_file
        )
        assert (code, made["encryption"]) == (0, Encryption.TLS.value)
        ops.fetching.test("box")
        assert ops.fetch().counts.delivered == 1


# --- somebody beside us -----------------------------------------------------------------------------------------------


def test_what_somebody_else_reads_first_is_fetched_all_the_same(ops: Ops, boxes: Mailboxes, imap: ImapServer) -> None:
    add(ops, imap)
    ops.fetch()
    boxes.deliver(BOX, mail(1))
    boxes.deliver(BOX, mail(2))
    read(boxes, 0)
    done = ops.fetch()
    assert (done.counts.delivered, done.counts.skipped) == (2, 0)
    assert done.notes == ("box: 1 mails had been read by somebody else; they were fetched all the same",)


def test_a_changed_uidvalidity_doubles_nothing_and_loses_nothing(ops: Ops, boxes: Mailboxes, imap: ImapServer) -> None:
    for number in range(4):
        boxes.deliver(BOX, mail(number))
    read(boxes, 0)
    add(ops, imap)
    assert ops.fetch().counts.delivered == 3
    boxes.uidvalidity = 7
    boxes.deliver(BOX, mail(9))
    done = ops.fetch().counts
    assert (done.seen, done.doubled, done.delivered, done.skipped, done.gap) == (5, 4, 1, 0, 0)
    assert ops.fetch().counts.seen == 0
    boxes.uidvalidity = 8
    assert (ops.fetch().counts.doubled, len(rows(ops, schema.records))) == (5, 4)
    assert [one.uidvalidity for one in ops.intake.ledger().sums] == [1, 7, 8]
    right(ops)


def test_one_mail_in_two_mailboxes_is_one_mail(ops: Ops, boxes: Mailboxes, imap: ImapServer) -> None:
    add(ops, imap)
    add(ops, imap, "second", login="lead@acme.example")
    boxes.deliver(BOX, b"Delivered-To: help@acme.example\r\n" + mail(1))
    boxes.deliver("lead@acme.example", b"Delivered-To: lead@acme.example\r\n" + mail(1))
    done = ops.fetch().counts
    assert (done.seen, done.stored, done.doubled, done.delivered) == (2, 1, 1, 1)


def test_of_two_fetchers_one_stands_back(ops: Ops, boxes: Mailboxes, imap: ImapServer) -> None:
    add(ops, imap)
    boxes.deliver(BOX, mail(1))
    with ops.intake.lock("box") as ours:
        assert ours
        done = ops.fetch()
        assert (done.counts.seen, done.well) == (0, True)
        assert done.notes == ("box: another run is at it; this one stood back",)
    assert ops.fetch().counts.delivered == 1


def test_a_failing_mailbox_does_not_stop_the_next(ops: Ops, boxes: Mailboxes, imap: ImapServer) -> None:
    add(ops, imap, "a")
    add(ops, imap, "b", login="lead@acme.example")
    with ImapServer(boxes, LOGINS) as other:
        add(ops, other, "a")
    boxes.deliver("lead@acme.example", mail(1))
    code, said = cli(ops, "inbound", "fetch")
    assert (code, said["delivered"]) == (1, 1)
    assert [error["code"] for error in said["errors"]] == ["inbound.connection"]
    assert ops.mailboxes.get("a").error_at is not None
    assert ops.mailboxes.get("b").error is None


# --- what ends in the middle ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_a_line_that_is_cut_at_any_command_loses_and_doubles_nothing(ops: Ops, boxes: Mailboxes, protocol: str) -> None:
    kind: Any = ImapServer if protocol == "imap" else PopServer
    with kind(boxes, LOGINS) as server:
        add(ops, server)
        heard = 0

        class Cut(list[str]):
            """The peer's log, which cuts the line when so many commands were heard."""

            left = 0

            def append(self, line: str) -> None:
                super().append(line)
                self.left -= 1
                if self.left == 0:
                    raise Gone  # the peer hangs up instead of answering

        server.log = Cut()
        number, made = 0, 0
        while True:
            number += 1
            for _ in range(2):
                made += 1
                boxes.deliver(BOX, mail(made))
            server.log.left = number
            done = ops.fetch()
            assert done.counts.adds_up
            if server.log.left > 0:  # the run was over before the cut
                break
            heard += 1
            assert ops.fetch().well
        assert heard > 5
        server.log.left = 0
        assert ops.fetch().well
        total = right(ops)
        assert (total.delivered, len(rows(ops, schema.records))) == (made, made)
        assert len(boxes.mails(BOX)) == (made if protocol == "imap" else 0)


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
@pytest.mark.parametrize("step", ["stored", "acknowledged", "decided"])
def test_a_kill_at_any_step_is_settled(ops: Ops, boxes: Mailboxes, protocol: str, step: str) -> None:
    kind: Any = ImapServer if protocol == "imap" else PopServer
    with kind(boxes, LOGINS) as server:
        add(ops, server)
        ops.fetch()
        for number in range(5):
            boxes.deliver(BOX, mail(number))
        ops.close()
        child = os.fork()
        if child == 0:
            found = Ops.open(ops.workspace.path, clock=ManualClock())
            found.intake.on_step = lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == step else None
            found.fetch()
            os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert ops.fetch().well
        total = right(ops)
        assert (total.delivered, total.waiting, len(rows(ops, schema.records))) == (5, 0, 5)
        assert len(boxes.mails(BOX)) == (5 if protocol == "imap" else 0)


def test_a_row_that_is_gone_is_a_gap_that_names_its_uid(ops: Ops, boxes: Mailboxes, imap: ImapServer) -> None:
    """A UID that the server lists and never gives: it is booked, tried three times, and never silently passed over."""
    add(ops, imap)
    ops.fetch()
    boxes.deliver(BOX, mail(1))
    boxes.mails(BOX)[0].data = b""
    for _ in range(3):
        done = ops.fetch()
        assert (done.counts.unreadable, done.counts.gap) == (1, 0)
    assert ops.fetch().counts.seen == 0
    assert right(ops).unreadable == 1


def test_batches_are_bounded_in_bytes_and_number(ops: Ops, boxes: Mailboxes, imap: ImapServer) -> None:
    add(ops, imap)
    ops.fetch()
    for number in range(3):
        boxes.deliver(BOX, mail(number, body="x" * 70 + "\r\n" + ("y" * 70 + "\r\n") * 60_000))
    imap.log.clear()
    assert ops.fetch().counts.delivered == 3
    bodies = [line for line in imap.log if "BODY.PEEK[]" in line]
    assert len(bodies) == 3, bodies  # 4.3 MB each: two of them are more than 8 MB


# --- waiting ----------------------------------------------------------------------------------------------------------


def watching(ops: Ops, stop: threading.Event, results: list[Result], poll: float = 300.0) -> threading.Thread:
    words = {"stop": stop, "on_run": results.append, "poll": poll}
    thread = threading.Thread(target=ops.fetching.watch, args=("box",), kwargs=words, daemon=True)
    thread.start()
    return thread


def delivered(results: list[Result], number: int, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if sum(one.counts.delivered for one in results) >= number:
            return True
        time.sleep(0.05)
    return False


def test_mail_is_fetched_the_moment_it_comes(ops: Ops, boxes: Mailboxes, imap: ImapServer) -> None:
    add(ops, imap)
    boxes.deliver(BOX, mail(1))
    stop, results = threading.Event(), list[Result]()
    thread = watching(ops, stop, results)
    assert delivered(results, 1)
    for number in (2, 3):
        while not any(line.endswith("IDLE") for line in imap.log[-3:]):
            time.sleep(0.05)
        boxes.deliver(BOX, mail(number))
        assert delivered(results, number)  # long before the five minutes of polling
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert all(one.well for one in results)
    assert right(ops).delivered == 3


def test_pop3_is_looked_at_again_and_again(ops: Ops, boxes: Mailboxes, pop: PopServer) -> None:
    add(ops, pop)
    stop, results = threading.Event(), list[Result]()
    thread = watching(ops, stop, results, poll=0.2)
    boxes.deliver(BOX, mail(1))
    assert delivered(results, 1)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_a_draft_is_not_watched(ops: Ops, imap: ImapServer) -> None:
    add(ops, imap, test=False)
    with pytest.raises(ConfigError):
        ops.watch("box", stop=threading.Event())
