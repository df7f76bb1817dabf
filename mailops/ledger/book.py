"""Records facts: the rows, the states they move, the counters, and what others make of them, in the caller's commit.

A fact that is there already (by its key) changes nothing. Of the new ones each moves its recipient's delivery along
:data:`mailops.model.states.DELIVERY_MOVES`, and the mail follows its deliveries. Then the listeners are called in one
fixed order, each once with the whole batch, each in a savepoint: one that raises is undone, its facts are told to it
one by one, and those that it cannot take are owed (table ``owed``) in the same commit. Whatever is owed to a listener
about a mail keeps later facts of that mail waiting too, so that they are heard in order. :meth:`Book.pay` tells them.

Order of locks on PostgreSQL: mails by rising number, then whatever the listeners take, then the counters, all at once
and in their own order: two transactions that meet wait for each other at one place only.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..model.states import DELIVERY_MOVES, MAIL_MOVES, DeliveryState, MailState, Rank, mail_state
from ..store import schema
from ..store.bulk import among, insert_rows, update_rows
from ..store.database import explained, reading
from ..store.faults import OTHER, code_of
from . import counts
from .facts import Fact, Listener
from .names import Names

log = logging.getLogger(__name__)
m, d, e, o = schema.mails, schema.deliveries, schema.events, schema.owed
CHUNK = 500
ROUNDS = 3
"""How often listeners may answer to what listeners told."""
PAUSE, LONGEST = timedelta(minutes=1), timedelta(hours=1)
_OF_ATTEMPT = frozenset({"sent", "deferred", "failed", "unknown"})
"""Kinds whose mail is moved by :mod:`mailops.ledger.attempts`, which knows when it is due again."""


@dataclass(frozen=True, slots=True)
class Paid:
    """What became of the facts that were owed: taken now, and still owed."""

    paid: int = 0
    left: int = 0


class Book:
    """The writer of facts, with those who hear of them, and the names of those who were forgotten."""

    def __init__(self, listeners: Sequence[Listener] = (), names: Names | None = None) -> None:
        self.listeners = tuple(listeners)
        self.names = names

    def record(self, connection: Connection, facts: Sequence[Fact], *, now: datetime) -> list[Fact]:
        """Record facts in the caller's transaction; gives back those that were new."""
        new = self._enter(connection, facts)
        told = list(new)
        heard: Sequence[Fact] = new
        for _ in range(ROUNDS):
            if not heard:
                break
            further: list[Fact] = []
            for listener in self.listeners:
                wanted = [fact for fact in heard if fact.kind in listener.kinds]
                if wanted:
                    further += self._tell(connection, listener, wanted, now)
            heard = further
            told += further
        counts.add(connection, told)
        return new

    def _enter(self, connection: Connection, facts: Sequence[Fact]) -> list[Fact]:
        new = write(connection, facts)
        if new:
            move(connection, new)
        return new

    def _tell(self, connection: Connection, listener: Listener, facts: list[Fact], now: datetime) -> list[Fact]:
        waiting = _waiting(connection, listener.name)
        behind = [fact for fact in facts if fact.mail_id in waiting] if waiting else []
        clear = [fact for fact in facts if fact.mail_id not in waiting] if waiting else facts
        error, further = self._hear(connection, listener, clear, now) if clear else (None, [])
        if error is not None:
            for fact in clear:
                error, more = self._hear(connection, listener, [fact], now)
                further += more
                if error is not None:
                    _owe(connection, listener, [fact], error, now)
        if behind:
            _owe(connection, listener, behind, "an earlier fact of this mail is owed", now)
        return further

    def _hear(
        self, connection: Connection, listener: Listener, facts: Sequence[Fact], now: datetime
    ) -> tuple[str | None, list[Fact]]:
        """What went wrong, if anything did, and what the listener told in its turn."""
        try:
            with connection.begin_nested():
                return None, self._enter(connection, listener.hear(connection, facts, now=now))
        except Exception as error:
            if isinstance(error, sa.exc.DBAPIError) and code_of(error) != OTHER:
                raise  # locked, full, away: the facts themselves cannot be kept now, and come again
            log.warning("%s could not take %d facts: %s", listener.name, len(facts), error, exc_info=error)
            return f"{type(error).__name__}: {error}"[:2000], []

    # --- what is owed -------------------------------------------------------------------------------------------------

    def pay(self, engine: Engine, *, now: datetime, limit: int = 10_000, at_once: bool = False) -> Paid:
        """Tell listeners again what they could not take; each fact in a commit of its own, oldest first.

        What fails again waits twice as long, an hour at most; ``at_once`` does not wait.
        """
        paid = 0
        names = {listener.name: listener for listener in self.listeners}
        stuck: set[tuple[str, int | None]] = set()
        with explained("reading what is owed"), reading(engine) as connection:
            due = [] if at_once else [o.c.due_at <= now]
            query = sa.select(o.c.event_id, o.c.listener, e.c.mail_id).join(e, e.c.id == o.c.event_id)
            rows = connection.execute(query.where(o.c.listener.in_(list(names)), *due).order_by(o.c.event_id)).all()
        for event_id, name, mail_id in rows[:limit]:
            if (name, mail_id) in stuck:
                continue
            with explained("paying what is owed"), engine.begin() as connection:
                done = self._pay_one(connection, names[name], int(event_id), now)
            paid += done is True
            if done is False:
                stuck.add((name, mail_id))
        return Paid(paid, owed(engine))

    def _pay_one(self, connection: Connection, listener: Listener, event_id: int, now: datetime) -> bool | None:
        """Whether the listener took it; None when somebody else is at it, or an older one of the mail is in front."""
        mine = (o.c.event_id == event_id, o.c.listener == listener.name)
        query = sa.select(o.c.tries, *e.c).join(e, e.c.id == o.c.event_id).where(*mine)
        row = connection.execute(query.with_for_update(skip_locked=True, of=o)).first()
        if row is None:
            return None
        earlier = sa.select(o.c.event_id).join(e, e.c.id == o.c.event_id)
        earlier = earlier.where(o.c.listener == listener.name, e.c.mail_id == row.mail_id, o.c.event_id < event_id)
        if row.mail_id is not None and connection.execute(earlier.limit(1)).first() is not None:
            return None
        error, further = self._hear(connection, listener, [fact_of(row)], now)
        counts.add(connection, further)
        if error is None:
            connection.execute(sa.delete(o).where(*mine))
            return True
        wait = min(PAUSE * 2 ** min(row.tries, 10), LONGEST)
        connection.execute(sa.update(o).where(*mine).values(tries=row.tries + 1, error=error, due_at=now + wait))
        return False


def owed(engine: Engine) -> int:
    """How many facts listeners have not taken yet."""
    with explained("counting what is owed"), reading(engine) as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(o)).scalar_one())


def note(connection: Connection, *facts: Fact) -> None:
    """Write down facts that move no mail and that nobody waits for: what people did to lists, subscriptions."""
    write(connection, facts)


def write(connection: Connection, facts: Sequence[Fact]) -> list[Fact]:
    """The rows of facts; gives back those that were not there yet, in order. One without a key is always new."""
    once: dict[object, Fact] = {}
    for fact in facts:
        once.setdefault(fact.key or id(fact), fact)
    new = list(once.values())
    if not new:
        return []
    keys = [fact.key for fact in new if fact.key]
    if keys and connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert

        keyed = insert(e).on_conflict_do_nothing(index_elements=[e.c.key], index_where=e.c.key.is_not(None))
        made = connection.execute(keyed.returning(e.c.key), [_row(fact) for fact in new if fact.key])
        fresh = {row[0] for row in made}
        insert_rows(connection, e, [_row(fact) for fact in new if not fact.key])
        return [fact for fact in new if not fact.key or fact.key in fresh]
    known: set[str | None] = set()
    for at in range(0, len(keys), CHUNK):
        known.update(connection.execute(sa.select(e.c.key).where(among(e.c.key, keys[at : at + CHUNK]))).scalars())
    new = [fact for fact in new if not fact.key or fact.key not in known]
    insert_rows(connection, e, [_row(fact) for fact in new])
    return new


def _row(fact: Fact) -> dict[str, Any]:
    return {
        "at": fact.at,
        "kind": fact.kind,
        "key": fact.key,
        "mail_id": fact.mail_id,
        "message_id": fact.message_id,
        "recipient": fact.recipient,
        "server_key": fact.server,
        "actor": fact.actor,
        "data": dict(fact.data) if fact.data else None,
        "undoes": fact.undoes,
        "left_at": fact.left_at,
    }


def fact_of(row: Any) -> Fact:
    """A stored row as the fact it was."""
    return Fact(
        kind=row.kind,
        at=row.at,
        key=row.key,
        mail_id=row.mail_id,
        recipient=row.recipient,
        message_id=row.message_id,
        server=row.server_key,
        actor=row.actor,
        data=row.data,
        undoes=row.undoes,
        left_at=row.left_at,
    )


def standing(events: Any = e) -> sa.ColumnElement[bool]:
    """The condition that a fact was not taken back later."""
    back = e.alias("taken_back")
    return ~sa.exists().where(back.c.undoes == events.c.id)


# --- states -----------------------------------------------------------------------------------------------------------


def move(connection: Connection, facts: Sequence[Fact]) -> None:
    """Move the deliveries that the facts speak of, and the mails after them."""
    groups: defaultdict[tuple[str, tuple[str, ...]], list[Fact]] = defaultdict(list)
    follow: set[int] = set()
    for fact in facts:
        if fact.kind in DELIVERY_MOVES and fact.row is not None and fact.mail_id is not None:
            groups[("" if fact.kind in _OF_ATTEMPT else fact.kind, tuple(fact.row))].append(fact)
            if fact.kind not in _OF_ATTEMPT:
                follow.add(fact.mail_id)
    for (_, names), group in groups.items():
        rows = []
        for fact in group:
            assert fact.row is not None
            state = {"mail_id": fact.mail_id, "recipient": fact.recipient, "state": DELIVERY_MOVES[fact.kind][1].value}
            rows.append({**state, **{name: fact.row[name] for name in names}, "updated_at": fact.row["updated_at"]})
        sources = [state.value for state in DELIVERY_MOVES[group[0].kind][0]]
        update_rows(connection, d, ["mail_id", "recipient"], rows, sa.or_(*(d.c.state == state for state in sources)))
    if follow:
        told = {f.mail_id: f for f in facts if f.mail_id in follow and f.kind in DELIVERY_MOVES}
        _follow(connection, {mail_id: fact for mail_id, fact in told.items() if mail_id is not None})


def states_of(connection: Connection, mails: Collection[int]) -> dict[int, set[DeliveryState]]:
    """The states of each mail's recipients."""
    found: defaultdict[int, set[DeliveryState]] = defaultdict(set)
    ids = sorted(mails)
    for at in range(0, len(ids), CHUNK):
        query = sa.select(d.c.mail_id, d.c.state).where(among(d.c.mail_id, ids[at : at + CHUNK])).distinct()
        for mail_id, state in connection.execute(query).all():
            found[int(mail_id)].add(DeliveryState(state))
    return found


def _follow(connection: Connection, told: dict[int, Fact]) -> None:
    """Each mail's state from its recipients, with what the fact says of the mail."""
    groups: defaultdict[tuple[Any, ...], list[int]] = defaultdict(list)
    values: dict[tuple[Any, ...], dict[str, Any]] = {}
    for mail_id, states in states_of(connection, told).items():
        fact, state = told[mail_id], mail_state(states)
        columns = {"state": state.value, **_columns(fact, state)}
        key = (fact.kind, tuple(columns.items()))
        groups[key].append(mail_id)
        values[key] = columns
    for key, ids in groups.items():
        allowed = [s.value for s, to in MAIL_MOVES.items() if key[1][0][1] in to or s.value == key[1][0][1]]
        for at in range(0, len(ids), CHUNK):
            which = [among(m.c.id, ids[at : at + CHUNK]), m.c.state.in_(allowed)]
            if key[0] != "barred":
                which.append(m.c.lease_owner.is_(None))
            connection.execute(sa.update(m).where(*which).values(**values[key]))


def _columns(fact: Fact, state: MailState) -> dict[str, Any]:
    """What else a fact changes of a mail that is in this state now."""
    told = dict(fact.told or {})
    if fact.kind == "retried":
        anew = {"queued_at": fact.at, "due_at": fact.at, "attempts": 0, "finished_at": None}
        return {**told, **anew, "rank": Rank.RETRIED.value}
    if fact.kind == "cancelled":
        return {**told, "finished_at": fact.at}
    if fact.kind == "barred":
        return {} if state is MailState.OUTGOING else {**told, "finished_at": fact.at}
    return told


def lock(connection: Connection, mails: Iterable[int]) -> None:
    """Hold these mails until the transaction ends, in the house's order."""
    ids = sorted(set(mails))
    if ids and connection.dialect.name == "postgresql":
        connection.execute(sa.select(m.c.id).where(m.c.id.in_(ids)).order_by(m.c.id).with_for_update()).all()


# --- debts ------------------------------------------------------------------------------------------------------------


def _waiting(connection: Connection, listener: str) -> set[int | None]:
    """Mails of which an older fact is owed to a listener."""
    query = sa.select(e.c.mail_id).join(o, o.c.event_id == e.c.id).where(o.c.listener == listener)
    return {row[0] for row in connection.execute(query.distinct())} - {None}


def _owe(connection: Connection, listener: Listener, facts: Sequence[Fact], error: str, now: datetime) -> None:
    keys = [fact.key for fact in facts]
    ids = [int(row[0]) for row in connection.execute(sa.select(e.c.id).where(e.c.key.in_(keys)).order_by(e.c.id))]
    rows = [{"event_id": i, "listener": listener.name, "error": error, "tries": 1, "due_at": now + PAUSE} for i in ids]
    insert_rows(connection, o, rows)
