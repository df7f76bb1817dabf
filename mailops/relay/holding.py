"""What is kept of people in reports to submitters: about whom, to whom, and a server's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..ledger.erasure import Held, Person, rows_of
from ..store import schema

r = schema.reports


class SubmitterHolder:
    """Rows of the reports that went, or are to go, to submitters."""

    def find(self, connection: Connection, address: str) -> Iterable[Held]:
        told = sa.select(r).where(_of(r.c.recipient, address) | _of(r.c.address, address))
        yield rows_of(connection, "reports to submitters", told.order_by(r.c.at.desc(), r.c.mail_id.desc()))

    def forget(self, connection: Connection, person: Person) -> Mapping[str, int]:
        about = sa.update(r).where(_of(r.c.recipient, person.address))
        changed = connection.execute(about.values(recipient=person.pseudonym, why=None, reply=None)).rowcount
        to = sa.update(r).where(_of(r.c.address, person.address)).values(address=person.pseudonym)
        login = sa.update(r).where(_of(r.c.login, person.address)).values(login=person.pseudonym)
        connection.execute(login)
        return {"reports to submitters": changed + connection.execute(to).rowcount}

    def old(self, kind: str, before: datetime) -> sa.Select[Any] | None:
        if kind != "replies":
            return None
        says = sa.or_(r.c.reply.is_not(None), r.c.why.is_not(None))
        return sa.select(r.c.mail_id).where(r.c.at < before, r.c.told_at.is_not(None), says).distinct()

    def end(self, connection: Connection, kind: str, which: Sequence[Any]) -> None:
        connection.execute(sa.update(r).where(r.c.mail_id.in_(which)).values(reply=None, why=None))


def _of(column: Any, address: str) -> sa.ColumnElement[bool]:
    return sa.func.lower(column) == address
