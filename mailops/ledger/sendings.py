"""A sending is one recipient of one mail: when it was first handed over, by which server, and its last outcome.

It is folded from its facts, before and after new ones; the counters move by the difference. So a return counts in the
hour in which its mail left, whenever its report comes; a recipient is in one outcome only, however often a mail is
tried again; and what failed before a recipient was named is ``undelivered``: not handed over, nobody's bounce.

===============  =======================================================================================================
outcome          what is known last
===============  =======================================================================================================
``sent``         a server took it, and nothing came back
``failed``       a server refused it for this recipient, or it was given up after such an answer
``bounced``      it was taken, and came back
``unknown``      the answer was lost; it counts in no rate until a report tells more
``undelivered``  refused or given up before a recipient was named (:data:`mailops.model.states.BEFORE_RECIPIENT`)
===============  =======================================================================================================
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..model.states import BEFORE_RECIPIENT
from ..store import schema
from ..store.bulk import among

e = schema.events
OUTCOMES = ("sent", "failed", "bounced", "unknown", "undelivered")
KINDS = ("sent", "failed", "unknown", "bounced", "bounced_in_error")
"""Kinds of facts that say how a sending ended."""
STAGE: Any = sa.case((e.c.kind == "failed", e.c.data["stage"].as_string()), else_=None)
CHUNK = 500


class Told(NamedTuple):
    """A fact as the fold reads it."""

    id: int
    mail_id: int
    recipient: str
    kind: str
    at: datetime
    server: str | None
    key: str | None
    undoes: int | None
    stage: str | None


class Sending(NamedTuple):
    """Where a sending is counted."""

    left_at: datetime
    server: str
    outcome: str


def fold(facts: Iterable[Told]) -> Sending | None:
    """What a sending's facts, in order, come to; None while nothing final is known of it."""
    told = list(facts)
    undone = {fact.undoes for fact in told}
    found: Sending | None = None
    for fact in told:
        if fact.id in undone or fact.kind == "bounced_in_error":
            continue
        outcome = fact.kind
        if outcome == "failed" and fact.stage in BEFORE_RECIPIENT:
            outcome = "undelivered"
        left = found.left_at if found else fact.at
        server = found.server if found and outcome == "bounced" else fact.server or ""
        if outcome == "unknown" and found and found.outcome == "sent":
            continue
        found = Sending(left, server, outcome)
    return found


def query() -> sa.Select[Any]:
    """Facts about sendings, as :class:`Told` has them."""
    columns = (e.c.id, e.c.mail_id, e.c.recipient, e.c.kind, e.c.at, e.c.server_key, e.c.key, e.c.undoes, STAGE)
    return sa.select(*columns).where(e.c.kind.in_(KINDS), e.c.recipient.is_not(None))


def read(connection: Connection, mails: Iterable[int]) -> dict[tuple[int, str], list[Told]]:
    """All that is told of these mails' sendings, in order."""
    ids = sorted(set(mails))
    found: defaultdict[tuple[int, str], list[Told]] = defaultdict(list)
    for at in range(0, len(ids), CHUNK):
        some = query().where(among(e.c.mail_id, ids[at : at + CHUNK])).order_by(e.c.id)
        for row in connection.execute(some).all():
            found[row[1], row[2]].append(Told(*row))
    return found


def changes(
    connection: Connection, new: dict[tuple[int, str], set[str]]
) -> Iterator[tuple[tuple[int, str], Sending | None, Sending | None]]:
    """Each sending that the new facts (by their keys) speak of, with what it was before them and what it is now."""
    told = read(connection, (mail_id for mail_id, _ in new))
    for which, keys in new.items():
        facts = told.get(which, [])
        before = [fact for fact in facts if fact.key not in keys]
        yield which, fold(before) if before else None, fold(facts)
