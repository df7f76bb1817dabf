"""Merging SPF records: exact texts, idempotence, order, and no sender worse off than before."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailops.dns.spf import SpfResult, check_domain
from mailops.dns.spf_merge import merge
from mailops.dns.spf_parse import parse_record
from mailops.testing.dns_world import dns_world

ODOO = ["include:_spf.odoo.com"]


@pytest.mark.req("SPF-04")
def test_nothing_published_yet() -> None:
    assert merge([], ODOO).text == "v=spf1 include:_spf.odoo.com ~all"
    assert merge(["google-site-verification=abc"], ODOO).text == "v=spf1 include:_spf.odoo.com ~all"


@pytest.mark.req("SPF-05")
def test_an_existing_record_is_extended() -> None:
    merged = merge(["v=spf1 include:_spf.google.com ~all"], ODOO)
    assert merged.text == "v=spf1 include:_spf.odoo.com include:_spf.google.com ~all"
    assert merged.changed


@pytest.mark.req("SPF-06")
def test_two_records_become_one() -> None:
    merged = merge(["v=spf1 include:_spf.google.com ~all", "v=spf1 mx include:_spf.odoo.com -all"])
    assert merged.text == "v=spf1 include:_spf.google.com mx include:_spf.odoo.com ~all"
    assert any("~all" in note for note in merged.notes)


@pytest.mark.req("SPF-07")
@pytest.mark.parametrize(
    "record",
    [
        "v=spf1 include:_spf.google.com ~all",
        "v=spf1 a mx/24 -ip4:192.0.2.1 exists:%{i}._spf.%{d} redirect=_spf.example.com",
        "v=spf1  ip4:192.0.2.0/24   -all exp=why.example.com",
    ],
)
def test_doing_it_twice_changes_nothing_and_the_rest_keeps_its_order(record: str) -> None:
    once = merge([record], ODOO)
    assert merge([once.text], ODOO).text == once.text
    assert not merge([once.text], ODOO).changed
    rest = [term.text for term in parse_record(once.text).terms]
    assert rest[0] == ODOO[0]
    assert rest[1:] == [term.text for term in parse_record(record).terms]


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        (["v=spf1 +all"], "everybody"),
        (["v=spf1 ipv4:192.0.2.1 -all"], "not valid"),
        (["v=spf1 -ip4:192.0.2.1 ~all", "v=spf1 ?mx ~all"], "denying"),
        (["v=spf1 redirect=a.example.com", "v=spf1 mx ~all"], "redirect"),
    ],
)
def test_what_cannot_be_merged_is_refused_with_the_reason(records: list[str], reason: str) -> None:
    merged = merge(records, ODOO)
    assert merged.refused
    assert reason in merged.reason


_ip4 = st.integers(0, 255).map(lambda last: f"192.0.2.{last}")
_positive = st.one_of(
    st.tuples(_ip4, st.integers(24, 32)).map(lambda pair: f"ip4:{pair[0]}/{pair[1]}"),
    st.sampled_from(["a:h1.example", "mx:h2.example", "include:inc1.example", "include:inc2.example", "a", "mx"]),
)
_denying = st.tuples(st.sampled_from("-~?"), _positive).map("".join)
_records = st.lists(
    st.tuples(st.lists(st.one_of(_positive, _positive, _denying), max_size=5), st.sampled_from(["", " -all", " ~all", " ?all"])).map(
        lambda pair: "v=spf1" + "".join(f" {term}" for term in pair[0]) + pair[1]
    ),
    min_size=1,
    max_size=3,
    unique=True,
)  # fmt: skip
_SUPPORT = {
    "h1.example": ["A 192.0.2.77"],
    "h2.example": ["MX 10 h1.example.", "A 192.0.2.78"],
    "inc1.example": ["TXT v=spf1 ip4:192.0.2.64/28 -all"],
    "inc2.example": ["TXT v=spf1 -ip4:192.0.2.9 ip4:192.0.2.0/27 ?all"],
    "_spf.odoo.com": ["TXT v=spf1 ip4:198.51.100.0/24 -all"],
}
_HOSTS = ["A 192.0.2.200", "MX 10 h1.example."]
_GOODNESS = {
    SpfResult.PERMERROR: 0, SpfResult.TEMPERROR: 0, SpfResult.FAIL: 1, SpfResult.SOFTFAIL: 2,
    SpfResult.NONE: 2, SpfResult.NEUTRAL: 3, SpfResult.PASS: 4,
}  # fmt: skip


def _denies(text: str) -> bool:
    return any(term.qualifier != "+" and term.name != "all" for term in parse_record(text).mechanisms)


@given(records=_records, samples=st.lists(_ip4, min_size=2, max_size=4, unique=True))
@settings(max_examples=30, deadline=None)
def test_a_merge_is_idempotent_and_never_worsens_a_sender_of_any_input(records: list[str], samples: list[str]) -> None:
    merged = merge(records, ODOO)
    if merged.refused:
        return
    assert merge([merged.text], ODOO).text == merged.text
    zone = {f"in{number}.example": [f"TXT {text}", *_HOSTS] for number, text in enumerate(records)}
    zone["out.example"] = [f"TXT {merged.text}", *_HOSTS]
    with dns_world({**_SUPPORT, **zone}) as (_, run):
        for ip in [*samples, "192.0.2.77", "192.0.2.200"]:
            after = run.do(lambda resolver, ip=ip: check_domain(resolver, ip, "out.example"))  # type: ignore[misc]  # bound
            if after.lookups > 10:
                continue  # too many lookups is the planner's refusal, not the text's
            for number in range(len(records)):
                name = f"in{number}.example"
                before = run.do(lambda resolver, ip=ip, name=name: check_domain(resolver, ip, name))  # type: ignore[misc]  # bound
                if before.result is SpfResult.PASS or not any(_denies(text) for text in records):
                    assert _GOODNESS[after.result] >= _GOODNESS[before.result], (ip, records[number], merged.text)
        hosted = run.do(lambda resolver: check_domain(resolver, "198.51.100.9", "out.example"))
        assert hosted.result in (SpfResult.PASS, SpfResult.PERMERROR)
