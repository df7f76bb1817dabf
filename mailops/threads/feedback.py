"""Brings the outcome of mails back to the notifications that caused them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..model.address import normalise
from ..model.states import DeliveryState, FailureType
from ..store import schema
from ..store.database import explained
from . import store as repo

if TYPE_CHECKING:
    from ..queue.lease import Settled

n = schema.notifications
NO_ERROR = "no error"  # an error exists that could not be interpreted
_STATES = {
    DeliveryState.PENDING: "ready",
    DeliveryState.SENT: "sent",
    DeliveryState.FAILED: "exception",
    DeliveryState.BOUNCED: "bounce",
    DeliveryState.CANCELLED: "canceled",
    DeliveryState.IGNORED: "canceled",
}


def settled(engine: Engine, done: Sequence[Settled]) -> None:
    """Take in what the queue worker settled; called after its own commit."""
    with explained("noting deliveries in threads"), engine.begin() as connection:
        for item in done:
            if item.mail.thread_message_id is None:
                continue
            for row in item.outcome.deliveries:
                failure = item.outcome.failure_type if row.state is DeliveryState.FAILED else None
                on_delivery(connection, item.mail.mail_id, row.recipient, row.state, row.reply, failure)


def on_delivery(
    connection: Connection,
    mail_id: int,
    recipient: str,
    state: DeliveryState,
    reason: str | None = None,
    failure_type: FailureType | None = None,
) -> int:
    """One recipient's outcome. A notification that a person ignored, or that bounced, is not made fresh again."""
    failed = state in (DeliveryState.FAILED, DeliveryState.BOUNCED)
    return repo.set_notifications(
        connection,
        n.c.mail_id == mail_id,
        n.c.address == normalise(recipient),
        n.c.state.not_in(("canceled", "bounce")),
        state=_STATES[state],
        failure_type=(failure_type or FailureType.SMTP).value if failed else None,
        reason=(reason or NO_ERROR) if failed else None,
    )


def on_bounce(
    connection: Connection, message_row: int, contact_ids: Collection[int], address: str | None, reason: str | None
) -> int:
    """A delivery report for one message: the notifications of these contacts, or to this address, turn red."""
    who: list[sa.ColumnElement[bool]] = [n.c.contact_id.in_([int(i) for i in contact_ids])]
    if address:
        who.append(n.c.address == normalise(address))
    return repo.set_notifications(
        connection,
        n.c.message_id == message_row,
        n.c.channel == "email",
        n.c.state != "canceled",
        sa.or_(*who),
        state="bounce",
        failure_type=FailureType.BOUNCE.value,
        reason=reason or NO_ERROR,
    )
