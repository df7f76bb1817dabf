"""Plans of servers held against the rules, the usual plans, ports and providers."""

from __future__ import annotations

from typing import Any

import pytest

from mailops.errors import ConfigError
from mailops.model.setup import (
    AliasDomain,
    Authentication,
    Encryption,
    Hosting,
    MailClass,
    Profile,
    Server,
    Setup,
)
from mailops.model.verdict import Finding, Severity
from mailops.providers.outgoing import PROVIDERS, SUGGESTED, server_for
from mailops.routing import RouteRequest, route
from mailops.routing.plan import (
    MASS_PARAMETER,
    campaign_findings,
    hosted_sender_finding,
    mail_class,
    per_user_plan,
    server_for_class,
    single_plan,
    two_class_plan,
    validate,
)
from mailops.routing.ports import encryption_finding, port_finding

PARAMETERS = {"mail.catchall.domain": "example.com", "mail.default.from": "notifications"}


def server(key: str, held: str | None = "example.com", priority: int = 10, **more: Any) -> Server:
    return Server(**{"key": key, "name": key, "host": "smtp.test", "from_filter": held, "priority": priority, **more})


def setup(*servers: Server, hosting: Hosting = Hosting.ON_PREMISE, **more: Any) -> Setup:
    values: dict[str, Any] = {"parameters": PARAMETERS, **more}
    return Setup(Profile(hosting, "acme"), servers, **values)


def codes(found: list[Finding]) -> list[str]:
    return [f.code for f in found]


def one(s: Setup, code: str) -> Finding:
    (found,) = [f for f in validate(s) if f.code == code]
    return found


# --- single mailbox ---


@pytest.mark.req("AZ-30")
def test_the_single_plan_is_one_server_and_no_task_for_users() -> None:
    plan = single_plan("notifications@example.com")
    assert len(plan.servers) == 1
    assert plan.tasks == ()
    (made,) = plan.servers
    assert (made.login, made.from_filter) == ("notifications@example.com",) * 2
    assert (made.host, made.port, made.encryption) == ("smtp.outlook.com", 587, Encryption.STARTTLS)


@pytest.mark.req("AZ-33")
def test_the_single_example_validates() -> None:
    assert validate(setup(*single_plan("notifications@example.com").servers)) == []


@pytest.mark.req("AZ-31", "AZ-40")
def test_filter_and_notification_address_must_be_the_same() -> None:
    s = setup(*single_plan("notifications@example.com").servers, parameters={**PARAMETERS, "mail.default.from": "info"})
    found = one(s, "plan.single_mismatch")
    assert found.severity is Severity.BLOCKING
    assert "notifications@example.com" in found.message
    assert "info@example.com" in found.message
    assert "{mail.default.from}@{mail.catchall.domain}" in found.fix
    assert "Settings → Technical → Parameters → System Parameters" in found.fix


@pytest.mark.req("AZ-32")
def test_with_one_mailbox_the_name_is_kept_and_the_address_changes() -> None:
    s = setup(*single_plan("notifications@example.com").servers)
    found = route(RouteRequest('"Ann" <ann@example.com>'), s)
    assert found.header_from == '"Ann" <notifications@example.com>'
    assert found.envelope_from == "notifications@example.com"


# --- one server per user ---

USERS = ("john@example.com", "jane@example.com")


@pytest.mark.req("AZ-34")
def test_the_plan_for_users_lists_servers_and_rights() -> None:
    plan = per_user_plan(USERS, "notifications@example.com")
    assert [s.from_filter for s in plan.servers[:2]] == list(USERS)
    assert [s.login for s in plan.servers] == [s.from_filter for s in plan.servers]
    assert len(plan.tasks) == 2
    assert all(
        user in task and "access rights to the settings" in task for user, task in zip(USERS, plan.tasks, strict=True)
    )


@pytest.mark.req("AZ-36")
def test_without_a_fallback_the_plan_is_blocked() -> None:
    plan = per_user_plan(USERS, "notifications@example.com")
    assert one(setup(*plan.servers[:2]), "plan.no_fallback").severity is Severity.BLOCKING
    assert "plan.no_fallback" not in codes(validate(setup(*plan.servers)))


@pytest.mark.req("AZ-37", "AZ-35")
def test_the_multi_user_example() -> None:
    s = setup(*per_user_plan(USERS, "notifications@example.com").servers)
    assert validate(s) == []
    seen = [
        route(RouteRequest(sender), s) for sender in ('"J" <john@example.com>', "jane@example.com", "bob@example.com")
    ]
    assert [r.server.login if r.server else None for r in seen] == [*USERS, "notifications@example.com"]
    assert [r.header_from for r in seen] == [
        '"J" <john@example.com>',
        "jane@example.com",
        '"bob" <notifications@example.com>',
    ]


# --- mass mail beside ---


@pytest.mark.req("AZ-38")
def test_a_mass_server_without_filter_must_be_chosen() -> None:
    servers = (
        *per_user_plan(USERS, "notifications@example.com").servers,
        server("mass", None, 20, mail_class=MailClass.MASS),
    )
    found = one(setup(*servers), "plan.mass_not_chosen")
    assert "email-marketing settings" in found.fix
    assert validate(setup(*servers, parameters={**PARAMETERS, MASS_PARAMETER: "mass"})) == []


@pytest.mark.req("MJ-23", "OUT-24")
@pytest.mark.parametrize(("transactional", "mass", "fine"), [(1, 1, False), (2, 1, False), (1, 2, True)])
def test_the_mass_server_has_the_higher_number(transactional: int, mass: int, fine: bool) -> None:
    mailjet = server_for(
        "mailjet", login="key", priority=mass, mail_class=MailClass.MASS, from_filter="news.example.com"
    )
    s = setup(server("day", "example.com", transactional), mailjet)
    assert ("plan.mass_priority" not in codes(validate(s))) == fine


@pytest.mark.req("OUT-24", "OUT-25", "OUT-26", "OUT-37")
def test_two_classes_go_two_ways() -> None:
    plan = two_class_plan(
        server("hosted", provider="hosted"), server_for("mailjet", login="key", from_filter="news.example.com")
    )
    assert [s.priority for s in plan.servers] == [1, 2]
    assert plan.tasks == ("Choose Mailjet as Dedicated Server (in Odoo: Email Marketing → Configuration → Settings).",)
    s = setup(*plan.servers, parameters={**PARAMETERS, MASS_PARAMETER: "mailjet"})
    assert validate(s) == []  # the hosted server may stand beside another one
    mass, day = (server_for_class(c, s) for c in (MailClass.MASS, MailClass.TRANSACTIONAL))
    assert (mass, day) == ("mailjet", None)
    sender = "ann@example.com"
    assert route(RouteRequest(sender, forced_server=day), s).server == plan.servers[0]
    campaign = route(RouteRequest(sender, forced_server=mass), s)
    assert (campaign.server, campaign.header_from) == (plan.servers[1], sender)


def test_a_dedicated_server_that_is_gone_blocks() -> None:
    assert one(setup(server("day"), parameters={**PARAMETERS, MASS_PARAMETER: "gone"}), "plan.dedicated_missing")


@pytest.mark.req("OUT-22")
@pytest.mark.parametrize(("batch", "marketing", "klass"), [(True, False, MailClass.MASS), (False, False, MailClass.TRANSACTIONAL), (False, True, MailClass.MASS)])  # fmt: skip
def test_batches_and_marketing_are_mass_mail(batch: bool, marketing: bool, klass: MailClass) -> None:
    assert mail_class(batch=batch, marketing=marketing) is klass


@pytest.mark.req("GEN-11")
@pytest.mark.parametrize("provider", ["outlook", "gmail"])
def test_a_large_campaign_does_not_suit_a_mailbox_provider(provider: str) -> None:
    s = server_for(provider, login="news@example.com")
    (found,) = campaign_findings(s, 5_000, "news@example.com")
    assert found.severity is Severity.WARNING
    assert PROVIDERS[provider].name in found.message
    assert campaign_findings(s, 50, "news@example.com") == []
    assert campaign_findings(server_for("mailjet", login="k"), 5_000, "news@example.com") == []


def test_a_campaign_whose_from_the_filter_refuses_is_named_before_queueing() -> None:
    (found,) = campaign_findings(server("m", "other.test"), 10, "news@example.com")
    assert found.code == "campaign.filter"
    assert found.severity is Severity.ERROR


@pytest.mark.parametrize("sender", ["Ann <ann@example.com>", '"Ann, at work" <Ann@EXAMPLE.com>'])
def test_a_display_name_is_no_part_of_what_the_filter_is_asked(sender: str) -> None:
    assert campaign_findings(server("m", "example.com"), 10, sender) == []
    (found,) = campaign_findings(server("m", "other.test"), 10, sender)
    assert found.facts["from"].lower() == "ann@example.com"


# --- filters ---


@pytest.mark.req("OUT-27")
def test_an_active_server_without_filter_is_a_warning() -> None:
    assert one(setup(server("any", None)), "plan.no_filter").severity is Severity.WARNING
    assert "plan.no_filter" not in codes(validate(setup(server("any", None, active=False), server("b"))))


@pytest.mark.req("OUT-30")
@pytest.mark.parametrize("provider", ["outlook", "gmail"])
@pytest.mark.parametrize("held", [None, "example.com", "other@example.com"])
def test_mailbox_providers_want_their_mailbox_as_filter(provider: str, held: str | None) -> None:
    box = "notifications@example.com"
    assert server_for(provider, login=box).from_filter == box
    found = one(setup(server_for(provider, login=box, from_filter=held)), "plan.filter_not_mailbox")
    assert found.facts["mailbox"] == box
    assert validate(setup(server_for(provider, login=box))) == []


@pytest.mark.req("OUT-16")
@pytest.mark.parametrize("held", ["acme.odoo.com", "x@acme.odoo.com", "example.com, acme.odoo.com", None])
def test_an_external_server_cannot_send_as_the_hosted_subdomain(held: str | None) -> None:
    s = setup(server("ext", held), hosting=Hosting.ONLINE, alias_domains=(AliasDomain("acme.odoo.com"),))
    assert one(s, "plan.hosted_domain_external").severity is Severity.ERROR
    hosted = setup(
        server("h", held, provider="hosted"), hosting=Hosting.ONLINE, alias_domains=(AliasDomain("acme.odoo.com"),)
    )
    assert "plan.hosted_domain_external" not in codes(validate(hosted))


@pytest.mark.req("OUT-16")
def test_a_from_of_the_hosted_subdomain_is_an_error_on_an_external_server() -> None:
    s = setup(server("ext"), hosting=Hosting.SH)
    assert hosted_sender_finding(s.servers[0], "Info@acme.odoo.com", s) is not None
    assert hosted_sender_finding(s.servers[0], "info@example.com", s) is None


@pytest.mark.req("OUT-39")
@pytest.mark.parametrize(
    ("external", "cli", "found"),
    [
        ("example.com", "acme.odoo.com", set()),
        ("acme.odoo.com", "example.com", {"plan.cli_filter", "plan.external_filter"}),
        (None, None, {"plan.cli_filter", "plan.external_filter"}),
        ("example.com", None, {"plan.cli_filter"}),
        (None, "acme.odoo.com", {"plan.external_filter"}),
    ],
)
def test_external_and_default_server_side_by_side(external: str | None, cli: str | None, found: set[str]) -> None:
    s = setup(
        server("ext", external),
        Server("cli", "cli", authentication=Authentication.CLI, from_filter=cli),
        hosting=Hosting.ONLINE,
        alias_domains=(AliasDomain("example.com"),),
    )
    seen = {f.code: f for f in validate(s) if f.code in ("plan.cli_filter", "plan.external_filter")}
    assert set(seen) == found
    if "plan.cli_filter" in seen:
        assert seen["plan.cli_filter"].facts["expected"] == "acme.odoo.com"
        assert "acme.odoo.com" in seen["plan.cli_filter"].fix
    if "plan.external_filter" in seen:
        assert seen["plan.external_filter"].facts["expected"] == ["example.com"]
        assert "example.com" in seen["plan.external_filter"].fix


@pytest.mark.req("OUT-39")
def test_side_by_side_each_domain_goes_its_way_and_the_rest_as_notification() -> None:
    domain = AliasDomain("example.com")
    cli = Server("cli", "cli", authentication=Authentication.CLI, from_filter="acme.odoo.com")
    s = setup(server("ext"), cli, hosting=Hosting.ONLINE, alias_domains=(domain,))
    keys = [route(RouteRequest(x, domain), s) for x in ("a@example.com", "a@acme.odoo.com", "a@cust.test")]
    assert [r.server.key if r.server else "" for r in keys] == ["ext", "cli", "ext"]
    assert keys[2].header_from == '"a" <notifications@example.com>'
    bare = setup(server("ext", None), Server("cli", "cli", authentication=Authentication.CLI), alias_domains=(domain,))
    assert route(RouteRequest("a@example.com", domain), bare).header_from == '"a" <notifications@example.com>'


# --- ports and providers ---


@pytest.mark.req("OUT-46", "MJ-04")
@pytest.mark.parametrize("kind", list(Hosting))
def test_port_25_is_blocked_on_hosted_kinds(kind: Hosting) -> None:
    found = port_finding(kind, 25, "m")
    if kind is Hosting.ON_PREMISE:
        assert found is None
    else:
        assert found is not None
        assert found.severity is Severity.ERROR
        assert all(str(port) in found.fix for port in (465, 587, 2525))
        assert "server.port_blocked" in codes(validate(setup(server("m", port=25), hosting=kind)))
    assert all(port_finding(kind, port) is None for port in (465, 587, 2525))


@pytest.mark.req("MJ-21", "MJ-05", "MJ-06")
@pytest.mark.parametrize(("port", "encryption"), [(465, Encryption.TLS), (587, Encryption.STARTTLS)])
def test_the_mailjet_server(port: int, encryption: Encryption) -> None:
    made = server_for("mailjet", login="the-api-key", password="env:MAILJET_SECRET_KEY", port=port)
    assert (made.host, made.port, made.encryption) == ("in-v3.mailjet.com", port, encryption)
    assert (made.login, made.password, made.authentication) == (
        "the-api-key",
        "env:MAILJET_SECRET_KEY",
        Authentication.LOGIN,
    )
    assert PROVIDERS["mailjet"].setup_page == "https://app.mailjet.com/account/setup"


@pytest.mark.req("MJ-04")
def test_mailjet_has_no_port_25() -> None:
    with pytest.raises(ConfigError) as caught:
        server_for("mailjet", login="k", port=25)
    assert caught.value.code == "provider.port"
    with pytest.raises(ConfigError):
        server_for("nobody", login="k")


@pytest.mark.req("MJ-22")
def test_no_encryption_is_a_warning() -> None:
    s = setup(server_for("mailjet", login="k", encryption=Encryption.NONE, from_filter="example.com"))
    assert one(s, "server.no_encryption").severity is Severity.WARNING


@pytest.mark.req("MJ-21")
@pytest.mark.parametrize(("port", "encryption", "fine"), [(465, Encryption.TLS, True), (465, Encryption.STARTTLS, False), (587, Encryption.STARTTLS, True), (587, Encryption.TLS, False), (8025, Encryption.TLS, True)])  # fmt: skip
def test_port_and_encryption_go_together(port: int, encryption: Encryption, fine: bool) -> None:
    assert (encryption_finding(port, encryption) is None) == fine


@pytest.mark.req("OUT-23")
def test_suggested_services() -> None:
    assert SUGGESTED[MailClass.TRANSACTIONAL] == ("Gmail", "Amazon SES", "Brevo")
    assert SUGGESTED[MailClass.MASS] == ("Mailgun", "Sendgrid", "Mailjet")
