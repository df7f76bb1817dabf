"""Followers see every fact once, in a stable order, whoever writes meanwhile and whatever is rolled back."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
import sqlalchemy as sa
from furnish import furnish
from typer.testing import CliRunner

from mailops import Ops
from mailops.cli.app import app
from mailops.errors import ConfigError, InputRefused, NotFound
from mailops.ledger.book import note
from mailops.ledger.facts import Fact
from mailops.ledger.follow import Told
from mailops.store import schema
from mailops.testing import ManualClock, SmtpServer
from mailops.testing.smtp_script import Rule
from mailops.widgets import FollowersCard

e = schema.events


def every(ops: Ops) -> list[int]:
    with ops.engine.connect() as connection:
        return [int(row[0]) for row in connection.execute(sa.select(e.c.id).order_by(e.c.id))]


def told(ops: Ops, name: str, **more: object) -> list[Told]:
    got: list[Told] = []
    ops.followers.follow(name, got.extend, **more)  # type: ignore[arg-type]
    return got


def remark(ops: Ops, number: int) -> None:
    with ops.engine.begin() as connection:
        note(connection, Fact("remark", ops.clock.now(), data={"n": number}))


def test_every_fact_is_handed_over_once_while_others_write_and_roll_back(ops_on: Callable[..., Ops]) -> None:
    ops, seed = ops_on(), 11
    writing = threading.Event()
    faults: list[BaseException] = []

    def write(who: int) -> None:
        chance = random.Random(seed + who)
        try:
            for number in range(40):
                with ops.engine.connect() as connection:
                    ours = connection.begin()
                    note(connection, Fact("remark", ops.clock.now(), data={"who": who, "n": number}))
                    writing.wait(chance.random() / 100)  # how long it stays open
                    ours.rollback() if chance.random() < 0.2 else ours.commit()
        except BaseException as fault:
            faults.append(fault)

    got: list[Told] = []
    writers = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for one in writers:
        one.start()
    while any(one.is_alive() for one in writers):
        ops.followers.follow("archive", got.extend, limit=7)
    ops.followers.follow("archive", got.extend)
    assert not faults
    assert Counter(one.id for one in got) == Counter(every(ops))
    assert [one.id for one in told(ops, "second")] == [one.id for one in got], "the order is the same for everybody"
    for who in range(4):
        numbers = [one.fact.data["n"] for one in got if one.fact.data and one.fact.data["who"] == who]
        assert numbers == sorted(numbers)


@pytest.mark.postgres
def test_a_late_commit_with_a_low_number_is_not_passed(ops_factory: Callable[..., Ops], fresh_postgres: str) -> None:
    ops = ops_factory(database=fresh_postgres)
    with ops.engine.connect() as late:
        open_ = late.begin()
        note(late, Fact("remark", ops.clock.now(), data={"n": 1}))
        remark(ops, 2)
        assert told(ops, "archive") == [], "an older transaction is still open"
        open_.commit()
    assert [one.fact.data["n"] for one in told(ops, "archive") if one.fact.data] == [1, 2]
    assert told(ops, "archive") == []


def test_what_the_receiver_did_not_take_comes_again_with_the_same_numbers(ops_on: Callable[..., Ops]) -> None:
    ops = ops_on()
    for number in range(3):
        remark(ops, number)
    seen: list[int] = []

    def take(facts: Sequence[Told]) -> None:
        seen.extend(one.id for one in facts)
        raise OSError("the other side is away")

    with pytest.raises(OSError, match="away"):
        ops.followers.follow("alerts", take)
    assert [one.id for one in told(ops, "alerts")] == seen == every(ops)
    remark(ops, 4)
    remark(ops, 5)
    assert [one.behind for one in ops.followers.all()] == [2]
    assert told(ops, "new", fresh=True) == []
    remark(ops, 6)
    assert len(told(ops, "new")) == 1


def test_two_at_once_under_one_name(ops_on: Callable[..., Ops]) -> None:
    ops = ops_on()
    remark(ops, 1)

    def take(facts: Sequence[Told]) -> None:
        with pytest.raises(ConfigError) as refused:
            told(ops, "alerts")
        assert refused.value.code == "follow.busy"
        assert len(told(ops, "another")) == 1

    assert ops.followers.follow("alerts", take) == 1
    assert told(ops, "alerts") == [], "free again"


def test_age_does_not_pass_a_follower_and_a_request_does(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock()
    with SmtpServer([Rule("rcpt", "reply", 550, "5.1.1", "No such user", recipient="gone*")]) as smtp:
        ops = ops_on(clock=clock, toml="\n[retention]\naddresses_days = 30\n")
        furnish(ops, smtp)
        ops.followers.follow("archive", lambda facts: None)
        for name in ("gone", "bob"):
            ops.send(to=[f"{name}@x.example"], sender="ann@acme.example", subject="Hi", text="Hi")
        ops.queue.run()
    clock.advance(timedelta(days=100).total_seconds())
    ops.vacuum()
    assert any(line.fact.recipient == "gone@x.example" for line in told(ops, "other"))
    ops.followers.remove("other")
    ops.forget("bob@x.example")
    had = told(ops, "archive")
    assert {one.fact.recipient for one in had if one.fact.kind == "failed"} == {"gone@x.example"}
    assert not any(one.fact.recipient == "bob@x.example" for one in had), "a person's request does not wait"
    ops.vacuum()
    assert not any(one.fact.recipient == "gone@x.example" for one in told(ops, "late"))


def test_the_faces(sqlite_ops: Ops) -> None:
    ops = sqlite_ops
    place = str(ops.workspace.path)
    for number in range(3):
        remark(ops, number)
    child = [sys.executable, "-m", "mailops", "-w", place, "facts"]
    done = subprocess.run([*child, "follow", "export", "--limit", "2"], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["id"], line["kind"], line["data"]) for line in lines] == [
        (1, "remark", {"n": 0}),
        (2, "remark", {"n": 1}),
    ]
    assert "export: 1 behind" in FollowersCard(ops).text()
    assert "export" in FollowersCard(ops).html()
    run = CliRunner()
    found = json.loads(run.invoke(app, ["-w", place, "facts", "list", "--json"]).stdout)
    assert [(one["name"], one["behind"]) for one in found] == [("export", 1)]
    done = subprocess.run([*child, "follow", "export"], capture_output=True, text=True, check=True)
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [3]
    assert run.invoke(app, ["-w", place, "facts", "remove", "export"]).exit_code == 0
    assert isinstance(run.invoke(app, ["-w", place, "facts", "remove", "export"]).exception, NotFound)
    assert "Nobody follows" in run.invoke(app, ["-w", place, "facts", "list"]).stdout
    with pytest.raises(InputRefused):
        told(ops, "../etc")
