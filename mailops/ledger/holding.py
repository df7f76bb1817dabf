"""What the ledger keeps of people: recipients, senders, facts, servers' words. Message bytes are the queue's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..model.address import normalise
from ..model.states import MailState
from ..store import schema
from .erasure import Held, Person, mentions, rows_of
from .names import Names

m, d, a, e = schema.mails, schema.deliveries, schema.attempts, schema.events
_ANSWER = "code enhanced stage reason status hard kind source tagged"
_MAIL = "class domain recipients size message bounce"
_LOGGED = "origin queue instance program outcome relay passed_to step"
_JUDGED = "unconfirmed was stands judged_anew migrated list suppression changed"
STAYS = frozenset(f"{_ANSWER} {_MAIL} {_LOGGED} {_JUDGED}".split())
"""What of a fact's data says nothing about a person."""
WORDS = ("reply", "explained", "why", "diagnostic", "accepted")
_passed = sa.select(sa.func.min(schema.follows.c.event_id)).scalar_subquery()
_taken = sa.or_(_passed.is_(None), e.c.id <= _passed)
"""What every follower has had: the end by age does not pass a follower; a person's request does."""
_DONE = [state.value for state in MailState if state is not MailState.OUTGOING]


class LedgerHolder:
    """Mails, their recipients and what became of them. ``names`` gives pseudonyms to those whose time is over."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def find(self, connection: Connection, address: str) -> Iterable[Held]:
        got = sa.select(m.c.id, m.c.created_at, m.c.header_from, m.c.subject, d.c.recipient, d.c.state, d.c.reply)
        got = got.join(d, d.c.mail_id == m.c.id).where(d.c.normalised == address)
        yield rows_of(connection, "mails to the address", got.order_by(m.c.id.desc()))
        wrote = sa.select(m.c.id, m.c.created_at, m.c.header_from, m.c.subject, m.c.state).where(_author(address))
        yield rows_of(connection, "mails from the address", wrote.order_by(m.c.id.desc()))
        told = sa.select(e.c.id, e.c.at, e.c.kind, e.c.mail_id, e.c.recipient, e.c.server_key, e.c.actor, e.c.data)
        yield rows_of(connection, "facts", told.where(_facts(address)).order_by(e.c.id.desc()))
        born = sa.select(e.c.id, e.c.at, e.c.kind, e.c.mail_id, e.c.data).where(_born(address))
        yield rows_of(connection, "hand-overs by the address", born.order_by(e.c.id.desc()))

    def forget(self, connection: Connection, person: Person) -> Mapping[str, int]:
        to = sa.select(d.c.mail_id).where(d.c.normalised == person.address)
        ids = {int(row[0]) for row in connection.execute(to)}
        wrote = {int(row[0]) for row in connection.execute(sa.select(m.c.id).where(_author(person.address)))}
        changed = {"mails": self._empty(connection, ids | wrote)}
        for number in sorted(wrote):
            named = {"header_from": person.pseudonym, "sent_from": None}
            connection.execute(sa.update(m).where(m.c.id == number).values(**named))
        for column in (m.c.return_path, m.c.sent_envelope, m.c.login):
            same = sa.func.lower(column) == person.address
            connection.execute(sa.update(m).where(same).values({column: person.pseudonym}))
        rows = sa.update(d).where(d.c.normalised == person.address)
        values = {"recipient": person.pseudonym, "normalised": person.pseudonym, "reply": None}
        changed["recipients"] = connection.execute(rows.values(**values)).rowcount
        facts = connection.execute(sa.select(e.c.id, e.c.data).where(_facts(person.address))).all()
        for row in facts:
            kept = {key: value for key, value in (row.data or {}).items() if key in STAYS}
            rename = sa.update(e).where(e.c.id == row.id)
            connection.execute(rename.values(recipient=person.pseudonym, data=kept or None))
        born = connection.execute(sa.select(e.c.id, e.c.data).where(_born(person.address))).all()
        for row in born:
            kept = {key: _renamed(value, person) for key, value in (row.data or {}).items()}
            connection.execute(sa.update(e).where(e.c.id == row.id).values(data=kept))
        return changed | {"facts": len(facts) + len(born)}

    @staticmethod
    def _empty(connection: Connection, ids: set[int]) -> int:
        """Take the words out of mails: subject, conversation, what went wrong."""
        some = sorted(ids)
        for at in range(0, len(some), 500):
            which = some[at : at + 500]
            connection.execute(sa.update(m).where(m.c.id.in_(which)).values(subject=None, failure_reason=None))
            connection.execute(sa.update(a).where(a.c.mail_id.in_(which)).values(transcript=None))
        return len(some)

    def old(self, kind: str, before: datetime) -> sa.Select[Any] | None:
        if kind == "messages":
            done = (m.c.state.in_(_DONE), m.c.lease_owner.is_(None), m.c.finished_at < before)
            return sa.select(m.c.id).where(*done, m.c.subject.is_not(None)).order_by(m.c.id)
        if kind == "transcripts":
            return sa.select(a.c.id).where(a.c.started_at < before, a.c.transcript.is_not(None)).order_by(a.c.id)
        if kind == "replies":
            says = sa.or_(*(e.c.data[word].as_string().is_not(None) for word in WORDS))
            return sa.select(e.c.id).where(e.c.at < before, e.c.data.is_not(None), says, _taken).order_by(e.c.id)
        if kind == "addresses":
            who = sa.func.lower(e.c.recipient)
            open_ = sa.or_(m.c.state == MailState.OUTGOING.value, m.c.lease_owner.is_not(None))
            waiting = sa.select(sa.func.lower(d.c.recipient)).join(m, m.c.id == d.c.mail_id).where(open_)
            named = (e.c.recipient.is_not(None), ~e.c.recipient.startswith("forgotten-"), who.not_in(waiting))
            had = sa.or_(_passed.is_(None), sa.func.max(e.c.id) <= _passed)
            return sa.select(who).where(*named).group_by(who).having(sa.and_(sa.func.max(e.c.at) < before, had))
        return None

    def end(self, connection: Connection, kind: str, which: Sequence[Any]) -> None:
        if kind == "messages":
            connection.execute(sa.update(m).where(m.c.id.in_(which)).values(subject=None))
        elif kind == "transcripts":
            connection.execute(sa.update(a).where(a.c.id.in_(which)).values(transcript=None))
        elif kind == "replies":
            self._silence(connection, which)
        elif kind == "addresses":
            for address in which:
                self.forget(connection, Person(normalise(address), self._names.of(address)))

    @staticmethod
    def _silence(connection: Connection, which: Sequence[int]) -> None:
        """Take servers' words out of facts, and out of the rows of their mails that are done."""
        rows = connection.execute(sa.select(e.c.id, e.c.mail_id, e.c.data).where(e.c.id.in_(which))).all()
        for row in rows:
            kept = {key: value for key, value in row.data.items() if key not in WORDS}
            connection.execute(sa.update(e).where(e.c.id == row.id).values(data=kept or None))
        mails = sorted({row.mail_id for row in rows if row.mail_id is not None})
        done = sa.select(m.c.id).where(m.c.id.in_(mails), m.c.state.in_(_DONE))
        connection.execute(sa.update(d).where(d.c.mail_id.in_(done)).values(reply=None))
        connection.execute(sa.update(m).where(m.c.id.in_(done)).values(failure_reason=None))


def _renamed(value: Any, person: Person) -> Any:
    """A value of a hand-over without the person; what only mentions the address goes."""
    if not isinstance(value, str) or person.address not in value.lower():
        return value
    return person.pseudonym


def _author(address: str) -> sa.ColumnElement[bool]:
    return mentions(m.c.header_from, address)


def _facts(address: str) -> sa.ColumnElement[bool]:
    return sa.and_(e.c.recipient.is_not(None), sa.func.lower(e.c.recipient) == address)


def _born(address: str) -> sa.ColumnElement[bool]:
    return sa.and_(e.c.kind.in_(("submitted", "turned_away")), mentions(e.c.data, address))
