"""Hard judgements that wait: why a word alone suppresses nobody, kept with its fact as ``data["unconfirmed"]``.

The value is the reason in words, so whoever doubts a report writes one (:func:`mailops.bounces.revise.told`), and the
suppression list, which is the only judge of it, proposes the address until a second, independent answer says the same
(:func:`mailops.suppression.decide.weigh`).
"""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..store import schema

e = schema.events
UNCONFIRMED = "unconfirmed"
WEAK = "it rests on a code or a word that is used for anything"
_TELL = ("bounced", "told_again", "reported", "reclassified")
CHUNK = 200


def doubts(connection: Connection, reports: Collection[tuple[int, int | None, str | None]]) -> dict[int, str]:
    """Which of these reports (id, mail, address) wait, each with the reason in words; as they are judged today."""
    found: dict[int, str] = {}
    wanted = list(reports)
    for start in range(0, len(wanted), CHUNK):
        some = wanted[start : start + CHUNK]
        ids = {number for number, _, _ in some}
        mails = {mail for _, mail, _ in some if mail is not None}
        people = {address.lower() for _, _, address in some if address}
        where = sa.or_(e.c.mail_id.in_(mails), sa.func.lower(e.c.recipient).in_(people))
        query = sa.select(e.c.data).where(where, e.c.kind.in_(_TELL)).order_by(e.c.id)
        for data in connection.execute(query).scalars():
            number = (data or {}).get("bounce")
            if number in ids:
                found[number] = str(data.get(UNCONFIRMED) or "")
    return {number: why for number, why in found.items() if why}


def strength(hard: bool | None, doubt: str) -> str:
    """``hard``, ``hard, unconfirmed`` or ``soft``, as people are shown it."""
    return "hard, unconfirmed" if doubt else "hard" if hard else "soft"
