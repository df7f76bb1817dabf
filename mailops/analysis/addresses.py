"""What each address got, summed by group: the unit of honest verdicts, since mails to one address say little more than
one of them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..bounces.hardness import stored_table
from ..store import schema
from ..store.database import explained, reading
from .share import Clusters
from .sql import LEFT, RETURNED, Period, domain_of, for_good

e, c, r = schema.events, schema.campaigns, schema.campaign_recipients
NOBODY = Clusters(0, 0, 0, 0, 0, 0, 0, 0, 0)


def clusters(engine: Engine, by: str, period: Period) -> dict[str, Clusters]:
    """The addresses mailed in a period, by recipient ``domain``, ``server``, ``sender`` domain, ``class`` or
    ``campaign`` (its key, "" for none), or ``all`` in one."""
    source: Any = e
    address = sa.func.lower(e.c.recipient).label("address")
    name: Any = sa.literal_column("'all'")
    if by == "server":
        name = sa.func.coalesce(e.c.server_key, "")
    elif by == "campaign":
        source = e.outerjoin(r, r.c.mail_id == e.c.mail_id).outerjoin(c, c.c.id == r.c.campaign_id)
        name = sa.func.coalesce(c.c.key, "")
    elif by in ("sender", "class"):
        born = e.alias("born")
        source = e.join(born, sa.and_(born.c.mail_id == e.c.mail_id, born.c.kind == "submitted"))
        name = sa.func.coalesce(born.c.data["domain" if by == "sender" else "class"].as_string(), "")
    with explained("counting addresses"), reading(engine) as connection:
        returned = sa.case((e.c.kind == "sent", 0), else_=1)
        columns = [
            address,
            sa.func.sum(sa.case((e.c.kind == "bounced", 0), else_=1)).label("sent"),
            sa.func.sum(returned).label("y"),
            sa.func.sum(sa.case((e.c.kind == "sent", 0), else_=for_good(stored_table(connection)))).label("d"),
        ]
        where = (sa.or_(e.c.kind == "sent", RETURNED), e.c.recipient.is_not(None), *period.moments(LEFT))
        grouped = [sa.text("address")]
        if by not in ("domain", "all"):
            columns.append(name.label("name"))
            grouped.append(sa.text("name"))
        x = sa.select(*columns).select_from(source).where(*where).group_by(*grouped).subquery()
        # what came back without a fact that it left was sent all the same
        m = sa.case((x.c.sent < x.c.y, x.c.y), else_=x.c.sent)
        group = domain_of(engine, x.c.address) if by == "domain" else x.c.name if by != "all" else name
        sums = [m, m * m, x.c.y, x.c.y * x.c.y, m * x.c.y]
        query = sa.select(
            group.label("place"),
            sa.func.count(),
            sa.func.sum(sa.case((x.c.y > 0, 1), else_=0)),
            sa.func.sum(sa.case((x.c.d > 0, 1), else_=0)),
            sa.func.sum(x.c.d),
            *(sa.func.sum(one) for one in sums),
        ).group_by(sa.text("place"))
        return {str(place): Clusters(*(int(n) for n in found)) for place, *found in connection.execute(query)}


class Counted:
    """Clusters that are counted once: a page asks for the same ones several times. They are counted anew when a fact
    has come, or hard and soft are judged otherwise."""

    MOST = 8

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: dict[tuple[str, Period], tuple[object, dict[str, Clusters]]] = {}

    def by(self, by: str, period: Period) -> dict[str, Clusters]:
        """As :func:`clusters`."""
        state = self._state()
        kept = self._kept.get((by, period))
        if kept is None or kept[0] != state:
            if len(self._kept) >= self.MOST:
                self._kept.clear()
            kept = self._kept[by, period] = (state, clusters(self._engine, by, period))
        return kept[1]

    def all(self, period: Period) -> Clusters:
        """All addresses of a period in one; an address has one domain."""
        return sum(self.by("domain", period).values(), NOBODY)

    def _state(self) -> object:
        with explained("counting addresses"), reading(self._engine) as connection:
            return connection.execute(sa.select(sa.func.max(e.c.id))).scalar(), dict(stored_table(connection))
