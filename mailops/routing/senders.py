"""Every address that may stand as sender, and whether the chosen server may carry it (OUT-21).

Providers often want each sender allowed by hand; this is the list to allow. An address may have several sources; it
is listed once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..model.address import normalise, parse_addresses
from ..model.filters import read_filter
from ..model.setup import Server, Setup
from .select import notification_address

BOUNCE, DEFAULT_FROM, ADMIN, BOT = "bounce alias", "default from", "administrator", "OdooBot"
CAMPAIGN, TEMPLATE = "campaign", "template"
SOURCES = (BOUNCE, DEFAULT_FROM, ADMIN, BOT, CAMPAIGN, TEMPLATE)


@dataclass(frozen=True, slots=True)
class PossibleSender:
    """One address, where it comes from, and whether the server's FROM filter holds it."""

    address: str
    sources: tuple[str, ...]
    covered: bool

    @property
    def mark(self) -> str:
        return "covered" if self.covered else "not covered"


def inventory(
    setup: Setup,
    server: Server,
    *,
    admin: str | None = None,
    bot: str | None = None,
    campaigns: Iterable[str] = (),
    templates: Iterable[str] = (),
) -> list[PossibleSender]:
    """All possible senders in the order of :data:`SOURCES`, each address once.

    ``admin`` and ``bot`` default to ``admin@`` and ``odoobot@`` of the hosted subdomain; ``campaigns`` and
    ``templates`` are the From texts in use. A server without FROM filter covers every address.
    """
    hosted = setup.profile.hosted_domain
    domains = sorted(setup.speaking, key=lambda d: (d.sequence, d.id or 0))
    bounces = [a for d in domains if (a := d.bounce_address)]
    froms = [a for d in domains or (None,) if (a := notification_address(d, setup))]
    texts: Sequence[tuple[str, Iterable[str]]] = (
        (BOUNCE, bounces),
        (DEFAULT_FROM, froms),
        (ADMIN, [admin or f"admin@{hosted}"]),
        (BOT, [bot or f"odoobot@{hosted}"]),
        (CAMPAIGN, campaigns),
        (TEMPLATE, templates),
    )
    found: dict[str, list[str]] = {}
    for source, given in texts:
        for address in (normalise(a.spec) for text in given for a in parse_addresses(text)[:1]):
            origins = found.setdefault(address, [])
            if source not in origins:
                origins.append(source)
    held = read_filter(server.from_filter)
    return [PossibleSender(address, tuple(origins), held.allows(address)) for address, origins in found.items()]
