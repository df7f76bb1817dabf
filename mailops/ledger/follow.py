"""Hands facts over to what lies outside the house, each once and in one order: alerts, other programs, archives.

A follower is a name and a place in the order of facts. Listeners (:mod:`mailops.ledger.facts`) work in the commit of a
fact; a follower comes after it, so what it does cannot hold a mail up and cannot be undone with one.

The order is that of commits. On SQLite there is one writer, and numbers are given in its order. On PostgreSQL a number
is given before the commit: a transaction that began early and commits late brings a low number that a follower of
numbers alone would never see. So each fact carries the transaction that wrote it, and only facts of transactions older
than every one that is still open are handed over, by (transaction, number) (PostgreSQL, *System Information Functions*,
``pg_snapshot_xmin``).

The place moves when the receiver has returned. A process that dies between the two hands the same facts over again,
with the same numbers: once for whoever remembers the last number, at least once for everybody else. Two at once under
one name: the second is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..errors import ConfigError, InputRefused, NotFound
from ..ports import Clock
from ..store import schema
from ..store.database import explained, reading
from ..store.exclusive import alone, locks_of
from .book import fact_of
from .facts import Fact

e, f = schema.events, schema.follows
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
BATCH = 500


@dataclass(frozen=True, slots=True)
class Told:
    """A fact as it is handed over, with its number: the same fact has the same number for ever."""

    id: int
    fact: Fact

    def as_dict(self) -> dict[str, Any]:
        """As it is written to a program: one flat object; times are ISO 8601 in UTC."""
        fact = self.fact
        return {
            "id": self.id,
            "at": fact.at.isoformat(),
            "kind": fact.kind,
            "mail": fact.mail_id,
            "message_id": fact.message_id,
            "recipient": fact.recipient,
            "server": fact.server,
            "actor": fact.actor,
            "left_at": fact.left_at.isoformat() if fact.left_at else None,
            "undoes": fact.undoes,
            "data": dict(fact.data) if fact.data else {},
        }


@dataclass(frozen=True, slots=True)
class Follower:
    """Who follows, when it last took something, and how many facts are still before it."""

    name: str
    at: datetime
    behind: int


class Followers:
    """The followers of a store."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine, self._clock = engine, clock

    def follow(
        self, name: str, take: Callable[[Sequence[Told]], object], *, limit: int | None = None, fresh: bool = False
    ) -> int:
        """Hand over what ``name`` has not had yet, in batches, oldest first; returns how many facts.

        A name that is new begins with the first fact there is, with ``fresh`` after the last. What ``take`` raises is
        raised, and its batch comes again. Raises :class:`InputRefused` for a name that is none, and
        :class:`ConfigError` ``follow.busy`` while another process follows under it.
        """
        if not _NAME.fullmatch(name):
            raise InputRefused(
                f"{name!r} cannot be the name of a follower.",
                code="input.follower",
                facts={"name": name[:100]},
                fix="Use up to 40 small letters, digits, dots and dashes, such as alerts.",
            )
        done = 0
        with self._alone(name, fresh):
            while limit is None or done < limit:
                batch = self._next(name, BATCH if limit is None else min(BATCH, limit - done))
                if not batch:
                    break
                take([Told(int(row.id), fact_of(row)) for row in batch])
                last = batch[-1]
                with explained("remembering what was handed over"), self._engine.begin() as connection:
                    place = {"xid": last.xid, "event_id": last.id, "at": self._clock.now()}
                    connection.execute(sa.update(f).where(f.c.name == name).values(**place))
                done += len(batch)
        return done

    def all(self) -> tuple[Follower, ...]:
        """Everybody who follows, by name."""
        with explained("reading who follows"), reading(self._engine) as connection:
            rows = connection.execute(sa.select(f).order_by(f.c.name)).all()
            return tuple(Follower(row.name, row.at, _behind(connection, row)) for row in rows)

    def remove(self, name: str) -> None:
        """Let a follower go; one that comes again under the name begins anew. Raises :class:`NotFound`."""
        with explained("letting a follower go"), self._engine.begin() as connection:
            if not connection.execute(sa.delete(f).where(f.c.name == name)).rowcount:
                raise NotFound(
                    f"Nobody follows as {name!r}.", facts={"name": name[:100]}, fix="See them with: mailops facts list"
                )

    # --- within ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _alone(self, name: str, fresh: bool) -> Iterator[None]:
        """Make the follower if it is new; others of its name stand back until this one ends, however that happens."""
        with self._held(name) as ours:
            if not ours:
                raise ConfigError(
                    f"Somebody else follows as {name!r} just now.",
                    code="follow.busy",
                    facts={"name": name},
                    fix="Give this one another name, or end the other first.",
                )
            with explained("beginning to follow"), self._engine.begin() as connection:
                if connection.execute(sa.select(f.c.name).where(f.c.name == name)).first() is None:
                    xid, number = _end(connection) if fresh else (0, 0)
                    row = {"name": name, "xid": xid, "event_id": number, "at": self._clock.now()}
                    connection.execute(sa.insert(f).values(**row))
            yield

    def _held(self, name: str) -> AbstractContextManager[bool]:
        file = Path(str(self._engine.url.database))
        locks = locks_of(self._engine, file.parent, "beginning to follow")
        return alone(locks, f"{file.name}.follow-{name}.lock")

    def _next(self, name: str, limit: int) -> Sequence[Any]:
        with explained("reading the next facts"), reading(self._engine) as connection:
            place = connection.execute(sa.select(f).where(f.c.name == name)).one()
            query = sa.select(e).where(*_after(connection, place)).order_by(*_order(connection)).limit(limit)
            return tuple(connection.execute(query))


def _postgres(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _order(connection: Connection) -> tuple[sa.ColumnElement[Any], ...]:
    return (e.c.xid.asc(), e.c.id.asc()) if _postgres(connection) else (e.c.id.asc(),)


def _after(connection: Connection, place: Any) -> tuple[sa.ColumnElement[bool], ...]:
    """What is behind a follower's place and cannot be overtaken by anything that is not committed yet."""
    if not _postgres(connection):
        return (e.c.id > place.event_id,)
    closed = sa.cast(sa.cast(sa.func.pg_snapshot_xmin(sa.func.pg_current_snapshot()), sa.Text), sa.BigInteger)
    return (sa.tuple_(e.c.xid, e.c.id) > sa.tuple_(place.xid, place.event_id), e.c.xid < closed)


def _end(connection: Connection) -> tuple[int, int]:
    """The place behind everything that is committed."""
    query = sa.select(e.c.xid, e.c.id).where(*_after(connection, _Nowhere)).order_by(*_backwards(connection)).limit(1)
    row = connection.execute(query).first()
    return (int(row.xid), int(row.id)) if row else (0, 0)


class _Nowhere:
    xid, event_id = 0, 0


def _backwards(connection: Connection) -> tuple[sa.ColumnElement[Any], ...]:
    return (e.c.xid.desc(), e.c.id.desc()) if _postgres(connection) else (e.c.id.desc(),)


def _behind(connection: Connection, place: Any) -> int:
    query = sa.select(sa.func.count()).select_from(e).where(*_after(connection, place))
    return int(connection.execute(query).scalar_one())
