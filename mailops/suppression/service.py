"""Keeps the list: automatic entries (or proposals), entries by hand, undo, and what a mail may not be sent to.

An automatic entry is for campaigns only, as in the product: a suppressed person still gets the answer to a question.
``mailops.suppression.mode`` = ``propose`` makes automatic entries proposals, which block nothing until confirmed; so
does a report that anybody could have written (:mod:`.history`).
An undo keeps the row and the report it came from; what happened before it counts no more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..errors import InputRefused, NotFound
from ..ledger import Book
from ..model.address import mailbox, parse_first
from ..ports import Clock
from ..store import schema
from ..store.database import explained, one_report_at_a_time, reading
from . import store
from .decide import SCOPES, STATES, Policy
from .store import Suppression

if TYPE_CHECKING:
    import pandas as pd

    from ..bounces import Report
    from .reread import Change

s = schema.suppressions


def _parser() -> Callable[[bytes], Report]:
    from ..bounces import parse

    return parse


class Suppressions:
    """The list of suppressed addresses of a workspace. ``reader`` gives what stored reports are read again with."""

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Clock,
        policy: Policy | None = None,
        book: Book | None = None,
        reader: Callable[[], Callable[[bytes], Report]] | None = None,
    ) -> None:
        self._engine, self._clock, self.policy = engine, clock, policy or Policy()
        self._book, self._reader = book or Book(), reader or _parser

    # --- looking ------------------------------------------------------------------------------------------------------

    def page(
        self, *, text: str | None = None, state: str | None = None, offset: int = 0, limit: int = 100
    ) -> tuple[list[Suppression], int]:
        """Rows (newest first) and how many there are; ``text`` is part of an address, ``state`` one of its states."""
        conditions = []
        if state is not None:
            conditions.append(s.c.state == _one_of("state", state, STATES))
        if text:
            conditions.append(s.c.address.contains(text.strip().lower(), autoescape=True))
        with explained("reading the suppression list"), reading(self._engine) as connection:
            total = connection.execute(sa.select(sa.func.count()).select_from(s).where(*conditions)).scalar_one()
            query = sa.select(s).where(*conditions).order_by(s.c.id.desc()).offset(offset).limit(limit)
            return [store.row(r) for r in connection.execute(query)], int(total)

    def get(self, suppression_id: int) -> Suppression:
        """One row. Raises :class:`mailops.errors.NotFound`."""
        with explained("reading the suppression list"), reading(self._engine) as connection:
            found = connection.execute(sa.select(s).where(s.c.id == suppression_id)).first()
        if found is None:
            raise _unknown(str(suppression_id))
        return store.row(found)

    def find(self, address: str) -> Suppression | None:
        """The active or proposed row of an address that is not over."""
        with explained("reading the suppression list"), reading(self._engine) as connection:
            return store.open_row(connection, mailbox(address), self._clock.now())

    def frame(self, *, state: str | None = None) -> pd.DataFrame:
        """The list as a pandas frame, newest first."""
        import pandas as pd

        rows = self.page(state=state, limit=1_000_000)[0]
        return pd.DataFrame([asdict(r) for r in rows], columns=[f.name for f in fields(Suppression)])

    # --- by hand ------------------------------------------------------------------------------------------------------

    def add(
        self,
        address: str,
        *,
        scope: str = "campaigns",
        why: str = "",
        until: datetime | None = None,
        actor: str = "person",
        source: str = "person",
    ) -> Suppression:
        """Suppress an address by hand. A proposal becomes active, an entry for campaigns may widen to all mail, one
        with an end may get a later one; nothing but :meth:`undo` makes an entry weaker."""
        parsed = parse_first(address)
        if parsed is None or not parsed.domain:
            raise InputRefused(
                f"{address!r} is no mail address.",
                code="input.address",
                facts={"address": address},
                fix="Write it as name@example.com.",
            )
        _one_of("scope", scope, SCOPES)
        now = self._clock.now()
        if until is not None and until.tzinfo is None:
            until = until.replace(tzinfo=now.tzinfo)
        if self.is_over(until):
            raise InputRefused(
                f"The end {until} is over.",
                code="input.suppression_until",
                facts={"until": str(until), "now": str(now)},
                fix="Give an end in the future, or none: then the entry stays until it is undone.",
            )
        spec = mailbox(parsed.spec)
        with explained("suppressing an address"), self._engine.begin() as connection:
            one_report_at_a_time(connection)
            present = store.open_row(connection, spec, now)
            if present is None:
                values = store.values(spec, scope, source, "undefined", why or "Added by hand.", now, actor)
                values |= {"until": until}
                made = store.insert(connection, values, event="suppressed")
            else:
                made = present.id
                wider = "all" if "all" in (scope, present.scope) else scope
                to = {"state": "active", "scope": wider, "source": source, "why": why or present.why, "until": until}
                if present.state == "active":
                    to["until"] = max(until, present.until) if until and present.until else None
                store.change(connection, [made], event="suppressed", actor=actor, now=now, **to)
        return self.get(made)

    def is_over(self, until: datetime | None) -> bool:
        """Whether the end of an entry has come."""
        return until is not None and until <= self._clock.now()

    def undo(self, chosen: Collection[int | str], *, actor: str = "person") -> list[str]:
        """Take rows (by id) or addresses off the list; the rows and their reports are kept. Returns the addresses.

        Raises :class:`mailops.errors.NotFound`, with nothing changed, when one of them is not on the list.
        """
        now = self._clock.now()
        with explained("undoing a suppression"), self._engine.begin() as connection:
            ids: dict[int, str] = {}
            for key in chosen:
                which = s.c.id == key if isinstance(key, int) else s.c.address == mailbox(key)
                query = sa.select(s.c.id, s.c.address).where(which, s.c.state.in_(("active", "proposed")))
                found = connection.execute(query).all()
                if not found:
                    raise _unknown(str(key))
                ids.update((int(r.id), str(r.address)) for r in found)
            store.change(connection, list(ids), event="unsuppressed", actor=actor, now=now, state="undone")
        return sorted(set(ids.values()))

    def has_opted_out(self, address: str) -> bool:
        """Whether this person asked for no more campaigns."""
        with explained("reading the suppression list"), reading(self._engine) as connection:
            return bool(store.opted_out(connection, mailbox(address)))

    def opt_out(self, address: str, *, why: str) -> bool:
        """The person's own wish for no more campaigns: an entry of its own, beside what stands there, so that neither
        ends the other. Whether it is new."""
        spec, now = mailbox(address), self._clock.now()
        with explained("noting a wish for no more mail"), self._engine.begin() as connection:
            one_report_at_a_time(connection)
            if store.opted_out(connection, spec):
                return False
            values = store.values(spec, "campaigns", store.UNSUBSCRIBED, "undefined", why, now, "recipient")
            store.insert(connection, values, event="suppressed")
            return True

    def opt_in(self, address: str) -> bool:
        """Take :meth:`opt_out` back, and nothing else. Whether there was one."""
        with explained("taking a wish back"), self._engine.begin() as connection:
            one_report_at_a_time(connection)
            ids = store.opted_out(connection, mailbox(address))
            now = self._clock.now()
            change = store.change(connection, ids, event="unsuppressed", actor="recipient", now=now, state="undone")
            return bool(change)

    def confirm(self, ids: Collection[int], *, actor: str = "person") -> int:
        """Make proposals active."""
        with explained("confirming proposals"), self._engine.begin() as connection:
            query = sa.select(s.c.id).where(s.c.id.in_(list(ids)), s.c.state == "proposed")
            open_ids = [int(r[0]) for r in connection.execute(query)]
            now = self._clock.now()
            return store.change(connection, open_ids, event="suppressed", actor=actor, now=now, state="active")

    # --- when a rule improves -----------------------------------------------------------------------------------------

    def diff(self, progress: Callable[[int, int], None] | None = None) -> list[Change]:
        """What today's rules say otherwise about the stored reports; nothing is changed. ``progress`` hears how many
        reports of how many are read."""
        from .reread import diff

        read = self._reader()
        with explained("reading the stored reports"), reading(self._engine) as connection:
            return diff(connection, now=self._clock.now(), policy=self.policy, progress=progress, read=read)

    def apply(self, changes: Collection[Change], *, actor: str = "person") -> int:
        """Carry out these changes of :meth:`diff`, in one transaction; returns how many."""
        from .reread import apply

        with explained("applying today's rules"), self._engine.begin() as connection:
            return apply(connection, changes, actor=actor, now=self._clock.now(), book=self._book)


def _one_of(what: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise InputRefused(
            f"There is no {what} {value!r}.",
            code=f"input.suppression_{what}",
            facts={what: value},
            fix=f"Use one of: {', '.join(known)}.",
        )
    return value


def _unknown(key: str) -> NotFound:
    return NotFound(
        f"{key} is not on the suppression list.",
        facts={"wanted": key},
        fix="Look it up with: mailops suppress list",
    )
