"""What comes back to the demonstration is what it says came back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from mailops import Ops
from mailops.demo.received import BROKEN, CUSTOMERS, ROBOT, receive
from mailops.demo.world import World, furnish
from mailops.testing import ManualClock


def test_answers_tickets_a_robot_a_made_up_token_and_the_shelf(ops_factory: Callable[..., Ops]) -> None:
    ops = ops_factory(clock=ManualClock())
    with World() as world:
        furnish(ops, world.ports)
        said, report = receive(ops)
        sent = [recipient for server in world.servers.values() for m in server.messages for recipient in m.recipients]
    assert sorted(sent) == sorted(f"{who}@bigmail.example" for who in CUSTOMERS)
    assert (report.sent, report.failed) == (3, 0)
    records, total = ops.desk.records(model="ticket")
    assert total == 3
    kinds = Counter(line.decision for line in ops.inbound.log(limit=1000)[0])
    assert kinds["create"] == 3
    assert kinds["reply"] == 2 + 20
    assert kinds["loop_blocked"] == ROBOT - 20
    assert sum(row.entries for row in records) == 3 + 3 + 22
    token = next(line for line in ops.inbound.log(limit=1000)[0] if "+r1-1-" in line.recipients)
    assert token.decision in ("no_route", "refused")
    [lying] = ops.shelf.mails()
    assert (lying.subject, lying.tries) == (BROKEN, 3)
    assert len(said) == 3
    assert f"{ROBOT - 20} of them are dropped" in said[1]
    assert all(one.counts.adds_up for one in ops.intake.ledger().sums)
    assert ops.shelf.retry([lying.id]).left == 0  # it can be read: nothing was wrong with it
