"""Who was forgotten and came back with a backup: found by the keyed pseudonym, and forgotten once more.

A backup is a store of the past, and knows nobody who was forgotten after it. The store that it takes the place of does:
it names them by pseudonym, which nobody can turn back, but every address of the restored store can be asked whether it
is one of them. What was *Outgoing* to or of such an address had been done before it was forgotten, or it could not have
been: it is cancelled, and never leaves twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..errors import MailopsError
from ..store import schema
from ..store.database import explained, reading
from .erasure import Erasure
from .names import Names

_ADDRESS = re.compile(r"[^\s<>\"(),;:\\\[\]{}]{1,64}@[^\s<>\"(),;:\\\[\]{}]{1,255}")
_AHEAD = 1_000  # rows that are read in one go


@dataclass(frozen=True, slots=True)
class Again:
    """Pseudonyms of those who came back and were forgotten again, mails of theirs that were cancelled, and in words why
    somebody could not be forgotten."""

    forgotten: tuple[str, ...] = ()
    cancelled: int = 0
    left: tuple[str, ...] = ()


def forget_again(
    engine: Engine, erasure: Erasure, names: Names, pseudonyms: Iterable[str], *, cancel: Callable[[int], object]
) -> Again:
    """Forget those of ``pseudonyms`` whose addresses stand in the store. ``cancel`` takes the number of a mail."""
    wanted, done, left, cancelled = set(pseudonyms), [], [], 0
    if not wanted:
        return Again()
    names.ready()
    with explained("looking who came back"), reading(engine) as connection:
        found = {name: address for address in _addresses(connection) if (name := names.of(address)) in wanted}
    for name, address in sorted(found.items()):
        try:
            for mail in erasure.about(address).waiting:
                cancel(mail)
                cancelled += 1
            erasure.forget(address, digest=erasure.about(address).digest, actor="restore")
            done.append(name)
        except MailopsError as error:
            left.append(f"{name}: {error.code}")
    return Again(tuple(done), cancelled, tuple(left))


def _addresses(connection: Connection) -> set[str]:
    """Everything in the store's texts that has the form of an address, in lower case."""
    found: set[str] = set()
    for table in schema.metadata.sorted_tables:
        for column in table.columns:
            if isinstance(getattr(column.type, "impl", column.type), sa.String | sa.JSON):
                text = sa.cast(column, sa.Text)
                query = sa.select(text).distinct().where(text.contains("@")).execution_options(yield_per=_AHEAD)
                found.update(one.lower() for (cell,) in connection.execute(query) for one in _ADDRESS.findall(cell))
    return found
