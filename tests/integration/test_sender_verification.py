"""A provider's activation mails reach the technical addresses, and everything is put back, also after a kill."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mailops import Ops
from mailops.errors import NotFound, StateConflict
from mailops.model.setup import AliasDomain, Company
from mailops.threads.verification import SenderVerification, pending


def activation(to: str, n: int) -> bytes:
    return (
        f"From: Mail provider <activation@provider.example>\r\nTo: {to}\r\nSubject: Activate {to}\r\n"
        f"Message-ID: <activate-{n}@provider.example>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\n"
        f"Press https://provider.example/activate?key={n}abc to activate.\r\n"
    ).encode()


@pytest.fixture
def ops(ops_on: Callable[..., Ops]) -> Ops:
    made = ops_on()
    made.save_alias_domain(AliasDomain("acme.example"))
    made.save_company(Company("acme", "Acme", "info@acme.example"))
    return made


@pytest.mark.req("MJ-13", "IN-33")
def test_the_three_addresses_receive_their_links_and_everything_is_restored(ops: Ops) -> None:
    helper = SenderVerification(ops.engine, "acme.example", clock=ops.clock)
    assert set(helper.begin().local_parts) == {"notifications", "bounce", "catchall"}
    [domain] = ops.setup.alias_domains
    assert (domain.bounce_alias, domain.catchall_alias) == ("temp-bounce", "temp-catchall")
    for n, part in enumerate(("notifications", "bounce", "catchall")):
        decision = ops.inbound.receive(activation(f"{part}@acme.example", n))
        assert decision.kind == "create", decision
    arrived = helper.arrived()
    assert [a.links for a in arrived] == [(f"https://provider.example/activate?key={n}abc",) for n in range(3)]
    assert {a.subject for a in arrived} == {
        f"Activate {p}@acme.example" for p in ("notifications", "bounce", "catchall")
    }
    helper.restore()
    [domain] = ops.setup.alias_domains
    assert (domain.bounce_alias, domain.catchall_alias) == ("bounce", "catchall")
    again = ops.inbound.receive(activation("bounce@acme.example", 9))
    assert again.kind != "create"  # a technical address again
    with pytest.raises(NotFound):
        helper.restore()


@pytest.mark.req("IN-34")
def test_a_helper_killed_half_way_is_noticed_and_restored(ops: Ops) -> None:
    SenderVerification(ops.engine, "acme.example", clock=ops.clock).begin()
    later = Ops.open(ops.workspace.path)  # the next start
    [waiting] = pending(later.engine)
    assert (waiting.domain, waiting.bounce, waiting.catchall) == ("acme.example", "bounce", "catchall")
    helper = SenderVerification(later.engine, waiting.domain, clock=later.clock)
    with pytest.raises(StateConflict):
        helper.begin()
    helper.restore()
    assert pending(later.engine) == []
    [domain] = later.setup.alias_domains
    assert (domain.bounce_alias, domain.catchall_alias) == ("bounce", "catchall")
    later.close()
