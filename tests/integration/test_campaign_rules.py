"""What Gmail, Yahoo and Microsoft ask of mail to many, held against the composed mail before it is queued."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from furnish import furnish
from test_campaigns import cli, make

from mailops import Ops
from mailops.campaigns.asked import held
from mailops.dns.check_bulk import bulk_rules
from mailops.testing import SmtpServer

TEXT = "Hello {{ name }}.\nNo more of these: {{ unsubscribe_url }}\n"


def rows(count: int) -> list[dict[str, str]]:
    domains = ("gmail.com", "yahoo.com", "outlook.com", "x.example")
    return [{"email": f"u{n}@{domains[n % 4]}", "name": f"User {n}"} for n in range(count)]


@pytest.mark.req("CAM-01")
def test_a_campaign_without_link_and_signature_is_told_so_and_one_with_them_is_not(
    ops_factory: Callable[..., Ops],
) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        make(ops, "bare", rows(8), text="Hello {{ name }}.", sender="No Reply <no-reply@acme.example>")
        found = {one["receiver"]: one for one in cli(ops, "campaign", "check", "bare", "--json")}
        assert [one["state"] for one in found.values()] == ["warning"] * 3, "few recipients: advice"
        assert [one["recipients"] for one in found.values()] == [2, 2, 2]
        google, _, microsoft = found.values()
        assert len(google["missing"]) == 3
        assert "RFC 8058" in google["sentence"]
        assert "a From that takes replies" in microsoft["missing"]
        ops.set_parameter("web.base.url", "https://erp.acme.example")
        ops.signing.add("acme.example", "s1")
        ops.signing.activate("acme.example", "s1", force=True)
        make(ops, "good", rows(8), text=TEXT, sender="Ann <ann@acme.example>")
        assert [one.missing for one in ops.campaign_rules("good")] == [(), (), ()]
        assert ops.campaigns.status("good").state == "draft", "nothing was queued by looking"


def test_the_rules_are_dated_and_count_from_a_volume() -> None:
    raw = b"From: Ann <ann@gmail.com>\r\nTo: b@gmail.com\r\nSubject: s\r\n\r\nNews.\r\n"
    found = held(raw, {"gmail.com": 6_000, "yahoo.com": 10})
    assert [one.state for one in found] == ["failed", "warning", "warning"]
    assert "a From of one's own domain" in found[0].missing
    for rule in bulk_rules():
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", rule.since)
        assert re.fullmatch(r"\d{4}(-\d{2}-\d{2})?", rule.as_of)
        assert rule.mail
        assert rule.domains
