"""What a delivery report means for a discussion whose message it names, where no delivery of ours is tied to it.

That is so when the report names nobody, when its mail was not settled yet, or when it is about mail that somebody else
sent with that Message-ID. Tied reports reach threads by way of the delivery.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..model.address import normalise
from . import store as repo
from .feedback import NO_ERROR, on_bounce


@dataclass(frozen=True, slots=True)
class Discussed:
    """A message of ours that a report names: its row and Message-ID, and the addresses it was mailed to."""

    message: int
    message_id: str
    notified: tuple[str, ...]


def find(connection: Connection, ids: Sequence[Sequence[str]]) -> Discussed | None:
    """The newest known message of the first group of Message-IDs that names one."""
    m = repo.m
    for group in ids:
        query = sa.select(m.c.id, m.c.message_id).where(m.c.message_id.in_(list(group))).order_by(m.c.id.desc())
        row = connection.execute(query.limit(1)).first()
        if row is not None:
            told = repo.notifications_of(connection, int(row.id))
            mailed = (x.address for x in told if x.channel == "email" and x.address)
            return Discussed(int(row.id), row.message_id, tuple(dict.fromkeys(mailed)))
    return None


def fail(connection: Connection, message: int, address: str | None, text: str | None) -> None:
    """The message turns red for this address; for all it was mailed to when nobody is named and nobody is red yet.
    A bounce of an address counts on the message's record too, once."""
    if address is None:
        told = repo.notifications_of(connection, message)
        if not any(x.state == "bounce" for x in told):
            on_bounce(connection, message, [x.contact_id for x in told if x.contact_id], None, NO_ERROR)
        return
    on_bounce(connection, message, (), address, text or NO_ERROR)
    entry = repo.message(connection, message)
    record = repo.record(connection, entry.record_id) if entry is not None and entry.record_id is not None else None
    if record is not None and repo.address_of(record.email) != normalise(address):
        repo.count_bounce(connection, (), (record.id,))
