"""A mail domain in a loopback zone, its report, and the proposals published for real and asked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mailops.dns.domain import check_domain
from mailops.dns.domain_model import SendingSetup
from mailops.testing.dkim_keys import dkim_key_pair
from mailops.testing.dns_world import dns_world
from mailops.testing.publish import publish

Zone = dict[str, list[Any]]
KEY = dkim_key_pair()[1]
DOMAIN = "acme.example"
SUPPORT: Zone = {
    "_spf.odoo.com": ["TXT v=spf1 ip4:198.51.100.0/24 -all"],
    "odoo._domainkey.odoo.com": [f"TXT {KEY}"],
    "_spf.google.com": ["TXT v=spf1 ip4:203.0.113.0/24 ~all"],
    "spf.mailjet.com": ["TXT v=spf1 ip4:192.0.2.128/26 ?all"],
}
CLEAN: Zone = {
    "acme.example": ["TXT v=spf1 include:_spf.odoo.com ~all", "MX 10 mx.acme.example.", "NS ns1.acme.example."],
    "ns1.acme.example": ["A 192.0.2.53"],
    "mx.acme.example": ["A 192.0.2.25"],
    "odoo._domainkey.acme.example": ["CNAME odoo._domainkey.odoo.com."],
    "_dmarc.acme.example": ["TXT v=DMARC1; p=none; rua=mailto:dmarc@acme.example"],
}


def zone(changes: Mapping[str, Sequence[Any]] | None = None, *gone: str) -> Zone:
    """The clean zone with these names replaced and those gone."""
    made = {**SUPPORT, **CLEAN, **{name: list(entries) for name, entries in (changes or {}).items()}}
    return {name: entries for name, entries in made.items() if name not in gone and entries}


def text(value: str, kind: str = "TXT") -> dict[str, Any]:
    """A record with exactly these octets."""
    return {"type": kind, "text": value}


def report(where: Zone, *, domain: str = DOMAIN, ground: bool = False, **options: Any) -> dict[str, Any]:
    """``as_dict()`` of the check, over a loopback server."""
    with dns_world(where, timeout=1.0) as (_, run):
        made = SendingSetup(domain, **options)
        return run.do(lambda resolver: check_domain(resolver, made, ground=ground)).as_dict()


def codes(shown: Mapping[str, Any]) -> set[str]:
    """The codes of what is not in order."""
    return {row["code"] for row in shown["results"] if row["state"] not in ("passed", "skipped")}


def row_of(shown: Mapping[str, Any], code: str) -> dict[str, Any]:
    """The first result with a code."""
    rows = [row for row in shown["results"] if row["code"] == code]
    assert rows, [(row["code"], row["title"]) for row in shown["results"]]
    return rows[0]


def proposals(shown: Mapping[str, Any], check: str = "") -> list[dict[str, Any]]:
    """The results that offer a change."""
    rows = [row for row in shown["results"] if row["publish"] or row["remove"]]
    return [row for row in rows if row["check"] == check] if check else rows


def values(row: Mapping[str, Any], side: str = "publish") -> list[tuple[str, str, str]]:
    return [(one["name"], one["type"], one["value"]) for one in row[side]]


def mended(where: Zone, check: str = "", **options: Any) -> tuple[dict[str, Any], Zone, dict[str, Any]]:
    """The report, the zone with its proposals published, and the report on that."""
    before = report(where, **options)
    after = publish(where, proposals(before, check))
    return before, after, report(after, **options)


__all__ = [
    "CLEAN", "DOMAIN", "KEY", "SUPPORT", "Zone", "codes", "mended", "proposals", "report", "row_of", "text", "values",
    "zone",
]  # fmt: skip
