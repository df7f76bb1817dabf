"""What the reports that came back say of people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..ledger.erasure import Held, Person, rows_of
from ..store import schema

b = schema.bounces


class ReportHolder:
    """Reports: their rows, and the bytes that they came in. The digest stays, so that a repeated one counts once."""

    def find(self, connection: Connection, address: str) -> Iterable[Held]:
        columns = [column for column in b.columns if column.name not in ("raw", "digest")]
        told = sa.select(*columns, sa.func.length(b.c.raw).label("octets")).where(_of(address))
        yield rows_of(connection, "reports", told.order_by(b.c.id.desc()))

    def forget(self, connection: Connection, person: Person) -> Mapping[str, int]:
        shared = sa.select(sa.func.substr(b.c.digest, 1, 60)).where(_of(person.address))
        beside = sa.update(b).where(sa.func.substr(b.c.digest, 1, 60).in_(shared), ~_of(person.address))
        values = {"raw": b"", "diagnostic": None}
        others = connection.execute(beside.where(sa.func.length(b.c.raw) > 0).values(raw=b"")).rowcount
        named = {"recipient": person.pseudonym, "normalised": person.pseudonym}
        own = connection.execute(sa.update(b).where(_of(person.address)).values(**values, **named)).rowcount
        return {"reports": own + others}

    def old(self, kind: str, before: datetime) -> sa.Select[Any] | None:
        if kind != "reports":
            return None
        says = sa.or_(sa.func.length(b.c.raw) > 0, b.c.diagnostic.is_not(None))
        return sa.select(b.c.id).where(b.c.received_at < before, says).order_by(b.c.id)

    def end(self, connection: Connection, kind: str, which: Sequence[Any]) -> None:
        connection.execute(sa.update(b).where(b.c.id.in_(which)).values(raw=b"", diagnostic=None))


def _of(address: str) -> sa.ColumnElement[bool]:
    return sa.or_(b.c.normalised == address, sa.func.lower(b.c.recipient) == address)
