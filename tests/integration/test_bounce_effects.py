"""What a report changes, once; what it leaves alone; and what is put right when a rule was wrong."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from furnish import furnish

from mailops import Ops
from mailops.bounces.correlate import Clues
from mailops.bounces.reading.report import OriginalMessage, RecipientResult, Report
from mailops.store import schema
from mailops.testing import SmtpServer, build_dsn

b, d, e, t = schema.bounces, schema.deliveries, schema.events, schema.counts


@pytest.fixture
def world(ops_on: Callable[..., Ops]) -> Any:
    """A workspace with one mail that was accepted; gives (ops, its number, its bytes)."""
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        number = ops.send(sender="ann@acme.example", to=["gone@x.example"], subject="Hello", text="Hi")
        ops.queue.run()
        yield ops, number, smtp.messages[0].data


def dsn(
    original: bytes, status: str = "5.1.1", text: str = "550 5.1.1 User unknown", host: str = "mx.x.example"
) -> bytes:
    return build_dsn(original, "gone@x.example", status, text, host)


def counted(ops: Ops, outcome: str = "bounced") -> int:
    with ops.engine.connect() as connection:
        query = sa.select(sa.func.coalesce(sa.func.sum(t.c.count), 0)).where(t.c.outcome == outcome)
        return int(connection.execute(query).scalar_one())


def kinds(ops: Ops, number: int) -> list[str]:
    return [line.kind for line in ops.queue.history(number)]


@pytest.mark.req("LIM-05")
def test_several_reports_of_one_delivery_count_once(world: Any) -> None:
    ops, number, original = world
    message_id = ops.queue.mail(number).message_id
    ops.bounces.take(dsn(original))
    ops.bounces.take(dsn(original, host="mx2.x.example"))
    event = Report("bounce", (RecipientResult("gone@x.example", reason="userunknown", hard=True),))
    event = Report("bounce", event.results, original=OriginalMessage(message_id))
    with ops.engine.begin() as connection:
        ops.bounces.enter(connection, event, Clues((("message-id", message_id),)), raw=b"hook", source="postmark")
    assert len(ops.bounces.recent()) == 3  # all are kept and shown
    assert kinds(ops, number).count("bounced") == counted(ops) == 1
    assert (ops.analysis.overall().addressed, ops.analysis.overall().returned) == (1, 1)


def test_soft_reports_of_one_delivery_are_one_soft_bounce(world: Any) -> None:
    ops, _, original = world
    for host in ("a", "b", "c", "d", "e"):
        ops.bounces.take(dsn(original, "5.2.2", "552 5.2.2 Mailbox full", f"{host}.x.example"))
    from mailops.suppression.history import history

    with ops.engine.connect() as connection:
        traces = history(connection, "gone@x.example", now=ops.clock.now(), policy=ops.suppressions.policy)
    assert [trace.kind for trace in traces] == ["bounce"]


def test_a_late_report_leaves_a_retry_and_a_person_s_word_alone(world: Any) -> None:
    ops, number, original = world
    ops.bounces.take(dsn(original, "5.2.2", "552 5.2.2 Mailbox full"))
    assert ops.queue.retry(number).count == 1
    ops.bounces.take(dsn(original, "5.2.2", "552 5.2.2 Mailbox full", "mx2.x.example"))
    assert ops.queue.mail(number).deliveries[0].state.label == "Outgoing"  # it is on its way once more
    ops.queue.run()
    assert ops.queue.mail(number).deliveries[0].state.label == "Sent"
    ops.bounces.take(dsn(original, "5.2.2", "552 5.2.2 Mailbox full", "mx3.x.example"))
    assert ops.queue.mail(number).deliveries[0].state.label == "Bounced"  # the second sending came back too
    assert kinds(ops, number).count("bounced") == 2
    assert counted(ops) == 1  # one recipient of one mail, with its last outcome


def test_a_cancelled_mail_stays_cancelled(world: Any) -> None:
    ops, number, original = world
    ops.bounces.take(dsn(original))
    assert ops.queue.cancel(number).count == 1
    before = ops.queue.mail(number).deliveries[0].state
    ops.bounces.take(dsn(original, host="mx2.x.example"))
    assert ops.queue.mail(number).deliveries[0].state is before


@pytest.mark.parametrize(
    ("feedback", "suppressed"), [("abuse", True), ("opt-out", True), ("not-spam", False), ("auth-failure", False)]
)
def test_only_feedback_by_which_somebody_complains_is_a_complaint(world: Any, feedback: str, suppressed: bool) -> None:
    ops, number, original = world
    head = b"From: fbl@isp.example\r\nTo: abuse@acme.example\r\nSubject: report\r\nMIME-Version: 1.0\r\n"
    head += b'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
    part = f"--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: {feedback}\r\nVersion: 1\r\n"
    part += "User-Agent: isp/1\r\nOriginal-Rcpt-To: gone@x.example\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
    taken = ops.bounces.take(head + part.encode() + original + b"\r\n--b--\r\n")
    assert (taken.report.kind, taken.report.feedback_type, taken.matched) == ("complaint", feedback, 1)
    assert (ops.suppressions.find("gone@x.example") is not None) is suppressed
    assert ("complained" in kinds(ops, number)) is suppressed
    assert counted(ops, "complained") == int(suppressed)
    assert ops.suppressions.diff() == []


def judged_wrongly(ops: Ops, **values: Any) -> None:
    """As an older rule had it."""
    with ops.engine.begin() as connection:
        connection.execute(sa.update(b).values(**values))


def test_a_better_reason_reaches_delivery_and_history(world: Any) -> None:
    ops, number, original = world
    ops.bounces.take(dsn(original, "5.2.2", "552 5.2.2 Mailbox full"))
    judged_wrongly(ops, reason="userunknown", hard=True)
    with ops.engine.begin() as connection:
        connection.execute(sa.update(d).values(reason="userunknown"))
        connection.execute(sa.update(e).where(e.c.kind == "bounced").values(data={"reason": "userunknown"}))
    ops.suppressions.apply(ops.suppressions.diff())
    assert ops.queue.mail(number).deliveries[0].reason == "mailboxfull"
    assert list(ops.analysis.causes()["reason"]) == ["mailboxfull"]


def test_a_report_that_was_none_gives_the_delivery_back(world: Any) -> None:
    ops, number, original = world
    delay = dsn(original, "4.4.1", "connection timed out").replace(b"Action: failed", b"Action: delayed")
    ops.bounces.take(delay)
    assert ops.queue.mail(number).deliveries[0].state.label == "Sent"
    with ops.engine.begin() as connection:  # an older rule took it for a final failure
        (row,) = connection.execute(sa.select(b)).all()
        connection.execute(sa.delete(b))
    report = Report("bounce", (RecipientResult("gone@x.example", reason="expired"),))
    clue = Clues((("message-id", ops.queue.mail(number).message_id),))
    with ops.engine.begin() as connection:
        ops.bounces.enter(connection, report, clue, raw=row.raw)
    assert ops.queue.mail(number).deliveries[0].state.label == "Bounced"
    assert counted(ops) == 1
    (change,) = ops.suppressions.diff()
    assert (change.was[0], change.now[0]) == ("bounce", "delayed")
    ops.suppressions.apply([change])
    assert ops.queue.mail(number).deliveries[0].state.label == "Sent"
    assert ops.queue.mail(number).state.label == "Sent"
    assert (counted(ops), kinds(ops, number)[-1]) == (0, "bounced_in_error")
    assert ops.analysis.overall().returned == 0


def test_a_failure_that_was_taken_for_a_delay_is_marked(world: Any) -> None:
    ops, number, original = world
    ops.bounces.take(dsn(original))
    judged_wrongly(ops, kind="delayed", reason="expired", hard=False)
    with ops.engine.begin() as connection:
        connection.execute(sa.delete(e).where(e.c.kind == "bounced"))
        connection.execute(sa.delete(t).where(t.c.outcome == "bounced"))
        connection.execute(sa.update(t).where(t.c.outcome == "sent").values(count=1))
        connection.execute(sa.update(d).values(state="sent", reason=None))
        connection.execute(sa.delete(schema.suppressions))
    ops.suppressions.apply(ops.suppressions.diff())
    assert ops.queue.mail(number).deliveries[0].state.label == "Bounced"
    assert counted(ops) == 1
    found = ops.suppressions.find("gone@x.example")
    assert found is not None
    assert found.state == "active"


def test_two_processes_that_take_the_same_report_note_it_once(world: Any) -> None:
    ops, number, original = world
    raw, starting = dsn(original), Barrier(4)

    def take(_: int) -> bool:
        mine = Ops.open(ops.workspace.path)
        try:
            starting.wait(20)
            return mine.bounces.take(raw).repeated
        finally:
            mine.close()

    with ThreadPoolExecutor(4) as pool:
        repeated = sorted(pool.map(take, range(4)))
    assert repeated == [False, True, True, True]
    assert kinds(ops, number).count("bounced") == 1
    assert ops.suppressions.page()[1] == 1


def test_different_reports_at_once_list_an_address_once(world: Any) -> None:
    ops, _, original = world
    starting = Barrier(4)

    def take(name: int) -> None:
        mine = Ops.open(ops.workspace.path)
        try:
            starting.wait(20)
            mine.bounces.take(dsn(original, host=f"mx{name}.x.example"))
        finally:
            mine.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(take, range(4)))
    assert ops.suppressions.page()[1] == counted(ops) == 1
