"""What the intake keeps of people: the bytes that came in, and who wrote them to whom for as long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..ledger.erasure import Held, Person, mentions, rows_of
from . import intake_rows as rows
from .counts import State
from .intake_rows import i, raws

FORGOTTEN = "somebody in it was forgotten before it was decided"


class IntakeHolder:
    """Rows and bytes of the intake. The row stays, so that the sums stay right; Message-ID and digest tell nobody."""

    def find(self, connection: Connection, address: str) -> Iterable[Held]:
        shown = (i.c.id, i.c.account, i.c.folder, i.c.state, i.c.sender, i.c.recipients, i.c.seen_at, i.c.reason)
        yield rows_of(connection, "received mail", sa.select(*shown).where(_of(address)).order_by(i.c.id.desc()))

    def forget(self, connection: Connection, person: Person) -> Mapping[str, int]:
        found = connection.execute(sa.select(i.c.id, i.c.state).where(_of(person.address))).all()
        for row in found:
            if row.state in rows.KEPT:
                rows.change(connection, row.id, state=State.SKIPPED.value, reason=FORGOTTEN)
            else:
                rows.change(connection, row.id, reason=None, given=None)
        rows.without_bytes(connection, [row.id for row in found])
        return {"received mail": len(found)}

    def old(self, kind: str, before: datetime) -> sa.Select[Any] | None:
        """Bytes of what is decided. What lies on the shelf waits for somebody, and is not lost to a date."""
        if kind != "received":
            return None
        kept = sa.select(i.c.id).join(raws, raws.c.intake_id == i.c.id)
        return kept.where(i.c.done_at < before, i.c.state.not_in(rows.KEPT)).order_by(i.c.id)

    def end(self, connection: Connection, kind: str, which: Sequence[Any]) -> None:
        rows.without_bytes(connection, list(which))


def _of(address: str) -> sa.ColumnElement[bool]:
    return sa.or_(
        i.c.sender == address, *(mentions(column, address) for column in (i.c.recipients, i.c.reason, i.c.given))
    )
