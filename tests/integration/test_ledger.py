"""What becomes of a mail is told once, by one writer, and what follows of it is applied or owed in the same commit."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from furnish import furnish
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection

from mailops import Ops
from mailops.ledger import Book, Fact
from mailops.ledger.check import check
from mailops.ledger.facts import Counted
from mailops.ledger.values import DeliveryOutcome, Outcome, Settled
from mailops.model.setup import MailClass, RetryPolicy
from mailops.model.states import DELIVERY_MOVES, DeliveryState, MailState
from mailops.queue import lease
from mailops.store import schema
from mailops.testing import ManualClock, SmtpServer, SmtpServerProcess
from mailops.testing.dsn import build_dsn
from mailops.testing.smtp_script import Rule
from mailops.threads.envelope import Mark
from mailops.threads.service import Entry
from mailops.widgets.queue_view import QueueView

CHILD = Path(__file__).with_name("drain_child.py")
m, d, e, n, o = schema.mails, schema.deliveries, schema.events, schema.notifications, schema.owed
GONE = Rule("rcpt", "reply", 550, "5.1.1", "User unknown", recipient="gone*")


def post(ops: Ops, *people: str) -> int:
    """An entry of a record that these addresses follow; returns the message."""
    record = ops.threads.create_record("lead", "Seven")
    for address in people:
        ops.threads.follow(record, ops.threads.add_contact(address.partition("@")[0], address))
    return ops.threads.post(record, Entry("Hello")).id


def marks(ops: Ops, message: int) -> dict[str, str]:
    return {x.address or "": x.state for x in ops.threads.notifications(message)}


def refused(raw: bytes, address: str, text: str = "550 5.1.1 User unknown") -> bytes:
    return build_dsn(raw, address, "5.1.1", text, "mx.x.example", to="bounce@acme.example")


class Stumbles:
    """A listener that cannot take what concerns one address."""

    name = "stumbles"
    kinds = frozenset(DELIVERY_MOVES)

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.broken = True

    def hear(self, connection: Connection, facts: Sequence[Fact], *, now: datetime) -> Sequence[Fact]:
        for fact in facts:
            if self.broken and (fact.recipient or "").startswith("u0@"):
                connection.execute(sa.update(n).values(reason="half done"))
                raise ValueError(f"no place for {fact.recipient}")
        self.heard += [(fact.recipient or "", fact.kind) for fact in facts]
        return ()


# --- listeners --------------------------------------------------------------------------------------------------------


def test_a_listener_that_raises_for_one_mail_in_ten_loses_nothing(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock()
    with SmtpServer() as smtp:
        ops = ops_on(clock=clock)
        furnish(ops, smtp)
        stumbles = Stumbles()
        ops.book.listeners = (*ops.book.listeners, stumbles)
        message = post(ops, *(f"u{number}@x.example" for number in range(10)))
        ops.queue.run()
        assert len(smtp.messages) == 10
        assert Counter(marks(ops, message).values()) == {"sent": 10}  # the others' consequences are there
        assert sorted(stumbles.heard) == [(f"u{number}@x.example", "sent") for number in range(1, 10)]
        with ops.engine.connect() as connection:
            (row,) = connection.execute(sa.select(o.c.listener, o.c.error, o.c.tries)).all()
            assert "half done" not in connection.execute(sa.select(n.c.reason)).scalars().all()
        assert row == ("stumbles", "ValueError: no place for u0@x.example", 1)
        assert ops.queue.health().owed == 1
        assert ("Owed to threads or suppressions", "1", "bad") in QueueView(ops).tiles().figures
        assert not ops.books().agree
        ops.queue.run()
        assert ops.queue.health().owed == 1  # not before a minute is over
        clock.advance(61)
        ops.queue.run()
        assert ops.queue.health().owed == 1  # tried again, and failed again
        stumbles.broken = False
        clock.advance(121)
        ops.queue.run()
        assert stumbles.heard[-1] == ("u0@x.example", "sent")
        assert ops.queue.health().owed == 0
        assert ops.books().agree


def test_what_comes_after_an_owed_fact_of_a_mail_waits_for_it(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock()
    with SmtpServer(script=[Rule("rcpt", "reply", 451, "4.3.2", "Later", recipient="u0@*", first=1)]) as smtp:
        ops = ops_on(clock=clock)
        furnish(ops, smtp)
        stumbles = Stumbles()
        ops.book.listeners = (*ops.book.listeners, stumbles)
        mail_id = ops.send(sender="ann@acme.example", to=["u0@x.example"], subject="Hi", text="Hi")
        ops.queue.run()
        stumbles.broken = False
        clock.advance(30)
        ops.queue.run(ids=[mail_id])
        assert stumbles.heard == []  # the second fact stands behind the first
        clock.advance(3600)
        ops.queue.run()
        assert stumbles.heard == [("u0@x.example", "deferred"), ("u0@x.example", "sent")]


# --- consequences differ by no road -----------------------------------------------------------------------------------


def test_a_follower_suppressed_before_the_post_is_as_red_as_one_after_it(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.suppressions.add("before@x.example", scope="all", why="asked for it")
        message = post(ops, "before@x.example", "after@x.example", "fine@x.example")
        ops.suppressions.add("after@x.example", scope="all", why="asked for it")
        ops.queue.run()
        found = ops.envelopes.of(message)
        assert found.mark is Mark.RED
        assert {line.address: line.state for line in found.lines} == {
            "before@x.example": "exception",
            "after@x.example": "exception",
            "fine@x.example": "sent",
        }
        reasons = {line.address: line.details for line in found.lines if line.failed}
        assert reasons["before@x.example"] == reasons["after@x.example"] is not None


@pytest.mark.req("QUE-04")
def test_cancel_and_retry_in_the_queue_reach_the_mark_of_the_thread(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer(script=[GONE]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        message = post(ops, "gone1@x.example", "gone2@x.example")
        ops.queue.run()
        first, second = (x.mail_id for x in ops.threads.notifications(message))
        assert first is not None
        assert second is not None
        assert ops.envelopes.of(message).mark is Mark.RED
        assert ops.queue.cancel(first).count == 1
        assert marks(ops, message) == {"gone1@x.example": "canceled", "gone2@x.example": "exception"}
        assert ops.queue.retry(second).count == 1
        assert marks(ops, message)["gone2@x.example"] == "ready"
        assert ops.envelopes.of(message).mark is Mark.WHITE
        assert ops.queue.retry(first).count == 1  # a cancelled mail can be tried again, and its mark follows
        ops.queue.run()
        assert set(marks(ops, message).values()) == {"exception"}


def test_a_mail_that_is_cancelled_after_half_of_it_left_stays_sent(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer(script=[Rule("rcpt", "reply", 451, "4.3.2", "Later", recipient="busy*")]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        mail_id = ops.send(sender="ann@acme.example", to=["bob@x.example", "busy@x.example"], subject="Hi", text="Hi")
        ops.queue.run()
        ops.queue.cancel(mail_id)
        mail = ops.queue.mail(mail_id)
        assert mail.state is MailState.SENT
        assert [x.state for x in mail.deliveries] == [DeliveryState.SENT, DeliveryState.CANCELLED]
        assert ops.queue.retry(mail_id).count == 1
        assert [x.state for x in ops.queue.mail(mail_id).deliveries] == [DeliveryState.SENT, DeliveryState.PENDING]


def test_an_action_is_told_for_each_recipient_it_moved(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer(script=[GONE]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        people = ["bob@x.example", "gone1@x.example", "gone2@x.example"]
        mail_id = ops.send(sender="ann@acme.example", to=people, subject="Hi", text="Hi")
        ops.queue.run()
        ops.queue.retry(mail_id, actor="kim", recipients=("gone2@x.example",))
        told = [(x.kind, x.recipient, x.actor) for x in ops.queue.history(mail_id)][-1]
        assert told == ("retried", "gone2@x.example", "kim")


# --- recovery ---------------------------------------------------------------------------------------------------------


def kill_at(ops: Ops, step: str, nth: int) -> None:
    child = [sys.executable, str(CHILD), str(ops.workspace.path), step, str(nth)]
    done = subprocess.run(child, capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-1000:]


def test_a_recovery_judges_by_the_server_s_own_retry_policy_and_keeps_the_envelope(ops_on: Callable[..., Ops]) -> None:
    with SmtpServerProcess(script=[Rule("rcpt", "reply", 451, "4.3.2", "Later")]) as smtp:
        ops = ops_on()
        furnish(ops, smtp, retry=RetryPolicy(first=3600, cap=7200, give_up=172_800))
        ops.return_paths.sign()
        mail_id = ops.send(sender="ann@acme.example", to=["bob@x.example"], subject="Hi", text="Hi")
        kill_at(ops, "recorded", 1)
        ops.queue.run()
        mail = ops.queue.mail(mail_id)
        assert mail.due_at - ops.clock.now() > timedelta(minutes=50)  # not after 300 seconds
        line = ops.queue.history(mail_id)[-1]
        assert (line.kind, (line.data or {}).get("tagged")) == ("deferred", True)


def test_what_follows_of_a_recovered_mail_is_what_its_worker_would_have_brought(ops_on: Callable[..., Ops]) -> None:
    with SmtpServerProcess(script=[GONE]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        message = post(ops, "gone@x.example", "fine@x.example")
        kill_at(ops, "recorded", 2)
        ops.queue.run()
        assert marks(ops, message) == {"gone@x.example": "exception", "fine@x.example": "sent"}
        found = ops.suppressions.find("gone@x.example")
        assert found is not None
        assert (found.state, found.source) == ("active", "reply")


def test_an_answer_that_comes_after_its_mail_was_given_up_for_unknown_is_recorded(ops_on: Callable[..., Ops]) -> None:
    """A worker of another machine whose lease ran out: its mail was taken over, and then its answer arrives."""
    clock = ManualClock()
    with SmtpServer(script=[Rule("rcpt", "reply", 451, "4.3.2", "Later")]) as smtp:
        ops = ops_on(clock=clock)
        furnish(ops, smtp)
        mail_id = ops.send(sender="ann@acme.example", to=["bob@x.example"], subject="Hi", text="Hi")
        hold = timedelta(minutes=10)
        (held,) = lease.lease(ops.engine, "far", now=clock.now(), batch=1, duration=hold, book=ops.book)
        clock.advance(601)
        assert ops.queue.run().recovered.unknown == 1
        assert ops.queue.mail(mail_id).state is MailState.OUTGOING
        taken = DeliveryOutcome("bob@x.example", DeliveryState.SENT, "body", 250, "2.0.0", "taken", None, "sent")
        late = Settled(held, Outcome(MailState.SENT, None, "sent", None, None, (taken,)), "main", None, None)
        for _ in range(2):
            lease.settle(ops.engine, "far", [late], now=clock.now(), book=ops.book)
        assert ops.queue.mail(mail_id).state is MailState.SENT
        assert [x.kind for x in ops.queue.history(mail_id)] == ["submitted", "unknown", "deferred", "sent"]


def world_of(ops: Ops) -> tuple[int, list[bytes]]:
    """Threads, followers, hard refusals, suppressed addresses and mail with many recipients."""
    ops.suppressions.add("never@x.example", scope="all", why="asked for it")
    message = post(ops, "gone1@x.example", "a@x.example", "never@x.example", "b@y.example")
    for number in range(12):
        to = [f"u{number}@x.example", f"gone{number}@y.example"] if number % 3 == 0 else [f"u{number}@z.example"]
        klass = MailClass.MASS if number % 4 == 0 else MailClass.TRANSACTIONAL
        ops.send(sender="ann@acme.example", to=to, subject=f"Mail {number}", text="Hi", mail_class=klass)
    return message, []


def emptied(ops: Ops) -> None:
    """The same store without a row, where several worlds share a database."""
    if ops.engine.dialect.name == "postgresql":
        with ops.engine.begin() as connection:
            names = ", ".join(table.name for table in schema.metadata.sorted_tables)
            connection.execute(sa.text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))


def picture(ops: Ops) -> dict[str, Any]:
    """Everything that was decided, without times, numbers of rows, and workers' names."""
    with ops.engine.connect() as connection:

        def rows(*columns: Any) -> list[Any]:
            found = connection.execute(sa.select(*columns)).all()
            return sorted((tuple(row) for row in found), key=repr)

        t, s, c = schema.counts, schema.suppressions, schema.contacts

        def summed(*columns: Any) -> list[Any]:
            query = sa.select(*columns, sa.func.sum(t.c["count"])).group_by(*columns)
            return sorted((*row[:-1], int(row[-1])) for row in connection.execute(query) if row[-1])

        subject = sa.select(m.c.subject).where(m.c.id == d.c.mail_id).scalar_subquery()
        return {
            "mails": rows(m.c.subject, m.c.state, m.c.server_key, m.c.failure_type, m.c.lease_owner),
            "deliveries": rows(subject, d.c.recipient, d.c.state, d.c.reason, d.c.code),
            "notifications": rows(n.c.address, n.c.state, n.c.failure_type, n.c.reason),
            "suppressions": rows(s.c.address, s.c.state, s.c.source, s.c.reason),
            "contacts": rows(c.c.email, c.c.bounce_count),
            "counts": summed(t.c.server_key, t.c.recipient_domain, t.c.mail_class, t.c.outcome),
            "facts": rows(e.c.kind, e.c.recipient, e.c.server_key),
            "owed": rows(o.c.listener),
        }


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [7])
def test_random_kills_change_nothing_but_answers_in_flight(
    ops_on: Callable[..., Ops], seed: int, request: pytest.FixtureRequest
) -> None:
    """Killed at chance steps until nothing is due: the tables are those of a run that was left alone."""
    rounds = int(request.config.getoption("--kills"))
    chance, kills, worlds = random.Random(seed), 0, 0
    steps = ["leased", "connected", "journaled", "mail", "rcpt", "data", "body", "recorded", "settled"]
    with SmtpServerProcess(script=[GONE]) as smtp:
        calm = ops_on(name="calm")
        furnish(calm, smtp)
        world_of(calm)
        calm.queue.run()
        wanted = picture(calm)
    while kills < rounds:
        with SmtpServerProcess(script=[GONE]) as smtp:
            worlds += 1
            ops = ops_on(name=f"killed{worlds}")
            emptied(ops)
            furnish(ops, smtp)
            world_of(ops)
            for turn in range(chance.randrange(2, 6)):
                step = chance.choice(steps)
                nth = 1 if step in ("leased", "connected", "settled") else chance.randrange(1, max(12 - 3 * turn, 3))
                child = [sys.executable, str(CHILD), str(ops.workspace.path), step, str(nth)]
                done = subprocess.run(child, capture_output=True, timeout=60)
                kills += done.returncode == -signal.SIGKILL
            ops.queue.run()
            found = picture(ops)
            answers = Counter(line["message_id"] for line in smtp.accepted())
            twice = sum(number - 1 for number in answers.values())
            ops.close()
        found["facts"] = [row for row in found["facts"] if row[0] != "unknown"]
        again = Counter(map(repr, found["facts"])) - Counter(map(repr, wanted["facts"]))
        assert not again
        for table, rows in wanted.items():
            assert found[table] == rows, (table, twice)


# --- reports ----------------------------------------------------------------------------------------------------------


def test_two_roads_tell_of_one_bounce_at_once(ops_on: Callable[..., Ops]) -> None:
    """A report and a provider's event of the same return, from two threads, many times: no double, nothing hangs."""
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ids = [
            ops.send(sender="ann@acme.example", to=[f"u{number}@x.example"], subject="Hi", text="Hi")
            for number in range(12)
        ]
        ops.queue.run()
        letters = [(message.data, message.recipients[0]) for message in smtp.messages]
        faults: list[BaseException] = []

        def take(host: str) -> None:
            try:
                for raw, address in letters:
                    ops.bounces.take(refused(raw, address, f"550 5.1.1 User unknown at {host}"))
            except BaseException as fault:
                faults.append(fault)

        roads = [threading.Thread(target=take, args=(host,)) for host in ("a", "b")]
        for road in roads:
            road.start()
        for road in roads:
            road.join(60)
        assert not faults
        assert not any(road.is_alive() for road in roads)
        kinds = Counter(line.kind for mail_id in ids for line in ops.queue.history(mail_id))
        assert (kinds["bounced"], kinds["told_again"]) == (12, 12)
        assert ops.books().agree


@pytest.mark.postgres
def test_reports_come_in_while_answers_are_recorded(
    ops_factory: Callable[..., Ops], fresh_postgres: str, request: pytest.FixtureRequest
) -> None:
    """On PostgreSQL a hard refusal and a report both want mails and the suppression list: no deadlock is left."""
    rounds = int(request.config.getoption("--rounds"))
    with SmtpServer(script=[GONE]) as smtp:
        ops = ops_factory(database=fresh_postgres)
        furnish(ops, smtp)
        for number in range(rounds):
            to = [f"u{number}@x.example", f"gone{number}@x.example"]
            ops.send(sender="ann@acme.example", to=to, subject=str(number), text="Hi")
        half = rounds // 2
        ops.queue.run(limit=half)
        letters = [(message.data, message.recipients[0]) for message in smtp.messages]
        sending = threading.Thread(target=ops.queue.run)
        sending.start()
        for raw, address in letters:
            assert ops.bounces.take(refused(raw, address)).matched == 1
        sending.join(120)
        assert not sending.is_alive()
        assert ops.queue.health().counts[MailState.OUTGOING] == 0
        assert ops.books().agree


def test_a_judgement_taken_back_is_a_fact_of_its_own(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        mail_id = ops.send(sender="ann@acme.example", to=["bob@x.example"], subject="Hi", text="Hi")
        ops.queue.run()
        ops.bounces.take(refused(smtp.messages[-1].data, "bob@x.example"))
        before = [(line.at, line.kind, line.data) for line in ops.queue.history(mail_id)]
        with ops.engine.begin() as connection:  # an older rule had another cause
            connection.execute(sa.update(schema.bounces).values(reason="mailboxfull", hard=False))
        assert ops.suppressions.apply(ops.suppressions.diff()) == 1
        after = [(line.at, line.kind, line.data) for line in ops.queue.history(mail_id)]
        assert after[: len(before)] == before  # nothing that was told is changed
        assert [kind for _, kind, _ in after[len(before) :]] == ["bounced_in_error", "bounced"]
        assert {at for at, kind, _ in after if "bounced" in kind} == {before[-1][0]}  # at the moment it came back
        assert (ops.analysis.overall().addressed, ops.analysis.overall().returned) == (1, 1)
        assert ops.queue.mail(mail_id).deliveries[0].state is DeliveryState.BOUNCED


# --- the books --------------------------------------------------------------------------------------------------------


def test_doctor_books_says_what_no_fact_explains(sqlite_ops: Ops) -> None:
    with SmtpServer() as smtp:
        furnish(sqlite_ops, smtp)
        mail_id = sqlite_ops.send(sender="ann@acme.example", to=["bob@x.example"], subject="Hi", text="Hi")
        sqlite_ops.queue.run()

    def doctor(*more: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "mailops.cli",
            "-w",
            str(sqlite_ops.workspace.path),
            "doctor",
            "--books",
            *more,
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    fine = doctor("--json")
    assert (fine.returncode, json.loads(fine.stdout)["agree"]) == (0, True)
    with sqlite_ops.engine.begin() as connection:
        connection.execute(sa.update(d).values(state="failed"))
    wrong = doctor()
    assert wrong.returncode == 1
    assert f"recipient bob@x.example of mail {mail_id}: the table says failed, the facts say sent" in wrong.stdout
    assert f"mail {mail_id}: the table says sent, the facts say failed" in wrong.stdout
    with sqlite_ops.engine.begin() as connection:
        connection.execute(sa.update(d).values(state="sent"))
        connection.execute(sa.update(schema.counts).values(count=2))
    assert "the table says 2, the facts say 1" in doctor().stdout
    with sqlite_ops.engine.begin() as connection:
        connection.execute(sa.update(schema.counts).values(count=1))


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["send", "run", "report", "retry", "cancel", "ignore", "suppress", "later"]), st.integers(0, 5)
    ),
    min_size=3,
    max_size=14,
)


@given(script=ACTIONS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_the_states_follow_from_the_facts(
    script: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any order of submissions, runs, reports and people's actions; each one twice changes nothing more."""
    from mailops.workspace import init

    clock = ManualClock()
    rules = [GONE, Rule("rcpt", "reply", 451, "4.3.2", "Later", recipient="busy*", first=2)]
    with SmtpServer(script=rules) as smtp:
        ops = Ops.open(init(tmp_path_factory.mktemp("any") / "w").path, clock=clock)
        furnish(ops, smtp)
        messages: list[int] = []
        for act, number in script:
            ids = [row.id for row in ops.queue.page(limit=50).mails]
            if act == "send" and number % 2:
                messages.append(post(ops, f"gone{number}@x.example", f"u{number}@x.example"))
            elif act == "send":
                to = [f"u{number}@x.example", f"gone{number}@x.example", f"busy{number}@x.example"]
                ops.send(sender="ann@acme.example", to=to, subject="Hi", text="Hi")
            elif act == "run":
                ops.queue.run()
            elif act == "report" and smtp.messages:
                letter = smtp.messages[number % len(smtp.messages)]
                raw = refused(letter.data, letter.recipients[0])
                ops.bounces.take(raw)
                assert ops.bounces.take(raw).repeated
            elif act in ("retry", "cancel") and ids:
                getattr(ops.queue, act)(ids[number % len(ids)])
            elif act == "ignore" and messages:
                ops.envelopes.ignore_all(messages[number % len(messages)])
            elif act == "suppress":
                ops.suppressions.add(f"u{number}@x.example", scope="all")
            elif act == "later":
                clock.advance(4000)
            found = check(ops.engine)
            assert not found.numbers, [str(one) for one in found.differences]
        for message in messages:
            lines = ops.envelopes.of(message).lines
            assert (ops.envelopes.of(message).mark is Mark.RED) is any(line.failed for line in lines)
        ops.close()


def test_a_fact_told_twice_changes_nothing(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        mail_id = ops.send(sender="ann@acme.example", to=["bob@x.example"], subject="Hi", text="Hi")
        now = ops.clock.now()
        row = {"reply": "ok", "updated_at": now}
        counted = Counted("acme.example", "transactional", "sent")
        fact = Fact("sent", now, "a:test", mail_id, "bob@x.example", row=row, counted=counted)
        other = Fact("failed", now, "a:test", mail_id, "bob@x.example", row=row)
        with ops.engine.begin() as connection:
            assert Book().record(connection, [fact, other], now=now) == [fact]
        with ops.engine.begin() as connection:
            assert Book().record(connection, [other, fact], now=now) == []
            connection.execute(sa.update(m).values(state="sent", finished_at=now))
        assert ops.queue.mail(mail_id).deliveries[0].state is DeliveryState.SENT
        assert [line.kind for line in ops.queue.history(mail_id)] == ["submitted", "sent"]
