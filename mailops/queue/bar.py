"""Keeps mail from those who were suppressed after it was queued: asked again when a worker takes a batch.

What :mod:`.submit` does for new mail is done here for mail that waited: such a recipient fails with ``mail_bl`` and the
reason, before anything is on the wire. A mail that has nobody left is settled at once and never reaches the worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..model.address import normalise
from ..model.setup import MailClass
from ..model.states import DeliveryState, FailureType, mail_state
from ..store import schema
from ..suppression.store import Barred, blocked
from ..threads import store as people

if TYPE_CHECKING:
    from .lease import Leased

m, d, a, e, n = schema.mails, schema.deliveries, schema.attempts, schema.events, schema.notifications


def bar(connection: Connection, leased: Sequence[Leased], *, now: datetime) -> list[Leased]:
    """Settle the suppressed recipients of freshly leased mails; gives back what is still to be sent."""
    everybody = {normalise(recipient) for mail in leased for recipient in mail.recipients}
    entries = {entry.address: entry for entry in blocked(connection, everybody, now=now)}
    if not entries:
        return list(leased)
    left = []
    for mail in leased:
        out = {r: entries[normalise(r)] for r in mail.recipients if _applies(entries.get(normalise(r)), mail)}
        if not out:
            left.append(mail)
            continue
        _settle(connection, mail, out, now)
        rest = tuple(r for r in mail.recipients if r not in out)
        others = (*mail.others, *(DeliveryState.FAILED for _ in out))
        if rest:
            left.append(replace(mail, recipients=rest, others=others))
        else:
            _close(connection, mail, others, next(iter(out.values())).why, now)
    return left


def _applies(entry: Barred | None, mail: Leased) -> bool:
    return entry is not None and (entry.scope == "all" or mail.mail_class == MailClass.MASS.value)


def _settle(connection: Connection, mail: Leased, out: dict[str, Barred], now: datetime) -> None:
    for recipient, entry in out.items():
        connection.execute(
            sa.update(d)
            .where(d.c.mail_id == mail.mail_id, d.c.recipient == recipient)
            .values(
                state=DeliveryState.FAILED.value,
                failure_type=FailureType.BLACKLIST.value,
                reply=entry.why,
                stage="suppression",
                updated_at=now,
            )
        )
        values = {"at": now, "kind": "barred", "mail_id": mail.mail_id, "message_id": mail.message_id}
        connection.execute(sa.insert(e).values(**values, recipient=recipient, data={"reply": entry.why}))
        people.set_notifications(
            connection,
            n.c.mail_id == mail.mail_id,
            n.c.address == normalise(recipient),
            state="exception",
            failure_type=FailureType.BLACKLIST.value,
            reason=entry.why,
        )


def _close(connection: Connection, mail: Leased, others: Sequence[DeliveryState], why: str, now: datetime) -> None:
    """Nobody is left to send to: the mail is done, and this was no attempt."""
    connection.execute(sa.delete(a).where(a.c.id == mail.attempt_id))
    connection.execute(
        sa.update(m)
        .where(m.c.id == mail.mail_id)
        .values(
            state=mail_state(others).value,
            finished_at=now,
            failure_type=FailureType.BLACKLIST.value,
            failure_reason=why,
            attempts=m.c.attempts - 1,
            lease_owner=None,
            lease_until=None,
        )
    )
