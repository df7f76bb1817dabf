"""Logs that a real Postfix wrote are reconciled with the books of the servers it delivered to.

Two instances on loopback: the first takes mail, hands some to a program and the rest to the second, which delivers to
scripted servers that take, refuse for good, put off for a while, and put off until the queue gives up. Every recipient
in the books is joined with the answer that was given, and none is told of that the books do not have.
"""

from __future__ import annotations

import contextlib
import re
import smtplib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from pathlib import Path

import pytest
import sqlalchemy as sa
from realservers_kit import Relay, relay

from mailops import Ops
from mailops.store import schema
from mailops.testing import SmtpServer, defer, greylist, refuse

pytestmark = pytest.mark.timeout(120)
MAILS = 12
LIFETIME = 4
SETTLE_SECONDS = 40
STAMP = re.compile(r"^\w{3} [ \d]\d (\d\d:\d\d:\d\d) ")


@dataclass
class World:
    """What was written and what the books say: ``fates`` by Message-ID and recipient."""

    lines: list[str]
    fates: dict[tuple[str, str], str]
    sink: SmtpServer
    reports: SmtpServer
    mails: list[str] = field(default_factory=list)


def settled(relays: list[Relay]) -> list[str]:
    """Both logs in one order of time, once every queue id that was taken was removed."""
    end = time.monotonic() + SETTLE_SECONDS
    while True:
        texts = [(one.folder / "maillog").read_text("utf-8") for one in relays]
        lines = [line for text in texts for line in text.splitlines()]
        waiting = []
        for text in texts:
            taken = set(re.findall(r"(?:cleanup\[\d+\]): (\w+): message-id=", text))
            waiting += sorted(taken - set(re.findall(r"qmgr\[\d+\]: (\w+): removed", text)))
        if not waiting and lines:
            return sorted(lines, key=lambda line: line[:15])  # sorted is stable: within a second as each wrote it
        if time.monotonic() > end:
            pytest.fail(f"still queued: {waiting}; {relays[0].log()[-3000:]}")
        time.sleep(0.1)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    plain = {"PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE"}
    rules = [
        refuse("gone*", 550, "5.1.1", "No such user here"),
        defer("slow*", 451, "4.2.2", "Mailbox busy"),
        greylist(recipient="grey*", times=1, seconds=0.5),
    ]
    with contextlib.ExitStack() as stack:
        sink, reports = stack.enter_context(SmtpServer(rules, extensions=plain)), stack.enter_context(SmtpServer())
        away = {"away.example": ("127.0.0.1", sink.port), "acme.example": ("127.0.0.1", reports.port)}
        out = stack.enter_context(relay("postfix", away, "127.0.0.1", LIFETIME, instance="mta-out"))
        inner = {"away.example": ("127.0.0.1", out.port), "acme.example": ("127.0.0.1", reports.port)}
        first = stack.enter_context(
            relay("postfix", inner, "127.0.0.1", LIFETIME, instance="mta-in", pipes="pipe.example")
        )
        fates: dict[tuple[str, str], str] = {}
        with smtplib.SMTP("127.0.0.1", first.port, timeout=20) as client:
            for number in range(MAILS):
                mail = EmailMessage()
                mail["From"], mail["To"], mail["Subject"] = (
                    "Ann <ann@acme.example>",
                    "many@away.example",
                    f"Mail {number}",
                )
                mail["Message-ID"] = f"<{number}.log@acme.example>"
                mail.set_content("Hello")
                people = [f"ok{number}@away.example", f"file{number}@pipe.example"]
                people += [
                    f"{word}{number}@away.example"
                    for word, every in (("gone", 2), ("grey", 3), ("slow", 6))
                    if number % every == 0
                ]
                client.send_message(mail, "ann@acme.example", people)
                for person in people:
                    kind = {"ok": "sent", "grey": "sent", "gone": "failed", "slow": "failed", "file": "here"}
                    fates[mail["Message-ID"], person] = kind[re.match(r"[a-z]+", person)[0]]  # type: ignore[index]
        lines = settled([first, out])
        yield World(lines, fates, sink, reports, [f"<{number}.log@acme.example>" for number in range(MAILS)])


def books(server: SmtpServer) -> set[tuple[str, str]]:
    """Message-ID and recipient of what a server took."""
    parser = BytesHeaderParser()
    return {
        (parser.parsebytes(message.data)["Message-ID"], recipient)
        for message in server.messages
        for recipient in message.recipients
    }


def told(ops: Ops) -> dict[tuple[str, str], str]:
    """The last outcome of each sending, from the facts."""
    e = schema.events
    with ops.engine.connect() as connection:
        rows = connection.execute(
            sa.select(e.c.message_id, e.c.recipient, e.c.kind).where(e.c.kind.in_(("sent", "failed"))).order_by(e.c.id)
        ).all()
    return {(row.message_id, row.recipient): row.kind for row in rows}


def reconciled(ops: Ops, world: World) -> None:
    outcomes = told(ops)
    assert outcomes == {which: kind for which, kind in world.fates.items() if kind != "here"}
    assert {which for which, kind in outcomes.items() if kind == "sent"} == books(world.sink)
    assert ops.analysis.overall().addressed == len(outcomes)
    for message_id in world.mails:
        (journey,) = ops.trace(message_id).journeys
        mine = {person: kind for (name, person), kind in world.fates.items() if name == message_id}
        states = {path.recipient: path.state for path in journey.paths}
        assert states == {
            p: {"sent": "held", "failed": "refused", "here": "delivered"}[kind] for p, kind in mine.items()
        }
        assert journey.unjoined == ()
        (ok,) = (path for path in journey.paths if path.recipient.startswith("ok"))
        assert ok.answer.startswith("250 ")
        assert list(dict.fromkeys(h for h in journey.holders if h.startswith("mx/"))) == ["mx/mta-in", "mx/mta-out"]
    assert ops.books().agree


@pytest.mark.req("INC-04")
def test_every_mail_of_two_instances_is_joined_and_none_invented(
    world: World, ops_factory: Callable[..., Ops], tmp_path: Path
) -> None:
    path = tmp_path / "mail.log"
    path.write_text("\n".join(world.lines) + "\n", "utf-8")
    ops = ops_factory()
    done = ops.logs.take(path)
    assert (done.seen.broken, done.seen.foreign, done.seen.unknown, done.taken.unjoined) == (0, 0, 0, 0)
    reconciled(ops, world)
    assert not ops.logs.take(path).taken.facts
    sent_back = books(world.reports)
    assert ops.analysis.failures()[1] == sum(1 for kind in world.fates.values() if kind == "failed")
    assert {name for name, _ in sent_back} <= {j.message_id for j in ops.trace("ann@acme.example").journeys}


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_the_same_after_a_rotation_in_mid_transaction(
    world: World, ops_factory: Callable[..., Ops], tmp_path: Path, share: float
) -> None:
    cut = int(len(world.lines) * share)
    parts = [("mail.log.1", world.lines[:cut]), ("mail.log", world.lines[cut:])]
    for name, lines in parts:
        (tmp_path / name).write_text("\n".join(lines) + "\n", "utf-8")
    ops = ops_factory()
    for name, _ in parts:
        ops.logs.take(tmp_path / name)
    reconciled(ops, world)


def test_the_newer_file_taken_first_is_traced_all_the_same(
    world: World, ops_factory: Callable[..., Ops], tmp_path: Path
) -> None:
    cut = len(world.lines) // 2
    ops = ops_factory()
    for name, lines in (("mail.log", world.lines[cut:]), ("mail.log.1", world.lines[:cut])):
        (tmp_path / name).write_text("\n".join(lines) + "\n", "utf-8")
        ops.logs.take(tmp_path / name)
    for message_id in world.mails:
        (journey,) = ops.trace(message_id).journeys
        ends = {path.recipient: path.state for path in journey.paths}
        kinds = {"sent": "held", "failed": "refused", "here": "delivered"}
        assert ends == {p: kinds[kind] for (name, p), kind in world.fates.items() if name == message_id}
