"""What a recorded report changes: the history, the daily counters, the delivery, threads, and contacts' counters.

A delivery comes back at most once for each time it was sent, however many reports and webhooks tell of it. A report
that comes late overwrites no state a person or a retry has given the delivery since. When a better rule judges a
stored report otherwise (:func:`revise`), what the old judgement changed is put right.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..model.address import mailbox, normalise
from ..model.states import DeliveryState, FailureType, MailState, mail_state
from ..store import schema, tallies
from ..threads import store as people
from ..threads.feedback import on_bounce
from .correlate import Candidate
from .reading.report import RecipientResult

m, d, e, b, n = schema.mails, schema.deliveries, schema.events, schema.bounces, schema.notifications
NO_ERROR = "no error"  # an error exists that could not be interpreted
TAKEN_BACK = "bounced_in_error"
_COUNTED = {"bounce": "bounced", "complaint": "complained"}
_OPEN_TO_REPORTS = (DeliveryState.SENT.value, DeliveryState.BOUNCED.value)


def note(connection: Connection, kind: str, result: RecipientResult | None, hit: Candidate, *, now: datetime) -> bool:
    """The event and the daily counter of a bounce or complaint; False when this sending's is noted already."""
    outcome = _COUNTED[kind]
    rows = connection.execute(
        sa.select(e.c.kind, sa.func.count())
        .where(e.c.mail_id == hit.mail_id, e.c.recipient == hit.recipient, e.c.kind.in_(["sent", "unknown", outcome]))
        .group_by(e.c.kind)
    )
    told: dict[str, int] = {str(row[0]): int(row[1]) for row in rows}
    if told.get(outcome, 0) >= max(1, told.get("sent", 0) + told.get("unknown", 0)):
        return False
    values = {"at": now, "kind": outcome, "mail_id": hit.mail_id, "message_id": hit.message_id}
    values |= {"recipient": hit.recipient, "server_key": _server(connection, hit), "data": _data(result)}
    connection.execute(sa.insert(e).values(**values))
    _tally(connection, hit, outcome, now, 1)
    return True


def mark(
    connection: Connection, result: RecipientResult | None, hit: Candidate, bounce_id: int, *, now: datetime
) -> None:
    """The delivery, its mail and its notifications show the failure."""
    text = (result.diagnostic if result else "") or NO_ERROR
    if hit.delivery_id is not None:
        changed = connection.execute(
            sa.update(d)
            .where(d.c.id == hit.delivery_id, d.c.state.in_(_OPEN_TO_REPORTS))
            .values(
                state=DeliveryState.BOUNCED.value,
                enhanced=result.status if result else None,
                reply=text,
                stage="report",
                reason=result.reason if result else "undefined",
                failure_type=FailureType.BOUNCE.value,
                bounce_id=bounce_id,
                updated_at=now,
            )
        ).rowcount
        if not changed:
            return  # it is on its way once more, or a person has settled it
        told = {"failure_type": FailureType.BOUNCE.value, "failure_reason": f"Came back from {hit.recipient}: {text}"}
        _derive(connection, hit.mail_id, told)
    messages = sa.select(n.c.message_id).where(n.c.mail_id == hit.mail_id).distinct()
    for (message_row,) in connection.execute(messages).all():
        on_bounce(connection, int(message_row), (), hit.recipient, text)


def count(connection: Connection, address: str, hit: Candidate | None) -> None:
    """One bounce more on the contacts and records at this address, and on the record written from; each once."""
    r, c, msg = schema.records, schema.contacts, schema.messages
    contacts = [int(x[0]) for x in connection.execute(sa.select(c.c.id).where(c.c.email_normalised == address))]
    records = {int(x[0]) for x in connection.execute(sa.select(r.c.id).where(r.c.email_normalised == address))}
    if hit is not None:
        about = (
            sa.select(msg.c.record_id)
            .join(n, n.c.message_id == msg.c.id)
            .where(n.c.mail_id == hit.mail_id, msg.c.record_id.is_not(None))
        )
        records |= {int(x[0]) for x in connection.execute(about)}
    people.count_bounce(connection, contacts, sorted(records))


def revise(connection: Connection, bounce_id: int, result: RecipientResult | None, kind: str, *, now: datetime) -> None:
    """Put right what the old judgement of a stored report changed. To be called with the row still as it was."""
    row = connection.execute(sa.select(b).where(b.c.id == bounce_id)).first()
    if row is None or row.mail_id is None or row.recipient is None:
        return
    hit = _candidate(connection, row)
    if hit is None:
        return
    was, is_now = str(row.kind) in _COUNTED, kind in _COUNTED
    if was and (not is_now or row.kind != kind):
        if not _told_elsewhere(connection, row):
            _take_back(connection, hit, _COUNTED[row.kind], bounce_id, now)
        was = False
    if is_now and not was:
        if note(connection, kind, result, hit, now=now) and kind == "bounce":
            mark(connection, result, hit, bounce_id, now=now)
    elif is_now and result is not None:
        changed = {"reason": result.reason, "enhanced": result.status, "updated_at": now}
        connection.execute(sa.update(d).where(d.c.bounce_id == bounce_id).values(**changed))
        event = _last(connection, hit, _COUNTED[kind])
        if event is not None:
            connection.execute(sa.update(e).where(e.c.id == event.id).values(data=_data(result)))


def _take_back(connection: Connection, hit: Candidate, outcome: str, bounce_id: int, now: datetime) -> None:
    event = _last(connection, hit, outcome)
    if event is not None:
        connection.execute(sa.update(e).where(e.c.id == event.id).values(kind=TAKEN_BACK))
        _tally(connection, hit, outcome, event.at, -1)
    if outcome != "bounced":
        return
    back = {"state": DeliveryState.SENT.value, "enhanced": None, "reply": "", "stage": None, "reason": None}
    changed = connection.execute(
        sa.update(d)
        .where(d.c.bounce_id == bounce_id, d.c.state == DeliveryState.BOUNCED.value)
        .values(**back, failure_type=None, updated_at=now)
    ).rowcount
    if changed:
        _derive(connection, hit.mail_id, {"failure_type": None, "failure_reason": None})
    connection.execute(
        sa.update(n)
        .where(n.c.mail_id == hit.mail_id, n.c.address == normalise(hit.recipient), n.c.state == "bounce")
        .values(state="sent", failure_type=None, reason=None)
    )


def _derive(connection: Connection, mail_id: int, told: dict[str, Any]) -> None:
    """The mail's state from its deliveries."""
    rows = connection.execute(sa.select(d.c.state).where(d.c.mail_id == mail_id))
    state = mail_state([DeliveryState(row[0]) for row in rows])
    connection.execute(
        sa.update(m).where(m.c.id == mail_id, m.c.state != MailState.OUTGOING.value).values(state=state.value, **told)
    )


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
        .where(e.c.mail_id == row.mail_id, e.c.kind.in_(["sent", "unknown"]), e.c.recipient.is_not(None))
        .order_by(e.c.id.desc())
    ).all()
    names = [s for s in sent if mailbox(s.recipient) == row.normalised] or (sent if len(sent) == 1 else [])
    if not names:
        return None
    return Candidate(int(row.mail_id), row.delivery_id, names[0].message_id, names[0].recipient, names[0].at)


def _last(connection: Connection, hit: Candidate, outcome: str) -> Any:
    query = sa.select(e.c.id, e.c.at).where(
        e.c.mail_id == hit.mail_id, e.c.recipient == hit.recipient, e.c.kind == outcome
    )
    return connection.execute(query.order_by(e.c.id.desc()).limit(1)).first()


def _server(connection: Connection, hit: Candidate) -> str | None:
    query = sa.select(e.c.server_key).where(
        e.c.mail_id == hit.mail_id, e.c.recipient == hit.recipient, e.c.kind.in_(["sent", "unknown"])
    )
    return connection.execute(query.order_by(e.c.id.desc()).limit(1)).scalar()


def _tally(connection: Connection, hit: Candidate, outcome: str, at: datetime, number: int) -> None:
    born = connection.execute(
        sa.select(e.c.data).where(e.c.mail_id == hit.mail_id, e.c.kind == "submitted").limit(1)
    ).scalar()
    domain = hit.recipient.rpartition("@")[2].lower()
    sender, klass = (born or {}).get("domain") or "", (born or {}).get("class") or "transactional"
    key = (_server(connection, hit) or "", sender, domain, klass, outcome)
    tallies.add(connection, at.strftime("%Y-%m-%d"), Counter({key: number}))


def _data(result: RecipientResult | None) -> dict[str, Any]:
    if result is None:
        return {"reason": "undefined", "reply": NO_ERROR}
    return {
        "status": result.status,
        "reason": result.reason,
        "hard": result.hard,
        "reply": (result.diagnostic or NO_ERROR)[:1000],
    }
