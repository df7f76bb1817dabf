"""The grammar of RFC 7208 section 12, term by term, and the static tree."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailops.dns.resolver import Resolver
from mailops.dns.spf import SpfResult, check_domain
from mailops.dns.spf_macros import MacroProblem, check_macros
from mailops.dns.spf_parse import TermProblem, is_spf, parse_record, parse_term
from mailops.dns.spf_static import SpfTree, analyse
from mailops.testing.dns_world import dns_world


@pytest.mark.parametrize(
    "term",
    ["all", "-ALL", "a", "a/24", "a//64", "a/24//64", "a:example.com/24", "mx", "ptr", "ptr:example.com",
     "ip4:192.0.2.1", "ip4:192.0.2.0/24", "ip6:2001:db8::/32", "ip6:::1", "include:_spf.example.com", "exists:%{ir}.x.%{d2}",
     "redirect=_spf.%{d}", "exp=why.example.com.", "moo=", "ra.nd-om_1=%{s}", "a:foo:bar/baz.example.com", "~include:x.xn--p1ai"],
)  # fmt: skip
def test_valid_terms(term: str) -> None:
    assert parse_term(term).text == term


@pytest.mark.parametrize(
    ("term", "hint"),
    [
        ("ipv4:192.0.2.1", "ip4:192.0.2.1"),
        ("ip4:2001:db8::1", "ip6:2001:db8::1"),
        ("\xe2\x80\x93all", "hyphen"),
        ("all.", ""),
        ("a:", ""),
        ("a:museum", ""),
        ("a:example.com/33", ""),
        ("a:example.com/024", ""),
        ("include", ""),
        ("include:example.com/24", "prefix"),
        ("ip4:1.2.3", ""),
        ("ip4:1.2.3.4:25", ""),
        ("ip6:2001:db8::/129", ""),
        ("exists:%{x}.example.com", ""),
        ("a:%{i}%{r}.example.com", ""),
        ("exp=", ""),
        ("-redirect=example.com", ""),
        ("=moo", ""),
        ("include:example.com\ttab", "spaces"),
        ("_spf.google.com", ""),
        ("spf.google.com", "include:spf.google.com"),
    ],
)
def test_invalid_terms_say_what_was_meant(term: str, hint: str) -> None:
    with pytest.raises(TermProblem) as caught:
        parse_term(term)
    assert hint in caught.value.mistake.hint
    assert caught.value.mistake.rfc.startswith("RFC 7208")


def test_the_version_is_exact() -> None:
    assert is_spf("v=spf1")
    assert is_spf("V=SPF1 -all")
    assert not is_spf("v=spf10 -all")
    assert not is_spf("v=spf1include:x.example")
    assert not is_spf('"v=spf1 -all"')


@given(st.text(st.characters(max_codepoint=255), max_size=120))
@settings(max_examples=300, deadline=None)
def test_no_record_breaks_the_parser_and_what_it_accepts_reads_back_the_same(text: str) -> None:
    record = parse_record("v=spf1 " + text)
    again = parse_record(str(record))
    assert [term.text for term in again.terms] == [term.text for term in record.terms]
    assert record.terms == again.terms
    try:
        check_macros(text)
    except MacroProblem:
        pass


_fuzzed = st.lists(
    st.one_of(
        st.sampled_from(["include:f.example", "redirect=f.example", "a:f.example", "mx:f.example", "ptr", "exists:%{d}", "-all",
                         "a", "include:%{d1}.example", "exp=f.example", "include:g.example", "mx"]),
        st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12),
    ),
    max_size=14,
)  # fmt: skip


@given(left=_fuzzed, right=_fuzzed)
@settings(max_examples=40, deadline=None)
def test_hostile_records_end_within_the_limits(left: list[str], right: list[str]) -> None:
    zone = {
        "f.example": [{"type": "TXT", "text": "v=spf1 " + " ".join(left)}, "MX 10 f.example.", "A 192.0.2.1"],
        "g.example": [{"type": "TXT", "text": "v=spf1 " + " ".join(right)}],
        "1.2.0.192.in-addr.arpa": ["PTR f.example."],
    }
    with dns_world(zone) as (server, run):
        outcome = run.do(lambda resolver: check_domain(resolver, "192.0.2.1", "f.example"))
        assert outcome.result in set(SpfResult)
        assert outcome.lookups <= 11
        tree = run.do(lambda resolver: analyse(resolver, "f.example"))
        assert len(tree.branches()) <= 300
        assert len(server.queries) < 2000


def tree_of(zone: dict[str, list[str]], domain: str = "acme.example") -> SpfTree:
    async def job(resolver: Resolver) -> SpfTree:
        return await analyse(resolver, domain)

    with dns_world(zone) as (_, run):
        return run.do(job)


def test_the_tree_is_counted_per_branch_past_the_limit() -> None:
    zone = {"acme.example": ["TXT v=spf1 " + " ".join(f"include:p{n}.example" for n in range(4)) + " mx ~all",
                             "MX 10 m.acme.example."],
            "m.acme.example": ["A 192.0.2.1"]}  # fmt: skip
    for n in range(4):
        zone[f"p{n}.example"] = [f"TXT v=spf1 include:q{n}.example include:r.example -all"]
        zone[f"q{n}.example"] = ["TXT v=spf1 ip4:192.0.2.0/24 -all"]
    zone["r.example"] = ["TXT v=spf1 ip4:198.51.100.0/24 -all"]
    tree = tree_of(zone)
    assert tree.lookups == 4 + 1 + 4 * 2
    assert [child.lookups for child in tree.root.children] == [2, 2, 2, 2]
    assert {problem.code for problem in tree.problems if problem.error} == {"spf.too_many_lookups"}
    assert "include:p0.example  2 lookups" in "\n".join(tree.root.lines())


@pytest.mark.parametrize(
    ("records", "code"),
    [
        ([], "spf.missing"),
        (["TXT v=spf1 -all", "TXT v=spf1 ~all"], "spf.multiple"),
        (["SPF v=spf1 -all"], "spf.old_type_only"),
        (['TXT "\\"v=spf1 -all\\""'], "spf.not_recognised"),
        (["TXT v=spf1 +all"], "spf.pass_all"),
        (["TXT v=spf1 include:acme.example -all"], "spf.loop"),
        (["TXT v=spf1 include:gone.example -all"], "spf.target_without_record"),
        (["TXT v=spf1 -all mx"], "spf.after_all"),
        (["TXT v=spf1 ptr -all"], "spf.ptr"),
        (["TXT v=spf1 a:x1.example a:x2.example a:x3.example -all"], "spf.too_many_void"),
        (["TXT v=spf1 ipv4:192.0.2.1 -all"], "spf.syntax"),
    ],
)
def test_every_problem_has_its_name(records: list[str], code: str) -> None:
    tree = tree_of({"acme.example": records, "example": ["A 192.0.2.1"]})
    assert code in {problem.code for problem in tree.problems}


def test_an_unreadable_branch_is_unknown_not_missing() -> None:
    zone = {
        "acme.example": ["TXT v=spf1 include:down.example -all"],
        "down.example": [{"type": "TXT", "fault": "servfail"}],
    }
    tree = tree_of(zone)  # type: ignore[arg-type]  # a fault is no text
    assert tree.unknown
    assert {problem.code for problem in tree.problems} == {"spf.unknown"}
