"""Takes reports in: read, tied to the delivery, recorded once, and the delivery marked.

A report that fits no delivery is kept and shown all the same. A *delayed* report marks nothing: the other side still
tries. The same bytes count once, however often they arrive. What a provider's webhook tells goes the same way, as a
report without bytes to read.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..errors import NotFound
from ..ledger import Book, Fact, key_of
from ..ledger.book import lock
from ..ledger.returns import returned, unmatched
from ..ports import Clock
from ..store import schema
from ..store.database import explained, one_report_at_a_time, reading
from .correlate import WINDOW, Candidate, Clues, Match, clues, match, names_of
from .hardness import rejudge, stored_table
from .reading.report import GOOD_ACTIONS, RecipientResult, Report
from .revise import OUTCOMES, told

if TYPE_CHECKING:
    import pandas as pd

d, e, b = schema.deliveries, schema.events, schema.bounces


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one incoming report."""

    report: Report
    matches: tuple[Match, ...]
    repeated: bool = False

    @property
    def matched(self) -> int:
        return sum(found.candidate is not None for found in self.matches)


class Bounces:
    """Reads and records what comes back. ``book`` is the ledger, with those who hear of it; ``tag_keys`` gives the keys
    that signed return paths are checked with."""

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Clock,
        book: Book | None = None,
        tag_keys: Callable[[], Sequence[bytes]] = tuple,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._book = book or Book()
        self._tag_keys = tag_keys

    @staticmethod
    def parse(raw: bytes) -> Report:
        """Read a message: is it a report, of what kind, about whom, why, hard or soft. Nothing is recorded."""
        from . import parse

        return parse(raw)

    def take(self, raw: bytes, *, counters: bool = True) -> Taken:
        """Read a report, tie it to its delivery, and record it. Ordinary mail is returned untouched.

        ``counters=False`` leaves the counters of contacts and records to the caller (the gateway has its own rules).
        """
        report = self.parse(raw)
        if report.kind in ("ordinary", "autoreply"):
            return Taken(report, ())
        keys = self._tag_keys()
        with explained("recording a report"), self._engine.begin() as connection:
            found = clues(raw, report, _bounce_addresses(connection), keys)
            return self.enter(connection, report, found, raw=raw, counters=counters)

    def enter(
        self,
        connection: Connection,
        report: Report,
        found: Clues,
        *,
        raw: bytes,
        source: str = "report",
        counters: bool = True,
    ) -> Taken:
        """Record a report that is read already, in the caller's transaction. ``raw`` tells repeated ones."""
        now, digest = self._clock.now(), hashlib.sha256(raw).hexdigest()
        self._hold(connection, report, found, now)
        report = rejudge(report, stored_table(connection))
        if connection.execute(sa.select(b.c.id).where(b.c.digest == digest)).first():
            return Taken(report, (), repeated=True)
        results: list[RecipientResult | None] = list(report.results) or [None]
        matches, facts = [], []
        before: Counter[tuple[int, str]] = Counter()
        for number, result in enumerate(results):
            near = self._candidates(connection, found, result, now)
            hit = match(result, report, near, now=now, found=found, verified=source != "report")
            matches.append(hit)
            # one row per recipient; the digest of the first is the report's own
            key = digest if number == 0 else f"{digest[:60]}{number:04d}"
            noted = self._record(connection, raw if number == 0 else b"", key, report, result, hit, now, source)
            fact = _fact(
                connection,
                report,
                result,
                hit,
                key=key_of("r", digest, number),
                bounce_id=noted,
                now=now,
                source=source,
                counters=counters,
                before=before,
            )
            if fact is not None:
                facts.append(fact)
        self._book.record(connection, facts, now=now)
        return Taken(report, tuple(matches))

    def recent(self, limit: int = 1000) -> pd.DataFrame:
        """The newest reports, one row per recipient, as a pandas frame (without the raw bytes)."""
        import pandas as pd

        columns = [c for c in b.columns if c.name not in ("raw", "digest")]
        with self._engine.connect().execution_options(mailops_read=True) as connection:
            rows = connection.execute(sa.select(*columns).order_by(b.c.id.desc()).limit(limit)).all()
        return pd.DataFrame(rows, columns=[c.name for c in columns])

    def raw(self, bounce_id: int) -> bytes:
        """The stored bytes of a report, also for the rows of its further recipients. Raises NotFound."""
        with explained("reading a report"), reading(self._engine) as connection:
            found = connection.execute(sa.select(b.c.raw, b.c.digest).where(b.c.id == bounce_id)).first()
            if found is None:
                raise NotFound(
                    f"There is no report {bounce_id}.",
                    facts={"report": bounce_id},
                    fix="Look it up in the notebook bounces.",
                )
            if found.raw:
                return bytes(found.raw)
            first = sa.select(b.c.raw).where(b.c.digest.startswith(found.digest[:60]), sa.func.length(b.c.raw) > 0)
            return bytes(connection.execute(first).scalar() or b"")

    # --- the store ----------------------------------------------------------------------------------------------------

    def _hold(self, connection: Connection, report: Report, found: Clues, now: datetime) -> None:
        """Hold the mails that a report may speak of, then let no other report be taken in (in this order always)."""
        if connection.dialect.name == "postgresql":
            results: list[RecipientResult | None] = list(report.results) or [None]
            near = [hit.mail_id for result in results for hit in self._candidates(connection, found, result, now)]
            lock(connection, near)
        one_report_at_a_time(connection)

    def _candidates(
        self, connection: Connection, found: Clues, result: RecipientResult | None, now: datetime
    ) -> list[Candidate]:
        """Accepted deliveries of the mails that the clues name, or to the result's addresses."""
        rows: list[Any] = []
        ids = [value for _, value in found.message_ids]
        if ids:
            rows += self._accepted(connection, e.c.message_id.in_(ids))
        if found.mail_ids:
            rows += self._accepted(connection, e.c.mail_id.in_(found.mail_ids))
        names = names_of(result, found)
        if names and not any(row.recipient.lower() in names for row in rows):
            young = sa.and_(sa.func.lower(e.c.recipient).in_(names), e.c.at >= now - WINDOW - timedelta(days=1))
            rows += self._accepted(connection, young)
        addressed: defaultdict[int, set[str]] = defaultdict(set)
        for row in rows:
            addressed[row.mail_id].add(row.recipient)
        kept = {
            (r.mail_id, r.recipient): r.id
            for r in connection.execute(
                sa.select(d.c.id, d.c.mail_id, d.c.recipient).where(d.c.mail_id.in_(list(addressed)))
            )
        }
        return [
            Candidate(
                row.mail_id,
                kept.get((row.mail_id, row.recipient)),
                row.message_id,
                row.recipient,
                row.at,
                len(addressed[row.mail_id]),
                bool((row.data or {}).get("tagged")),
            )
            for row in rows
        ]

    @staticmethod
    def _accepted(connection: Connection, which: sa.ColumnElement[bool]) -> Sequence[Any]:
        query = (
            sa.select(e.c.mail_id, e.c.message_id, e.c.recipient, e.c.at, e.c.data)
            .where(e.c.kind.in_(["sent", "unknown"]), e.c.recipient.is_not(None), which)
            .order_by(e.c.id.desc())
            .limit(1000)
        )
        return list(connection.execute(query).all())

    def _record(
        self,
        connection: Connection,
        raw: bytes,
        digest: str,
        report: Report,
        result: RecipientResult | None,
        found: Match,
        now: datetime,
        source: str,
    ) -> int:
        hit = found.candidate
        address = (result.recipient if result else "") or (hit.recipient if hit else None)
        bounce_id = connection.execute(
            sa.insert(b).values(
                received_at=now,
                kind="success-dsn" if _arrived(result) else report.outcome,
                recipient=address[:320] if address else None,
                normalised=found.address(result),
                source=source,
                rule=((result.rule if result else "") or report.rule)[:200],
                status=result.status if result else None,
                reason=result.reason if result else None,
                hard=result.hard if result else None,
                diagnostic=(result.diagnostic if result else "") or None,
                original_message_id=(report.original.message_id or "")[:998] or None,
                mail_id=hit.mail_id if hit else None,
                delivery_id=hit.delivery_id if hit else None,
                matched_by=found.by,
                confidence=found.confidence,
                digest=digest,
                raw=raw,
            )
        ).inserted_primary_key[0]  # type: ignore[index]  # an insert of one row has a key
        return int(bounce_id)


def _fact(
    connection: Connection,
    report: Report,
    result: RecipientResult | None,
    found: Match,
    *,
    key: str,
    bounce_id: int,
    now: datetime,
    source: str,
    counters: bool,
    before: Counter[tuple[int, str]],
) -> Fact | None:
    """What a recorded report says of one recipient; None when it says nothing against anybody."""
    outcome = OUTCOMES.get(report.outcome)
    if outcome is None or _arrived(result):
        return None
    data = {**told(result), "source": source} | ({} if counters else {"counters": False})
    hit = found.candidate
    if hit is not None:
        return returned(
            connection,
            outcome,
            mail_id=hit.mail_id,
            recipient=hit.recipient,
            message_id=hit.message_id,
            key=key,
            data=data,
            bounce_id=bounce_id,
            at=now,
            before=before,
        )
    address = found.address(result)
    return None if address is None else unmatched(address, outcome, key=key, data=data, at=now)


def _arrived(result: RecipientResult | None) -> bool:
    """Whether this recipient of a mixed report got the mail."""
    return result is not None and result.action in GOOD_ACTIONS


def _bounce_addresses(connection: Connection) -> frozenset[str]:
    """The bounce addresses of all alias domains, in lower case."""
    a = schema.alias_domains
    found = connection.execute(sa.select(a.c.bounce_alias, a.c.name))
    return frozenset(f"{row.bounce_alias}@{row.name}".lower() for row in found)
