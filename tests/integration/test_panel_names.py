"""The name to type into a DNS panel, short and full, from every face: by the panel, and for a subdomain of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from desk import Desk
from dns_kit import KEY

from mailops.testing import DnsServer

SHORT, FULL = "odoo._domainkey.promo", "odoo._domainkey.promo.shop.example"
ZONE = {
    "shop.example": ["SOA ns1.domaincontrol.com. h.shop.example. 1 3600 600 86400 120", "NS ns1.domaincontrol.com."],
    "plain.example": ["SOA ns.plain.example. h.plain.example. 1 3600 600 86400 120", "NS ns.plain.example."],
    "promo.shop.example": ["MX 10 mx.shop.example."],
    "promo.plain.example": ["MX 10 mx.shop.example."],
    "odoo.com": ["SOA ns.odoo.com. h.odoo.com. 1 3600 600 86400 120"],
    "_spf.odoo.com": ["TXT v=spf1 ip4:192.0.2.1 ~all"],
    "odoo._domainkey.odoo.com": [f"TXT {KEY}"],
}


@pytest.fixture
def resolver() -> Iterator[str]:
    with DnsServer(ZONE) as server:
        yield f"{server.address[0]}:{server.address[1]}"


def desk_at(folder: Path, resolver: str, panel: str = "") -> Desk:
    said = f'panel = "{panel}"\n' if panel else ""
    desk = Desk(folder, hosting="online", toml=f'\n[dns]\nresolvers = ["{resolver}"]\ntimeout = 0.5\n{said}')
    for name in ("promo.shop.example", "promo.plain.example"):
        desk("company", "domain", name)
    return desk


def first(told: str, *names: str) -> str:
    """Which of these texts comes first."""
    return min(names, key=lambda one: told.index(one))


@pytest.mark.req("DKIM-08")
def test_a_subdomain_gets_both_names_within_its_zone(tmp_path: Path, resolver: str) -> None:
    desk = desk_at(tmp_path / "w", resolver)
    told = desk.json("domain", "check", "promo.shop.example", status=1)
    [dkim] = [row for row in told["results"] if row["check"] == "dkim"]
    assert told["zone"] == "shop.example"
    assert dkim["hosts"] == [{"short": SHORT, "full": FULL}]
    [record] = dkim["publish"]
    assert (record["name"], record["type"]) == (FULL, "CNAME")
    assert record["value"].rstrip(".") == "odoo._domainkey.odoo.com"
    assert dkim["expected"] == "CNAME odoo._domainkey.odoo.com. or CNAME odoo._domainkey.company-name.odoo.com."
    assert f"CNAME at {SHORT} (in a panel that does not append the domain: {FULL})" in desk(
        "domain", "check", "promo.shop.example", status=1
    )
    tasks = {task["id"]: dict(task["values"]) for task in desk.json("server", "readiness", status=1)["tasks"]}
    assert tasks["dns.dkim:promo.shop.example"] == {
        "Host, where the panel appends the domain": SHORT,
        "Host, where it does not": FULL,
        "CNAME": "odoo._domainkey.odoo.com.",
    }
    assert tasks["dns.spf:promo.shop.example"]["Host, where the panel appends the domain"] == "promo"


@pytest.mark.req("DKIM-08")
def test_the_names_are_right_where_no_name_server_answers(tmp_path: Path) -> None:
    desk = desk_at(tmp_path / "w", "127.0.0.1:9")
    told = desk.json("server", "readiness", "--no-dns", status=1)
    tasks = {task["id"]: dict(task["values"]) for task in told["tasks"]}
    assert tasks["dns.dkim:promo.shop.example"]["Host, where the panel appends the domain"] == SHORT
    assert desk.json("domain", "check", "promo.shop.example", status=1)["zone"] == "shop.example"


@pytest.mark.req("DKIM-06")
@pytest.mark.parametrize(
    ("domain", "setting", "option", "wanted"),
    [
        ("promo.shop.example", "", (), "short"),  # this host is known to append the domain
        ("promo.plain.example", "", (), "short"),  # nobody knows: as most do
        ("promo.shop.example", "full", (), "full"),
        ("promo.plain.example", "full", (), "full"),
        ("promo.plain.example", "full", ("--panel", "short"), "short"),
        ("promo.shop.example", "", ("--panel", "full"), "full"),
    ],
)
def test_the_panel_decides_which_name_comes_first(
    tmp_path: Path, resolver: str, domain: str, setting: str, option: tuple[str, ...], wanted: str
) -> None:
    desk = desk_at(tmp_path / "w", resolver, setting)
    full = f"odoo._domainkey.{domain}"
    lines = {"short": "panel appends the domain: odoo._domainkey.promo\n", "full": f"where it does not: {full}\n"}
    told = desk("domain", "fix", domain, *option)
    assert first(told, *lines.values()) == lines[wanted]
    told = desk("domain", "export", domain, "--format", "panel", *option)
    assert first(told, *lines.values()) == lines[wanted]
    told = desk("domain", "check", domain, *option, status=1)
    assert f"CNAME at {'odoo._domainkey.promo' if wanted == 'short' else full} (in a panel that" in told
    known = desk.json("domain", "check", domain, *option, status=1)["appends_domain"]
    assert known is (None if not setting and not option and "plain" in domain else wanted == "short")


@pytest.mark.req("DKIM-06")
def test_the_card_shows_the_name_of_this_panel_first(tmp_path: Path, resolver: str) -> None:
    from mailops.widgets.domain_view import DomainView

    lines = {"short": f"appends the domain: {SHORT}\n", "full": f"where it does not: {FULL}\n"}
    for panel, wanted in lines.items():
        with closing(desk_at(tmp_path / panel, resolver, panel).ops()) as ops:
            setup = ops.domains.of(ops.setup, "promo.shop.example")
            text = DomainView(ops, setup).cards().text()
        assert first(text, *lines.values()) == wanted
        assert ("type the full name" in text) is (panel == "full")


def test_a_panel_that_there_is_not_is_refused(tmp_path: Path, resolver: str) -> None:
    desk = desk_at(tmp_path / "w", resolver)
    assert "dns.panel" in desk("domain", "fix", "promo.shop.example", "--panel", "long", status=2)
