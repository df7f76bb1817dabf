"""DKIM advice: what works is not called wrong, the services' real targets count, several services at once."""

from __future__ import annotations

import base64
import secrets

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from dns_kit import CLEAN, DOMAIN, KEY, SUPPORT, codes, mended, proposals, report, row_of, text, values, zone

from mailops.dns.dkim_key import parse_key
from mailops.testing.dkim_keys import dkim_key_pair

NAME, TARGET = f"odoo._domainkey.{DOMAIN}", "odoo._domainkey.odoo.com"
OTHER = dkim_key_pair()[1]


def test_a_copy_of_the_services_key_works_today_and_gets_a_warning() -> None:
    before, _, after = mended(zone({NAME: [f"TXT {KEY}"]}), "dkim")
    row = next(one for one in before["results"] if one["check"] == "dkim")
    assert (row["state"], "dmarc.needs_dkim" in codes(before)) == ("warning", False)
    assert "copy" in row["title"]
    assert values(row) == [(NAME, "CNAME", TARGET)]
    assert not codes(after)


def test_a_key_of_another_is_replaced_and_who_signs_with_it_is_said_to_fail() -> None:
    where = zone({NAME: [f"TXT v=DKIM1; k=rsa; p={_rsa(2048)}"]})
    row = row_of(report(where), "dkim.points_elsewhere")
    assert "selector odoo" in "".join(row.get("loses", ()))


@pytest.mark.parametrize("record", ["TXT v=spf1 -all", "TXT hello", "CNAME parking.host.example."])
def test_what_a_wildcard_answers_is_not_in_the_zone_and_not_taken_away(record: str) -> None:
    before, _, after = mended(zone({NAME: [], f"*.{DOMAIN}": [record]}), "dkim")
    row = proposals(before, "dkim")[0]
    assert row["remove"] == []
    assert "wildcard" in row["title"]
    assert values(row) == [(NAME, "CNAME", TARGET)]
    assert not [code for code in codes(after) if code.startswith("dkim")]


@pytest.mark.parametrize(
    ("place", "record"),
    [
        (f"{NAME}.{DOMAIN}", f"TXT {KEY}"),
        (f"{NAME}.{DOMAIN}", f"CNAME {TARGET}."),
        (f"odoo.{DOMAIN}", f"CNAME {TARGET}."),
        (f"odoo.{DOMAIN}", f"TXT {KEY}"),
        (f"odoo.domainkey.{DOMAIN}", f"CNAME {TARGET}."),
        (f"_domainkey.{DOMAIN}", f"CNAME {TARGET}."),
    ],
)
def test_a_key_at_the_wrong_name_is_moved_as_what_it_is(place: str, record: str) -> None:
    before, after_zone, after = mended(zone({NAME: [], place: [record]}), "dkim")
    assert proposals(before, "dkim"), before["results"]
    row = proposals(before, "dkim")[0]
    kind, _, value = record.partition(" ")
    assert values(row, "remove") == [(place, kind, value.rstrip("."))]
    assert not after_zone.get(place)
    assert not codes(after)


def test_a_web_address_of_the_same_name_is_left_alone() -> None:
    where = zone({NAME: [], f"odoo.{DOMAIN}": ["CNAME acme.odoo.com."], "acme.odoo.com": ["A 192.0.2.1"]})
    assert row_of(report(where), "dkim.no_record")["remove"] == []


def _m365(domain: str, prefix: str, suffix: str, second: bool) -> dict[str, list[str]]:
    made = {
        domain: ["TXT v=spf1 include:spf.protection.outlook.com -all", "NS ns1.acme.example."],
        "spf.protection.outlook.com": ["TXT v=spf1 ip4:198.51.100.0/24 -all"],
        f"_dmarc.{domain}": [f"TXT v=DMARC1; p=reject; rua=mailto:a@{domain}"],
    }
    for selector in ("selector1", "selector2"):
        target = f"{selector}-{prefix}._domainkey.tenant.{suffix}"
        made[f"{selector}._domainkey.{domain}"] = [f"CNAME {target}."]
        if selector == "selector1" or second:
            made[target] = [f"TXT {KEY}"]
    return made


@pytest.mark.parametrize("second", [True, False])
@pytest.mark.parametrize("suffix", ["onmicrosoft.com", "n-v1.dkim.mail.microsoft", "n-v2.dkim.mail.microsoft"])
@pytest.mark.parametrize(("domain", "prefix"), [("acme.example", "acme-example"), ("a-b.example", "ab-example0i")])
def test_microsofts_real_targets_count_and_the_inactive_selector_is_a_note(
    domain: str, prefix: str, suffix: str, second: bool
) -> None:
    shown = report(_m365(domain, prefix, suffix, second), domain=domain, service="microsoft365")  # type: ignore[arg-type]
    assert codes(shown) == set()
    assert shown["green"]


def test_microsoft_without_any_key_is_told_once() -> None:
    where = _m365("acme.example", "acme-example", "onmicrosoft.com", second=False)
    where = {name: entries for name, entries in where.items() if "_domainkey" not in name}
    rows = [row for row in report(where, service="microsoft365")["results"] if row["check"] == "dkim"]  # type: ignore[arg-type]
    assert [row["state"] for row in rows] == ["failed"]


@pytest.mark.parametrize("selector", ["mx", "smtp", "pic", "k1", "krs"])
def test_one_of_mailguns_selectors_is_enough(selector: str) -> None:
    where = zone({f"{selector}._domainkey.{DOMAIN}": [f"TXT {KEY}"], DOMAIN: ["TXT v=spf1 include:mailgun.org ~all"],
                  "mailgun.org": ["TXT v=spf1 ip4:192.0.2.0/26 ~all"]})  # fmt: skip
    assert codes(report(where, service="mailgun")) == set()


def test_services_together_want_what_each_of_them_wants() -> None:
    where = zone({f"google._domainkey.{DOMAIN}": [f"TXT {KEY}"]})
    before, _, after = mended(where, "spf", service="odoo,google,mailjet")
    row = row_of(before, "spf.service_not_permitted")
    assert "google and mailjet" in row["title"]
    assert values(row) == [
        (DOMAIN, "TXT", "v=spf1 include:_spf.google.com include:spf.mailjet.com include:_spf.odoo.com ~all")
    ]
    keys = {one["subject"] for one in before["results"] if one["check"] == "dkim"}
    assert keys == {f"{name}._domainkey.{DOMAIN}" for name in ("odoo", "google", "mailjet")}
    assert "spf.service_not_permitted" not in codes(after)
    assert "spf.hosted_without_effect" not in codes(before)


def _rsa(bits: int) -> str:
    number = secrets.randbits(bits) | 1 | 1 << (bits - 1)
    der = RSAPublicNumbers(65537, number).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


@pytest.mark.parametrize("bits", [512, 768])
def test_an_invalid_key_keeps_what_can_be_read_of_it(bits: int) -> None:
    record = parse_key(f"v=DKIM1; k=rsa; t=y:s; h=sha256; p={_rsa(bits)}")
    assert (record.reason, record.bits, record.testing, record.strict_identity, record.hashes) == (
        "key_too_short", bits, True, True, ("sha256",)
    )  # fmt: skip


def test_a_wrapped_ed25519_key_is_called_by_its_type() -> None:
    der = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    record = parse_key(f"v=DKIM1; k=ed25519; p={base64.b64encode(der).decode()}")
    assert (record.key_type, record.reason) == ("ed25519", "bad_key")


P = KEY.partition("p=")[2]
SLIPS = {
    "backslash": (f"v=DKIM1\\; k=rsa\\; p={P}", "backslash"),
    "quotes": (f'"v=DKIM1; k=rsa; p={P}"', "quotation marks"),
    "cut by hand": (f'v=DKIM1; k=rsa; p={P[:100]}" "{P[100:]}', "quotation marks"),
    "PEM lines": (f"v=DKIM1; k=rsa; p=-----BEGIN PUBLIC KEY-----{P}-----END PUBLIC KEY-----", "BEGIN PUBLIC KEY"),
    "upper case": (f"V=DKIM1; K=rsa; P={P}", "lower case"),
    "curly quotes": (f"“v=DKIM1; k=rsa; p={P}”", "curly quotation marks"),
    "lost semicolons": (f"v=DKIM1 k=rsa p={P}", ""),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_pasted_key_is_mended_and_the_cause_is_named(slip: str) -> None:
    written, cause = SLIPS[slip]
    name = f"mailjet._domainkey.{DOMAIN}"
    before, _, after = mended(zone({name: [text(written)]}), "dkim", service="mailjet")
    row = next(one for one in before["results"] if one["check"] == "dkim")
    assert row["publish"], row["title"]
    assert values(row) == [(name, "TXT", f"v=DKIM1; k=rsa; p={P}")]
    assert cause in row["title"]
    assert not [code for code in codes(after) if code.startswith("dkim")]


def test_a_key_beside_another_text_stays_alone() -> None:
    name = f"mailjet._domainkey.{DOMAIN}"
    before, after_zone, _ = mended(zone({name: [f"TXT {KEY}", "TXT hello"]}), "dkim", service="mailjet")
    assert row_of(before, "dkim.multiple_records")["publish"]
    assert len(after_zone[name]) == 1


RESEND = {
    f"resend._domainkey.{DOMAIN}": [f"TXT p={P}"],
    f"send.{DOMAIN}": ["MX 10 feedback-smtp.eu-west-1.amazonses.com.", "TXT v=spf1 include:amazonses.com ~all"],
    "amazonses.com": ["TXT v=spf1 ip4:192.0.2.0/26 -all"],
}


def test_a_return_path_of_ones_own_is_looked_at() -> None:
    good = report(zone(RESEND), service="odoo,resend")
    assert row_of(good, "return_path.ok")["state"] == "passed"
    assert good["green"]
    half = {**RESEND, f"send.{DOMAIN}": RESEND[f"send.{DOMAIN}"][:1]}
    before, _, after = mended(zone(half), "return_path", service="odoo,resend")
    assert row_of(before, "return_path.incomplete")["publish"]
    assert after["green"]
    without = {name: entries for name, entries in RESEND.items() if not name.startswith("send.")}
    assert row_of(report(zone(without), service="odoo,resend"), "return_path.not_set")["state"] == "skipped"


def test_every_service_has_a_file_with_source_and_date_and_reads() -> None:
    from mailops.providers.records import SENDERS

    assert {"resend", "mandrill", "mailchimp", "zoho", "hubspot"} <= set(SENDERS)
    for profile in SENDERS.values():
        assert profile.source
        assert profile.basis in ("source", "general knowledge")
        assert (len(profile.as_of) == 10) == (profile.basis == "source")
        where = {**SUPPORT, **CLEAN}
        assert report(where, service=profile.key)["service"] == profile.key
