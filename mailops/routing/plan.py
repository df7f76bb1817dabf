"""Holds a plan of outgoing servers against the rules, and makes the three usual plans.

:func:`validate` is pure: a :class:`Setup` in, findings out, each with a stable code, the values, and the next step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..errors import ConfigError, StateConflict
from ..model.address import is_valid, normalise, parse_first
from ..model.filters import is_domain, read_filter
from ..model.setup import MASS_PARAMETER, AliasDomain, Authentication, Hosting, MailClass, Profile, Server, Setup
from ..model.text import counted
from ..model.verdict import Finding, Severity
from ..providers.outgoing import CAMPAIGN_LIMIT, SUGGESTED, server_for
from .effect import ALIAS_DOMAINS_PATH, PARAMETERS_PATH, without_effect
from .mailbox import mailbox_finding, profile_of
from .ports import encryption_finding, port_finding
from .select import in_order, notification_address
from .usage import hosted_sender_finding

LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]")


@dataclass(frozen=True, slots=True)
class Plan:
    """A generated plan: servers to make, what each person has to do, the Dedicated Server, and parameters to set."""

    servers: tuple[Server, ...]
    tasks: tuple[str, ...]
    dedicated: str | None = None
    parameters: tuple[tuple[str, str], ...] = ()


def validate(setup: Setup) -> list[Finding]:
    """Everything the rules have to say about the outgoing servers, the weightiest first."""
    order = [Severity.BLOCKING, Severity.ERROR, Severity.WARNING, Severity.NOTE]
    return sorted(_all(setup), key=lambda f: order.index(f.severity))


def _all(setup: Setup) -> Iterator[Finding]:
    servers = in_order(setup.servers)
    yield from without_effect(setup)
    yield from _default_port(servers, setup)
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


def _default_port(servers: Sequence[Server], setup: Setup) -> Iterator[Finding]:
    """The default server's own port, where mail leaves through it."""
    default = setup.profile.default_server
    used = not servers or any(s.authentication is Authentication.CLI for s in servers)
    if used and default.configured and (found := port_finding(setup.profile.hosting, default.port, "default")):
        yield found


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


def _domains(setup: Setup) -> list[AliasDomain | None]:
    return list(setup.speaking) or [None]


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
                f"Set an alias domain, or mail.default.from and mail.catchall.domain (in Odoo: {PARAMETERS_PATH}).",
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
                f"(in Odoo: {PARAMETERS_PATH}).",
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
    dedicated = setup.parameters.get(MASS_PARAMETER)
    mass = [s for s in servers if s.key == dedicated or _for_mass(s)]
    daily = [s for s in servers if s not in mass]
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
    if dedicated and not any(s.key == dedicated for s in servers):
        yield Finding(
            "plan.dedicated_missing",
            Severity.BLOCKING,
            f"The dedicated mass-mailing server {dedicated!r} does not exist or is archived.",
            "Choose an active server in the email-marketing settings.",
            {"server": dedicated},
        )


def _for_mass(server: Server) -> bool:
    """Meant for mass mail: said so, or a mass-mailing provider's where nothing is said."""
    if server.mail_class is not None:
        return server.mail_class is MailClass.MASS
    profile = profile_of(server)
    return profile is not None and profile.name in SUGGESTED[MailClass.MASS]


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


# --- what is refused when it is saved ---------------------------------------------------------------------------------


def refuse_server(server: Server, setup: Setup) -> None:
    """Refuse a server that cannot work in this set-up. Raises :class:`ConfigError` (a port that is blocked, the hosted
    subdomain at an external server), :class:`StateConflict` (archiving the dedicated one)."""
    held = read_filter(server.from_filter)
    senders = (*held.addresses, *(f"x@{domain}" for domain in held.domains))
    external = (hosted_sender_finding(server, sender, setup) for sender in senders)
    blocked = port_finding(setup.profile.hosting, server.port, server.key) if server.host else None
    found = blocked or next((one for one in external if one), None)
    if found is not None:
        raise ConfigError(found.message, code=found.code, facts=found.facts, fix=found.fix)
    if not server.active:
        refuse_without(server.key, setup)


def refuse_without(key: str, setup: Setup) -> None:
    """Refuse to take the dedicated server away: mass mail would fail. Raises :class:`StateConflict`."""
    if setup.parameters.get(MASS_PARAMETER) == key and any(s.key == key for s in setup.servers):
        raise StateConflict(
            f"Server {key!r} is the Dedicated Server for mass mail, which would fail without it.",
            code="server.dedicated",
            facts={"server": key, "parameter": MASS_PARAMETER},
            fix=f"Choose another one first, or none: mailops company parameter {MASS_PARAMETER} [KEY].",
        )


def refuse_second_subdomain(domain: str, profile: Profile) -> None:
    """On ``online`` the hosted subdomain is the one that was chosen with the database (IN-22). Raises
    :class:`ConfigError`."""
    own = profile.hosted_domain.lower()
    if profile.hosting is Hosting.ONLINE and domain != own and domain.endswith(f".{profile.hosted_suffix.lower()}"):
        raise ConfigError(
            f"{domain} cannot be an alias domain here: on online {own} is the only hosted subdomain.",
            code="domain.second_subdomain",
            facts={"domain": domain, "hosted": own},
            fix=f"Use {own}, or a domain of your own.",
        )


def refuse_dedicated(key: str, setup: Setup) -> None:
    """Refuse a Dedicated Server that is not there. Raises :class:`ConfigError`."""
    known = [s.key for s in in_order(setup.servers)]
    if key not in known:
        raise ConfigError(
            f"There is no active outgoing server {key!r} to be the Dedicated Server.",
            code="server.dedicated_unknown",
            facts={"server": key, "servers": known},
            fix=f"Use one of: {', '.join(known) or 'none yet; mailops server add KEY --host …'}.",
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
        (f"Choose {mass.name} as Dedicated Server (in Odoo: Email Marketing → Configuration → Settings).",),
    )


KINDS = ("single", "per user", "transactional + mass")


def made_plan(
    kind: str,
    setup: Setup,
    *,
    provider: str = "outlook",
    mailbox: str = "",
    users: Sequence[str] = (),
    transactional: str = "",
    mass: str = "",
) -> Plan:
    """One of :data:`KINDS` for this set-up. ``mailbox`` is the generic mailbox, or (per user) the notification address;
    ``transactional`` and ``mass`` are keys of servers. Raises :class:`ConfigError` for what is missing or not known.
    """
    wanted = " ".join(kind.lower().replace("-", " ").replace("_", " ").split())
    if wanted in ("two class", "transactional mass"):
        wanted = KINDS[2]
    if wanted not in KINDS:
        raise ConfigError(
            f"There is no plan {kind[:60]!r}.",
            code="plan.kind",
            facts={"given": kind[:100], "plans": list(KINDS)},
            fix=f"Use one of: {', '.join(KINDS)}.",
        )
    if wanted == KINDS[2]:
        by_key = {s.key: s for s in setup.servers}
        missing = [key or "(none)" for key in (transactional, mass) if key not in by_key]
        if missing or transactional == mass:
            raise ConfigError(
                "The plan needs two outgoing servers that there are.",
                code="plan.servers",
                facts={"missing": missing, "servers": list(by_key)},
                fix="Name both: mailops server plan two-class --transactional KEY --mass KEY.",
            )
        return replace(two_class_plan(by_key[transactional], by_key[mass]), dedicated=mass)
    for address in (mailbox, *users):
        if not is_valid(address) or not is_domain(address.rpartition("@")[2]):
            raise ConfigError(
                f"{address[:100]!r} is no mailbox.",
                code="plan.mailbox",
                facts={"given": address[:200]},
                fix="Give complete addresses: --mailbox notifications@example.com, --user jane@example.com.",
            )
    made = (
        single_plan(mailbox, provider=provider)
        if wanted == KINDS[0]
        else per_user_plan(users, mailbox, provider=provider)
    )
    servers: list[Server] = []
    for server in made.servers:
        servers.append(_beside(server, setup.servers, [s.key for s in servers]))
    return replace(
        made,
        servers=tuple(servers),
        parameters=_identity(mailbox, setup),
        tasks=(*made.tasks, *_identity_tasks(mailbox, setup)),
    )


def _beside(server: Server, there: Sequence[Server], taken: Sequence[str]) -> Server:
    """A server of a plan beside those there are: of the same one (its host and user name) what is not named stays, and
    no other server's key is taken."""
    same = next((s for s in there if (s.host, s.login) == (server.host, server.login) and s.key not in taken), None)
    if same is not None:
        return replace(same, from_filter=server.from_filter, mail_class=server.mail_class or same.mail_class)
    keys = {s.key for s in there} | set(taken)
    free = (f"{server.key}-{n}" for n in range(2, len(keys) + 3))
    key = server.key if server.key not in keys else next(k for k in free if k not in keys)
    return replace(server, key=key)


def _identity(mailbox: str, setup: Setup) -> tuple[tuple[str, str], ...]:
    """The parameters that make the mailbox the notification address, where no alias domain speaks (AZ-31, AZ-33)."""
    local, _, domain = mailbox.partition("@")
    return () if setup.saved else (("mail.catchall.domain", domain), ("mail.default.from", local))


def _identity_tasks(mailbox: str, setup: Setup) -> tuple[str, ...]:
    speaks = notification_address(setup.domain_of(None), setup) if setup.saved else mailbox
    if speaks is not None and normalise(speaks) == normalise(mailbox):
        return ()
    return (
        f"Make {mailbox} the notification address instead of {speaks} (in Odoo: {ALIAS_DOMAINS_PATH}, Default "
        "From Alias).",
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
                f"{counted(recipients, 'recipient')} through {profile.name}: {profile.limit}.",
                "Use a mass-mailing provider such as Mailgun, Sendgrid or Mailjet.",
                {"server": server.key, "provider": profile.name, "recipients": recipients},
            )
        )
    author = parse_first(sender)
    if author and not read_filter(server.from_filter).allows(author.normalised):
        found.append(
            Finding(
                "campaign.filter",
                Severity.ERROR,
                f"The FROM filter of {server.name!r} does not hold {author.spec}, and a campaign's From is never"
                " rewritten.",
                f"Add {author.spec} or its domain to the filter, or change the campaign's From.",
                {"server": server.key, "filter": server.from_filter, "from": author.spec},
            )
        )
    return found


def mail_class(*, batch: bool, marketing: bool) -> MailClass:
    """Batches of invoices or quotations and everything from marketing is mass mail; the rest is transactional."""
    return MailClass.MASS if batch or marketing else MailClass.TRANSACTIONAL


def server_for_class(klass: MailClass, setup: Setup) -> str | None:
    """The server forced on a mail of this class: the dedicated one for mass mail, none otherwise."""
    return setup.parameters.get(MASS_PARAMETER) if klass is MailClass.MASS else None
