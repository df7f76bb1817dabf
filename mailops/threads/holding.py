"""What threads and the inbound log keep of people: contacts, records, entries, notifications, who wrote to whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..ledger.erasure import Held, Person, mentions, rows_of
from ..store import schema

r, c, f = schema.records, schema.contacts, schema.followers
m, n, log = schema.messages, schema.notifications, schema.inbound_log
NOBODY = "Somebody who was forgotten"


class ThreadHolder:
    """Contacts and what they wrote. Records stay, without the person; the thread keeps its order."""

    def find(self, connection: Connection, address: str) -> Iterable[Held]:
        yield rows_of(connection, "contacts", sa.select(c).where(_contact(address)).order_by(c.c.id.desc()))
        yield rows_of(connection, "records", sa.select(r).where(_record(address)).order_by(r.c.id.desc()))
        yield rows_of(connection, "entries of threads", sa.select(m).where(_entry(address)).order_by(m.c.id.desc()))
        told = sa.select(n).where(_told(address))
        yield rows_of(connection, "notifications", told.order_by(n.c.id.desc()))
        seen = sa.select(log).where(_seen(address))
        yield rows_of(connection, "inbound log", seen.order_by(log.c.id.desc()))

    def forget(self, connection: Connection, person: Person) -> Mapping[str, int]:
        address, name = person.address, person.pseudonym
        whose = sa.select(c.c.id).where(_contact(address))
        connection.execute(sa.delete(f).where(f.c.contact_id.in_(whose)))
        # an entry's author is its contact; read before the contact has another name
        entries = connection.execute(sa.update(m).where(_entry(address)).values(subject=None, body=None)).rowcount
        connection.execute(sa.update(m).where(_wrote(address)).values(author_email=name))
        told = sa.update(n).where(_told(address)).values(address=name, reason=None)
        notified = connection.execute(told).rowcount
        contact = {"name": NOBODY, "email": name, "email_normalised": name, "active": False}
        contacts = connection.execute(sa.update(c).where(_contact(address)).values(**contact)).rowcount
        record = {"name": NOBODY, "email_from": name, "email_normalised": name, "values": {}}
        theirs = sa.update(r).where(r.c.email_normalised == address).values(**record)
        owned = sa.update(r).where(sa.func.lower(r.c.owner) == address).values(owner=name)
        records = connection.execute(theirs).rowcount + connection.execute(owned).rowcount
        rest = sa.update(r).where(mentions(r.c["values"], address)).values(values={})
        records += connection.execute(rest).rowcount
        seen = {"sender": name, "recipients": None, "answer": None, "data": None}
        logged = connection.execute(sa.update(log).where(_seen(address)).values(**seen)).rowcount
        return {
            "contacts": contacts,
            "records": records,
            "entries of threads": entries,
            "notifications": notified,
            "inbound log": logged,
        }

    def old(self, kind: str, before: datetime) -> sa.Select[Any] | None:
        if kind != "received":
            return None
        says = sa.or_(log.c.sender.is_not(None), log.c.recipients.is_not(None), log.c.answer.is_not(None))
        return sa.select(log.c.id).where(log.c.at < before, says).order_by(log.c.id)

    def end(self, connection: Connection, kind: str, which: Sequence[Any]) -> None:
        values = {"sender": None, "recipients": None, "answer": None, "data": None}
        connection.execute(sa.update(log).where(log.c.id.in_(which)).values(**values))


def _contact(address: str) -> sa.ColumnElement[bool]:
    return c.c.email_normalised == address


def _record(address: str) -> sa.ColumnElement[bool]:
    return sa.or_(
        r.c.email_normalised == address, sa.func.lower(r.c.owner) == address, mentions(r.c["values"], address)
    )


def _wrote(address: str) -> sa.ColumnElement[bool]:
    whose = sa.select(c.c.id).where(_contact(address))
    return sa.or_(m.c.author_id.in_(whose), mentions(m.c.author_email, address))


def _entry(address: str) -> sa.ColumnElement[bool]:
    """Entries by the person, and those of records that are about the person."""
    about = sa.select(r.c.id).where(r.c.email_normalised == address)
    return sa.or_(_wrote(address), m.c.record_id.in_(about))


def _told(address: str) -> sa.ColumnElement[bool]:
    return sa.func.lower(n.c.address) == address


def _seen(address: str) -> sa.ColumnElement[bool]:
    columns = (log.c.sender, log.c.recipients, log.c.answer, log.c.reason, log.c.data)
    return sa.or_(*(mentions(column, address) for column in columns))
