"""The rows of the intake: one for each mail that a way in has shown, and the bytes of those that still need them.

Every function works in the caller's transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..model.states import MailState
from ..store import schema
from ..store.bulk import among, insert_blob, insert_numbered, insert_rows, update_rows
from ..store.database import alone
from .counts import State
from .raw import LARGE, Raw, pieces

i, raws, folders = schema.intake, schema.intake_raw, schema.intake_folders
KEPT = (State.WAITING.value, State.SHELVED.value)
"""The states whose bytes are needed: nothing but a decision lets them go."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a mail stands at its way in: account, folder, and the folder's UIDVALIDITY (0 where there is none)."""

    account: str
    folder: str = ""
    uidvalidity: int = 0

    def here(self) -> sa.ColumnElement[bool]:
        """The condition that picks the rows of this place."""
        return sa.and_(i.c.account == self.account, i.c.folder == self.folder, i.c.uidvalidity == self.uidvalidity)

    def columns(self) -> dict[str, Any]:
        return {"account": self.account, "folder": self.folder, "uidvalidity": self.uidvalidity}


def one_at_a_time(connection: Connection) -> None:
    """Let one transaction at a time store what came in, so that nothing is stored twice."""
    alone(connection, 7312053)


def known(connection: Connection, place: Place, uids: Collection[str] | None = None) -> dict[str, Any]:
    """The rows of a place by UID (``id``, ``state``, ``tries``); of these UIDs, or all."""
    found: dict[str, Any] = {}
    columns = (i.c.uid, i.c.id, i.c.state, i.c.tries, i.c.digest, i.c.decision)
    if uids is None:
        return {row.uid: row for row in connection.execute(sa.select(*columns).where(place.here()))}
    for some in chunks(list(uids)):
        query = sa.select(*columns).where(place.here(), i.c.uid.in_(some))
        found |= {row.uid: row for row in connection.execute(query)}
    return found


def same_mails(connection: Connection, digests: Collection[str]) -> set[tuple[str | None, str]]:
    """(Message-ID, digest) of the mails with one of these digests that were stored."""
    stored = i.c.state.not_in([State.UNREADABLE.value, State.DOUBLED.value])
    query = sa.select(i.c.message_id, i.c.digest).where(i.c.digest.in_(list(digests)), stored)
    return {(row.message_id, row.digest) for row in connection.execute(query)}


def add(connection: Connection, rows: Sequence[Mapping[str, Any]], bytes_of: Sequence[Raw | None]) -> list[int]:
    """New rows, each with its bytes where it has any; their ids, in order."""
    if not rows:
        return []
    ids = insert_numbered(connection, i, rows)
    kept = [(key, raw) for key, raw in zip(ids, bytes_of, strict=True) if raw is not None]
    large = [(key, raw) for key, raw in kept if len(raw) > LARGE]
    insert_rows(connection, raws, [{"intake_id": key, "raw": raw} for key, raw in kept if len(raw) <= LARGE])
    for key, raw in large:
        insert_blob(connection, raws, {"intake_id": key}, "raw", len(raw), pieces(raw))
    return ids


def change(connection: Connection, key: int, *, was: str | None = None, **values: Any) -> bool:
    """Change one row, where it still is in the state ``was``; whether it was."""
    which = [i.c.id == key] + ([i.c.state == was] if was else [])
    return connection.execute(sa.update(i).where(*which).values(**values)).rowcount == 1


def waiting(connection: Connection, ids: Collection[int]) -> set[int]:
    """Those of these rows that still wait."""
    query = sa.select(i.c.id).where(among(i.c.id, ids), i.c.state == State.WAITING.value)
    return {int(key) for key in connection.execute(query).scalars()}


def settle(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write what was decided of waiting mails: ``id``, ``state``, ``decision``, ``done_at``, ``log_id``."""
    update_rows(connection, i, ["id"], rows, i.c.state == State.WAITING.value)


def came_again(connection: Connection, ids: Collection[int]) -> None:
    """These mails were shown once more at their place, each as often as it is named."""
    for key, times in Counter(ids).items():
        connection.execute(sa.update(i).where(i.c.id == key).values(again=i.c.again + times))


def without_bytes(connection: Connection, ids: Collection[int]) -> None:
    """Let the bytes of these mails go, and who wrote them to whom with them."""
    for some in chunks(list(ids)):
        connection.execute(sa.delete(raws).where(raws.c.intake_id.in_(some)))
        connection.execute(sa.update(i).where(i.c.id.in_(some)).values(sender=None, recipients=None))


def release(connection: Connection, now: datetime, longest: Any) -> int:
    """Let the bytes of refused mails go whose notices have left, or that have waited ``longest``; how many."""
    m = schema.mails
    query = (
        sa.select(i.c.id, i.c.done_at, i.c.notices)
        .join(raws, raws.c.intake_id == i.c.id)
        .where(i.c.state == State.REFUSED.value)
    )
    rows = connection.execute(query).all()
    asked = sorted({mail for row in rows for mail in row.notices or ()})
    open_: set[int] = set()
    for some in chunks(asked):
        waiting = sa.select(m.c.id).where(m.c.id.in_(some), m.c.state == MailState.OUTGOING.value)
        open_ |= set(connection.execute(waiting).scalars())
    gone = [row.id for row in rows if not open_ & set(row.notices or ()) or row.done_at + longest <= now]
    without_bytes(connection, gone)
    return len(gone)


def states(connection: Connection, ids: Iterable[int]) -> list[tuple[str, int]]:
    """How many of these rows are in which state."""
    found: list[tuple[str, int]] = []
    for some in chunks(list(ids)):
        query = sa.select(i.c.state, sa.func.count()).where(i.c.id.in_(some)).group_by(i.c.state)
        found += [(row[0], int(row[1])) for row in connection.execute(query)]
    return found


Told = tuple[str, str | None, int]
"""UID, Message-ID and size of a mail, as its folder tells them."""


def book(
    connection: Connection, place: Place, told: Sequence[Told], state: State, why: str, now: datetime
) -> list[int]:
    """Rows for mails that are left where they are; those that have one keep it."""
    have = known(connection, place, [uid for uid, _, _ in told])
    values = [
        {**place.columns(), "uid": uid, "state": state.value, "reason": why, "message_id": message_id, "size": size,
         "seen_at": now, "done_at": now, "tries": 0, "again": 0}
        for uid, message_id, size in told
        if uid not in have
    ]  # fmt: skip
    return add(connection, values, [None] * len(values))


def skipped(connection: Connection, place: Place, before: Sequence[int]) -> set[tuple[str | None, int]]:
    """(Message-ID, size) of what is left alone in a folder under these UIDVALIDITYs."""
    which = sa.and_(i.c.account == place.account, i.c.folder == place.folder, i.c.uidvalidity.in_(list(before)))
    left = sa.or_(i.c.state == State.SKIPPED.value, sa.and_(i.c.state == State.DOUBLED.value, i.c.digest.is_(None)))
    query = sa.select(i.c.message_id, i.c.size).where(which, left, i.c.message_id.is_not(None))
    return {(row.message_id, int(row.size)) for row in connection.execute(query)}


def uidvalidities(connection: Connection, place: Place) -> list[int]:
    """The UIDVALIDITYs a folder had, oldest first."""
    here = (folders.c.account == place.account, folders.c.folder == place.folder)
    query = sa.select(folders.c.uidvalidity).where(*here).order_by(folders.c.opened_at)
    return [int(value) for value in connection.execute(query).scalars()]


def open_folder(connection: Connection, place: Place, now: datetime) -> None:
    """Note a folder that is not known under this UIDVALIDITY."""
    connection.execute(sa.insert(folders).values(**place.columns(), opened_at=now, missing=[]))


def check_folder(connection: Connection, place: Place, uids: Collection[str], now: datetime) -> list[str]:
    """Compare a folder with its rows and note the UIDs that have none."""
    missing = sorted(set(uids) - set(known(connection, place)), key=lambda uid: (len(uid), uid))
    here = (
        folders.c.account == place.account,
        folders.c.folder == place.folder,
        folders.c.uidvalidity == place.uidvalidity,
    )
    connection.execute(sa.update(folders).where(*here).values(missing=missing, checked_at=now))
    return missing


def chunks(values: list[Any], size: int = 500) -> Iterable[list[Any]]:
    """The values in pieces that fit into one statement."""
    return (values[at : at + size] for at in range(0, len(values), size))
