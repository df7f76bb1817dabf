"""Readiness: true, or it says why not; marks are kept, carry the domain, and are set by the DNS checks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import Desk
from dns_kit import KEY

from mailops.testing import DnsServer

APEX = "SOA ns.one.com. h.one.com. 1 3600 600 86400 120"


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    zone = {
        "one.com": [APEX, "NS ns.one.com.", "TXT v=spf1 include:_spf.odoo.com ~all"],
        "two.com": [APEX.replace("one.com", "two.com"), "NS ns.one.com."],
        "odoo._domainkey.one.com": ["CNAME odoo._domainkey.odoo.com."],
        "odoo._domainkey.odoo.com": [f"TXT {KEY}"],
        "_spf.odoo.com": ["TXT v=spf1 ip4:192.0.2.1 ~all"],
        "com": ["SOA ns.com. h.com. 1 3600 600 86400 120", "NS ns.com."],
    }
    with DnsServer(zone) as server:
        yield server


def make(folder: Path, dns: DnsServer, hosting: str = "online") -> Desk:
    host, port = dns.address
    return Desk(folder, hosting=hosting, toml=f'\n[dns]\nresolvers = ["{host}:{port}"]\ntimeout = 1.0\n')


@pytest.mark.req("GEN-02", "OUT-01", "OUT-38")
def test_the_hosted_default_is_ready_and_says_what_mailops_cannot_reach(tmp_path: Path, dns: DnsServer) -> None:
    desk = make(tmp_path / "w", dns)
    told = desk.json("server", "readiness")
    assert (told["ready"], told["tasks"], [f["code"] for f in told["findings"]]) == (
        True,
        [],
        ["server.hosted_unreachable"],
    )
    assert [f["code"] for f in desk.json("server", "check")] == ["server.hosted_unreachable"]
    said = " ".join(desk.json("explain", "send", "--from", "x@company-name.odoo.com")["warnings"])
    assert "inside the database only" in said
    mail = desk.json("send", "--from", "x@company-name.odoo.com", "--to", "b@x.example", "--text", "t", "--urgent")
    assert (mail["state"], "inside its database only" in str(mail["deliveries"])) == ("outgoing", True)


@pytest.mark.req("GEN-04", "GEN-06", "OUT-10", "OUT-14", "OUT-45")
def test_marks_are_kept_by_domain_and_set_by_the_checks(tmp_path: Path, dns: DnsServer) -> None:
    desk = make(tmp_path / "w", dns)
    for name in ("one.com", "two.com"):
        desk("company", "domain", name)
    desk("alias", "add", "sales", "--model", "lead", "--domain", "one.com")
    told = desk.json("server", "readiness", status=1)
    tasks = {t["id"]: t for t in told["tasks"]}
    assert (told["ready"], told["level"]) == (False, "technical")
    assert [i for i, t in tasks.items() if t["done"]] == ["dns.spf:one.com", "dns.dkim:one.com"]
    boxes = [value for _, value in tasks["inbound.mailboxes:one.com"]["values"]]
    assert boxes == ["catchall@one.com", "bounce@one.com", "sales@one.com"]
    assert "inbound.no_method" in [f["code"] for f in told["findings"]]
    assert "pigeon" in desk("server", "readiness", "--method", "pigeon", status=2)
    assert "nonsense" in desk("server", "readiness", "--done", "nonsense", status=2)
    assert "several domains" in desk("server", "readiness", "--done", "dns.spf", status=2)
    told = desk.json("server", "readiness", "--method", "redirection", "--done", "dns.spf:two.com", status=1)
    again = desk.json("server", "readiness", status=1)  # nothing given: what was said is kept
    assert again == told
    assert "inbound.no_method" not in [f["code"] for f in again["findings"]]
    left = [t["id"] for t in again["tasks"] if not t["done"]]
    assert "dns.spf:two.com" not in left
    assert "dns.dkim:two.com" in left
    desk("server", "readiness", *(w for i in left for w in ("--done", i)))
    assert desk.json("server", "readiness")["ready"]
    assert not desk.json("server", "readiness", "--undone", "dns.dkim:two.com", status=1)["ready"]


@pytest.mark.req("OUT-09")
def test_a_domain_that_dns_denies_is_to_be_bought_first(tmp_path: Path, dns: DnsServer) -> None:
    desk = make(tmp_path / "w", dns)
    desk("company", "domain", "nobody-has-this.com")
    first = desk.json("server", "readiness", status=1)["tasks"][0]
    assert (first["id"], first["done"]) == ("domain.owned:nobody-has-this.com", False)
    assert "GoDaddy" in first["text"]


@pytest.mark.req("OUT-17", "FAQ-06", "FAQ-07", "GEN-09")
def test_what_only_a_person_knows_is_said_once(tmp_path: Path, dns: DnsServer) -> None:
    desk = make(tmp_path / "w", dns)
    told = desk.json("server", "readiness", "--server", "own", "--admin", "admin@example.com", "--fetch", "1", status=1)
    assert "server.enable" in [t["id"] for t in told["tasks"]]
    assert {"admin.placeholder", "inbound.interval"} <= {f["code"] for f in told["findings"]}
    assert "My Profile" in str([f for f in told["findings"] if f["code"] == "admin.placeholder"])
    assert desk.json("server", "readiness", status=1) == told
    premise = make(tmp_path / "p", dns, "on_premise")
    assert "odoo.com" not in premise("server", "readiness", status=1)


@pytest.mark.req("GEN-01", "GEN-09", "DMARC-05", "IN-44", "IN-29")
def test_three_kinds_of_hosting_give_three_reports(tmp_path: Path, dns: DnsServer) -> None:
    reports = {}
    for kind in ("online", "sh", "on_premise"):
        desk = make(tmp_path / kind, dns, kind)
        desk("company", "domain", "one.com")
        reports[kind] = desk("server", "readiness", "--no-dns", status=1)
    assert len(set(reports.values())) == 3
    assert "DMARC passes by DKIM alone" in reports["online"]
    assert "in the portal" in reports["online"]
    assert "in the project settings" in reports["sh"]
    assert "mail gateway script" in reports["on_premise"]
    assert all("Incoming mail servers are the usual way" in told for told in reports.values())
