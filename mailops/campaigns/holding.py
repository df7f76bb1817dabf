"""People in the lists of campaigns: address, fields and reason go, the row and its figure stay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..ledger.erasure import Held, Person, rows_of
from ..store import schema

r = schema.campaign_recipients


class CampaignHolder:
    """The recipients' rows."""

    def find(self, connection: Connection, address: str) -> Iterable[Held]:
        query = sa.select(r).where(_of(address)).order_by(r.c.campaign_id.desc(), r.c.number)
        yield rows_of(connection, "recipients of campaigns", query)

    def forget(self, connection: Connection, person: Person) -> Mapping[str, int]:
        mine = sa.update(r).where(_of(person.address))
        once = sa.case((r.c.normalised.is_not(None), person.pseudonym))
        gone = sa.case((r.c.state == "waiting", "invalid"), else_=r.c.state)  # nobody is left to send it to
        changed = connection.execute(
            mine.values(address=person.pseudonym, normalised=once, fields="{}", reason=None, state=gone)
        )
        return {"recipients of campaigns": changed.rowcount}

    def old(self, kind: str, before: datetime) -> sa.Select[Any] | None:
        return None

    def end(self, connection: Connection, kind: str, which: Sequence[Any]) -> None:
        """No kind ends a row."""


def _of(address: str) -> sa.ColumnElement[bool]:
    return sa.or_(r.c.normalised == address, sa.func.lower(r.c.address) == address)
