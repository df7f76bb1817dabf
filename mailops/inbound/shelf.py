"""The shelf: mail that mailops could not process. Each is kept with its reason until it can be.

It is no quarantine: what is refused never lies here, and a mail on the shelf stops no other. A retry decides a mail
again with today's version and rules, alone; the preview does the same and rolls everything back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..errors import NotFound
from ..mime import decode_words, fields_of, peek
from ..store.database import explained, reading
from .counts import State
from .intake import Intake
from .intake_rows import i, raws


@dataclass(frozen=True, slots=True)
class Shelved:
    """A mail on the shelf, and why it is there."""

    id: int
    account: str
    folder: str
    uid: str
    message_id: str | None
    sender: str | None
    subject: str
    size: int
    seen_at: datetime
    shelved_at: datetime | None
    tries: int
    reason: str


@dataclass(frozen=True, slots=True)
class Again:
    """What became (or, in a preview, would become) of a mail of the shelf: a state of the intake, with the reason where
    it stays."""

    id: int
    state: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Retried:
    """A retry of several mails, or its preview (``done`` False)."""

    mails: tuple[Again, ...]
    done: bool

    @property
    def left(self) -> int:
        """How many stay on the shelf."""
        return sum(one.state == State.SHELVED for one in self.mails)

    @property
    def words(self) -> str:
        """The sum in one sentence."""
        read = len(self.mails) - self.left
        if self.done:
            return f"{read} of {len(self.mails)} left the shelf."
        return f"This version can read {read} of {len(self.mails)}."

    def as_dict(self) -> dict[str, Any]:
        """``{"done", "read", "left", "mails": [{"id", "state", "reason"}]}``."""
        mails = [{"id": one.id, "state": one.state, "reason": one.reason} for one in self.mails]
        return {"done": self.done, "read": len(self.mails) - self.left, "left": self.left, "mails": mails}


class Shelf:
    """The shelf of one store."""

    def __init__(self, engine: Engine, intake: Intake) -> None:
        self._engine, self._intake = engine, intake

    def mails(self, *, limit: int = 1000) -> list[Shelved]:
        """What lies on the shelf, oldest first."""
        columns = [column for column in i.columns if column.name not in ("digest", "given", "notices", "log_id")]
        query = sa.select(*columns, sa.func.substr(raws.c.raw, 1, 6_000).label("head")).join(
            raws, raws.c.intake_id == i.c.id, isouter=True
        )
        query = query.where(i.c.state == State.SHELVED.value).order_by(i.c.id).limit(limit)
        with explained("reading the shelf"), reading(self._engine) as connection:
            return [
                Shelved(
                    int(row.id), row.account, row.folder, row.uid, row.message_id, row.sender,
                    _subject(bytes(row.head or b"")), int(row.size), row.seen_at, row.done_at,
                    int(row.tries), row.reason or "",
                )
                for row in connection.execute(query)
            ]  # fmt: skip

    def raw(self, key: int) -> bytes:
        """The bytes of a mail of the shelf. Raises :class:`NotFound`."""
        query = sa.select(raws.c.raw).join(i, i.c.id == raws.c.intake_id)
        with explained("reading the shelf"), reading(self._engine) as connection:
            found = connection.execute(query.where(i.c.id == key, i.c.state == State.SHELVED.value)).scalar()
        if found is None:
            raise _nothing(key)
        return bytes(found)

    def preview(self, ids: Sequence[int] = ()) -> Retried:
        """What a retry of these mails (none named: of all) would come to; nothing is changed."""
        found = ((key, *self._intake.tried(key)) for key in self._chosen(ids))
        return Retried(tuple(Again(key, state.value, why) for key, state, why in found), done=False)

    def retry(self, ids: Sequence[int] = ()) -> Retried:
        """Decide these mails (none named: all) again, each alone; one that fails again stays, with its new reason."""
        made = []
        for key in self._chosen(ids):
            state = self._intake.again(key)
            made.append(
                Again(key, state.value if state else "gone", self._reason(key) if state is State.SHELVED else None)
            )
        self._intake.release()
        return Retried(tuple(made), done=True)

    def _chosen(self, ids: Sequence[int]) -> list[int]:
        query = sa.select(i.c.id).where(i.c.state == State.SHELVED.value).order_by(i.c.id)
        with explained("reading the shelf"), reading(self._engine) as connection:
            there = [int(key) for key in connection.execute(query).scalars()]
        for key in ids:
            if key not in there:
                raise _nothing(key)
        return list(dict.fromkeys(ids)) if ids else there

    def _reason(self, key: int) -> str | None:
        with explained("reading the shelf"), reading(self._engine) as connection:
            found: str | None = connection.execute(sa.select(i.c.reason).where(i.c.id == key)).scalar()
        return found


def _subject(head: bytes) -> str:
    return " ".join(decode_words(fields_of(peek(head)[0]).first("subject")).split())[:200]


def _nothing(key: int) -> NotFound:
    return NotFound(
        f"There is no mail {key} on the shelf.",
        facts={"mail": key},
        fix="See what there is: mailops inbound shelf list",
    )
