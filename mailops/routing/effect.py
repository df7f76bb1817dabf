"""What stands in the set-up and has no effect, with what counts instead; pure.

Alias domains, system parameters, ``mailops.toml`` and the records of servers may say the same thing. One of them
counts; whoever fills in another must hear so at once, and ``mailops server check`` repeats it. Each finding names what
it is about in ``facts["subject"]``: a parameter's key, ``server:KEY``, ``default_server`` or ``domain:NAME``.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..model.filters import read_filter
from ..model.setup import Authentication, Encryption, Server, Setup
from ..model.verdict import Finding, Severity
from .envelope import forced_return_path
from .select import in_order

PARAMETERS_PATH = "Settings → Technical → Parameters → System Parameters"
ALIAS_DOMAINS_PATH = "Settings → Technical → Emails: Alias Domains"


def without_effect(setup: Setup) -> list[Finding]:
    """Every parameter, setting and option of a server that has no effect in this set-up."""
    found = [*_filter_parameter(setup), *_identity_parameters(setup), *_base_url(setup), *_default_server(setup)]
    return [*found, *(one for server in setup.servers for one in _server(server)), *_bounce_alias(setup)]


def about(findings: list[Finding], subject: str) -> list[Finding]:
    """Those about one parameter, server or domain."""
    return [one for one in findings if one.facts.get("subject") == subject]


def _finding(subject: str, message: str, fix: str, severity: Severity = Severity.WARNING) -> Finding:
    return Finding("setup.no_effect", severity, message, fix, {"subject": subject})


def _filter_parameter(setup: Setup) -> Iterator[Finding]:
    key = "mail.default.from_filter"
    servers = in_order(setup.servers)
    if not setup.parameters.get(key):
        return
    if servers:
        yield _finding(
            key,
            f"{key} has no effect: an outgoing server is configured ({servers[0].name}), so its FROM filter counts.",
            "Put the domains into the FROM Filtering of the servers, or remove the parameter (in Odoo: "
            f"{PARAMETERS_PATH}).",
        )
    elif read_filter(setup.parameters[key]).is_empty:
        yield _finding(
            key, f"{key} holds no domain and no address.", f"Name some, or remove it (in Odoo: {PARAMETERS_PATH})."
        )


def _identity_parameters(setup: Setup) -> Iterator[Finding]:
    local, domain = (setup.parameters.get(f"mail.{key}", "").strip() for key in ("default.from", "catchall.domain"))
    saved = setup.domain_of(None)
    if saved is not None and not setup.is_hosted_domain(saved):
        speaks = f"the alias domain {saved.name} says {saved.notification_address or 'nobody'}"
        for key, value in (("mail.default.from", local), ("mail.catchall.domain", domain)):
            if value and value.lower() not in (saved.default_from or "", saved.name, saved.notification_address or ""):
                yield _finding(
                    key,
                    f"{key} = {value} has no effect: {speaks}.",
                    f"Change the alias domain (in Odoo: {ALIAS_DOMAINS_PATH}), or remove the parameter (in "
                    f"Odoo: {PARAMETERS_PATH}).",
                )
        return
    instead = f"notifications go out as {saved.notification_address}" if saved else "there is no notification address"
    if local and not domain and "@" not in local:
        yield _finding(
            "mail.default.from",
            f"mail.default.from = {local} has no effect without mail.catchall.domain: {instead}.",
            f"Set mail.catchall.domain too, or make an alias domain (in Odoo: {PARAMETERS_PATH}).",
        )
    if domain and (not local or "@" in local):
        yield _finding(
            "mail.catchall.domain",
            f"mail.catchall.domain = {domain} has no effect "
            + ("without mail.default.from" if not local else f"beside the complete address {local}")
            + ("." if local else f": {instead}."),
            f"Set mail.default.from too, or make an alias domain (in Odoo: {PARAMETERS_PATH}).",
        )


def _base_url(setup: Setup) -> Iterator[Finding]:
    said, counts = setup.profile.web_base_url, setup.parameters.get("web.base.url")
    if said and counts and said.rstrip("/") != counts.rstrip("/"):
        yield _finding(
            "web.base.url",
            f"web_base_url = {said} in mailops.toml has no effect: the parameter web.base.url says {counts}.",
            f"Make both the same, or remove one (in Odoo: {PARAMETERS_PATH}).",
        )


def _default_server(setup: Setup) -> Iterator[Finding]:
    servers = in_order(setup.servers)
    if setup.profile.default_server.configured and servers and not any(_borrows(s) for s in servers):
        yield _finding(
            "default_server",
            f"[default_server] in mailops.toml has no effect: mail leaves through {servers[0].name}, and no server "
            "record borrows the default one (authentication cli).",
            "Remove the section, or add a record: mailops server add KEY --authentication cli --filter DOMAIN.",
            Severity.NOTE,
        )


def _borrows(server: Server) -> bool:
    return server.authentication is Authentication.CLI


def _server(server: Server) -> Iterator[Finding]:
    subject, idle = f"server:{server.key}", []
    if _borrows(server):
        given = (("host", server.host), ("login", server.login), ("password", server.password))
        idle += [(name, "the connection is the default server's") for name, value in given if value]
    elif server.authentication is not Authentication.LOGIN and server.password:
        idle.append(("password", f"it signs in by {server.authentication.value}"))
    if server.authentication is Authentication.NONE and server.login:
        idle.append(("login", "it does not sign in"))
    if server.authentication is not Authentication.CERTIFICATE and (server.client_cert or server.client_key):
        idle.append(("client certificate", f"it signs in by {server.authentication.value}"))
    if server.encryption is Encryption.NONE and server.ca_file and not _borrows(server):
        idle.append(("CA file", "the connection is not encrypted"))
    for name, why in idle:
        fix = f"Take it away, or choose how it signs in: mailops server add {server.key} --authentication …"
        yield _finding(subject, f"The {name} of server {server.name!r} has no effect: {why}.", fix)


def _bounce_alias(setup: Setup) -> Iterator[Finding]:
    """The hosted server of ``online`` overrules a bounce alias of one's own (IN-16)."""
    used: list[Server | None] = [*in_order(setup.servers)] or [None]
    forced = next((f for s in used if (f := forced_return_path(s, setup))), None)
    others = [d for d in setup.alias_domains if d.bounce_address and d.bounce_alias.lower() != "bounce"]
    if forced and others:
        yield Finding(
            "plan.bounce_forced",
            Severity.NOTE,
            f"Reports go to {forced}, not to {', '.join(str(d.bounce_address) for d in others)}: the hosted server "
            "forces the return path.",
            "Nothing is to do: the database takes the reports. The bounce alias counts for mail through own servers "
            f"(in Odoo: {ALIAS_DOMAINS_PATH}).",
            {"forced": forced, "aliases": [d.bounce_address for d in others], "subject": f"domain:{others[0].name}"},
        )


__all__ = ["ALIAS_DOMAINS_PATH", "PARAMETERS_PATH", "about", "without_effect"]
