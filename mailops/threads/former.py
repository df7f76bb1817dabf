"""Counts the mails that carry a technical address, and so what a change of its name would lose (IN-12, IN-13)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..model.setup import AliasDomain, Setup
from ..store import schema
from ..store.database import explained, reading

m, n, g, r = schema.mails, schema.notifications, schema.messages, schema.records


def mails_that_carry(engine: Engine, domain: AliasDomain, setup: Setup) -> dict[str, int]:
    """By address, how many sent mails point at it: bounce as envelope sender, catchall as Reply-To, notification as
    From. Mails of threads leave the queue when they are sent; their notifications are counted for them."""
    companies = [c.id for c in setup.companies if c.alias_domain and c.alias_domain.name == domain.name]
    first = bool(setup.companies) and setup.companies[0].id in companies
    of_domain: sa.ColumnElement[bool] = r.c.company_id.in_([i for i in companies if i is not None])
    if first or not setup.companies:
        of_domain = sa.or_(of_domain, r.c.company_id.is_(None))
    gone = sa.and_(n.c.channel == "email", n.c.state.in_(("sent", "bounce")), n.c.mail_id.is_not(None))
    told = sa.select(sa.func.count()).select_from(n.join(g, g.c.id == n.c.message_id).join(r, r.c.id == g.c.record_id))
    found: dict[str, int] = {}
    with explained("counting mails that carry an address"), reading(engine) as connection:
        threads = int(connection.execute(told.where(gone, of_domain)).scalar_one())
        sent = sa.select(sa.func.count()).select_from(m).where(m.c.sent_envelope.is_not(None), m.c.origin != "thread")
        for address, where, thread in (
            (domain.bounce_address, _envelope(domain), True),
            (domain.catchall_address, m.c.header_from.is_(None), True),
            (domain.notification_address, _sender(domain), False),
        ):
            if address:
                own = int(connection.execute(sent.where(where)).scalar_one())
                found[address] = own + (threads if thread else 0)
    return found


def _envelope(domain: AliasDomain) -> sa.ColumnElement[bool]:
    """Also with the tag of a signed return path."""
    column, at = sa.func.lower(m.c.sent_envelope), f"@{domain.name}".lower()
    local = domain.bounce_alias.lower()
    signed = sa.and_(column.startswith(f"{local}+", autoescape=True), column.endswith(at, autoescape=True))
    return sa.or_(column == f"{local}{at}", signed)


def _sender(domain: AliasDomain) -> sa.ColumnElement[bool]:
    address = (domain.notification_address or "").lower()
    return sa.func.lower(sa.func.coalesce(m.c.sent_from, m.c.header_from)).contains(address, autoescape=True)
