"""What is still to do until mail works both ways: a pure report from set-up and facts.

::

    hosted, no own domain        ready, nothing to do
    hosted server, own domain    domain → SPF → DKIM → alias domain → names → mailboxes → inbound method
    own server, own domain       domain → server (3 steps) → the provider's records → alias domain → … → method
    on_premise                   both directions in full; an outgoing server is a must

Facts that only the outside knows (does the domain exist, which way replies come in) are given in :class:`Facts`;
an unknown fact (None) never blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from dataclasses import dataclass, field, replace
from typing import Literal

from ..dns.psl import likely_zone
from ..errors import ConfigError
from ..model.address import parse_first
from ..model.setup import AliasDomain, Authentication, DefaultServer, Encryption, Hosting, Profile, Server, Setup
from ..model.text import counted
from ..model.verdict import Finding, Severity
from . import steps
from .impact import complete_default_from_findings
from .plan import validate
from .select import in_order, notification_address
from .steps import Task
from .usage import is_hosted, reach_finding

Outgoing = Literal["hosted", "own"]
TOO_FREQUENT, TOO_SLOW = 5, 60  # minutes between two fetches: below and above these a warning
TECHNICAL = "technical"
PLACEHOLDERS = ("example.com", "example.org", "example.net", "yourcompany.example.com")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the world. ``outgoing`` overrules what the server records say; ``methods`` are the inbound
    methods in use (any of :data:`~mailops.routing.steps.METHODS`); ``domains`` says which own domains exist in DNS;
    ``aliases`` are local parts, or addresses, in use; ``done`` the ids of finished tasks; ``spf`` the SPF texts by
    domain, ``zones`` the DNS zone each is in."""

    outgoing: Outgoing | None = None
    methods: frozenset[str] = frozenset()
    fetch_minutes: int | None = None
    domains: Mapping[str, bool] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    spf: Mapping[str, str] = field(default_factory=dict)
    zones: Mapping[str, str] = field(default_factory=dict)
    done: frozenset[str] = frozenset()
    admin: str | None = None  # the administrator's address; None = not known, empty = none set
    sends_itself: bool = False  # whether mail is handed to mailops, which has to reach the server


@dataclass(frozen=True, slots=True)
class Addresses:
    """The default addresses of a domain: sender, replies, delivery errors."""

    notification: str | None
    reply_to: str | None = None
    bounce: str | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    """The report. ``level`` is ``technical`` when DNS and mail protocols must be known, else ``none``."""

    ready: bool
    outgoing: Outgoing
    level: str
    addresses: Addresses
    tasks: tuple[Task, ...]
    findings: tuple[Finding, ...]
    methods: tuple[str, ...] = ()

    def why(self) -> str:
        """In one sentence, whether it is ready, and what is missing where it is not."""
        if self.ready:
            return "Ready: nothing to do."
        blocking = [f.message for f in self.findings if f.severity in (Severity.BLOCKING, Severity.ERROR)]
        left = f"{counted(len(self.open_tasks), 'task')} to do"
        return f"Not ready: {left}" + (f"; {blocking[0]}" if blocking else ".")

    @property
    def open_tasks(self) -> tuple[Task, ...]:
        return tuple(task for task in self.tasks if not task.done)


def default_addresses(profile: Profile, domain: AliasDomain | None = None) -> Addresses:
    """``notifications@``, ``catchall@``, ``bounce@`` of the own domain, else of the hosted subdomain."""
    chosen = domain or AliasDomain(profile.hosted_domain)
    return Addresses(chosen.notification_address, chosen.catchall_address, chosen.bounce_address)


def addresses(setup: Setup) -> Addresses:
    """The default addresses as routing and threads use them for the first company; None each where there is none."""
    domain = setup.domain_of(setup.companies[0] if setup.companies else None)
    speaks = notification_address(domain, setup)
    return replace(default_addresses(setup.profile, domain), notification=speaks) if domain else Addresses(speaks)


def own_domains(setup: Setup) -> list[AliasDomain]:
    """The alias domains that are not the hosted subdomain, by sequence."""
    hosted = setup.profile.hosted_domain.lower()
    found = sorted(setup.alias_domains, key=lambda d: (d.sequence, d.id or 0))
    return [d for d in found if d.name.lower() != hosted]


def external_servers(setup: Setup) -> list[Server]:
    """Active servers that are not the hosted one, in the order they are asked."""
    return [s for s in in_order(setup.servers) if not is_hosted(s, setup)]


def sends_with(setup: Setup, facts: Facts) -> Outgoing:
    """Whether mail leaves through the hosted server or an own one."""
    if facts.outgoing is not None:
        return facts.outgoing
    if setup.profile.hosting is Hosting.ON_PREMISE or external_servers(setup):
        return "own"
    return "hosted"


def readiness(setup: Setup, facts: Facts | None = None) -> Readiness:
    """The report for a set-up. Tasks stand in the order to do them; findings the weightiest first."""
    facts = facts or Facts()
    outgoing = sends_with(setup, facts)
    domains = own_domains(setup)
    tasks = steps.marked(_tasks(setup, facts, outgoing, domains), facts.done)
    order = list(Severity)
    findings = tuple(sorted(_findings(setup, facts, outgoing, domains), key=lambda f: order.index(f.severity)))
    blocked = any(f.severity in (Severity.BLOCKING, Severity.ERROR) for f in findings)
    return Readiness(
        ready=not blocked and all(task.done for task in tasks),
        outgoing=outgoing,
        level=TECHNICAL if any(task.technical for task in tasks) else "none",
        addresses=addresses(setup),
        tasks=tasks,
        findings=findings,
        methods=tuple(sorted(facts.methods)),
    )


def _tasks(setup: Setup, facts: Facts, outgoing: Outgoing, domains: list[AliasDomain]) -> list[Task]:
    profile = setup.profile
    tasks: list[Task] = [steps.own_domain(d.name) for d in domains if facts.domains.get(d.name) is False]
    servers = external_servers(setup)
    if outgoing == "own" and not servers and not profile.default_server.configured:
        tasks += steps.outgoing_server()
    borrowed = [s for s in in_order(setup.servers) if s.authentication is Authentication.CLI]
    if profile.hosting is Hosting.SH and borrowed and not profile.default_server.configured:
        tasks.append(steps.default_server_file(profile))
    if borrowed and servers and any(f.code in ("plan.cli_filter", "plan.external_filter") for f in validate(setup)):
        tasks.append(steps.hosted_filter(setup))
    for domain in domains:
        zone = facts.zones.get(domain.name) or likely_zone(domain.name)
        if outgoing == "hosted":
            tasks += [
                steps.spf(domain.name, profile.hosted_suffix, zone),
                steps.dkim(domain.name, profile.hosted_suffix, zone, profile.hosting),
            ]
        else:
            tasks.append(steps.provider_records(domain.name, servers[0].provider if servers else None))
    for domain in domains:
        tasks.append(steps.alias_domain(domain, [c.name for c in setup.companies]))
        tasks.append(steps.alias_names(domain))
        own = [a for a in facts.aliases if "@" not in a or a.endswith(f"@{domain.name}")]
        names = [domain.catchall_alias, domain.bounce_alias, *(a.partition("@")[0] for a in own)]
        addresses = [f"{name}@{domain.name}" for name in dict.fromkeys(filter(None, names))]
        tasks.append(steps.mailboxes(domain.name, addresses))
    if (domains or profile.hosting is Hosting.ON_PREMISE) and not facts.methods:
        tasks.append(steps.inbound_method(profile.hosting))
    return tasks


def _findings(setup: Setup, facts: Facts, outgoing: Outgoing, domains: list[AliasDomain]) -> list[Finding]:
    found = list(validate(setup))
    if (domains or setup.profile.hosting is Hosting.ON_PREMISE) and not facts.methods:
        found.append(
            Finding(
                "inbound.no_method",
                Severity.BLOCKING,
                "No inbound method is chosen, so replies will not reach the database.",
                f"Choose one or more of: {', '.join(steps.METHODS)}.",
            )
        )
    found += [f for f in [interval_finding(facts.fetch_minutes)] if f]
    found += [f for f in [admin_finding(facts.admin, setup.profile)] if f]
    if facts.sends_itself and (reach := reach_finding(setup)):
        found.append(reach)
    for domain in setup.alias_domains:
        found += complete_default_from_findings(domain)
    if outgoing == "own":
        suffix = setup.profile.hosted_suffix
        for domain in domains:
            includes = [t for t in facts.spf.get(domain.name, "").lower().split() if t.startswith("include:")]
            if includes == [f"include:_spf.{suffix}"]:
                found.append(
                    Finding(
                        "spf.hosted_no_effect",
                        Severity.WARNING,
                        f"The SPF record of {domain.name} holds only include:_spf.{suffix}, which has no effect: mail "
                        "leaves through an external server.",
                        "Add the include that the external server's provider names.",
                        {"domain": domain.name},
                    )
                )
    return found


def checked_outgoing(text: str) -> str:
    """The way mail goes out: ``hosted``, ``own``, or "" (as the servers say). Raises :class:`ConfigError`."""
    word = text.strip().lower()
    if word not in ("", "hosted", "own"):
        raise ConfigError(
            f"Mail does not go out by {text[:60]!r}.",
            code="readiness.outgoing",
            facts={"given": text[:100]},
            fix="Use hosted or own, or leave it empty.",
        )
    return word


def admin_finding(address: str | None, profile: Profile) -> Finding | None:
    """Whether the administrator still has the placeholder address, or none; None when it is fine or not known."""
    found = parse_first(address)
    if address is None or (found is not None and found.domain not in PLACEHOLDERS):
        return None
    fix = f"Type another address, such as admin@{profile.hosted_domain}: in Odoo under {' → '.join(steps.ADMIN_EMAIL)}."
    return Finding(
        "admin.placeholder",
        Severity.WARNING,
        f"The administrator's address is {address.strip() or 'empty'}, which makes trouble for outgoing mail.",
        fix,
        {"address": address},
    )


def interval_finding(minutes: int | None) -> Finding | None:
    """Whether incoming mail is fetched too often or too rarely; None for a good interval or none at all."""
    if minutes is None or TOO_FREQUENT <= minutes <= TOO_SLOW:
        return None
    often = minutes < TOO_FREQUENT
    return Finding(
        "inbound.interval",
        Severity.WARNING,
        f"Mail is fetched every {minutes} min: " + ("too frequent." if often else "slow replies."),
        "Fetch every 5 to 15 minutes: responsive, without stress for system and provider.",
        {"minutes": minutes},
    )


def read_default_server(text: str) -> DefaultServer:
    """The default server out of an Odoo configuration file (section ``[options]``).

    The password is left out: give it as a secret reference. Raises :class:`ConfigError` ``server.default_file`` for a
    text that cannot be read.
    """
    reader = ConfigParser(interpolation=None)
    try:
        reader.read_string(text)
        options = reader["options"] if reader.has_section("options") else {}
        port = int(options.get("smtp_port") or 25)
    except (ConfigParserError, ValueError) as error:
        raise ConfigError(
            "The configuration file cannot be read.",
            code="server.default_file",
            facts={"reason": str(error).splitlines()[0]},
            fix="Give a file with a section [options] and a number as smtp_port.",
        ) from error

    def value(name: str) -> str | None:
        text = (options.get(name) or "").strip()
        return None if text.lower() in ("", "false", "none") else text

    ssl = (value("smtp_ssl") or "").lower() in ("true", "1", "yes", "on")
    return DefaultServer(
        host=value("smtp_server"),
        port=port,
        encryption=(Encryption.TLS if port == 465 else Encryption.STARTTLS) if ssl else Encryption.NONE,
        login=value("smtp_user"),
        from_filter=value("from_filter"),
        email_from=value("email_from"),
    )
