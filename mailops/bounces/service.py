"""Takes reports in: read, tied to the delivery, recorded once, and the delivery marked.

A report that fits no delivery is kept and shown all the same. A *delayed* report marks nothing: the other side still
tries. The same bytes count once, however often they arrive.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..model.address import normalise
from ..model.states import DeliveryState, FailureType, MailState, mail_state
from ..ports import Clock
from ..queue.lease import count
from ..store import schema
from ..store.database import explained
from .correlate import Candidate, Match, match
from .report import RecipientResult, Report

if TYPE_CHECKING:
    import pandas as pd

m, d, e, b = schema.mails, schema.deliveries, schema.events, schema.bounces
NO_ERROR = "no error"  # an error exists that could not be interpreted


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
    """Reads and records what comes back."""

    def __init__(self, engine: Engine, *, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    @staticmethod
    def parse(raw: bytes) -> Report:
        """Read a message: is it a report, of what kind, about whom, why, hard or soft. Nothing is recorded."""
        from . import parse

        return parse(raw)

    def take(self, raw: bytes) -> Taken:
        """Read a report, tie it to its delivery, and record it. Ordinary mail is returned untouched."""
        report = self.parse(raw)
        if report.kind in ("ordinary", "autoreply"):
            return Taken(report, ())
        digest = hashlib.sha256(raw).hexdigest()
        now = self._clock.now()
        with explained("recording a report"), self._engine.begin() as connection:
            if connection.execute(sa.select(b.c.id).where(b.c.digest.startswith(digest[:60]))).first():
                return Taken(report, (), repeated=True)
            results: list[RecipientResult | None] = list(report.results) or [None]
            matches = []
            for number, result in enumerate(results):
                found = match(result, report, self._candidates(connection, report, result), now=now)
                matches.append(found)
                # one row per recipient; the digest of the first is the report's own
                key = digest if number == 0 else f"{digest[:60]}{number:04d}"
                self._record(connection, raw if number == 0 else b"", key, report, result, found, now)
        return Taken(report, tuple(matches))

    def take_many(self, raws: Iterable[bytes]) -> list[Taken]:
        """Take several reports, each in its own transaction."""
        return [self.take(raw) for raw in raws]

    def recent(self, limit: int = 1000) -> pd.DataFrame:
        """The newest reports, one row per recipient, as a pandas frame (without the raw bytes)."""
        import pandas as pd

        columns = [c for c in b.columns if c.name not in ("raw", "digest")]
        with self._engine.connect().execution_options(mailops_read=True) as connection:
            rows = connection.execute(sa.select(*columns).order_by(b.c.id.desc()).limit(limit)).all()
        return pd.DataFrame(rows, columns=[c.name for c in columns])

    # --- the store ----------------------------------------------------------------------------------------------------

    def _candidates(self, connection: Connection, report: Report, result: RecipientResult | None) -> list[Candidate]:
        """Accepted deliveries of the original Message-ID, or to the result's addresses."""
        conditions: list[sa.ColumnElement[bool]] = []
        if report.original.message_id:
            conditions.append(e.c.message_id == report.original.message_id)
        names = [n for n in ((result.recipient, result.original_recipient) if result else ()) if n]
        if names and not conditions:
            since = self._clock.now().timestamp() - 8 * 86_400
            conditions.append(
                sa.and_(e.c.recipient.in_(names), e.c.at >= datetime.fromtimestamp(since, self._clock.now().tzinfo))
            )
        if not conditions:
            return []
        query = (
            sa.select(e.c.mail_id, e.c.message_id, e.c.recipient, e.c.at)
            .where(e.c.kind.in_(["sent", "unknown"]), sa.or_(*conditions))
            .order_by(e.c.id.desc())
            .limit(1000)
        )
        rows = connection.execute(query).all()
        people = Counter(str(row.message_id) for row in rows)
        found = []
        for row in rows:
            delivery = connection.execute(
                sa.select(d.c.id).where(d.c.mail_id == row.mail_id, d.c.recipient == row.recipient)
            ).scalar()
            found.append(
                Candidate(row.mail_id, delivery, row.message_id, row.recipient, row.at, people[row.message_id])
            )
        return found

    def _record(
        self,
        connection: Connection,
        raw: bytes,
        digest: str,
        report: Report,
        result: RecipientResult | None,
        found: Match,
        now: datetime,
    ) -> None:
        hit = found.candidate
        bounce_id = connection.execute(
            sa.insert(b).values(
                received_at=now,
                kind=report.kind,
                recipient=result.recipient if result else (hit.recipient if hit else None),
                status=result.status if result else None,
                reason=result.reason if result else None,
                hard=result.hard if result else None,
                diagnostic=(result.diagnostic if result else "") or None,
                original_message_id=report.original.message_id,
                mail_id=hit.mail_id if hit else None,
                delivery_id=hit.delivery_id if hit else None,
                matched_by=found.by,
                confidence=found.confidence,
                digest=digest,
                raw=raw,
            )
        ).inserted_primary_key[0]  # type: ignore[index]
        if hit is None or report.kind not in ("bounce", "complaint"):
            return
        self._event(connection, report, result, hit, now)
        if report.kind == "bounce":
            self._mark(connection, result, hit, int(bounce_id), now)

    def _event(
        self, connection: Connection, report: Report, result: RecipientResult | None, hit: Candidate, now: datetime
    ) -> None:
        kind = "bounced" if report.kind == "bounce" else "complained"
        sent = connection.execute(
            sa.select(e.c.server_key)
            .where(e.c.mail_id == hit.mail_id, e.c.recipient == hit.recipient, e.c.kind.in_(["sent", "unknown"]))
            .limit(1)
        ).scalar()
        born = connection.execute(
            sa.select(e.c.data).where(e.c.mail_id == hit.mail_id, e.c.kind == "submitted").limit(1)
        ).scalar()
        connection.execute(
            sa.insert(e).values(
                at=now,
                kind=kind,
                mail_id=hit.mail_id,
                message_id=hit.message_id,
                recipient=hit.recipient,
                server_key=sent,
                data=_data(result),
            )
        )
        domain = hit.recipient.rpartition("@")[2].lower()
        sender, klass = (born or {}).get("domain") or "", (born or {}).get("class") or "transactional"
        day = now.strftime("%Y-%m-%d")
        count(self._engine, connection, day, Counter({(sent or "", sender, domain, klass, kind): 1}))

    def _mark(
        self, connection: Connection, result: RecipientResult | None, hit: Candidate, bounce_id: int, now: datetime
    ) -> None:
        text = (result.diagnostic if result else "") or NO_ERROR
        if hit.delivery_id is not None:
            connection.execute(
                sa.update(d)
                .where(d.c.id == hit.delivery_id)
                .values(
                    state=DeliveryState.BOUNCED.value,
                    enhanced=result.status if result else None,
                    reply=text,
                    stage="report",
                    reason=result.reason if result else "undefined",
                    failure_type=FailureType.BOUNCE.value,
                    bounce_id=bounce_id,
                    updated_at=now,
                )
            )
            states = [
                DeliveryState(row[0])
                for row in connection.execute(sa.select(d.c.state).where(d.c.mail_id == hit.mail_id))
            ]
            connection.execute(
                sa.update(m)
                .where(m.c.id == hit.mail_id, m.c.state != MailState.OUTGOING.value)
                .values(
                    state=mail_state(states).value,
                    failure_type=FailureType.BOUNCE.value,
                    failure_reason=f"Came back from {hit.recipient}: {text}",
                )
            )
        connection.execute(
            sa.update(schema.notifications)
            .where(
                schema.notifications.c.mail_id == hit.mail_id,
                sa.func.lower(schema.notifications.c.address) == normalise(hit.recipient),
            )
            .values(state="bounce", failure_type=FailureType.BOUNCE.value, reason=text)
        )


def _data(result: RecipientResult | None) -> dict[str, Any]:
    if result is None:
        return {"reason": "undefined", "reply": NO_ERROR}
    return {
        "status": result.status,
        "reason": result.reason,
        "hard": result.hard,
        "reply": (result.diagnostic or NO_ERROR)[:1000],
    }
