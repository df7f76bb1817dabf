"""What the ledger tells the threads: notifications follow their mails, contacts' counters follow what came back.

A notification that a person ignored, or that bounced, is not made fresh again by a late answer; *Retry* makes it ready,
*Cancel Email* and *ignore* turn it white. A bounce marks only what still stands as bounced: the mail may be on its way
once more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..ledger import Fact
from ..model.address import mailbox, normalise
from ..model.states import DeliveryState, FailureType
from ..store import schema
from . import store as repo
from .feedback import NO_ERROR, on_bounce
from .reports import fail

n, d = schema.notifications, schema.deliveries
CHUNK = 500
_SETTLED = frozenset({"canceled", "bounce"})
_TO = {
    "sent": "sent",
    "deferred": "ready",
    "unknown": "ready",
    "failed": "exception",
    "barred": "exception",
    "retried": "ready",
    "cancelled": "canceled",
    "ignored": "canceled",
    "bounced_in_error": "sent",
}
"""What each kind makes of a notification, beside ``bounced``."""


class ThreadsListener:
    """Keeps notifications and bounce counters in step."""

    name = "threads"
    kinds = frozenset({*_TO, "bounced", "reported"})

    def hear(self, connection: Connection, facts: Sequence[Fact], *, now: datetime) -> Sequence[Fact]:
        """Apply a batch; nothing further follows."""
        linked = _linked(connection, {fact.mail_id for fact in facts if fact.mail_id is not None})
        changes: defaultdict[tuple[Any, ...], list[int]] = defaultdict(list)
        state = {row.id: row.state for rows in linked.values() for row in rows}
        for fact in facts:
            if fact.kind in _TO:
                for row in _of(fact, linked):
                    if _may(fact, state[row.id]):
                        state[row.id] = _TO[fact.kind]
                        changes[_values(fact)].append(row.id)
            elif fact.kind == "bounced":
                _flush(connection, changes)
                self._bounced(connection, fact, linked)
                state.update((row.id, "bounce") for row in _of(fact, linked))
            elif (fact.data or {}).get("kind") == "bounced":
                _flush(connection, changes)
                _untied(connection, fact)
        _flush(connection, changes)
        return ()

    @staticmethod
    def _bounced(connection: Connection, fact: Fact, linked: dict[int, list[Any]]) -> None:
        data = fact.data or {}
        if fact.mail_id in linked and _still_back(connection, fact):
            for message_row in sorted({row.message_id for row in linked[fact.mail_id]}):
                on_bounce(connection, message_row, (), fact.recipient, str(data.get("reply") or NO_ERROR))
        if not data.get("judged_anew"):
            _count(connection, fact)


def _untied(connection: Connection, fact: Fact) -> None:
    """A return that fits no mail of ours; it may name a message all the same."""
    data = fact.data or {}
    if data.get("message") is not None:
        fail(connection, int(data["message"]), fact.recipient, data.get("reply"))
    if fact.recipient:
        _count(connection, fact)


def _linked(connection: Connection, mails: set[int]) -> dict[int, list[Any]]:
    """The notifications of these mails."""
    found: defaultdict[int, list[Any]] = defaultdict(list)
    ids = sorted(mails)
    for at in range(0, len(ids), CHUNK):
        query = sa.select(n.c.id, n.c.mail_id, n.c.message_id, n.c.address, n.c.state)
        for row in connection.execute(query.where(n.c.mail_id.in_(ids[at : at + CHUNK])).order_by(n.c.id)):
            found[int(row.mail_id)].append(row)
    return dict(found)


def _of(fact: Fact, linked: dict[int, list[Any]]) -> Iterable[Any]:
    rows = linked.get(fact.mail_id or 0, ())
    if not rows:
        return ()
    address = normalise(fact.recipient or "")
    return [row for row in rows if row.address == address]


def _may(fact: Fact, state: str) -> bool:
    """Whether a fact may change a notification in this state."""
    if fact.kind in ("retried", "cancelled", "ignored"):
        return True
    return state == "bounce" if fact.kind == "bounced_in_error" else state not in _SETTLED


def _values(fact: Fact) -> tuple[str, str | None, str | None]:
    """State, failure type and reason."""
    if fact.kind not in ("failed", "barred"):
        return _TO[fact.kind], None, None
    failure = FailureType.BLACKLIST if fact.kind == "barred" else FailureType.SMTP
    return _TO[fact.kind], failure.value, str((fact.data or {}).get("reply") or NO_ERROR)


def _flush(connection: Connection, changes: defaultdict[tuple[Any, ...], list[int]]) -> None:
    for (state, failure, reason), ids in changes.items():
        for at in range(0, len(ids), CHUNK):
            which = n.c.id.in_(ids[at : at + CHUNK])
            if state == "canceled":  # why it had failed stays to be read
                repo.set_notifications(connection, which, state=state)
            else:
                repo.set_notifications(connection, which, state=state, failure_type=failure, reason=reason)
    changes.clear()


def _still_back(connection: Connection, fact: Fact) -> bool:
    """Whether the delivery stands as bounced; one that is gone with its mail counts as such."""
    query = sa.select(d.c.state).where(d.c.mail_id == fact.mail_id, d.c.recipient == fact.recipient)
    return connection.execute(query).scalar() in (None, DeliveryState.BOUNCED.value)


def _count(connection: Connection, fact: Fact) -> None:
    """One bounce more on the contacts and records at this address, and on the record written from; each once."""
    r, c, msg = schema.records, schema.contacts, schema.messages
    address = mailbox(fact.recipient or "")[:320]
    contacts = [int(x[0]) for x in connection.execute(sa.select(c.c.id).where(c.c.email_normalised == address))]
    records = {int(x[0]) for x in connection.execute(sa.select(r.c.id).where(r.c.email_normalised == address))}
    if fact.mail_id is not None:
        about = (
            sa.select(msg.c.record_id)
            .join(n, n.c.message_id == msg.c.id)
            .where(n.c.mail_id == fact.mail_id, msg.c.record_id.is_not(None))
        )
        records |= {int(x[0]) for x in connection.execute(about)}
    repo.count_bounce(connection, contacts, sorted(records))
