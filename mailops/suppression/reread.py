"""Reads the stored reports again with today's rules and tells what would change; nothing is applied unasked.

A rule that improves finds old mistakes. Each stored report is read anew; where kind, reason or hardness differ from
what was noted, the difference is one change, with what it means for the list: an address comes off it (a false
positive), goes onto it, or is proposed (the report could be anybody's, or waits for a second one). An entry that a
person undid stays undone, and what a person entered stays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..bounces import Report, parse
from ..bounces.addressed import UNREAD, kind_of
from ..bounces.doubt import UNCONFIRMED, WEAK, doubts, strength
from ..bounces.hardness import rejudge, stored_table
from ..bounces.reading.report import RecipientResult
from ..bounces.revise import rejudged, revised, told
from ..ledger import Book
from ..ledger.book import lock
from ..model.address import mailbox
from ..store import schema
from . import store
from .decide import Policy
from .history import judge

b, s = schema.bounces, schema.suppressions
BATCH = 200
BY_HAND = ("person", "import")
STORED = (b.c.source == "report", sa.func.length(b.c.raw) > 0)  # events of webhooks have no bytes to read again


@dataclass(frozen=True, slots=True)
class Change:
    """One stored report that is judged otherwise today. ``was`` and ``now`` are (kind, reason, hard), ``doubts`` why
    each of the two judgements waits for a second report ("" where it stands alone); ``effect`` is ``suppress``,
    ``propose``, ``unsuppress`` or ``none``."""

    bounce_id: int
    address: str
    was: tuple[str, str, bool]
    now: tuple[str, str, bool]
    rule: str
    evidence: str
    effect: str
    result: RecipientResult | None = None
    doubts: tuple[str, str] = ("", "")

    @property
    def strengths(self) -> tuple[str, str]:
        """``hard``, ``hard, unconfirmed`` or ``soft``, then and today."""
        return strength(self.was[2], self.doubts[0]), strength(self.now[2], self.doubts[1])

    def __str__(self) -> str:
        told = zip((self.was, self.now), self.strengths, strict=True)
        old, new = (f"{kind} {reason} {said}" for (kind, reason, _), said in told)
        return f"{self.address}: {old} → {new}; {EFFECTS[self.effect]} (rule {self.rule})"


EFFECTS = {
    "suppress": "goes onto the list",
    "propose": "is proposed for the list",
    "unsuppress": "comes off the list",
    "none": "the list stays",
}


def diff(
    connection: Connection,
    *,
    now: datetime,
    policy: Policy,
    progress: Callable[[int, int], None] | None = None,
    read: Callable[[bytes], Report] = parse,
) -> list[Change]:
    """What today's rules say otherwise, oldest report first. ``progress`` hears (reports read, of how many), ``read``
    reads a report again."""
    found: list[Change] = []
    table = stored_table(connection)
    total = connection.execute(sa.select(sa.func.count()).select_from(b).where(*STORED)).scalar_one()
    for done, (raw, rows) in enumerate(_reports(connection), start=1):
        waiting = doubts(connection, [(row.id, row.mail_id, row.normalised or row.recipient) for row in rows])
        found += _compare(rejudge(read(raw), table), rows, waiting)
        if progress and (done % BATCH == 0 or done == total):
            progress(done, total)
    revised = {c.bounce_id: c for c in found}
    effects = {a: _effect(connection, a, revised, now, policy) for a in {c.address for c in found}}
    return [replace(change, effect=effects[change.address]) for change in found]


def _reports(connection: Connection) -> Iterator[tuple[bytes, list[Any]]]:
    """Each stored report's bytes with its rows (one for each recipient). Events of webhooks have none to read."""
    last = 0
    while True:
        query = sa.select(b).where(b.c.id > last, *STORED).order_by(b.c.id).limit(BATCH)
        firsts = connection.execute(query).all()
        if not firsts:
            return
        for first in firsts:
            rest = connection.execute(
                sa.select(b).where(b.c.digest.between(first.digest[:60] + "0001", first.digest[:60] + "9999"))
            ).all()
            yield first.raw, [first, *(r for r in rest if r.id != first.id and r.digest[60:].isdigit() and not r.raw)]
        last = int(firsts[-1].id)


def _compare(report: Report, rows: list[Any], waiting: Mapping[int, str]) -> Iterator[Change]:
    for row in rows:
        if row.recipient is None:
            continue
        result = _result_for(report, row.recipient)
        was = (str(row.kind), str(row.reason or "undefined"), bool(row.hard))
        kind = kind_of(report, result)
        if result is None and kind in ("bounce", "complaint") and report.results:
            continue  # the report names others only: who was meant was found by other means, and stays
        if UNREAD in (row.kind, row.rule) and report.kind == "ordinary":
            continue  # its address says that it is a report, and it still cannot be read
        now = (kind, result.reason, result.hard) if result else (kind, "undefined", False)
        old = waiting.get(row.id, "")
        new = told(result if kind == "bounce" else None, "" if old == WEAK else old).get(UNCONFIRMED, "")
        if now != was or old != new:
            rule, evidence = (result.rule, result.evidence) if result else (report.rule, report.evidence)
            address = row.normalised or mailbox(row.recipient)
            yield Change(row.id, address, was, now, rule, evidence, "none", result, (old, new))


def _result_for(report: Report, address: str) -> RecipientResult | None:
    wanted = mailbox(address)
    for result in report.results:
        names = (result.recipient, result.original_recipient)
        if any(n and "@" in n and mailbox(n) == wanted for n in names):
            return result
    return None


def _effect(connection: Connection, address: str, revised: dict[int, Change], now: datetime, policy: Policy) -> str:
    anew = {number: (*change.now, change.doubts[1]) for number, change in revised.items() if change.address == address}
    judged = judge(connection, address, now=now, policy=policy, revised=anew)
    present = store.open_row(connection, address, now)
    if present is None:
        return "none" if not judged.weighed.suppress else "suppress" if judged.proven else "propose"
    automatic = present.bounce_id is not None and present.source not in BY_HAND
    if automatic and not judged.weighed.suppress:
        return "unsuppress"
    waits = automatic and present.state == "active" and not judged.weighed.confirmed
    return "propose" if waits else "none"


def apply(connection: Connection, changes: Collection[Change], *, actor: str, now: datetime, book: Book) -> int:
    """Note the new judgements, and carry out their effects on the list."""
    about = sa.select(b.c.mail_id).where(b.c.id.in_([change.bounce_id for change in changes]), b.c.mail_id.is_not(None))
    lock(connection, [int(row[0]) for row in connection.execute(about)])
    for change in changes:
        kind, reason, hard = change.now
        book.record(connection, revised(connection, change.bounce_id, change.result, kind, now=now), now=now)
        rejudged(connection, change.bounce_id, kind=kind, reason=reason, hard=hard, rule=change.rule)
        data = {"was": list(change.was), "now": list(change.now), "rule": change.rule, "bounce": change.bounce_id}
        data |= {UNCONFIRMED: change.doubts[1]} if change.doubts[1] else {}
        store.log(connection, "reclassified", change.address, actor, now, data)
        present = store.open_row(connection, change.address, now)
        if change.effect == "unsuppress" and present is not None:
            store.change(connection, [present.id], event="unsuppressed", actor=actor, now=now, state="undone")
        elif change.effect == "propose" and present is not None:
            event = "suppression_proposed"
            store.change(connection, [present.id], event=event, actor=actor, now=now, state="proposed")
        elif change.effect in ("suppress", "propose") and present is None:
            new = {
                "address": change.address,
                "scope": "campaigns",
                "state": "active" if change.effect == "suppress" else "proposed",
                "source": "report",
                "reason": reason,
                "why": f"Judged anew by rule {change.rule}.",
                "hard": hard,
                "since": now,
                "until": None,
                "bounce_id": change.bounce_id,
                "actor": actor,
                "changed_at": now,
            }
            event = "suppressed" if change.effect == "suppress" else "suppression_proposed"
            store.insert(connection, new, event=event)
    return len(changes)
