"""The sender that Test Connection tries: one the server's FROM filter allows."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ConfigError
from ..model.address import normalise
from ..model.setup import AliasDomain, Server
from .filters import read_filter

LOCAL_PART = "odoo"  # the local part that the database's own test uses


def probe_sender(server: Server, alias_domains: Sequence[AliasDomain] = (), user: str | None = None) -> str:
    """The MAIL FROM for Test Connection: the first full address of the filter; else the notification address of the
    first alias domain that the filter allows; else ``odoo@`` the filter's first domain; else the user's address.

    Raises :class:`ConfigError` ``server.probe_sender`` when there is none.
    """
    held = read_filter(server.from_filter)
    if held.addresses:
        return next(p.strip() for p in (server.from_filter or "").split(",") if "@" in p)
    for domain in sorted(alias_domains, key=lambda d: (d.sequence, d.id or 0)):
        address = domain.notification_address
        if address and held.allows(normalise(address)):
            return address
    if held.domains:
        return f"{LOCAL_PART}@{held.domains[0]}"
    if user:
        return user
    raise ConfigError(
        "There is no sender to try the server with.",
        code="server.probe_sender",
        facts={"server": server.key},
        fix="Give a FROM filter, set an alias domain, or name a sender: mailops server test KEY --from you@example.com",
    )
