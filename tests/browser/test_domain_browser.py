"""A broken domain in a real browser: red, watched, and green by itself once the proposed records are published."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailops import Ops
from mailops.demo.names import ask_here, write_reports, zone
from mailops.testing.dns_server import DnsServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
DOMAIN = "northwind.example"
RED = "of 3 findings need you"
GREEN = "Everything that was looked at is in order"


@pytest.fixture
def name_servers() -> Iterator[tuple[DnsServer, DnsServer]]:
    """The zone's two name servers; the first is also the one that is asked."""
    records = zone()
    records[DOMAIN] += [f"NS ns2.{DOMAIN}."]
    with DnsServer(records, ttl=60) as first, DnsServer(records, ttl=60) as second:
        yield first, second


@pytest.fixture
def workspace(ops_factory: Callable[..., Ops], name_servers: tuple[DnsServer, DnsServer]) -> Path:
    ops = ops_factory()
    first, second = name_servers
    ask_here(ops.workspace.path / "mailops.toml", first.port)
    with (ops.workspace.path / "mailops.toml").open("a", encoding="utf-8") as file:
        file.write(f'"ns2.{DOMAIN}" = "127.0.0.1:{second.port}"\n')
    return ops.workspace.path


@pytest.fixture
def notebooks_copy(tmp_path: Path) -> Path:
    """The notebook with the domain filled in, as a person would."""
    source = Path(__file__).parent.parent.parent / "notebooks"
    folder = tmp_path / "notebooks"
    folder.mkdir()
    text = (source / "domain_dns.ipynb").read_text("utf-8")
    filled = text.replace('domain: str = \\"\\"', f'domain: str = \\"{DOMAIN}\\"')
    assert filled != text
    text, filled = filled, filled.replace('service: str = \\"\\"', 'service: str = \\"odoo\\"')
    assert filled != text
    (folder / "domain_dns.ipynb").write_text(filled, "utf-8")
    (folder / "dmarc_reports.ipynb").write_text((source / "dmarc_reports.ipynb").read_text("utf-8"), "utf-8")
    return folder


def publish(server: DnsServer) -> None:
    server.replace(DOMAIN, "TXT", "TXT v=spf1 include:_spf.odoo.com mx ip4:203.0.113.40 -all")
    server.add(f"_dmarc.{DOMAIN}", f"TXT v=DMARC1; p=none; rua=mailto:postmaster@{DOMAIN}")


@pytest.mark.req("MJ-16")
def test_a_broken_domain_turns_green_by_itself_once_the_records_are_published(
    workspace: Path,
    name_servers: tuple[DnsServer, DnsServer],
    voila: Any,
    page_of: Callable[..., Any],
    screenshot: Callable[..., Path],
) -> None:
    first, second = name_servers
    with voila(workspace) as address:
        page = page_of("light", 1280, 2600)
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.goto(address("domain_dns"))
        page.get_by_text(RED).wait_for()
        page.get_by_text("Proved: after publishing this, SPF").wait_for()
        values = page.get_by_role("button", name="Copy Value", exact=True)
        values.first.click()
        page.get_by_role("status").get_by_text("copied").wait_for()
        wanted = "v=spf1 include:_spf.odoo.com mx ip4:203.0.113.40 -all"
        assert page.evaluate("navigator.clipboard.readText()") == wanted
        screenshot(page, "domain-red-light")

        page.get_by_role("button", name="Watch until published").click()
        page.get_by_text("Published on 0 of 2 name servers; next look in").wait_for()
        publish(first)
        page.get_by_text("Published on 1 of 2 name servers; next look in").wait_for()
        assert page.get_by_text(RED).is_visible(), "one server of two is not published"
        publish(second)
        page.get_by_text(GREEN).wait_for(timeout=90_000)  # nobody touched the page since
        page.get_by_text("Published on all 2 name servers").wait_for()
        assert page.get_by_text(RED).count() == 0
        assert page.get_by_role("heading", name="Record to publish", exact=True).count() == 0
        assert page.get_by_text("There was an error").count() == 0
        screenshot(page, "domain-green-light")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_dns_pages_are_readable(
    workspace: Path, voila: Any, page_of: Callable[..., Any], screenshot: Callable[..., Path], theme: str
) -> None:
    from datetime import UTC, datetime

    from test_cards_browser import CONTRAST

    write_reports(workspace / "dmarc", datetime.now(UTC))
    with voila(workspace, theme) as address:
        page = page_of(theme, 1280, 2600)
        page.goto(address("domain_dns"))
        page.get_by_text(RED).wait_for()
        page.get_by_text("Checks and reading elsewhere").wait_for()
        screenshot(page, f"domain-{theme}")
        assert page.evaluate(CONTRAST)["wrong"] == []
        page.goto(address("dmarc_reports"))
        page.get_by_text("Who sends without permission").first.wait_for()
        page.get_by_role("cell", name="cut-off.xml.gz").wait_for()
        screenshot(page, f"dmarc-{theme}")
        assert page.evaluate(CONTRAST)["wrong"] == []


def test_what_people_type_for_a_domain_is_looked_at_or_told_why_not(
    workspace: Path,
    name_servers: tuple[DnsServer, DnsServer],
    voila: Any,
    page_of: Callable[..., Any],
    screenshot: Callable[..., Path],
) -> None:
    first, _ = name_servers
    first.add("xn--bcher-kva.example", "TXT v=spf1 mx -all")
    first.add("_spf.google.com", "TXT v=spf1 ip4:203.0.113.0/24 ~all")
    with voila(workspace) as address:
        page = page_of("light", 1280, 2600)
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.goto(address("domain_dns"))
        page.get_by_text(RED).wait_for()
        assert page.get_by_label("Domain", exact=True).input_value() == DOMAIN

        def look(domain: str, service: str = "odoo") -> None:
            page.get_by_label("Domain", exact=True).fill(domain)
            page.get_by_label("Who sends").fill(service)
            page.get_by_role("button", name="Look at this domain").click()

        for nonsense, meant in (
            ("hello world!", "such as example.com"),
            ("northwind.example/contact", "such as northwind.example"),
            ("192.0.2.25", "such as example.com"),
            ("<script>alert(1)</script>", "is no mail domain"),
        ):
            look(nonsense)
            page.get_by_role("alert").get_by_text(meant).wait_for()
            assert page.get_by_role("heading", name=DOMAIN, exact=True).is_visible(), "what was seen stays"
        screenshot(page, "domain-nonsense")
        look(DOMAIN, "odoo, pigeons")
        page.get_by_role("alert").get_by_text("pigeons").wait_for()

        look("B\u00fccher.example", "own")
        page.get_by_role("heading", name="b\u00fccher.example (xn--bcher-kva.example)", exact=True).wait_for()
        assert page.get_by_role("alert").get_by_text("is no mail domain").count() == 0

        look(f" News.{DOMAIN}. ")  # the panel is that of the zone above
        page.get_by_role("heading", name=f"news.{DOMAIN}", exact=True).wait_for()
        page.locator(".mo-copy input").first.wait_for()
        names = page.locator(".mo-copy input").evaluate_all("fields => fields.map(one => one.value)")
        assert {"news", "odoo._domainkey.news", "_dmarc.news"} <= set(names), names
        assert page.get_by_text(f"$ORIGIN news.{DOMAIN}").count() == 0

        look(DOMAIN, "odoo, google")
        page.get_by_role("heading", name=DOMAIN, exact=True).wait_for()
        page.get_by_text("odoo and google is not permitted to send").wait_for()
        page.get_by_text("include:_spf.odoo.com include:_spf.google.com mx").first.wait_for()
        screenshot(page, "domain-two-services")
        assert page.get_by_text("There was an error").count() == 0
