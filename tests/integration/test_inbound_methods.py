"""The method chooser and its helpers, by the faces: what is to be redirected, looked at, added, and what is wrong."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from desk import Desk

from mailops.model.setup import AliasDomain, Company
from mailops.testing import DnsServer

APEX = "SOA ns.{0}. h.{0}. 1 3600 600 86400 120"


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    zone = {
        "company-name.com": [APEX.format("company-name.com"), "MX 10 mx1.mailhost.example."],
        "office.com": [APEX.format("office.com"), "MX 0 office-com.mail.protection.outlook.com."],
        "com": [APEX.format("com"), "NS ns.com."],
    }
    with DnsServer(zone) as server:
        yield server


def make(folder: Path, dns: DnsServer, hosting: str = "online", *domains: str) -> Desk:
    host, port = dns.address
    desk = Desk(folder, hosting=hosting, toml=f'\n[dns]\nresolvers = ["{host}:{port}"]\ntimeout = 1.0\n')
    ops = desk.ops()
    for name in domains or ("company-name.com",):
        ops.save_alias_domain(AliasDomain(name))
    ops.save_alias("info", "lead")
    ops.close()
    return desk


def codes(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {finding["code"]: finding for finding in told["findings"]}


@pytest.mark.req("IN-28", "IN-29", "IN-30", "GEN-09")
@pytest.mark.parametrize(
    ("hosting", "recommended"),
    [("online", "redirection"), ("sh", "redirection"), ("on_premise", "incoming mail server")],
)
def test_the_three_methods_are_shown_and_one_is_recommended(
    tmp_path: Path, dns: DnsServer, hosting: str, recommended: str
) -> None:
    told = make(tmp_path / "w", dns, hosting).json("inbound", "methods", "--no-dns")
    assert [m["name"] for m in told["methods"] if m["recommended"]] == [recommended]
    by_name = {m["name"]: m for m in told["methods"]}
    assert set(by_name) == {"redirection", "incoming mail server", "MX record"}
    assert all(m["pros"] and m["cons"] for m in told["methods"])
    assert "each alias must be configured" in by_name["redirection"]["cons"]
    assert "a copy stays in the mailbox (IMAP)" in by_name["incoming mail server"]["pros"]
    script = "inbound.gateway_script"
    for name in ("redirection", "MX record"):
        assert (script in [task["id"] for task in by_name[name]["tasks"]]) == (hosting == "on_premise")


@pytest.mark.req("IN-09", "IN-38")
def test_the_paths_in_odoo_are_shown(tmp_path: Path, dns: DnsServer) -> None:
    desk = make(tmp_path / "w", dns)
    shown = desk("inbound", "methods", "--no-dns")
    assert "Settings → Technical → Emails: Incoming Mail Servers" in shown
    assert "Settings → Technical → Emails: Alias Domains" in shown


@pytest.mark.req("IN-32", "IN-25")
def test_what_is_to_be_redirected_is_exact_and_goes_into_a_file(tmp_path: Path, dns: DnsServer) -> None:
    desk = make(tmp_path / "w", dns)
    wanted = [
        (f"{local}@company-name.com", f"{local}@company-name.odoo.com", mandatory)
        for local, mandatory in (("catchall", True), ("bounce", True), ("info", False))
    ]
    told = desk.json("inbound", "redirections", "--csv", str(tmp_path / "out.csv"))
    assert [(x["source"], x["target"], x["mandatory"]) for x in told] == wanted
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text("utf-8"))))
    assert [(x["source"], x["target"], x["mandatory"] == "yes") for x in rows] == wanted


@pytest.mark.req("IN-27", "GEN-06")
def test_mail_that_stays_at_the_domains_own_server_is_a_blocking_finding(tmp_path: Path, dns: DnsServer) -> None:
    desk = make(tmp_path / "w", dns)
    found = codes(desk.json("inbound", "methods"))["inbound.mx_elsewhere"]
    assert found["severity"] == "blocking"
    assert "mx1.mailhost.example" in found["message"]
    desk("server", "readiness", "--no-dns", "--method", "redirection", status=1)
    assert "inbound.mx_elsewhere" not in codes(desk.json("inbound", "methods"))


@pytest.mark.req("IN-31")
def test_microsoft_365_is_warned_of(tmp_path: Path, dns: DnsServer) -> None:
    found = codes(make(tmp_path / "w", dns, "online", "office.com").json("inbound", "methods"))
    assert found["inbound.outlook_forwards"]["severity"] == "warning"
    assert "only forwarding" in found["inbound.outlook_forwards"]["message"]
    assert "inbound.outlook_forwards" not in codes(make(tmp_path / "v", dns).json("inbound", "methods"))


@pytest.mark.req("IN-36")
def test_each_address_needs_a_mailbox_that_is_looked_at(tmp_path: Path, dns: DnsServer) -> None:
    desk = make(tmp_path / "w", dns)
    ops = desk.ops()
    ops.save_alias("help", "ticket")
    ops.close()
    assert desk.json("inbound", "methods", "--no-dns")["missing_mailboxes"] == []  # no such server is in use
    for local in ("catchall", "info"):
        desk(
            "inbound", "account", "add", local, "--protocol", "imap", "--host", "127.0.0.1", "--encryption", "none",
            "--login", f"{local}@company-name.com", "--password", "env:NONE", "--port", "143",
        )  # fmt: skip
    told = desk.json("inbound", "methods", "--no-dns")
    assert told["missing_mailboxes"] == ["bounce@company-name.com", "help@company-name.com"]
    assert "bounce@company-name.com" in codes(told)["inbound.mailboxes_missing"]["message"]


@pytest.mark.req("IN-24", "GEN-07")
def test_each_company_needs_its_alias_domain(tmp_path: Path, dns: DnsServer) -> None:
    desk = make(tmp_path / "w", dns)
    ops = desk.ops()
    (own,) = [d for d in ops.setup.alias_domains if d.name == "company-name.com"]
    ops.save_company(Company("one", "One", None, own))
    ops.save_company(Company("two", "Two", None, next(d for d in ops.setup.alias_domains if d.name != own.name)))
    ops.close()
    told = desk.json("inbound", "methods", "--no-dns")
    assert [f["facts"]["company"] for f in told["findings"] if f["code"] == "inbound.company_domain"] == ["two"]


@pytest.mark.req("IN-26")
def test_an_own_domain_links_to_the_records_for_sending(tmp_path: Path, dns: DnsServer) -> None:
    desk = make(tmp_path / "w", dns, "sh")
    found = codes(desk.json("inbound", "methods", "--no-dns"))["inbound.outgoing_records"]
    assert found["facts"]["tasks"] == ["dns.dkim:company-name.com", "dns.spf:company-name.com"]
    desk(
        "server", "readiness", "--no-dns", *(w for task in found["facts"]["tasks"] for w in ("--done", task)), status=1
    )
    assert "inbound.outgoing_records" not in codes(desk.json("inbound", "methods", "--no-dns"))


@pytest.mark.req("IN-22", "IN-23")
def test_subdomains_of_the_hosting(tmp_path: Path, dns: DnsServer) -> None:
    online, sh = make(tmp_path / "o", dns, "online"), make(tmp_path / "s", dns, "sh")
    second = "second.odoo.com"
    assert online.json("inbound", "domain", "company-name.odoo.com") is None
    refused = online.json("inbound", "domain", second, status=2)
    assert (refused["code"], refused["facts"]["subdomain"]) == ("inbound.subdomain", second)
    assert sh.json("inbound", "domain", second, "--used-elsewhere", status=2)["code"] == "inbound.subdomain"
    assert sh.json("inbound", "domain", second)["code"] == "inbound.subdomain_not_alias"
    ops = sh.ops()
    ops.save_alias_domain(AliasDomain(second))
    ops.close()
    assert sh.json("inbound", "domain", second) is None


@pytest.mark.req("IN-43", "IN-44")
@pytest.mark.parametrize(("hosting", "where"), [("online", "the portal"), ("sh", "the project settings")])
def test_an_mx_record_needs_a_subdomain_on_hosted_kinds(
    tmp_path: Path, dns: DnsServer, hosting: str, where: str
) -> None:
    desk = make(tmp_path / "w", dns, hosting)
    assert desk.json("inbound", "domain", "mydomain.com", status=2)["code"] == "inbound.mx_apex"
    assert where in desk.json("inbound", "domain", "mail.mydomain.com")["title"]
    premise = make(tmp_path / "p", dns, "on_premise")
    assert premise.json("inbound", "domain", "mydomain.com")["id"] == "inbound.gateway_script"


# --- samples ----------------------------------------------------------------------------------------------------------

HEAD = "To: {to}\nMessage-ID: <1@x.example>\nDate: Sun, 29 Nov 2026 10:00:00 +0000\n"
FORWARDED = (
    "From: Sales <info@company-name.com>\nSubject: Fwd: An offer\n"
    + HEAD.format(to="info@company-name.odoo.com")
    + "\n---------- Forwarded message ---------\nFrom: Ann <ann@x.example>\nDate: Sun, 29 Nov 2026\nTo: info\n\nHello\n"
)
OUTLOOK = (
    "From: Sales <info@company-name.com>\nSubject: WG: Angebot\n"
    + HEAD.format(to="info@company-name.odoo.com")
    + "\nVon: Ann <ann@x.example>\nGesendet: Sonntag, 29. November 2026\nAn: info@company-name.com\nBetreff: A\n\nHallo\n"
)
REDIRECTED = (
    "Delivered-To: info@company-name.odoo.com\nResent-From: info@company-name.com\nFrom: Ann <ann@x.example>\n"
    "Subject: An offer\n" + HEAD.format(to="info@company-name.com") + "\nHello\n"
)
DIRECT = "From: Ann <ann@x.example>\nSubject: Fwd: look\n" + HEAD.format(to="info@company-name.com") + "\nHello\n"


@pytest.mark.req("IN-35")
@pytest.mark.parametrize(
    ("raw", "how"),
    [(FORWARDED, "forwarded"), (OUTLOOK, "forwarded"), (REDIRECTED, "redirected"), (DIRECT, "direct")],
)
def test_a_sample_shows_whether_it_was_forwarded_or_redirected(
    tmp_path: Path, dns: DnsServer, raw: str, how: str
) -> None:
    desk = make(tmp_path / "w", dns)
    (tmp_path / "sample.eml").write_text(raw, "utf-8")
    (told,) = desk.json("inbound", "carried", str(tmp_path / "sample.eml"))
    assert told["how"] == how, told
    assert told["signs"]
    assert ("answers go there" in " ".join(told["breaks"])) == (how == "forwarded")


@pytest.mark.req("IN-52")
def test_past_mail_of_foreign_domains_is_listed_with_the_parameter(tmp_path: Path, dns: DnsServer) -> None:
    desk = make(tmp_path / "w", dns, "on_premise")
    desk("alias", "add", "commercial", "lead", "--any-domain")
    for number, to in enumerate(("commercial@company-name.com", "commercial@c.com", "info@company-name.com")):
        file = tmp_path / f"{number}.eml"
        file.write_text(f"From: p{number}@x.example\nTo: {to}\nSubject: S\nMessage-ID: <{number}@x.example>\n\nHi\n")
        desk("inbound", "receive", str(file))
    told = desk.json("inbound", "foreign")
    assert [(x["address"], x["alias"]) for x in told["mails"]] == [("commercial@c.com", "commercial")]
    assert told["value"] == "company-name.com"
    desk(*told["command"].split()[1:], "--yes")
    file.write_text("From: q@x.example\nTo: commercial@c.com\nSubject: S\nMessage-ID: <9@x.example>\n\nHi\n")
    assert desk.json("explain", "receive", str(file))["kind"] == "no_route"
