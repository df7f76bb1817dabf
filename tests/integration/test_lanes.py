"""Lanes: many servers and sessions at once, and none of them in another's way."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from furnish import furnish
from test_old_stores import cli
from test_serve import serving

from mailops import Ops
from mailops.errors import InputRefused, NotFound
from mailops.model.mail import Submission
from mailops.model.setup import Encryption, MailClass, RetryPolicy, Server
from mailops.model.states import MailState
from mailops.ports import RecipientReply, SendResult
from mailops.queue import journal as journals
from mailops.queue import lease
from mailops.queue.slots import DEFAULT, account_of, sessions_for, slots_for
from mailops.store import schema
from mailops.testing import ManualClock, SmtpServer, greylist, slow

CHILD = Path(__file__).with_name("drain_child.py")


def server(key: str, smtp: Any, **more: Any) -> Server:
    values: dict[str, Any] = {"name": key, "from_filter": f"{key}.example", **more}
    return Server(key, host="127.0.0.1", port=smtp.port, encryption=Encryption.NONE, timeout=10.0, **values)


def put(ops: Ops, count: int, sender: str = "ann@acme.example", **more: Any) -> list[int]:
    source = (
        Submission(sender=sender, to=(f"u{n}@x{n % 7}.example",), subject=f"{n}", text="t", **more)
        for n in range(count)
    )
    return list(ops.queue.submit_many(source))


class Running:
    """A run of the queue in a thread."""

    def __init__(self, ops: Ops, **more: Any) -> None:
        self.worker = ops.queue.worker(**more)
        self.report: Any = None
        self._thread = threading.Thread(target=self._go)

    def _go(self) -> None:
        self.report = self.worker.run()

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()


def wait_for(what: Callable[[], bool], seconds: float = 20.0) -> float:
    """Seconds until it is so."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < seconds, "it did not come to pass"
        time.sleep(0.002)
    return time.monotonic() - began


def most_at_once(smtp: SmtpServer) -> int:
    """The most connections that the server had at a time, by its log."""
    now = most = 0
    for line in smtp.log:
        now += {"connected": 1, "closed": -1}.get(line.event, 0)
        most = max(most, now)
    return most


def test_a_slow_server_does_not_hold_up_a_fast_one(sqlite_ops: Ops) -> None:
    """At 6f79daf the fast half takes as long as the slow one."""
    ops = sqlite_ops
    with SmtpServer([slow("body", 0.25)]) as far, SmtpServer() as near:
        furnish(ops, near)
        ops.save_server(server("far", far, max_sessions=1))
        for n in range(20):
            put(ops, 1, "ann@far.example" if n % 2 else "ann@acme.example")
        with Running(ops):
            wait_for(lambda: near.accepted > 0)
            took = wait_for(lambda: near.accepted == 10)
            assert far.accepted <= 3
            assert took < 0.5
    assert ops.queue.counts()[MailState.SENT] == 20


def test_an_urgent_mail_amid_mass_mail_leaves_at_once(sqlite_ops: Ops, pytestconfig: pytest.Config) -> None:
    """``--large``: amid 10,000."""
    ops = sqlite_ops
    with SmtpServer([slow("body", 0.02)]) as smtp:
        furnish(ops, smtp, max_sessions=3)
        put(ops, 10_000 if pytestconfig.getoption("--large") else 400, mail_class=MailClass.MASS)
        with Running(ops) as run:
            wait_for(lambda: smtp.accepted >= 20)
            [urgent] = put(ops, 1, "boss@acme.example")
            took = wait_for(lambda: any(b"boss@" in m.data for m in smtp.messages[20:]))
            run.worker.stop()
        assert took < 0.5
        assert smtp.accepted < 200
    assert ops.queue.mail(urgent).state is MailState.SENT
    assert most_at_once(smtp) <= 3


def test_mass_mail_leaves_one_session_free(sqlite_ops: Ops) -> None:
    ops = sqlite_ops
    with SmtpServer([slow("body", 0.05)]) as smtp:
        furnish(ops, smtp, max_sessions=3)
        put(ops, 60, mail_class=MailClass.MASS)
        ops.queue.run()
        assert smtp.accepted == 60
        assert most_at_once(smtp) == 2


def test_another_session_is_opened_for_a_long_queue_and_none_for_a_short_one(sqlite_ops: Ops) -> None:
    ops = sqlite_ops
    with SmtpServer([slow("body", 0.05)]) as smtp:
        furnish(ops, smtp)
        put(ops, 2)
        ops.queue.run()
        assert most_at_once(smtp) == 1
        put(ops, 200)
        began = time.monotonic()
        ops.queue.run()
        assert time.monotonic() - began < 200 * 0.05 / 2
        assert 3 <= most_at_once(smtp) <= DEFAULT


def test_three_connections_are_three_whoever_opens_them(ops_on: Callable[..., Ops]) -> None:
    """``mailops serve``, a run of the queue and urgent sends inside an application, each a process of its own."""
    with SmtpServer([slow("body", 0.02)]) as smtp:
        ops = ops_on()
        furnish(ops, smtp, max_sessions=3)
        put(ops, 250)
        with serving(ops, "--queue-every", "0.3"):
            wait_for(lambda: smtp.accepted > 0, 60)
            run = subprocess.Popen([sys.executable, str(CHILD), str(ops.workspace.path)])
            for n in range(5):
                ops.send(sender="ann@acme.example", to=[f"now{n}@x.example"], subject="s", text="t", urgent=True)
            assert run.wait(60) == 0
            put(ops, 100)
            wait_for(lambda: smtp.accepted == 355, 60)
            wait_for(lambda: ops.queue.counts()[MailState.OUTGOING] == 0)
        assert most_at_once(smtp) == 3


def test_mail_without_a_connection_goes_back_at_once_and_is_looked_for_again(ops_on: Callable[..., Ops]) -> None:
    """Somebody else has the only connection: the worker keeps nothing meanwhile, and sends when it is free."""
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp, max_sessions=1)
        [main] = ops.setup.servers
        slots = slots_for(ops.engine, ops.workspace.path / "slots")
        taken = slots.take(account_of(main), 1)
        assert taken is not None
        put(ops, 5)
        with Running(ops) as run:
            wait_for(lambda: ops.queue.health().held == 5)
            wait_for(lambda: ops.queue.health().held == 0, 5)
            assert run.report is None  # it goes on looking
            taken()
        slots.close()
        assert (run.report.sent, run.report.left) == (5, 0)


def test_slots_are_shared_and_freed(ops_on: Callable[..., Ops]) -> None:
    ops = ops_on()
    folder = ops.workspace.path / "slots"
    mine, yours = slots_for(ops.engine, folder), slots_for(ops.engine, folder)
    account = account_of(Server("main", "Main", host="mx.example"))
    first = mine.take(account, 2)
    second = yours.take(account, 2)
    assert first is not None
    assert second is not None
    assert mine.take(account, 2) is None is yours.take(account, 2)
    other = yours.take(account_of(Server("main", "Main", host="mx.example", login="ann")), 1)
    assert other is not None  # another account is counted apart
    first()
    again = yours.take(account, 2)
    assert again is not None
    for slot in (again, second, other):
        slot()
    mine.close()
    yours.close()


def test_how_many_sessions_a_server_gets() -> None:
    plain = Server("main", "Main", host="mx.example")
    assert sessions_for(plain) == DEFAULT
    assert sessions_for(Server("o", "O", host="smtp.office365.com")) == 3
    assert sessions_for(Server("o", "O", host="127.0.0.1", provider="outlook")) == 3
    assert sessions_for(Server("o", "O", host="smtp.office365.com", max_sessions=2)) == 2


def test_each_mail_leaves_by_what_the_set_up_says_at_its_lease(sqlite_ops: Ops, pytestconfig: pytest.Config) -> None:
    """Amid a drain by four sessions a server is renamed, loses its filter to another one, and is archived; a third one,
    which some mails are to leave by, is removed. ``--large``: a drain of 5,000."""
    ops = sqlite_ops
    count = 5000 if pytestconfig.getoption("--large") else 300
    with SmtpServer([slow("body", 0.03)]) as old, SmtpServer([slow("body", 0.03)]) as new, SmtpServer() as third:
        furnish(ops, old, max_sessions=4)
        ids = put(ops, count)
        ops.save_server(server("new", new, from_filter="other.example", max_sessions=4))
        changes: list[tuple[str, datetime, datetime]] = []

        def change(what: str, work: Callable[[], Any]) -> None:
            began = datetime.now(UTC)
            work()
            changes.append((what, began, datetime.now(UTC)))

        def swap(to_new: bool) -> None:
            mine, theirs = ("acme.example", "other.example") if to_new else ("other.example", "acme.example")
            ops.change_server("new", from_filter=mine)
            ops.change_server("main", from_filter=theirs)

        with Running(ops):
            wait_for(lambda: old.accepted >= 20)
            ops.save_server(server("third", third, from_filter=None))
            forced = put(ops, 3, server="third")
            change("renamed", lambda: ops.change_server("main", name="Another name"))
            wait_for(lambda: third.accepted == 3)
            forced += put(ops, 1, server="third", scheduled_at=datetime.now(UTC) + timedelta(seconds=1))
            change("removed", lambda: ops.remove_server("third"))
            wait_for(lambda: old.accepted >= count // 5)
            change("to new", lambda: swap(True))
            wait_for(lambda: new.accepted >= count // 5)
            change("back", lambda: swap(False))
            wait_for(lambda: old.accepted >= count // 5 + 40)
            change("archived", lambda: (swap(True), ops.change_server("main", active=False)))
        assert old.accepted + new.accepted == len(ids)
        assert ops.queue.mail(forced[-1]).state is MailState.FAILED
        a = schema.attempts
        with ops.engine.connect() as connection:
            ways = connection.execute(sa.select(a.c.server_key, a.c.started_at, a.c.outcome)).all()
        spans = [
            (what, done, changes[at + 1][1] if at + 1 < len(changes) else None)
            for at, (what, _, done) in enumerate(changes)
        ]
        wanted = {"renamed": "main", "removed": "main", "to new": "new", "back": "main", "archived": "new"}
        for what, since, until in spans:
            by = Counter(key for key, at, _ in ways if since < at and (until is None or at < until))
            by.pop("third", None)
            by.pop("none", None)
            assert set(by) <= {wanted[what]}, (what, by)
        assert Counter(key for key, _, out in ways if out == "sent") == {
            "main": old.accepted,
            "new": new.accepted,
            "third": 3,
        }


def test_each_attempt_says_by_which_rule_it_went_and_as_whom(sqlite_ops: Ops) -> None:
    """The first try as the notification address by rule 3; then the filter is changed, and rule 2 sends as the author
    (whom the peer greylists anew)."""
    from mailops.widgets.queue_view import mail_html

    ops = sqlite_ops
    with SmtpServer([greylist("u0@*", code=452, enhanced="4.3.1", text="Later")]) as smtp:
        furnish(ops, smtp, from_filter="notifications@acme.example", retry=RetryPolicy(first=1))
        [number] = put(ops, 1)
        assert ops.queue.run().deferred == 1
        ops.change_server("main", from_filter="acme.example")
        wait_for(lambda: ops.queue.run().sent == 1)
    tries = [
        line
        for line in cli(ops.workspace.path, "queue", "history", str(number))
        if line["kind"] in ("deferred", "sent")
    ]
    assert [(line["server_key"], line["data"]["rule"]) for line in tries] == [("main", 3), ("main", 2), ("main", 2)]
    assert "notifications@acme.example" in tries[0]["data"]["from"]
    words = [line.why for line in ops.queue.history(number) if line.why]
    assert words[0].startswith("rule 3: no filter fits the sender; this one holds the notification address, as ")
    assert words[1].startswith("rule 2: its FROM filter holds the sender's domain")
    assert words[2] == "rule 2: its FROM filter holds the sender's domain"
    assert "rule 3: no filter fits" in mail_html(ops, number)


def test_a_forced_server_that_is_gone_has_a_verdict(sqlite_ops: Ops) -> None:
    ops = sqlite_ops
    with SmtpServer([slow("body", 0.03)]) as smtp:
        furnish(ops, smtp)
        ops.save_server(server("extra", smtp, from_filter=None))
        [forced] = put(ops, 1, server="extra")
        put(ops, 3)
        ops.remove_server("extra")
        ops.queue.run()
    found = ops.queue.mail(forced)
    assert found.state is MailState.FAILED
    assert "extra" in (found.failure_reason or "")
    assert ops.queue.counts()[MailState.OUTGOING] == 0


def test_a_held_domain_waits_and_nobody_behind_it(ops_on: Callable[..., Ops]) -> None:
    ops = ops_on()
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        ops.queue.hold("X3.example", timedelta(hours=1), why="Their servers are down", actor="ann")
        ids = put(ops, 21)
        began = time.monotonic()
        assert ops.queue.run().sent == 18
        assert time.monotonic() - began < 5.0
        waiting = [mail for mail in map(ops.queue.mail, ids) if mail.state is MailState.OUTGOING]
        assert {mail.deliveries[0].recipient for mail in waiting} == {f"u{n}@x3.example" for n in (3, 10, 17)}
        assert all(
            "held until" in (mail.leaves or "") and "servers are down" in (mail.leaves or "") for mail in waiting
        )
        health, told = ops.queue.health(), cli(ops.workspace.path, "queue", "status")
        assert (health.due, health.on_hold, health.of_job) == (0, 3, 0)
        assert (told["due"], told["on_hold"], told["counts"]["outgoing"]) == (0, 3, 3)
        assert health.due_words == "0 (3 more to held domains)"
        [held] = cli(ops.workspace.path, "queue", "holds")
        assert (held["domain"], held["actor"]) == ("x3.example", "ann")
        cli(ops.workspace.path, "queue", "unhold", "x3.example")
        assert ops.queue.run().sent == 3
        with pytest.raises(NotFound):
            ops.queue.end_hold("x3.example")
        for domain, span in (("nowhere", 1), ("x.example", -1)):
            with pytest.raises(InputRefused):
                ops.queue.hold(domain, timedelta(hours=span))


def test_what_waits_for_the_job_is_told_beside_what_is_due(sqlite_ops: Ops) -> None:
    put(sqlite_ops, 1, mail_class=MailClass.MASS)
    put(sqlite_ops, 2)
    told = cli(sqlite_ops.workspace.path, "queue", "status")
    assert (told["due"], told["of_job"]) == (3, 1)
    assert sqlite_ops.queue.health().due_words == "3 (1 waits for the queue job)"
    assert "held domain" not in sqlite_ops.queue.health().due_words


def test_workers_that_ended_are_told_of_for_two_minutes(ops_factory: Any) -> None:
    clock = ManualClock(datetime(2026, 11, 30, 12, tzinfo=UTC))
    ops = ops_factory(clock=clock)
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        for _ in range(3):
            put(ops, 1)
            assert ops.queue.run().sent == 1
            clock.advance(90)
    assert [load.sent for load in ops.status().workers] == [1]
    clock.advance(60)
    assert ops.status().workers == ()


# --- the journal ------------------------------------------------------------------------------------------------------


def _said(text: str = "OK") -> SendResult:
    return SendResult((RecipientReply("u@x.example", 250, "2.0.0", text, "body"),))


def test_the_journal_has_two_generations_and_both_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "LIMIT", 600)
    main = Server("main", "Main", retry=RetryPolicy(first=7))
    book = journals.Journal(tmp_path, "w")
    for number in range(1, 31):
        book.start(number, 100 + number, main, recipients=("u@x.example",))
        if number != 3:
            book.end(number, _said("x" * 20))
        book.recorded([] if number == 3 else [number])
    second = journals.second_of(book.path)
    assert second.exists()
    assert book.size < 4000  # what is recorded went; what is not stays with its generation
    book.start(31, 131, main, recipients=("u@x.example",))
    book.abandon()
    entries = {entry.attempt_id: entry for entry in journals.read(book.path)}
    assert entries[3].result is None
    assert entries[31].result is None
    assert entries[31].policy == entries[3].policy == RetryPolicy(first=7)
    with journals.claim(book.path) as ours:
        assert ours
    assert not list(tmp_path.iterdir())


def test_answers_of_many_sessions_find_their_room(tmp_path: Path) -> None:
    """Each start keeps room for its own answers, whatever the others write in between."""
    main = Server("main", "Main")
    people = tuple(f"u{n}@x.example" for n in range(50))
    book = journals.Journal(tmp_path, "w")
    for number in range(1, 41):
        book.start(number, number, main, recipients=people)
    for number in range(1, 41):
        book.end(number, SendResult(tuple(RecipientReply(p, 550, "5.1.1", f"{p} " * 60, "rcpt") for p in people)))
    book.abandon()
    entries = journals.read(book.path)
    assert [entry.attempt_id for entry in entries] == list(range(1, 41))
    assert all(entry.result is not None and len(entry.result.replies) == 50 for entry in entries)


@pytest.mark.parametrize("stage", ["mail", "data"])
def test_a_mail_amid_which_mailops_is_stopped_is_due_at_once(ops_factory: Callable[..., Ops], stage: str) -> None:
    """The server says nothing for a minute; the process ends in its grace period, and the mail does not pay for it."""
    with SmtpServer([slow(stage, 60.0)]) as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        with serving(ops, "--queue-every", "0.3") as (child, _):
            [mail_id] = put(ops, 1)
            wait_for(lambda: ops.queue.health().held == 1)
            time.sleep(0.3)
            began = time.monotonic()
            child.terminate()
            assert child.wait(30) == 0
            assert time.monotonic() - began < 20
    found = ops.queue.mail(mail_id)
    assert found.state is MailState.OUTGOING
    assert found.due_at <= datetime.now(UTC)
    with SmtpServer() as well:
        ops.change_server("main", port=well.port)
        assert ops.queue.run().sent == 1


def test_no_number_of_an_attempt_is_given_away_twice(ops_on: Callable[..., Ops]) -> None:
    """What was given back leaves no attempt, and its number is not another's: journals name attempts by it."""
    ops = ops_on()
    put(ops, 1)
    first = lease.lease(ops.engine, "one", now=ops.clock.now(), batch=1, duration=timedelta(minutes=1), book=ops.book)
    lease.release(ops.engine, "one", first)
    second = lease.lease(ops.engine, "one", now=ops.clock.now(), batch=1, duration=timedelta(minutes=1), book=ops.book)
    assert second[0].attempt_id > first[0].attempt_id
