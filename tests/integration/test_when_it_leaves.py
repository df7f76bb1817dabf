"""Who wakes the queue and who waits for its job (CRON-01, 02, 03, 07; QUE-07)."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from furnish import furnish
from test_old_stores import cli
from test_relay_notebook import press
from test_serve import serving

from mailops import Ops
from mailops.errors import InputRefused, NotFound
from mailops.model.mail import Submission
from mailops.model.setup import MailClass
from mailops.model.states import MailState, Rank
from mailops.queue.job import AWAKE, JOB, leaving, next_job, times
from mailops.settings import QueueSection
from mailops.testing import ManualClock, SmtpServer, refuse, slow
from mailops.widgets.queue_view import mail_html

AT = datetime(2026, 11, 30, 13, 20, tzinfo=UTC)


def put(ops: Ops, to: str = "u@x.example", **more: Any) -> int:
    return ops.queue.submit(Submission(sender="ann@acme.example", to=(to,), subject="s", text="t", **more))


@pytest.mark.req("CRON-03")
def test_the_job_runs_every_hour_on_the_hour_by_default() -> None:
    minutes = QueueSection().interval_minutes
    assert minutes == 60
    assert next_job(AT, minutes) == AT.replace(hour=14, minute=0)
    assert next_job(AT.replace(minute=0), minutes) == AT.replace(hour=14, minute=0)
    assert next_job(AT, 15) == AT.replace(minute=30)


@pytest.mark.req("CRON-01", "CRON-02", "QUE-07")
def test_every_page_says_when_a_waiting_mail_leaves(ops_factory: Callable[..., Ops]) -> None:
    clock = ManualClock(AT)
    with SmtpServer([refuse("gone@*")]) as smtp:
        ops = ops_factory(clock=clock)
        furnish(ops, smtp)
        retried = put(ops, "gone@x.example")
        ops.queue.run()
        ops.queue.retry(retried)
        mass, daily = put(ops, mail_class=MailClass.MASS), put(ops)
        later = put(ops, scheduled_at=AT + timedelta(days=1))
        said = {number: ops.queue.mail(number).leaves for number in (retried, mass, daily, later)}
        assert (
            said[retried] == said[mass] == "leaves with the queue job at 13:30 UTC"
        )  # every 15 minutes in a new workspace
        assert (said[daily] or "").startswith("leaves at once")
        assert said[later] == "leaves at 2026-12-01 13:20 UTC, its own time"
        assert {mail.id: mail.leaves for mail in ops.queue.page().mails} == said
        assert "leaves with the queue job at 13:30 UTC" in mail_html(ops, mass)
        at = ops.queue.trigger(AT + timedelta(minutes=5))  # CRON-07
        assert at == AT + timedelta(minutes=5)
        assert ops.queue.mail(mass).leaves == "leaves with the queue job at 13:25 UTC"
        ops.queue.run()
        assert ops.queue.mail(mass).leaves is None
        assert ops.queue.mail(retried).state is MailState.FAILED


def test_the_command_line_says_it_too(sqlite_ops: Ops) -> None:
    ops = sqlite_ops
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        mass = put(ops, mail_class=MailClass.MASS)
    [listed] = cli(ops.workspace.path, "queue", "list")["mails"]
    assert listed["leaves"].startswith("leaves with the queue job at ")
    assert cli(ops.workspace.path, "queue", "show", str(mass))["mail"]["leaves"] == listed["leaves"]
    assert datetime.fromisoformat(cli(ops.workspace.path, "queue", "trigger")["at"]) <= datetime.now(UTC)


def test_a_woken_run_leaves_what_is_the_job_s(sqlite_ops: Ops) -> None:
    ops = sqlite_ops
    with SmtpServer([refuse("gone@*")]) as smtp:
        furnish(ops, smtp)
        retried = put(ops, "gone@x.example")
        ops.queue.worker().run(ranks=AWAKE)
        ops.queue.retry(retried)
        mass, daily = put(ops, mail_class=MailClass.MASS), put(ops)
        ops.queue.worker().run(ranks=AWAKE)
        states = {number: ops.queue.mail(number).state for number in (retried, mass, daily)}
        assert states == {retried: MailState.OUTGOING, mass: MailState.OUTGOING, daily: MailState.SENT}
        report = ops.queue.run()
        assert (report.sent, report.failed) == (1, 1)


@contextmanager
def attending(ops: Ops) -> Iterator[list[tuple[float, tuple[Rank, ...]]]]:
    """Who attends the queue, and what it is told when."""
    told: list[tuple[float, tuple[Rank, ...]]] = []
    over = threading.Event()

    def attend() -> None:
        attention = ops.queue.attend()
        while ranks := attention.wait(over, 60.0):
            ops.queue.worker().run(ranks=ranks)
            told.append((time.monotonic(), ranks))
        attention.close()

    thread = threading.Thread(target=attend)
    thread.start()
    try:
        yield told
    finally:
        over.set()
        thread.join(20)
        assert not thread.is_alive()


def leaves_within_a_second(smtp: SmtpServer, hand_in: Callable[[], object]) -> None:
    """The quickest of three: a machine that does other things as well may be late once."""
    spans = []
    for _ in range(3):
        there = smtp.accepted
        hand_in()
        began = time.monotonic()
        while smtp.accepted == there:
            assert time.monotonic() - began < 15.0
            time.sleep(0.01)
        spans.append(time.monotonic() - began)
        if spans[-1] < 1.0:
            return
    raise AssertionError(spans)


@pytest.mark.req("CRON-02", "CRON-07")
def test_what_is_handed_in_wakes_and_a_trigger_runs_the_job(ops_on: Callable[..., Ops]) -> None:
    ops = ops_on()
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        with attending(ops) as told:
            time.sleep(0.5)
            mass = put(ops, mail_class=MailClass.MASS)
            time.sleep(0.5)
            assert ops.queue.mail(mass).state is MailState.OUTGOING
            leaves_within_a_second(smtp, lambda: put(ops))
            assert ops.queue.mail(mass).state is MailState.OUTGOING
            before, there = times(ops.engine)[JOB], smtp.accepted
            ops.queue.trigger()
            began = time.monotonic()
            while smtp.accepted == there:
                assert time.monotonic() - began < 5.0
                time.sleep(0.01)
            assert times(ops.engine)[JOB] > before
        assert told[-1][1] == tuple(Rank)


@pytest.mark.slow
@pytest.mark.req("CRON-01", "CRON-02")
def test_a_mail_of_another_process_leaves_within_a_second(ops_on: Callable[..., Ops]) -> None:
    """At 6f79daf ``mailops serve`` looks every 30 s."""
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        with serving(ops):
            time.sleep(1.0)
            mass = put(ops, mail_class=MailClass.MASS)
            leaves_within_a_second(smtp, lambda: put(ops))
            command = [sys.executable, "-m", "mailops", "-w", str(ops.workspace.path), "send"]
            command += ["--from", "ann@acme.example", "--to", "v@x.example", "--subject", "s", "--text", "t"]
            leaves_within_a_second(smtp, lambda: subprocess.run(command, check=True))
        assert ops.queue.mail(mass).state is MailState.OUTGOING


def test_leaving_is_nothing_for_what_left(sqlite_ops: Ops) -> None:
    with SmtpServer() as smtp:
        furnish(sqlite_ops, smtp)
        number = put(sqlite_ops)
        sqlite_ops.queue.run()
    assert leaving(sqlite_ops.queue.mail(number), now=AT, minutes=60) is None
    assert Path(sqlite_ops.workspace.path).is_dir()


@pytest.mark.parametrize("connections", [10, 1])
def test_a_run_that_new_mail_keeps_alive_does_not_make_the_job_late(sqlite_ops: Ops, connections: int) -> None:
    """Not even where it comes in twice as fast as one connection takes it."""
    ops, over = sqlite_ops, threading.Event()
    with SmtpServer([slow("body", 0.05)]) as smtp:
        furnish(ops, smtp, max_sessions=connections)
        mass = put(ops, mail_class=MailClass.MASS)
        attention = ops.queue.attend()
        assert attention.wait(threading.Event(), 0) == AWAKE

        def feed() -> None:
            limit = time.monotonic() + 80
            while not over.is_set() and time.monotonic() < limit:
                put(ops)
                time.sleep(0.02)

        for _ in range(20):
            put(ops)  # so that the run does not end before the first one is there
        feeder = threading.Thread(target=feed)
        feeder.start()
        worker = ops.queue.worker()
        run = threading.Thread(target=worker.run, kwargs={"ranks": AWAKE, "also": attention.joining})
        run.start()
        try:
            time.sleep(0.5)
            assert ops.queue.mail(mass).state is MailState.OUTGOING
            assert run.is_alive()
            ops.queue.trigger()
            limit = time.monotonic() + 60
            while ops.queue.mail(mass).state is MailState.OUTGOING and time.monotonic() < limit:
                time.sleep(0.1)
            assert ops.queue.mail(mass).state is MailState.SENT, "it leaves although the run goes on"
            assert feeder.is_alive()
        finally:
            over.set()
            feeder.join()
            run.join(30)
            attention.close()


def test_the_notebook_holds_a_domain_and_lets_the_job_run(sqlite_ops: Ops) -> None:
    from mailops.widgets import waits_panel

    page = waits_panel(sqlite_ops)
    assert "Mail to x.example waits until" in press(page, "Hold", domain="X.example.", hours="2", why="They are down")
    [held] = sqlite_ops.queue.holds()
    assert (held.domain, held.why, held.actor) == ("x.example", "They are down", "notebook")
    assert "They are down" in waits_panel(sqlite_ops).text()
    with pytest.raises(InputRefused, match="no number"):
        press(page, "Hold", domain="x.example", hours="two")
    assert "leaves again" in press(page, "End", domain="x.example")
    assert sqlite_ops.queue.holds() == []
    with pytest.raises(NotFound):
        press(page, "End", domain="x.example")
    assert "nothing does now" in press(page, "Run")
    assert sqlite_ops.queue.next_job <= sqlite_ops.clock.now()
