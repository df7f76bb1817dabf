"""The sender that Test Connection tries: one the server's FROM filter allows."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ConfigError
from ..model.address import normalise, parse_first, parse_single
from ..model.filters import read_filter
from ..model.setup import AliasDomain, Server

LOCAL_PART = "odoo"  # the local part that the database's own test uses


def probe_sender(server: Server, alias_domains: Sequence[AliasDomain] = (), user: str | None = None) -> str:
    """The MAIL FROM for Test Connection. With a FROM filter: its first full address; else the notification address of
    the first alias domain that it allows; else ``odoo@`` its first domain. Without one (blanks count as none): the
    user's address; else, where nobody is signed in, the first notification address.

    Raises :class:`ConfigError` ``server.probe_sender`` when there is none.
    """
    held = read_filter(server.from_filter)
    ordered = sorted(alias_domains, key=lambda d: (d.sequence, d.id or 0))
    notifications = [address for d in ordered if (address := d.notification_address)]
    if not held.is_empty:
        parts = (part.strip() for part in (server.from_filter or "").split(","))
        written = next((part for part in parts if (one := parse_single(part)) and one.spec == part), None)
        fitting = next((address for address in notifications if held.allows(normalise(address))), None)
        return written or next(iter(held.addresses), None) or fitting or f"{LOCAL_PART}@{held.domains[0]}"
    person = parse_first(user)
    if person is not None:
        return person.spec
    if notifications:
        return notifications[0]
    raise ConfigError(
        "There is no sender to try the server with.",
        code="server.probe_sender",
        facts={"server": server.key},
        fix="Give a FROM filter, set an alias domain, or name a sender: mailops server test KEY --from you@example.com",
    )
