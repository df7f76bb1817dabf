"""What came back for a recipient whose mail had been taken: told once for each time it was sent, and taken back.

A delivery comes back at most once for each time it left, however many reports and webhooks tell of it; what tells of
the same again is a fact of its own (``told_again``), for those who weigh how often and by whom it was said. A judgement
that a better rule changes is taken back by a fact with the same moment, and told anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..model.reasons import plain
from ..model.states import DeliveryState, FailureType
from ..store import schema
from . import sendings
from .book import standing
from .counts import dimensions
from .facts import Counted, Fact, key_of

d, e = schema.deliveries, schema.events
LEFT = ("sent", "unknown")
TAKEN_BACK = {"bounced": "bounced_in_error", "complained": "complained_in_error"}


def returned(
    connection: Connection,
    outcome: str,
    *,
    mail_id: int,
    recipient: str,
    message_id: str | None,
    key: str,
    data: Mapping[str, Any],
    bounce_id: int | None,
    at: datetime,
    before: Counter[tuple[int, str]],
) -> Fact:
    """The fact of a bounce or complaint (``outcome``: bounced, complained) of one recipient of a mail of ours.

    ``before`` counts what the same report told of already, and is counted up.
    """
    query = (
        sa.select(e.c.kind, sa.func.count())
        .where(e.c.mail_id == mail_id, e.c.recipient == recipient, e.c.kind.in_([*LEFT, outcome]), standing())
        .group_by(e.c.kind)
    )
    told = {str(kind): int(number) for kind, number in connection.execute(query)}
    number = told.get(outcome, 0) + before[mail_id, recipient]
    if number >= max(1, told.get("sent", 0) + told.get("unknown", 0)):
        kept = {**data, "kind": outcome}
        return Fact("told_again", at, key, mail_id, recipient, message_id, actor=data.get("source"), data=kept)
    before[mail_id, recipient] += 1
    return _fact(connection, outcome, mail_id, recipient, message_id, key, data, bounce_id, at, at)


def unmatched(address: str | None, outcome: str, *, key: str, data: Mapping[str, Any], at: datetime) -> Fact:
    """The fact of a report that fits no mail of ours; ``message`` in ``data`` is an entry of a thread that it names."""
    return Fact("reported", at, key, None, address, actor=data.get("source"), data={**data, "kind": outcome})


def _fact(
    connection: Connection,
    outcome: str,
    mail_id: int,
    recipient: str,
    message_id: str | None,
    key: str,
    data: Mapping[str, Any],
    bounce_id: int | None,
    at: datetime,
    now: datetime,
) -> Fact:
    text = str(data.get("reply") or "")
    server, left = _left(connection, mail_id, recipient)
    row = {
        "enhanced": data.get("status"),
        "reply": text,
        "stage": "report",
        "reason": data.get("reason") or "undefined",
        "failure_type": FailureType.BOUNCE.value,
        "bounce_id": bounce_id,
        "updated_at": now,
    }
    why = f"Came back from {recipient}: {_interpreted(text, data)}"
    told = {"failure_type": FailureType.BOUNCE.value, "failure_reason": why}
    if outcome == "bounced" and (took := acceptances(connection, mail_id).get(recipient)):
        data = {**data, "accepted": took[:1000]}  # the delivery speaks of the return from now on
    return Fact(
        outcome,
        at,
        key,
        mail_id,
        recipient,
        message_id,
        server,
        data={**data, "bounce": bounce_id},
        left_at=left,
        counted=Counted(*dimensions(connection, mail_id), outcome),
        row=row if outcome == "bounced" else None,
        told=told,
    )


def _interpreted(text: str, data: Mapping[str, Any]) -> str:
    """A report's words; before those that nobody can interpret, and that come without a status, stands ``no error``
    (IN-18)."""
    clear = data.get("status") or data.get("reason") not in (None, "undefined", "onhold")
    none = plain("undefined")
    return text if clear or text in ("", none) else f"{none} ({text})"


def acceptances(connection: Connection, mail_id: int) -> dict[str, str]:
    """What servers said as they took a mail, by recipient: it stands with the delivery, and of one that came back with
    the fact of its return."""
    took = {}
    kept = (
        sa.select(e.c.recipient, e.c.data).where(e.c.mail_id == mail_id, e.c.kind == "bounced").order_by(e.c.id.desc())
    )
    for recipient, data in connection.execute(kept):
        if words := (data or {}).get("accepted"):
            took[str(recipient)] = str(words)
    now = sa.select(d.c.recipient, d.c.reply).where(d.c.mail_id == mail_id, d.c.state == DeliveryState.SENT.value)
    return took | {str(recipient): str(reply) for recipient, reply in connection.execute(now) if reply}


def last(connection: Connection, mail_id: int, recipient: str, outcome: str, bounce_id: int) -> Any:
    """The standing fact that a report told, else the newest of this recipient; None when there is none."""
    query = sa.select(e).where(e.c.mail_id == mail_id, e.c.recipient == recipient, e.c.kind == outcome, standing())
    rows = connection.execute(query.order_by(e.c.id.desc())).all()
    return next((row for row in rows if (row.data or {}).get("bounce") == bounce_id), rows[0] if rows else None)


def taken_back(connection: Connection, event: Any, *, bounce_id: int, now: datetime) -> Fact:
    """The fact that an older one was wrong. The delivery goes back to *Sent* where that report had marked it."""
    marked = sa.select(d.c.id).where(
        d.c.mail_id == event.mail_id, d.c.recipient == event.recipient, d.c.bounce_id == bounce_id
    )
    row = {"enhanced": None, "reply": "", "stage": None, "reason": None, "failure_type": None, "updated_at": now}
    moves = event.kind == "bounced" and connection.execute(marked).first() is not None
    return Fact(
        TAKEN_BACK[event.kind],
        event.at,
        key_of("u", event.id),
        event.mail_id,
        event.recipient,
        event.message_id,
        event.server_key,
        data={"was": event.kind, "bounce": bounce_id, "reason": (event.data or {}).get("reason")}
        | ({} if moves else {"stands": True}),
        undoes=event.id,
        left_at=event.left_at,
        counted=Counted(*dimensions(connection, event.mail_id), event.kind),
        row=row if moves else None,
        told={"failure_type": None, "failure_reason": None},
    )


def told_anew(
    connection: Connection,
    outcome: str,
    *,
    mail_id: int,
    recipient: str,
    message_id: str | None,
    data: Mapping[str, Any],
    bounce_id: int,
    at: datetime,
    now: datetime,
    after: object,
) -> Fact:
    """A judgement as today's rules have it, at the moment ``at`` of the old one; nobody is counted twice for it."""
    again = {**data, "judged_anew": True}
    key = key_of("u", bounce_id, after, outcome, mail_id, recipient)
    return _fact(connection, outcome, mail_id, recipient, message_id, key, again, bounce_id, at, now)


def _left(connection: Connection, mail_id: int, recipient: str) -> tuple[str | None, datetime | None]:
    """The server that took a mail for a recipient last, and when it was first handed over."""
    sending = sendings.fold(sendings.read(connection, [mail_id]).get((mail_id, recipient), ()))
    return (sending.server or None, sending.left_at) if sending else (None, None)
