"""The cards of a domain: every form of a record to copy, the proof beside it, one verdict a check."""

from __future__ import annotations

import pytest
from sqlalchemy.engine import Engine

from mailops.dns.domain_model import CheckResult, SendingSetup, verdict
from mailops.dns.records import Change, ZoneRecord
from mailops.domains import folded, proof_line, record_forms
from mailops.domains.values import endpoint
from mailops.errors import ChecksFailed, InputRefused
from mailops.jobs.verdicts import RunContext
from mailops.model.verdict import VerdictState as S
from mailops.providers.records import SENDERS
from mailops.testing import ManualClock
from mailops.widgets.copyfield import CopyField
from mailops.widgets.domain_view import FindingCard, Links, expectations, outside_checks

LONG = "v=DKIM1; k=rsa; p=" + "A" * 400


def finding(*publish: ZoneRecord, remove: tuple[ZoneRecord, ...] = (), **proof: object) -> CheckResult:
    found = verdict("dkim", "s1._domainkey.acme.example", S.FAILED, "dkim.no_record", "there is no record")
    found.verdict.evidence["proof"] = {"cleared": True, **proof}
    return CheckResult(found.verdict, Change("the key", publish, remove), True)


@pytest.mark.req("DKIM-06")
@pytest.mark.parametrize(("appends", "first"), [(None, "s1._domainkey"), (True, "s1._domainkey"), (False, "full")])
def test_both_names_can_be_copied_and_the_panel_decides_which_comes_first(appends: bool | None, first: str) -> None:
    full = "s1._domainkey.acme.example"
    card = FindingCard(finding(ZoneRecord(full, "TXT", LONG)), "acme.example", appends_domain=appends)
    fields = [field for field in card.fields if isinstance(field, CopyField)]
    names = [field.value for field in fields if field.label.startswith("Name")]
    assert set(names) == {"s1._domainkey", full}
    assert names[0] == (full if first == "full" else first)


def test_a_long_value_is_also_there_in_strings_of_255_octets() -> None:
    forms = dict(record_forms(ZoneRecord("s1._domainkey.acme.example", "TXT", LONG), "acme.example"))
    assert forms["Value"] == LONG
    parts = forms["Value, cut into strings of at most 255 octets"].strip('"').split('" "')
    assert [len(part) for part in parts] == [255, len(LONG) - 255]
    assert "".join(parts) == LONG
    assert len(record_forms(ZoneRecord("acme.example", "TXT", "v=spf1 -all"), "acme.example")) == 4


def test_every_face_holds_the_record_what_to_take_away_and_the_proof() -> None:
    gone = ZoneRecord("s1._domainkey.acme.example", "CNAME", "old.example")
    result = finding(ZoneRecord("s1._domainkey.acme.example", "CNAME", "new.example"), remove=(gone,))
    card = FindingCard(result, "acme.example")
    for face in (card.html(), card.text()):
        assert "new.example." in face
        assert "old.example." in face
        assert "Proved: after publishing this, DKIM no longer has this finding" in face
    assert card._repr_mimebundle_()["application/vnd.jupyter.widget-view+json"]


def test_an_unproved_change_shows_no_record_and_says_why() -> None:
    plain = verdict("spf", "acme.example", S.FAILED, "spf.too_many", "too many lookups")
    result = CheckResult(plain.verdict, None, False, "it would need 12 lookups")
    card = FindingCard(result, "acme.example")
    assert card.fields == []
    assert "No record is proposed: it would need 12 lookups." in card.text()
    unproved = CheckResult(plain.verdict, Change("x", (ZoneRecord("acme.example", "TXT", "v=spf1 -all"),)), False)
    assert proof_line(unproved) == ""
    assert FindingCard(unproved, "acme.example").fields == []


def test_records_that_only_help_together_are_named() -> None:
    line = proof_line(finding(ZoneRecord("a.example", "TXT", "x"), together=["_dmarc.a.example"]))
    assert "after publishing this together with _dmarc.a.example" in line


def test_the_worst_result_of_a_check_decides_and_the_others_stay_in_sight() -> None:
    results = [
        verdict("spf", "a.example", S.WARNING, "spf.ptr", "ptr is slow"),
        verdict("spf", "a.example", S.FAILED, "spf.multiple", "two records"),
        verdict("spf", "a.example", S.PASSED, "spf.ok", "fine"),
        verdict("spf", "b.example", S.PASSED, "spf.ok", "fine"),
    ]
    first, second = folded(results)
    assert (first.code, first.state) == ("spf.multiple", S.FAILED)
    assert first.evidence["also"] == ["warning: ptr is slow", "passed: fine"]
    assert (second.subject, second.evidence) == ("b.example", {})


def test_only_https_becomes_a_link_and_text_is_escaped() -> None:
    shown = Links("See", [("<b>", "javascript:alert(1)", ""), ("ok", "https://a.example/", "<i>")]).html()
    assert "javascript" in shown
    assert 'href="javascript' not in shown
    assert "<b>" not in shown
    assert "<i>" not in shown
    assert "paste acme.example:mailjet" in outside_checks("acme.example", "mailjet").text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        (" 192.0.2.53:5353 ", ("192.0.2.53", 5353)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
        ("[2001:db8::53]", ("2001:db8::53", 53)),
        ("2001:db8::53", ("2001:db8::53", 53)),
    ],
)
def test_addresses_of_name_servers(text: str, expected: tuple[str, int]) -> None:
    assert endpoint(text) == expected


@pytest.mark.parametrize(
    "text", ["", "ns1.example.com", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:65536", "192.0.2.53:dns", "[x]:53"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InputRefused) as error:
        endpoint(text)
    assert error.value.code == "input.resolver"


def test_the_gate_of_an_app_leaves_the_cards_to_tell_it(sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = verdict("spf", "a.example", S.FAILED, "spf.missing", "no record").verdict
    for run_id, software, raises in (("", "voila/0.5", False), ("", "", True), ("job-1", "voila/0.5", True)):
        monkeypatch.setenv("SERVER_SOFTWARE", software)
        context = RunContext(sqlite_engine, run_id, ManualClock())
        context.record(failed)
        if raises:
            with pytest.raises(ChecksFailed):
                context.require_passed()
        else:
            context.require_passed()


@pytest.mark.parametrize("service", [*SENDERS, ""])
def test_every_service_tells_what_it_expects_and_from_where_that_is_known(service: str) -> None:
    text = expectations(SendingSetup("acme.example", service=service)).text()
    assert "{" not in text
    if service:
        assert SENDERS[service].help_url in text
        assert f"include:{SENDERS[service].spf_include}" in text or "bounces to its own domain" in text
    else:
        assert "A server of your own" in text
