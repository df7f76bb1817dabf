"""How mail gets from the domain's mail server into the database: the three methods, what each needs here, and what is
missing. Pure: set-up and facts in, choice and reasons out.

::

    own domain ─▶ its MX ─▶ redirection            easy, at once; every alias by itself
                        ├─▶ incoming mail server   a copy stays, a model each; by schedule; every alias by itself
                        └─▶ MX record              one record for all aliases; a subdomain, and knowledge
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..dns.psl import likely_zone
from ..errors import ConfigError
from ..model.alias import Alias
from ..model.setup import Hosting, Profile, Setup
from ..model.verdict import Finding, Severity
from ..routing.readiness import own_domains
from ..routing.steps import INCOMING_SERVERS, METHODS, Task

INCOMING, REDIRECTION, MX = METHODS
ALIAS_DOMAINS = ("Settings", "Technical", "Emails: Alias Domains")  # as the page about incoming mail writes it
OUTLOOK = "mail.protection.outlook.com"
SCRIPT = Task(
    "inbound.gateway_script",
    "Install the mail gateway script",
    "Redirected mail, and mail of an MX record, is handed to the database by a program on its host: this needs "
    "knowledge of the infrastructure.",
    technical=True,
    command="mailops inbound ingest -",
)


@dataclass(frozen=True, slots=True)
class Method:
    """One method as it is here: what speaks for and against it, the tasks it brings, and whether it is recommended."""

    name: str
    pros: tuple[str, ...]
    cons: tuple[str, ...]
    recommended: bool
    why: str
    tasks: tuple[Task, ...] = ()


@dataclass(frozen=True, slots=True)
class Redirection:
    """An address at the domain's mail server and where it is redirected to; ``mandatory`` ones are never left out."""

    source: str
    target: str
    mandatory: bool = False


@dataclass(frozen=True, slots=True)
class Receiving:
    """The chooser's answer. ``paths`` are click paths in an Odoo database by what is found there."""

    methods: tuple[Method, ...]
    redirections: tuple[Redirection, ...]
    missing_mailboxes: tuple[str, ...]
    findings: tuple[Finding, ...]
    paths: Mapping[str, str]


def methods(profile: Profile) -> tuple[Method, ...]:
    """The three methods for a kind of hosting, the recommended first."""
    premise = profile.hosting is Hosting.ON_PREMISE
    script = (SCRIPT,) if premise else ()
    found = (
        Method(
            REDIRECTION,
            ("easy to set up", "direct: messages arrive without delay"),
            ("each alias must be configured",),
            not premise,
            "Recommended: mail arrives without delay." if not premise else "It also needs the mail gateway script.",
            script,
        ),
        Method(
            INCOMING,
            ("a copy stays in the mailbox (IMAP)", "each mailbox makes records of a chosen model"),
            ("it depends on a scheduled job: not immediate", "each alias must be configured"),
            premise,
            "Recommended for its simplicity." if premise else "A copy of each mail stays in the mailbox.",
        ),
        Method(
            MX,
            ("one record for all aliases",),
            ("it needs a subdomain", "advanced knowledge"),
            False,
            "One record brings every alias, for who knows DNS well.",
            script or (mx_task(profile),),
        ),
    )
    return tuple(sorted(found, key=lambda method: not method.recommended))


def mx_task(profile: Profile, domain: str = "mail.example.com") -> Task:
    """Where the subdomain of the MX method is added, by kind of hosting."""
    if profile.hosting is Hosting.ON_PREMISE:
        return SCRIPT
    where = "the portal" if profile.hosting is Hosting.ONLINE else "the project settings"
    return Task(
        "inbound.mx_subdomain",
        f"Add the subdomain in {where}",
        f"Mail for {domain} is taken once {where} knows it; then its MX record leads there.",
        values=(("Subdomain", domain),),
        technical=True,
    )


def check_mx_domain(profile: Profile, domain: str) -> Task:
    """The task of the MX method for a domain. Raises :class:`ConfigError` ``inbound.mx_apex`` for a whole domain on a
    hosted kind: only a subdomain works there."""
    name = domain.strip().rstrip(".").lower()
    if profile.hosting is not Hosting.ON_PREMISE and likely_zone(name) == name:
        raise ConfigError(
            f"An MX record cannot bring the mail of {name} itself into a database of kind {profile.hosting.value}.",
            code="inbound.mx_apex",
            facts={"domain": name, "hosting": profile.hosting.value},
            fix=f"Use a subdomain, such as mail.{name}, as the alias domain.",
        )
    return mx_task(profile, name)


def check_subdomain(setup: Setup, name: str, *, used_elsewhere: bool = False) -> Finding | None:
    """Whether a subdomain of the hosting can be used; a finding where it is still to be added to the alias domains.

    Raises :class:`ConfigError` ``inbound.subdomain``: a second one on ``online``, one that another branch has on
    ``sh``, any on premise.
    """
    profile = setup.profile
    label = name.strip().rstrip(".").lower()
    label = label if label.endswith("." + profile.hosted_suffix) else f"{label}.{profile.hosted_suffix}"
    refusal = None
    if profile.hosting is Hosting.ON_PREMISE:
        refusal = "A database on premise has no subdomain of the hosting."
    elif label != profile.hosted_domain.lower():
        if profile.hosting is Hosting.ONLINE:
            refusal = f"On online the only subdomain is the one chosen at creation, {profile.hosted_domain}."
        elif used_elsewhere:
            refusal = f"{label} is in use by another branch."
    if refusal:
        raise ConfigError(
            refusal,
            code="inbound.subdomain",
            facts={"subdomain": label, "hosting": profile.hosting.value},
            fix="Use an own domain as the alias domain, or a subdomain that is free.",
        )
    if any(d.name.lower() == label for d in setup.alias_domains):
        return None
    return Finding(
        "inbound.subdomain_not_alias",
        Severity.WARNING,
        f"{label} is no alias domain yet, so no address on it is known.",
        f"Add it: mailops company domain {label} (in Odoo: {' → '.join(ALIAS_DOMAINS)}).",
        {"subdomain": label},
    )


def addresses_of(setup: Setup, aliases: Iterable[Alias]) -> list[tuple[str, bool]]:
    """Every address of the own domains that takes mail, and whether it is mandatory: catchall, bounce, each alias."""
    known = tuple(aliases)
    found: dict[str, bool] = {}
    for domain in own_domains(setup):
        technical = (domain.catchall_address, domain.bounce_address)
        found |= {address.lower(): True for address in technical if address}
        here = (a.address.lower() for a in known if a.address and a.domain == domain.name)
        found |= {address: False for address in here if address not in found}
    return list(found.items())


def redirections(setup: Setup, aliases: Iterable[Alias]) -> tuple[Redirection, ...]:
    """Exactly what is to be redirected, catchall and bounce first; none on premise, where a script takes the mail."""
    if setup.profile.hosting is Hosting.ON_PREMISE:
        return ()
    target = setup.profile.hosted_domain.lower()
    return tuple(
        Redirection(address, f"{address.partition('@')[0]}@{target}", mandatory)
        for address, mandatory in addresses_of(setup, aliases)
    )


def as_csv(rows: Sequence[Redirection]) -> str:
    """The redirections as CSV (RFC 4180) with the columns source, target, mandatory."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("source", "target", "mandatory"))
    writer.writerows((row.source, row.target, "yes" if row.mandatory else "no") for row in rows)
    return out.getvalue()


def missing_mailboxes(setup: Setup, aliases: Iterable[Alias], logins: Collection[str]) -> tuple[str, ...]:
    """The addresses that no incoming server looks at: each needs one. A login is an address, or its local part."""
    have = {login.strip().lower() for login in logins}
    wanted = addresses_of(setup, aliases)
    return tuple(a for a, _ in wanted if a not in have and a.partition("@")[0] not in have)


def choose(
    setup: Setup,
    aliases: Sequence[Alias],
    *,
    chosen: Collection[str] = (),
    logins: Collection[str] = (),
    mx: Mapping[str, Sequence[str]] | None = None,
    open_tasks: Collection[str] = (),
) -> Receiving:
    """The methods, and what is missing. ``chosen`` are the methods in use, ``logins`` those of the incoming servers,
    ``mx`` the mail servers of each own domain as DNS has them, ``open_tasks`` ids of the readiness report."""
    findings = [*_companies(setup), *_outgoing(setup, open_tasks)]
    for domain in own_domains(setup):
        hosts = [host.rstrip(".").lower() for host in (mx or {}).get(domain.name, ())]
        findings += _mail_servers(setup.profile, domain.name, hosts, bool(chosen or logins))
    missing = missing_mailboxes(setup, aliases, logins) if logins or INCOMING in chosen else ()
    if missing:
        findings.append(
            Finding(
                "inbound.mailboxes_missing",
                Severity.WARNING,
                f"No incoming server looks at {', '.join(missing)}.",
                "Add one for each: mailops inbound account add KEY …, or redirect them.",
                {"addresses": list(missing)},
            )
        )
    order = list(Severity)
    paths = {"incoming servers": " → ".join(INCOMING_SERVERS), "alias domains": " → ".join(ALIAS_DOMAINS)}
    return Receiving(
        methods(setup.profile),
        redirections(setup, aliases),
        missing,
        tuple(sorted(findings, key=lambda f: order.index(f.severity))),
        paths,
    )


def _companies(setup: Setup) -> list[Finding]:
    """Companies that speak with no own domain although there is one."""
    own = {d.name for d in own_domains(setup)}
    left = [c for c in setup.companies if own and (c.alias_domain is None or c.alias_domain.name not in own)]
    return [
        Finding(
            "inbound.company_domain",
            Severity.WARNING,
            f"{company.name} has no alias domain of its own.",
            f"Choose it for each company: mailops company add {company.key} --domain {min(own)}",
            {"company": company.key, "domains": sorted(own)},
        )
        for company in left
    ]


def _outgoing(setup: Setup, open_tasks: Collection[str]) -> list[Finding]:
    """What an own domain needs beside, to send: SPF and DKIM (the tasks of the readiness report)."""
    linked = sorted(task for task in open_tasks if task.startswith(("dns.spf", "dns.dkim", "dns.provider")))
    if not linked:
        return []
    return [
        Finding(
            "inbound.outgoing_records",
            Severity.WARNING,
            "The own domain also needs SPF and DKIM records for what is sent.",
            "Do the tasks of: mailops server readiness",
            {"tasks": linked},
        )
    ]


def _mail_servers(profile: Profile, domain: str, hosts: Sequence[str], has_method: bool) -> list[Finding]:
    found = []
    ours = [host for host in hosts if host.endswith("." + profile.hosted_suffix)]
    if hosts and not ours and not has_method:
        found.append(
            Finding(
                "inbound.mx_elsewhere",
                Severity.BLOCKING,
                f"Replies, bounces and mail to aliases of {domain} arrive at {hosts[0]} and stay there: no method "
                "brings them into the database.",
                "Choose a method: mailops server readiness --method redirection",
                {"domain": domain, "mx": list(hosts)},
            )
        )
    if any(host.endswith(OUTLOOK) for host in hosts):
        found.append(
            Finding(
                "inbound.outlook_forwards",
                Severity.WARNING,
                f"{domain} is at Microsoft 365 (Exchange Online), which is reported to support only forwarding, no "
                "true redirection.",
                "Use incoming mail servers there, or test a redirection first: mailops inbound carried FILE",
                {"domain": domain, "mx": list(hosts)},
            )
        )
    return found
