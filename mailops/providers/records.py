"""What sending services and DNS hosts want to see in DNS: data, with its source and date.

``as_of`` is the day a line was compared with its source; a bare year means it was written from general knowledge
of that year and waits for the comparison. To add a service: one :class:`SendingProfile` here, with its source. The
checks read nothing but this table. ``{domain}`` stands for the sending domain, ``{dashed}`` for it with dashes for
dots, ``{db}`` for the database name; ``*`` stands for an account's own part.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DkimExpectation:
    """One selector. ``targets`` are CNAME targets that count (empty = the service gives a TXT value)."""

    selector: str
    targets: tuple[str, ...] = ()

    def accepts(self, target: str, *, domain: str, database: str = "") -> bool:
        """Whether a CNAME target is one of the service's, final dot or not."""
        wanted = target.rstrip(".").lower()
        return any(fnmatch.fnmatchcase(wanted, one) for one in self.filled(domain, database))

    def filled(self, domain: str, database: str = "") -> tuple[str, ...]:
        """The targets with the account's values put in."""
        return tuple(
            one.format(domain=domain, dashed=domain.replace(".", "-"), db=database or "*").lower()
            for one in self.targets
        )


@dataclass(frozen=True, slots=True)
class SendingProfile:
    """One sending service. ``own_bounce`` = it bounces to a domain of its own unless set up otherwise, so that SPF does
    not align. ``essential`` = missing SPF or DKIM is an error, otherwise a warning."""

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


@dataclass(frozen=True, slots=True)
class DnsHost:
    """One DNS host: recognised by its name servers. ``appends_domain`` None = not known."""

    key: str
    title: str
    name_servers: tuple[str, ...]
    guides: tuple[tuple[str, str], ...]
    appends_domain: bool | None
    as_of: str = "2026-11-22"


_PROJECT = "product documentation, email in Odoo: DNS records"

SENDERS: dict[str, SendingProfile] = {
    profile.key: profile
    for profile in (
        SendingProfile(
            "odoo", "Odoo hosted mail server", "_spf.odoo.com",
            (DkimExpectation("odoo", ("odoo._domainkey.odoo.com", "odoo._domainkey.{db}.odoo.com")),),
            True, False, "bounce@ the alias domain", "daily limit 5 to 200 by plan",
            "https://www.odoo.com/documentation/latest/applications/general/email_communication/email_domain.html",
            _PROJECT, "2026-11-22"),
        SendingProfile(
            "microsoft365", "Microsoft 365", "spf.protection.outlook.com",
            (DkimExpectation("selector1", ("selector1-{dashed}._domainkey.*.onmicrosoft.com",
                                           "selector1-{dashed}._domainkey.*.dkim.mail.microsoft")),
             DkimExpectation("selector2", ("selector2-{dashed}._domainkey.*.onmicrosoft.com",
                                           "selector2-{dashed}._domainkey.*.dkim.mail.microsoft"))),
            False, False, "the sender's own domain", "10,000 recipients a day and mailbox",
            "https://learn.microsoft.com/en-us/defender-office-365/email-authentication-dkim-configure",
            "Microsoft Learn: SPF and DKIM for a custom domain", "2025"),
        SendingProfile(
            "google", "Google Workspace", "_spf.google.com", (DkimExpectation("google"),),
            False, False, "the sender's own domain", "2,000 messages a day and user",
            "https://support.google.com/a/answer/174124", "Google Workspace Admin help: DKIM, SPF", "2025"),
        SendingProfile(
            "mailjet", "Mailjet", "spf.mailjet.com", (DkimExpectation("mailjet"),),
            False, True, "bnc3.mailjet.com unless a custom return path is set", "by plan",
            "https://documentation.mailjet.com/hc/en-us/articles/360049641733-Authenticating-Domains-with-SPF-and-DKIM-A-Complete-Guide",
            "Mailjet documentation: authenticating domains with SPF and DKIM", "2025"),
        SendingProfile(
            "amazonses", "Amazon SES", "amazonses.com", (),
            False, True, "amazonses.com unless a custom MAIL FROM is set", "by account; 200 a day in the sandbox",
            "https://docs.aws.amazon.com/ses/latest/dg/send-email-authentication-dkim-easy.html",
            "Amazon SES developer guide: Easy DKIM (three CNAMEs to *.dkim.amazonses.com)", "2025"),
        SendingProfile(
            "sendgrid", "SendGrid", "sendgrid.net",
            (DkimExpectation("s1", ("s1.domainkey.u*.wl*.sendgrid.net",)),
             DkimExpectation("s2", ("s2.domainkey.u*.wl*.sendgrid.net",))),
            False, True, "em*.the domain, a CNAME to SendGrid (automated security)", "by plan",
            "https://docs.sendgrid.com/ui/account-and-settings/how-to-set-up-domain-authentication",
            "SendGrid documentation: domain authentication", "2025"),
        SendingProfile(
            "mailgun", "Mailgun", "mailgun.org",
            (DkimExpectation("mx"), DkimExpectation("smtp"), DkimExpectation("pic")),
            False, False, "the sending (sub)domain", "by plan",
            "https://documentation.mailgun.com/docs/mailgun/user-manual/domains/domains-verify",
            "Mailgun documentation: verify a domain", "2025"),
        SendingProfile(
            "brevo", "Brevo", "",
            (DkimExpectation("brevo1", ("b1.{dashed}.dkim.brevo.com",)),
             DkimExpectation("brevo2", ("b2.{dashed}.dkim.brevo.com",))),
            False, True, "sender-sib.com; with an IP of one's own a subdomain, and SPF there", "by plan",
            "https://help.brevo.com/hc/en-us/articles/12163873383186",
            "Brevo help: authenticate a domain", "2025"),
        SendingProfile(
            "postmark", "Postmark", "", (DkimExpectation("*pm"),),
            False, True, "pm-bounces.the domain, a CNAME to pm.mtasv.net", "by plan",
            "https://postmarkapp.com/support/article/1046-how-do-i-verify-a-domain",
            "Postmark support: verify a domain", "2025"),
    )
}  # fmt: skip

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
