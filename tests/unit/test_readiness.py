"""What is still to do, which addresses may send, what a change loses, how much may leave today."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from mailops.errors import ConfigError
from mailops.model.setup import (
    AliasDomain,
    Authentication,
    Company,
    DefaultServer,
    Encryption,
    Hosting,
    Profile,
    Server,
    Setup,
)
from mailops.model.verdict import Severity
from mailops.routing import RouteRequest, route
from mailops.routing.impact import change_impact
from mailops.routing.readiness import (
    Facts,
    Readiness,
    default_addresses,
    interval_finding,
    read_default_server,
    readiness,
)
from mailops.routing.senders import SOURCES, inventory
from mailops.routing.steps import METHODS, SERVER_FIELDS
from mailops.routing.usage import DEFAULT_POLICY, daily_limit, next_reset, quota_findings, usage

ACME = AliasDomain("acme.com")
CLI = Server("cli", "cli", authentication=Authentication.CLI)
EXTERNAL = Server("ext", "ext", host="in-v3.mailjet.com", provider="mailjet", from_filter="acme.com")
ALL = frozenset(METHODS)


def setup(kind: Hosting, *domains: AliasDomain, servers: tuple[Server, ...] = (), **more: Any) -> Setup:
    return Setup(Profile(kind, "acme"), servers, (), domains, **more)


def ids(report: Readiness) -> list[str]:
    """The kinds of the tasks: ids without their domain."""
    return [task.id.partition(":")[0] for task in report.tasks]


def codes(report: Readiness) -> list[str]:
    return [finding.code for finding in report.findings]


def values(report: Readiness, task: str) -> dict[str, str]:
    return dict(next(t for t in report.tasks if t.id.partition(":")[0] == task).values)


@pytest.mark.req("GEN-02", "OUT-01")
@pytest.mark.parametrize("kind", [Hosting.ONLINE, Hosting.SH])
@pytest.mark.parametrize("domains", [(), (AliasDomain("acme.odoo.com"),)])
def test_the_hosted_default_is_ready_with_no_task(kind: Hosting, domains: tuple[AliasDomain, ...]) -> None:
    report = readiness(setup(kind, *domains))
    assert (report.ready, report.tasks, report.findings, report.level) == (True, (), (), "none")


@pytest.mark.req("GEN-01")
def test_three_kinds_three_reports() -> None:
    reports = [readiness(setup(kind, ACME, servers=(CLI,))) for kind in Hosting]
    assert len({(tuple(ids(r)), tuple(codes(r)), r.outgoing) for r in reports}) == 3
    server = replace(EXTERNAL, port=25)
    blocked = {k: "server.port_blocked" in codes(readiness(setup(k, ACME, servers=(server,)))) for k in Hosting}
    assert blocked == {Hosting.ONLINE: True, Hosting.SH: True, Hosting.ON_PREMISE: False}


@pytest.mark.req("GEN-03", "OUT-02")
def test_the_hosted_addresses() -> None:
    found = readiness(setup(Hosting.ONLINE)).addresses
    assert found.notification == "notifications@acme.odoo.com"
    assert found.reply_to == "catchall@acme.odoo.com"
    assert found.bounce == "bounce@acme.odoo.com"
    assert default_addresses(Profile(database="x", hosted_suffix="host.test")).bounce == "bounce@x.host.test"


@pytest.mark.req("OUT-08")
@pytest.mark.parametrize("servers", [(), (EXTERNAL,)])
def test_the_addresses_of_an_own_domain(servers: tuple[Server, ...]) -> None:
    found = readiness(setup(Hosting.ONLINE, AliasDomain("company-name.com"), servers=servers)).addresses
    assert found.notification == "notifications@company-name.com"
    assert (found.reply_to, found.bounce) == ("catchall@company-name.com", "bounce@company-name.com")


@pytest.mark.req("GEN-04", "OUT-10")
def test_an_own_domain_adds_work_in_order() -> None:
    report = readiness(setup(Hosting.ONLINE, ACME))
    assert ids(report) == ["dns.spf", "dns.dkim", "alias_domain.set", "alias_domain.names", "inbound.mailboxes", "inbound.method"]  # fmt: skip
    assert report.level == "technical"
    assert not report.ready
    assert values(report, "dns.spf")["TXT"] == "v=spf1 include:_spf.odoo.com ~all"
    assert values(report, "dns.dkim") == {
        "Host, where the panel appends the domain": "odoo._domainkey",
        "Host, where it does not": "odoo._domainkey.acme.com",
        "CNAME": "odoo._domainkey.odoo.com.",
    }


@pytest.mark.req("GEN-04")
def test_done_tasks_and_a_method_make_it_ready() -> None:
    s = setup(Hosting.ONLINE, ACME)
    first = readiness(s, Facts(methods=frozenset({"redirection"})))
    assert first.findings == ()
    assert not first.ready
    done = readiness(s, Facts(methods=frozenset({"redirection"}), done=frozenset(t.id for t in first.tasks)))
    assert done.ready
    assert done.open_tasks == ()
    assert len(done.tasks) == len(first.tasks)


@pytest.mark.req("GEN-05")
def test_the_tasks_fork_between_hosted_and_own_server() -> None:
    s = setup(Hosting.ONLINE, ACME)
    hosted, own = (readiness(s, Facts(outgoing=way)) for way in ("hosted", "own"))
    assert "_spf.odoo.com" in str(hosted.tasks)
    assert "_spf.odoo.com" not in str(own.tasks)
    assert "dns.provider" in ids(own)
    mailjet = readiness(setup(Hosting.ONLINE, ACME, servers=(EXTERNAL,)))
    assert mailjet.outgoing == "own"
    assert "Mailjet" in str(mailjet.tasks)
    assert values(mailjet, "dns.provider")["Guide"] == "https://app.mailjet.com/account/setup"


@pytest.mark.req("GEN-06", "OUT-15")
def test_without_an_inbound_method_replies_are_lost() -> None:
    report = readiness(setup(Hosting.ONLINE, ACME))
    found = next(f for f in report.findings if f.code == "inbound.no_method")
    assert found.severity is Severity.BLOCKING
    assert "replies will not reach the database" in found.message
    assert METHODS == ("incoming mail server", "redirection", "MX record")
    text = next(t for t in report.tasks if t.id == "inbound.method").text
    assert all(method in text for method in METHODS)
    assert "MX record (advanced)" in text
    for method in METHODS:
        assert "inbound.no_method" not in codes(
            readiness(setup(Hosting.ONLINE, ACME), Facts(methods=frozenset({method})))
        )


@pytest.mark.req("GEN-07")
def test_one_alias_domain_is_shared_by_all_companies() -> None:
    s = setup(Hosting.ONLINE, ACME)
    assert [s.domain_of(Company(k, k)) for k in "abc"] == [ACME] * 3


@pytest.mark.req("OUT-13")
def test_a_company_without_domain_gets_the_lowest_number() -> None:
    five, ten = AliasDomain("five.test", sequence=5, id=2), AliasDomain("ten.test", sequence=10, id=1)
    assert setup(Hosting.ONLINE, ten, five).domain_of(Company("new", "New")) == five


@pytest.mark.req("OUT-47")
def test_each_company_may_have_its_own_domain() -> None:
    a, b = AliasDomain("a.test"), AliasDomain("b.test")
    s = Setup(Profile(Hosting.ONLINE), (), (Company("a", "A", None, a), Company("b", "B", None, b)), (a, b))
    seen = [route(RouteRequest(None, s.domain_of(c)), s).header_from for c in s.companies]
    assert seen == ["notifications@a.test", "notifications@b.test"]


@pytest.mark.req("GEN-08")
def test_on_premise_must_set_up_both_directions() -> None:
    report = readiness(setup(Hosting.ON_PREMISE))
    assert {"plan.no_server", "inbound.no_method"} <= set(codes(report))
    assert not report.ready
    assert all(f.severity is Severity.BLOCKING for f in report.findings)
    assert ids(report) == ["server.enable", "server.new", "server.test", "inbound.method"]
    s = setup(Hosting.ON_PREMISE, ACME, servers=(EXTERNAL,))
    assert "plan.no_server" not in codes(readiness(s))


@pytest.mark.req("GEN-09")
@pytest.mark.parametrize(("minutes", "words"), [(1, "too frequent"), (4, "too frequent"), (5, ""), (10, ""), (15, ""), (24 * 60, "slow replies"), (None, "")])  # fmt: skip
def test_the_fetch_interval(minutes: int | None, words: str) -> None:
    found = interval_finding(minutes)
    assert (found is None) == (not words)
    if found:
        assert words in found.message
        assert found.severity is Severity.WARNING
        assert "5 to 15 minutes" in found.fix
        assert found in readiness(setup(Hosting.ON_PREMISE), Facts(fetch_minutes=minutes)).findings


@pytest.mark.req("FAQ-06", "FAQ-07")
@pytest.mark.parametrize(("address", "fine"), [("admin@example.com", False), ("", False), (" ", False), ("ann@acme.com", True), (None, True)])  # fmt: skip
def test_the_administrator_s_placeholder_is_named(address: str | None, fine: bool) -> None:
    report = readiness(setup(Hosting.ONLINE), Facts(admin=address))
    assert ("admin.placeholder" not in codes(report)) == fine
    if not fine:
        (found,) = report.findings
        assert "admin@acme.odoo.com" in found.fix
        assert "user icon → My Profile (or Preferences) → Preferences → Email" in found.fix


@pytest.mark.req("OUT-09")
def test_a_domain_that_does_not_exist_is_the_first_task() -> None:
    report = readiness(setup(Hosting.ONLINE, ACME), Facts(domains={"acme.com": False}))
    assert ids(report)[0] == "domain.owned"
    assert "GoDaddy or Namecheap" in report.tasks[0].text
    assert "domain.owned" not in ids(readiness(setup(Hosting.ONLINE, ACME), Facts(domains={"acme.com": True})))
    assert "domain.owned" not in ids(readiness(setup(Hosting.ONLINE, ACME)))  # unknown is not absent


@pytest.mark.req("OUT-11", "OUT-12", "OUT-48")
def test_the_alias_domain_tasks() -> None:
    s = Setup(Profile(Hosting.ONLINE, "acme"), (), (Company("a", "Acme"), Company("b", "Beta")), (ACME,))
    tasks = {t.id: t for t in readiness(s).tasks}
    assert tasks["alias_domain.set:acme.com"].click_path == "Settings → Alias Domain"
    assert all(word in tasks["alias_domain.set:acme.com"].text for word in ("Acme, Beta", "internal-link arrow"))
    names = tasks["alias_domain.names:acme.com"]
    assert names.click_path == "Settings → Technical → Email: Alias Domains"
    assert dict(names.values) == {
        "Bounce Alias": "bounce",
        "Catchall Alias": "catchall",
        "Default From Alias": "notifications",
    }
    for words in ("catches delivery errors and fills the red envelope", "centralises replies", "is the default sender"):
        assert words in names.text


@pytest.mark.req("OUT-14")
def test_every_alias_needs_a_mailbox() -> None:
    report = readiness(setup(Hosting.ONLINE, ACME), Facts(aliases=("info", "help")))
    boxes = [v for t in report.tasks if t.id.startswith("inbound.mailboxes:") for _, v in t.values]
    assert boxes == ["catchall@acme.com", "bounce@acme.com", "info@acme.com", "help@acme.com"]


@pytest.mark.req("OUT-17", "OUT-18", "OUT-23")
def test_the_steps_for_an_own_server() -> None:
    tasks = {t.id: t for t in readiness(setup(Hosting.ONLINE, ACME), Facts(outgoing="own")).tasks}
    assert tasks["server.enable"].click_path == "Settings → Emails → Use Custom Email Servers → Save"
    assert tasks["server.new"].click_path == "Settings → Emails → Outgoing Email Servers → New"
    assert tasks["server.test"].click_path == "Test Connection"
    assert len(SERVER_FIELDS) == 9
    assert all(name in tasks["server.new"].text for name in SERVER_FIELDS)
    for name in ("Gmail, Amazon SES, Brevo", "Mailgun, Sendgrid, Mailjet"):
        assert name in tasks["server.new"].text
    # the same fields are on the record itself
    assert {"name", "from_filter", "host", "port", "encryption", "login", "password", "priority", "active"} <= set(
        Server.__slots__
    )


@pytest.mark.req("OUT-45")
def test_the_hosted_records_have_no_effect_with_an_external_server() -> None:
    only = Facts(methods=ALL, spf={"acme.com": "v=spf1 include:_spf.odoo.com ~all"})
    both = Facts(methods=ALL, spf={"acme.com": "v=spf1 include:_spf.odoo.com include:spf.mailjet.com ~all"})
    s = setup(Hosting.ONLINE, ACME, servers=(EXTERNAL,))
    assert "spf.hosted_no_effect" in codes(readiness(s, only))
    assert "spf.hosted_no_effect" not in codes(readiness(s, both))
    assert "spf.hosted_no_effect" not in codes(readiness(setup(Hosting.ONLINE, ACME), only))


@pytest.mark.req("OUT-39")
def test_filters_beside_the_default_server_are_a_task() -> None:
    s = setup(Hosting.ONLINE, ACME, servers=(replace(EXTERNAL, from_filter=None), CLI))
    assert values(readiness(s), "server.cli_filter") == {
        "Default server": "acme.odoo.com",
        "External server": "acme.com",
    }


@pytest.mark.req("OUT-42")
def test_on_sh_the_default_server_is_set_in_the_configuration_file() -> None:
    report = readiness(setup(Hosting.SH, servers=(CLI,)))
    task = next(t for t in report.tasks if t.id == "server.configuration_file")
    assert "configuration file" in task.text
    assert "smtp_server" in task.text
    assert "server.configuration_file" not in ids(readiness(setup(Hosting.ONLINE, servers=(CLI,))))


@pytest.mark.req("OUT-42", "GEN-14")
def test_reading_the_default_server_of_a_configuration_file() -> None:
    text = "[options]\nsmtp_server = relay.test\nsmtp_port = 587\nsmtp_ssl = True\nsmtp_user = u\nsmtp_password = s3cret%x\nfrom_filter = acme.odoo.com\nemail_from = False\n"
    found = read_default_server(text)
    assert found == DefaultServer("relay.test", 587, Encryption.STARTTLS, "u", from_filter="acme.odoo.com")
    assert "s3cret" not in repr(found)
    assert read_default_server("[options]\n") == DefaultServer()
    assert read_default_server("[options]\nsmtp_server=r\nsmtp_port=465\nsmtp_ssl=1\n").encryption is Encryption.TLS
    for bad in ("no section", "[options]\nsmtp_port = x\n", "[options]\na\n"):
        with pytest.raises(ConfigError) as caught:
            read_default_server(bad)
        assert caught.value.code == "server.default_file"


# --- usage ---


@pytest.mark.req("OUT-40", "OUT-41")
def test_the_default_server_of_online_has_the_same_limit_with_and_without_record() -> None:
    s = setup(Hosting.ONLINE, servers=(CLI,))
    without, borrowed = usage(s, None, 30), usage(s, CLI, 30)
    assert without == borrowed
    assert (without.sent, without.limit, without.remaining) == (30, 200, 170)
    assert without.text() == "Sent today 30, limit 200, remaining 170. The limit starts anew at 23:00 UTC."
    assert usage(s, None, 250).remaining == 0
    assert usage(s, None, 200).remaining == 0


@pytest.mark.req("OUT-41")
def test_on_sh_the_number_is_shown_without_a_limit() -> None:
    today = usage(setup(Hosting.SH), None, 1_234)
    assert (today.limit, today.remaining) == (None, None)
    assert today.text().startswith("Sent today 1,234.")


@pytest.mark.req("LIM-06", "OUT-41")
def test_an_external_server_is_exempt() -> None:
    today = usage(setup(Hosting.ONLINE, servers=(EXTERNAL,)), EXTERNAL, 10_000)
    assert today.limit is None
    assert "independent" in today.text()


@pytest.mark.req("LIM-02")
def test_the_policy_is_data_between_5_and_200() -> None:
    s = setup(Hosting.ONLINE)
    assert DEFAULT_POLICY == {"paying": 200, "trial": 50, "one_app_free": 20, "migration": 50}
    assert all(5 <= (daily_limit(s, subscription=name) or 0) <= 200 for name in DEFAULT_POLICY)
    assert daily_limit(s, policy={"paying": 10_000}) == 200
    assert daily_limit(s, policy={"paying": 1}) == 5
    assert daily_limit(s, subscription="unknown") == 5


def test_the_day_starts_at_the_reset() -> None:
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert next_reset(now) == datetime(2026, 11, 23, 23, tzinfo=UTC)
    assert next_reset(datetime(2026, 11, 23, 23, tzinfo=UTC)) == datetime(2026, 11, 24, 23, tzinfo=UTC)


@pytest.mark.req("OUT-43")
def test_a_campaign_larger_than_what_remains_is_a_warning() -> None:
    today = usage(setup(Hosting.ONLINE), None, 150)
    (found,) = quota_findings(today, 51)
    assert found.severity is Severity.WARNING
    assert "50" in found.message
    assert "transactional mail and small campaigns" in found.fix
    assert quota_findings(today, 50) == []
    assert quota_findings(usage(setup(Hosting.ONLINE), EXTERNAL, 0), 50_000) == []


# --- possible senders ---


@pytest.mark.req("OUT-21")
def test_the_inventory_has_all_six_sources() -> None:
    s = setup(Hosting.ONLINE, ACME)
    found = inventory(s, EXTERNAL, campaigns=['"News" <news@acme.com>'], templates=["sales@other.com", "NEWS@acme.com"])
    assert [(p.address, p.sources, p.mark) for p in found] == [
        ("bounce@acme.com", ("bounce alias",), "covered"),
        ("notifications@acme.com", ("default from",), "covered"),
        ("admin@acme.odoo.com", ("administrator",), "not covered"),
        ("odoobot@acme.odoo.com", ("OdooBot",), "not covered"),
        ("news@acme.com", ("campaign", "template"), "covered"),
        ("sales@other.com", ("template",), "not covered"),
    ]
    assert {source for p in found for source in p.sources} == set(SOURCES)


@pytest.mark.req("OUT-21")
def test_changed_addresses_and_the_hosted_default() -> None:
    s = setup(Hosting.ONLINE)
    found = inventory(s, replace(EXTERNAL, from_filter=None), admin="boss@acme.com", bot="boss@acme.com")
    assert [p.address for p in found] == ["bounce@acme.odoo.com", "notifications@acme.odoo.com", "boss@acme.com"]
    assert found[2].sources == ("administrator", "OdooBot")
    assert all(p.covered for p in found)


# --- changing the technical addresses ---


@pytest.mark.req("OUT-49")
def test_a_changed_name_is_reported_with_what_it_loses() -> None:
    new = replace(ACME, catchall_alias="reply")
    impact = change_impact(ACME, new, {"Catchall@acme.com": 1_234})
    (change,) = impact.changes
    assert (change.label, change.old, change.new, change.sent) == (
        "Catchall Alias",
        "catchall@acme.com",
        "reply@acme.com",
        1_234,
    )
    assert impact.needs_confirmation
    assert impact.keep == ("catchall@acme.com",)
    assert "1,234 sent mails still point at catchall@acme.com" in impact.confirmation()
    assert "generally not recommended" in impact.confirmation()


@pytest.mark.req("OUT-49")
def test_a_changed_domain_changes_all_three_and_nothing_changed_asks_nothing() -> None:
    impact = change_impact(ACME, replace(ACME, name="new.com"))
    assert [c.label for c in impact.changes] == ["Bounce Alias", "Catchall Alias", "Default From Alias"]
    same = change_impact(ACME, replace(ACME, name="ACME.com", sequence=3))
    assert not same.needs_confirmation
    assert same.confirmation() == ""
    assert change_impact(ACME, replace(ACME, bounce_alias="")).changes[0].new is None


@pytest.mark.req("OUT-55", "OUT-51")
def test_a_complete_default_from_warns_before_saving() -> None:
    one = AliasDomain("acme.com", default_from="hello@acme.com")
    for old in (None, ACME):
        impact = change_impact(old, one)
        assert impact.needs_confirmation
        assert "overwrites the From of all outgoing mail" in impact.confirmation()
    assert not change_impact(None, AliasDomain("acme.com", default_from="hello")).needs_confirmation
    assert not change_impact(one, replace(one, sequence=1)).needs_confirmation
    assert "alias_domain.complete_default_from" in codes(readiness(setup(Hosting.ONLINE, one)))
