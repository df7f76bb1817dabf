"""What the ledger tells the relay: recipients of a program's mail who will not get it, each noted once.

Only mail that was relayed for a program is noted; whether its submitter is told is decided later, with the whole mail
at hand (:mod:`.reporting`). What a person tries again, and what was a bounce in error, is taken off while nobody was
told.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..ledger import Fact
from ..store import schema
from ..store.bulk import insert_rows

m, r = schema.mails, schema.reports
CHUNK = 500
_NOTED = frozenset({"failed", "barred", "bounced"})


class RelayListener:
    """Notes whom a program's mail does not reach."""

    name = "relay"
    kinds = _NOTED | {"retried", "bounced_in_error"}

    def hear(self, connection: Connection, facts: Sequence[Fact], *, now: datetime) -> Sequence[Fact]:
        """Apply a batch; what is told of it follows when the mail is done."""
        mails = _relayed(connection, {fact.mail_id for fact in facts if fact.mail_id is not None})
        for fact in facts:
            if fact.mail_id not in mails or not fact.recipient:
                continue
            key = (r.c.mail_id == fact.mail_id, r.c.recipient == fact.recipient)
            if fact.kind not in _NOTED:
                connection.execute(sa.delete(r).where(*key, r.c.state == "due"))
            elif connection.execute(sa.select(r.c.state).where(*key)).first() is None:
                insert_rows(connection, r, [_row(fact, mails[fact.mail_id], now)])
        return ()


def _relayed(connection: Connection, mails: set[int]) -> dict[int | None, Any]:
    found: dict[int | None, Any] = {}
    ids = sorted(mails)
    for at in range(0, len(ids), CHUNK):
        query = sa.select(m.c.id, m.c.return_path, m.c.login)
        query = query.where(m.c.id.in_(ids[at : at + CHUNK]), m.c.bounces.is_not(None))
        found.update((int(row.id), row) for row in connection.execute(query))
    return found


def _row(fact: Fact, mail: Any, now: datetime) -> dict[str, Any]:
    data = fact.data or {}
    return {
        "mail_id": fact.mail_id,
        "recipient": fact.recipient,
        "address": mail.return_path or "",
        "login": mail.login,
        "kind": fact.kind,
        "state": "due",
        "code": data.get("code") or None,
        "status": str(data.get("enhanced") or data.get("status") or "")[:20] or None,
        "reply": str(data.get("reply") or "")[:4000],
        "at": now,
    }
