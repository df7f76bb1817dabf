"""The domain check knows the workspace: who sends, the bounce domain, the database and the hosting kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from desk import Desk
from dns_kit import KEY

from mailops.testing import DnsServer

BASE = {
    "company-name.com": [
        "SOA ns.company-name.com. h.company-name.com. 1 3600 600 86400 120",
        "NS ns.company-name.com.",
    ],
    "ns.company-name.com": ["A 127.0.0.1"],
}
HOSTED_ONLY = {
    "company-name.com": [*BASE["company-name.com"], "TXT v=spf1 include:_spf.odoo.com ~all"],
    "odoo._domainkey.company-name.com": ["CNAME odoo._domainkey.odoo.com."],
    "_spf.odoo.com": ["TXT v=spf1 ip4:192.0.2.1 ~all"],
    "odoo._domainkey.odoo.com": [f"TXT {KEY}"],
    "odoo._domainkey.otherdb.odoo.com": [f"TXT {KEY}"],
    "odoo.com": ["SOA ns.odoo.com. h.odoo.com. 1 3600 600 86400 120", "NS ns.company-name.com."],
}
Make = Callable[..., Desk]


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Make]:
    """A workspace whose checks ask a name server with these records."""
    running: list[DnsServer] = []

    def make(zone: dict[str, list[str]], hosting: str = "online") -> Desk:
        server = DnsServer({**BASE, **zone})
        running.append(server)
        address = server.__enter__().address
        toml = f'\n[dns]\nresolvers = ["{address[0]}:{address[1]}"]\ntimeout = 1.0\n'
        return Desk(tmp_path / f"w{len(running)}", hosting=hosting, database="acme", toml=toml)

    yield make
    for server in running:
        server.__exit__(None, None, None)


def codes(told: dict) -> dict[str, str]:
    return {row["code"]: row["state"] for row in told["results"]}


@pytest.mark.req("OUT-45", "DNS-04", "GEN-01")
def test_the_hosted_records_have_no_effect_where_mail_leaves_through_mailjet(at: Make) -> None:
    desk = at(HOSTED_ONLY)
    desk("company", "domain", "company-name.com")
    told = desk.json("domain", "check", "company-name.com")
    assert (told["service"], codes(told)["spf.ok"]) == ("odoo", "passed")
    desk("server", "add", "mj", "--host", "in-v3.mailjet.com", "--filter", "company-name.com")
    told = desk.json("domain", "check", "company-name.com", status=1)
    assert told["service"] == "mailjet"
    assert "spf.hosted_without_effect" in codes(told)
    assert desk.json("domain", "check", "company-name.com", "--service", "odoo")["service"] == "odoo"
    [both] = desk.json("domain", "check", "--all-domains", status=1)
    assert both["service"] == "mailjet"


@pytest.mark.req("DNS-01", "DNS-05")
def test_one_report_has_three_verdicts_and_a_pass_is_no_promise(at: Make) -> None:
    dmarc = {"_dmarc.company-name.com": ["TXT v=DMARC1; p=none; rua=mailto:postmaster@company-name.com"]}
    desk = at({**HOSTED_ONLY, **dmarc})
    desk("company", "domain", "company-name.com")
    told = desk.json("domain", "check", "company-name.com")
    assert {row["check"] for row in told["results"]} == {"spf", "dkim", "dmarc"}
    assert "A pass is no promise" in " ".join(told["notes"])
    assert "A pass is no promise" in desk("domain", "check", "company-name.com")


@pytest.mark.req("DNS-03", "GEN-05")
@pytest.mark.parametrize("service", ["google", "microsoft365", "mailjet", "brevo", "sendgrid", "amazonses"])
def test_an_external_service_with_nothing_published_fails(at: Make, service: str) -> None:
    desk = at({})
    told = desk.json("domain", "check", "company-name.com", "--service", service, status=1)
    assert (told["service"], told["state"]) == (service, "failed")
    assert "Neither SPF nor DKIM" in desk("domain", "check", "company-name.com", "--service", service, status=1)


def test_an_own_server_is_never_told_the_hosted_records(at: Make) -> None:
    desk = at({}, "on_premise")
    desk("company", "domain", "company-name.com")
    desk("server", "add", "own", "--host", "mx.company-name.com", "--filter", "company-name.com")
    told = desk.json("domain", "check", "company-name.com", status=1)
    assert told["service"] == ""
    assert "odoo" not in str(told)


@pytest.mark.req("SPF-02")
def test_spf_is_judged_where_the_bounce_address_is(at: Make) -> None:
    zone = {
        "b.com": ["SOA ns.b.com. h.b.com. 1 3600 600 86400 120", "TXT v=spf1 ip4:192.0.2.7 -all"],
        "a.com": ["TXT v=spf1 -all"],
    }
    desk = at(zone, "on_premise")
    desk("company", "domain", "b.com")
    desk("server", "add", "own", "--host", "mx.b.com", "--filter", "a.com, b.com")
    envelope = desk.json("explain", "send", "--from", "x@a.com")["envelope_from"]
    told = desk("domain", "explain", "--from", "x@a.com", "--ip", "192.0.2.7", status=1)
    assert envelope == "bounce@b.com"
    assert "SPF of b.com: pass" in told
    told = desk.json("domain", "check", "a.com")
    assert [row["subject"] for row in told["results"] if row["check"] == "spf"] == ["b.com"]


@pytest.mark.req("DKIM-05")
def test_the_dkim_target_is_that_of_the_workspaces_database(at: Make) -> None:
    desk = at({**HOSTED_ONLY, "odoo._domainkey.company-name.com": ["CNAME odoo._domainkey.otherdb.odoo.com."]})
    desk("company", "domain", "company-name.com")
    told = desk.json("domain", "check", "company-name.com", status=1)
    [dkim] = [row for row in told["results"] if row["check"] == "dkim"]
    assert dkim["code"] == "dkim.points_elsewhere"
    assert "odoo._domainkey.acme.odoo.com" in str(dkim)
    assert "*" not in dkim["expected"]
