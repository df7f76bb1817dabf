"""SPF evaluation over the wire: results, trace, limits, the domain that is tested."""

from __future__ import annotations

import pytest

from mailops.dns.spf import SpfOutcome, SpfResult, check_host
from mailops.testing.dns_world import dns_world

ZONE = {
    "acme.example": ["TXT v=spf1 include:_spf.host.example a:mail.acme.example ~all"],
    "mail.acme.example": ["A 192.0.2.10", "AAAA 2001:db8::10"],
    "_spf.host.example": ["TXT v=spf1 ip4:198.51.100.0/24 ?all"],
    "bounce.example": ["TXT v=spf1 ip4:203.0.113.5 -all exp=why.bounce.example"],
    "why.bounce.example": ["TXT %{i} may not send for %{o}"],
    "plus.example": ["TXT v=spf1 +all"],
    "neutral.example": ["TXT v=spf1 ?all"],
    "none.example": ["TXT hello"],
    "old.example": ["SPF v=spf1 +all"],
    "two.example": ["TXT v=spf1 +all", "TXT v=spf1 -all"],
    "down.example": [{"type": "TXT", "fault": "servfail"}],
    "loop.example": ["TXT v=spf1 include:loop.example -all"],
    "mapped.example": ["TXT v=spf1 ip4:192.0.2.0/24 -all"],
}


def evaluate(ip: str, mail_from: str, helo: str = "helo.example") -> SpfOutcome:
    with dns_world(ZONE, timeout=0.8) as (_, run):
        return run.do(lambda resolver: check_host(resolver, ip, mail_from, helo))


@pytest.mark.req("SPF-01")
@pytest.mark.parametrize(
    ("ip", "sender", "result", "term"),
    [
        ("198.51.100.7", "a@acme.example", "pass", "include:_spf.host.example"),
        ("192.0.2.10", "a@acme.example", "pass", "a:mail.acme.example"),
        ("2001:db8::10", "a@acme.example", "pass", "a:mail.acme.example"),
        ("192.0.2.99", "a@acme.example", "softfail", "~all"),
        ("192.0.2.99", "a@bounce.example", "fail", "-all"),
        ("192.0.2.99", "a@neutral.example", "neutral", "?all"),
        ("192.0.2.99", "a@none.example", "none", ""),
        ("192.0.2.99", "a@down.example", "temperror", ""),
        ("192.0.2.99", "a@two.example", "permerror", ""),
        ("::ffff:192.0.2.9", "a@mapped.example", "pass", "ip4:192.0.2.0/24"),
    ],
)
def test_result_and_the_term_that_decided(ip: str, sender: str, result: str, term: str) -> None:
    outcome = evaluate(ip, sender)
    assert outcome.result == result
    assert outcome.term == term
    assert outcome.reason


@pytest.mark.req("SPF-02")
def test_the_bounce_address_decides_not_the_visible_from() -> None:
    # the visible From (a@acme.example) is no input at all; the reverse-path's domain is looked up
    outcome = evaluate("203.0.113.5", "bounce+123@bounce.example")
    assert outcome.domain == "bounce.example"
    assert outcome.result is SpfResult.PASS
    assert evaluate("203.0.113.5", "a@acme.example").result is SpfResult.SOFTFAIL


@pytest.mark.req("SPF-03")
def test_a_record_of_the_obsolete_type_is_no_record() -> None:
    assert evaluate("192.0.2.1", "a@old.example").result is SpfResult.NONE


def test_the_empty_reverse_path_falls_back_to_helo() -> None:
    assert evaluate("203.0.113.5", "", "bounce.example").domain == "bounce.example"


def test_the_explanation_is_expanded() -> None:
    assert evaluate("192.0.2.99", "a@bounce.example").explanation == "192.0.2.99 may not send for bounce.example"


def test_the_trace_names_query_server_answer_term_and_paragraph() -> None:
    steps = [step.as_dict() for step in evaluate("192.0.2.99", "a@acme.example").steps]
    asked = [step["dns"] for step in steps if "dns" in step]
    assert {"acme.example TXT", "_spf.host.example TXT", "mail.acme.example A"} <= {one["question"] for one in asked}
    assert all(one["server"].startswith("127.0.0.1:") for one in asked)
    assert all(step["rfc"].startswith("RFC 7208 section") for step in steps)
    assert steps[-1]["term"] == "~all"


def test_a_loop_ends_at_the_tenth_lookup() -> None:
    outcome = evaluate("192.0.2.1", "a@loop.example")
    assert outcome.result is SpfResult.PERMERROR
    assert outcome.lookups == 11


def test_a_temporary_error_names_what_could_not_be_read() -> None:
    assert "servfail" in evaluate("192.0.2.1", "a@down.example").reason
