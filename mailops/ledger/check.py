"""Counts the books again: states, counters and open attempts computed from the facts, beside what the tables say.

What older versions left without a fact, or in a state that no fact explains, is told as such and changed by nobody.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..model.states import DELIVERY_MOVES, DeliveryState, MailState, mail_state
from ..store import schema
from ..store.database import explained, reading
from . import counts, sendings
from .facts import Counted

m, d, a, e, t, o = (
    schema.mails,
    schema.deliveries,
    schema.attempts,
    schema.events,
    schema.counts,
    schema.owed,
)
STEP = 10_000
EXAMPLES = 20
_OLD_CANCEL = frozenset({DeliveryState.PENDING, DeliveryState.FAILED})
_BESIDE = ("deferred", "complained", "complained_in_error")


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where the tables and the facts disagree: ``what`` (recipient, mail, counter, attempt, pending), whose,
    and both sides in words."""

    what: str
    subject: str
    table: str
    facts: str

    def __str__(self) -> str:
        return f"{self.what} {self.subject}: the table says {self.table}, the facts say {self.facts}"


@dataclass(frozen=True, slots=True)
class Books:
    """What was compared, and where it differs: the first :data:`EXAMPLES`, and how many of each kind there are.
    ``owed`` are facts that threads or the suppression list have not taken yet."""

    facts: int
    mails: int
    recipients: int
    counters: int
    owed: int
    differences: tuple[Difference, ...]
    numbers: dict[str, int]

    @property
    def agree(self) -> bool:
        """Whether nothing differs and nothing is owed."""
        return not self.numbers and not self.owed


def check(engine: Engine, *, progress: Callable[[int, int], None] | None = None) -> Books:
    """Count again. Reads only, in one transaction; ``progress`` hears (mails looked at, of how many)."""
    numbers: defaultdict[str, int] = defaultdict(int)
    shown: list[Difference] = []
    with explained("counting the books again"), reading(engine) as connection:
        facts = _number(connection, e)
        mails, recipients = _number(connection, m), _number(connection, d)
        for found in (*_states(connection, mails, progress), *_counters(connection), *_attempts(connection)):
            numbers[found.what] += 1
            if len(shown) < EXAMPLES:
                shown.append(found)
        return Books(
            facts, mails, recipients, _number(connection, t), _number(connection, o), tuple(shown), dict(numbers)
        )


def _number(connection: Connection, table: sa.Table) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def _states(connection: Connection, mails: int, progress: Callable[[int, int], None] | None) -> Iterator[Difference]:
    """Deliveries from their facts, and mails from their deliveries, by ranges of mail numbers."""
    last, done = 0, 0
    while True:
        query = sa.select(m.c.id, m.c.state, m.c.lease_owner).where(m.c.id > last).order_by(m.c.id).limit(STEP)
        rows = connection.execute(query).all()
        if not rows:
            return
        first, last = int(rows[0].id), int(rows[-1].id)
        people: defaultdict[int, dict[str, str]] = defaultdict(dict)
        within = d.c.mail_id.between(first, last)
        for mail_id, recipient, state in connection.execute(
            sa.select(d.c.mail_id, d.c.recipient, d.c.state).where(within)
        ):
            people[int(mail_id)][recipient] = state
        folded = fold(connection, first, last, people)
        for row in rows:
            yield from _one(int(row.id), row.state, row.lease_owner, people[int(row.id)], folded[int(row.id)])
        done += len(rows)
        if progress:
            progress(done, mails)


def fold(
    connection: Connection, first: int, last: int, people: dict[int, dict[str, str]]
) -> dict[int, dict[str, DeliveryState]]:
    """Each recipient's state as the facts of these mails give it."""
    states = {mail_id: dict.fromkeys(known, DeliveryState.PENDING) for mail_id, known in people.items()}
    query = sa.select(e.c.mail_id, e.c.kind, e.c.recipient, e.c.data).where(
        e.c.mail_id.between(first, last), e.c.kind.in_(list(DELIVERY_MOVES))
    )
    for mail_id, kind, recipient, data in connection.execute(query.order_by(e.c.id)):
        known = states.get(int(mail_id))
        if known is None or (data or {}).get("stands"):
            continue
        sources, target = DELIVERY_MOVES[kind]
        if recipient is None and kind == "cancelled":  # as older versions told it: once for the mail
            sources = _OLD_CANCEL
        for name in known if recipient is None else (recipient,):
            if known.get(name) in sources:
                known[name] = target
    return defaultdict(dict, states)


def _one(
    mail_id: int, state: str, owner: str | None, people: dict[str, str], folded: dict[str, DeliveryState]
) -> Iterator[Difference]:
    for recipient, present in people.items():
        if folded[recipient].value != present:
            yield Difference("recipient", f"{recipient} of mail {mail_id}", present, folded[recipient].value)
    if not people:
        return
    derived = mail_state([DeliveryState(s) for s in people.values()])
    cancelled = state == MailState.CANCELLED.value and derived is not MailState.OUTGOING
    if state != derived.value and not cancelled:
        yield Difference("mail", str(mail_id), state, derived.value)
    if owner is not None and state != MailState.OUTGOING.value:
        yield Difference("mail", str(mail_id), f"held by {owner}", state)


def _counters(connection: Connection) -> Iterator[Difference]:
    """The counters from the facts."""
    found: Counter[counts.Key] = Counter()
    born, nobody = _born(connection), Counted("", "transactional", "")
    for mail_id, told in _sendings(connection):
        dims = born.get(mail_id, nobody)
        for recipient, facts in told.items():
            sending = sendings.fold(facts)
            if sending is not None:
                found[counts.key_of(sending.left_at, sending.server, dims, recipient, sending.outcome)] += 1
    query = sa.select(e.c.mail_id, e.c.recipient, e.c.kind, e.c.at, e.c.left_at, e.c.server_key)
    beside = query.where(e.c.kind.in_(_BESIDE), e.c.mail_id.is_not(None), e.c.recipient.is_not(None))
    for row in connection.execute(beside.execution_options(yield_per=STEP)):
        undone = row.kind == "complained_in_error"
        outcome = "complained" if undone else row.kind
        dims = born.get(row.mail_id, nobody)
        place = counts.key_of(row.left_at or row.at, row.server_key, dims, row.recipient, outcome)
        found[place] += -1 if undone else 1
    kept = {tuple(row[:-1]): int(row[-1]) for row in connection.execute(sa.select(t))}
    for place in sorted({*found, *kept}):
        if found.get(place, 0) != kept.get(place, 0):
            yield Difference("counter", " ".join(place), str(kept.get(place, 0)), str(found.get(place, 0)))


def _born(connection: Connection) -> dict[int, Counted]:
    """Each mail's sender domain and class, as its hand-over told."""
    same: dict[Counted, Counted] = {}
    domain, klass = e.c.data["domain"].as_string(), e.c.data["class"].as_string()
    query = sa.select(e.c.mail_id, domain, klass).where(e.c.kind == "submitted")
    found = {}
    for mail_id, sender, mail_class in connection.execute(query.execution_options(yield_per=STEP)):
        dims = Counted(sender or "", mail_class or "transactional", "")
        found[mail_id] = same.setdefault(dims, dims)
    return found


def _sendings(connection: Connection) -> Iterator[tuple[int, dict[str, list[sendings.Told]]]]:
    """What is told of each mail's sendings, mail by mail."""
    query = sendings.query().where(e.c.mail_id.is_not(None)).order_by(e.c.mail_id, e.c.id)
    rows = connection.execute(query.execution_options(yield_per=STEP))
    for mail_id, group in itertools.groupby(rows, key=lambda row: row[1]):
        people: defaultdict[str, list[sendings.Told]] = defaultdict(list)
        for row in group:
            people[row[2]].append(sendings.Told(*row))
        yield int(mail_id), people


def _attempts(connection: Connection) -> Iterator[Difference]:
    """An attempt is open only while its mail is in a worker's hands, and then only one."""
    query = (
        sa.select(a.c.mail_id, sa.func.count(), sa.func.max(m.c.lease_owner))
        .join(m, m.c.id == a.c.mail_id)
        .where(a.c.outcome.is_(None))
        .group_by(a.c.mail_id)
    )
    for mail_id, number, owner in connection.execute(query):
        if owner is None or number > 1:
            yield Difference(
                "attempt", f"of mail {mail_id}", f"{number} open", "in nobody's hands" if not owner else "1"
            )
