"""Robots that answer each other fall silent, people are not blocked with them, and an allow-list opens the door."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from test_intake import furnish

from mailops import Ops
from mailops.errors import ConfigError
from mailops.testing import ManualClock


@pytest.fixture
def ops(ops_factory: Callable[..., Ops]) -> Ops:
    made = furnish(ops_factory(clock=ManualClock()))
    made.set_parameter("mail.gateway.loop.threshold", "4")
    return made


def robot(number: int, *, to: str, sender: str = "", text: str = "", more: str = "") -> bytes:
    return (
        f"From: {sender or f'verp-{number}=help@robot.example'}\nTo: {to}\nSubject: Re: ticket {number}\n"
        f"Message-ID: <r{number}.{hash(text) % 1000}@robot.example>\n{more}\n{text or f'Thank you, number {number}!'}\n"
    ).encode()


@pytest.mark.req("IN-45", "IN-46")
@pytest.mark.parametrize("to", ["help@acme.example", "catchall@acme.example"])
def test_a_robot_that_changes_its_address_each_time_ends_in_silence(ops: Ops, to: str) -> None:
    found = [ops.inbound.receive(robot(number, to=to)) for number in range(20)]
    kinds = Counter(one.kind.value for one in found)
    answered = [bool(one.notices) for one in found]
    assert not any(answered[8:]), answered
    if to.startswith("help"):
        assert kinds == {"create": 4, "loop_blocked": 16}
        assert answered[4:8] == [True] * 4
        assert found[-1].code == "loop_alike"
    else:
        assert kinds == {"refused": 20}
        assert sum(answered) == 8
    other = ops.inbound.receive(robot(99, to="help@acme.example", sender="mary@x.example", text="Something else."))
    assert other.kind == "create"
    same = ops.inbound.receive(robot(98, to="help@acme.example", sender="mary@else.example"))
    assert same.kind == "create"  # the same words from elsewhere are somebody else's
    ops.clock.advance(121 * 60)  # type: ignore[attr-defined]  # a clock set by hand
    assert ops.inbound.receive(robot(200, to="help@acme.example")).kind == "create"


def test_a_record_takes_only_so_much_automatic_mail(ops: Ops) -> None:
    first = ops.inbound.receive(robot(0, to="help@acme.example", sender="bob@x.example", text="The lamp."))
    assert first.kind == "create"
    auto = f"References: {first.message_id}\nAuto-Submitted: auto-replied\n"
    kinds = []
    for number in range(1, 8):
        raw = robot(number, to="catchall@acme.example", sender="bob@x.example", text=f"Away {number}", more=auto)
        kinds.append(ops.inbound.receive(raw).kind.value)
    assert kinds == ["reply"] * 4 + ["loop_blocked"] * 3
    by_hand = robot(50, to="catchall@acme.example", sender="bob@x.example", text="I am here.", more=f"References: {first.message_id}\n")  # fmt: skip
    assert ops.inbound.receive(by_hand).kind == "reply"  # what people write is never counted


@pytest.mark.req("IN-53")
def test_who_is_on_the_allow_list_is_never_blocked(ops: Ops) -> None:
    ops.set_parameter("mail.gateway.allowed", " SHOP@x.example , @Robot.example")
    assert ops.setup.parameters["mail.gateway.allowed"] == "@robot.example,shop@x.example"
    for sender in ("", "shop@x.example"):
        for number in range(10):
            raw = robot(number, to="help@acme.example", sender=sender, text=f"{sender} order {number}")
            assert ops.inbound.receive(raw).kind == "create"
    with pytest.raises(ConfigError):
        ops.set_parameter("mail.gateway.allowed", "nothing, at all")
    ops.set_parameter("mail.gateway.allowed", None)
    assert ops.inbound.receive(robot(77, to="help@acme.example")).kind == "create"
    assert ops.inbound.receive(robot(78, to="help@acme.example", sender="shop@x.example")).kind == "loop_blocked"
