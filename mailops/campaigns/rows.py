"""Rows of campaigns and of their recipients, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..store import schema
from ..store.bulk import among, insert_rows, update_rows
from ..suppression.store import UNSUBSCRIBED
from .listing import Entry
from .values import ASIDE, OPEN, UNDER_WAY, Campaign, CampaignState, Standing

c, r, s = schema.campaigns, schema.campaign_recipients, schema.suppressions
BATCH = 500


def campaign_of(row: Any) -> Campaign:
    """A stored row as a value."""
    return Campaign(**{**row._mapping, "state": CampaignState(row.state)})


def campaigns(connection: Connection, *, among_states: Collection[CampaignState] | None = None) -> list[Campaign]:
    """All campaigns, or those in these states, oldest first."""
    query = sa.select(c).order_by(c.c.created_at, c.c.id)
    if among_states is not None:
        query = query.where(c.c.state.in_([state.value for state in among_states]))
    return [campaign_of(row) for row in connection.execute(query)]


def open_ones(connection: Connection) -> list[Campaign]:
    """Those that were sent or scheduled and are not finished."""
    return campaigns(connection, among_states=OPEN)


def find(connection: Connection, key: str) -> Campaign | None:
    """The campaign of a key."""
    found = connection.execute(sa.select(c).where(c.c.key == key)).first()
    return campaign_of(found) if found else None


def change(connection: Connection, campaign: Campaign, **to: Any) -> None:
    """Change columns of a campaign."""
    connection.execute(sa.update(c).where(c.c.id == campaign.id).values(**to))


def numbered(connection: Connection, number: int) -> Campaign | None:
    """The campaign of a number."""
    found = connection.execute(sa.select(c).where(c.c.id == number)).first()
    return campaign_of(found) if found else None


def counts(connection: Connection, campaign_id: int) -> dict[Standing, int]:
    """How many recipients stand where; every standing is named."""
    query = sa.select(r.c.state, sa.func.count()).where(r.c.campaign_id == campaign_id).group_by(r.c.state)
    found = {str(state): int(number) for state, number in connection.execute(query)}
    return {one: found.get(one.value, 0) for one in Standing}


def add(connection: Connection, campaign_id: int, entries: Iterable[Entry]) -> int:
    """Store a list, each address once: a further row with it is set aside. How many rows."""
    source, number = iter(entries), 0
    while chunk := list(islice(source, BATCH)):
        wanted = {entry.normalised for entry in chunk if entry.normalised}
        known = sa.select(r.c.normalised).where(r.c.campaign_id == campaign_id, among(r.c.normalised, sorted(wanted)))
        there = set(connection.execute(known).scalars())
        made = []
        for entry in chunk:
            number += 1
            row = {
                "campaign_id": campaign_id,
                "number": number,
                "address": entry.address,
                "normalised": entry.normalised,
                "fields": entry.fields,
                "state": entry.standing.value,
                "reason": entry.reason,
            }
            if entry.normalised in there:
                row |= {"normalised": None, "state": Standing.DUPLICATE.value, "reason": "the address stands above"}
            elif entry.normalised:
                there.add(entry.normalised)
            made.append(row)
        insert_rows(connection, r, made)
    return number


def set_aside(connection: Connection, campaign: Campaign, now: datetime) -> None:
    """Set those aside whom the suppression list names now, and take back whom it names no more."""
    mine = (r.c.campaign_id == campaign.id, r.c.mail_id.is_(None))
    before = [Standing.SUPPRESSED.value, Standing.OPTED_OUT.value]
    again = sa.update(r).where(*mine, r.c.state.in_(before), r.c.normalised.is_not(None))
    connection.execute(again.values(state=Standing.WAITING.value, reason=None))
    standing = (s.c.state == "active", sa.or_(s.c.until.is_(None), s.c.until > now))
    for where, standing_now in ((s.c.source == UNSUBSCRIBED, Standing.OPTED_OUT), (sa.true(), Standing.SUPPRESSED)):
        entry = sa.select(s.c.why).where(s.c.address == r.c.normalised, *standing, where)
        why = entry.order_by(s.c.id.desc()).limit(1).scalar_subquery()
        named = sa.select(s.c.address).where(*standing, where)
        waiting = sa.update(r).where(*mine, r.c.state == Standing.WAITING.value, r.c.normalised.in_(named))
        connection.execute(waiting.values(state=standing_now.value, reason=why))


def waiting(connection: Connection, campaign: Campaign, most: int) -> Sequence[Any]:
    """The next recipients that wait, by number: resuming is this query."""
    query = sa.select(r.c.number, r.c.address, r.c.normalised, r.c.fields, r.c.mail_id)
    query = query.where(r.c.campaign_id == campaign.id, r.c.state == Standing.WAITING.value)
    return connection.execute(query.order_by(r.c.number).limit(most).with_for_update(skip_locked=True)).all()


def domains(connection: Connection, campaign: Campaign) -> dict[str, int]:
    """How many wait, by the domain of their address."""
    found: dict[str, int] = {}
    query = sa.select(r.c.normalised).where(r.c.campaign_id == campaign.id, r.c.state == Standing.WAITING.value)
    for address in connection.execute(query).scalars():
        name = str(address).rpartition("@")[2].lower()
        found[name] = found.get(name, 0) + 1
    return found


def only_under_way(connection: Connection, campaign: Campaign) -> bool:
    """Whether nobody waits, and something has no last answer."""
    query = sa.select(r.c.number).where(r.c.campaign_id == campaign.id, r.c.state == Standing.WAITING.value).limit(1)
    return connection.execute(query).first() is None and is_under_way(connection, campaign)


def is_under_way(connection: Connection, campaign: Campaign) -> bool:
    """Whether a mail of it has no last answer."""
    states = [one.value for one in UNDER_WAY]
    query = sa.select(r.c.number).where(r.c.campaign_id == campaign.id, r.c.state.in_(states)).limit(1)
    return connection.execute(query).first() is not None


def under_way(connection: Connection, campaign: Campaign) -> list[int]:
    """The mails that have no last answer."""
    states = [one.value for one in UNDER_WAY]
    query = sa.select(r.c.mail_id).where(r.c.campaign_id == campaign.id, r.c.state.in_(states))
    return [int(mail_id) for mail_id in connection.execute(query).scalars() if mail_id is not None]


def settle(connection: Connection, rows: Sequence[Mapping[str, Any]], *keys: str) -> None:
    """Set state, reason and what else the rows name of recipients, found by campaign, number and ``keys``."""
    update_rows(connection, r, ["campaign_id", "number", *keys], rows)


def listed(
    connection: Connection, campaign: Campaign, *, aside: bool, state: Standing | None, limit: int
) -> Sequence[Any]:
    """Rows of a list for people: those of a state, or all that were set aside."""
    query = sa.select(r.c.number, r.c.address, r.c.state, r.c.reason, r.c.mail_id).where(r.c.campaign_id == campaign.id)
    if state is not None:
        query = query.where(r.c.state == state.value)
    elif aside:
        query = query.where(r.c.state.in_([one.value for one in ASIDE]))
    return connection.execute(query.order_by(r.c.number).limit(limit)).all()
