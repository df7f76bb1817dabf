"""DMARC advice: every tag of the owner's stays, near misses are read, nothing is published beside a CNAME."""

from __future__ import annotations

import pytest
from dns_kit import DOMAIN, codes, mended, proposals, report, row_of, text, values, zone

NAME = f"_dmarc.{DOMAIN}"
AGG = "rua=mailto:agg@reports.acme.example"
GRANT = {"acme.example._report._dmarc.reports.acme.example": ["TXT v=DMARC1"]}
SLIPS = {
    "policy misspelt": (f"v=DMARC1; p=rejct; {AGG}; adkim=s; sp=reject", f"v=DMARC1; p=reject; {AGG}; adkim=s; sp=reject"),
    "version in lower case": (f"v=dmarc1; p=reject; {AGG}", f"v=DMARC1; p=reject; {AGG}"),
    "quotes typed": (f'"v=DMARC1; p=reject; {AGG}"', f"v=DMARC1; p=reject; {AGG}"),
    "cut by hand": (f'"v=DMARC1; p=reject; " "{AGG}"', f"v=DMARC1; p=reject; {AGG}"),
    "Greek question mark": (f"v=DMARC1\u037e p=reject\u037e {AGG}", f"v=DMARC1; p=reject; {AGG}"),
    "backslashes": (f"v=DMARC1\\; p=reject\\; {AGG}", f"v=DMARC1; p=reject; {AGG}"),
    "byte order mark": (f"\ufeffv=DMARC1; p=reject; {AGG}", f"v=DMARC1; p=reject; {AGG}"),
    "leading space and no-break spaces": (f" v=DMARC1;\u00a0p=reject;\u00a0{AGG}", f"v=DMARC1; p=reject; {AGG}"),
    "commas": (f"v=DMARC1, p=reject, {AGG}", f"v=DMARC1; p=reject; {AGG}"),
    "lost semicolons": (f"v=DMARC1 p=quarantine {AGG} pct=50", f"v=DMARC1; p=quarantine; {AGG}; pct=50"),
    "colons": ("v:DMARC1; p:reject; rua:mailto:agg@acme.example", "v=DMARC1; p=reject; rua=mailto:agg@acme.example"),
    "without the tag v": (f"DMARC1; p=reject; {AGG}", f"v=DMARC1; p=reject; {AGG}"),
    "single quotes": (f"'v=DMARC1; p=reject; {AGG}'", f"v=DMARC1; p=reject; {AGG}"),
    "version lost": (f"p=reject; {AGG}", f"v=DMARC1; p=reject; {AGG}"),
    "version misspelt": (f"v=DMRAC1; p=reject; {AGG}; sp=none", f"v=DMARC1; p=reject; {AGG}; sp=none"),
    "version behind the policy": (f"p=quarantine; v=DMARC1; {AGG}", f"v=DMARC1; p=quarantine; {AGG}"),
    "no policy": ("v=DMARC1; rua=mailto:a@acme.example", "v=DMARC1; p=none; rua=mailto:a@acme.example"),
    "reports twice": (
        "v=DMARC1; p=reject; rua=mailto:a@acme.example; rua=mailto:b@acme.example",
        "v=DMARC1; p=reject; rua=mailto:a@acme.example,mailto:b@acme.example",
    ),
    "strings joined": ("v=DMARC1; p=rejectrua=mailto:a@acme.example", "v=DMARC1; p=reject; rua=mailto:a@acme.example"),
    "strings joined at sp": ("v=DMARC1; p=nonesp=reject; fo=1", "v=DMARC1; p=none; sp=reject; fo=1"),
    "the line of a zone file": ("_dmarc TXT v=DMARC1; p=reject", "v=DMARC1; p=reject"),
    "bare address": ("v=DMARC1; p=none; rua=a@acme.example; fo=1", "v=DMARC1; p=none; rua=mailto:a@acme.example; fo=1"),
    "alignment in words": ("v=DMARC1; p=none; adkim=strict; aspf=relaxed", "v=DMARC1; p=none; adkim=s; aspf=r"),
    "tag misspelt": (
        "v=DMARC1; policy=reject; rua=mailto:a@acme.example",
        "v=DMARC1; p=reject; rua=mailto:a@acme.example",
    ),
    "sub-domains' policy misspelt": ("v=DMARC1; p=reject; sp=quarentine", "v=DMARC1; p=reject; sp=quarantine"),
}  # fmt: skip


@pytest.mark.parametrize("slip", SLIPS)
def test_the_owners_record_comes_back_mended_with_every_tag(slip: str) -> None:
    written, right = SLIPS[slip]
    before, _, after = mended(zone({NAME: [text(written)], **GRANT}), "dmarc")
    rows = proposals(before, "dmarc")
    assert rows, before["results"]
    assert values(rows[0]) == [(NAME, "TXT", right)]
    assert [kind for _, kind, _ in values(rows[0], "remove")] == ["TXT"]
    assert rows[0]["code"] not in codes(after)
    assert not any(code in codes(after) for code in ("dmarc.multiple", "dmarc.not_recognised"))
    assert rows[0]["evidence"]["causes"]
    assert not rows[0].get("loses")


def test_other_records_at_the_name_are_not_taken_for_dmarc() -> None:
    others = ["v=TLSRPTv1; rua=mailto:t@acme.example", "v=DKIM1; k=rsa; p=AAAA", "google-site-verification=p"]
    before = report(zone({NAME: [text(one) for one in others]}))
    row = row_of(before, "dmarc.missing")
    assert values(row, "remove") == []


def test_a_value_without_sense_is_dropped_and_said_to_be() -> None:
    before, _, after = mended(zone({NAME: ["TXT v=DMARC1; p=reject; sp=bogus"]}), "dmarc")
    row = row_of(before, "dmarc.bad_policy")
    assert values(row) == [(NAME, "TXT", "v=DMARC1; p=reject")]
    assert row.get("loses") == ["sp=bogus"]
    assert not codes(after)


def test_a_policy_only_the_owner_can_name_is_asked_for() -> None:
    row = row_of(report(zone({NAME: ["TXT v=DMARC1; p=bogus; rua=mailto:a@acme.example"]})), "dmarc.bad_policy")
    assert values(row) == [(NAME, "TXT", "v=DMARC1; p=none; rua=mailto:a@acme.example")]
    assert [choice.split("; ")[1] for choice in row.get("choices", ())] == ["p=quarantine", "p=reject"]
    assert all(choice.endswith("rua=mailto:a@acme.example") for choice in row.get("choices", ()))


@pytest.mark.parametrize("order", [1, -1])
def test_two_records_are_merged_and_the_policy_is_the_owners_choice(order: int) -> None:
    two = ["TXT v=DMARC1; p=none;", "TXT v=DMARC1; p=reject; sp=reject; rua=mailto:a@acme.example"][::order]
    before, _, after = mended(zone({NAME: two}), "dmarc")
    row = row_of(before, "dmarc.multiple")
    assert values(row) == [(NAME, "TXT", "v=DMARC1; p=none; sp=reject; rua=mailto:a@acme.example")]
    assert list(row.get("choices", ())) == ["v=DMARC1; p=reject; sp=reject; rua=mailto:a@acme.example"]
    assert row.get("loses") == ["p=reject"]
    assert not codes(after)


def test_a_tag_that_stands_twice_is_no_pass() -> None:
    shown = report(zone({NAME: ["TXT v=DMARC1; p=reject; rua=mailto:a@acme.example; rua=mailto:b@acme.example"]}))
    assert row_of(shown, "dmarc.duplicate_tag")["state"] == "failed"
    assert "dmarc.ok" not in {row["code"] for row in shown["results"]}


@pytest.mark.parametrize(("tag", "good"), [("pct=100", True), ("rf=afrf", True), ("ri=86400", True), ("pct=50", False)])
def test_a_removed_tag_with_its_default_is_a_note(tag: str, good: bool) -> None:
    shown = report(zone({NAME: [f"TXT v=DMARC1; p=none; {tag}; rua=mailto:a@acme.example"]}))
    assert shown["green"] is good
    told = row_of(shown, "dmarc.ok" if good else "dmarc.removed_tag")["title"]
    assert tag.partition("=")[0] in told


HOST = "acme.dmarc-host.example"


@pytest.mark.parametrize("held", [["TXT v=DMARC1; p=rejct; rua=mailto:agg@acme.example"], []])
def test_at_an_alias_the_alias_goes_and_its_loss_is_said(held: list[str]) -> None:
    where = zone({NAME: [f"CNAME {HOST}."], **({HOST: held} if held else {})})
    before, after_zone, after = mended(where, "dmarc")
    assert proposals(before, "dmarc"), before["results"]
    row = proposals(before, "dmarc")[0]
    assert values(row, "remove") == [(NAME, "CNAME", HOST)]
    assert after_zone.get(HOST, []) == held
    assert HOST in row.get("loses", [""])[0]
    assert not codes(after)
    if held:
        assert values(row) == [(NAME, "TXT", "v=DMARC1; p=reject; rua=mailto:agg@acme.example")]


@pytest.mark.parametrize("place", [DOMAIN, f"dmarc.{DOMAIN}", f"_dmarc.{DOMAIN}.{DOMAIN}"])
def test_a_record_at_the_wrong_name_is_moved_with_its_values(place: str) -> None:
    record = "v=DMARC1; p=reject; rua=mailto:agg@acme.example; adkim=s"
    where = zone({NAME: []})
    where[place] = [*where.get(place, []), f"TXT {record}"]
    before, _, after = mended(where, "dmarc")
    row = row_of(before, "dmarc.misplaced")
    assert values(row) == [(NAME, "TXT", record)]
    assert values(row, "remove") == [(place, "TXT", record)]
    assert not codes(after)


def test_a_wildcards_record_is_not_taken_away_it_is_not_there() -> None:
    where = zone({NAME: [], f"*.{DOMAIN}": ["TXT v=DMARC1; p=rejct; rua=mailto:agg@acme.example"]})
    before, _, after = mended(where, "dmarc")
    assert proposals(before, "dmarc"), before["results"]
    row = proposals(before, "dmarc")[0]
    assert row["remove"] == []
    assert values(row) == [(NAME, "TXT", "v=DMARC1; p=reject; rua=mailto:agg@acme.example")]
    assert row["code"] not in codes(after)


def test_dkim_nobody_looked_for_is_not_missing() -> None:
    for options in ({"service": "amazonses"}, {"service": "postmark"}):
        where = zone({DOMAIN: ["TXT v=spf1 include:amazonses.com ~all", "NS ns1.acme.example."],
                      "amazonses.com": ["TXT v=spf1 ip4:192.0.2.0/26 -all"]})  # fmt: skip
        shown = report(where, **options)
        assert "dmarc.needs_dkim" not in codes(shown)
