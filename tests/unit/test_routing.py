"""Server, From and envelope sender of one mail: every rule as a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mailops.errors import ConfigError, RouteError
from mailops.model.filters import parse_filter, read_filter
from mailops.model.setup import (
    AliasDomain,
    Authentication,
    DefaultServer,
    Hosting,
    Profile,
    Server,
    Setup,
)
from mailops.model.states import FailureType
from mailops.routing import RouteRequest, composed_return_path, default_server, route
from mailops.routing.envelope import header_from, relay_from, reply_to
from mailops.routing.plan import validate
from mailops.routing.probe_sender import probe_sender

ACME = AliasDomain("acme.test")
NOTIFICATION = "notifications@acme.test"


def server(key: str, held: str | None = None, priority: int = 10, **more: Any) -> Server:
    return Server(**{"key": key, "name": key, "host": "smtp.test", "from_filter": held, "priority": priority, **more})


def setup(*servers: Server, domain: AliasDomain | None = ACME, parameters: dict[str, str] | None = None, **default: Any) -> Setup:  # fmt: skip
    values = {"host": "localhost", **default}
    return Setup(
        Profile(default_server=DefaultServer(**values)),
        tuple(servers),
        (),
        (domain,) if domain else (),
        parameters or {},
    )


def ask(s: Setup, sender: str | None, **more: Any) -> Any:
    return route(RouteRequest(sender, s.alias_domains[0] if s.alias_domains else None, **more), s)


def answer(s: Setup, sender: str | None, **more: Any) -> tuple[str | None, str | None, str | None]:
    found = ask(s, sender, **more)
    return found.server.key if found.server else None, found.header_from, found.envelope_from


FULL = setup(
    server("dom", "acme.test", 0),
    server("usr", "one.test, ann@acme.test, two.test", 1),
    server("ntf", NOTIFICATION, 2),
    server("any", None, 3),
)


@pytest.mark.req("OUT-31", "AZ-35")
@pytest.mark.parametrize(
    ("sender", "key", "after", "envelope"),
    [
        ("ann@acme.test", "usr", "ann@acme.test", "ann@acme.test"),  # the address, though of worse priority
        ("ANN@acme.test", "usr", "ANN@acme.test", "ANN@acme.test"),
        ("ann@ACME.test", "usr", "ann@ACME.test", "ann@ACME.test"),
        ('"Ann" <ann@acme.test>', "usr", '"Ann" <ann@acme.test>', "ann@acme.test"),
        ('"x@two.test" <ann@acme.test>', "usr", '"x@two.test" <ann@acme.test>', "ann@acme.test"),
        ("x@two.test <ann@acme.test>", "usr", '"x@two.test" <ann@acme.test>', "ann@acme.test"),
        ("jo@acme.test", "dom", "jo@acme.test", "bounce@acme.test"),
        ("jo@ACME.TEST", "dom", "jo@ACME.TEST", "bounce@acme.test"),
        ("x@one.test", "usr", "x@one.test", "x@one.test"),
        ("x@two.test", "usr", "x@two.test", "x@two.test"),
        ("Ann ann@acme.test", "usr", '"Ann" <ann@acme.test>', "ann@acme.test"),
        ('"Ann" <ann@acme.test>, jo@acme.test', "usr", '"Ann" <ann@acme.test>', "ann@acme.test"),
        ("jo@acme.test, ann@acme.test", "dom", "jo@acme.test", "bounce@acme.test"),
        (NOTIFICATION, "ntf", NOTIFICATION, NOTIFICATION),
        (f'"Acme" <{NOTIFICATION}>', "ntf", f'"Acme" <{NOTIFICATION}>', NOTIFICATION),
        ("x@sub.acme.test", "ntf", f'"x" <{NOTIFICATION}>', NOTIFICATION),  # no match on subdomains
        ("x@acme.test.evil.test", "ntf", f'"x" <{NOTIFICATION}>', NOTIFICATION),
        ("x@notacme.test", "ntf", f'"x" <{NOTIFICATION}>', NOTIFICATION),
        ("x@acmé.test", "ntf", f'"x" <{NOTIFICATION}>', NOTIFICATION),  # é is not e
        ("ann@cust.test", "ntf", f'"ann" <{NOTIFICATION}>', NOTIFICATION),
        ('"Mary" <mary@cust.test>', "ntf", f'"Mary" <{NOTIFICATION}>', NOTIFICATION),
        (None, "ntf", NOTIFICATION, NOTIFICATION),
        ("", "ntf", NOTIFICATION, NOTIFICATION),
        ("  ", "ntf", NOTIFICATION, NOTIFICATION),
    ],
)
def test_steps_one_to_four(sender: str | None, key: str, after: str, envelope: str) -> None:
    assert answer(FULL, sender) == (key, after, envelope)


@pytest.mark.req("OUT-31")
@pytest.mark.parametrize(("held", "fits"), [("test@example.com", True), ("example.com", True), ("EXAMPLE.com", True), ("TEST@example.COM", True), (" example.com ", True), ("Test <test@example.com>", True), ("x.test, example.com", True), ("other@example.com", False), ("mail.example.com", False), ("com", False), ("@example.com", False), ("example.org", False)])  # fmt: skip
def test_only_an_equal_address_or_domain_qualifies(held: str, fits: bool) -> None:
    s = setup(server("a", held, 5), server("z", None, 1), domain=None)
    found = ask(s, "test@example.com")
    assert found.server.key == ("a" if fits else "z")
    assert found.header_from == "test@example.com"


@pytest.mark.req("OUT-32", "OUT-29")
def test_without_a_fitting_filter_the_first_unfiltered_server_rewrites() -> None:
    s = setup(server("other", "other.test", 1), server("b", None, 3), server("a", None, 2))
    found = ask(s, '"Jo" <jo@cust.test>')
    assert (found.server.key, found.rule.id, found.header_from) == ("a", "unfiltered", f'"Jo" <{NOTIFICATION}>')
    assert found.envelope_from == "bounce@acme.test"
    assert found.warnings == ()


@pytest.mark.req("OUT-29")
def test_one_server_no_filter_keeps_the_name() -> None:
    assert answer(setup(server("any")), '"X Y" <x@acme.test>')[1] == f'"X Y" <{NOTIFICATION}>'


@pytest.mark.req("OUT-33")
def test_every_server_filtered_the_first_is_used_with_a_warning() -> None:
    s = setup(server("b", "b.test", 2), server("a", "a.test", 1))
    found = ask(s, '"Jo" <jo@cust.test>')
    assert (found.server.key, found.rule.id, found.header_from) == ("a", "first", f'"Jo" <{NOTIFICATION}>')
    assert found.envelope_from == NOTIFICATION  # the filter does not hold the bounce address
    assert "may refuse" in found.warnings[0]
    assert any(line.startswith("Warning:") for line in found.sentences())


@pytest.mark.req("OUT-34")
@pytest.mark.parametrize(
    ("names", "first"),
    [
        ([(2, "A"), (1, "Z"), (1, "B")], "B"),
        ([(1, "B"), (1, "a"), (2, "A")], "a"),
        ([(5, "x"), (4, "z")], "z"),
        ([(1, "Zulu"), (1, "alpha"), (1, "Beta")], "alpha"),
    ],
)
@pytest.mark.parametrize("held", [None, "acme.test", "other.test"])
def test_first_is_priority_then_name(names: list[tuple[int, str]], first: str, held: str | None) -> None:
    servers = [server(f"k{n}", held, p, name=name, created=n) for n, (p, name) in enumerate(names)]
    for given in (servers, servers[::-1]):
        assert ask(setup(*given), "jo@acme.test").server.name == first


@pytest.mark.req("OUT-34")
def test_equal_priority_and_name_the_older_record() -> None:
    s = setup(server("new", None, name="Same", created=2), server("old", None, name="Same", created=1))
    found = ask(s, "jo@x.test")
    assert found.server.key == "old"
    assert "made first" in dict(found.passed_over)["new"]


@pytest.mark.req("OUT-03", "OUT-35", "GEN-14", "OUT-38")
@pytest.mark.parametrize(
    ("parameter", "cli", "sender", "after", "envelope"),
    [
        ("acme.com", None, "x@gmail.com", f'"x" <{NOTIFICATION}>', NOTIFICATION),
        ("acme.com", None, "x@acme.com", "x@acme.com", "x@acme.com"),
        (None, "acme.test", "x@acme.test", "x@acme.test", "bounce@acme.test"),
        (None, "acme.test", '"X" <x@gmail.com>', f'"X" <{NOTIFICATION}>', "bounce@acme.test"),
        ("icp.test", "acme.test", "x@acme.test", f'"x" <{NOTIFICATION}>', NOTIFICATION),  # the parameter goes first
        (" , ", "acme.test", "x@acme.test", "x@acme.test", "bounce@acme.test"),  # blanks count as none
        (None, None, "x@gmail.com", "x@gmail.com", "bounce@acme.test"),
        (None, None, None, NOTIFICATION, "bounce@acme.test"),
    ],
)
def test_no_server_the_default_one_and_its_filter(
    parameter: str | None, cli: str | None, sender: str | None, after: str, envelope: str
) -> None:
    parameters = {"mail.default.from_filter": parameter} if parameter is not None else {}
    s = setup(parameters=parameters, from_filter=cli)
    assert answer(s, sender) == (None, after, envelope)
    assert ask(s, sender).rule.id == "default"


@pytest.mark.req("OUT-04")
@pytest.mark.parametrize(("sender", "kept"), [("boss@other.com", True), ("BOSS@other.com", True), ("joe@other.com", False), ("x@acme.com", True)])  # fmt: skip
def test_the_parameter_mixes_domains_and_addresses(sender: str, kept: bool) -> None:
    s = setup(parameters={"mail.default.from_filter": "acme.com, boss@other.com"})
    assert answer(s, sender)[1] == (sender if kept else f'"{sender.split("@")[0]}" <{NOTIFICATION}>')


@pytest.mark.req("OUT-05")
def test_with_a_server_the_parameter_no_longer_counts() -> None:
    s = setup(server("one", "acme.test"), parameters={"mail.default.from_filter": "nobody.test"})
    found = ask(s, "x@acme.test")
    assert (found.server.key, found.header_from) == ("one", "x@acme.test")
    assert "mail.default.from_filter is ignored, since an outgoing server is configured." in found.sentences()
    alone = ask(setup(parameters={"mail.default.from_filter": "nobody.test"}), "x@acme.test")
    assert not any("is ignored" in line for line in alone.sentences())


@pytest.mark.req("GEN-14")
def test_the_default_server_is_the_one_of_the_command_line() -> None:
    s = setup(host="relay.test", port=2525, login="u", password="env:PW")
    found = ask(s, "x@acme.test").effective_server(s)
    assert (found.host, found.port, found.login, found.authentication) == (
        "relay.test",
        2525,
        "u",
        Authentication.LOGIN,
    )
    assert default_server(s) == found


@pytest.mark.req("OUT-38")
@pytest.mark.parametrize("kind", [Hosting.ONLINE, Hosting.SH])
def test_hosted_without_any_server_the_hosted_default_sends(kind: Hosting) -> None:
    s = Setup(Profile(kind, "acme"))
    found = route(RouteRequest("x@cust.test"), s)
    assert (found.server, found.rule.id, found.failure) == (None, "default", None)


def test_nothing_to_send_with_is_an_error() -> None:
    with pytest.raises(RouteError) as caught:
        route(RouteRequest("x@acme.test"), Setup())
    assert caught.value.code == "route.no_server"


# --- what takes the place of the sender ---


@pytest.mark.parametrize(
    ("domain", "default", "sender", "want"),
    [
        (None, {}, '"Jo" <jo@x.test>', '"Jo" <jo@x.test>'),  # nothing to fall back on: spoofed
        (None, {"email_from": "set@cfg.test"}, '"Jo" <jo@x.test>', '"Jo" <set@cfg.test>'),
        (
            AliasDomain("acme.test", default_from=None),
            {"email_from": "set@cfg.test"},
            "jo@x.test",
            '"jo" <set@cfg.test>',
        ),
        (AliasDomain("acme.test", default_from=None), {}, "jo@x.test", "jo@x.test"),
        (ACME, {"email_from": "set@cfg.test"}, "jo@x.test", f'"jo" <{NOTIFICATION}>'),
        (None, {"email_from": "set@cfg.test"}, None, "set@cfg.test"),
    ],
)
def test_notification_address(
    domain: AliasDomain | None, default: dict[str, str], sender: str | None, want: str
) -> None:
    assert answer(setup(server("any"), domain=domain, **default), sender)[1] == want


def test_no_sender_and_nothing_to_fall_back_on() -> None:
    found = ask(setup(server("any"), domain=None), None)
    assert (found.failure, found.header_from, found.envelope_from) == (FailureType.FROM_MISSING, None, None)
    assert found.as_dict()["failure"] == FailureType.FROM_MISSING.value


@pytest.mark.parametrize("sender", ["robert", "jo@example¢¡.test", "a@@x.test", "jo@"])
def test_an_unusable_sender_does_not_leave(sender: str) -> None:
    found = ask(setup(server("any"), domain=None), sender)
    assert (found.failure, found.envelope_from) == (FailureType.FROM_INVALID, None)
    assert found.sentences()[-1].startswith("It cannot leave")


@pytest.mark.req("OUT-50")
@pytest.mark.parametrize(("local", "domain", "want"), [("notifications", "acme.com", "notifications@acme.com"), ("it@other.com", "acme.com", "it@other.com"), ("it", "acme.com", "it@acme.com")])  # fmt: skip
def test_default_from_is_a_local_part_or_complete(local: str, domain: str, want: str) -> None:
    given = AliasDomain(domain, default_from=local)
    assert given.notification_address == want
    assert AliasDomain(domain).notification_address == f"notifications@{domain}"
    assert answer(setup(server("any"), domain=given), "x@cust.test")[1] == f'"x" <{want}>'


@pytest.mark.req("OUT-51", "OUT-55")
@pytest.mark.parametrize(
    ("servers", "key", "envelope"),
    [
        ([server("only", "acme.test")], "only", "bounce@acme.test"),
        ([server("a", "jo@acme.test", 1), server("c", "corp.test", 2)], "c", "hello@corp.test"),
        ([server("a", "acme.test", 1), server("h", "hello@corp.test", 2)], "h", "hello@corp.test"),
        ([server("any")], "any", "bounce@acme.test"),
        ([], None, "bounce@acme.test"),
    ],
)
def test_a_complete_default_from_overwrites_every_sender(servers: list[Server], key: str | None, envelope: str) -> None:
    s = setup(*servers, domain=AliasDomain("acme.test", default_from="hello@corp.test"))
    assert answer(s, '"Jo" <jo@acme.test>') == (key, '"Jo" <hello@corp.test>', envelope)


@pytest.mark.req("OUT-51")
def test_a_forced_server_keeps_even_then_the_from() -> None:
    s = setup(server("mass"), domain=AliasDomain("acme.test", default_from="hello@corp.test"))
    assert answer(s, "news@acme.test", forced_server="mass")[1] == "news@acme.test"


# --- archived, forced, cli ---


def test_archived_servers_are_never_chosen() -> None:
    s = setup(server("old", "ann@acme.test", 1, active=False), server("dom", "acme.test", 2))
    found = ask(s, "ann@acme.test")
    assert found.server.key == "dom"
    assert dict(found.passed_over) == {"old": "it is archived"}
    assert ask(setup(server("old", "acme.test", active=False)), "ann@acme.test").rule.id == "default"


@pytest.mark.req("OUT-26")
def test_a_forced_server_is_not_searched_and_never_rewrites() -> None:
    assert answer(FULL, '"U" <u@cust.test>', forced_server="ntf") == ("ntf", '"U" <u@cust.test>', "u@cust.test")
    assert answer(FULL, "u@cust.test", forced_server="any") == ("any", "u@cust.test", "bounce@acme.test")
    assert answer(FULL, None, forced_server="dom") == ("dom", NOTIFICATION, "bounce@acme.test")
    assert ask(FULL, "u@cust.test", forced_server="ntf").rule.id == "forced"


def test_a_forced_server_that_is_archived_or_gone() -> None:
    s = setup(server("old", active=False, name="Old relay"), server("any"))
    with pytest.raises(RouteError, match=r'The server "Old relay" cannot be used because it is archived\.'):
        ask(s, "x@acme.test", forced_server="old")
    with pytest.raises(RouteError) as caught:
        ask(s, "x@acme.test", forced_server="gone")
    assert caught.value.code == "route.forced_unknown"


def test_a_cli_record_has_its_own_filter() -> None:
    cli = server("cli", "cli.test", 1, authentication=Authentication.CLI)
    s = setup(
        cli, server("any", None, 2), from_filter="fake.test", parameters={"mail.default.from_filter": "fake.test"}
    )
    assert answer(s, "x@cli.test") == ("cli", "x@cli.test", "x@cli.test")
    assert answer(s, "x@fake.test")[0] == "any"


# --- envelope sender ---


@pytest.mark.req("OUT-36")
@pytest.mark.parametrize(
    ("held", "domain", "given", "want"),
    [
        (None, ACME, None, "bounce@acme.test"),
        ("acme.test", ACME, None, "bounce@acme.test"),
        (" ", ACME, None, "bounce@acme.test"),
        ("ann@acme.test", ACME, None, "ann@acme.test"),
        ("bounce@acme.test, ann@acme.test", ACME, None, "bounce@acme.test"),
        ("acme.test", ACME, "my@acme.test", "my@acme.test"),  # the caller's own goes first
        ("acme.test", ACME, "My <my@acme.test>", "my@acme.test"),
        ("acme.test", ACME, "my@other.test", "ann@acme.test"),  # … if the filter holds it
        (None, ACME, "a@x.test, b@y.test", "b@y.test"),
        ("acme.test", ACME, "a@acme.test, b@acme.test", "ann@acme.test"),
        ("acme.test", AliasDomain("acme.test", bounce_alias=""), None, "ann@acme.test"),
        ("acme.test", AliasDomain("exämple.test"), None, "ann@acme.test"),
        (None, AliasDomain("exämple.test", default_from=None), None, "bounce@xn--exmple-cua.test"),
    ],
)
def test_envelope_sender(held: str | None, domain: AliasDomain, given: str | None, want: str) -> None:
    assert answer(setup(server("s", held), domain=domain), "ann@acme.test", return_path=given)[2] == want


def test_without_a_bounce_address_the_default_sender_then_the_from() -> None:
    assert answer(setup(server("any"), domain=None, email_from="set@cfg.test"), "jo@x.test")[2] == "set@cfg.test"
    assert answer(setup(server("any"), domain=None), "jo@x.test")[2] == "jo@x.test"


def test_an_international_domain_is_folded_on_the_envelope_only() -> None:
    s = setup(server("any"), domain=None)
    assert answer(s, "test@exämple.test")[1:] == ("test@exämple.test", "test@xn--exmple-cua.test")
    assert answer(s, "jö@exämple.test")[2] == "jö@xn--exmple-cua.test"


# --- From on the wire ---


@pytest.mark.req("AZ-32")
@pytest.mark.parametrize(
    ("text", "want"),
    [
        ('"Ann" <ann@example.com>', '"Ann" <n@example.com>'),
        ("ann@example.com", '"ann" <n@example.com>'),
        ("Ann ann@example.com", '"Ann" <n@example.com>'),
        ('"Ann \\"A\\"" <ann@example.com>', '"Ann \\"A\\"" <n@example.com>'),
        ("=?utf-8?q?J=C3=B6?= <j@example.com>", '"Jö" <n@example.com>'),
        ('"Jö" <j@example.com>', '"Jö" <n@example.com>'),
        ('"N" <N@example.com>', '"N" <N@example.com>'),  # it already is that address
        ("N@example.com", "N@example.com"),
        ("=?broken?x?? <j@example.com>", '"=?broken?x??" <n@example.com>'),
        (None, "n@example.com"),
    ],
)
def test_rewriting_keeps_the_name(text: str | None, want: str) -> None:
    assert header_from(text, "n@example.com") == want


def test_an_unchanged_from_that_is_no_proper_mailbox_is_written_anew() -> None:
    assert header_from("Doe, Ann <a@x.test>", None) == '"Ann" <a@x.test>'
    assert header_from("Ann <a@x.test>", None) == "Ann <a@x.test>"
    assert "\n" not in (header_from("Ann\r\n X <a@x.test>", None) or "")


@pytest.mark.parametrize(
    ("alias", "company", "record", "want"),
    [
        (None, "Acme", "Order 7", '"Acme Order 7" <catchall@acme.test>'),
        ("info@acme.test", "Acme", "Lead", '"Acme Lead" <info@acme.test>'),
        (None, "A" * 40, "Order 7", '"Order 7" <catchall@acme.test>'),
        (None, "A" * 40, "R" * 60, "catchall@acme.test"),
        (None, None, None, "catchall@acme.test"),
    ],
)
def test_reply_to(alias: str | None, company: str | None, record: str | None, want: str) -> None:
    assert reply_to(ACME, alias=alias, company=company, record=record) == want
    assert reply_to(None) is None


@pytest.mark.req("OUT-53", "OUT-54")
@pytest.mark.parametrize(
    ("author", "domain", "want"),
    [
        ('"Mary" <mary@customer.example.com>', "company-name.odoo.com", '"Mary" <notifications@company-name.odoo.com>'),
        ("mary@customer.example.com", "own.example", '"mary" <notifications@own.example>'),
        ('"Mary" <mary@Own.example>', "own.example", '"Mary" <mary@Own.example>'),
    ],
)
def test_relayed_answers_speak_with_the_notification_address(author: str, domain: str, want: str) -> None:
    given = AliasDomain(domain)
    assert relay_from(author, given, Setup(alias_domains=(given,))) == want


# --- filters ---


@pytest.mark.req("OUT-28")
@pytest.mark.parametrize(
    ("text", "right"),
    [("acme", "acme.com"), ("@acme.com", "Write the domain without the @: acme.com"), ("a b", "commas"), ("a@b@c.com", ""), ("acme..com", ""), ("ok.com, a b", "commas"), ("-x.com", "")],
)  # fmt: skip
def test_wrong_filters_are_refused_with_the_right_form(text: str, right: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_filter(text)
    assert caught.value.code == "server.from_filter"
    assert right in caught.value.fix


@pytest.mark.req("OUT-28", "AZ-26")
@pytest.mark.parametrize(
    "text", [None, "", " ", ",", "acme.com", "a@acme.com", "acme.com, a@b.com", " ACME.com ,,x@y.org"]
)
def test_right_filters(text: str | None) -> None:
    assert parse_filter(text) == read_filter(text)


@pytest.mark.parametrize("text", [None, "", " ", ",", " , ,"])
def test_blanks_are_no_filter(text: str | None) -> None:
    assert read_filter(text).is_empty
    assert read_filter(text).allows("any@x.test")
    s = setup(server("blank", text, 2), server("other", "other.test", 1))
    assert ask(s, "x@cust.test").rule.id == "unfiltered"


# --- Test Connection's sender ---


@pytest.mark.req("OUT-19")
@pytest.mark.parametrize(
    ("held", "default_from", "user", "want"),
    [
        ("dummy.test, full@two.test, dummy2.test", "notifications", "me@x.test", "full@two.test"),
        ("acme.test", "notifications", "me@x.test", NOTIFICATION),
        ("other.test, acme.test", "notifications", "me@x.test", NOTIFICATION),
        ("acme.test", None, "me@x.test", "odoo@acme.test"),
        ("other.test, more.test", "notifications", "me@x.test", "odoo@other.test"),
        ("other.test", "hello@other.test", "me@x.test", "hello@other.test"),
        (None, "notifications", "me@x.test", "me@x.test"),
        (" ", "notifications", '"Me" <me@x.test>', "me@x.test"),
        (",", "notifications", "me@x.test", "me@x.test"),
        (None, "notifications", None, NOTIFICATION),  # nobody is signed in at a command line
    ],
)
def test_the_sender_that_test_connection_tries(held: str | None, default_from: str | None, user: str | None, want: str) -> None:  # fmt: skip
    assert probe_sender(server("s", held), [AliasDomain("acme.test", default_from=default_from)], user) == want


def test_the_first_fitting_alias_domain_is_tried() -> None:
    domains = [AliasDomain("b.test", sequence=2), AliasDomain("a.test", sequence=1)]
    assert probe_sender(server("s", "b.test, a.test"), domains) == "notifications@a.test"


@pytest.mark.parametrize("user", [None, "", "me"])
def test_no_sender_to_try(user: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        probe_sender(server("s"), [], user)
    assert caught.value.code == "server.probe_sender"


@pytest.mark.req("IN-14", "IN-15")
def test_a_fresh_alias_domain_takes_reports_at_bounce() -> None:
    fresh = AliasDomain("acme.example")
    found = route(RouteRequest("ann@acme.example", fresh), Setup(servers=(Server("a", "A", "smtp.example"),)))
    assert (fresh.bounce_alias, found.return_path) == ("bounce", "bounce@acme.example")
    assert found.envelope_from == "bounce@acme.example"


ONLINE = Profile(hosting=Hosting.ONLINE, database="company-name")
OOPS = AliasDomain("acme.example", bounce_alias="oops")


@pytest.mark.req("IN-16", "IN-15")
@pytest.mark.parametrize(
    "hosted", [None, Server("h", "Hosted", "smtp.example", provider="hosted", from_filter="acme.example")]
)
@pytest.mark.parametrize("given", [None, "mine@acme.example"])
def test_the_hosted_server_of_online_forces_the_return_path(hosted: Server | None, given: str | None) -> None:
    known = Setup(profile=ONLINE, servers=(hosted,) if hosted else (), alias_domains=(OOPS,))
    request = RouteRequest("ann@acme.example", OOPS, return_path=given)
    found = route(request, known)
    forced = "bounce@company-name.odoo.com"
    assert (found.return_path, found.envelope_from, composed_return_path(request, known)) == (forced, forced, forced)
    assert any(forced in line and "forces it" in line for line in found.sentences())
    (finding,) = [f for f in validate(known) if f.code == "plan.bounce_forced"]
    assert "oops@acme.example" in finding.message
    assert "Settings → Technical → Emails: Alias Domains" in finding.fix


@pytest.mark.req("IN-16")
@pytest.mark.parametrize(
    ("hosting", "servers"),
    [
        (Hosting.ONLINE, (Server("own", "Own", "smtp.example", from_filter="acme.example"),)),
        (Hosting.SH, ()),
    ],
)
def test_anywhere_else_the_bounce_alias_counts(hosting: Hosting, servers: tuple[Server, ...]) -> None:
    known = Setup(profile=replace(ONLINE, hosting=hosting), servers=servers, alias_domains=(OOPS,))
    request = RouteRequest("ann@acme.example", OOPS)
    assert route(request, known).return_path == composed_return_path(request, known) == "oops@acme.example"
    assert not [f for f in validate(known) if f.code == "plan.bounce_forced"]
