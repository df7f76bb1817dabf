"""What sending services and DNS hosts want to see in DNS: data, with its source and date.

A service is one file in ``data/``, read into one frozen :class:`SendingProfile`; the checks read nothing else.
``as_of`` is the day a file was compared with its ``source``; a bare year, with ``basis = "general knowledge"``, waits
for the comparison. ``{domain}`` stands for the sending domain, ``{dashed}`` for it with dashes for dots, ``{db}`` for
the database name; ``*`` stands for an account's own part.
"""

from __future__ import annotations

import fnmatch
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class DkimExpectation:
    """One selector (``*`` = an account's own). ``targets`` are CNAME targets that count (empty = the service gives a
    TXT value); below ``zones`` any target counts that serves a valid key."""

    selector: str
    targets: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()

    def accepts(self, target: str, *, domain: str, database: str = "") -> bool:
        """Whether a CNAME target is one of the service's, final dot or not."""
        wanted = target.rstrip(".").lower()
        return any(fnmatch.fnmatchcase(wanted, one) for one in self.filled(domain, database)) or any(
            wanted.endswith(f".{zone}") for zone in self.zones
        )

    def filled(self, domain: str, database: str = "") -> tuple[str, ...]:
        """The targets with the account's values put in."""
        return tuple(
            one.format(domain=domain, dashed=domain.replace(".", "-"), db=database or "*").lower()
            for one in self.targets
        )


@dataclass(frozen=True, slots=True)
class ReturnPathRecord:
    """A record of a return path of one's own; ``value`` is a pattern, for TXT the SPF term that has to be in it."""

    name: str
    type: str
    value: str


@dataclass(frozen=True, slots=True)
class SendingProfile:
    """One sending service, read from its file in ``data/``.

    ``own_bounce`` = it bounces to a domain of its own unless set up otherwise, so that SPF does not align.
    ``essential`` = missing SPF or DKIM is an error, otherwise a warning. ``spf_at``: the include belongs to the
    ``bounce`` domain, only to a ``return_path`` of one's own, or nowhere (``none``); ``spf_alternatives`` serve too.
    ``dkim_need``: ``all`` selectors or ``any``. ``host_names``: patterns of its servers' names (general knowledge).
    ``basis`` = what the file rests on: ``source``, ``general knowledge``.
    """

    key: str
    title: str
    spf_include: str
    dkim: tuple[DkimExpectation, ...]
    essential: bool
    own_bounce: bool
    return_path: str
    limits: str
    help_url: str
    source: str
    as_of: str
    basis: str = "general knowledge"
    aliases: tuple[str, ...] = ()
    note: str = ""
    spf_at: str = "bounce"
    spf_alternatives: tuple[str, ...] = ()
    dkim_need: str = "all"
    return_records: tuple[ReturnPathRecord, ...] = ()
    host_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DnsHost:
    """One DNS host: recognised by its name servers. ``appends_domain`` None = not known."""

    key: str
    title: str
    name_servers: tuple[str, ...]
    guides: tuple[tuple[str, str], ...]
    appends_domain: bool | None
    as_of: str = "2026-11-22"


def _read(key: str, text: str) -> SendingProfile:
    """One file of ``data/`` as a profile. A key that is missing or unknown raises while the package is tested."""
    data = tomllib.loads(text)
    spf, back, dkim = data.pop("spf"), data.pop("return_path"), data.pop("dkim")
    zones = tuple(dkim.get("zones", ()))
    selectors = tuple(
        DkimExpectation(one["selector"], tuple(one.get("targets", ())), zones) for one in dkim.get("selectors", ())
    )
    return SendingProfile(
        key=key,
        spf_include=spf["include"],
        spf_at=spf["at"],
        spf_alternatives=tuple(spf.get("alternatives", ())),
        dkim=selectors,
        dkim_need=dkim["need"],
        own_bounce=back["own"],
        return_path=back["says"],
        return_records=tuple(ReturnPathRecord(**one) for one in back.get("records", ())),
        aliases=tuple(data.pop("aliases", ())),
        host_names=tuple(data.pop("host_names", ())),
        **data,
    )


_FIRST = ("odoo", "microsoft365", "google", "mailjet")  # the order people look for them in; the others by name


def _all() -> dict[str, SendingProfile]:
    folder = files(__package__) / "data"
    found = {one.name.removesuffix(".toml"): one for one in folder.iterdir() if one.name.endswith(".toml")}
    order = [*_FIRST, *sorted(set(found) - set(_FIRST))]
    return {key: _read(key, found[key].read_text(encoding="utf-8")) for key in order}


SENDERS: dict[str, SendingProfile] = _all()

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
