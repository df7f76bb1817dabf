"""The organisation's mail set-up as frozen values: hosting, companies, alias domains, outgoing servers.

A :class:`Setup` is *effective* from the moment it is made: what nobody said has the value that counts. On ``online``
and ``sh`` the hosted subdomain is one of its alias domains, and that of every company without one; so whoever asks a
set-up (routing, threads, the gateway, the checks, the faces) gets the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum


class Hosting(StrEnum):
    """Where the database lives; many defaults depend on it."""

    ONLINE = "online"
    SH = "sh"
    ON_PREMISE = "on_premise"


class Encryption(StrEnum):
    """How a connection is protected; the value is what the server form stores."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


class Authentication(StrEnum):
    """How an outgoing server signs in."""

    NONE = "none"
    LOGIN = "login"  # user name and password reference
    CERTIFICATE = "certificate"  # client certificate over TLS
    OAUTH = "oauth"  # SASL XOAUTH2/OAUTHBEARER with a token source
    CLI = "cli"  # host and credentials of the default server, own filter


class MailClass(StrEnum):
    """Day-to-day mail, or mail to many (campaigns, batches of invoices)."""

    TRANSACTIONAL = "transactional"
    MASS = "mass"


class BouncePolicy(StrEnum):
    """To whom reports about a program's mail go."""

    KEEP = "keep"  # to the program's own envelope sender
    OURS = "ours"  # to the alias domain's bounce address: mailops reads them
    BOTH = "both"  # mailops reads them, and passes them on to the program's address


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a temporarily refused mail is tried again. All values in seconds.

    The pause doubles from ``first`` up to ``cap``; ``give_up`` after submission the mail fails for good.
    """

    first: int = 300
    cap: int = 14_400
    give_up: int = 172_800


@dataclass(frozen=True, slots=True)
class Server:
    """One outgoing mail server. ``key`` names it; ``created`` orders records of equal priority and name.

    ``from_filter`` is a comma-separated list of domains and full addresses; blank means no filter. ``password`` and
    ``client_key`` are secret references (``env:…``, ``file:…``, ``keyring:…``, ``vault:…``), never values.
    """

    key: str
    name: str
    host: str = ""
    port: int = 587
    encryption: Encryption = Encryption.STARTTLS
    authentication: Authentication = Authentication.NONE
    login: str | None = None
    password: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    ca_file: str | None = None
    from_filter: str | None = None
    priority: int = 10
    active: bool = True
    provider: str | None = None  # profile id such as "outlook", "gmail", "mailjet"
    mail_class: MailClass | None = None  # what it is meant for; None = any
    max_size: int | None = None  # bytes; None = what the server announces
    max_sessions: int = 0  # connections at a time; 0 = what the provider allows, else 10
    timeout: float = 60.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    created: int = 0
    id: int | None = None


@dataclass(frozen=True, slots=True)
class DefaultServer:
    """The server given in the configuration file or on the command line (the "CLI server")."""

    host: str | None = None
    port: int = 25
    encryption: Encryption = Encryption.NONE
    login: str | None = None
    password: str | None = None
    ca_file: str | None = None
    from_filter: str | None = None
    email_from: str | None = None

    @property
    def configured(self) -> bool:
        return bool(self.host)


@dataclass(frozen=True, slots=True)
class AliasDomain:
    """A mail domain with its technical addresses. ``default_from`` is a local part or a complete address."""

    name: str
    bounce_alias: str = "bounce"
    catchall_alias: str = "catchall"
    default_from: str | None = "notifications"
    sequence: int = 10
    id: int | None = None

    @property
    def bounce_address(self) -> str | None:
        return f"{self.bounce_alias}@{self.name}" if self.bounce_alias else None

    @property
    def catchall_address(self) -> str | None:
        return f"{self.catchall_alias}@{self.name}" if self.catchall_alias else None

    @property
    def notification_address(self) -> str | None:
        if not self.default_from:
            return None
        return self.default_from if "@" in self.default_from else f"{self.default_from}@{self.name}"

    @property
    def complete_default_from(self) -> str | None:
        """The complete address that overwrites every From (OUT-51), or None when it is a local part."""
        return self.default_from if self.default_from and "@" in self.default_from else None


@dataclass(frozen=True, slots=True)
class Company:
    """A company of the database; mails use the alias domain of their record's company."""

    key: str
    name: str
    email: str | None = None
    alias_domain: AliasDomain | None = None
    id: int | None = None


MASS_PARAMETER = "mailops.mass_mailing.server"
"""The parameter that names the Dedicated Server for mass mail."""
HOSTED_SEQUENCE = 100  # every own domain goes before the hosted one
DEFAULT_KEY = "default"  # of the default server, where a key is wanted


@dataclass(frozen=True, slots=True)
class Profile:
    """Hosting and names of the database that mailops looks after."""

    hosting: Hosting = Hosting.ON_PREMISE
    database: str = "mailops"
    hosted_suffix: str = "odoo.com"
    web_base_url: str | None = None
    default_server: DefaultServer = field(default_factory=DefaultServer)

    @property
    def hosted_domain(self) -> str:
        return f"{self.database}.{self.hosted_suffix}"

    @property
    def hosted(self) -> AliasDomain | None:
        """The alias domain that a hosted database has by itself; None on premise. On ``online`` its bounce address
        takes the reports, whatever the alias domains say. Its sequence lets every own domain go before it."""
        if self.hosting is Hosting.ON_PREMISE:
            return None
        return AliasDomain(self.hosted_domain.lower(), sequence=HOSTED_SEQUENCE)


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything routing decides on, read once: servers, parameters, profile. Parameters are the dotted names
    admins know (``mail.default.from_filter`` and so on)."""

    profile: Profile = field(default_factory=Profile)
    servers: tuple[Server, ...] = ()
    companies: tuple[Company, ...] = ()
    alias_domains: tuple[AliasDomain, ...] = ()
    parameters: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        hosted = self.profile.hosted
        if hosted is None:
            return
        kept = next((d for d in self.alias_domains if d.name.lower() == hosted.name), None)
        if kept is None:
            object.__setattr__(self, "alias_domains", (*self.alias_domains, hosted))
        shared = kept or hosted
        companies = tuple(c if c.alias_domain else replace(c, alias_domain=shared) for c in self.companies)
        object.__setattr__(self, "companies", companies)

    def domain_of(self, company: Company | None) -> AliasDomain | None:
        """The alias domain that speaks for a company (None: for no company in particular): its own, else the one of the
        lowest sequence. None only on premise, while there is no alias domain."""
        if company is not None and company.alias_domain is not None:
            return self._live(company.alias_domain)
        found = min(self.alias_domains, key=_precedence, default=None)
        return self._live(found) if found else None

    def _live(self, domain: AliasDomain) -> AliasDomain:
        """The domain with the names that mail goes on leaving with while its addresses are verified."""
        names = verifying(self.parameters.get(VERIFYING)).get(domain.name)
        return replace(domain, bounce_alias=names[0], catchall_alias=names[1]) if names else domain

    @property
    def speaking(self) -> tuple[AliasDomain, ...]:
        """The alias domains that mail leaves with: each one that somebody saved, and the hosted one where it speaks."""
        used = {d.name for c in self.companies or (None,) if (d := self.domain_of(c)) is not None}
        hosted = self.profile.hosted
        return tuple(d for d in self.alias_domains if d.name in used or hosted is None or d != hosted)

    @property
    def saved(self) -> tuple[AliasDomain, ...]:
        """The alias domains that somebody saved: without the hosted one as it is by itself."""
        return tuple(d for d in self.alias_domains if not self.is_hosted_domain(d))

    def company_at(self, domain: str) -> Company | None:
        """The company that speaks with an alias domain, by the domain's name."""
        wanted = domain.lower()
        return next((c for c in self.companies if c.alias_domain and c.alias_domain.name.lower() == wanted), None)

    @property
    def former(self) -> tuple[AliasDomain, ...]:
        """Technical addresses that were given up and are still read: one alias domain each, with that name alone."""
        return former_addresses(self.parameters.get(FORMER))

    def is_hosted_domain(self, domain: AliasDomain | None) -> bool:
        """Whether this is the hosted subdomain as it is by itself, changed by nobody."""
        return domain is not None and domain.id is None and domain == self.profile.hosted


def _precedence(domain: AliasDomain) -> tuple[int, bool, int]:
    return domain.sequence, domain.id is None, domain.id or 0


FORMER = "mailops.former_addresses"
VERIFYING = "mailops.verifying"  # domain:bounce:catchall …, the names in use while sender addresses are verified
_ROLES = ("bounce", "catchall", "notification")


def verifying(text: str | None) -> dict[str, tuple[str, str]]:
    """The names in use (bounce, catchall) of each domain whose sender addresses are being verified.

    >>> verifying("acme.example:bounce:catchall nord.example:back:all")
    {'acme.example': ('bounce', 'catchall'), 'nord.example': ('back', 'all')}
    """
    parts = (entry.split(":") for entry in (text or "").split())
    return {part[0]: (part[1], part[2]) for part in parts if len(part) == 3}


def former_addresses(text: str | None) -> tuple[AliasDomain, ...]:
    """The parameter :data:`FORMER` (``catchall:replies@acme.com, bounce:b2@acme.com``) taken apart; what is not of this
    form is left out."""
    found = []
    for part in (text or "").split(","):
        role, _, address = part.strip().partition(":")
        local, at, name = address.rpartition("@")
        if role in _ROLES and local and at and name:
            names = {"bounce_alias": "", "catchall_alias": "", "default_from": None}
            names |= {"bounce": {"bounce_alias": local}, "catchall": {"catchall_alias": local}}.get(
                role, {"default_from": address}
            )
            found.append(AliasDomain(name, **names))  # type: ignore[arg-type]
    return tuple(found)


def with_former(text: str | None, before: AliasDomain, after: AliasDomain) -> str:
    """The parameter after a change of an alias domain: the names that went are in it, those in use are not."""
    parts = [part.strip() for part in (text or "").split(",") if part.strip()]
    for role in _ROLES:
        old, new = (str(getattr(d, f"{role}_address") or "").lower() for d in (before, after))
        if old and old != new:
            parts.append(f"{role}:{old}")
    used = {f"{role}:{str(getattr(after, f'{role}_address') or '').lower()}" for role in _ROLES}
    return ", ".join(part for part in dict.fromkeys(parts) if part not in used)
