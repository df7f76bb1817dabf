"""Who sends for a domain in this set-up, as the domain check names it: the services that its mail really leaves
through, the hosting kind, the database, and the domain of the bounce address, asked of routing itself; pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..dns.names import normalise
from ..errors import RouteError
from ..model.setup import AliasDomain, MailClass, Server, Setup
from ..providers.records import service_named
from ..routing import Route, RouteRequest, in_order, route
from ..routing.mailbox import profile_of
from ..routing.plan import server_for_class
from ..routing.usage import is_hosted

HOSTED = "odoo"


@dataclass(frozen=True, slots=True)
class Sending:
    """What the domain check has to know. ``services`` in the order of day-to-day mail, then mass mail; ``own`` says
    that mail leaves through a server of one's own (too), whose addresses nobody but its keeper knows."""

    domain: str
    services: tuple[str, ...]
    own: bool
    hosting: str
    database: str
    bounce_domain: str
    own_hosts: tuple[str, ...] = ()

    @property
    def service(self) -> str:
        return ",".join(self.services)

    def options(self) -> dict[str, Any]:
        """As options of :meth:`mailops.domains.service.Domains.setup`."""
        return {
            "service": self.service,
            "hosting": self.hosting,
            "database": self.database,
            "bounce_domain": self.bounce_domain,
            "own_hosts": self.own_hosts,
        }


def sending_of(setup: Setup, domain: str) -> Sending:
    """Who sends mail with this domain in its From, and where its reports come back to."""
    name = normalise(domain)
    routes = _routes(setup, name)
    first = next(iter(in_order(setup.servers)), None)
    seen = [_service(r.server, setup) for r in routes] or [_service(first, setup)]
    bounce = next((r.envelope_from.rpartition("@")[2] for r in routes if r.envelope_from), "")
    hosted = setup.profile.hosted
    if not bounce or bounce == name or (hosted is not None and bounce == hosted.name):
        bounce = ""  # the hosted subdomain's DNS is the host's: SPF of the domain itself is what can be looked at
    services = tuple(dict.fromkeys(s for s in seen if s))
    profile = setup.profile
    database = profile.database if HOSTED in services and hosted is not None else ""
    through = [r.server for r in routes] or [first]
    hosts = dict.fromkeys(s.host for s in through if s is not None and s.host and not _service(s, setup))
    return Sending(name, services, "" in seen or not seen, profile.hosting.value, database, bounce, tuple(hosts))


def envelope_for(setup: Setup, sender: str) -> str:
    """The envelope sender that a mail with this From gets in this set-up; "" where nothing says so."""
    domain = _nearest(setup)
    try:
        return route(RouteRequest(sender, domain), setup).envelope_from or ""
    except RouteError:
        return (domain.bounce_address if domain else "") or ""


def _routes(setup: Setup, domain: str) -> list[Route]:
    """How mail of this domain leaves: day-to-day mail of a person and of the domain itself, then mass mail."""
    speaking = next((d for d in setup.alias_domains if d.name == domain), None) or _nearest(setup)
    mass = server_for_class(MailClass.MASS, setup)
    sender = f"somebody@{domain}"
    asked = [RouteRequest(sender, speaking)]
    if speaking is not None and speaking.name == domain:
        asked.append(RouteRequest(None, speaking))
    if mass is not None:
        asked.append(RouteRequest(sender, speaking, mass))
    found = []
    for request in asked:
        try:
            answer = route(request, setup)
        except RouteError:
            continue
        held = answer.header_from or ""
        if held.rstrip(">").endswith(f"@{domain}"):  # a rewritten From is another domain's mail
            found.append(answer)
    return found


def _nearest(setup: Setup) -> AliasDomain | None:
    return setup.domain_of(setup.companies[0] if setup.companies else None)


def _service(server: Server | None, setup: Setup) -> str:
    """The key of the service behind a server; "" for one's own."""
    if is_hosted(server, setup):
        return HOSTED
    if server is None:
        return ""
    profile = profile_of(server)
    return service_named(server.provider or "") or (service_named(profile.id) if profile else "")
