"""The codec against noise, a send explained, reports to strangers, both generations, and what to press when."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailops.dns import check_dmarc, send
from mailops.dns.dmarc import DmarcResult
from mailops.dns.domain import check_domain
from mailops.dns.domain_model import SendingSetup
from mailops.dns.psl import PublicSuffixes, installed
from mailops.dns.published import compare, ready
from mailops.dns.records import ZoneRecord
from mailops.dns.send import explain_send
from mailops.dns.wire import Unreadable, encode, parse, question
from mailops.providers.records import outside_check_texts
from mailops.testing.dns_world import dns_world

ASKED = question("a.example", "TXT")


@given(st.binary(max_size=120), st.integers(0, 3), st.integers(0, 3))
@settings(max_examples=400, deadline=None)
def test_no_datagram_breaks_the_codec(noise: bytes, answers: int, authorities: int) -> None:
    head = struct.pack("!HHHHHH", 1, 0x8180, 1, answers, authorities, 0)
    for wire in (noise, head + noise, head + ASKED + noise, head + ASKED + b"\xc0\x0c" + noise):
        try:
            parse(wire, ASKED, "a.example", "TXT")
        except Unreadable:
            pass


def test_a_name_that_points_to_itself_is_unreadable() -> None:
    at = 12 + len(ASKED)
    wire = struct.pack("!HHHHHH", 1, 0x8180, 1, 1, 0, 0) + ASKED + struct.pack("!H", 0xC000 | at) + b"\0" * 10
    with pytest.raises(Unreadable, match="forwards"):
        parse(wire, ASKED, "a.example", "TXT")
    with pytest.raises(Unreadable, match="another question"):
        parse(struct.pack("!HHHHHH", 1, 0x8180, 1, 0, 0, 0) + question("b.example", "TXT"), ASKED, "a.example", "TXT")
    with pytest.raises(Unreadable, match="a question"):
        parse(encode(1, ASKED), ASKED, "a.example", "TXT")


ZONE = {
    "acme.com": ["TXT v=spf1 ip4:192.0.2.1 -all"],
    "bounces.example": ["TXT v=spf1 ip4:192.0.2.1 -all"],
    "_dmarc.acme.com": ["TXT v=DMARC1; p=quarantine; rua=mailto:d@acme.com,mailto:x@reports.example"],
}


@pytest.mark.req("DMARC-04", "DMARC-06", "SPF-02")
def test_a_send_is_explained_with_alignment_and_impact() -> None:
    with dns_world(ZONE) as (_, run):

        def explain(bounce: str, signed_by: tuple[str, ...] = ()) -> send.SendExplanation:
            return run.do(
                lambda r: explain_send(
                    r, from_address="ann@acme.com", bounce_address=bounce, ip="192.0.2.1", signed_by=signed_by
                )
            )

        foreign = explain("b@bounces.example")
        assert (foreign.spf.result, foreign.dmarc.result, foreign.impact.outcome) == ("pass", "fail", "quarantined")
        assert "bounces.example belongs to bounces.example" in foreign.dmarc.reason
        assert {policy: impact.outcome for policy, impact in foreign.what_if.items()} == {
            "none": "delivered", "quarantine": "quarantined", "reject": "refused",
        }  # fmt: skip
        good = explain("b@bounces.example", ("acme.com",))
        assert good.dmarc.result is DmarcResult.PASS
        assert "filters still apply" in good.impact.reason
        assert good.as_dict()["outcome"] == "delivered"


def test_reports_to_strangers_are_a_warning_with_the_record_they_publish() -> None:
    with dns_world(ZONE) as (_, run):
        report = run.do(lambda r: check_domain(r, SendingSetup("acme.com")))
    result = next(one for one in report.results if one.code == "dmarc.report_not_permitted")
    assert result.verdict.fix.endswith('acme.com._report._dmarc.reports.example TXT "v=DMARC1"')


def test_the_generations_are_compared_where_the_list_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_dmarc, "installed", lambda: PublicSuffixes(["com"], "a list"))
    zone = {"_dmarc.com": ["TXT v=DMARC1; p=reject; psd=y"], "acme.com": ["A 192.0.2.1"]}
    with dns_world(zone) as (_, run):
        report = run.do(lambda r: check_domain(r, SendingSetup("acme.com")))
    result = next(one for one in report.results if one.code == "dmarc.generations_disagree")
    assert "reject of com by RFC 9989" in result.verdict.title


def test_the_installed_list() -> None:
    pytest.importorskip("publicsuffixlist", reason="the optional suffix list is not installed")
    assert installed().organizational("a.b.example.co.uk") == "example.co.uk"


@pytest.mark.req("SPF-08", "DKIM-09")
def test_outside_checks_have_link_and_text_to_paste() -> None:
    texts = {url: text for _, url, text in outside_check_texts("example.com")}
    assert texts["https://mxtoolbox.com/spf.aspx"] == "example.com"
    assert texts["https://mxtoolbox.com/dkim.aspx"] == "example.com:odoo"
    assert {"https://www.mail-tester.com/", "https://www.mail-tester.com/spf/", "https://dmarc.org/"} <= texts.keys()


@pytest.mark.req("MJ-18", "MJ-19")
def test_do_not_press_before_the_record_is_visible() -> None:
    record = ZoneRecord("mailjet._domainkey.acme.com", "TXT", "k=rsa; p=abc")
    with dns_world({"acme.com": ["A 192.0.2.1"]}) as (server, run):
        press, text = ready([compare(record, run.do(lambda r: r.ask(record.name, record.type)))])
        assert not press
        assert text == "do not press yet: mailjet._domainkey.acme.com (absent); an old answer may be cached for 60 s"
        server.add(record.name, "TXT k=rsa; p=abc")
        run.resolver._answers.clear()
        assert ready([compare(record, run.do(lambda r: r.ask(record.name, record.type)))])[0]
