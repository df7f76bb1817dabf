"""Brings the outcome of mails back to the notifications that caused them."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..model.address import normalise
from ..model.states import FailureType
from ..store import schema
from . import store as repo

n = schema.notifications
NO_ERROR = "no error"  # an error exists that could not be interpreted


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
