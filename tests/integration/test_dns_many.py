"""Every mail domain of a workspace in one table, and what large receivers ask of whoever sends much."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from dns_kit import CLEAN, DOMAIN, SUPPORT, Zone, report, row_of, values, zone
from typer.testing import CliRunner

from mailops import Ops
from mailops.cli.app import app
from mailops.demo.names import ask_here
from mailops.dns.check_bulk import bulk_rules
from mailops.errors import InputRefused
from mailops.model.setup import AliasDomain
from mailops.testing import ManualClock
from mailops.testing.dns_server import DnsServer
from mailops.widgets import domains_overview

SECOND = "second.example"
BOTH: Zone = {**zone(), SECOND: ["NS ns1.acme.example.", "MX 10 mx.acme.example."]}


@pytest.fixture
def ops(ops_factory: Callable[..., Ops]) -> Ops:
    made = ops_factory(clock=ManualClock(datetime(2026, 5, 4, 8, tzinfo=UTC)))
    made.save_alias_domain(AliasDomain(DOMAIN))
    made.save_alias_domain(AliasDomain(SECOND, sequence=20))
    return made


def test_every_domain_of_the_workspace_stands_in_one_table(ops: Ops) -> None:
    with DnsServer(BOTH) as server:  # type: ignore[arg-type]  # mixed forms
        ask_here(ops.workspace.path / "mailops.toml", server.port)
        words = ["-w", str(ops.workspace.path), "domain", "check", "--all-domains"]
        told = CliRunner().invoke(app, words)
        shown = json.loads(CliRunner().invoke(app, [*words, "--json"]).output)
    assert told.exit_code == 1
    first, second = (next(line for line in told.output.splitlines() if name in line) for name in (DOMAIN, SECOND))
    assert "spf.missing" not in first
    assert "spf.missing" in second
    assert [one["domain"] for one in shown] == [DOMAIN, SECOND]


def test_the_notebook_shows_the_same_table(ops: Ops) -> None:
    with DnsServer(BOTH) as server:  # type: ignore[arg-type]  # mixed forms
        ask_here(ops.workspace.path / "mailops.toml", server.port)
        told = domains_overview(Ops.open(ops.workspace.path)).text()
    assert DOMAIN in told
    assert "spf.missing" in told


def test_no_domain_at_all_is_an_error_with_the_way_out() -> None:
    done = CliRunner().invoke(app, ["domain", "check"])
    assert getattr(done.exception, "code", "") == "input.domain"


def states(where: Zone, **options: Any) -> dict[str, str]:
    rows = [row for row in report(where, **options)["results"] if row["check"] == "bulk"]
    return {row["subject"]: row["state"] for row in rows}


SENDER = {"service": "", "spf_terms": ("ip4:192.0.2.25",), "selectors": ("odoo",)}
OWN: Zone = zone({DOMAIN: ["TXT v=spf1 ip4:192.0.2.25 -all", *CLEAN[DOMAIN][1:]],
                  "25.2.0.192.in-addr.arpa": [f"PTR mx.{DOMAIN}."]})  # fmt: skip


def test_a_domain_that_meets_the_rules_passes_with_every_receiver() -> None:
    assert set(states(OWN, volume=20_000, **SENDER).values()) == {"passed"}


@pytest.mark.parametrize(
    ("gone", "word", "volume"),
    [(f"_dmarc.{DOMAIN}", "DMARC", 5_000), ("25.2.0.192.in-addr.arpa", "reverse name", 100), (f"odoo._domainkey.{DOMAIN}", "DKIM", 5_000)],
)  # fmt: skip
def test_what_is_missing_is_named(gone: str, word: str, volume: int) -> None:
    where = {name: entries for name, entries in OWN.items() if name != gone}
    rows = [row for row in report(where, volume=volume, **SENDER)["results"] if row["check"] == "bulk"]
    google = next(row for row in rows if "Google" in row["subject"])
    assert google["state"] == "failed"
    assert word in google["title"]
    assert google["evidence"]["source"]


def test_below_the_volume_only_what_always_holds_is_asked() -> None:
    where = {name: entries for name, entries in OWN.items() if name != f"_dmarc.{DOMAIN}"}
    assert set(states(where, volume=100, **SENDER).values()) == {"passed"}
    assert states(where, **SENDER) == {}


def test_what_was_not_looked_at_is_unknown() -> None:
    where = {**SUPPORT, **OWN}
    shown = states(where, volume=20_000, service="amazonses")
    assert shown["Microsoft (Outlook.com, Hotmail)"] == "unknown"


def test_each_rule_carries_source_and_date() -> None:
    for rule in bulk_rules():
        assert rule.url.startswith("https://")
        assert rule.source
        assert rule.as_of
        assert datetime.fromisoformat(rule.since)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("acme.example/mail", "acme.example"),
     ("192.0.2.1", "example.com"), ("nonsense", "example.com"), ("a b.example", "example.com"), ("-x.example", "example.com"),
     ("acme..example", "example.com"), ("*.acme.example", "example.com"), ("", "example.com"), ("ex\U0001f4a9.\u2603\u0000", "example.com")],
)  # fmt: skip
def test_what_is_no_mail_domain_is_refused_with_what_was_meant(ops: Ops, written: str, meant: str) -> None:
    with pytest.raises(InputRefused) as caught:
        ops.domains.setup(written)
    assert caught.value.code == "input.domain"
    assert f"such as {meant}" in caught.value.fix


@pytest.mark.parametrize(
    ("written", "name"),
    [("Acme.Example.", "acme.example"), ("https://acme.example/", "acme.example"), ("ann@acme.example", "acme.example"), ("b\u00fcro.example", "xn--bro-hoa.example"), ("\ufeffacme.example\u200b ", "acme.example"),
     ("xn--bro-hoa.example", "xn--bro-hoa.example"), ("news.acme.example", "news.acme.example")],
)  # fmt: skip
def test_a_domain_is_taken_as_people_paste_it(ops: Ops, written: str, name: str) -> None:
    assert ops.domains.setup(written).name == name


@pytest.mark.parametrize("named", [["odoo,google"], ["odoo", "google"]])
def test_several_services_are_given_with_commas_or_again(named: list[str]) -> None:
    with DnsServer(zone()) as server:  # type: ignore[arg-type]  # mixed forms
        words = ["domain", "check", DOMAIN, "--json", "--resolver", f"127.0.0.1:{server.port}"]
        told = CliRunner().invoke(app, [*words, *(word for one in named for word in ("--service", one))])
    row = row_of(json.loads(told.output), "spf.service_not_permitted")
    assert values(row) == [(DOMAIN, "TXT", "v=spf1 include:_spf.google.com include:_spf.odoo.com ~all")]
