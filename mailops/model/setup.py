"""The organisation's mail set-up as frozen values: hosting, companies, alias domains, outgoing servers."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    max_sessions: int = 1
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
        takes the reports, whatever the alias domains say."""
        return None if self.hosting is Hosting.ON_PREMISE else AliasDomain(self.hosted_domain.lower())


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything routing decides on, read once: servers, parameters, profile. Parameters are the dotted names
    admins know (``mail.default.from_filter`` and so on)."""

    profile: Profile = field(default_factory=Profile)
    servers: tuple[Server, ...] = ()
    companies: tuple[Company, ...] = ()
    alias_domains: tuple[AliasDomain, ...] = ()
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def mail_domains(self) -> tuple[AliasDomain, ...]:
        """The alias domains, and the hosted one: mail to its technical addresses comes in too."""
        hosted = self.profile.hosted
        if hosted is None or any(d.name.lower() == hosted.name for d in self.alias_domains):
            return self.alias_domains
        return (*self.alias_domains, hosted)
