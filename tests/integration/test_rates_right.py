"""What goes into a bounce rate, and into which day's: the right values of hand-made stores, asked from the faces."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from furnish import furnish
from typer.testing import CliRunner

from mailops import Ops
from mailops.model.setup import RetryPolicy
from mailops.testing import ManualClock, SmtpServer
from mailops.testing.dsn import build_dsn
from mailops.testing.smtp_script import Rule

DAY = 86_400
GONE = Rule("rcpt", "reply", 550, "5.1.1", "User unknown", recipient="dead*")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 3, 1, 9, tzinfo=UTC))


def send(ops: Ops, *people: str) -> list[int]:
    ids = [ops.send(to=[who], sender="ann@acme.example", subject="x", text="x") for who in people]
    ops.queue.run()
    return ids


def back(ops: Ops, smtp: Any, *people: str) -> None:
    mails = {message.recipients[0]: bytes(message.data) for message in smtp.messages}
    for who in people:
        ops.bounces.take(build_dsn(mails[who], who, "5.1.1", "550 5.1.1 User unknown", "mx.x.example"))


@pytest.fixture
def late(ops_factory: Callable[..., Ops], clock: ManualClock) -> Iterator[Ops]:
    """100 leave on 1 March, 5 of them come back on 2 March; 3 good ones leave on 9 March."""
    with SmtpServer() as smtp:
        ops = ops_factory(clock=clock)
        furnish(ops, smtp)
        people = [f"u{n}@x.example" for n in range(100)]
        send(ops, *people)
        clock.advance(DAY)
        back(ops, smtp, *people[:5])
        clock.advance(7 * DAY)
        send(ops, "a@x.example", "b@x.example", "c@x.example")
        yield ops


def test_a_return_counts_on_the_day_its_mail_left(late: Ops) -> None:
    recent = late.analysis.overall("7d")
    assert (recent.returned, recent.addressed) == (0, 3)
    everything = late.analysis.overall(None)
    assert (everything.returned, everything.addressed) == (5, 103)
    days = late.analysis.bounce_rate("day", None)
    assert days[["day", "returned", "addressed"]].to_numpy().tolist() == [["2026-03-01", 5, 100], ["2026-03-09", 0, 3]]
    weeks = late.analysis.bounce_rate("week", None)
    assert weeks[["returned", "addressed"]].to_numpy().tolist() == [[5, 100], [0, 3]]
    assert late.analysis.trend(None).equals(days)
    assert late.analysis.compared("7d").verdict != "higher"
    assert late.analysis.causes("7d").empty
    assert late.analysis.split("7d").hard == 0
    addresses = late.analysis.addresses("7d")
    assert (addresses.returned, addresses.addressed) == (0, 3)
    assert late.analysis.failures(None, by="day", value="2026-03-01")[1] == 5


def test_the_command_says_the_same(late: Ops) -> None:
    from mailops.cli import commands  # noqa: F401
    from mailops.cli.app import app

    words = ["-w", str(late.workspace.path), "queue", "rates", "--by", "day", "--json", "--since", "2026-02-01"]
    rows = json.loads(CliRunner().invoke(app, words).stdout)
    assert [(row["day"], row["returned"], row["addressed"]) for row in rows] == [
        ("2026-03-01", 5, 100),
        ("2026-03-09", 0, 3),
    ]


def test_seven_days_are_seven_days(late: Ops, clock: ManualClock) -> None:
    clock.advance(6 * DAY)  # 15 March: 9 to 15 March are seven days
    assert late.analysis.overall("7d").addressed == 3
    clock.advance(DAY)
    assert late.analysis.overall("7d").addressed == 0
    assert late.analysis.overall("1w").addressed == 0
    assert late.analysis.overall("8d").addressed == 3


@pytest.mark.parametrize("stage", ["connect", "mail"])
def test_what_was_not_handed_over_is_nobody_s_bounce(
    ops_factory: Callable[..., Ops], clock: ManualClock, stage: str
) -> None:
    """A server that is away until it is given up, and one that wants a sign-in: no recipient was named."""
    rules = [Rule("mail", "reply", 530, "5.7.0", "Authentication required")] if stage == "mail" else []
    with SmtpServer(rules) as smtp:
        ops = ops_factory(clock=clock)
        away = {"port": 1} if stage == "connect" else {}
        furnish(ops, smtp, retry=RetryPolicy(first=60, cap=60, give_up=120), **away)
        numbers = [
            ops.send(to=[who], sender="ann@acme.example", subject="x", text="x")
            for who in ("a@x.example", "b@y.example")
        ]
        for _ in range(5):
            ops.queue.run()
            clock.advance(120)
    assert {ops.queue.mail(number).state.value for number in numbers} == {"failed"}
    assert ops.analysis.bounce_rate("domain", None)["returned"].sum() == 0
    assert ops.analysis.overall(None).addressed == 0
    assert ops.analysis.volume(None)["undelivered"].tolist() == [2]
    assert ops.analysis.causes(None).empty
    assert ops.books().agree


def test_a_recipient_of_a_mail_counts_once_however_often_it_is_tried(
    ops_factory: Callable[..., Ops], clock: ManualClock
) -> None:
    with SmtpServer([GONE]) as smtp:
        ops = ops_factory(clock=clock)
        furnish(ops, smtp)
        _, dead = send(ops, "good@x.example", "dead@x.example")
        for _ in range(3):
            clock.advance(DAY)
            assert ops.queue.retry(dead).count == 1
            ops.queue.run()
        found = ops.analysis.overall(None)
        assert (found.returned, found.addressed) == (1, 2)
        assert ops.analysis.split(None).hard == 1
        assert ops.books().agree


def test_the_last_outcome_counts(ops_factory: Callable[..., Ops], clock: ManualClock) -> None:
    """Two leave, one comes back, is tried again and taken."""
    with SmtpServer() as smtp:
        ops = ops_factory(clock=clock)
        furnish(ops, smtp)
        _, returned = send(ops, "a@x.example", "b@x.example")
        back(ops, smtp, "b@x.example")
        assert ops.analysis.overall(None).returned == 1
        clock.advance(DAY)
        assert ops.queue.retry(returned).count == 1
        ops.queue.run()
        found = ops.analysis.overall(None)
        assert (found.returned, found.addressed) == (0, 2)
        assert ops.analysis.bounce_rate("day", None)["addressed"].tolist() == [2]
        assert ops.analysis.causes(None).empty
        assert ops.books().agree
