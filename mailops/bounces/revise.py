"""Puts right what an old judgement of a stored report changed, when a better rule judges it otherwise."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..ledger import Fact
from ..ledger.returns import LEFT, last, taken_back, told_anew
from ..model.address import mailbox
from ..store import schema
from .correlate import Candidate
from .doubt import UNCONFIRMED, WEAK
from .reading.report import RecipientResult

e, b = schema.events, schema.bounces
NO_ERROR = "no error"  # an error exists that could not be interpreted
OUTCOMES = {"bounce": "bounced", "complaint": "complained"}


def told(result: RecipientResult | None, doubt: str = "") -> dict[str, Any]:
    """What a report says of a recipient, as it is kept with the fact. ``doubt`` says in words why a hard judgement is
    to wait for a second one, where the reader itself has no doubt."""
    if result is None:
        return {"reason": "undefined", "reply": NO_ERROR}
    waits = WEAK if result.unconfirmed else doubt
    return {
        "status": result.status,
        "reason": result.reason,
        "hard": result.hard,
        "reply": (result.diagnostic or NO_ERROR)[:1000],
        **({UNCONFIRMED: waits} if waits else {}),
    }


def revised(
    connection: Connection, bounce_id: int, result: RecipientResult | None, kind: str, *, now: datetime
) -> list[Fact]:
    """The facts that put it right. To be asked while the stored row is still as it was."""
    row = connection.execute(sa.select(b).where(b.c.id == bounce_id)).first()
    hit = None if row is None or row.mail_id is None or row.recipient is None else _candidate(connection, row)
    if row is None or hit is None:
        return []
    facts: list[Fact] = []
    old, new = OUTCOMES.get(row.kind), OUTCOMES.get(kind)
    event = last(connection, hit.mail_id, hit.recipient, old, bounce_id) if old else None
    alone = event is not None and not _told_elsewhere(connection, row)
    if event is not None and (alone if old != new else result is not None):
        facts.append(taken_back(connection, event, bounce_id=bounce_id, now=now))
    if new is None or (old == new and (event is None or result is None)):
        return facts
    if old != new and not facts and _told_already(connection, hit, new):
        return facts
    facts.append(
        told_anew(
            connection,
            new,
            mail_id=hit.mail_id,
            recipient=hit.recipient,
            message_id=hit.message_id,
            data=told(result, _doubt_of_others(event)),
            bounce_id=bounce_id,
            at=event.at if facts and event is not None else now,
            now=now,
            after=event.id if event is not None else "",
        )
    )
    return facts


def rejudged(connection: Connection, bounce_id: int, *, kind: str, reason: str, hard: bool, rule: str) -> None:
    """Write a report's new judgement on its row, beside the facts of :func:`revised`."""
    values = {"kind": kind, "reason": reason, "hard": hard, "rule": rule[:200]}
    connection.execute(sa.update(b).where(b.c.id == bounce_id).values(**values))


def _doubt_of_others(event: Any) -> str:
    """Why the old judgement waited, where that was not the reader's doubt, which is judged anew."""
    kept = str((event.data or {}).get(UNCONFIRMED) or "") if event is not None else ""
    return "" if kept == WEAK else kept


def _told_already(connection: Connection, hit: Candidate, outcome: str) -> bool:
    """Whether each time this recipient's mail left has come back already."""
    from ..ledger.returns import returned

    found = returned(
        connection,
        outcome,
        mail_id=hit.mail_id,
        recipient=hit.recipient,
        message_id=hit.message_id,
        key="",
        data={},
        bounce_id=None,
        at=hit.sent_at,
        before=Counter(),
    )
    return found.kind != outcome


def _told_elsewhere(connection: Connection, row: Any) -> bool:
    """Whether another report says the same of this delivery."""
    other = sa.select(b.c.id).where(
        b.c.mail_id == row.mail_id, b.c.normalised == row.normalised, b.c.kind == row.kind, b.c.id != row.id
    )
    return connection.execute(other.limit(1)).first() is not None


def _candidate(connection: Connection, row: Any) -> Candidate | None:
    """The delivery that a stored report was tied to."""
    sent = connection.execute(
        sa.select(e.c.message_id, e.c.recipient, e.c.at)
        .where(e.c.mail_id == row.mail_id, e.c.kind.in_(list(LEFT)), e.c.recipient.is_not(None))
        .order_by(e.c.id.desc())
    ).all()
    names = [s for s in sent if mailbox(s.recipient) == row.normalised] or (sent if len(sent) == 1 else [])
    if not names:
        return None
    return Candidate(int(row.mail_id), row.delivery_id, names[0].message_id, names[0].recipient, names[0].at)
