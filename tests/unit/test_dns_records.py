"""Outputs: exact zone lines, panel fields, tools' formats, and the 255-octet rule."""

from __future__ import annotations

import pytest

from mailops.dns.records import ZoneRecord, octodns, panel, terraform, zone_file, zone_line
from mailops.testing.dkim_keys import dkim_key_pair
from mailops.testing.dns_world import dns_world

DKIM = ZoneRecord("odoo._domainkey.company-name.com", "CNAME", "odoo._domainkey.odoo.com")
LONG = ZoneRecord("s1._domainkey.company-name.com", "TXT", dkim_key_pair()[1])
DMARC = ZoneRecord("_dmarc.company-name.com", "TXT", "v=DMARC1; p=none; rua=mailto:postmaster@example.com")
SPF = ZoneRecord("company-name.com", "TXT", "v=spf1 include:_spf.odoo.com ~all")
MX = ZoneRecord("company-name.com", "MX", "10 mx.company-name.com")


@pytest.mark.req("DKIM-03")
def test_the_dkim_line_is_exact() -> None:
    assert zone_line(DKIM, "company-name.com") == "odoo._domainkey IN CNAME odoo._domainkey.odoo.com."


@pytest.mark.req("DMARC-08")
def test_the_dmarc_line_is_exact() -> None:
    line = '_dmarc IN TXT "v=DMARC1; p=none; rua=mailto:postmaster@example.com"'
    assert zone_line(DMARC, "company-name.com") == line


@pytest.mark.req("DKIM-04")
def test_the_full_form_for_panels_that_do_not_append_the_domain() -> None:
    fields = panel(DKIM, "company-name.com")
    assert (fields.host_full, fields.host_short) == ("odoo._domainkey.company-name.com", "odoo._domainkey")
    assert fields.value == "odoo._domainkey.odoo.com."


@pytest.mark.req("DKIM-06")
def test_the_panel_decides_which_name_comes_first_and_both_can_be_copied() -> None:
    fields = panel(DKIM, "company-name.com")
    assert fields.host(True) == fields.host(None) == "odoo._domainkey"
    assert fields.host(False) == "odoo._domainkey.company-name.com"
    assert {fields.host_short, fields.host_full} == {"odoo._domainkey", "odoo._domainkey.company-name.com"}


@pytest.mark.req("DKIM-08")
def test_the_short_form_of_a_subdomain_sender() -> None:
    record = ZoneRecord("odoo._domainkey.marketing.company-name.com", "CNAME", "odoo._domainkey.odoo.com")
    fields = panel(record, "company-name.com")
    assert fields.host_short == "odoo._domainkey.marketing"
    assert fields.host_full == "odoo._domainkey.marketing.company-name.com"


def test_the_zone_file_round_trips_through_the_server() -> None:
    text = zone_file([SPF, DKIM, LONG, DMARC, MX], "company-name.com")
    with dns_world(text) as (_, run):
        assert run.ask(LONG.name, "TXT").texts == (LONG.value,)
        assert all(len(part) <= 255 for part in run.ask(LONG.name, "TXT").strings[0])
        assert run.ask(SPF.name, "TXT").texts == (SPF.value,)
        assert run.ask(MX.name, "MX").exchanges == ((10, "mx.company-name.com"),)
        assert run.ask(DKIM.name, "CNAME").names == ("odoo._domainkey.odoo.com",)


def test_octodns_and_terraform() -> None:
    text = octodns([SPF, DKIM, DMARC, MX], "company-name.com")
    assert '"v=DMARC1\\\\; p=none\\\\; rua=mailto:postmaster@example.com"' in text
    assert '"odoo._domainkey":\n  - ttl: 3600\n    type: CNAME\n    value: "odoo._domainkey.odoo.com."' in text
    generic = terraform([SPF, DKIM, MX], "company-name.com")
    assert 'resource "dns_cname_record"' in generic
    assert 'cname = "odoo._domainkey.odoo.com."' in generic
    assert '"v=spf1 include:_spf.odoo.com ~all"' in generic
    assert '\\"\\"' in terraform([LONG], "company-name.com", "route53")
    assert "cloudflare_dns_record" in terraform([SPF, MX], "company-name.com", "cloudflare")
    macro = ZoneRecord("company-name.com", "TXT", "v=spf1 exists:%{i}.x.example.com -all")
    assert "%%{i}" in terraform([macro], "company-name.com")
    with pytest.raises(ValueError, match="known: generic"):
        terraform([SPF], "company-name.com", "pigeon")
