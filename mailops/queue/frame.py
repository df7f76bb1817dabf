"""The queue as a pandas frame."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..model.mail import DeliveryView, MailView
from ..model.reasons import plain
from ..model.states import DeliveryState

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = [
    "mail",
    "state",
    "from",
    "subject",
    "recipient",
    "recipient_state",
    "code",
    "enhanced",
    "reason",
    "error",
    "reply",
    "server",
    "attempts",
    "created_at",
    "due_at",
]


def error_words(delivery: DeliveryView) -> str:
    """The error in words: ``no error`` for a failure that nobody could interpret, "" where nothing failed."""
    if delivery.state not in (DeliveryState.FAILED, DeliveryState.BOUNCED):
        return ""
    if delivery.cause and delivery.cause != "undefined":
        return plain(delivery.cause)
    return delivery.reply or plain("undefined")


def queue_frame(mails: Iterable[MailView]) -> pd.DataFrame:
    """One row per recipient of the given mails; times are UTC. ``error`` is the failure in words."""
    rows = [
        (
            mail.id,
            mail.state.label,
            mail.header_from,
            mail.subject,
            delivery.recipient,
            delivery.state.label,
            delivery.code,
            delivery.enhanced,
            delivery.cause,
            error_words(delivery),
            delivery.reply,
            mail.server_key,
            mail.attempts,
            mail.created_at,
            mail.due_at,
        )
        for mail in mails
        for delivery in mail.deliveries
    ]
    import pandas as pd

    return pd.DataFrame(rows, columns=COLUMNS)
