"""Entries of the suppression list outlive the address they speak of: they hold by its pseudonym."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..ledger.erasure import Held, Person, rows_of
from ..store import schema

s = schema.suppressions
WHY = "Somebody who was forgotten since."


class SuppressionHolder:
    """The list's rows."""

    def find(self, connection: Connection, address: str) -> Iterable[Held]:
        yield rows_of(connection, "suppressions", sa.select(s).where(s.c.address == address).order_by(s.c.id.desc()))

    def forget(self, connection: Connection, person: Person) -> Mapping[str, int]:
        rows = sa.update(s).where(s.c.address == person.address)
        return {"suppressions": connection.execute(rows.values(address=person.pseudonym, why=WHY)).rowcount}

    def old(self, kind: str, before: datetime) -> sa.Select[Any] | None:
        return None

    def end(self, connection: Connection, kind: str, which: Sequence[Any]) -> None:
        """No kind ends an entry: it has an end of its own, or a person's undo."""
