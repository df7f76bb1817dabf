"""Threads as people look at them: which records there are, what was written about one, why an entry is here, and moving
it where it belongs.

Why an entry is here is what the gateway noted when it came (:mod:`mailops.inbound.decide`); the rule that decided is
named by :func:`rule_of`. Moving leaves a note on both records, so that it can be told afterwards; answers to a moved
entry follow it, since they are known by its Message-ID or its token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..errors import NotFound, StateConflict
from ..store import schema
from ..store.database import explained, reading
from . import store as repo
from .service import Entry, Threads

r, m, log = schema.records, schema.messages, schema.inbound_log

RULES = {
    "token": "the address it was sent to carries our signed token of this record",
    "reply": "it answers an entry of this record, by References or In-Reply-To",
    "alias": "it was sent to an alias that makes such records",
    "bound": "it was sent to an alias that is bound to this record",
    "server-model": "no alias took it, and the incoming server makes such records",
    "moved": "a person moved it here",
    "written": "it was written here, not received",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A record of the list: how many entries it has, and when the last came."""

    id: int
    model: str
    name: str
    email: str | None
    entries: int
    last: datetime | None


@dataclass(frozen=True, slots=True)
class Why:
    """Why an entry is on its record: the rule in a word and in words, what the gateway said, and every rule passed."""

    entry: int
    record: int | None
    rule: str
    words: str
    reason: str
    trace: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    """An entry that was moved, from which record to which."""

    entry: int
    source: int
    target: int
    made: bool


def rule_of(decision: str, trace: Sequence[Sequence[str]]) -> str:
    """Which rule brought a mail to its record, from the decision and the rules passed.

    >>> rule_of("reply", [("token", "the address carries our token")])
    'token'
    """
    passed = {str(step[0]) for step in trace}
    if decision == "reply":
        return "token" if "token" in passed else "reply"
    if decision == "update":
        return "bound"
    return "server-model" if "server-model" in passed else "alias"


class Desk:
    """Looks at threads, and moves entries."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads

    def records(self, *, model: str | None = None, offset: int = 0, limit: int = 50) -> tuple[list[Row], int]:
        """Records, the one that was written about last first, and how many there are."""
        which = [r.c.model == model] if model else []
        counts = sa.select(m.c.record_id, sa.func.count().label("n"), sa.func.max(m.c.created_at).label("last"))
        by = counts.where(m.c.record_id.is_not(None)).group_by(m.c.record_id).subquery()
        query = sa.select(r.c.id, r.c.model, r.c.name, r.c.email_from, by.c.n, by.c.last)
        query = query.join(by, by.c.record_id == r.c.id, isouter=True).where(*which)
        query = query.order_by(sa.func.coalesce(by.c.last, r.c.created_at).desc(), r.c.id.desc())
        with explained("listing records"), reading(self._threads.engine) as connection:
            total = connection.execute(sa.select(sa.func.count()).select_from(r).where(*which)).scalar_one()
            rows = connection.execute(query.offset(offset).limit(limit)).all()
        return [Row(int(x[0]), x[1], x[2], x[3], int(x[4] or 0), x[5]) for x in rows], int(total)

    def record(self, key: int) -> repo.Record:
        """A record. Raises :class:`NotFound`."""
        with explained("reading a record"), reading(self._threads.engine) as connection:
            return _record(connection, key)

    def why(self, entry: int) -> Why:
        """Why an entry is where it is. Raises :class:`NotFound`."""
        query = sa.select(log.c.decision, log.c.reason, log.c.data).order_by(log.c.id.desc())
        with explained("reading why an entry is here"), reading(self._threads.engine) as connection:
            found = _entry(connection, entry)
            rows = connection.execute(query.where(log.c.message_id == found.message_id)).all()
        lines = [row for row in rows if (row.data or {}).get("records")]
        if not lines:
            return Why(entry, found.record_id, "written", RULES["written"], "")
        line = lines[0]
        trace = tuple((str(rule), str(said)) for rule, said in line.data.get("trace") or ())
        came_to = {int(key) for one in lines for key in one.data["records"]}
        rule = rule_of(line.decision, trace) if found.record_id in came_to else "moved"
        return Why(entry, found.record_id, rule, RULES[rule], line.reason, trace)

    def move(self, entry: int, *, to: int | None = None, new: str | None = None, actor: str = "person") -> Moved:
        """Move an entry to another record, or (``new``: a kind of record) to one that is made of it.

        Raises :class:`NotFound` for an entry, record or kind that is not there, :class:`StateConflict` where it is
        there already or neither (or both) is named.
        """
        if (to is None) == (new is None):
            raise StateConflict(
                "Name the record to move to, or the kind of a new one.",
                code="state.move_where",
                facts={"to": to, "new": new},
                fix="Use --to RECORD, or --new MODEL.",
            )
        with explained("moving an entry"), self._threads.engine.begin() as tx:
            repo.serialise(tx)
            found = _entry(tx, entry)
            source = _record(tx, found.record_id if found.record_id is not None else -1)
            if to == source.id:
                raise StateConflict(
                    f"Entry {entry} is on record {to} already.",
                    code="state.moved_already",
                    facts={"entry": entry, "record": to},
                    fix="Name another record.",
                )
            if new is not None:
                fields = {"email": found.author_email, "company_id": source.company_id}
                target = self._threads.create_record(new, found.subject or source.name, connection=tx, **fields)
                if found.author_id is not None:
                    repo.follow(tx, target, found.author_id)
            else:
                target = _record(tx, int(to or 0)).id
            repo.move_message(tx, entry, target, repo.first_row(tx, target))
            there = f"Entry {entry} was moved to record {target} by {actor}."
            here = f"Entry {entry} was moved here from record {source.id} by {actor}."
            for record, words in ((source.id, there), (target, here)):
                self._threads.post(record, Entry(words, kind="note"), connection=tx)
        return Moved(entry, source.id, target, new is not None)


def _entry(connection: Connection, key: int) -> repo.Message:
    found = repo.message(connection, key)
    if found is None:
        raise NotFound(
            f"There is no entry {key}.", facts={"entry": key}, fix="See what there is: mailops thread show RECORD"
        )
    return found


def _record(connection: Connection, key: int) -> repo.Record:
    found = repo.record(connection, key)
    if found is None:
        raise NotFound(
            f"There is no record {key}.", facts={"record": key}, fix="See what there is: mailops thread list"
        )
    return found


def as_dict(entry: repo.Message) -> dict[str, Any]:
    """An entry as the command line prints it."""
    return {
        "id": entry.id, "message_id": entry.message_id, "parent": entry.parent_id, "kind": entry.kind,
        "author": entry.author_email, "subject": entry.subject, "body": entry.body, "at": entry.created_at,
    }  # fmt: skip
