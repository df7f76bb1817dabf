"""SPF advice: senders that were named pass afterwards, permission is evaluated, and what cannot fit gets a plan."""

from __future__ import annotations

import pytest
from dns_kit import CLEAN, DOMAIN, SUPPORT, codes, mended, proposals, report, row_of, text, values, zone

from mailops.dns.spf import check_domain
from mailops.testing.dns_world import dns_world

REST = CLEAN[DOMAIN][1:]
GOOGLE, ODOO = "include:_spf.google.com", "include:_spf.odoo.com"
BOTH = f"v=spf1 {GOOGLE} {ODOO} ~all"


def apex(*records: object) -> dict[str, list[object]]:
    return zone({DOMAIN: [*records, *REST]})


def passes(where: dict[str, list[object]], *addresses: str) -> bool:
    with dns_world(where, timeout=1.0) as (_, run):  # type: ignore[arg-type]  # mixed forms
        return all(str(run.do(lambda r, ip=ip: check_domain(r, ip, DOMAIN)).result) == "pass" for ip in addresses)


SLIPS = {
    "quotes typed": f'"{BOTH}"',
    "curly quotes": f"“{BOTH}”",
    "byte order mark": f"\ufeff{BOTH}",
    "leading space": f" {BOTH}",
    "backslash and quotes": f'\\"{BOTH}\\"',
    "cut by hand": f'"v=spf1 {GOOGLE} " "{ODOO} ~all"',
    "no-break spaces": BOTH.replace(" ", "\u00c2\u00a0"),
    "en dash": f"v=spf1 {GOOGLE} {ODOO} \u00e2\u0080\u0093all",
    "version glued": f"v=spf1{GOOGLE} {ODOO} ~all",
    "version with a semicolon": f"v=spf1; {GOOGLE}; {ODOO}; ~all",
    "version without v": f"spf1 {GOOGLE} {ODOO} ~all",
    "version with spaces": f"v = spf1 {GOOGLE} {ODOO} ~all",
    "commas": f"v=spf1 {GOOGLE}, {ODOO}, ~all",
    "space after the colon": "v=spf1 include: _spf.google.com include: _spf.odoo.com ~all",
    "no colon": "v=spf1 include _spf.google.com include _spf.odoo.com ~all",
    "equals sign": "v=spf1 include=_spf.google.com include=_spf.odoo.com ~all",
    "misspelt": "v=spf1 incldue:_spf.google.com includes:_spf.odoo.com ~all",
    "https": "v=spf1 include:https://_spf.google.com/ include:_spf.odoo.com/ ~all",
    "https without a slash behind": "v=spf1 include:https://_spf.google.com include:_spf.odoo.com ~all",
    "single quotes": f"'{BOTH}'",
    "version misspelt": f"v=sfp1 {GOOGLE} {ODOO} ~all",
    "version of another number": f"v=spf2 {GOOGLE} {ODOO} ~all",
    "version with a digit too many": f"v=spf10 {GOOGLE} {ODOO} ~all",
    "version cut in two": f"v=spf 1 {GOOGLE} {ODOO} ~all",
    "version lost": f"{GOOGLE} {ODOO} ~all",
    "space in all": f"v=spf1 {GOOGLE} {ODOO} ~ all",
    "all in front": f"v=spf1 ~all {GOOGLE} {ODOO}",
    "strings joined": f"v=spf1 {GOOGLE}{ODOO} ~all",
    "strings joined at the end": f"v=spf1 {GOOGLE} {ODOO}~all",
    "the line of a zone file": f"acme.example. 3600 IN TXT v=spf1 {GOOGLE} {ODOO} ~all",
    "two in one": f"v=spf1 {GOOGLE} ~all v=spf1 {ODOO} ~all",
    "in brackets": "v=spf1 include:<_spf.google.com> include:(_spf.odoo.com) ~all",
    "itself": f"v=spf1 {GOOGLE} {ODOO} include:{DOMAIN} ~all",
    "a dead include": f"v=spf1 {GOOGLE} {ODOO} include:gone.example ~all",
}  # fmt: skip


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_mended_and_every_named_service_passes_when_it_is_published(slip: str) -> None:
    before, after_zone, after = mended(apex(text(SLIPS[slip])), "spf")
    rows = proposals(before, "spf")
    assert rows, [(row["code"], row["fix"]) for row in before["results"]]
    published = {value for _, _, value in values(rows[0])}
    assert published == {BOTH.replace("~", "-") if slip == "en dash" else BOTH}
    assert len(rows[0]["remove"]) == 1
    assert not codes(after)
    assert passes(after_zone, "203.0.113.9", "198.51.100.9")


def test_a_service_that_bounces_to_a_name_of_its_own_needs_no_record_here() -> None:
    row = row_of(report(zone({DOMAIN: CLEAN[DOMAIN][1:]}), service="resend"), "spf.missing")
    assert row["state"] == "warning"
    assert "needs none here" in row["title"]
    assert "not delivered" not in row["title"]


def test_one_record_cut_by_hand_into_two_values_becomes_one() -> None:
    where = zone({DOMAIN: [f"TXT v=spf1 {GOOGLE}", f"TXT {ODOO} ~all", "TXT MS=ms123", *CLEAN[DOMAIN][1:]]})
    before, after_zone, after = mended(where, "spf")
    row = row_of(before, "spf.service_not_permitted")
    assert values(row) == [(DOMAIN, "TXT", f"v=spf1 {GOOGLE} {ODOO} ~all")]
    assert {value for _, _, value in values(row, "remove")} == {f"v=spf1 {GOOGLE}", f"{ODOO} ~all"}
    assert "TXT MS=ms123" in after_zone[DOMAIN]
    assert not codes(after)


@pytest.mark.parametrize("place", [f"{DOMAIN}.{DOMAIN}", f"@.{DOMAIN}"])
def test_a_record_at_the_doubled_name_is_moved_with_its_senders(place: str) -> None:
    where = apex()
    where[place] = [f"TXT {BOTH}"]
    before, after_zone, after = mended(where, "spf")
    row = row_of(before, "spf.missing")
    assert values(row) == [(DOMAIN, "TXT", BOTH)]
    assert values(row, "remove") == [(place, "TXT", BOTH)]
    assert not codes(after)
    assert passes(after_zone, "203.0.113.9")


def test_the_withdrawn_type_is_published_as_txt_with_its_senders() -> None:
    before, after_zone, after = mended(apex("SPF " + BOTH), "spf")
    assert values(row_of(before, "spf.old_type_only")) == [(DOMAIN, "TXT", BOTH)]
    assert not codes(after)
    assert passes(after_zone, "203.0.113.9")


TERMS = {
    "ipv4:192.0.2.1": "ip4:192.0.2.1",
    "ip4:192.0.2.1:25": "ip4:192.0.2.1",
    "192.0.2.1": "ip4:192.0.2.1",
    "ip4:192.0.2.1,192.0.2.2": "ip4:192.0.2.1 ip4:192.0.2.2",
    "ip4:2001:db8::1": "ip6:2001:db8::1",
    "ip6:192.0.2.1": "ip4:192.0.2.1",
    "ip4:192.0.2.0/255.255.255.128": "ip4:192.0.2.0/25",
    "ip4:192.0.2.*": "ip4:192.0.2.0/24",
    "ip4:mx.acme.example": "a:mx.acme.example",
    "a:192.0.2.1": "ip4:192.0.2.1",
    "mail.acme.example": "a:mail.acme.example",
    "_spf.google.com": GOOGLE,
    "ip4 192.0.2.1": "ip4:192.0.2.1",
    "ip4=192.0.2.1": "ip4:192.0.2.1",
    "include:support@_spf.google.com": GOOGLE,
}


@pytest.mark.parametrize("written", TERMS)
def test_a_broken_term_is_read_through_its_slip(written: str) -> None:
    where = apex(f"TXT v=spf1 {written} {ODOO} ~all")
    where["mail.acme.example"] = ["A 192.0.2.77"]
    before, _, after = mended(where, "spf")
    rows = proposals(before, "spf")
    assert rows, [(row["code"], row["fix"]) for row in before["results"]]
    assert values(rows[0]) == [(DOMAIN, "TXT", f"v=spf1 {TERMS[written]} {ODOO} ~all")]
    assert not codes(after)


@pytest.mark.parametrize("term", ["ip4:192.0.2.1/33", "blorp", "ip4:192.0.2"])
def test_a_term_nobody_can_read_is_named_and_nothing_is_proposed(term: str) -> None:
    shown = report(apex(f"TXT v=spf1 {term} {ODOO} ~all"))
    assert not proposals(shown, "spf")
    assert term in row_of(shown, "spf.syntax")["fix"]


def test_at_an_alias_nothing_is_proposed_and_the_reason_said() -> None:
    where = {**SUPPORT, "acme.example": ["NS ns1.acme.example."], "shop.acme.example": ["CNAME shops.host.example."],
             "shops.host.example": ["TXT v=spf1 ip4:192.0.2.9 -all", "A 192.0.2.9"]}  # fmt: skip
    shown = report(where, domain="shop.acme.example")
    assert not proposals(shown, "spf")
    assert "alias of shops.host.example" in row_of(shown, "spf.service_not_permitted")["fix"]


@pytest.mark.parametrize(
    "term", ["ip4:0.0.0.0/0", "ip6:::/0", "a/0", "ip4:0.0.0.0/1 ip4:128.0.0.0/1", "exists:mx.acme.example", "include:open.example"]
)  # fmt: skip
def test_everybody_may_send_is_failed_however_it_is_written(term: str) -> None:
    where = apex(f"TXT v=spf1 {ODOO} {term} -all", "A 192.0.2.80")
    where["open.example"] = ["TXT v=spf1 ip4:0.0.0.0/0 -all"]
    row = row_of(report(where), "spf.pass_all")
    assert row["state"] == "failed"
    assert "everybody" in row["title"]


@pytest.mark.parametrize(
    ("record", "state"),
    [
        (f"v=spf1 {ODOO} ip4:192.0.0.0/16 ~all", "passed"),
        ("v=spf1 ?include:sub.example -all", "failed"),
        ("v=spf1 -ip4:198.51.100.0/24 include:_spf.odoo.com -all", "failed"),
        ("v=spf1 ip4:198.51.100.0/24 ip4:203.0.113.0/24 ~all", "passed"),
        ("v=spf1 ip4:198.51.100.0/25 ~all", "failed"),
        ("v=spf1 redirect=sub.example", "passed"),
        ("v=spf1 include:%{i}._ip.%{h}._ehlo.%{d}._spf.flat.example ~all", "unknown"),
        ("v=spf1 exists:%{i}._ip.flat.example ~all", "unknown"),
    ],
)
def test_permission_is_asked_by_evaluation(record: str, state: str) -> None:
    where = apex(f"TXT {record}")
    where["sub.example"] = ["TXT v=spf1 include:_spf.odoo.com -all"]
    states = [row["state"] for row in report(where)["results"] if row["check"] == "spf" and row["state"] != "warning"]
    assert states[0] == state


def test_a_macro_host_that_lets_the_service_pass_is_in_order() -> None:
    where = apex("TXT v=spf1 exists:%{i}._ip.flat.example ~all")
    for ip in ("198.51.100.0", "198.51.100.255"):
        where[f"{ip}._ip.flat.example"] = ["A 127.0.0.2"]
    assert report(where)["green"]


DEEP = {"deep.example": ["TXT v=spf1 " + " ".join(f"include:d{n}.example" for n in range(9)) + " -all"],
        **{f"d{n}.example": [f"TXT v=spf1 ip4:192.0.2.{n} -all"] for n in range(9)}}  # fmt: skip


def test_too_many_lookups_say_what_each_branch_costs_and_what_can_go() -> None:
    where = {**apex(f"TXT v=spf1 {ODOO} {GOOGLE} include:deep.example ~all"), **DEEP}
    row = row_of(report(where), "spf.too_many_lookups")
    steps = "\n".join(row["evidence"].get("plan", ()))
    assert "include:deep.example costs 10" in steps
    assert "as a last resort copy the addresses of include:deep.example (−10): ip4:192.0.2.0/29 ip4:192.0.2.8." in steps
    assert "The price" in row["fix"]


def test_an_include_whose_addresses_another_permits_goes_and_no_sender_is_lost() -> None:
    where = {**apex(f"TXT v=spf1 {ODOO} {GOOGLE} ip4:192.0.2.0/24 include:deep.example ~all"), **DEEP}
    before, after_zone, after = mended(where, "spf")
    row = row_of(before, "spf.too_many_lookups")
    assert values(row) == [(DOMAIN, "TXT", f"v=spf1 {ODOO} {GOOGLE} ip4:192.0.2.0/24 ~all")]
    assert "include:deep.example" in row["loses"][0]
    assert not codes(after)
    assert passes(after_zone, "192.0.2.8", "203.0.113.9", "198.51.100.9")


def test_a_near_miss_beside_a_good_record_goes_and_its_senders_pass() -> None:
    where = apex(f"TXT v=spf1 {ODOO} ~all", text(f'"v=spf1 {GOOGLE} ~all"'))
    before, after_zone, after = mended(where, "spf")
    row = row_of(before, "spf.not_recognised")
    assert len(row["remove"]) == 2
    assert not codes(after)
    assert passes(after_zone, "203.0.113.9", "198.51.100.9")


@pytest.mark.parametrize(
    "record",
    ["v=spf1 include:spf-all.example.com a:mail-all.example -all", "v=spf1 a:include.example exists:%{i}.ip4.example ~all",
     "v=spf1 redirect=_spf.google.com", "V=SPF1 IP4:192.0.2.1 -ALL", "v=spf1 exp=why.example.com mx:all.example ?all"],
)  # fmt: skip
def test_a_valid_record_is_left_as_it_is(record: str) -> None:
    from mailops.dns.spf_mend import mend_spf

    assert mend_spf(record).text == record
    assert mend_spf(record).causes == ()


def test_what_nobody_can_read_is_not_replaced_by_something_else() -> None:
    shown = report(apex("TXT my record is v=spf1 with google and so on"))
    row = row_of(shown, "spf.not_recognised")
    assert row["publish"] == []
    assert "nobody can tell" in row["fix"]


def test_a_part_that_cannot_be_read_leaves_the_service_unknown() -> None:
    where = apex("TXT v=spf1 include:silent.example ~all")
    where["silent.example"] = [{"type": "TXT", "fault": "servfail"}]
    spf = [row["state"] for row in report(where)["results"] if row["check"] == "spf"]
    assert set(spf) == {"unknown"}
