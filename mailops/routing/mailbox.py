"""Whether a server that signs in as a mailbox may send as the envelope sender that its mail really gets.

Exchange Online judges MAIL FROM and From when the message is handed over, after every step of a connection test: a
FROM filter on a domain makes the envelope ``bounce@domain``, and each mail ends in ``554 5.2.252 SendAsDenied``. So it
is decided here, by the rules of routing, before the first mail.
"""

from __future__ import annotations

from ..errors import ConfigError
from ..model.address import envelope_address, normalise
from ..model.filters import read_filter
from ..model.setup import Server, Setup
from ..model.verdict import Finding, Severity
from ..providers import provider_of_host
from ..providers.outgoing import PROVIDERS, Provider
from .envelope import envelope_from, forced_return_path, return_path
from .probe_sender import probe_sender


def profile_of(server: Server) -> Provider | None:
    """The provider of a server: the one it names, else the one its host belongs to."""
    named = PROVIDERS.get(server.provider or "")
    if named is not None:
        return named
    about = provider_of_host(server.host)
    return PROVIDERS.get(about.id) if about else None


def envelope_of(server: Server, setup: Setup) -> str:
    """The envelope sender of day-to-day mail through this server: the bounce address where its filter allows it, else
    the From; "" where nothing says who sends."""
    domain = setup.domain_of(None)
    try:
        sender = probe_sender(server, setup.alias_domains, server.login)
    except ConfigError:
        return ""
    forced = forced_return_path(server, setup)
    found = forced or envelope_from(return_path(None, domain, setup), sender, read_filter(server.from_filter))
    return found or envelope_address(sender) or sender


def mailbox_finding(server: Server, setup: Setup, envelope: str = "") -> Finding | None:
    """What is wrong with the sender of a server that signs in as a mailbox, or None. ``envelope`` is a mail's own."""
    profile = profile_of(server)
    if profile is None or not profile.filter_is_mailbox or not server.login or "@" not in server.login:
        return None
    mailbox, held = normalise(server.login), read_filter(server.from_filter)
    wire = envelope or envelope_of(server, setup)
    if profile.id == "outlook" and wire and normalise(wire) != mailbox:
        shared = held.addresses == (normalise(wire),) and not held.domains
        return Finding(
            "plan.filter_not_mailbox",
            Severity.WARNING if shared else Severity.ERROR,
            f"Mail of {server.name!r} leaves with the envelope sender {wire}, but {profile.name} lets {server.login} "
            "send as itself only.",
            f"Set the FROM filter to {server.login}, or have an administrator grant {server.login} Send As on {wire} "
            f"(Exchange PowerShell: Add-RecipientPermission {wire} -Trustee {server.login} -AccessRights SendAs).",
            {"server": server.key, "filter": server.from_filter, "mailbox": server.login, "envelope": wire},
        )
    if not envelope and (held.addresses != (mailbox,) or held.domains):
        return Finding(
            "plan.filter_not_mailbox",
            Severity.ERROR,
            f"{profile.name} wants the FROM filter of {server.name!r} to be its mailbox {server.login}.",
            f"Set the FROM filter to {server.login}.",
            {"server": server.key, "filter": server.from_filter, "mailbox": server.login, "envelope": wire},
        )
    return None
