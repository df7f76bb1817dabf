"""Holds a plan of outgoing servers against the rules, and makes the three usual plans.

:func:`validate` is pure: a :class:`Setup` in, findings out, each with a stable code, the values, and the next step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..model.address import normalise
from ..model.filters import read_filter
from ..model.setup import AliasDomain, Authentication, Hosting, MailClass, Server, Setup
from ..model.verdict import Finding, Severity
from ..providers.outgoing import CAMPAIGN_LIMIT, server_for
from .envelope import forced_return_path
from .mailbox import mailbox_finding, profile_of
from .ports import encryption_finding, port_finding
from .select import in_order, notification_address

MASS_PARAMETER = "mailops.mass_mailing.server"
LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]")
ALIAS_DOMAINS_PATH = "Settings → Technical → Emails: Alias Domains"
PARAMETERS_PATH = "Settings → Technical → Parameters → System Parameters"


@dataclass(frozen=True, slots=True)
class Plan:
    """A generated plan: servers to make, and what each person has to do."""

    servers: tuple[Server, ...]
    tasks: tuple[str, ...]


def validate(setup: Setup) -> list[Finding]:
    """Everything the rules have to say about the outgoing servers, the weightiest first."""
    order = [Severity.BLOCKING, Severity.ERROR, Severity.WARNING, Severity.NOTE]
    return sorted(_all(setup), key=lambda f: order.index(f.severity))


def _all(setup: Setup) -> Iterator[Finding]:
    servers = in_order(setup.servers)
    yield from _forced_bounces(servers, setup)
    if not servers:
        yield from _without_servers(setup)
        return
    for server in servers:
        yield from _server(server, setup)
    yield from _notification(servers, setup)
    yield from _classes(servers, setup)
    yield from _beside_default(servers, setup)


def _without_servers(setup: Setup) -> Iterator[Finding]:
    if setup.profile.hosting is Hosting.ON_PREMISE and not setup.profile.default_server.configured:
        yield Finding(
            "plan.no_server",
            Severity.BLOCKING,
            "No outgoing server is defined, so nothing can be sent.",
            "Define an outgoing server with your own domain.",
        )


def _forced_bounces(servers: Sequence[Server], setup: Setup) -> Iterator[Finding]:
    """The hosted server of ``online`` overrules a bounce alias of one's own (IN-16)."""
    used: Sequence[Server | None] = servers or [None]
    forced = next((f for s in used if (f := forced_return_path(s, setup))), None)
    others = [d.bounce_address for d in setup.alias_domains if d.bounce_address and d.bounce_alias.lower() != "bounce"]
    if forced and others:
        yield Finding(
            "plan.bounce_forced",
            Severity.NOTE,
            f"Reports go to {forced}, not to {', '.join(others)}: the hosted server forces the return path.",
            "Nothing is to do: the database takes the reports. The bounce alias counts for mail through own servers "
            f"({ALIAS_DOMAINS_PATH}).",
            {"forced": forced, "aliases": others},
        )


def _server(server: Server, setup: Setup) -> Iterator[Finding]:
    held = read_filter(server.from_filter)
    if server.host and (found := port_finding(setup.profile.hosting, server.port, server.key)):
        yield found
    leaves = server.host and server.host not in LOOPBACK  # what stays on this machine needs no encryption
    if leaves and (found := encryption_finding(server.port, server.encryption, server.key)):
        yield found
    dedicated = setup.parameters.get(MASS_PARAMETER)
    if held.is_empty and server.mail_class is not MailClass.MASS and server.key != dedicated:
        yield Finding(
            "plan.no_filter",
            Severity.WARNING,
            f"Server {server.name!r} has no FROM filter, so what it sends leaves with the notification address.",
            "Fill in the domain or address that the provider trusts for this server.",
            {"server": server.key},
        )
    if held.is_empty and server.mail_class is MailClass.MASS and server.key != dedicated:
        yield Finding(
            "plan.mass_not_chosen",
            Severity.WARNING,
            f"Mass-mailing server {server.name!r} has no FROM filter and is not chosen as the dedicated server.",
            f"Choose it in the email-marketing settings (Dedicated Server), or set {MASS_PARAMETER}.",
            {"server": server.key},
        )
    if judged := mailbox_finding(server, setup):
        yield judged
    # Without a filter the server sends as the notification address.
    fallback = [a for d in _domains(setup) if held.is_empty and (a := notification_address(d, setup))]
    for sender in (*held.addresses, *(f"x@{domain}" for domain in held.domains), *fallback):
        if finding := hosted_sender_finding(server, sender, setup):
            yield finding
            break


def hosted_sender_finding(server: Server, sender: str, setup: Setup) -> Finding | None:
    """An external server cannot send as the hosted subdomain: nobody but the vendor can change its DNS (OUT-16)."""
    hosted = setup.profile.hosted_domain
    external = server.provider != "hosted" and server.authentication is not Authentication.CLI
    if not external or setup.profile.hosting is Hosting.ON_PREMISE or not normalise(sender).endswith(f"@{hosted}"):
        return None
    return Finding(
        "plan.hosted_domain_external",
        Severity.ERROR,
        f"Server {server.name!r} is an external server, but is to send as {hosted}, whose DNS cannot be changed.",
        "An own outgoing server goes with an own domain: use your own domain in the filter and the From.",
        {"server": server.key, "domain": hosted},
    )


def _domains(setup: Setup) -> list[AliasDomain | None]:
    return list(setup.alias_domains) or [None]


def _notification(servers: Sequence[Server], setup: Setup) -> Iterator[Finding]:
    filters = [read_filter(s.from_filter) for s in servers]
    if any(f.is_empty for f in filters):
        return
    for domain in _domains(setup):
        address = notification_address(domain, setup)
        if address is None:
            yield Finding(
                "plan.no_notification_address",
                Severity.WARNING,
                "There is no notification address, so senders without a server of their own are sent as they are.",
                f"Set an alias domain, or mail.default.from and mail.catchall.domain ({PARAMETERS_PATH}).",
            )
            continue
        mine = normalise(address)
        if any(f.holds_address(mine) or f.holds_domain(mine) for f in filters):
            continue
        boxes = [f.addresses[0] for f in filters if len(f.addresses) == 1 and not f.domains]
        if len(servers) == 1 and boxes:
            yield Finding(
                "plan.single_mismatch",
                Severity.BLOCKING,
                f"The only server is filtered on {boxes[0]}, but the notification address is {address}.",
                "Both must be the same: {mail.default.from}@{mail.catchall.domain} equal to the FROM filter "
                f"({PARAMETERS_PATH}).",
                {"filter": boxes[0], "notification_address": address},
            )
            continue
        yield Finding(
            "plan.no_fallback",
            Severity.BLOCKING,
            f"No server's FROM filter holds the notification address {address}, so senders without a server of their "
            "own have none that may carry them.",
            f"Add a server filtered on {address}, or on its domain.",
            {"notification_address": address},
        )


def _classes(servers: Sequence[Server], setup: Setup) -> Iterator[Finding]:
    mass = [s for s in servers if s.mail_class is MailClass.MASS]
    daily = [s for s in servers if s.mail_class is not MailClass.MASS]
    for server in mass:
        for other in daily:
            if server.priority <= other.priority:
                yield Finding(
                    "plan.mass_priority",
                    Severity.ERROR,
                    f"Mass-mailing server {server.name!r} has priority {server.priority}, which is not higher than "
                    f"{other.priority} of transactional server {other.name!r}.",
                    "Give the mass-mailing server a higher number, such as transactional 1 and mass 2.",
                    {"mass": server.key, "transactional": other.key},
                )
    dedicated = setup.parameters.get(MASS_PARAMETER)
    if dedicated and not any(s.key == dedicated for s in servers):
        yield Finding(
            "plan.dedicated_missing",
            Severity.BLOCKING,
            f"The dedicated mass-mailing server {dedicated!r} does not exist or is archived.",
            "Choose an active server in the email-marketing settings.",
            {"server": dedicated},
        )


def _beside_default(servers: Sequence[Server], setup: Setup) -> Iterator[Finding]:
    """An external server together with the default server (through a server record that borrows it)."""
    borrowed = [s for s in servers if s.authentication is Authentication.CLI]
    external = [s for s in servers if s.authentication is not Authentication.CLI]
    if not borrowed or not external:
        return
    hosted = setup.profile.hosted_domain
    own = [d.name.lower() for d in setup.alias_domains if d.name.lower() != hosted]
    for server in borrowed:
        held = read_filter(server.from_filter)
        if hosted not in held.domains:
            yield Finding(
                "plan.cli_filter",
                Severity.ERROR,
                f"The default server's record {server.name!r} must hold the hosted subdomain in its FROM filter.",
                f"Set its FROM filter to {hosted}.",
                {"server": server.key, "filter": server.from_filter, "expected": hosted},
            )
    for server in external:
        held = read_filter(server.from_filter)
        if own and not any(held.allows(f"x@{d}") and not held.is_empty for d in own) and not held.addresses:
            yield Finding(
                "plan.external_filter",
                Severity.ERROR,
                f"External server {server.name!r} stands beside the default server; "
                "its FROM filter must hold the own domain.",
                f"Set its FROM filter to {', '.join(own)}.",
                {"server": server.key, "filter": server.from_filter, "expected": own},
            )


# --- the usual plans --------------------------------------------------------------------------------------------------


def single_plan(mailbox: str, *, provider: str = "outlook") -> Plan:
    """One generic mailbox sends for everybody; users need no settings rights."""
    return Plan((server_for(provider, login=mailbox, from_filter=mailbox),), ())


def per_user_plan(users: Sequence[str], notification: str, *, provider: str = "outlook") -> Plan:
    """One server per user, filtered on that user's address, and a fallback on the notification address."""
    servers = [
        server_for(provider, login=user, key=f"user-{n}", name=user, from_filter=user)
        for n, user in enumerate(users, start=1)
    ]
    servers.append(
        server_for(provider, login=notification, key="notifications", name=notification, from_filter=notification)
    )
    tasks = [
        f"Give {user} access rights to the settings, so that they can connect their own account." for user in users
    ]
    return Plan(tuple(servers), tuple(tasks))


def two_class_plan(transactional: Server, mass: Server) -> Plan:
    """Day-to-day mail and mass mail apart: priorities 1 and 2, the mass server dedicated."""
    return Plan(
        (
            replace(transactional, priority=1, mail_class=MailClass.TRANSACTIONAL),
            replace(mass, priority=2, mail_class=MailClass.MASS),
        ),
        (f"Choose {mass.name} as Dedicated Server: Email Marketing → Configuration → Settings.",),
    )


def campaign_findings(server: Server, recipients: int, sender: str) -> list[Finding]:
    """What to say before a campaign is queued on a server: too large for its provider, or a From its filter refuses."""
    found = []
    profile = profile_of(server)
    if profile and not profile.campaigns and recipients > CAMPAIGN_LIMIT:
        found.append(
            Finding(
                "campaign.provider_limit",
                Severity.WARNING,
                f"{recipients:,} recipients through {profile.name}: {profile.limit}.",
                "Use a mass-mailing provider such as Mailgun, Sendgrid or Mailjet.",
                {"server": server.key, "provider": profile.name, "recipients": recipients},
            )
        )
    if "@" in sender and not read_filter(server.from_filter).allows(normalise(sender)):
        found.append(
            Finding(
                "campaign.filter",
                Severity.ERROR,
                f"The FROM filter of {server.name!r} does not hold {sender}, and a campaign's From is never rewritten.",
                f"Add {sender} or its domain to the filter, or change the campaign's From.",
                {"server": server.key, "filter": server.from_filter, "from": sender},
            )
        )
    return found


def mail_class(*, batch: bool, marketing: bool) -> MailClass:
    """Batches of invoices or quotations and everything from marketing is mass mail; the rest is transactional."""
    return MailClass.MASS if batch or marketing else MailClass.TRANSACTIONAL


def server_for_class(klass: MailClass, setup: Setup) -> str | None:
    """The server forced on a mail of this class: the dedicated one for mass mail, none otherwise."""
    return setup.parameters.get(MASS_PARAMETER) if klass is MailClass.MASS else None
