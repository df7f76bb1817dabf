"""Every choice comes with its reason, in words and as JSON, and the queue's router gives the same answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailops.errors import RouteError
from mailops.model.address import normalise, parse_addresses
from mailops.model.filters import read_filter
from mailops.model.setup import AliasDomain, DefaultServer, Profile, Server, Setup
from mailops.routing import Router, RouteRequest, route
from mailops.routing.select import RULES

ACME = AliasDomain("acme.test")


def server(key: str, held: str | None = None, priority: int = 10, **more: Any) -> Server:
    return Server(**{"key": key, "name": key, "host": "smtp.test", "from_filter": held, "priority": priority, **more})


def setup(*servers: Server, **parameters: str) -> Setup:
    return Setup(Profile(default_server=DefaultServer("localhost")), servers, (), (ACME,), parameters)


CASES = {
    "address": ("ann@acme.test", [server("a", "ann@acme.test", 2), server("d", "acme.test", 1)], {"d": "holds only the domain"}),
    "domain": ("jo@acme.test", [server("a", "acme.test", 1), server("b", "acme.test", 2)], {"b": "comes after a"}),
    "notification-address": ("x@c.test", [server("n", "notifications@acme.test", 2), server("o", "o.test", 1)], {"o": "does not hold x@c.test"}),
    "notification-domain": ("x@c.test", [server("n", "acme.test", 2), server("u", None, 1)], {"u": "asked only when no filter fits"}),
    "unfiltered": ("x@c.test", [server("u", None, 1), server("v", None, 2)], {"v": "comes after u"}),
    "first": ("x@c.test", [server("o", "o.test", 1), server("p", "p.test", 2)], {"p": "does not fit either"}),
    "default": ("x@c.test", [server("z", active=False)], {"z": "archived"}),
}  # fmt: skip


@pytest.mark.req("OUT-36")
@pytest.mark.parametrize("rule", CASES)
def test_the_trace_is_stable_and_complete(rule: str) -> None:
    sender, servers, reasons = CASES[rule]
    s = setup(*servers)
    found = route(RouteRequest(sender, ACME), s)
    assert found.rule == RULES[rule]
    passed = dict(found.passed_over)
    assert set(passed) == {x.key for x in servers} - ({found.server.key} if found.server else set())
    for key, words in reasons.items():
        assert words in passed[key]
    told = found.as_dict()
    assert list(told) == ["server", "server_name", "rule", "from_before", "from_after", "rewritten", "envelope_from", "return_path", "notification_address", "passed_over", "warnings", "failure", "sentences"]  # fmt: skip
    assert json.loads(json.dumps(told)) == told
    assert told["from_before"] == sender
    assert told["from_after"] == found.header_from
    assert told["rule"] == {"number": RULES[rule].number, "id": rule, "words": RULES[rule].words}
    text = "\n".join(told["sentences"])
    assert f"(rule {RULES[rule].number}, {rule})" in text
    assert f"Envelope sender (bounces come back there): {found.envelope_from}." in text
    assert all(f"Not {key}: " in text for key in passed)
    assert route(RouteRequest(sender, ACME), s) == found


@pytest.mark.req("OUT-36")
def test_a_forced_server_is_explained_too() -> None:
    found = route(RouteRequest("x@c.test", ACME, "b"), setup(server("a"), server("b", "acme.test")))
    assert found.as_dict()["rule"]["id"] == "forced"
    assert dict(found.passed_over) == {"a": "another server is forced on this mail"}
    assert "From stays: x@c.test." in found.sentences()


@pytest.mark.req("OUT-36")
def test_the_unused_bounce_address_is_named() -> None:
    found = route(RouteRequest("ann@acme.test", ACME), setup(server("a", "ann@acme.test")))
    assert (
        "The bounce address bounce@acme.test is not used: the server's FROM filter does not hold it."
        in found.sentences()
    )


def test_the_router_remembers_errors_as_well() -> None:
    router = Router(setup(server("a", active=False)))
    for _ in range(2):
        with pytest.raises(RouteError):
            router.route(RouteRequest("x@c.test", ACME, "a"))


# --- properties ---

domains = st.sampled_from(["acme.test", "b.test", "c.test"])
addresses = st.builds("{}@{}".format, st.sampled_from(["ann", "jo", "notifications", "bounce", "JO"]), domains)
filters = st.none() | st.lists(addresses | domains, max_size=3).map(", ".join)
senders = st.none() | addresses | addresses.map('"Ann \\"A\\" Doe" <{}>'.format)
alias_domains = st.none() | st.builds(
    AliasDomain, domains, default_from=st.none() | st.just("notifications") | addresses
)


@st.composite
def setups(draw: Any) -> tuple[Setup, AliasDomain | None]:
    servers = [
        server(f"k{n}", draw(filters), draw(st.integers(1, 3)), name=draw(st.sampled_from("abc")), active=draw(st.integers(0, 4)) > 0, created=n)
        for n in range(draw(st.integers(0, 5)))
    ]  # fmt: skip
    domain = draw(alias_domains)
    parameter = draw(filters)
    return (
        Setup(
            Profile(default_server=DefaultServer("localhost", from_filter=draw(filters))),
            tuple(servers),
            (),
            (domain,) if domain else (),
            {"mail.default.from_filter": parameter} if parameter else {},
        ),
        domain,
    )


QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(setups(), senders, st.randoms(use_true_random=False))
def test_the_order_of_the_list_does_not_matter(given_setup: Any, sender: str | None, random: Any) -> None:
    s, domain = given_setup
    mixed = list(s.servers)
    random.shuffle(mixed)
    other = Setup(s.profile, tuple(mixed), s.companies, s.alias_domains, s.parameters)
    a, b = (route(RouteRequest(sender, domain), x) for x in (s, other))
    assert (a.server, a.rule, a.header_from, a.envelope_from) == (b.server, b.rule, b.header_from, b.envelope_from)


@QUICK
@given(setups(), senders)
def test_an_address_in_a_filter_beats_every_domain_and_nothing_archived_sends(given_setup: Any, sender: str | None) -> None:  # fmt: skip
    s, domain = given_setup
    found = route(RouteRequest(sender, domain), s)
    active = [x for x in s.servers if x.active]
    assert (found.server is None) == (not active)
    assert found.server is None or found.server.active
    if sender and not (domain and domain.complete_default_from):
        spec = normalise(parse_addresses(sender)[0].spec)
        holding = [x.key for x in active if read_filter(x.from_filter).holds_address(spec)]
        if holding:
            assert found.server is not None
            assert found.server.key in holding
            assert found.header_from == sender


@QUICK
@given(setups(), senders)
def test_every_other_server_is_named_exactly_once(given_setup: Any, sender: str | None) -> None:
    s, domain = given_setup
    found = route(RouteRequest(sender, domain), s)
    keys = [key for key, _ in found.passed_over]
    assert sorted(keys) == sorted(x.key for x in s.servers if x != found.server)
    assert all(reason for _, reason in found.passed_over)


@QUICK
@given(setups(), st.lists(senders, min_size=1, max_size=4))
def test_the_router_answers_as_route_does(given_setup: Any, asked: list[str | None]) -> None:
    s, domain = given_setup
    router = Router(s)
    for sender in asked * 2:
        request = RouteRequest(sender, domain)
        assert router.route(request) == route(request, s)


@QUICK
@given(setups(), senders)
def test_the_name_stays_and_the_envelope_is_allowed_or_the_from(given_setup: Any, sender: str | None) -> None:
    s, domain = given_setup
    found = route(RouteRequest(sender, domain), s)
    if found.failure:
        assert found.envelope_from is None
        return
    before, after = parse_addresses(sender), parse_addresses(found.header_from)
    assert len(after) == 1
    if before and found.rewritten:
        assert after[0].name == (before[0].name or before[0].local)
    elif before:
        assert after == before
    held = read_filter(found.server.from_filter) if found.server else None
    assert found.envelope_from is not None
    assert found.envelope_from == after[0].spec or held is None or held.allows(normalise(found.envelope_from))
