"""The bytes of mails, which Auto-Vacuum ends and forgetting removes. A mail without them cannot be tried again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..ledger.erasure import Held, Person, mentions, rows_of
from ..model.states import MailState
from ..store import schema

m, c, d = schema.mails, schema.contents, schema.deliveries


class ContentHolder:
    """Message bytes."""

    def find(self, connection: Connection, address: str) -> Iterable[Held]:
        query = sa.select(c.c.mail_id, sa.func.length(c.c.raw).label("octets")).where(c.c.mail_id.in_(_whose(address)))
        yield rows_of(connection, "message bytes", query.order_by(c.c.mail_id.desc()))

    def forget(self, connection: Connection, person: Person) -> Mapping[str, int]:
        done = sa.select(m.c.id).where(m.c.state != MailState.OUTGOING.value, m.c.lease_owner.is_(None))
        which = (c.c.mail_id.in_(_whose(person.address)), c.c.mail_id.in_(done))
        gone = connection.execute(sa.delete(c).where(*which))
        return {"message bytes": gone.rowcount}

    def old(self, kind: str, before: datetime) -> sa.Select[Any] | None:
        if kind != "messages":
            return None
        done = (m.c.state != MailState.OUTGOING.value, m.c.lease_owner.is_(None), m.c.finished_at < before)
        return sa.select(c.c.mail_id).join(m, m.c.id == c.c.mail_id).where(*done).order_by(c.c.mail_id)

    def end(self, connection: Connection, kind: str, which: Sequence[Any]) -> None:
        connection.execute(sa.delete(c).where(c.c.mail_id.in_(which)))


def _whose(address: str) -> sa.CompoundSelect[tuple[int]]:
    """The mails to an address, those by it, and our own reports about it to the programs that handed mail over."""
    r = schema.reports
    to = sa.select(d.c.mail_id).where(d.c.normalised == address)
    told = sa.select(r.c.report_id).where(sa.func.lower(r.c.recipient) == address, r.c.report_id.is_not(None))
    return to.union(sa.select(m.c.id).where(mentions(m.c.header_from, address)), told)
