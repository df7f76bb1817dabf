"""Records, aliases, contacts, followers, messages and notifications in the store.

Every function works in the caller's transaction: the gateway and the threads do several of these things at once, and
all of them happen or none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..model.address import parse_first
from ..model.states import DeliveryState
from ..store import schema
from ..store.bulk import among, insert_numbered, insert_rows
from ..store.database import alone

r, a, c, f = schema.records, schema.aliases, schema.contacts, schema.followers
m, n, log = schema.messages, schema.notifications, schema.inbound_log

OPEN, FAILED = ("ready", "pending"), ("exception", "bounce")


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact; ``email`` as written, ``address`` normalised (its first address)."""

    id: int
    name: str
    email: str | None
    address: str | None
    is_user: bool
    notify_by: str
    active: bool
    bounces: int


@dataclass(frozen=True, slots=True)
class Record:
    """A record that mail is about."""

    id: int
    model: str
    name: str
    email: str | None
    company_id: int | None
    owner: str | None
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a thread."""

    id: int
    message_id: str
    record_id: int | None
    parent_id: int | None
    kind: str
    author_id: int | None
    author_email: str | None
    subject: str | None
    body: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Notification:
    """What one contact was told of one message, and how it went."""

    id: int
    message_id: int
    contact_id: int | None
    channel: str
    address: str | None
    state: str
    mail_id: int | None
    failure_type: str | None
    reason: str | None
    is_read: bool


def address_of(text: str | None) -> str | None:
    """The normalised first address of a text."""
    found = parse_first(text)
    return found.normalised if found else None


def serialise(connection: Connection) -> None:
    """Let one gateway transaction run at a time."""
    alone(connection, 7312051)


# --- contacts ---------------------------------------------------------------------------------------------------------


def add_contact(
    connection: Connection, name: str, email: str | None, *, is_user: bool = False, notify_by: str = "email"
) -> int:
    """A new contact; returns its id."""
    row = {
        "name": name,
        "email": email,
        "email_normalised": address_of(email),
        "is_user": is_user,
        "notify_by": notify_by,
    }
    return _inserted(connection, c, row)


def contact(connection: Connection, contact_id: int) -> Contact | None:
    """A contact by id."""
    row = connection.execute(sa.select(c).where(c.c.id == contact_id)).first()
    return _contact(row) if row else None


def contacts_at(connection: Connection, address: str) -> list[Contact]:
    """Active contacts with this normalised address, oldest first."""
    query = sa.select(c).where(c.c.email_normalised == address, c.c.active.is_(True)).order_by(c.c.id)
    return [_contact(row) for row in connection.execute(query)]


def contacts_by(connection: Connection, addresses: Collection[str]) -> dict[str, list[Contact]]:
    """As :func:`contacts_at`, of many addresses at once."""
    query = sa.select(c).where(among(c.c.email_normalised, addresses), c.c.active.is_(True)).order_by(c.c.id)
    found: dict[str, list[Contact]] = {}
    for row in connection.execute(query):
        found.setdefault(row.email_normalised, []).append(_contact(row))
    return found


def _contact(row: Any) -> Contact:
    return Contact(
        int(row.id), row.name, row.email, row.email_normalised, row.is_user, row.notify_by, row.active, row.bounce_count
    )


# --- records and followers --------------------------------------------------------------------------------------------


def add_record(connection: Connection, model: str, name: str, *, now: datetime, **fields: Any) -> int:
    """A new record; ``fields``: email, company_id, owner, values."""
    return _inserted(connection, r, record_row(model, name, now=now, **fields))


def record_row(model: str, name: str, *, now: datetime, **fields: Any) -> dict[str, Any]:
    """The values of a new record; ``fields``: email, company_id, owner, values."""
    return {
        "model": model,
        "name": name,
        "email_from": fields.get("email"),
        "email_normalised": address_of(fields.get("email")),
        "company_id": fields.get("company_id"),
        "owner": fields.get("owner"),
        "values": dict(fields.get("values") or {}),
        "created_at": now,
    }


def add_records(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """New records (:func:`record_row`); their ids, in order."""
    return insert_numbered(connection, r, rows)


def record(connection: Connection, record_id: int) -> Record | None:
    """A record by id."""
    row = connection.execute(sa.select(r).where(r.c.id == record_id)).first()
    if row is None:
        return None
    return Record(
        int(row.id), row.model, row.name, row.email_from, row.company_id, row.owner, row._mapping["values"] or {}
    )


def records_of(connection: Connection, model: str) -> list[int]:
    """Ids of all records of a kind, oldest first."""
    return [int(i) for i in connection.execute(sa.select(r.c.id).where(r.c.model == model).order_by(r.c.id)).scalars()]


def created_by(connection: Connection, sender: str, since: datetime) -> int:
    """How many records mails of this normalised sender made since then, whatever their kind."""
    query = sa.select(sa.func.count()).select_from(r).where(r.c.email_normalised == sender, r.c.created_at >= since)
    return int(connection.execute(query).scalar_one())


def created_by_many(connection: Connection, senders: Collection[str], since: datetime) -> dict[str, int]:
    """As :func:`created_by`, of many senders at once; who made none is left out."""
    which = (among(r.c.email_normalised, senders), r.c.created_at >= since)
    query = sa.select(r.c.email_normalised, sa.func.count()).where(*which).group_by(r.c.email_normalised)
    return {row[0]: int(row[1]) for row in connection.execute(query)}


def follow(connection: Connection, record_id: int, contact_id: int, subtypes: Sequence[str] = ("discussion",)) -> None:
    """Make a contact follow a record, or change which subtypes it follows."""
    key = (f.c.record_id == record_id, f.c.contact_id == contact_id)
    values = {"subtypes": list(subtypes)}
    if connection.execute(sa.update(f).where(*key).values(values)).rowcount == 0:
        connection.execute(sa.insert(f).values(record_id=record_id, contact_id=contact_id, **values))


def follow_new(connection: Connection, pairs: Sequence[tuple[int, int]]) -> None:
    """(record, contact): each follows the discussion of a record that is new."""
    rows = [{"record_id": record_id, "contact_id": who, "subtypes": ["discussion"]} for record_id, who in pairs]
    insert_rows(connection, f, rows)


def follower_ids(connection: Connection, record_id: int) -> frozenset[int]:
    """The contacts that follow a record."""
    return frozenset(
        int(i) for i in connection.execute(sa.select(f.c.contact_id).where(f.c.record_id == record_id)).scalars()
    )


def followers(connection: Connection, record_id: int) -> list[tuple[Contact, frozenset[str]]]:
    """Active followers with the subtypes they follow, oldest first."""
    query = (
        sa.select(c, f.c.subtypes)
        .join(f, f.c.contact_id == c.c.id)
        .where(f.c.record_id == record_id, c.c.active.is_(True))
        .order_by(f.c.id)
    )
    return [(_contact(row), frozenset(row.subtypes or ())) for row in connection.execute(query)]


# --- counters ---------------------------------------------------------------------------------------------------------


def count_bounce(connection: Connection, contact_ids: Iterable[int], record_ids: Iterable[int]) -> None:
    """One bounce more on each of these contacts and records."""
    connection.execute(
        sa.update(c).where(c.c.id.in_([int(i) for i in contact_ids])).values(bounce_count=c.c.bounce_count + 1)
    )
    for record_id in record_ids:
        found = record(connection, int(record_id))
        if found:
            values = {**found.values, "bounce_count": int(found.values.get("bounce_count") or 0) + 1}
            connection.execute(sa.update(r).where(r.c.id == found.id).values({"values": values}))


def reset_bounces(connection: Connection, address: str) -> None:
    """A mail from this address arrived: it works, its counters go back to 0."""
    connection.execute(sa.update(c).where(c.c.email_normalised == address, c.c.bounce_count > 0).values(bounce_count=0))
    for row in connection.execute(sa.select(r.c.id, r.c["values"]).where(r.c.email_normalised == address)).all():
        values = dict(row._mapping["values"] or {})
        if values.get("bounce_count"):
            connection.execute(sa.update(r).where(r.c.id == row.id).values({"values": {**values, "bounce_count": 0}}))


def bounced(connection: Connection, addresses: Collection[str]) -> set[str]:
    """Those of these addresses that have a counter to put back (:func:`reset_bounces`)."""
    counter = r.c["values"]["bounce_count"].as_integer()
    people = sa.select(c.c.email_normalised).where(among(c.c.email_normalised, addresses), c.c.bounce_count > 0)
    things = sa.select(r.c.email_normalised).where(among(r.c.email_normalised, addresses), counter > 0)
    return set(connection.execute(people).scalars()) | set(connection.execute(things).scalars())


# --- aliases ----------------------------------------------------------------------------------------------------------


def remove_aliases(connection: Connection, domain_id: int, model: str, locals_: Collection[str]) -> None:
    """Remove a model's aliases with these local parts."""
    a = schema.aliases
    connection.execute(sa.delete(a).where(a.c.alias_domain_id == domain_id, a.c.model == model, a.c.local.in_(locals_)))


def add_alias(
    connection: Connection, local: str, model: str, *, domain_id: int | None, settings: Mapping[str, Any] | None = None
) -> int:
    """A new alias. ``settings``: policy, any_domain, record, parent, defaults, owner, company, bounced_content,
    automatic."""
    row = {
        "local": local,
        "alias_domain_id": domain_id,
        "model": model,
        "settings": {"status": "not_tested", **(settings or {})},
    }
    return _inserted(connection, a, row)


def alias_rows(connection: Connection) -> list[Any]:
    """All aliases with the name of their domain, in order of name."""
    d = schema.alias_domains
    query = sa.select(a, d.c.name.label("domain")).join(d, d.c.id == a.c.alias_domain_id, isouter=True)
    return list(connection.execute(query.order_by(a.c.local, a.c.id)))


def set_alias(connection: Connection, alias_id: int, **changes: Any) -> None:
    """Change settings of an alias. A new policy, defaults or model puts its status back to *not tested*."""
    row = connection.execute(sa.select(a.c.settings).where(a.c.id == alias_id)).first()
    if row is None:
        return
    model = changes.pop("model", None)
    settings = {**(row.settings or {}), **changes}
    if model is not None or set(changes) & {"policy", "defaults"}:
        settings["status"] = "not_tested"
    values: dict[str, Any] = {"settings": settings}
    if model is not None:
        values["model"] = model
    connection.execute(sa.update(a).where(a.c.id == alias_id).values(values))


def alias_statuses(connection: Connection) -> dict[int, str]:
    """The status of each alias."""
    rows = connection.execute(sa.select(a.c.id, a.c.settings))
    return {int(row.id): str((row.settings or {}).get("status")) for row in rows}


def remove_alias(connection: Connection, alias_id: int) -> None:
    """Remove an alias."""
    connection.execute(sa.delete(a).where(a.c.id == alias_id))


# --- messages and notifications ---------------------------------------------------------------------------------------


def add_message(connection: Connection, values: Mapping[str, Any]) -> int:
    """A new entry of a thread."""
    return _inserted(connection, m, values)


def add_messages(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """New entries of threads; their ids, in order."""
    return insert_numbered(connection, m, rows)


def known_ids(connection: Connection, message_ids: Collection[str]) -> set[str]:
    """Those of these Message-IDs that an entry has."""
    return set(connection.execute(sa.select(m.c.message_id).where(among(m.c.message_id, message_ids))).scalars())


def message(connection: Connection, key: int) -> Message | None:
    """An entry by row id."""
    row = connection.execute(sa.select(m).where(m.c.id == key)).first()
    return Message(*row) if row else None


def move_message(connection: Connection, key: int, record_id: int, parent_id: int | None) -> None:
    """Put an entry on another record."""
    connection.execute(sa.update(m).where(m.c.id == key).values(record_id=record_id, parent_id=parent_id))


def message_by_mid(connection: Connection, message_id: str) -> Message | None:
    """The newest entry with this Message-ID."""
    row = connection.execute(sa.select(m).where(m.c.message_id == message_id).order_by(m.c.id.desc()).limit(1)).first()
    return Message(*row) if row else None


def messages_of(connection: Connection, record_id: int) -> list[Message]:
    """A record's thread, oldest first."""
    return [
        Message(*row) for row in connection.execute(sa.select(m).where(m.c.record_id == record_id).order_by(m.c.id))
    ]


def first_id(connection: Connection, record_id: int) -> str | None:
    """The Message-ID of a thread's first entry."""
    query = sa.select(m.c.message_id).where(m.c.record_id == record_id).order_by(m.c.id).limit(1)
    found: str | None = connection.execute(query).scalar()
    return found


def first_row(connection: Connection, record_id: int) -> int | None:
    """The row id of a thread's first entry."""
    found: int | None = connection.execute(sa.select(sa.func.min(m.c.id)).where(m.c.record_id == record_id)).scalar()
    return found


def add_notification(connection: Connection, values: Mapping[str, Any]) -> int:
    """A new notification."""
    return _inserted(connection, n, values)


def failure_of(connection: Connection, mail_id: int) -> Any:
    """The failed delivery (``failure_type``, ``reply``) of a mail to one recipient, or None."""
    d = schema.deliveries
    failed = sa.and_(d.c.mail_id == mail_id, d.c.state == DeliveryState.FAILED.value)
    return connection.execute(sa.select(d.c.failure_type, d.c.reply).where(failed).limit(1)).first()


def notifications_of(connection: Connection, message_id: int) -> list[Notification]:
    """The notifications of an entry."""
    query = sa.select(n).where(n.c.message_id == message_id).order_by(n.c.id)
    return [Notification(*row) for row in connection.execute(query)]


def set_notifications(connection: Connection, *where: sa.ColumnElement[bool], **values: Any) -> int:
    """Change the notifications that fit; returns how many."""
    return connection.execute(sa.update(n).where(*where).values(**values)).rowcount


# --- the gateway's log ------------------------------------------------------------------------------------------------


def add_log(connection: Connection, values: Mapping[str, Any]) -> int:
    """One line of the gateway's log."""
    return _inserted(connection, log, values)


def log_digests(connection: Connection, message_ids: Sequence[str], decisions: Sequence[str]) -> set[str | None]:
    """The digests of the mails with one of these ids of which one of these was decided; None for a line without one."""
    which = (log.c.message_id.in_(list(message_ids)), log.c.decision.in_(list(decisions)))
    return set(connection.execute(sa.select(log.c.digest).where(*which).distinct()).scalars())


def add_logs(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Lines of the gateway's log; their ids, in order."""
    return insert_numbered(connection, log, rows)


def log_digests_of(
    connection: Connection, message_ids: Collection[str], decisions: Sequence[str]
) -> dict[str, set[str | None]]:
    """As :func:`log_digests`, by Message-ID."""
    which = (among(log.c.message_id, message_ids), log.c.decision.in_(list(decisions)))
    found: dict[str, set[str | None]] = {}
    for message_id, digest in connection.execute(sa.select(log.c.message_id, log.c.digest).where(*which).distinct()):
        found.setdefault(message_id, set()).add(digest)
    return found


LOOKED_BACK = 2_000  # lines of the log; a loop is quicker than that


def _lately(since: datetime) -> tuple[Any, sa.ColumnElement[bool]]:
    newest = sa.select(log.c.at, log.c.sender, log.c.data).order_by(log.c.id.desc()).limit(LOOKED_BACK).subquery()
    return newest, newest.c.at >= since


def log_after(connection: Connection, key: int) -> list[Any]:
    """The newest lines above this id, newest first, at most as many as are looked back: ``id``, ``at``, ``sender``,
    what it is ``like``, and which record an automatic mail went ``on``."""
    like, on = log.c.data["like"].as_string().label("like"), log.c.data["automatic_on"].as_integer().label("on")
    query = sa.select(log.c.id, log.c.at, log.c.sender, like, on).where(log.c.id > key)
    return list(connection.execute(query.order_by(log.c.id.desc()).limit(LOOKED_BACK)))


def log_alike(connection: Connection, domain: str, likeness: str, since: datetime) -> int:
    """From how many addresses of this domain mails came since then that are alike."""
    newest, young = _lately(since)
    of = sa.func.lower(newest.c.sender).contains(domain, autoescape=True)
    same = newest.c.data["like"].as_string() == likeness
    addresses = sa.func.count(sa.func.lower(newest.c.sender).distinct())
    query = sa.select(addresses).select_from(newest).where(young, of, same)
    return int(connection.execute(query).scalar_one())


def log_automatic(connection: Connection, record_id: int, since: datetime) -> int:
    """How many lines of the log since then are of automatic mails that were posted on this record."""
    newest, young = _lately(since)
    on = newest.c.data["automatic_on"].as_integer() == record_id
    return int(connection.execute(sa.select(sa.func.count()).select_from(newest).where(young, on)).scalar_one())


def log_page(
    connection: Connection, *, decision: str | None = None, offset: int = 0, limit: int = 25
) -> tuple[list[Any], int]:
    """Lines of the gateway's log, newest first, and how many there are."""
    which = [log.c.decision == decision] if decision else []
    total = connection.execute(sa.select(sa.func.count()).select_from(log).where(*which)).scalar_one()
    query = sa.select(log).where(*which).order_by(log.c.id.desc()).offset(offset).limit(limit)
    return list(connection.execute(query)), int(total)


def _inserted(connection: Connection, table: sa.Table, values: Mapping[str, Any]) -> int:
    return int(connection.execute(sa.insert(table).values(dict(values))).inserted_primary_key[0])  # type: ignore[index]
