"""DMARC: records, discovery by both generations, alignment explained, impact, report destinations."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailops.dns.dmarc import (
    DmarcOutcome,
    DmarcResult,
    Identity,
    compare,
    evaluate,
    report_destination,
    simulate,
)
from mailops.dns.dmarc_record import Policy, is_dmarc, parse_dmarc
from mailops.dns.psl import PublicSuffixes
from mailops.testing.dns_world import dns_world

SUFFIXES = PublicSuffixes(["com", "example", "*.ck", "!www.ck", "co.uk", "uk"])


def judge(
    zone: dict[str, list[str]], author: str, spf: Identity | None = None, dkim: tuple[Identity, ...] = ()
) -> DmarcOutcome:
    with dns_world(zone, timeout=0.8) as (_, run):
        return run.do(lambda resolver: evaluate(resolver, author, spf, dkim))


@pytest.mark.req("DMARC-02")
@pytest.mark.parametrize("policy", ["none", "quarantine", "reject"])
def test_the_three_policies(policy: str) -> None:
    record = parse_dmarc(f"v=DMARC1; p={policy}")
    assert record.p == policy
    assert record.usable
    assert not record.mistakes


@pytest.mark.req("DMARC-02")
@pytest.mark.parametrize(
    ("text", "code"), [("v=DMARC1; p=block", "dmarc.bad_policy"), ("v=DMARC1; adkim=s", "dmarc.missing_p")]
)
def test_another_or_no_policy_is_an_error(text: str, code: str) -> None:
    record = parse_dmarc(text)
    assert code in {mistake.code for mistake in record.mistakes}
    assert not record.usable


@pytest.mark.req("DMARC-03", "DMARC-07")
@pytest.mark.parametrize(
    ("policy", "outcome", "reported"),
    [("none", "delivered", True), ("quarantine", "quarantined", True), ("reject", "refused", True)],
)
def test_the_simulation_of_a_failing_mail(policy: str, outcome: str, reported: bool) -> None:
    zone = {"_dmarc.a.com": [f"TXT v=DMARC1; p={policy}; rua=mailto:postmaster@a.com"]}
    result = judge(zone, "a.com", Identity("b.com", "pass"))
    assert result.result is DmarcResult.FAIL
    impact = simulate(result)
    assert (impact.outcome, impact.reported) == (outcome, reported)
    assert simulate(result, Policy.REJECT).outcome == "refused"  # "what if"


@pytest.mark.req("DMARC-04")
def test_a_pass_needs_alignment_with_the_visible_from() -> None:
    zone = {"_dmarc.a.com": ["TXT v=DMARC1; p=reject"]}
    failed = judge(zone, "a.com", Identity("b.com", "pass"))
    assert failed.result is DmarcResult.FAIL
    assert "b.com belongs to b.com, the From domain a.com to a.com" in failed.reason
    assert judge(zone, "a.com", Identity("b.com", "pass"), (Identity("a.com", "pass"),)).result is DmarcResult.PASS
    assert judge(zone, "a.com", Identity("a.com", "softfail")).result is DmarcResult.FAIL


@pytest.mark.req("DMARC-08")
def test_the_example_record() -> None:
    record = parse_dmarc("v=DMARC1; p=none; rua=mailto:postmaster@example.com")
    assert record.p is Policy.NONE
    assert [uri.address for uri in record.rua] == ["postmaster@example.com"]


def test_both_generations_and_where_they_disagree() -> None:
    zone = {"_dmarc.a.foo.com": ["TXT v=DMARC1; p=reject"], "b.foo.com": ["A 192.0.2.1"]}
    with dns_world(zone) as (_, run):
        new, old, notes = run.do(lambda r: compare(r, "a.foo.com", Identity("b.foo.com", "pass"), (), SUFFIXES))
    assert (new.result, old.result) == (DmarcResult.FAIL, DmarcResult.PASS)
    assert any(note.startswith("result: fail by RFC 9989") for note in notes)


def test_an_unreadable_record_is_temperror_not_none() -> None:
    with dns_world({"_dmarc.a.com": [{"type": "TXT", "fault": "timeout"}]}, timeout=0.8) as (_, run):
        outcome = run.do(lambda resolver: evaluate(resolver, "a.com", None, (Identity("a.com", "pass"),)))
    assert outcome.result is DmarcResult.TEMPERROR


@pytest.mark.parametrize(("zone", "authorized", "unknown"), [
    ({}, False, False),
    ({"a.com._report._dmarc.b.com": ["TXT v=DMARC1"]}, True, False),
    ({"a.com._report._dmarc.b.com": [{"type": "TXT", "fault": "servfail"}]}, False, True),
])  # fmt: skip
def test_reports_to_strangers_need_their_permission(
    zone: dict[str, list[str]], authorized: bool, unknown: bool
) -> None:
    with dns_world(zone, timeout=0.8) as (_, run):
        found = run.do(lambda resolver: report_destination(resolver, "a.com", "mailto:x@b.com"))
    assert (found.authorized, found.unknown) == (authorized, unknown)
    assert found.query == "a.com._report._dmarc.b.com"


def test_the_walk_is_bounded() -> None:
    with dns_world({}) as (server, run):
        run.do(lambda resolver: evaluate(resolver, ".".join("abcdefghijklmnopqrstuvwxyz") + ".com", None, ()))
        assert len([name for name in server.asked("TXT") if name.startswith("_dmarc.")]) == 8


@given(st.text(st.characters(max_codepoint=255), max_size=100))
@settings(max_examples=300, deadline=None)
def test_no_record_breaks_the_parser(text: str) -> None:
    record = parse_dmarc("v=DMARC1;" + text)
    assert record.p is not None
    assert is_dmarc("v=DMARC1;" + text)
    parse_dmarc(text)


def test_suffix_rules() -> None:
    assert SUFFIXES.organizational("a.b.example.co.uk") == "example.co.uk"
    assert SUFFIXES.organizational("a.b.www.ck") == "www.ck"
    assert SUFFIXES.organizational("a.b.c.ck") == "b.c.ck"
    assert SUFFIXES.organizational("co.uk") == "co.uk"
