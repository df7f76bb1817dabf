"""The tables of logs: the stays of mails in queues across files and runs, and how far growing files were read."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..store import schema
from ..store.bulk import insert_rows, update_rows
from ..store.database import dialect_insert
from .files import Place
from .join import Transaction

g, f, m, e = schema.log_mails, schema.log_files, schema.mails, schema.events
CHUNK = 500
HEADLESS = 14 * 86_400
"""Seconds by which the beginning of a stay may be found later than its middle: the file before was taken after it."""
AFTER = 60
"""The same where the Message-ID was the first line of it that was taken."""


def moment(at: int) -> datetime:
    """Seconds since 1970 as a moment."""
    return datetime.fromtimestamp(at, UTC)


def number_of(*parts: object) -> int:
    """The number of a mail that is not of the queue: below zero, and the same whenever and wherever it is read."""
    digest = hashlib.sha256(":".join(map(str, parts)).encode("utf-8", "replace")).digest()
    return -1 - (int.from_bytes(digest[:8], "big") >> 12)


def settle(connection: Connection, found: Sequence[Transaction], answered: Collection[int] = ()) -> int:
    """Keep transactions, and give each its mail's number, by what is kept of its queue id and its Message-ID. Without a
    Message-ID it gets one when it has been ``answered`` (by ``id``); until then it may still come. How many are new."""
    new = [one for one in found if not one.kept]
    rows = _rows(connection, {one.queue_id for one in new}) if new else {}
    own = own_mails(connection, {one.message_id for one in found if one.message_id and not one.mail})
    fresh: dict[tuple[str, str, str, int], Transaction] = {}
    changed: list[Transaction] = []
    for one in found:
        key = (one.queue_id, one.host, one.instance, one.first)
        if not one.kept:
            known = _same(one, rows.get(key[1:3] + key[:1], ()))
            if known is not None:
                _adopt(one, known)
            elif key in fresh:  # the id was used twice within a second
                one.mail, one.kept = fresh[key].mail, True
                continue
            else:
                fresh[key] = one
        if not one.mail and one.message_id:
            one.mail = own.get(one.message_id) or number_of(one.message_id)
        elif not one.mail and id(one) in answered:
            one.mail = number_of(one.host, one.instance, one.queue_id, one.first)
        if one.kept:
            changed.append(one)
        one.kept = True
    insert_rows(connection, g, [_row(one) for one in fresh.values()])
    if changed:
        update_rows(connection, g, ["queue_id", "first_at", "host", "instance"], [_row(one) for one in changed])
    return len(fresh)


def _rows(connection: Connection, ids: Collection[str]) -> dict[tuple[str, str, str], list[Any]]:
    found: defaultdict[tuple[str, str, str], list[Any]] = defaultdict(list)
    some = sorted(ids)
    for at in range(0, len(some), CHUNK):
        query = sa.select(g).where(g.c.queue_id.in_(some[at : at + CHUNK])).order_by(g.c.first_at)
        for row in connection.execute(query):
            found[row.host, row.instance, row.queue_id].append(row)
    return found


def _same(one: Transaction, rows: Sequence[Any]) -> Any:
    """The row of the same stay, if there is one; ``rows`` are those of its queue id, the oldest first."""
    for row in rows:
        if _seconds(row.first_at) == one.first:
            return row
    agree = [r for r in rows if not (r.message_id and one.message_id and r.message_id != one.message_id)]
    for row in reversed(agree):  # it goes on: the file before was taken
        first, done = _seconds(row.first_at), _seconds(row.done_at)
        if first <= one.first and (not done or done >= one.first) and not one.client:
            return row
    for row in agree:  # its middle was taken before its beginning
        late = HEADLESS if not row.began else 0 if row.client else AFTER
        if one.first <= _seconds(row.first_at) <= one.first + late and not one.done:
            return row
    return None


def _seconds(at: datetime | None) -> int:
    return int(at.timestamp()) if at is not None else 0


def _adopt(one: Transaction, row: Any) -> None:
    """What the store knows of a stay and these lines do not show."""
    one.mail, one.kept = int(row.mail_id), True
    one.first, one.began = _seconds(row.first_at), one.began or bool(row.began)
    one.last = max(one.last, _seconds(row.last_at))
    one.done = one.done or _seconds(row.done_at)
    one.message_id = one.message_id or row.message_id or ""
    one.sender = row.sender if one.sender is None else one.sender
    one.client, one.login = one.client or row.client or "", one.login or row.login or ""
    one.size, one.notice_of = one.size or int(row.size), one.notice_of or row.notice_of or ""


def _row(one: Transaction) -> dict[str, Any]:
    return {
        "host": one.host[:100],
        "instance": one.instance[:100],
        "queue_id": one.queue_id[:100],
        "first_at": moment(one.first),
        "last_at": moment(one.last),
        "done_at": moment(one.done) if one.done else None,
        "began": one.began,
        "mail_id": one.mail,
        "message_id": one.message_id or None,
        "sender": None if one.sender is None else one.sender[:320],
        "client": one.client[:300] or None,
        "login": one.login[:320] or None,
        "size": one.size,
        "notice_of": one.notice_of or None,
    }


def own_mails(connection: Connection, message_ids: Collection[str]) -> dict[str, int]:
    """The numbers of our own mails by Message-ID, also of those that are gone."""
    found: dict[str, int] = {}
    some = sorted(message_ids)
    for at in range(0, len(some), CHUNK):
        part = some[at : at + CHUNK]
        gone = sa.select(e.c.message_id, sa.func.max(e.c.mail_id)).where(
            e.c.message_id.in_(part), e.c.recipient.is_not(None), e.c.mail_id > 0
        )
        found.update({str(name): int(mail) for name, mail in connection.execute(gone.group_by(e.c.message_id))})
        kept = sa.select(m.c.message_id, m.c.id).where(m.c.message_id.in_(part)).order_by(m.c.id)
        found.update({str(name): int(mail) for name, mail in connection.execute(kept)})
    return found


def waiting(connection: Connection, mails: Iterable[int]) -> dict[int, dict[str, Any]]:
    """The recipients of these mails whose last fact is that they were put off, with that fact."""
    found: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    query = sa.select(e.c.mail_id, e.c.recipient, e.c.kind, e.c.data).where(
        e.c.mail_id.in_(sorted(set(mails))), e.c.kind.in_(("deferred", "sent", "failed")), e.c.recipient.is_not(None)
    )
    for row in connection.execute(query.order_by(e.c.at, e.c.id)):
        if row.kind == "deferred":
            found[int(row.mail_id)][row.recipient] = row.data or {}
        else:
            found[int(row.mail_id)].pop(row.recipient, None)
    return found


def place_of(connection: Connection, path: Path) -> Place | None:
    """How far a growing file was taken."""
    row = connection.execute(sa.select(f).where(f.c.path == str(path)[:1000])).first()
    return Place(int(row.device), int(row.inode), int(row.position)) if row is not None else None


def keep_place(connection: Connection, path: Path, place: Place, now: datetime) -> None:
    """Keep how far a growing file was taken."""
    values = {"device": place.device, "inode": str(place.inode), "position": place.offset, "at": now}
    insert = dialect_insert(connection.engine)(f).values(path=str(path)[:1000], **values)
    connection.execute(insert.on_conflict_do_update(index_elements=["path"], set_=values))
