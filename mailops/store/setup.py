"""Servers, companies, alias domains and parameters in the store.

Everything routing needs is read in one go (:func:`load`); every write checks its values first and says what is wrong.
"""

from __future__ import annotations

import re
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..errors import ConfigError, NotFound
from ..model.address import is_valid
from ..model.filters import is_domain
from ..model.setup import (
    FORMER,
    VERIFYING,
    AliasDomain,
    Authentication,
    Company,
    Encryption,
    MailClass,
    Profile,
    RetryPolicy,
    Server,
    Setup,
)
from . import schema
from .database import dialect_insert, explained, reading

t = schema
READINESS = "mailops.readiness"  # marks, methods and facts of the readiness report, as JSON
MODELS = "mailops.models"  # kinds of record that somebody registered, as JSON
PARAMETERS = (
    "mail.default.from",
    "mail.default.from_filter",
    "mail.catchall.domain",
    "mail.catchall.domain.allowed",
    "mail.gateway.allowed",
    "mail.gateway.loop.minutes",
    "mailops.bounce.former_tag_keys",
    "mailops.bounce.hardness",
    "mailops.bounce.tag_key",
    "mailops.people.key",
    FORMER,
    VERIFYING,
    READINESS,
    MODELS,
    "mailops.suppression.mode",
    "mailops.thread.former_token_keys",
    "mailops.thread.token_key",
    "mailops.webhook.mailgun.key",
    "mailops.webhook.mailjet.login",
    "mailops.webhook.postmark.login",
    "mailops.webhook.sendgrid.key",
    "mailops.webhook.ses.topic",
    "mail.gateway.loop.threshold",
    "mailops.mass_mailing.server",
    "web.base.url",
    "web.base.url.freeze",
)


def load(engine: Engine, profile: Profile) -> Setup:
    """The whole set-up as one frozen value."""
    with explained("reading the set-up"), reading(engine) as connection:
        domains = {
            int(r.id): AliasDomain(r.name, r.bounce_alias, r.catchall_alias, r.default_from, r.sequence, int(r.id))
            for r in connection.execute(
                sa.select(t.alias_domains).order_by(t.alias_domains.c.sequence, t.alias_domains.c.id)
            )
        }
        companies = tuple(
            Company(r.key, r.name, r.email, domains.get(r.alias_domain_id), int(r.id))
            for r in connection.execute(sa.select(t.companies).order_by(t.companies.c.id))
        )
        servers = tuple(_server(r) for r in connection.execute(sa.select(t.servers).order_by(t.servers.c.id)))
        parameters = {r.key: r.value for r in connection.execute(sa.select(t.parameters))}
    return Setup(profile, servers, companies, tuple(domains.values()), parameters)


def _server(r: Any) -> Server:
    return Server(
        key=r.key,
        name=r.name,
        host=r.host,
        port=r.port,
        encryption=Encryption(r.encryption),
        authentication=Authentication(r.authentication),
        login=r.login,
        password=r.password,
        client_cert=r.client_cert,
        client_key=r.client_key,
        ca_file=r.ca_file,
        from_filter=r.from_filter,
        priority=r.priority,
        active=r.active,
        provider=r.provider,
        mail_class=MailClass(r.mail_class) if r.mail_class else None,
        max_size=r.max_size,
        max_sessions=r.max_sessions,
        timeout=r.timeout,
        retry=RetryPolicy(r.retry_first, r.retry_cap, r.retry_give_up),
        created=int(r.id),
        id=int(r.id),
    )


_HOST = re.compile(r"\[?[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+\]?|(?!-)[^\W](?:[\w.-]{0,251}[\w.])?")
"""A host name (U-labels too) or an IP address."""


def save_server(engine: Engine, server: Server) -> Server:
    """Insert or replace an outgoing server by key. Raises :class:`ConfigError` for values that cannot work."""
    check_server(server)
    row = {
        "key": server.key,
        "name": server.name,
        "host": server.host,
        "port": server.port,
        "encryption": server.encryption.value,
        "authentication": server.authentication.value,
        "login": server.login,
        "password": server.password,
        "client_cert": server.client_cert,
        "client_key": server.client_key,
        "ca_file": server.ca_file,
        "from_filter": server.from_filter,
        "priority": server.priority,
        "active": server.active,
        "provider": server.provider,
        "mail_class": server.mail_class.value if server.mail_class else None,
        "max_size": server.max_size,
        "max_sessions": server.max_sessions,
        "timeout": server.timeout,
        "retry_first": server.retry.first,
        "retry_cap": server.retry.cap,
        "retry_give_up": server.retry.give_up,
    }
    with explained("saving the server"), engine.begin() as connection:
        insert = dialect_insert(engine)(t.servers).values(row)
        connection.execute(insert.on_conflict_do_update(index_elements=["key"], set_={**row}))
        found = connection.execute(sa.select(t.servers.c.id).where(t.servers.c.key == server.key)).scalar_one()
    return replace(server, id=int(found), created=int(found))


def check_server(server: Server) -> None:
    """Refuse what can never work: no key, no host, a port out of range, a secret instead of a reference."""
    from ..model.filters import parse_filter

    if not server.key or not server.key.replace("-", "").replace("_", "").isalnum():
        raise ConfigError(
            "A server needs a key of letters, digits, - and _.",
            code="server.key",
            facts={"key": server.key},
            fix="Choose one such as 'notifications'.",
        )
    if server.key in ("default", "none", "unknown"):
        raise ConfigError(
            f"The key {server.key!r} is taken.", code="server.key", fix="Choose another key.", facts={"key": server.key}
        )
    if server.authentication is not Authentication.CLI and not server.host:
        raise ConfigError(
            "The server has no host.", code="server.host", facts={"key": server.key}, fix="Give its SMTP host."
        )
    if server.host and not _HOST.fullmatch(server.host):
        raise ConfigError(
            f"{server.host[:80]!r} is no host.",
            code="server.host",
            facts={"key": server.key, "host": server.host[:200]},
            fix="Give a name such as smtp.example.com, or an IP address: no protocol, no port, no blanks.",
        )
    if not 1 <= server.port <= 65535:
        raise ConfigError(
            "The port is out of range.", code="server.port", facts={"port": server.port}, fix="Use 587, 465 or 2525."
        )
    for field in ("password", "client_key"):
        value = getattr(server, field)
        if value and not value.startswith(("env:", "file:", "keyring:", "vault:")):
            raise ConfigError(
                f"{field} must be a reference to a secret, not the secret.",
                code="secrets.not_a_reference",
                facts={"field": field, "server": server.key},
                fix="Store the secret with `mailops secrets set NAME` and use vault:NAME (or env:, file:, keyring:).",
            )
    if server.authentication is Authentication.LOGIN and not (server.login and server.password):
        raise ConfigError(
            "Sign-in needs a user name and a password reference.",
            code="server.login",
            facts={"server": server.key},
            fix="Give both, or choose another way to sign in.",
        )
    parse_filter(server.from_filter)


def remove_server(engine: Engine, key: str) -> None:
    """Remove a server. Raises :class:`NotFound`."""
    with explained("removing the server"), engine.begin() as connection:
        gone = connection.execute(sa.delete(t.servers).where(t.servers.c.key == key)).rowcount
        if not gone:
            keys = [r[0] for r in connection.execute(sa.select(t.servers.c.key))]
            raise not_found("server", key, keys)


def save_alias_domain(engine: Engine, domain: AliasDomain, *, hosted: str = "") -> AliasDomain:
    """Insert or replace an alias domain by name; the first one ever is given to all companies without one. ``hosted``
    is the hosted subdomain, which every company without a domain has anyway and which is no first one."""
    domain = checked_alias_domain(domain)
    row = {
        "name": domain.name.lower(),
        "bounce_alias": domain.bounce_alias,
        "catchall_alias": domain.catchall_alias,
        "default_from": domain.default_from,
        "sequence": domain.sequence,
    }
    with explained("saving the alias domain"), engine.begin() as connection:
        others = sa.select(sa.func.count()).select_from(t.alias_domains).where(t.alias_domains.c.name != hosted)
        first = row["name"] != hosted and connection.execute(others).scalar_one() == 0
        found = connection.execute(
            sa.select(t.alias_domains.c.id).where(t.alias_domains.c.name == row["name"]).order_by(t.alias_domains.c.id)
        ).scalar()
        if found is None:
            found = connection.execute(sa.insert(t.alias_domains).values(row)).inserted_primary_key[0]  # type: ignore[index]
        else:
            connection.execute(sa.update(t.alias_domains).where(t.alias_domains.c.id == found).values(row))
        if first:
            connection.execute(
                sa.update(t.companies).where(t.companies.c.alias_domain_id.is_(None)).values(alias_domain_id=found)
            )
    return replace(domain, id=int(found))


def checked_alias_domain(domain: AliasDomain) -> AliasDomain:
    """An alias domain as it may be stored. Raises :class:`ConfigError` ``domain.name`` for what is no domain,
    ``domain.alias`` for a name that no address can have, or two roles with one name."""
    name = domain.name.strip().lower().removesuffix(".")
    if not is_domain(name):
        raise ConfigError(
            f"{domain.name[:100]!r} is no mail domain.",
            code="domain.name",
            facts={"domain": domain.name[:200]},
            fix="Write what stands after the @, such as acme.com: no address, no protocol, no @.",
        )
    seen: dict[str, str] = {}
    for label, text in (("Bounce Alias", domain.bounce_alias), ("Catchall Alias", domain.catchall_alias)):
        _local(label, text, name)
    for label, local in (
        ("Bounce Alias", domain.bounce_alias),
        ("Catchall Alias", domain.catchall_alias),
        ("Default From Alias", (domain.notification_address or "").lower().removesuffix(f"@{name}")),
    ):
        if local and seen.setdefault(local.lower(), label) != label:
            raise ConfigError(
                f"{label} and {seen[local.lower()]} of {name} are both {local!r}.",
                code="domain.alias",
                facts={"domain": name, "local": local},
                fix="Give each of the three addresses a name of its own.",
            )
    said = domain.default_from
    if said and "@" in said:
        if not is_valid(said) or said.count("@") != 1 or not is_domain(said.rpartition("@")[2]):
            raise _bad_local("Default From Alias", said, "a local part such as notifications, or one address")
    elif said:
        _local("Default From Alias", said, name)
    return replace(domain, name=name, default_from=said or None)


def check_identity(key: str, value: str) -> None:
    """The parameters ``mail.default.from`` (a local part or an address) and ``mail.catchall.domain``. Raises
    :class:`ConfigError`."""
    if key == "mail.catchall.domain":
        checked_alias_domain(AliasDomain(value))
    elif "@" in value and not (is_valid(value) and is_domain(value.rpartition("@")[2])):
        raise _bad_local(key, value, "a local part such as notifications, or one address")
    elif "@" not in value:
        _local(key, value, "example.com")


def _local(label: str, text: str | None, domain: str) -> None:
    if text and ("@" in text or not is_valid(f"{text}@{domain}") or text.startswith('"')):
        raise _bad_local(label, text, "the part before the @, such as replies: no spaces, no @")


def _bad_local(label: str, text: str, wanted: str) -> ConfigError:
    return ConfigError(
        f"{label} {text[:100]!r} cannot be used.",
        code="domain.alias",
        facts={"field": label, "value": text[:200]},
        fix=f"Give {wanted}.",
    )


def checked_company(company: Company) -> Company:
    """A company as it may be stored. Raises :class:`ConfigError` (``company.key``, ``.name``, ``.email``)."""
    if not company.key.strip() or any(c.isspace() or not c.isprintable() for c in company.key):
        raise ConfigError(
            f"{company.key[:100]!r} is no key of a company.",
            code="company.key",
            facts={"key": company.key[:200]},
            fix="Use letters, digits, - and _, such as main.",
        )
    if not company.name.strip() or not company.name.isprintable():
        raise ConfigError(
            "A company needs a name.", code="company.name", facts={"key": company.key}, fix="Give one on one line."
        )
    if company.email and not is_valid(company.email):
        raise ConfigError(
            f"{company.email[:100]!r} is no address.",
            code="company.email",
            facts={"email": company.email[:200]},
            fix="Give the company's contact address, such as info@acme.com.",
        )
    return company


def save_company(engine: Engine, company: Company) -> Company:
    """Insert or replace a company by key; a new one without alias domain gets that of the lowest sequence."""
    company = checked_company(company)
    with explained("saving the company"), engine.begin() as connection:
        domain_id = company.alias_domain.id if company.alias_domain else None
        if company.alias_domain and domain_id is None:
            domain_id = _domain_id(connection, company.alias_domain.name)
        known = connection.execute(sa.select(t.companies.c.id).where(t.companies.c.key == company.key)).scalar()
        if known is None and domain_id is None:
            query = sa.select(t.alias_domains.c.id).order_by(t.alias_domains.c.sequence, t.alias_domains.c.id)
            domain_id = connection.execute(query.limit(1)).scalar()
        row = {"key": company.key, "name": company.name, "email": company.email, "alias_domain_id": domain_id}
        insert = dialect_insert(engine)(t.companies).values(row)
        connection.execute(insert.on_conflict_do_update(index_elements=["key"], set_=row))
        found = connection.execute(sa.select(t.companies.c.id).where(t.companies.c.key == company.key)).scalar_one()
    return replace(company, id=int(found))


def _domain_id(connection: Connection, name: str) -> int:
    found = connection.execute(sa.select(t.alias_domains.c.id).where(t.alias_domains.c.name == name.lower())).scalar()
    if found is None:
        names = [r[0] for r in connection.execute(sa.select(t.alias_domains.c.name))]
        raise not_found("alias domain", name, names)
    return int(found)


def parameter(engine: Engine, key: str) -> str | None:
    """One system parameter, or None when it is not set."""
    with explained("reading a parameter"), reading(engine) as connection:
        found = connection.execute(sa.select(t.parameters.c.value).where(t.parameters.c.key == key)).scalar()
    return None if found is None else str(found)


def set_parameter(engine: Engine, key: str, value: str | None) -> None:
    """Set a system parameter, or remove it with None. An unknown key is refused with the nearest known one."""
    if key not in PARAMETERS:
        near = get_close_matches(key, PARAMETERS, 1)
        raise ConfigError(
            f"There is no parameter {key!r}.",
            code="config.unknown_parameter",
            facts={"key": key, "known": list(PARAMETERS)},
            fix=f"Did you mean {near[0]}?" if near else "Use one of the names listed.",
        )
    with explained("saving the parameter"), engine.begin() as connection:
        put_parameter(connection, key, value)


def rename_technical(connection: Connection, domain_id: int, bounce: str, catchall: str) -> None:
    """Give an alias domain other names for its bounce and its catchall address."""
    d = schema.alias_domains
    connection.execute(sa.update(d).where(d.c.id == domain_id).values(bounce_alias=bounce, catchall_alias=catchall))


def put_parameter(connection: Connection, key: str, value: str | None) -> None:
    """As :func:`set_parameter`, for a known key in the caller's transaction."""
    if value is None:
        connection.execute(sa.delete(t.parameters).where(t.parameters.c.key == key))
        return
    insert = dialect_insert(connection.engine)(t.parameters).values(key=key, value=value)
    connection.execute(insert.on_conflict_do_update(index_elements=["key"], set_={"value": value}))


def not_found(what: str, name: str, known: list[str]) -> NotFound:
    """The error for a name that is not there, with the nearest one that is."""
    near = get_close_matches(name, known, 1)
    fix = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known) or 'none yet'}."
    return NotFound(f"There is no {what} {name!r}.", facts={"name": name, "known": known}, fix=fix)
