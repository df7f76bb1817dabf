"""What the ledger tells a campaign: what became of each recipient's mail.

A campaign's mail is known by its Message-ID, so that all other mail costs nothing here; that its number is the mail's
too keeps out whoever borrows such an id. A mail that the campaign itself took back waits again; one that a person
cancelled is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..ledger import Fact
from ..store.bulk import among
from . import rows
from .values import Standing, place_of

OURS = "campaign:"
"""Begins the actor of what a campaign does with its own mails."""
_BECOMES = {
    "sent": Standing.SENT,
    "failed": Standing.FAILED,
    "barred": Standing.SUPPRESSED,
    "unknown": Standing.UNKNOWN,
    "deferred": Standing.SENDING,
    "retried": Standing.SENDING,
    "cancelled": Standing.FAILED,
}


class CampaignListener:
    """Keeps recipients' rows."""

    name = "campaigns"
    kinds = frozenset(_BECOMES)

    def hear(self, connection: Connection, facts: Sequence[Fact], *, now: datetime) -> Sequence[Fact]:
        """Apply a batch, in one statement."""
        last: dict[tuple[int, int], dict[str, object]] = {}
        for fact in facts:
            place = place_of(fact.message_id)
            if place is None or fact.mail_id is None:
                continue
            standing, reason = _told(fact)
            row = {"campaign_id": place.campaign, "number": place.number, "mail_id": fact.mail_id}
            last[place.campaign, place.number] = {**row, "state": standing.value, "reason": reason}
        if last:
            rows.settle(connection, list(last.values()), "mail_id")
            touched = sa.update(rows.c).where(among(rows.c.c.id, sorted({campaign for campaign, _ in last})))
            connection.execute(touched.values(progress_at=now))
        return ()


def _told(fact: Fact) -> tuple[Standing, str | None]:
    data = fact.data or {}
    if fact.kind == "cancelled":
        if (fact.actor or "").startswith(OURS):
            return Standing.WAITING, None
        return Standing.FAILED, f"the mail was cancelled{f' by {fact.actor}' if fact.actor else ''}"
    if fact.kind in ("sent", "retried"):
        return _BECOMES[fact.kind], None
    words = " ".join(str(data[name]) for name in ("code", "enhanced", "reply", "why") if data.get(name))
    return _BECOMES[fact.kind], words[:1000] or None
