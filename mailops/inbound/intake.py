"""The intake: takes mail from a way in, keeps it before it is acknowledged, and brings each to its end.

::

    shown ─▶ stored: row and bytes, one commit a batch ─▶ acknowledged ─▶ decided: each in a savepoint, with its row
               │ known by Message-ID and digest: doubled                    │ mailops cannot process it: the shelf

A kill between any two steps is settled by the next run: what is stored waits in its row, and a decision stands in the
same commit as everything it does. What fails is that mail's alone: it is rolled back and goes to the shelf with the
reason; only a database that cannot be written ends a run, and then nothing was acknowledged that is not stored. A mail
that takes the process with it is tried three times, alone, and then shelved.

Its bytes go with a refusal (with its notice, or after a day); those of other mail end with the kind *received*.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..bounces.own import Knowing, delivered
from ..errors import MailopsError, StoreError
from ..model.setup import Setup
from ..model.text import harmless
from ..ports import Clock
from ..store.database import explained, reading
from ..store.exclusive import alone, locks_of
from ..store.faults import store_error
from ..threads import store as repo
from . import intake_rows as rows
from .counts import Counts, State, counted, state_of
from .intake_rows import Place, folders, i, raws
from .raw import Raw, sha256_of
from .service import Gateway, Received
from .values import InboundMail
from .view import StoreView

log = logging.getLogger(__name__)
MOST, MOST_BYTES = 50, 8_000_000
"""How much is stored, acknowledged and decided at a time."""
TRIES = 3
LONGEST = timedelta(hours=24)
INGEST = "ingest"
READ_BEFORE = "read before the start"
BEFORE = "known from before the folder's UIDVALIDITY changed"

Lock = Callable[[str], AbstractContextManager[bool]]


def locks(engine: Engine, folder: Path) -> Lock:
    """One run at a time on an account: locks by its name, each gives whether it is ours."""

    def lock(name: str) -> AbstractContextManager[bool]:
        file = f"{hashlib.sha256(name.encode()).hexdigest()[:20]}.lock"
        return alone(locks_of(engine, folder, "taking an account"), file)

    return lock


"""Keeps a second run off an account; gives whether it is ours."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A mail as its way in shows it. ``uid`` is its name there; "" makes one of its content."""

    raw: Raw
    uid: str = ""
    model: str | None = None
    delivered_to: str | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """UIDs that stand in a folder and have no row: the sums of this folder are not right."""

    account: str
    folder: str
    uidvalidity: int
    uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sum:
    """The sums of one folder."""

    account: str
    folder: str
    uidvalidity: int
    counts: Counts

    def as_dict(self) -> dict[str, Any]:
        """Flat, as the command line prints it."""
        return {
            "account": self.account,
            "folder": self.folder,
            "uidvalidity": self.uidvalidity,
            **{name: getattr(self.counts, name) for name in Counts.__slots__},
        }


@dataclass(frozen=True, slots=True)
class Ledger:
    """The sums of every folder, and what is missing in them."""

    sums: tuple[Sum, ...]
    gaps: tuple[Gap, ...]

    @property
    def total(self) -> Counts:
        """Everything that was ever seen."""
        return sum((one.counts for one in self.sums), Counts())

    def as_dict(self) -> dict[str, Any]:
        """``{"sums": [...], "gaps": [...]}``."""
        gaps = [
            {"account": g.account, "folder": g.folder, "uidvalidity": g.uidvalidity, "uids": list(g.uids)}
            for g in self.gaps
        ]
        return {"sums": [one.as_dict() for one in self.sums], "gaps": gaps}


@dataclass(slots=True)
class Run:
    """What one run has done so far. ``ids`` are the rows it stored or found waiting; ``why`` tells of what could not be
    read and what broke."""

    ids: set[int] = field(default_factory=set)
    doubled: int = 0
    unreadable: int = 0
    resumed: int = 0
    gap: int = 0
    why: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Read:
    """A shown mail, read; ``mail`` is None when the reader itself failed."""

    shown: Shown
    raw: Raw
    mail: InboundMail | None
    message_id: str | None
    digest: str
    uid: str


class Intake:
    """Stores, decides and accounts for received mail. ``lock`` keeps a second run off an account; ``on_step`` hears
    each step of a mail's way by name."""

    def __init__(
        self,
        engine: Engine,
        *,
        gateway: Gateway,
        setup: Callable[[], Setup],
        clock: Clock,
        lock: Lock,
        on_step: Callable[[str], object] = lambda name: None,
    ) -> None:
        self._engine, self._gateway, self._setup, self._clock = engine, gateway, setup, clock
        self.lock, self.on_step, self.most = lock, on_step, MOST

    # --- a run --------------------------------------------------------------------------------------------------------

    def settle(self, run: Run, account: str) -> None:
        """Bring what an interrupted run left waiting to its end. The caller holds the account's lock."""
        with explained("looking for waiting mail"), reading(self._engine) as connection:
            query = sa.select(i.c.id).where(i.c.account == account, i.c.state == State.WAITING.value).order_by(i.c.id)
            waiting = [int(key) for key in connection.execute(query).scalars() if key not in run.ids]
        for key in waiting:
            run.resumed += 1
            run.ids.add(key)
            self._alone(key)

    def settle_all(self, run: Run) -> None:
        """As :meth:`settle`, for every account that no other run is at."""
        with explained("looking for waiting mail"), reading(self._engine) as connection:
            query = sa.select(i.c.account).where(i.c.state == State.WAITING.value).distinct()
            accounts = list(connection.execute(query).scalars())
        for account in accounts:
            with self.lock(account) as ours:
                if ours:
                    self.settle(run, account)

    def take(
        self,
        run: Run,
        place: Place,
        batch: Sequence[Shown],
        acknowledge: Callable[[Collection[str]], object] = lambda uids: None,
        *,
        ours: bool = True,
    ) -> tuple[str, ...]:
        """Store a batch, have it acknowledged, decide it; the UIDs. ``ours``: the account's lock is held, so that what
        waits here already is of a run that is over.

        Raises :class:`StoreError` when the store cannot be written: then nothing was acknowledged that is not stored.
        """
        reader = self._gateway.reader()
        read = [self._read(shown, reader) for shown in batch]
        self.on_step("read")
        fresh, old = self._store(run, place, read, ours)
        self.on_step("stored")
        acknowledge([one.uid for one in read])
        self.on_step("acknowledged")
        self._decide(fresh)
        for key in old:
            self._alone(key)
        self.on_step("decided")
        return tuple(one.uid for one in read)

    def unreadable(self, run: Run, place: Place, uid: str, why: str, *, size: int = 0) -> None:
        """Book a mail that the way in could not give."""
        run.unreadable += 1
        run.why.append(why)
        now = self._clock.now()
        with explained("booking what cannot be read"), self._engine.begin() as tx:
            rows.one_at_a_time(tx)
            before = rows.known(tx, place, [uid]).get(uid)
            if before is not None:
                rows.change(tx, before.id, tries=before.tries + 1, reason=why[:500], done_at=now)
                return
            row = {**place.columns(), "uid": uid, "state": State.UNREADABLE.value, "reason": why[:500], "size": size,
                   "seen_at": now, "done_at": now, "tries": 1}  # fmt: skip
            rows.add(tx, [row], [None])

    def folder(self, place: Place) -> tuple[bool, list[int]]:
        """Whether a folder is known under this UIDVALIDITY, and the UIDVALIDITYs it had before."""
        with explained("looking at a folder"), reading(self._engine) as connection:
            had = rows.uidvalidities(connection, place)
        return place.uidvalidity in had, [value for value in had if value != place.uidvalidity]

    def begin(
        self, run: Run, place: Place, *, skipped: Sequence[rows.Told] = (), doubled: Sequence[rows.Told] = ()
    ) -> None:
        """Note a new folder, in one commit with what stays where it is: (UID, Message-ID, size) of mails that were read
        before the start, and of those known from before its UIDVALIDITY changed."""
        now = self._clock.now()
        with explained("opening a folder"), self._engine.begin() as tx:
            rows.one_at_a_time(tx)
            rows.open_folder(tx, place, now)
            for state, told, why in ((State.SKIPPED, skipped, READ_BEFORE), (State.DOUBLED, doubled, BEFORE)):
                made = rows.book(tx, place, told, state, why, now)
                if state is State.SKIPPED:
                    run.ids |= set(made)
                else:
                    run.doubled += len(made)

    def skipped_before(self, place: Place, before: Sequence[int]) -> set[tuple[str | None, int]]:
        """(Message-ID, size) of what was skipped in this folder under its last UIDVALIDITYs."""
        with explained("reading the intake"), reading(self._engine) as connection:
            return rows.skipped(connection, place, before)

    def check(self, run: Run, place: Place, uids: Collection[str]) -> list[str]:
        """Compare a folder with its rows; the UIDs without one, which are a gap."""
        with explained("checking a folder"), self._engine.begin() as tx:
            missing = rows.check_folder(tx, place, uids, self._clock.now())
        run.gap += len(missing)
        return missing

    def arrivals(self, account: str, most: int = 500) -> list[datetime]:
        """When the latest mails of an account came, newest first; without what it began with."""
        which = (i.c.account == account, i.c.state.not_in([State.SKIPPED.value, State.UNREADABLE.value]))
        query = sa.select(i.c.seen_at).where(*which).order_by(i.c.id.desc()).limit(most)
        with explained("reading when mail came"), reading(self._engine) as connection:
            return list(connection.execute(query).scalars())

    def digest(self, raw: bytes) -> str:
        """The digest under which these bytes are known."""
        return self._read(Shown(raw)).digest

    def finish(self, run: Run) -> Counts:
        """The sums of a run, from the rows as they stand now."""
        self.release()
        with explained("counting a run"), reading(self._engine) as connection:
            states = rows.states(connection, run.ids)
        states.append((State.UNREADABLE.value, run.unreadable))
        return counted(states, again=run.doubled, gap=run.gap)

    def release(self) -> int:
        """Let the bytes of refused mails go whose notices have left, or after a day; how many."""
        with explained("letting refused mail go"), self._engine.begin() as tx:
            return rows.release(tx, self._clock.now(), LONGEST)

    def known(self, place: Place, uids: Collection[str] | None = None) -> Mapping[str, Any]:
        """The rows of a place by UID."""
        with explained("reading the intake"), reading(self._engine) as connection:
            return rows.known(connection, place, uids)

    def again(self, key: int) -> State | None:
        """Decide a mail of the shelf again; where it stands then, None where it lies there no more."""
        return self._alone(key, state=State.SHELVED)

    def tried(self, key: int) -> tuple[State, str | None]:
        """Where a mail of the shelf would stand after :meth:`again`, and why; everything is rolled back."""
        with explained("trying a mail of the shelf"), self._engine.connect() as connection:
            tx = connection.begin()
            try:
                repo.serialise(connection)
                row = connection.execute(sa.select(i.c.given).where(i.c.id == key)).first()
                raw = connection.execute(sa.select(raws.c.raw).where(raws.c.intake_id == key)).scalar()
                view = self._gateway.view(connection, self._setup(), (row.given or {}).get("model") if row else None)
                state = self._one(connection, key, bytes(raw or b""), None, view, was=State.SHELVED)
                why = connection.execute(sa.select(i.c.reason).where(i.c.id == key)).scalar()
                return state, why if state is State.SHELVED else None
            finally:
                tx.rollback()

    # --- the steps ----------------------------------------------------------------------------------------------------

    def _read(self, shown: Shown, reader: Knowing | None = None) -> _Read:
        raw = delivered(bytes(shown.raw), shown.delivered_to) if shown.delivered_to else shown.raw
        try:
            mail = self._gateway.read(raw, reader)
        except Exception:  # a mail that the reader itself falls over: kept, and read again when it is decided
            digest = sha256_of(raw)
            return _Read(shown, raw, None, None, digest, shown.uid or digest[:40])
        own = None if mail.made_id else mail.message_id[:998]
        name = hashlib.sha256(f"{own}\n{mail.digest}".encode("utf-8", "replace")).hexdigest()[:40]
        return _Read(shown, raw, mail, own, mail.digest, shown.uid or name)

    def _store(
        self, run: Run, place: Place, read: Sequence[_Read], ours: bool
    ) -> tuple[list[tuple[int, _Read]], list[int]]:
        """One durable commit: a row for each mail, bytes for each new one. Gives the new rows, and those that an
        interrupted run left."""
        now = self._clock.now()
        fresh: list[_Read] = []
        values: list[dict[str, Any]] = []
        old: list[int] = []
        with explained("storing what came in"), self._engine.begin() as tx:
            rows.one_at_a_time(tx)
            known = rows.known(tx, place, [one.uid for one in read])
            same = rows.same_mails(tx, [one.digest for one in read])
            here: set[str] = set()
            again: list[int] = []
            doubled, resumed = 0, 0
            for one in read:
                before = known.get(one.uid)
                if before is not None and before.state == State.WAITING.value and ours and before.id not in run.ids:
                    old.append(int(before.id))
                    resumed += 1
                    run.ids.add(int(before.id))
                    continue
                if before is not None and before.state == State.UNREADABLE.value:
                    tx.execute(sa.delete(i).where(i.c.id == before.id))  # it can be read now
                elif before is not None or one.uid in here:
                    doubled += 1
                    if before is not None:
                        again.append(int(before.id))
                        continue
                    twice = next(row for row in values if row["uid"] == one.uid)
                    twice["again"] = twice.get("again", 0) + 1
                    continue
                here.add(one.uid)
                is_known = (one.message_id, one.digest) in same
                same.add((one.message_id, one.digest))
                doubled += is_known
                values.append(self._row(place, one, is_known, now))
                fresh.append(one)
            for row in values:
                row.setdefault("again", 0)
            stored = [row["state"] == State.WAITING.value for row in values]
            bytes_of = [one.raw if keep else None for one, keep in zip(fresh, stored, strict=True)]
            self.on_step("storing")
            ids = rows.add(tx, values, bytes_of)
            rows.came_again(tx, again)
        run.doubled += doubled
        run.resumed += resumed
        new = [(key, one) for key, one, keep in zip(ids, fresh, stored, strict=True) if keep]
        run.ids |= {key for key, _ in new}
        return new, old

    @staticmethod
    def _row(place: Place, one: _Read, is_known: bool, now: Any) -> dict[str, Any]:
        mail, shown = one.mail, one.shown
        given = {"model": shown.model, "delivered_to": shown.delivered_to}
        return {
            **place.columns(),
            "uid": one.uid,
            "state": (State.DOUBLED if is_known else State.WAITING).value,
            "reason": "the same mail is known from another place" if is_known else None,
            "message_id": one.message_id,
            "digest": one.digest,
            "size": len(shown.raw),
            "sender": mail.sender_address[:320] or None if mail and not is_known else None,
            "recipients": ", ".join(mail.recipients)[:4000] or None if mail and not is_known else None,
            "given": {name: value for name, value in given.items() if value} or None,
            "seen_at": now,
            "done_at": now if is_known else None,
            "tries": 0 if is_known else 1,
        }

    def _decide(self, batch: Sequence[tuple[int, _Read]]) -> None:
        """Decide a batch in one commit: together, and where that fails each mail in a savepoint of its own."""
        if not batch:
            return
        setup = self._setup()
        with explained("deciding about what came in"), self._engine.begin() as tx:
            repo.serialise(tx)
            try:
                with tx.begin_nested():
                    self._together(tx, batch, setup)
            except Exception as error:  # whose fault it was, each by itself will show
                if is_the_stores(error):
                    raise
                log.warning("A portion is decided mail by mail: %s", type(error).__name__)
                self._singly(tx, batch, setup)
            self.on_step("deciding")

    def _together(self, tx: Connection, batch: Sequence[tuple[int, _Read]], setup: Setup) -> None:
        now, still = self._clock.now(), rows.waiting(tx, [key for key, _ in batch])
        mails = [(key, one, one.mail or self._gateway.read(one.raw)) for key, one in batch if key in still]
        ahead = self._gateway.ahead(tx, setup, [mail for _, _, mail in mails])
        views: dict[str | None, StoreView] = {}
        found: list[tuple[int, Received]] = []
        for key, one, mail in mails:
            model = one.shown.model
            if model not in views:
                views[model] = self._gateway.view(tx, setup, model, ahead)
            found.append((key, self._gateway.take(tx, mail, one.raw, views[model])))
        ahead.flush()
        settled, gone = [], []
        for key, done in found:
            kind = done.decision.kind
            state = state_of(kind)
            row = {"state": state.value, "decision": kind.value, "done_at": now, "log_id": done.line.id}
            settled.append({"id": key, **row})
            if done.notices:
                rows.change(tx, key, notices=list(done.notices))
            if _over(state, done):
                gone.append(key)
        rows.settle(tx, settled)
        rows.without_bytes(tx, gone)

    def _singly(self, tx: Connection, batch: Sequence[tuple[int, _Read]], setup: Setup) -> None:
        views: dict[str | None, StoreView] = {}
        gone: list[int] = []
        for key, one in batch:
            model = one.shown.model
            if model not in views:
                views[model] = self._gateway.view(tx, setup, model)
            self._one(tx, key, one.raw, one.mail, views[model], gone=gone)
        rows.without_bytes(tx, gone)

    def _alone(self, key: int, *, state: State = State.WAITING) -> State | None:
        """Decide one stored mail by itself; where it stands then. One that was begun three times goes to the shelf."""
        with explained("taking up a waiting mail"), self._engine.begin() as tx:
            row = tx.execute(sa.select(i.c.tries, i.c.given).where(i.c.id == key, i.c.state == state.value)).first()
            raw = tx.execute(sa.select(raws.c.raw).where(raws.c.intake_id == key)).scalar()
            if row is None or raw is None:
                return None
            if state is State.WAITING and row.tries >= TRIES:
                words = f"The process ended {TRIES} times while this mail was handled."
                rows.change(tx, key, state=State.SHELVED.value, reason=words, done_at=self._clock.now())
                return State.SHELVED
            rows.change(tx, key, tries=row.tries + 1)
        self.on_step("taken up")
        setup = self._setup()
        with explained("deciding about a waiting mail"), self._engine.begin() as tx:
            repo.serialise(tx)
            view = self._gateway.view(tx, setup, (row.given or {}).get("model"))
            return self._one(tx, key, bytes(raw), None, view, was=state)

    def _one(
        self,
        tx: Connection,
        key: int,
        raw: Raw,
        mail: InboundMail | None,
        view: StoreView,
        was: State = State.WAITING,
        gone: list[int] | None = None,
    ) -> State:
        """Decide one mail in a savepoint, with its row; what fails is rolled back, and the mail is shelved. The caller
        lets the bytes of those in ``gone`` go; without such a list that is done here."""
        now = self._clock.now()
        try:
            with tx.begin_nested():
                done = self._gateway.take(tx, mail or self._gateway.read(raw), raw, view)
                state = state_of(done.decision.kind)
                row: dict[str, Any] = {
                    "state": state.value,
                    "decision": done.decision.kind.value,
                    "reason": None,
                    "done_at": now,
                    "log_id": done.line.id,
                    "notices": list(done.notices) or None,
                }
                if not rows.change(tx, key, was=was.value, **row):
                    raise _Taken
                over = [key] if _over(state, done) else []
                if gone is None:
                    rows.without_bytes(tx, over)
        except _Taken:
            return was
        except Exception as error:
            if is_the_stores(error):
                raise
            words = error.message if isinstance(error, MailopsError) else f"{type(error).__name__}: {error}"
            rows.change(tx, key, state=State.SHELVED.value, reason=harmless(words)[:500], done_at=now)
            return State.SHELVED
        if gone is not None:
            gone += over
        return state

    # --- what is kept -------------------------------------------------------------------------------------------------

    def ledger(self) -> Ledger:
        """The sums of every folder of every account, and the gaps."""
        with explained("adding up the intake"), reading(self._engine) as connection:
            place = (i.c.account, i.c.folder, i.c.uidvalidity)
            query = sa.select(*place, i.c.state, sa.func.count().label("n"), sa.func.sum(i.c.again).label("again"))
            found: dict[Place, list[tuple[str, int]]] = {}
            again: dict[Place, int] = {}
            for row in connection.execute(query.group_by(*place, i.c.state)):
                here = Place(row.account, row.folder, int(row.uidvalidity))
                found.setdefault(here, []).append((row.state, int(row.n)))
                again[here] = again.get(here, 0) + int(row.again or 0)
            gaps = []
            for row in connection.execute(sa.select(folders)):
                here = Place(row.account, row.folder, int(row.uidvalidity))
                found.setdefault(here, [])
                if row.missing:
                    gaps.append(Gap(here.account, here.folder, here.uidvalidity, tuple(map(str, row.missing))))
        missing = {Place(g.account, g.folder, g.uidvalidity): len(g.uids) for g in gaps}
        sums = tuple(
            Sum(
                here.account,
                here.folder,
                here.uidvalidity,
                counted(states, again=again.get(here, 0), gap=missing.get(here, 0)),
            )
            for here, states in sorted(found.items())
        )
        return Ledger(sums, tuple(sorted(gaps, key=lambda g: (g.account, g.folder, g.uidvalidity))))


def _over(state: State, done: Received) -> bool:
    """Whether nothing needs a mail's bytes any more."""
    return state is State.DOUBLED or (state is State.REFUSED and not done.notices)


class _Taken(Exception):
    """Somebody else decided this mail meanwhile; what was done here is rolled back."""


def is_the_stores(error: BaseException) -> bool:
    """Whether an error is the database's own trouble (full, locked, gone) and no fault of the mail."""
    if isinstance(error, StoreError):
        return error.code != StoreError.default_code
    if isinstance(error, sa.exc.DBAPIError | sa.exc.TimeoutError):
        return store_error(error, "").code != StoreError.default_code
    return isinstance(error, sa.exc.ResourceClosedError | sa.exc.PendingRollbackError)


def batches(shown: Iterable[Shown], most: int = MOST, most_bytes: int = MOST_BYTES) -> Iterator[list[Shown]]:
    """The mails in batches of at most so many, and so many bytes; a larger mail is alone."""
    batch: list[Shown] = []
    size = 0
    for one in shown:
        if batch and (len(batch) >= most or size + len(one.raw) > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += len(one.raw)
    if batch:
        yield batch
