"""Rows of suppressed addresses, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..ledger import Fact, note
from ..ledger.names import Names
from ..store import schema
from ..store.bulk import among

s = schema.suppressions
CHUNK = 500
UNSUBSCRIBED = "unsubscribe"
"""The source of entries that their own people made."""


@dataclass(frozen=True, slots=True)
class Suppression:
    """One suppressed address, as stored. ``since`` and ``until`` are UTC; ``until`` None = until undone."""

    id: int
    address: str
    scope: str
    state: str
    source: str
    reason: str
    why: str
    hard: bool
    since: datetime
    until: datetime | None
    bounce_id: int | None
    actor: str
    changed_at: datetime

    def covers(self, scope: str, until: datetime | None) -> bool:
        """Whether an entry for this scope and end would add nothing."""
        lasts = self.until is None or (until is not None and until <= self.until)
        return self.state == "active" and lasts and scope in (self.scope, "campaigns")

    @property
    def standing(self) -> str:
        """The state in words, with the end where there is one."""
        return f"{self.state} until {self.until:%Y-%m-%d}" if self.until else self.state


def row(found: Any) -> Suppression:
    """A stored row as a value."""
    return Suppression(**{c.name: getattr(found, c.name) for c in s.columns})


@dataclass(frozen=True, slots=True)
class Barred:
    """A suppressed address with its scope and why, in words."""

    address: str
    scope: str
    why: str
    source: str = ""


def blocked(
    connection: Connection, addresses: Iterable[str], *, now: datetime, names: Names | None = None
) -> list[Barred]:
    """Which of these (normalised) addresses are suppressed now; one query for every 500 of them. ``names`` knows those
    who were forgotten: the entry of such an address holds on."""
    wanted = sorted(set(addresses))
    known = {name: address for address, name in names.known(connection, wanted).items()} if names else {}
    wanted += sorted(known)
    found = []
    for start in range(0, len(wanted), CHUNK):
        query = sa.select(s.c.address, s.c.why, s.c.since, s.c.scope, s.c.source).where(
            among(s.c.address, wanted[start : start + CHUNK]),
            s.c.state == "active",
            _not_over(now),
        )
        for hit in connection.execute(query):
            what = "campaigns" if hit.scope == "campaigns" else "all mail"
            found.append(
                Barred(
                    known.get(hit.address, hit.address),
                    hit.scope,
                    f"Suppressed for {what} since {hit.since:%Y-%m-%d}: {hit.why}",
                    hit.source,
                )
            )
    return found


def _not_over(now: datetime) -> sa.ColumnElement[bool]:
    return sa.or_(s.c.until.is_(None), s.c.until > now)


def open_row(connection: Connection, address: str, now: datetime) -> Suppression | None:
    """The active or proposed row of an address that is not over by now, the widest scope first."""
    query = (
        sa.select(s)
        .where(s.c.address == address, s.c.state.in_(("active", "proposed")), _not_over(now))
        .order_by(sa.case((s.c.scope == "all", 0), else_=1), s.c.id.desc())
    )
    found = connection.execute(query).first()
    return row(found) if found else None


def opted_out(connection: Connection, address: str) -> list[int]:
    """The active entries that this person made."""
    query = sa.select(s.c.id).where(s.c.address == address, s.c.state == "active", s.c.source == UNSUBSCRIBED)
    return [int(number) for number in connection.execute(query).scalars()]


def insert(connection: Connection, values: dict[str, Any], *, event: str) -> int:
    """A new row with its event."""
    made = connection.execute(sa.insert(s).values(**values)).inserted_primary_key
    assert made is not None
    log(connection, event, values["address"], values["actor"], values["changed_at"], {"why": values["why"]})
    return int(made[0])


def change(connection: Connection, ids: Collection[int], *, event: str, actor: str, now: datetime, **to: Any) -> int:
    """Change rows, each with its event; returns how many."""
    found = connection.execute(sa.select(s.c.id, s.c.address, s.c.why).where(s.c.id.in_(list(ids)))).all()
    for hit in found:
        log(connection, event, hit.address, actor, now, {"why": hit.why, "suppression": hit.id})
    connection.execute(sa.update(s).where(s.c.id.in_([f.id for f in found])).values(**to, actor=actor, changed_at=now))
    return len(found)


def log(connection: Connection, kind: str, address: str, actor: str, now: datetime, data: dict[str, Any]) -> None:
    """An event of the list itself."""
    note(connection, Fact(kind, now, recipient=address, actor=actor, data=data | {"list": "suppressions"}))


def values(spec: str, scope: str, source: str, reason: str, why: str, now: datetime, actor: str) -> dict[str, Any]:
    """The columns of a new entry."""
    return {
        "address": spec,
        "scope": scope,
        "state": "active",
        "source": source,
        "reason": reason,
        "why": why,
        "hard": False,
        "since": now,
        "until": None,
        "bounce_id": None,
        "actor": actor,
        "changed_at": now,
    }
