"""Sixty combined faults: all proposals published at once, asked again; none left, nothing lost, nothing invented.

And for zones of a generator: what is proposed never turns a passing sender into a failing one, never drops a tag
without a word, and never makes a zone that dnspython's zone reader refuses.
"""

from __future__ import annotations

import re
from itertools import cycle, islice
from typing import Any

import pytest
from dns_kit import CLEAN, DOMAIN, KEY, SUPPORT, Zone, codes, proposals, report, text, zone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailops.dns.spf import check_domain as check_spf
from mailops.testing.dns_world import dns_world
from mailops.testing.publish import publish

DMARC, DKIM, REST = f"_dmarc.{DOMAIN}", f"odoo._domainkey.{DOMAIN}", CLEAN[DOMAIN][1:]
GOOGLE, ODOO = "include:_spf.google.com", "include:_spf.odoo.com"
TOKENS = ["TXT google-site-verification=abc", "TXT MS=ms123"]
TARGET = "CNAME odoo._domainkey.odoo.com."

# name → (what stands there, who has to pass afterwards)
SPF_FAULTS: dict[str, tuple[list[Any], list[str]]] = {
    "quoted": ([text(f'"v=spf1 {GOOGLE} ~all"')], ["203.0.113.9"]),
    "byte order mark": ([text(f"\ufeffv=spf1 {GOOGLE} {ODOO} ~all")], ["203.0.113.9"]),
    "gone": ([], []),
    "old type": ([f"SPF v=spf1 {GOOGLE} ~all"], ["203.0.113.9"]),
    "two records": ([f"TXT v=spf1 {GOOGLE} ~all", f"TXT v=spf1 {ODOO} -all"], ["203.0.113.9"]),
    "other service": ([f"TXT v=spf1 {GOOGLE} ip4:192.0.2.77 ~all"], ["203.0.113.9", "192.0.2.77"]),
    "neutral include": ([f"TXT v=spf1 ?{ODOO} {GOOGLE} ~all"], ["203.0.113.9"]),
    "terms after all": ([f"TXT v=spf1 ~all {GOOGLE} {ODOO}"], ["203.0.113.9"]),
    "itself": ([f"TXT v=spf1 {GOOGLE} {ODOO} include:{DOMAIN} ~all"], ["203.0.113.9"]),
    "dead include": ([f"TXT v=spf1 include:gone.example {GOOGLE} {ODOO} ~all"], ["203.0.113.9"]),
    "commas": ([f"TXT v=spf1 {GOOGLE}, {ODOO}, ~all"], ["203.0.113.9"]),
    "ipv4": ([f"TXT v=spf1 ipv4:192.0.2.77 {GOOGLE} {ODOO} ~all"], ["203.0.113.9", "192.0.2.77"]),
    "space after colon": (["TXT v=spf1 include: _spf.google.com include: _spf.odoo.com ~all"], ["203.0.113.9"]),
    "glued version": ([f"TXT v=spf1{GOOGLE} {ODOO} ~all"], ["203.0.113.9"]),
    "backslashes": ([text(f'\\"v=spf1 {GOOGLE} {ODOO} ~all\\"')], ["203.0.113.9"]),
    "two in one": ([f"TXT v=spf1 {GOOGLE} ~all v=spf1 {ODOO} ~all"], ["203.0.113.9"]),
    "equals sign": (["TXT v=spf1 include=_spf.google.com include=_spf.odoo.com ~all"], ["203.0.113.9"]),
    "good": ([f"TXT v=spf1 {ODOO} {GOOGLE} ~all"], ["203.0.113.9"]),
}
# name → (records by name, tags that have to be there afterwards)
DMARC_FAULTS: dict[str, tuple[dict[str, list[Any]], list[str]]] = {
    "policy misspelt": ({DMARC: ["TXT v=DMARC1; p=rejct; rua=mailto:agg@acme.example; adkim=s"]}, ["p=reject", "adkim=s"]),
    "lower case": ({DMARC: ["TXT v=dmarc1; p=reject; rua=mailto:agg@acme.example"]}, ["p=reject"]),
    "alias": ({DMARC: ["CNAME d.host.example."], "d.host.example": ["TXT v=DMARC1; p=rejct; rua=mailto:agg@acme.example"]},
              ["p=reject"]),
    "quoted": ({DMARC: [text('"v=DMARC1; p=reject; rua=mailto:agg@acme.example"')]}, ["p=reject"]),
    "no policy": ({DMARC: ["TXT v=DMARC1; rua=mailto:agg@acme.example; fo=1"]}, ["fo=1"]),
    "at the apex": ({"+": ["TXT v=DMARC1; p=reject; rua=mailto:agg@acme.example"]}, ["p=reject"]),
    "doubled name": ({f"{DMARC}.{DOMAIN}": ["TXT v=DMARC1; p=reject; rua=mailto:agg@acme.example"]}, ["p=reject"]),
    "two records": ({DMARC: ["TXT v=DMARC1; p=none", "TXT v=DMARC1; p=none; sp=reject; rua=mailto:agg@acme.example"]},
                    ["p=none", "sp=reject"]),
    "twice rua": ({DMARC: ["TXT v=DMARC1; p=reject; rua=mailto:agg@acme.example; rua=mailto:b@acme.example"]},
                  ["p=reject", "mailto:b@acme.example"]),
    "lost semicolons": ({DMARC: ["TXT v=DMARC1 p=reject rua=mailto:agg@acme.example"]}, ["p=reject"]),
    "bare address": ({DMARC: ["TXT v=DMARC1; p=reject; rua=agg@acme.example"]}, ["p=reject"]),
    "wildcard": ({f"*.{DOMAIN}": ["TXT v=DMARC1; p=rejct; rua=mailto:agg@acme.example"]}, ["p=reject"]),
    "curly": ({DMARC: [text("\u201cv=DMARC1; p=reject; rua=mailto:agg@acme.example\u201d")]}, ["p=reject"]),
}  # fmt: skip
DKIM_FAULTS: dict[str, dict[str, list[Any]]] = {
    "gone": {},
    "copy": {DKIM: [f"TXT {KEY}"]},
    "doubled": {f"{DKIM}.{DOMAIN}": [TARGET]},
    "doubled key": {f"{DKIM}.{DOMAIN}": [f"TXT {KEY}"]},
    "no final dot": {DKIM: [f"CNAME odoo._domainkey.odoo.com.{DOMAIN}."]},
    "without _domainkey": {f"odoo.{DOMAIN}": [TARGET]},
    "dangling": {DKIM: ["CNAME gone.example."]},
    "revoked": {DKIM: ["TXT v=DKIM1; p="]},
    "parked": {DKIM: ["CNAME parking.example."], "parking.example": ["TXT hello", "A 192.0.2.9"]},
    "good": {DKIM: [TARGET]},
    "nonsense": {DKIM: ["TXT hello", "TXT hello again"]},
}
SIXTY = list(islice(zip(cycle(SPF_FAULTS), cycle(DMARC_FAULTS), cycle(DKIM_FAULTS), strict=False), 60))


def passing(where: Zone, addresses: list[str]) -> list[str]:
    with dns_world(where, timeout=1.0) as (_, run):  # type: ignore[arg-type]  # mixed forms
        return [ip for ip in addresses if str(run.do(lambda r, ip=ip: check_spf(r, ip, DOMAIN)).result) == "pass"]


@pytest.mark.parametrize(("spf", "dmarc", "dkim"), SIXTY)
def test_combined_faults_are_all_gone_when_all_proposals_are_published(spf: str, dmarc: str, dkim: str) -> None:
    (apex, senders), (policy, tags), keys = SPF_FAULTS[spf], DMARC_FAULTS[dmarc], DKIM_FAULTS[dkim]
    where = zone({DOMAIN: [*TOKENS, *apex, *policy.get("+", []), *REST]}, DMARC, DKIM)
    where |= {name: entries for name, entries in {**policy, **keys}.items() if name != "+"}
    where["agg.example"] = ["A 192.0.2.3"]
    before = report(where)
    after_zone = publish(where, proposals(before))
    after = report(after_zone)
    assert not [row["title"] for row in after["results"] if row["state"] in ("failed", "unknown")]
    assert codes(after) <= {"spf.redirect_ignored"}
    assert passing(after_zone, [*senders, "198.51.100.9"]) == [*senders, "198.51.100.9"]
    held = str(after_zone.get(DMARC))
    assert all(tag in held for tag in tags), held
    assert "agg@acme.example" in held
    assert all(token in after_zone[DOMAIN] for token in TOKENS)  # nothing of another's is touched
    invented = {name for name in after_zone if name not in where} - {DMARC, DKIM}
    assert not invented


# -- zones of a generator -----------------------------------------------------------------------------------------------

TERMS = st.sampled_from(
    [ODOO, GOOGLE, "ip4:192.0.2.77", "ipv4:192.0.2.78", "a", "mx", "include:gone.example", "a:mx.acme.example", "?mx",
     "-ip4:203.0.113.9", f"include:{DOMAIN}", "exists:%{i}.x.example", "redirect=_spf.google.com", "ip4:192.0.2.0/33",
     "include:_spf.google.com,", "ptr", "blorp", "include=spf.mailjet.com", "~all", "-all", "?all"]
)  # fmt: skip
SPF_TEXTS = st.builds(
    lambda head, terms, tail: f"{head}{' '.join(terms)}{tail}",
    st.sampled_from(["v=spf1 ", "v=spf1 ", "v=spf1 ", "V=SPF1 ", '"v=spf1 ', " v=spf1 ", "v=spf1; ", "spf1 "]),
    st.lists(TERMS, min_size=1, max_size=5),
    st.sampled_from([" ~all", " -all", "", '"', " ~all v=spf1 mx ~all"]),
)
DMARC_TAGS = st.sampled_from(
    ["p=none", "p=reject", "p=rejct", "p=bogus", "sp=reject", "sp=x", "adkim=s", "adkim=strict", "pct=50", "fo=1",
     "rua=mailto:a@acme.example", "rua=b@acme.example", "rua=mailto:ü@acme.example", "ruf=mailto:r@acme.example", "t=y", "np=reject",
     "x=y", "p", "rf=afrf"]
)  # fmt: skip
DMARC_TEXTS = st.builds(
    lambda head, tags, mark: head + mark.join(tags),
    st.sampled_from(["v=DMARC1; ", "v=DMARC1; ", "v=dmarc1; ", '"v=DMARC1; ', "DMARC1; ", "v=DMARC1 "]),
    st.lists(DMARC_TAGS, min_size=1, max_size=5),
    st.sampled_from(["; ", "; ", " ", ", "]),
)
SELECTOR = st.sampled_from([[], [TARGET], [f"TXT {KEY}"], ["CNAME gone.example."], ["TXT hello"], ["TXT v=DKIM1; p="]])
SAMPLES = [
    "198.51.100.9",
    "203.0.113.8",
    "203.0.113.9",
    "192.0.2.77",
    "192.0.2.78",
    "192.0.2.25",
    "192.0.2.129",
    "8.8.4.4",
]


@st.composite
def zones(draw: Any) -> Zone:
    apex = [text(one) for one in draw(st.lists(SPF_TEXTS, max_size=2))]
    made = zone({DOMAIN: [*TOKENS, *apex, *REST], DKIM: draw(SELECTOR)}, DMARC)
    texts = [text(one) for one in draw(st.lists(DMARC_TEXTS, max_size=2))]
    place = draw(st.sampled_from([DMARC, DMARC, DMARC, "d.host.example", f"*.{DOMAIN}", f"{DMARC}.{DOMAIN}"]))
    if texts:
        made[place] = texts
    if place == "d.host.example":
        made[DMARC] = ["CNAME d.host.example."]
    return {**SUPPORT, **made}


def tag_names(value: str) -> set[str]:
    known = ("p", "sp", "np", "adkim", "aspf", "fo", "rua", "ruf", "pct", "rf", "ri", "t", "psd")
    return {name for name in known if re.search(rf"(?:^|[;,\s\"]){name}\s*=", value)}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(zones())
def test_no_proposal_loses_a_sender_a_tag_or_the_zone(where: Zone) -> None:
    before = report(where)
    passed = passing(where, SAMPLES)
    rows = proposals(before)
    for row in rows:  # alone, and below all together
        assert_nothing_lost(where, [row], passed)
    assert_nothing_lost(where, rows, passed)


def assert_nothing_lost(where: Zone, rows: list[dict[str, Any]], passed: list[str]) -> None:
    after = publish(where, rows)
    assert passing(after, passed) == passed
    for row in rows:
        said = " ".join(row["loses"])
        gone = {name for one in row["remove"] if one["type"] == "TXT" and "dmarc1" in one["value"].lower() for name in tag_names(one["value"])}  # fmt: skip
        kept = {name for one in row["publish"] for name in tag_names(one["value"])}
        assert {name for name in gone - kept if f"{name}=" not in said} == set()
