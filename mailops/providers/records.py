"""What sending services and DNS hosts want to see in DNS: data, with its source and date.

The services come from the files in ``data/`` (:mod:`mailops.providers.files`); the checks read nothing else.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass

from .files import FILES
from .model import DkimExpectation, ReturnPathRecord, SendingProfile

__all__ = [
    "COMMON_SELECTORS",
    "DNS_HOSTS",
    "OUTSIDE_CHECKS",
    "SENDERS",
    "DkimExpectation",
    "DnsHost",
    "ReturnPathRecord",
    "SendingProfile",
    "guess_host",
    "guides_first",
    "outside_check_texts",
    "sender",
    "service_named",
]


@dataclass(frozen=True, slots=True)
class DnsHost:
    """One DNS host: recognised by its name servers. ``appends_domain`` None = not known."""

    key: str
    title: str
    name_servers: tuple[str, ...]
    guides: tuple[tuple[str, str], ...]
    appends_domain: bool | None
    as_of: str = "2026-11-22"


SENDERS: dict[str, SendingProfile] = {key: one.dns for key, one in FILES.items()}

DNS_HOSTS: tuple[DnsHost, ...] = (
    DnsHost("ovh", "OVH", ("*.ovh.net", "*.anycast.me"),
            (("Edit a DNS zone", "https://docs.ovh.com/us/en/domains/web_hosting_how_to_edit_my_dns_zone/"),), True),
    DnsHost("godaddy", "GoDaddy", ("*.domaincontrol.com",),
            (("Add a TXT record", "https://www.godaddy.com/help/add-a-txt-record-19232"),
             ("SPF, DKIM or DMARC", "https://www.godaddy.com/help/set-up-spf-dkim-or-dmarc-records-for-my-hosting-email-40810")),
            True),
    DnsHost("namecheap", "Namecheap", ("*.registrar-servers.com", "*.namecheaphosting.com"),
            (("Add TXT, SPF, DKIM, DMARC records",
              "https://www.namecheap.com/support/knowledgebase/article.aspx/317/2237/how-do-i-add-txtspfdkimdmarc-records-for-my-domain/"),),
            True),
    DnsHost("cloudflare", "Cloudflare", ("*.ns.cloudflare.com",),
            (("Manage DNS records", "https://support.cloudflare.com/hc/en-us/articles/360019093151"),), True),
    DnsHost("squarespace", "Squarespace", ("*.squarespacedns.com", "ns-cloud-*.googledomains.com"),
            (("Custom DNS records",
              "https://support.squarespace.com/hc/en-us/articles/360002101888-Adding-custom-DNS-records-to-your-Squarespace-managed-domain"),),
            True),
    DnsHost("azure", "Azure DNS", ("*.azure-dns.com", "*.azure-dns.net", "*.azure-dns.org", "*.azure-dns.info"),
            (("Azure DNS in the portal", "https://docs.microsoft.com/en-us/azure/dns/dns-getstarted-portal"),), True),
)  # fmt: skip

OUTSIDE_CHECKS = (
    ("SPF", "https://mxtoolbox.com/spf.aspx"),
    ("DKIM", "https://mxtoolbox.com/dkim.aspx"),
    ("Full test", "https://www.mail-tester.com/"),
    ("SPF and DKIM at less known providers", "https://www.mail-tester.com/spf/"),
    ("Writing a DMARC policy", "https://dmarc.org/"),
)

COMMON_SELECTORS = (
    "odoo", "google", "selector1", "selector2", "mailjet", "s1", "s2", "k1", "k2", "k3", "brevo1", "brevo2", "mail",
    "default", "dkim", "smtp", "mx", "pic", "key1", "key2", "fm1", "fm2", "fm3", "protonmail", "zoho", "sig1",
    "everlytickey1",
)  # fmt: skip


def guess_host(name_servers: Iterable[str]) -> DnsHost | None:
    """The DNS host, told from the zone's name servers; None when none of them is known."""
    for server in name_servers:
        name = server.rstrip(".").lower()
        for host in DNS_HOSTS:
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in host.name_servers):
                return host
    return None


def guides_first(host: DnsHost | None) -> list[tuple[str, str, str]]:
    """All guide links as ``(host, title, url)``, the guessed host's first."""
    order = sorted(DNS_HOSTS, key=lambda one: one is not host)
    return [(one.title, title, url) for one in order for title, url in one.guides]


def service_named(name: str) -> str:
    """The key of the service a server record's provider name stands for; empty when there is none."""
    wanted = name.strip().lower().removeprefix("external:")
    if wanted in SENDERS:
        return wanted
    return next((profile.key for profile in SENDERS.values() if wanted in profile.aliases), "")


def sender(key: str) -> SendingProfile:
    """The profile of a service, by key or ``external:KEY``; raises KeyError with the known ones."""
    name = key.removeprefix("external:")
    if name not in SENDERS:
        raise KeyError(f"no sending service {name!r}; known: {', '.join(SENDERS)}")
    return SENDERS[name]


def outside_check_texts(domain: str, selector: str = "odoo") -> tuple[tuple[str, str, str], ...]:
    """What to paste into the outside checks: ``(title, url, text)``."""
    pasted = {"SPF": domain, "DKIM": f"{domain}:{selector}"}
    return tuple((title, url, pasted.get(title, domain)) for title, url in OUTSIDE_CHECKS)
