"""Names relative to the real zone, and exports that the tools load without losing a neighbour."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dns.zone
import pytest
from dns_kit import CLEAN, DOMAIN, KEY, SUPPORT, Zone, report, zone
from peers import missing
from typer.testing import CliRunner

from mailops.cli.app import app
from mailops.dns.records import ZoneRecord, terraform
from mailops.testing.dns_server import DnsServer

NEIGHBOURS = ["TXT google-site-verification=abc", "TXT MS=ms123", 'TXT "a \\"quoted\\" ${word}; %{x}"']
APEX = [*NEIGHBOURS, "TXT v=spf1 mx ~all", *CLEAN[DOMAIN][1:]]
WANTED = "v=spf1 include:_spf.odoo.com mx ~all"


def run(where: Zone, *words: str, code: int | None = None) -> str:
    with DnsServer(where) as server:  # type: ignore[arg-type]  # mixed forms
        host, port = server.address
        done = CliRunner().invoke(app, ["domain", *words, "--resolver", f"{host}:{port}", "--timeout", "1"])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert code is None or done.exit_code == code, done.output
    return done.output


def exported(where: Zone, form: str, *more: str, domain: str = DOMAIN) -> str:
    return str(json.loads(run(where, "export", domain, "--format", form, "--json", *more))["text"])


SUB: Zone = {**SUPPORT, DOMAIN: ["NS ns1.acme.example.", "TXT v=spf1 -all"], "ns1.acme.example": ["A 192.0.2.53"]}
NEWS = f"news.{DOMAIN}"


def test_a_sub_domains_names_are_relative_to_the_zone_that_holds_it() -> None:
    shown = run(SUB, "fix", NEWS)
    names = [line.partition(": ")[2] for line in shown.splitlines() if "where the panel appends the domain" in line]
    assert names == ["news", "odoo._domainkey.news", "_dmarc.news"]
    assert report(SUB, domain=NEWS)["zone"] == DOMAIN


@pytest.mark.parametrize("form", ["zone", "octodns", "terraform"])
def test_tools_get_the_zone_there_is(form: str) -> None:
    text = exported(SUB, form, domain=NEWS)
    assert {"zone": f"$ORIGIN {DOMAIN}.", "octodns": '"news":', "terraform": f'zone = "{DOMAIN}."'}[form] in text
    assert f"{NEWS}." not in text.replace(f"_domainkey.{NEWS}.", "")


def test_a_delegated_sub_domain_is_a_zone_of_its_own() -> None:
    where = {**SUB, NEWS: ["NS ns1.acme.example."]}
    assert f"$ORIGIN {NEWS}." in exported(where, "zone", domain=NEWS)


def test_an_alias_into_another_zone_does_not_lend_it() -> None:
    where = {**SUB, NEWS: ["CNAME pages.host.example."], "pages.host.example": ["NS ns1.host.example."]}
    assert report(where, domain=NEWS)["zone"] == DOMAIN


def test_records_of_two_zones_are_kept_apart() -> None:
    where = zone(
        {DOMAIN: CLEAN[DOMAIN][1:], "bounce.example": ["NS ns1.acme.example."], f"odoo._domainkey.{DOMAIN}": []}
    )
    out = json.loads(run(where, "export", DOMAIN, "--bounce-domain", "bounce.example", "--format", "octodns", "--json"))
    assert set(out["zones"]) == {DOMAIN, "bounce.example"}
    assert '"bounce.example' not in out["zones"][DOMAIN]


@pytest.mark.parametrize("form", ["octodns", "terraform", "route53"])
def test_whole_rrsets_keep_what_stands_beside(form: str) -> None:
    text = exported(zone({DOMAIN: APEX}), form)
    for kept in ("google-site-verification=abc", "MS=ms123", WANTED):
        assert text.count(kept) == 1
    assert "v=spf1 mx ~all" not in "\n".join(line for line in text.splitlines() if not line.startswith("#"))


@pytest.mark.parametrize("form", ["zone", "cloudflare", "panel"])
def test_single_records_are_only_what_is_new(form: str) -> None:
    text = exported(zone({DOMAIN: APEX}), form)
    assert WANTED in text
    assert "google-site-verification" not in text


BROKEN: Zone = zone({DOMAIN: APEX, f"odoo._domainkey.{DOMAIN}": [], f"_dmarc.{DOMAIN}": []})


def test_dnspython_loads_the_zone_file() -> None:
    text = exported(BROKEN, "zone")
    loaded = dns.zone.from_text(text, check_origin=False)
    assert {str(name) for name in loaded.nodes} == {"@", "odoo._domainkey", "_dmarc"}


def _octodns_load(text: str, where: Path, origin: str) -> Any:
    try:
        from octodns.provider.yaml import YamlProvider
        from octodns.zone import Zone as OctoZone
    except ImportError as problem:
        missing("octodns", str(problem))
    (where / f"{origin}.yaml").write_text(text, encoding="utf-8")
    loaded = OctoZone(f"{origin}.", [])
    YamlProvider("test", str(where)).populate(loaded)
    return {(record.name, record._type): record.data for record in loaded.records}


@pytest.mark.filterwarnings("ignore:YamlProvider")
def test_octodns_loads_with_its_defaults(tmp_path: Path) -> None:
    records = _octodns_load(exported(BROKEN, "octodns"), tmp_path, DOMAIN)
    apex = records["", "TXT"]["values"]
    assert {value.replace("\\;", ";") for value in apex} == {
        "google-site-verification=abc", "MS=ms123", 'a "quoted" ${word}; %{x}', WANTED
    }  # fmt: skip
    assert records["odoo._domainkey", "CNAME"]["value"] == "odoo._domainkey.odoo.com."
    assert records["_dmarc", "TXT"]["value"].startswith("v=DMARC1\\; p=none")


@pytest.mark.filterwarnings("ignore:YamlProvider")
def test_octodns_loads_what_a_sub_domain_and_many_names_need(tmp_path: Path) -> None:
    names = [f"s{number}._domainkey.{DOMAIN}" for number in (10, 2, 1)]
    from mailops.dns.records import octodns

    made = [ZoneRecord(name, "TXT", KEY) for name in names] + [ZoneRecord(DOMAIN, "MX", "10 mx.acme.example")]
    records = _octodns_load(octodns(made, DOMAIN), tmp_path, DOMAIN)
    assert len(records) == 4
    assert records["s10._domainkey", "TXT"]["value"].replace("\\;", ";") == KEY


@pytest.mark.parametrize("form", ["terraform", "cloudflare", "route53"])
@pytest.mark.parametrize("domain", [DOMAIN, "1stmail.example"])
def test_terraform_output_is_hcl_with_names_terraform_takes(form: str, domain: str) -> None:
    where = {name.replace(DOMAIN, domain): entries for name, entries in BROKEN.items()}
    text = exported(where, form, domain=domain)
    labels = [line.split('"')[3] for line in text.splitlines() if line.startswith("resource")]
    assert labels
    assert len(set(labels)) == len(labels)
    assert all(label[0].isalpha() or label[0] == "_" for label in labels)
    try:
        import hcl2
    except ImportError as problem:
        missing("hcl2", str(problem))
    assert len(hcl2.loads(text)["resource"]) == len(labels)


def test_two_names_that_differ_in_a_mark_get_two_labels() -> None:
    text = terraform([ZoneRecord("a-b.example", "TXT", "x"), ZoneRecord("a.b.example", "TXT", "y")], "example")
    labels = [line for line in text.splitlines() if line.startswith("resource")]
    assert len(set(labels)) == 2


@pytest.mark.parametrize("words", [["fix"], ["export"], ["watch", "--minutes", "0"]])
def test_every_command_takes_selectors_and_spf_terms(words: list[str]) -> None:
    where = zone({DOMAIN: ["TXT v=spf1 ip4:192.0.2.9 ~all", *CLEAN[DOMAIN][1:]]})
    shown = run(
        where, words[0], DOMAIN, *words[1:], "--service", "", "--spf-term", "ip4:192.0.2.25", "--selector", "s1"
    )
    assert "No such option" not in shown
    if words != ["watch", "--minutes", "0"]:
        assert "ip4:192.0.2.25" in shown


@pytest.mark.parametrize(
    "address", ["büro@acme.example", "nobody", "a@acme.example,b@acme.example", "a b@acme.example"]
)
def test_an_address_dmarc_cannot_carry_is_refused(address: str) -> None:
    with DnsServer(zone()) as server:  # type: ignore[arg-type]  # mixed forms
        host, port = server.address
        words = ["domain", "export", DOMAIN, "--report-to", address, "--resolver", f"{host}:{port}"]
        done = CliRunner().invoke(app, words)
    assert done.exit_code != 0
    assert getattr(done.exception, "code", "") == "input.report_to" or "input.report_to" in done.output


def test_a_report_addresss_domain_goes_out_in_a_labels() -> None:
    where = zone({f"_dmarc.{DOMAIN}": []})
    assert "rua=mailto:dmarc@xn--bro-hoa.example" in exported(where, "zone", "--report-to", "dmarc@büro.example")


LOSSY = zone({f"_dmarc.{DOMAIN}": ["TXT v=DMARC1; p=reject; sp=bogus"]})
ALIASED = zone({f"_dmarc.{DOMAIN}": ["CNAME acme.dmarc-host.example."]})


@pytest.mark.parametrize(("where", "loss"), [(LOSSY, "sp=bogus"), (ALIASED, "the alias to acme.dmarc-host.example")])
@pytest.mark.parametrize("form", ["panel", "zone", "octodns", "terraform", "cloudflare", "route53"])
def test_what_loses_something_of_the_owners_is_held_back_until_confirmed(where: Zone, loss: str, form: str) -> None:
    held = json.loads(run(where, "export", DOMAIN, "--format", form, "--json", code=1))
    assert "v=DMARC1" not in held["text"]
    assert loss in held["text"]
    assert loss in held["held_back"][0]["loses"][0]
    assert "take away" not in held["text"], "nothing goes before the loss is confirmed"
    given = json.loads(run(where, "export", DOMAIN, "--format", form, "--accept-losses", "--json", code=0))
    assert "v=DMARC1" in given["text"]
    assert f"gone afterwards: {loss}" in given["text"]
    assert given["held_back"] == []


def test_what_loses_nothing_is_given_beside_what_is_held_back() -> None:
    where = {**LOSSY, DOMAIN: ["TXT v=spf1 mx ~all", *CLEAN[DOMAIN][1:]]}
    text = exported(where, "zone")
    assert WANTED in text
    assert "v=DMARC1" not in text


def test_fix_shows_the_loss_first_and_the_record_once_it_is_confirmed() -> None:
    shown = run(LOSSY, "fix", DOMAIN, code=1)
    assert "gone afterwards: sp=bogus" in shown
    assert "--accept-losses" in shown
    assert "v=DMARC1; p=reject\n" not in shown
    assert "v=DMARC1; p=reject\n" in run(LOSSY, "fix", DOMAIN, "--accept-losses", code=0)
    rows = json.loads(run(LOSSY, "fix", DOMAIN, "--json", code=1))["changes"]
    assert [(row["confirm"], row["loses"]) for row in rows] == [(True, ["sp=bogus"])]


def test_the_card_shows_the_record_once_a_person_agrees() -> None:
    from mailops.dns.domain import check_domain
    from mailops.dns.domain_model import SendingSetup
    from mailops.testing.dns_world import dns_world
    from mailops.widgets.domain_view import FindingCard

    with dns_world(LOSSY, timeout=1.0) as (_, live):
        found = live.do(lambda resolver: check_domain(resolver, SendingSetup(DOMAIN)))
    result = next(one for one in found.results if one.change is not None and one.change.loses)
    card = FindingCard(result, DOMAIN)
    for shown in (card.html(), card.text()):
        assert "sp=bogus" in shown
        assert "Copy" not in shown
        assert "Record to publish" not in shown
    shown = FindingCard(result, DOMAIN, losses=True).text()
    assert "v=DMARC1; p=reject" in shown
    (agree,) = (one for one in card.widget.children if getattr(one, "description", "") == "I agree to lose this")
    agree.click()
    assert agree not in card.widget.children
    assert any("Record to publish" in getattr(one, "value", "") for one in card.widget.children)
    assert "v=DMARC1; p=reject" in card.text()
    assert "v=DMARC1; p=reject" in FindingCard(result, DOMAIN, agreed=card.agreed).text(), "a redraw asks once"
