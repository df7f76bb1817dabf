"""Looking at stored reports: pages of them, and the causes that occur. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..store import schema
from ..store.database import reading
from .doubt import doubts

b = schema.bounces
_CAUSE = sa.func.coalesce(b.c.reason, "undefined")


def page(engine: Engine, *, address: str = "", reason: str = "", offset: int = 0, limit: int = 25) -> tuple[Any, int]:
    """Reports without their raw text, newest first, and how many there are; by part of the address, and by cause."""
    columns = [c for c in b.columns if c.name not in ("raw", "digest")]
    which: list[Any] = []
    if address:
        which.append(b.c.normalised.contains(address.lower(), autoescape=True))
    if reason:
        which.append(_CAUSE.in_([reason]))
    query = sa.select(*columns).where(*which).order_by(b.c.id.desc()).offset(offset).limit(limit)
    with reading(engine) as connection:
        total = connection.execute(sa.select(sa.func.count()).select_from(b).where(*which)).scalar_one()
        return connection.execute(query).all(), int(total)


def waiting(engine: Engine, rows: Sequence[Any]) -> dict[int, str]:
    """Which of these reports are hard and wait for a second one, each with the reason in words."""
    with reading(engine) as connection:
        return doubts(connection, [(row.id, row.mail_id, row.normalised) for row in rows])


def causes(engine: Engine) -> list[tuple[str, int]]:
    """The causes that occur with their numbers, most frequent first."""
    number = sa.func.count()
    with reading(engine) as connection:
        found = connection.execute(sa.select(_CAUSE, number).group_by(_CAUSE).order_by(number.desc())).all()
    return [(str(reason), int(count)) for reason, count in found]
