"""What logs told of people beside the facts: senders, sign-ins and clients of queued mail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..ledger.erasure import Held, Person, rows_of
from ..store import schema

g = schema.log_mails


class LogHolder:
    """Rows of mails that logs told of."""

    def find(self, connection: Connection, address: str) -> Iterable[Held]:
        theirs = sa.func.lower(g.c.sender) == address
        signed = sa.func.lower(g.c.login) == address
        query = sa.select(g.c.first_at, g.c.host, g.c.queue_id, g.c.sender, g.c.login, g.c.client, g.c.message_id)
        yield rows_of(connection, "mails in logs", query.where(theirs | signed).order_by(g.c.id.desc()))

    def forget(self, connection: Connection, person: Person) -> Mapping[str, int]:
        sender = sa.update(g).where(sa.func.lower(g.c.sender) == person.address)
        changed = connection.execute(sender.values(sender=person.pseudonym, client=None)).rowcount
        login = sa.update(g).where(sa.func.lower(g.c.login) == person.address)
        return {"mails in logs": changed + connection.execute(login.values(login=person.pseudonym)).rowcount}

    def old(self, kind: str, before: datetime) -> sa.Select[Any] | None:
        return sa.select(g.c.id).where(g.c.last_at < before).order_by(g.c.id) if kind == "logs" else None

    def end(self, connection: Connection, kind: str, which: Sequence[Any]) -> None:
        connection.execute(sa.delete(g).where(g.c.id.in_(which)))
