"""Takes reports in: read, tied to the delivery, recorded once, and the delivery marked.

One door for every road: ``take`` (command line, notebook), the gateway (:meth:`Bounces.take_in`, in its transaction)
and webhooks (:meth:`Bounces.enter`, a report without bytes to read) leave the same rows. A report that fits no delivery
is kept and shown all the same. Only a failure marks and counts; what else is told is kept (:mod:`.addressed`). Each
block counts for its own recipient, and the same bytes count once, however often they arrive.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..errors import NotFound
from ..ledger import Book, Fact, key_of
from ..ledger.book import lock
from ..ledger.returns import returned, unmatched
from ..model.filters import read_filter
from ..model.setup import Profile
from ..ports import Clock
from ..store import schema
from ..store.database import explained, one_report_at_a_time, reading
from .addressed import REPORTS, SHOWN, UNREAD, Block, Heading, Ours, heading_of, kind_of, sign, understood, untagged
from .correlate import WINDOW, Candidate, Clues, Match, clues, match, names_of
from .hardness import rejudge, stored_table
from .own import Knowing, delivered, own_names
from .reading.ours import Ours as Names
from .reading.report import RecipientResult, Report
from .revise import OUTCOMES, told

if TYPE_CHECKING:
    import pandas as pd

d, e, b = schema.deliveries, schema.events, schema.bounces
_PLACES = ("message-id", "x-header", "in-reply-to", "references")  # where ids stand, in the order they are tried


class Discussions(Protocol):
    """Which message of theirs a report names that is tied to no delivery; what follows of it the ledger tells them."""

    def find(self, connection: Connection, ids: Sequence[Sequence[str]]) -> Any:
        """The message that the first group of ids names: its ``message_id``, the addresses it was mailed to
        (``notified``); None for none."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one incoming report. ``blocks`` has the consequence of each recipient's block, as ``matches`` has
    what it was tied to."""

    report: Report
    matches: tuple[Match, ...]
    repeated: bool = False
    blocks: tuple[Block, ...] = ()

    @property
    def kind(self) -> str:
        """The kind in one word; what only its address shows to be a report has that of its row."""
        return self.blocks[0].kind if self.report.kind == "ordinary" and self.blocks else self.report.kind

    @property
    def matched(self) -> int:
        return sum(found.candidate is not None for found in self.matches)


class Bounces:
    """Reads and records what comes back. ``book`` is the ledger, with those who hear of it, ``tag_keys`` gives the keys
    that signed return paths are checked with, ``discussions`` are the threads, ``profile`` says whether there is a
    hosted domain beside the alias domains."""

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Clock,
        book: Book | None = None,
        tag_keys: Callable[[], Sequence[bytes]] = tuple,
        discussions: Discussions | None = None,
        profile: Profile | None = None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._book = book or Book()
        self._tag_keys = tag_keys
        self._discussions = discussions
        self._hosted = profile.hosted if profile else None

    def reader(self) -> Knowing:
        """The reader with the workspace's own names, for one message or many."""
        return Knowing(self._engine, self._hosted, self._tag_keys())

    def parse(self, raw: bytes, delivered_to: str | None = None) -> Report:
        """Read a message, knowing what is ours: is it a report, of what kind, about whom, why, hard or soft. Nothing is
        recorded. ``delivered_to`` is the envelope recipient, where the fields do not say it."""
        return self.reader()(delivered(raw, delivered_to))

    def take(self, raw: bytes, delivered_to: str | None = None) -> Taken:
        """Read a report, tie it to its delivery, and record it. Ordinary mail is returned untouched."""
        raw = delivered(raw, delivered_to)
        report = self.reader()(raw)
        if report.kind not in REPORTS:
            heading = heading_of(raw)
            with explained("looking at a mail"), reading(self._engine) as connection:
                found = sign(heading, report, self.ours(connection, heading))
            if found is None and report.kind != UNREAD:
                return Taken(report, ())
            report = understood(report, heading, found) if found else report
        with explained("recording a report"), self._engine.begin() as connection:
            return self.take_in(connection, raw, report)

    def take_in(self, connection: Connection, raw: bytes, report: Report) -> Taken:
        """Record a report (:func:`~mailops.bounces.addressed.understood`) in the caller's transaction."""
        found = clues(raw, report, self._bounce_addresses(connection), self._tag_keys(), now=self._clock.now())
        return self.enter(connection, report, found, raw=raw)

    def enter(
        self, connection: Connection, report: Report, found: Clues, *, raw: bytes, source: str = "report"
    ) -> Taken:
        """Record a report that is read already, in the caller's transaction. ``raw`` tells repeated ones."""
        now, digest = self._clock.now(), hashlib.sha256(raw).hexdigest()
        self._hold(connection, report, found, now)
        report = rejudge(report, stored_table(connection))
        if connection.execute(sa.select(b.c.id).where(b.c.digest == digest)).first():
            return Taken(report, (), repeated=True)
        results: list[RecipientResult | None] = list(report.results) or [None]
        matches, blocks, facts = [], [], []
        before: Counter[tuple[int, str]] = Counter()
        for number, result in enumerate(results):
            near = self._candidates(connection, found, result, now)
            hit = match(result, report, near, now=now, found=found, verified=source != "report")
            matches.append(hit)
            # one row per recipient; the digest of the first is the report's own
            key = digest if number == 0 else f"{digest[:60]}{number:04d}"
            kind = kind_of(report, result)
            about = self._discussed(connection, found) if kind == "bounce" and hit.candidate is None else None
            original = about.message_id if about else report.original.message_id
            stored = raw if number == 0 else b""
            noted = self._record(connection, stored, key, kind, report, result, hit, original, now, source)
            fact, block = self._judge(
                connection,
                kind,
                result,
                hit,
                about,
                key=key_of("r", digest, number),
                bounce_id=noted,
                now=now,
                source=source,
                before=before,
            )
            facts += [fact] if fact is not None else []
            blocks.append(block)
        self._book.record(connection, facts, now=now)
        return Taken(report, tuple(matches), blocks=tuple(blocks))

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

    def ours(self, connection: Connection, heading: Heading) -> Ours:
        """Our bounce addresses, and those a mail with the null return path was written to that we sent mail from: the
        notification addresses, full addresses in FROM filters, and envelope senders and return paths of mails. An
        address that makes records is none of them: what comes to it is a report only if it reads as one."""
        bounces = self._bounce_addresses(connection)
        written = {untagged(address) for address in heading.to} if heading.null_path else set()
        makers = _addresses_of_aliases(connection)  # while sender addresses are verified, they make records
        return Ours(bounces - makers, _sent_from(connection, written) if written else frozenset())

    def names(self, connection: Connection) -> Names:
        """The names that are ours, for judging what a provider tells."""
        return own_names(connection, self._hosted)

    def _bounce_addresses(self, connection: Connection) -> frozenset[str]:
        """The bounce addresses of all alias domains, in lower case."""
        return self.names(connection).bounce_addresses

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
        kind: str,
        report: Report,
        result: RecipientResult | None,
        found: Match,
        original: str | None,
        now: datetime,
        source: str,
    ) -> int:
        hit = found.candidate
        address = (result.recipient if result else "") or (hit.recipient if hit else None)
        bounce_id = connection.execute(
            sa.insert(b).values(
                received_at=now,
                kind=kind,
                recipient=address[:320] if address else None,
                normalised=found.address(result),
                source=source,
                rule=((result.rule if result else "") or report.rule)[:200],
                status=result.status if result else None,
                reason=result.reason if result else None,
                hard=result.hard if result else None,
                diagnostic=(result.diagnostic if result else "") or None,
                original_message_id=(original or "")[:998] or None,
                mail_id=hit.mail_id if hit else None,
                delivery_id=hit.delivery_id if hit else None,
                matched_by=found.by,
                confidence=found.confidence,
                digest=digest,
                raw=raw,
            )
        ).inserted_primary_key[0]  # type: ignore[index]  # an insert of one row has a key
        return int(bounce_id)

    def _discussed(self, connection: Connection, found: Clues) -> Any:
        return self._discussions.find(connection, _by_place(found)) if self._discussions is not None else None

    def _judge(
        self,
        connection: Connection,
        kind: str,
        result: RecipientResult | None,
        found: Match,
        about: Any,
        *,
        key: str,
        bounce_id: int,
        now: datetime,
        source: str,
        before: Counter[tuple[int, str]],
    ) -> tuple[Fact | None, Block]:
        """The fact that a recorded block tells, and what it comes to; no fact where it says nothing against anybody."""
        hit, address, outcome = found.candidate, found.address(result), OUTCOMES.get(kind)
        if outcome is None:
            return None, Block(address, kind, False, found.by, f"{SHOWN.get(kind, 'kept')}; nothing is counted")
        data = {**told(result), "source": source, "bounce": bounce_id}
        if hit is not None:
            fact = returned(
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
            first = fact.kind == outcome
            return fact, Block(address, kind, first, found.by, _words(kind, hit, first, None))
        if about is not None:
            data["message"] = about.message
            if address is None and len(about.notified) == 1:
                address = about.notified[0]
        if address is None:
            words = "names nobody; " + ("the message turns red" if about else "kept, and nothing is counted")
            nobody = None if about is None else unmatched(None, outcome, key=key, data=data, at=now)
            return nobody, Block(None, kind, about is not None, found.by, words)
        fact = unmatched(address, outcome, key=key, data=data, at=now)
        return fact, Block(address, kind, True, found.by, _words(kind, None, True, about))


def _words(kind: str, hit: Candidate | None, first: bool, about: object) -> str:
    if not first:
        return "this sending's outcome was told before; nothing is counted twice"
    if kind == "complaint":
        return "a complaint, which counts for the suppression list"
    if hit is not None:
        return f"a failure, which counts for mail {hit.mail_id}"
    return f"a failure, which counts for the contact{' and the message' if about else '; no mail of ours fits'}"


def _by_place(found: Clues) -> list[tuple[str, ...]]:
    """Message-IDs in groups, in the order they are tried."""
    groups = [tuple(value for where, value in found.message_ids if where == place) for place in _PLACES]
    return [group for group in groups if group]


def _sent_from(connection: Connection, written: set[str]) -> frozenset[str]:
    """Which of these addresses we sent mail from, and make no records of."""
    ad, sv, ml = schema.alias_domains, schema.servers, schema.mails
    names = connection.execute(sa.select(ad.c.name, ad.c.default_from).where(ad.c.default_from.is_not(None)))
    senders = {(r.default_from if "@" in r.default_from else f"{r.default_from}@{r.name}").lower() for r in names}
    for text in connection.execute(sa.select(sv.c.from_filter)).scalars():
        senders |= set(read_filter(text).addresses)
    for column in (ml.c.sent_envelope, ml.c.return_path):
        for address in written - senders:
            if connection.execute(sa.select(ml.c.id).where(sa.func.lower(column) == address).limit(1)).first():
                senders.add(address)
    return frozenset(written & senders - _addresses_of_aliases(connection))


def _addresses_of_aliases(connection: Connection) -> frozenset[str]:
    al, ad = schema.aliases, schema.alias_domains
    makers = sa.select(al.c.local, ad.c.name).join(ad, ad.c.id == al.c.alias_domain_id)
    return frozenset(f"{row.local}@{row.name}".lower() for row in connection.execute(makers))
