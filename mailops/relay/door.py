"""What is known to fail is refused in the dialogue, where the program still hears it (RFC 5321 §6.1).

A 250 that ends as a failure a moment later costs a report; a 550 at RCPT costs nothing. Known are: a recipient whom the
list takes from all mail, and a message that no server, or not the one of its sender, may carry for its size.
"""

from __future__ import annotations

from sqlalchemy.engine import Engine

from ..errors import MessageRefused
from ..model.address import normalise
from ..model.setup import Setup
from ..ports import Clock
from ..routing import Route
from ..store.database import explained, reading
from ..suppression.store import blocked


def recipient_barred(engine: Engine, address: str, clock: Clock) -> str | None:
    """Why this address gets no mail at all; None when it may. Campaigns are judged at submission, by their class."""
    with explained("reading the suppression list"), reading(engine) as connection:
        found = blocked(connection, [normalise(address)], now=clock.now())
    return next((entry.why for entry in found if entry.scope == "all"), None)


def most_octets(setup: Setup) -> int | None:
    """The largest message that any server may carry; None where one of them has no limit of its own."""
    sizes = [server.max_size for server in setup.servers if server.active]
    known = [size for size in sizes if size is not None]
    return max(known) if known and len(known) == len(sizes) else None


def require_room(route: Route, size: int) -> None:
    """Raises :class:`MessageRefused` for a message larger than the server of this route takes (RFC 1870 §6.1)."""
    server = route.server
    if server is not None and server.max_size is not None and size > server.max_size:
        raise MessageRefused(
            f"The message has {size:,} octets, and {server.name}, which carries mail of this sender, takes at most "
            f"{server.max_size:,}.",
            code="message.too_large",
            facts={"size": size, "limit": server.max_size, "server": server.key},
            fix="Make it smaller (a link in place of an attachment), or give the sender another server.",
        )
