"""Failures that nobody explains: which come again, and what to hand to support (:func:`recurring` decides when)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..store import schema
from ..store.database import explained, reading
from .sql import FAILED, REASON, UNEXPLAINED, domain_of

e, b = schema.events, schema.bounces
DAYS, OFTEN = 7, 3  # so many for one address or domain in so many days are a matter for support


@dataclass(frozen=True, slots=True)
class Recurring:
    """``count`` unexplained failures for one address or domain (``what``) within :data:`DAYS` days."""

    what: str  # address, domain
    name: str
    count: int
    mail: int | None = None  # the newest one's mail, where it is one of ours

    @property
    def suggestion(self) -> str:
        """What a person is told."""
        return (
            f"{self.count:,} unexplained failures for the {self.what} {self.name} in {DAYS} days: "
            f"contact support, with {self._bundle}`mailops bounces collect {self.name} -o FILE` puts together what"
            " is kept of all of them, with names."
        )

    @property
    def _bundle(self) -> str:
        """The bundle of the newest, which names nobody."""
        return f"`mailops support bundle --mail {self.mail} --out FILE.zip`; " if self.mail else ""


def recurring(engine: Engine, *, now: datetime, limit: int = 50) -> list[Recurring]:
    """Addresses and domains with at least :data:`OFTEN` unexplained failures, most first.

    An address is not named again by its domain unless the domain has more. Stored reports that fit no mail of ours
    count too. At most ``limit`` of each kind.
    """
    since = now - timedelta(days=DAYS)
    told = sa.select(sa.func.lower(e.c.recipient).label("address"), e.c.mail_id).where(
        FAILED, e.c.recipient.is_not(None), e.c.at >= since, REASON.in_(UNEXPLAINED)
    )
    reason = sa.func.coalesce(b.c.reason, "undefined")
    loose = sa.select(b.c.normalised.label("address"), b.c.mail_id).where(
        b.c.mail_id.is_(None),
        b.c.kind == "bounce",
        b.c.normalised.is_not(None),
        b.c.received_at >= since,
        reason.in_(UNEXPLAINED),
    )
    both = sa.union_all(told, loose).subquery()
    found: dict[str, list[tuple[str, int, int | None]]] = {}
    with explained("counting unexplained failures"), reading(engine) as connection:
        for what, name in (("address", both.c.address), ("domain", domain_of(engine, both.c.address))):
            number = sa.func.count()
            query = sa.select(name, number, sa.func.max(both.c.mail_id)).group_by(name).having(number >= OFTEN)
            rows = connection.execute(query.order_by(number.desc(), name).limit(limit)).all()
            found[what] = [(str(row[0]), int(row[1]), _positive(row[2])) for row in rows if row[0]]
    single: dict[str, int] = {}
    for address, count, _ in found["address"]:
        domain = address.rpartition("@")[2]
        single[domain] = max(single.get(domain, 0), count)
    domains = [Recurring("domain", name, n, mail) for name, n, mail in found["domain"] if n > single.get(name, 0)]
    people = [Recurring("address", name, n, mail) for name, n, mail in found["address"]]
    return sorted(people + domains, key=lambda one: (-one.count, one.name))


def _positive(number: int | None) -> int | None:
    """A mail of the queue; those that only logs know are numbered below zero."""
    return int(number) if number is not None and number > 0 else None


def senders(engine: Engine, *, since: datetime, limit: int = 3) -> list[tuple[str, int]]:
    """The From domains of unexplained failures since then with their number, most first: whose DNS to look at."""
    born = e.alias("born")
    name = sa.func.coalesce(born.c.data["domain"].as_string(), "")
    number = sa.func.count()
    query = (
        sa.select(name, number)
        .select_from(e.join(born, sa.and_(born.c.mail_id == e.c.mail_id, born.c.kind == "submitted")))
        .where(FAILED, e.c.at >= since, REASON.in_(UNEXPLAINED), name != "")
        .group_by(name)
        .order_by(number.desc(), name)
        .limit(limit)
    )
    with explained("looking for unexplained failures"), reading(engine) as connection:
        return [(str(domain), int(count)) for domain, count in connection.execute(query)]
