"""Settings from ``mailops.toml`` and the environment, checked; no secret ever stands in them.

Environment variables override the file: ``MAILOPS_DATABASE__URL``, ``MAILOPS_PROFILE__HOSTING`` and so on (two
underscores between section and key). An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import re
import socket
import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from .errors import ConfigError, InputRefused
from .model.setup import BouncePolicy, DefaultServer, Encryption, Hosting, Profile
from .model.zones import zone_of


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProfileSection(_Section):
    """What database this is about: ``hosting`` decides many defaults. ``zone``: the time zone (IANA name) whose
    days the figures count, and in which schedules run that name none."""

    hosting: Hosting = Hosting.ON_PREMISE
    database: str = Field(default="mailops", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    hosted_suffix: str = "odoo.com"
    web_base_url: str | None = None
    zone: str = "UTC"

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            return zone_of(name).key
        except InputRefused as error:
            raise ValueError(error.message) from error


class DefaultServerSection(_Section):
    """The server used when no outgoing server is defined (the "CLI server"). ``password`` is a reference."""

    host: str | None = None
    port: int = Field(default=25, ge=1, le=65535)
    encryption: Encryption = Encryption.NONE
    login: str | None = None
    password: str | None = Field(default=None, pattern=r"^(env|file|keyring|vault):.+")
    ca_file: str | None = None
    from_filter: str | None = None
    email_from: str | None = None


class DatabaseSection(_Section):
    """``url``: a file path (relative to the workspace) or postgresql://…; ``busy_seconds``: wait for a lock."""

    url: str = "mailops.db"
    busy_seconds: float = Field(default=30.0, gt=0)


class QueueSection(_Section):
    """``batch``: mails per lease; ``interval_minutes``: how often the queue job runs (at least 5, 15 is recommended);
    ``keep_sent_days``: Auto-Vacuum removes sent mails older than this."""

    batch: int = Field(default=200, ge=1, le=5_000)
    interval_minutes: int = Field(default=60, ge=5)
    keep_sent_days: float = Field(default=7.0, ge=0)


class RetentionSection(_Section):
    """How many days each kind is kept before Auto-Vacuum ends it; 0 = for ever. ``messages``: bytes and subjects of
    mails that are done (then they cannot be retried); ``replies``: servers' words; ``transcripts``: SMTP conversations;
    ``reports``: reports as they came; ``received``: received mail and who wrote it to whom; ``logs``: queue ids,
    clients and senders from logs; ``runs``: pages of notebook runs; ``addresses``: people in facts, who get a pseudonym
    then."""

    messages_days: float = Field(default=90.0, ge=0)
    replies_days: float = Field(default=90.0, ge=0)
    transcripts_days: float = Field(default=90.0, ge=0)
    reports_days: float = Field(default=90.0, ge=0)
    received_days: float = Field(default=90.0, ge=0)
    logs_days: float = Field(default=90.0, ge=0)
    runs_days: float = Field(default=90.0, ge=0)
    addresses_days: float = Field(default=0.0, ge=0)

    def days(self) -> dict[str, float]:
        """Days by kind."""
        return {name.removesuffix("_days"): float(value) for name, value in self}


class UserSection(_Section):
    """A login of ``mailops serve``: ``password`` is a hash or a secret reference, ``senders`` are addresses and
    ``@domains`` (empty = any)."""

    password: str
    company: str | None = None
    senders: tuple[str, ...] = ()
    bounces: BouncePolicy | None = None
    reports: bool = True
    messages_per_minute: int | None = Field(default=None, ge=0)


class ListenerSection(_Section):
    """One address that ``mailops serve`` listens on. ``tls``: ``none``, ``starttls`` or ``implicit`` (from the start,
    as on port 465, RFC 8314 §3.3); ``sign_in``: ``required``, ``offered`` or ``none``. Without TLS only on loopback."""

    host: str = "127.0.0.1"
    port: int = Field(default=2525, ge=0, le=65535)
    tls: Literal["none", "starttls", "implicit"] = "none"
    sign_in: Literal["required", "offered", "none"] = "none"


class ReceiverSection(_Section):
    """One address at which ``mailops serve`` receives mail for the alias domains (the MX method). ``protocol``:
    ``lmtp`` from the mail server of this machine, on loopback only (RFC 2033), or ``smtp`` from anybody, for the alias
    domains alone, with STARTTLS where ``tls_cert`` of ``[serve]`` is given."""

    protocol: Literal["lmtp", "smtp"]
    host: str = "127.0.0.1"
    port: int = Field(ge=0, le=65535)


class ServeSection(_Section):
    """The submission listener of ``mailops serve``. ``messages_per_minute`` is counted per login, or per address
    without sign-in; 0 = no limit: a queue is there to absorb, and many programs never try again. An answer is held back
    up to ``patience`` seconds before a limit refuses; ``bytes_under_way`` bounds large mails at one time. ``bounces``:
    reports about a program's mail go to its own envelope sender (``keep``), to mailops (``ours``) or ``both``.
    ``reports``: whether a program hears of mail that did not arrive, at most ``reports_per_hour`` times to one address.
    ``hostname`` greets, and stands in Received and reports; empty = this machine's name. ``users``: login → reference
    to its password, or a table with ``password``, ``company``, ``senders``, ``bounces``, ``reports`` and
    ``messages_per_minute``; ``mailops serve user add`` keeps logins in the store instead. ``listener``: a list of
    ``host``, ``port``, ``tls`` (none, starttls, implicit) and ``sign_in`` (required, offered, none), in place of the
    one that ``host``, ``port`` and ``require_auth`` describe. ``grace``: seconds a stop waits for mail under way
    (a service manager must wait some seconds longer); ``silence``: seconds without a heartbeat after which a service is
    ended and started again. ``http``: a port on 127.0.0.1 for webhooks, ``/healthz`` and ``/metrics``. ``log``:
    ``text`` or ``json``. ``watch``: confirmed mailboxes are watched, so that mail comes in at once (IMAP IDLE).
    ``receiver``: a list of ``protocol`` (lmtp, smtp), ``host`` and ``port``, at which mail for the alias domains is
    received. ``vacuum_at``: when Auto-Vacuum runs each day, HH:MM in UTC."""

    host: str = "127.0.0.1"
    port: int = Field(default=2525, ge=0, le=65535)
    max_size: int = Field(default=26_214_400, ge=1024)
    max_recipients: int = Field(default=10_000, ge=1)
    messages_per_minute: int = Field(default=0, ge=0)
    connections_per_client: int = Field(default=20, ge=1)
    patience: float = Field(default=60.0, ge=0, le=240)
    bytes_under_way: int = Field(default=67_108_864, ge=1024)
    tls_cert: str | None = None
    tls_key: str | None = None
    require_auth: bool = False
    allow_public: bool = False
    bounces: BouncePolicy = BouncePolicy.KEEP
    reports: bool = True
    reports_per_hour: int = Field(default=300, ge=1)
    hostname: str = Field(default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9.-]{0,252})?$")
    grace: float = Field(default=8.0, ge=0, le=600)
    silence: float = Field(default=60.0, ge=0.5, le=3600)
    http: int | None = Field(default=None, ge=0, le=65535)
    log: Literal["text", "json"] = "text"
    watch: bool = True
    vacuum_at: str = Field(default="03:30", pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")

    @property
    def name(self) -> str:
        """The host's name in greeting, trace and reports."""
        return self.hostname or socket.gethostname()

    listener: tuple[ListenerSection, ...] = ()
    receiver: tuple[ReceiverSection, ...] = ()
    users: dict[str, str | UserSection] = Field(default_factory=dict)


class DnsSection(_Section):
    """Whom the DNS checks ask. ``resolvers``: ``ip`` or ``ip:port`` each, empty = this machine's own; ``timeout`` in
    seconds a question; ``panel``: the name your DNS panel wants, *short* where it appends the domain, *full* where it
    does not, empty = as is known of the DNS host; ``servers``: name server → ``ip:port``, where one is reached
    elsewhere than DNS says."""

    resolvers: tuple[str, ...] = ()
    timeout: float = Field(default=5.0, gt=0, le=60)
    panel: Literal["", "short", "full"] = ""
    servers: dict[str, str] = Field(default_factory=dict)


class CalendarSection(_Section):
    """What the calendar of ends looks at besides. ``certificates``: addresses that show one of your own, such as
    ``imaps://imap.example.com``, ``imap://mail.example.com:1143`` (STARTTLS), ``pop3s``, ``smtps``, ``https``."""

    certificates: tuple[str, ...] = ()


class AlertsSection(_Section):
    """Whom jobs that fail are told to. ``mail``: addresses; ``sender``: the From of those mails; ``webhook``: an
    address (https) that gets JSON; ``file``: gets a line of JSON each (in the workspace, or a full path). What mail
    does not take at once goes to ``alerts.jsonl`` in any case. ``quiet``: hours in which nothing is told, such as
    22:00-07:00 (in the zone of ``profile``)."""

    mail: tuple[str, ...] = ()
    sender: str = ""
    webhook: str = Field(default="", pattern=r"^(https?://.+)?$")
    file: str = ""
    quiet: str = Field(default="", pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9])?$")


class WatchSection(_Section):
    """The dead man's switch (``mailops jobs watch``), which shares nothing with ``alerts``. ``file``: gets a line of
    JSON each (in the workspace, or a full path; ``watch.jsonl`` by default); ``webhook``: an address (https) that gets
    JSON; ``ping``: an address that is asked while all is well; ``grace_minutes``: how late a run may begin."""

    file: str = ""
    webhook: str = Field(default="", pattern=r"^(https?://.+)?$")
    ping: str = Field(default="", pattern=r"^(https?://.+)?$")
    grace_minutes: float = Field(default=15.0, ge=1, le=1440)


class KernelsSection(_Section):
    """How notebooks' processes start (Linux). ``fork``: from one that has imported everything already, where one is up
    for this workspace; the app keeps one. ``linger_minutes``: how long such a process stays, about 150 MB, after a run
    of a notebook as a job, for the next (0: none is left behind)."""

    fork: bool = True
    linger_minutes: float = Field(default=0.0, ge=0, le=1_440)


class Settings(BaseSettings):
    """All sections; every key has a default."""

    model_config = SettingsConfigDict(
        env_prefix="MAILOPS_", env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )

    profile: ProfileSection = ProfileSection()
    default_server: DefaultServerSection = DefaultServerSection()
    database: DatabaseSection = DatabaseSection()
    queue: QueueSection = QueueSection()
    retention: RetentionSection = RetentionSection()
    serve: ServeSection = ServeSection()
    dns: DnsSection = DnsSection()
    calendar: CalendarSection = CalendarSection()
    alerts: AlertsSection = AlertsSection()
    watch: WatchSection = WatchSection()
    kernels: KernelsSection = KernelsSection()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings  # the environment wins over the file

    def as_profile(self) -> Profile:
        """The profile as routing knows it."""
        return Profile(
            hosting=self.profile.hosting,
            database=self.profile.database,
            hosted_suffix=self.profile.hosted_suffix,
            web_base_url=self.profile.web_base_url,
            default_server=DefaultServer(**self.default_server.model_dump()),
        )


def load_settings(path: Path) -> Settings:
    """Read ``mailops.toml`` (missing file = all defaults). Raises :class:`ConfigError` that names key and fix."""
    values: dict[str, Any] = {}
    if path.exists():
        try:
            values = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise ConfigError(
                f"{path.name} cannot be read.",
                code="config.unreadable",
                facts={"file": str(path), "reason": error.strerror or str(error)},
                fix="Look at its owner and mode: it must be readable by the user that runs mailops.",
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            line, reason = _where(path, error)
            raise ConfigError(
                f"{path.name}, line {line} is not valid TOML: {reason}.",
                code="config.toml",
                facts={"file": str(path), "line": line, "reason": str(error)},
                fix=f"Correct line {line} of {path}.",
            ) from error
    try:
        return Settings(**values)
    except ValidationError as error:
        raise _explain(error, path) from error


def _where(path: Path, error: ValueError) -> tuple[int, str]:
    """The line of a file that is no TOML, and what is wrong with it."""
    data = path.read_bytes()
    if isinstance(error, UnicodeDecodeError):
        return data.count(b"\n", 0, error.start) + 1, "it holds octets that are no UTF-8"
    said = re.fullmatch(r"(.*?)(?: \(at (?:line (\d+), column \d+|end of document)\))?", str(error), re.DOTALL)
    reason, line = (said[1], said[2]) if said else (str(error), None)
    return int(line) if line else max(1, len(data.splitlines())), reason


def _line_of(path: Path, loc: Sequence[int | str]) -> int | None:
    """The line of ``mailops.toml`` a setting stands in; None where it comes from the environment."""
    if not path.exists() or not loc:
        return None
    section, table = "", ".".join(str(part) for part in loc[:-1])
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if head := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
            section = head[1]
            if section == f"{table}.{loc[-1]}".lstrip("."):
                return number
        elif section == table and re.match(rf'\s*"?{re.escape(str(loc[-1]))}"?\s*=', line):
            return number
    return None


def _explain(error: ValidationError, path: Path) -> ConfigError:
    found = error.errors()
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    loc = [
        part for part in first["loc"] if not re.match(r"[A-Z]|str$|function-", str(part))
    ]  # a choice's branch: no key
    where = ".".join(str(part) for part in loc)
    line = _line_of(path, loc)
    stands = {"file": str(path), "line": line} if line else {}
    if first["type"] == "extra_forbidden":
        near = get_close_matches(str(first["loc"][-1]), _known(first["loc"][:-1]), 1)
        return ConfigError(
            f"There is no setting {where!r}.",
            code="config.unknown_setting",
            facts={"setting": where, "file": str(path), "line": line},
            fix=f"Did you mean {near[0]!r}?" if near else "Remove it; docs/settings.md lists all settings.",
        )
    return ConfigError(
        f"The setting {where!r} cannot be used: {first['msg']}.",
        code="config.bad_setting",
        facts={
            "setting": where,
            "value": str(first.get("input"))[:100] if "password" not in where else "(hidden)",
            **stands,
        },
        fix=(
            f"Correct line {line} of {path.name}"
            if line
            else f"Correct it in mailops.toml, or the variable MAILOPS_{where.upper().replace('.', '__')}"
        )
        + "; docs/settings.md lists what is allowed.",
    )


def _known(path: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for part in path:
        field = getattr(model, "model_fields", {}).get(str(part))
        if field is None:
            return []
        model = field.annotation
    return list(getattr(model, "model_fields", {}))
