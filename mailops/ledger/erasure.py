"""Retention and erasure: everything that is kept of an address, its end by request, and the end that its kind sets.

Each room that keeps something of people is a :class:`Holder` and looks after its own tables; this module asks them in
one order and one transaction. Forgetting replaces the address by its pseudonym (:mod:`mailops.model.pseudonym`) and
empties what was written to, by or about it. It moves no state and changes no figure: rows, codes, causes and domains
stay, and so does a suppression, which holds for whoever turns out to be that address.

A fact is otherwise never changed once it stands. Erasure is the exception, and this is its only door.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..errors import ConfigError, InputRefused, MailopsError, NotFound
from ..model.address import normalise, parse_addresses
from ..model.pseudonym import is_pseudonym
from ..model.retention import KINDS
from ..model.text import counted
from ..ports import Clock
from ..store import schema
from ..store.database import explained, reading
from .book import note
from .facts import Fact
from .names import Names

f = schema.forgotten
GRACE = timedelta(days=1)
LIMIT = 1_000
"""Rows of one place that are shown; how many there are is always told."""
BEYOND = (
    "mailboxes and logs of the servers that took the mail, and what recipients kept",
    "backups, and copies of the store that were made before",
    "tables, pages and bundles that somebody saved elsewhere",
    "texts of other people's mail that mention the address",
)
"""What no program of ours reaches; said with every receipt."""


@dataclass(frozen=True, slots=True)
class Person:
    """Whose rows are looked for: the normalised address, and the name that stands for it afterwards."""

    address: str
    pseudonym: str


@dataclass(frozen=True, slots=True)
class Held:
    """What one place keeps of a person: how many rows, and the newest of them as they are read by people."""

    place: str
    count: int
    rows: tuple[Mapping[str, Any], ...] = ()


class Holder(Protocol):
    """A room's rows about people. All of it works in the caller's transaction, on the room's own tables."""

    def find(self, connection: Connection, address: str) -> Iterable[Held]:
        """What is kept of a normalised address; places without a row may be left out."""
        ...

    def forget(self, connection: Connection, person: Person) -> Mapping[str, int]:
        """Erase it; how many rows of each place were changed."""
        ...

    def old(self, kind: str, before: datetime) -> sa.Select[Any] | None:
        """A query for what of a kind (:data:`mailops.model.retention.KINDS`) is older than that, one column that names
        it; None for a kind of somebody else."""
        ...

    def end(self, connection: Connection, kind: str, which: Sequence[Any]) -> None:
        """End what :meth:`old` named, so that it names it no more."""
        ...


@dataclass(frozen=True, slots=True)
class About:
    """Everything about an address. ``waiting`` are mails to or of it that are not done yet: these hinder forgetting.
    ``digest`` stands for all of this, and has to be shown to :meth:`Erasure.forget`."""

    address: str
    at: datetime
    held: tuple[Held, ...]
    waiting: tuple[int, ...]
    elsewhere: tuple[str, ...]
    forgotten_at: datetime | None
    beyond: tuple[str, ...] = BEYOND
    digest: str = field(default="", compare=False)

    @property
    def rows(self) -> int:
        """How many rows there are in all."""
        return sum(held.count for held in self.held)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What forgetting did: who it was is not in it."""

    pseudonym: str
    at: datetime
    changed: Mapping[str, int]
    elsewhere: tuple[str, ...]
    beyond: tuple[str, ...] = BEYOND


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """What Auto-Vacuum did: sent mails removed, and rows ended by kind."""

    removed: int
    retention: Mapping[str, int]


class Erasure:
    """Looks, forgets and expires over all holders of a store. ``elsewhere`` names files beside the store that
    hold people too and are not looked into; ``lasting`` is told the pseudonym of whoever is forgotten, before that is
    committed (:mod:`mailops.ledger.lasting`)."""

    def __init__(
        self,
        engine: Engine,
        *,
        holders: Sequence[Holder],
        names: Names,
        clock: Clock,
        elsewhere: Callable[[], Sequence[str]] = tuple,
        lasting: Callable[[Sequence[str]], None] | None = None,
    ) -> None:
        self._engine, self._holders, self._names, self._clock = engine, tuple(holders), names, clock
        self._elsewhere, self._lasting = elsewhere, lasting

    def about(self, address: str) -> About:
        """Everything that is kept of an address. Raises :class:`InputRefused` for what is none."""
        spec = one_address(address)
        with explained("reading what is kept of an address"), reading(self._engine) as connection:
            found = self._look(connection, spec)
        return found

    def _look(self, connection: Connection, spec: str) -> About:
        held = tuple(one for holder in self._holders for one in holder.find(connection, spec) if one.count)
        known = self._names.known(connection, [spec])
        since = None
        if spec in known:
            since = connection.execute(sa.select(f.c.at).where(f.c.pseudonym == known[spec])).scalar()
        waiting = tuple(_waiting(connection, spec))
        told = [spec, [(one.place, one.count) for one in held], waiting]
        digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
        return About(spec, self._clock.now(), held, waiting, tuple(self._elsewhere()), since, digest=digest)

    def forget(self, address: str, *, digest: str, actor: str = "person") -> Receipt:
        """Forget an address, as its :meth:`about` showed it (``digest``).

        Raises :class:`NotFound` where nothing is kept, :class:`ConfigError` ``forget.waiting`` while a mail to or of it
        is not done, and ``forget.changed`` when more is there than was shown; then nothing is changed.
        """
        spec = one_address(address)
        _require(self.about(spec), digest)
        name, now = self._names.of(spec), self._clock.now()
        with explained("forgetting an address"), self._engine.begin() as connection:
            found = self._look(connection, spec)
            _require(found, digest)
            changed: dict[str, int] = {}
            for holder in self._holders:
                for place, number in holder.forget(connection, Person(spec, name)).items():
                    if number:
                        changed[place] = changed.get(place, 0) + number
            if found.forgotten_at is None:
                connection.execute(sa.insert(f).values(pseudonym=name, at=now))
            note(connection, Fact("forgotten", now, recipient=name, actor=actor, data={"changed": changed}))
            if self._lasting is not None:
                self._lasting(_all(connection))
        return Receipt(name, now, changed, found.elsewhere)

    def keep_names(self) -> None:
        """Tell ``lasting`` of everybody whom the store has forgotten."""
        with explained("reading whom the store has forgotten"), reading(self._engine) as connection:
            names = _all(connection)
        if self._lasting is not None:
            self._lasting(names)

    def expire(self, days: Mapping[str, float], *, limit: int = 5_000) -> dict[str, int]:
        """End what is older than its kind is kept. ``days`` by kind (missing = its default, 0 = for ever); returns how
        many rows of each kind. Each ``limit`` rows are a transaction of their own."""
        done: dict[str, int] = {}
        if days.get("addresses"):
            self._names.ready()
        for kind, holder, query in self._old(days):
            number, before = limit, None
            while number == limit:
                with explained(f"ending old {kind}"), self._engine.begin() as connection:
                    which = [row[0] for row in connection.execute(query.limit(limit))]
                    if which == before:  # what could not be ended is overdue, and told so; nothing hangs for it
                        break
                    holder.end(connection, kind, which)
                number, before = len(which), which
                done[kind] = done.get(kind, 0) + number
        return {kind: number for kind, number in done.items() if number}

    def overdue(self, days: Mapping[str, float], *, grace: timedelta = GRACE) -> dict[str, int]:
        """How many rows of each kind are older than it is kept, and ``grace``: none where Auto-Vacuum runs."""
        late: dict[str, int] = {}
        with explained("counting what is overdue"), reading(self._engine) as connection:
            for kind, _, query in self._old(days, grace):
                number = connection.execute(sa.select(sa.func.count()).select_from(query.order_by(None).subquery()))
                late[kind] = late.get(kind, 0) + int(number.scalar_one())
        return {kind: number for kind, number in late.items() if number}

    def _old(self, days: Mapping[str, float], grace: timedelta = timedelta()) -> Iterator[tuple[str, Holder, Any]]:
        now = self._clock.now()
        for kind in KINDS:
            kept = days.get(kind.name, kind.days)
            for holder in self._holders if kept else ():
                query = holder.old(kind.name, now - timedelta(days=kept) - grace)
                if query is not None:
                    yield kind.name, holder, query


def one_address(text: str) -> str:
    """The one address of what a person typed, normalised. Raises :class:`InputRefused`."""
    found = parse_addresses(text.strip())
    if len(found) != 1 or not found[0].domain or is_pseudonym(found[0].spec):
        raise InputRefused(
            f"{text!r} is not one mail address.",
            code="input.address",
            facts={"address": text},
            fix="Write one address, as name@example.com; not a pseudonym.",
        )
    return normalise(found[0].spec)


def _all(connection: Connection) -> list[str]:
    return [str(row[0]) for row in connection.execute(sa.select(f.c.pseudonym))]


def _waiting(connection: Connection, spec: str) -> list[int]:
    m, d = schema.mails, schema.deliveries
    to = sa.select(m.c.id).join(d, d.c.mail_id == m.c.id).where(d.c.normalised == spec)
    wrote = sa.func.lower(m.c.header_from).contains(spec, autoescape=True)
    of = sa.select(m.c.id).where(sa.or_(wrote, sa.func.lower(m.c.return_path) == spec))
    open_ = sa.or_(m.c.state == "outgoing", m.c.lease_owner.is_not(None))
    ids = {int(row[0]) for query in (to, of) for row in connection.execute(query.where(open_))}
    return sorted(ids)


def _require(found: About, digest: str) -> None:
    error: MailopsError
    if found.waiting:
        shown = ", ".join(map(str, found.waiting[:10]))
        error = ConfigError(
            f"{counted(len(found.waiting), 'mail')} to or of this address "
            f"{'is' if len(found.waiting) == 1 else 'are'} not done yet.",
            code="forget.waiting",
            facts={"mails": list(found.waiting[:100])},
            fix=f"Let them leave, or cancel them (mailops queue cancel), then ask again. Mails: {shown}",
        )
    elif not found.rows:
        error = NotFound(
            "Nothing is kept of this address.",
            facts={"address": found.address, "forgotten": str(found.forgotten_at or "never")},
            fix="Look whether it is written right. Aliases and other spellings are addresses of their own.",
        )
    elif found.digest != digest:
        error = ConfigError(
            "Something came in since this was shown.",
            code="forget.changed",
            facts={"rows": found.rows},
            fix="Look again (mailops about ADDRESS), and confirm what you see then.",
        )
    else:
        return
    raise error


# --- for holders ------------------------------------------------------------------------------------------------------


def rows_of(connection: Connection, place: str, query: sa.Select[Any]) -> Held:
    """A place's rows by a query, newest first: how many, and the first :data:`LIMIT`."""
    number = connection.execute(sa.select(sa.func.count()).select_from(query.order_by(None).subquery())).scalar_one()
    if not number:
        return Held(place, 0)
    rows = tuple(
        {k: v for k, v in row._mapping.items() if v is not None} for row in connection.execute(query.limit(LIMIT))
    )
    return Held(place, int(number), rows)


def mentions(column: Any, address: str) -> sa.ColumnElement[bool]:
    """Whether a column of text or JSON holds an address, whatever its case."""
    text = sa.cast(column, sa.Text) if isinstance(column.type, sa.JSON) else column
    return sa.func.lower(text).contains(address, autoescape=True)
