"""Plain frames of what the queue holds."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from ..model.mail import MailView

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
    "reply",
    "server",
    "attempts",
    "created_at",
    "due_at",
]


def queue_frame(mails: Iterable[MailView]) -> pd.DataFrame:
    """One row per recipient of the given mails; times are UTC."""
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
            delivery.reason,
            delivery.reply,
            mail.server_key,
            mail.attempts,
            mail.created_at,
            mail.due_at,
        )
        for mail in mails
        for delivery in mail.deliveries
    ]
    return pd.DataFrame(rows, columns=COLUMNS)
