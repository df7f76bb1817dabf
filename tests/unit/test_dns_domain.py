"""A whole domain: verdicts with evidence, changes that are proved, planted faults that are found and named."""

from __future__ import annotations

import base64
import json

import pytest

from mailops.dns.domain import check_domain
from mailops.dns.domain_model import NO_PROMISE, DomainReport, SendingSetup
from mailops.dns.records import ZoneRecord, zone_file
from mailops.model.verdict import VerdictState
from mailops.providers.records import DNS_HOSTS, SENDERS, guess_host
from mailops.testing.dkim_keys import dkim_key_pair
from mailops.testing.dns_world import dns_world

Zone = dict[str, list[object]]
ACME = SendingSetup("acme.com", report_to="dmarc@acme.com")
RECORD = dkim_key_pair()[1]
ANOTHER = "v=DKIM1; k=ed25519; p=" + base64.b64encode(bytes(range(32))).decode()
SUPPORT: Zone = {
    "_spf.odoo.com": ["TXT v=spf1 ip4:198.51.100.0/24 -all"],
    "odoo._domainkey.odoo.com": [f"TXT {RECORD}"],
    "odoo._domainkey.acmedb.odoo.com": [f"TXT {RECORD}"],
    "_spf.google.com": ["TXT v=spf1 ip4:203.0.113.0/24 ~all"],
    "spf.mailjet.com": ["TXT v=spf1 ip4:192.0.2.128/26 ?all"],
    "deep.example": ["TXT v=spf1 " + " ".join(f"include:d{n}.example" for n in range(9)) + " -all"],
    **{f"d{n}.example": ["TXT v=spf1 ip4:192.0.2.7 -all"] for n in range(9)},
}
CLEAN: Zone = {
    "acme.com": ["TXT v=spf1 include:_spf.odoo.com ~all", "NS ns1.acme.com.", "MX 10 mx.acme.com."],
    "mx.acme.com": ["A 192.0.2.25"],
    "odoo._domainkey.acme.com": ["CNAME odoo._domainkey.odoo.com."],
    "_dmarc.acme.com": ["TXT v=DMARC1; p=none; rua=mailto:dmarc@acme.com"],
}


def check(zone: Zone, setup: SendingSetup = ACME) -> DomainReport:
    with dns_world({**SUPPORT, **zone}, timeout=1.0) as (_, run):  # type: ignore[dict-item]  # mixed forms
        return run.do(lambda resolver: check_domain(resolver, setup))


def without(*names: str, **changed: list[object]) -> Zone:
    return {name: entries for name, entries in CLEAN.items() if name not in names} | changed


def planted(name: str, entries: list[object]) -> Zone:
    return {**CLEAN, name: entries}


@pytest.mark.req("DNS-01", "DNS-05")
def test_one_report_three_verdicts_evidence_and_no_promise() -> None:
    report = check(CLEAN)
    assert [report.result(name).state for name in ("spf", "dkim", "dmarc")] == [VerdictState.PASSED] * 3
    assert report.green
    assert report.notes == (NO_PROMISE,)
    assert "127.0.0.1:" in report.asked_of
    assert report.result("spf").verdict.evidence["answer"]["question"] == "acme.com TXT"
    assert report.result("dkim").verdict.evidence["asked"]


def test_the_report_is_json_with_the_records_to_publish() -> None:
    shown = json.loads(json.dumps(check(without("_dmarc.acme.com")).as_dict()))
    dmarc = next(row for row in shown["results"] if row["code"] == "dmarc.missing")
    value = "v=DMARC1; p=none; rua=mailto:dmarc@acme.com"
    assert dmarc["publish"] == [{"name": "_dmarc.acme.com", "type": "TXT", "value": value}]
    assert dmarc["evidence"]["proof"]["cleared"] is True
    assert shown["asked_of"].endswith("(given)")


@pytest.mark.req("DNS-02")
def test_the_hosted_default_subdomain_is_managed() -> None:
    report = check({}, SendingSetup("acme.odoo.com"))
    assert {result.code for result in report.results} == {"managed"}
    assert not report.changes


@pytest.mark.req("DNS-03", "DKIM-02")
@pytest.mark.parametrize(
    ("gone", "code"), [("acme.com", "spf.missing"), ("odoo._domainkey.acme.com", "dkim.no_record")]
)
def test_spf_and_dkim_are_essential_with_the_hosted_server(gone: str, code: str) -> None:
    report = check(without(gone))
    result = next(result for result in report.results if result.code == code)
    assert result.state is VerdictState.FAILED
    assert "quarantined or not delivered" in result.verdict.title


@pytest.mark.req("DNS-04", "OUT-44")
def test_an_external_service_wants_its_own_records() -> None:
    setup = SendingSetup("acme.com", service="external:mailjet", hosting="online")
    report = check(CLEAN, setup)
    assert "include:spf.mailjet.com" in report.result("spf").verdict.expected + str(report.codes())
    assert any("mailjet._domainkey.acme.com" in result.verdict.subject for result in report.results)
    assert not any("odoo._domainkey" in result.verdict.subject for result in report.results)


@pytest.mark.req("OUT-45")
def test_hosted_records_have_no_effect_with_an_external_server() -> None:
    report = check(CLEAN, SendingSetup("acme.com", service="mailjet"))
    assert "spf.hosted_without_effect" in report.codes()
    assert "spf.hosted_without_effect" not in check(CLEAN).codes()


@pytest.mark.req("MJ-12")
def test_for_mailjet_the_three_are_recommended_not_required() -> None:
    report = check(
        {"acme.com": ["NS ns1.acme.com."]}, SendingSetup("acme.com", service="mailjet", hosting="on_premise")
    )
    states = {result.verdict.check: result.state for result in report.results}
    assert states == {"spf": VerdictState.WARNING, "dkim": VerdictState.WARNING, "dmarc": VerdictState.WARNING}


@pytest.mark.req("SPF-04")
def test_the_proposed_first_record() -> None:
    change = check(without("acme.com", **{"x.acme.com": ["A 192.0.2.1"]})).result("spf").change
    assert change is not None
    assert [record.value for record in change.publish] == ["v=spf1 include:_spf.odoo.com ~all"]


@pytest.mark.req("SPF-05", "SPF-06")
def test_an_existing_record_is_replaced_and_two_are_shown_with_one_proposal() -> None:
    report = check(planted("acme.com", ["TXT v=spf1 include:_spf.google.com ~all"]))
    change = report.result("spf").change
    assert change is not None
    assert change.publish[0].value == "v=spf1 include:_spf.odoo.com include:_spf.google.com ~all"
    assert change.remove[0].value == "v=spf1 include:_spf.google.com ~all"
    both = ["TXT v=spf1 include:_spf.google.com ~all", "TXT v=spf1 include:_spf.odoo.com -all"]
    result = check(planted("acme.com", list(both))).result("spf")
    assert result.state is VerdictState.FAILED
    assert all(text.removeprefix("TXT ") in result.verdict.found for text in both)
    assert result.change is not None
    assert result.change.publish[0].value == "v=spf1 include:_spf.google.com include:_spf.odoo.com ~all"
    assert result.verdict.evidence["proof"]["lost"] == []


@pytest.mark.req("DKIM-05")
@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("odoo._domainkey.odoo.com.", "dkim.ok"),
        ("odoo._domainkey.acmedb.odoo.com.", "dkim.ok"),
        ("d0.key.example.", "dkim.points_elsewhere"),
    ],
)
def test_both_targets_count_and_no_other(target: str, code: str) -> None:
    zone = planted("odoo._domainkey.acme.com", [f"CNAME {target}"])
    zone["d0.key.example"] = [f"TXT {RECORD}"]
    assert code in check(zone).codes()


@pytest.mark.req("DKIM-08", "DKIM-07")
def test_a_subdomain_sender_has_its_own_names() -> None:
    setup = SendingSetup("marketing.company-name.com")
    report = check({"marketing.company-name.com": ["TXT v=spf1 include:_spf.odoo.com ~all"]}, setup)
    change = report.result("dkim").change
    assert change is not None
    assert change.publish[0].name == "odoo._domainkey.marketing.company-name.com"
    doubled = "odoo._domainkey.marketing.company-name.com.company-name.com"
    found = check({doubled: ["CNAME odoo._domainkey.odoo.com."]}, setup).result("dkim")
    assert found.code == "dkim.doubled_name"
    assert "type only the short name" in found.verdict.fix


@pytest.mark.req("DMARC-05")
def test_online_needs_dkim_to_pass_dmarc() -> None:
    zone = without("odoo._domainkey.acme.com")
    assert "dmarc.needs_dkim" in check(zone).codes()
    assert "dmarc.needs_dkim" not in check(zone, SendingSetup("acme.com", hosting="on_premise")).codes()


@pytest.mark.req("DMARC-09")
def test_curly_quotes_are_named_and_the_corrected_text_is_given() -> None:
    zone = planted("_dmarc.acme.com", [{"type": "TXT", "text": "“v=DMARC1; p=none; rua=mailto:a@acme.com”"}])
    result = check(zone).result("dmarc")
    assert result.code == "dmarc.curly_quotes"
    assert "curly quotation marks" in result.verdict.title
    assert result.change is not None
    assert result.change.publish[0].value == "v=DMARC1; p=none; rua=mailto:a@acme.com"


@pytest.mark.req("DNSP-01")
def test_the_dns_host_is_guessed_and_its_guide_comes_first() -> None:
    report = check(
        planted("acme.com", [*CLEAN["acme.com"][:1], "NS ns41.domaincontrol.com.", "NS ns42.domaincontrol.com."])
    )
    assert report.dns_host == "GoDaddy"
    assert report.guides[0] == ("GoDaddy", "Add a TXT record", "https://www.godaddy.com/help/add-a-txt-record-19232")
    assert {host.title for host in DNS_HOSTS} == {
        "OVH",
        "GoDaddy",
        "Namecheap",
        "Cloudflare",
        "Squarespace",
        "Azure DNS",
    }
    assert guess_host(["bob.ns.cloudflare.com."]) is not None
    assert guess_host(["ns1.acme.com."]) is None


def test_profiles_carry_source_and_date() -> None:
    assert {
        "odoo",
        "microsoft365",
        "google",
        "mailjet",
        "amazonses",
        "sendgrid",
        "mailgun",
        "brevo",
        "postmark",
        "resend",
        "mailchimp",
        "mandrill",
        "zoho",
        "hubspot",
    } == set(SENDERS)
    assert all(
        profile.source and profile.as_of and profile.help_url.startswith("https://") for profile in SENDERS.values()
    )


SPF, DKIM, DMARC = "acme.com", "odoo._domainkey.acme.com", "_dmarc.acme.com"
LONG = "TXT v=spf1 " + " ".join(f"ip4:198.51.100.{n}" for n in range(40)) + " include:_spf.odoo.com ~all"
FAULTS: dict[str, tuple[str, list[object], str]] = {
    "spf gone": (SPF, [], "spf.missing"),
    "spf of the old type": (SPF, ["SPF v=spf1 include:_spf.odoo.com ~all"], "spf.old_type_only"),
    "spf twice": (SPF, ["TXT v=spf1 include:_spf.odoo.com ~all", "TXT v=spf1 mx ~all", "MX 10 mx.acme.com."], "spf.multiple"),
    "spf thrice": (SPF, ["TXT v=spf1 a ~all", "TXT v=spf1 mx ~all", "TXT v=spf1 ip4:192.0.2.1 -all", "A 192.0.2.2", "MX 10 mx.acme.com."], "spf.multiple"),
    "spf of another service": (SPF, ["TXT v=spf1 include:_spf.google.com ~all"], "spf.service_not_permitted"),
    "spf closed": (SPF, ["TXT v=spf1 -all"], "spf.service_not_permitted"),
    "spf neutral include": (SPF, ["TXT v=spf1 ?include:_spf.odoo.com ~all"], "spf.service_not_permitted"),
    "spf behind all": (SPF, ["TXT v=spf1 ~all include:_spf.odoo.com"], "spf.after_all"),
    "spf open to all": (SPF, ["TXT v=spf1 include:_spf.odoo.com +all"], "spf.pass_all"),
    "spf bare all": (SPF, ["TXT v=spf1 include:_spf.odoo.com all"], "spf.pass_all"),
    "spf without all": (SPF, ["TXT v=spf1 include:_spf.odoo.com"], "spf.no_all"),
    "spf neutral all": (SPF, ["TXT v=spf1 include:_spf.odoo.com ?all"], "spf.neutral_all"),
    "spf in quotation marks": (SPF, [{"type": "TXT", "text": '"v=spf1 include:_spf.odoo.com ~all"'}], "spf.not_recognised"),
    "spf in curly quotes": (SPF, [{"type": "TXT", "text": "“v=spf1 include:_spf.odoo.com ~all”"}], "spf.not_recognised"),
    "spf version glued": (SPF, ["TXT v=spf1include:_spf.odoo.com ~all"], "spf.not_recognised"),
    "spf leading space": (SPF, [{"type": "TXT", "text": " v=spf1 include:_spf.odoo.com ~all"}], "spf.not_recognised"),
    "spf en dash": (SPF, [{"type": "TXT", "text": "v=spf1 include:_spf.odoo.com –all"}], "spf.syntax"),
    "spf ipv4": (SPF, ["TXT v=spf1 ipv4:192.0.2.1 include:_spf.odoo.com ~all"], "spf.syntax"),
    "spf bare host": (SPF, ["TXT v=spf1 mail.acme.com include:_spf.odoo.com ~all"], "spf.syntax"),
    "spf ip with port": (SPF, ["TXT v=spf1 ip4:192.0.2.1:25 include:_spf.odoo.com ~all"], "spf.syntax"),
    "spf bad prefix": (SPF, ["TXT v=spf1 ip4:192.0.2.1/33 include:_spf.odoo.com ~all"], "spf.syntax"),
    "spf v6 in ip4": (SPF, ["TXT v=spf1 ip4:2001:db8::1 include:_spf.odoo.com ~all"], "spf.syntax"),
    "spf comma": (SPF, ["TXT v=spf1 ip4:192.0.2.1, include:_spf.odoo.com ~all"], "spf.syntax"),
    "spf redirect twice": (SPF, ["TXT v=spf1 include:_spf.odoo.com redirect=d0.example redirect=d1.example"], "spf.syntax"),
    "spf redirect beside all": (SPF, ["TXT v=spf1 include:_spf.odoo.com redirect=d0.example ~all"], "spf.redirect_ignored"),
    "spf too deep": (SPF, ["TXT v=spf1 include:_spf.odoo.com include:deep.example ~all"], "spf.too_many_lookups"),
    "spf no room": (SPF, ["TXT v=spf1 include:deep.example ~all"], "spf.service_not_permitted"),
    "spf loop": (SPF, ["TXT v=spf1 include:_spf.odoo.com include:acme.com ~all"], "spf.loop"),
    "spf dead include": (SPF, ["TXT v=spf1 include:_spf.odoo.com include:gone.example ~all"], "spf.target_without_record"),
    "spf void": (SPF, ["TXT v=spf1 include:_spf.odoo.com a:g1.example a:g2.example a:g3.example ~all"], "spf.too_many_void"),
    "spf ptr": (SPF, ["TXT v=spf1 include:_spf.odoo.com ptr ~all"], "spf.ptr"),
    "spf long": (SPF, [LONG], "spf.long"),
    "spf unreadable": (SPF, [{"type": "TXT", "fault": "servfail"}], "spf.unknown"),
    "dkim gone": (DKIM, [], "dkim.no_record"),
    "dkim elsewhere": (DKIM, ["CNAME d0.key.example."], "dkim.dangling_cname"),
    "dkim dangling": (DKIM, ["CNAME gone._domainkey.odoo.com."], "dkim.dangling_cname"),
    "dkim without final dot": (DKIM, ["CNAME odoo._domainkey.odoo.com.acme.com."], "dkim.dangling_cname"),
    "dkim copied key": (DKIM, [f"TXT {RECORD}"], "dkim.copied"),
    "dkim own key": (DKIM, [f"TXT {ANOTHER}"], "dkim.points_elsewhere"),
    "dkim revoked": (DKIM, ["TXT v=DKIM1; p="], "dkim.points_elsewhere"),
    "dkim loop": (DKIM, [f"CNAME {DKIM}."], "dkim.unknown"),
    "dkim unreadable": (DKIM, [{"type": "ANY", "fault": "timeout"}], "dkim.unknown"),
    "dmarc gone": (DMARC, [], "dmarc.missing"),
    "dmarc twice": (DMARC, ["TXT v=DMARC1; p=none", "TXT v=DMARC1; p=reject"], "dmarc.multiple"),
    "dmarc policy misspelt": (DMARC, ["TXT v=DMARC1; p=quarentine"], "dmarc.bad_policy"),
    "dmarc without policy": (DMARC, ["TXT v=DMARC1; rua=mailto:a@acme.com"], "dmarc.missing_p"),
    "dmarc curly quotes": (DMARC, [{"type": "TXT", "text": "“v=DMARC1; p=none”"}], "dmarc.curly_quotes"),
    "dmarc lower-case version": (DMARC, ["TXT v=dmarc1; p=none"], "dmarc.not_recognised"),
    "dmarc without semicolon": (DMARC, ["TXT v=DMARC1 p=none"], "dmarc.not_recognised"),
    "dmarc bare address": (DMARC, ["TXT v=DMARC1; p=none; rua=a@acme.com"], "dmarc.bad_uri"),
    "dmarc pct": (DMARC, ["TXT v=DMARC1; p=none; pct=50"], "dmarc.removed_tag"),
    "dmarc tag twice": (DMARC, ["TXT v=DMARC1; p=none; p=reject"], "dmarc.duplicate_tag"),
    "dmarc unknown tag": (DMARC, ["TXT v=DMARC1; p=none; policy=none"], "dmarc.unknown_tag"),
    "dmarc bad alignment": (DMARC, ["TXT v=DMARC1; p=none; adkim=strict"], "dmarc.bad_value"),
    "dmarc unreadable": (DMARC, [{"type": "TXT", "fault": "refused"}], "dmarc.unknown"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_named_and_every_offered_fix_verifies_clean(fault: str) -> None:
    name, entries, code = FAULTS[fault]
    zone = planted(name, entries)
    with dns_world({**SUPPORT, **zone}, timeout=1.0) as (server, run):  # type: ignore[dict-item]  # mixed forms
        report = run.do(lambda resolver: check_domain(resolver, ACME))
        assert code in report.codes()
        for result in report.results:
            if result.state is VerdictState.UNKNOWN:
                assert result.change is None  # nothing is proposed for what could not be read
            if result.change is None:
                continue
            assert result.proved
            for record in result.change.remove:
                server.remove(record.name, record.type)
            server.remove(result.change.publish[0].name, "SPF")
            for record in result.change.publish:
                _publish(server, record)
            run.resolver._answers.clear()
            after = run.do(lambda resolver: check_domain(resolver, ACME))
            assert result.code not in {one.code for one in after.results if one.verdict.check == result.verdict.check}
            break


def _publish(server: object, record: ZoneRecord) -> None:
    """Publish through the zone-file output, so that the output is what is proved."""
    line = zone_file([record], "acme.com").splitlines()[2]
    host, _, kind, value = line.split(" ", 3)
    full = "acme.com" if host == "@" else f"{host}.acme.com"
    server.add(full, f"{kind} {value}")  # type: ignore[attr-defined]  # a DnsServer


def test_there_are_at_least_forty_kinds_of_fault() -> None:
    assert len(FAULTS) >= 40


def test_a_merge_that_would_need_too_many_lookups_is_withheld_with_the_reason() -> None:
    result = check(planted(SPF, ["TXT v=spf1 include:deep.example include:_spf.google.com ~all"])).result("spf")
    withheld = [one for one in (result,) if one.withheld]
    assert withheld
    assert "12 lookups" in withheld[0].withheld
    assert withheld[0].verdict.evidence["proof"]["lookups_after"] == 12


def test_a_service_that_bounces_to_its_own_domain_starts_no_spf_record() -> None:
    report = check({"acme.com": ["A 192.0.2.1"]}, SendingSetup("acme.com", service="postmark"))
    assert report.result("spf").code == "spf.missing"
    assert report.result("spf").change is None
