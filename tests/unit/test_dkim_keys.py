"""DKIM key records and their look-up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailops.dns.dkim import KeyLookup, lookup_key
from mailops.dns.dkim_key import KeyStatus, parse_key
from mailops.dns.dkim_message import sign_message, verify_message
from mailops.testing.dkim_keys import dkim_key_pair
from mailops.testing.dns_world import dns_world


def look(zone: dict[str, list[object]], domain: str = "company-name.com", selector: str = "odoo") -> KeyLookup:
    with dns_world(zone, timeout=0.8) as (_, run):  # type: ignore[arg-type]  # mixed forms
        return run.do(lambda resolver: lookup_key(resolver, selector, domain))


NAME = "odoo._domainkey.company-name.com"
TARGET = "odoo._domainkey.odoo.com"


@pytest.mark.parametrize(
    ("zone", "status", "reason"),
    [
        ({NAME: [f"CNAME {TARGET}."], TARGET: ["KEY"]}, "valid", ""),
        ({NAME: [f"CNAME {TARGET}."]}, "missing", "dangling_cname"),
        ({NAME: ["TXT v=DKIM1; p="]}, "revoked", ""),
        ({NAME: ["KEY", "TXT other"]}, "invalid", "multiple_records"),
        ({NAME: [{"type": "TXT", "fault": "servfail"}]}, "temperror", "servfail"),
        ({NAME: [{"type": "TXT", "fault": "timeout"}]}, "temperror", "timeout"),
        ({"company-name.com": ["A 192.0.2.1"]}, "missing", "no_record"),
    ],
)
def test_what_stands_at_a_selector(zone: dict[str, list[object]], status: str, reason: str) -> None:
    filled = {
        name: [f"TXT {dkim_key_pair()[1]}" if one == "KEY" else one for one in entries]
        for name, entries in zone.items()
    }
    found = look(filled)
    assert found.status == status
    assert found.record.reason == reason


@pytest.mark.req("DKIM-07")
@pytest.mark.parametrize("domain", ["company-name.com", "marketing.company-name.com"])
def test_a_doubled_name_is_recognised(domain: str) -> None:
    doubled = f"odoo._domainkey.{domain}.company-name.com"
    found = look({doubled: [f"CNAME {TARGET}."], TARGET: [f"TXT {dkim_key_pair()[1]}"]}, domain)
    assert (found.status, found.record.reason, found.found_at) == (KeyStatus.MISSING, "doubled_name", doubled)
    assert "appended the domain" in found.record.message


def test_a_wildcard_is_noticed() -> None:
    assert look({"*._domainkey.company-name.com": ["TXT v=DKIM1; p="]}).wildcard
    assert not look({NAME: ["TXT v=DKIM1; p="]}).wildcard


def test_a_target_without_its_final_dot_is_explained() -> None:
    found = look({NAME: [f"CNAME {TARGET}.company-name.com."]})
    assert "final dot" in found.record.message


@given(st.text(st.characters(max_codepoint=255), max_size=80))
@settings(max_examples=200, deadline=None)
def test_no_key_record_breaks_the_parser(text: str) -> None:
    assert parse_key(text).status in set(KeyStatus)
    assert parse_key("v=DKIM1; p=" + text).status in set(KeyStatus)


MESSAGE = b"From: Ann <ann@company-name.com>\r\nTo: bob@example.com\r\nSubject: hi\r\nDate: Mon, 23 Nov 2026 01:00:00 +0000\r\n\r\nHello\r\n"


def results(message: bytes, record: str) -> list[str]:
    with dns_world({NAME: [f"TXT {record}"]}) as (_, run):
        return [one.result for one in run.do(lambda resolver: verify_message(resolver, message))]


@pytest.mark.req("DKIM-01")
def test_a_signed_message_verifies_and_one_changed_byte_fails() -> None:
    private, record = dkim_key_pair()
    signed = sign_message(MESSAGE, selector="odoo", domain="company-name.com", private_key=private)
    assert results(signed, record) == ["pass"]
    assert results(signed.replace(b"Hello", b"Hellp"), record) == ["fail"]
    assert results(signed.replace(b"Subject: hi", b"Subject: ho"), record) == ["fail"]
    assert results(b"From: eve@example.net\r\n" + signed, record) == ["fail"]
    assert results(MESSAGE, record) == []


def test_a_key_nobody_accepts_never_verifies() -> None:
    private, record = dkim_key_pair()
    signed = sign_message(MESSAGE, selector="odoo", domain="company-name.com", private_key=private)
    assert results(signed, "v=DKIM1; p=") == ["permerror"]
    assert results(signed, record.replace("k=rsa;", "k=rsa; h=sha1;")) == ["permerror"]
    with dns_world({NAME: [{"type": "TXT", "fault": "servfail"}]}, timeout=0.8) as (_, run):
        assert [one.result for one in run.do(lambda resolver: verify_message(resolver, signed))] == ["temperror"]


def test_an_ed25519_signature_is_verified_or_left_open_but_never_called_wrong() -> None:
    message = (
        b"DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=football.example.com; i=@football.example.com;"
        b" q=dns/txt; s=brisbane; t=1528637909; h=from : to : subject : date : message-id : from : subject : date;"
        b" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;"
        b" b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n"
        b"From: Joe SixPack <joe@football.example.com>\r\nTo: Suzie Q <suzie@shopping.example.net>\r\n"
        b"Subject: Is dinner ready?\r\nDate: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
        b"Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\n"
        b"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"
    )
    record = "TXT v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    with dns_world({"brisbane._domainkey.football.example.com": [record]}) as (_, run):
        assert run.do(lambda r: verify_message(r, message))[0].result in ("pass", "temperror")
        wrong = message.replace(b"a=ed25519-sha256", b"a=rsa-sha256")
        assert "of the kind ed25519" in run.do(lambda r: verify_message(r, wrong))[0].reason
