"""Leases batches of due mails to a worker, without the recipients who were suppressed meanwhile, and records them.

What :mod:`.submit` asks of the suppression list for new mail is asked here again for mail that waited: such a recipient
fails with ``mail_bl`` and the reason, before anything is on the wire. A mail that has nobody left is done at once, and
that was no attempt. Each function is one transaction over :mod:`mailops.ledger.attempts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.engine import Connection, Engine

from ..ledger import Book, attempts
from ..ledger.attempts import backlog, due, from_the_future, make_due, open_attempts, owners, renew
from ..ledger.values import Leased, Settled, Wanted
from ..model.address import normalise
from ..model.setup import MailClass
from ..model.states import DeliveryState
from ..store.database import explained
from ..suppression.store import Barred, blocked

__all__ = [
    "Leased",
    "Settled",
    "SetupChanged",
    "Wanted",
    "backlog",
    "due",
    "from_the_future",
    "lease",
    "make_due",
    "open_attempts",
    "owners",
    "release",
    "renew",
    "settle",
]


Place = Callable[[Leased], str]


class SetupChanged(Exception):
    """The set-up that a worker decides by is not the present one any more; nothing was leased."""


def lease(
    engine: Engine,
    worker: str,
    *,
    now: datetime,
    batch: int,
    duration: timedelta,
    book: Book,
    wanted: Sequence[Wanted] | None = None,
    ids: Sequence[int] | None = None,
    place: Place | None = None,
    stands: Callable[[], bool] = lambda: True,
) -> list[Leased]:
    """Take up to ``batch`` due mails for ``worker``, of each lane and rank as many as are ``wanted`` (None: of all);
    none when nothing is due.

    With ``ids`` only those, whatever their schedule. Recipients that were suppressed meanwhile are left out. ``place``
    says by the set-up of this moment which lane a mail belongs to: one that waits elsewhere is moved there and not
    taken. ``stands`` is asked inside the transaction whether that set-up is the present one.

    Raises :class:`SetupChanged` when it is not.
    """
    while True:
        with explained("taking mails from the queue"), engine.begin() as connection:
            if not stands():
                raise SetupChanged
            taken = attempts.take(connection, worker, now=now, batch=batch, duration=duration, wanted=wanted, ids=ids)
            placed = _placed(connection, worker, taken, place) if place and ids is None else taken
            left = _bar(connection, book, worker, placed, now)
        if left or not taken:
            return left


def _placed(connection: Connection, worker: str, taken: Sequence[Leased], place: Place) -> list[Leased]:
    """What belongs to the lane that it waited in; the others are moved to theirs."""
    lanes = {mail.mail_id: place(mail) for mail in taken}
    moved = [mail for mail in taken if lanes[mail.mail_id] != mail.lane]
    if not moved:
        return list(taken)
    attempts.give_back(connection, worker, moved)
    attempts.change_lane(connection, {mail.mail_id: lanes[mail.mail_id] for mail in moved})
    return [mail for mail in taken if lanes[mail.mail_id] == mail.lane]


def _bar(connection: Connection, book: Book, worker: str, taken: Sequence[Leased], now: datetime) -> list[Leased]:
    """Fail the suppressed recipients; gives back what is still to be sent."""
    everybody = {normalise(recipient) for mail in taken for recipient in mail.recipients}
    entries = (
        {entry.address: entry for entry in blocked(connection, everybody, now=now, names=book.names)}
        if everybody
        else {}
    )
    if not entries:
        return list(taken)
    left, done = [], []
    for mail in taken:
        out = {r: entries[normalise(r)].why for r in mail.recipients if _applies(entries.get(normalise(r)), mail)}
        if not out:
            left.append(mail)
            continue
        attempts.bar(connection, book, mail, out, now=now)
        rest = tuple(r for r in mail.recipients if r not in out)
        others = (*mail.others, *(DeliveryState.FAILED for _ in out))
        if rest:
            left.append(replace(mail, recipients=rest, others=others))
        else:
            done.append(mail)
    if done:
        attempts.give_back(connection, worker, done)
    return left


def _applies(entry: Barred | None, mail: Leased) -> bool:
    return entry is not None and (entry.scope == "all" or mail.mail_class == MailClass.MASS.value)


def release(engine: Engine, worker: str, mails: Sequence[Leased]) -> None:
    """Give mails back that were never tried: the attempt never happened."""
    if mails:
        with explained("giving mails back to the queue"), engine.begin() as connection:
            attempts.give_back(connection, worker, mails)


def settle(engine: Engine, worker: str, settled: Sequence[Settled], *, now: datetime, book: Book) -> None:
    """Record what became of a batch, in one commit with what follows of it."""
    if settled:
        with explained("recording what was sent"), engine.begin() as connection:
            attempts.record(connection, book, worker, settled, now=now)
