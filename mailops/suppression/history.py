"""What is known of an address (its reports, mails that arrived, its contact's counter, undos), and the judgement on it.

A report counts when it is tied to a mail of ours or comes from a provider's verified webhook. It is *proven* when its
tie is sure (:data:`mailops.bounces.correlate.SURE`). Others could have written the rest, so an address is suppressed by
what is proven alone; what the guesses add only proposes. A report about a mail with several recipients could be another
one's of them. Two such reports prove each other when they are independent: about different mails, of which nobody else
got both. What is in doubt for its words waits for a second one (:mod:`.decide`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..bounces.correlate import SEVERAL_SAID, SURE
from ..bounces.doubt import UNCONFIRMED, doubts
from ..ledger.book import standing
from ..model.address import mailbox
from ..store import schema
from .decide import Policy, Trace, Weighed, weigh

b, e, s, c = schema.bounces, schema.events, schema.suppressions, schema.contacts
REPORTS, ARRIVALS = 200, 50  # the newest of each that are looked at
TWINS = timedelta(days=2)
REFUSED_AT = frozenset({"rcpt", "data", "body"})
"""The steps of a session at which an answer is about the recipient."""
ANYBODY = "anybody could have written the report"
COMPANION = "the mail went to several, and another of them could have written the report"
CONFIRMED = "An independent second report or the server's own refusal confirms it."
Revised = tuple[str, str, bool, str]  # kind, reason, hard, why it waits


@dataclass(frozen=True, slots=True)
class Judged:
    """The judgement on an address; ``proven`` says that it stands without the reports that others could have written,
    and waits for no second one; where others could have written it, ``doubt`` says who."""

    weighed: Weighed
    proven: bool
    doubt: str = ""

    @property
    def why(self) -> str:
        """The reason in words, with why it is only proposed."""
        if not self.doubt:
            return self.weighed.why
        return f"{self.weighed.why.rstrip('.')}. Only proposed: {self.doubt}. {CONFIRMED}"


def judge(
    connection: Connection,
    address: str,
    *,
    now: datetime,
    policy: Policy,
    revised: Mapping[int, Revised] = MappingProxyType({}),
) -> Judged:
    """Weigh a normalised address. ``revised`` says how reports (by id) are to be judged instead of how they were."""
    limit = counter(connection, address)
    traces = history(connection, address, now=now, policy=policy, revised=revised)
    proven = weigh([t for t in traces if t.proven], now=now, policy=policy, counter=limit)
    if proven.suppress and proven.confirmed:
        return Judged(proven, True)
    found = weigh(traces, now=now, policy=policy, counter=limit)
    if not found.suppress or proven.suppress:  # what is proven waits for its words alone, and says so itself
        return Judged(found, False)
    return Judged(found, False, next((t.doubt for t in traces if t.id == found.bounce_id and t.doubt), ANYBODY))


def history(
    connection: Connection,
    address: str,
    *,
    now: datetime,
    policy: Policy,
    revised: Mapping[int, Revised] = MappingProxyType({}),
) -> list[Trace]:
    """The traces of a normalised address within the policy's window (hard ones and undos at any age)."""
    traces = _reports(connection, address, revised) + list(
        _refusals(connection, address, since=now - policy.soft_window)
    )
    if not traces:
        return []
    traces += [
        Trace(r.changed_at, "undone")
        for r in connection.execute(sa.select(s.c.changed_at).where(s.c.address == address, s.c.state == "undone"))
    ]
    return traces + _arrivals(connection, address, since=now - policy.soft_window)


def _reports(connection: Connection, address: str, revised: Mapping[int, Revised]) -> list[Trace]:
    """The reports that count, one for each time a mail was sent: a webhook and a report may tell of the same one."""
    query = (
        sa.select(
            b.c.received_at,
            b.c.kind,
            b.c.hard,
            b.c.reason,
            b.c.id,
            b.c.source,
            b.c.confidence,
            b.c.mail_id,
            b.c.matched_by,
        )
        .where(
            b.c.normalised == address,
            sa.or_(b.c.kind.in_(("bounce", "complaint")), b.c.id.in_(list(revised))),
            sa.or_(b.c.mail_id.is_not(None), b.c.source != "report"),
        )
        .order_by(b.c.id.desc())
        .limit(REPORTS)
    )
    kept: dict[tuple[int, str, datetime | None], Trace] = {}
    untied: list[Trace] = []
    rows = connection.execute(query).all()
    sendings = _sendings(connection, address, {r.mail_id for r in rows if r.mail_id is not None})
    waiting = doubts(connection, [(r.id, r.mail_id, address) for r in rows])
    for r in rows:
        proven = r.source != "report" or (r.confidence or 0.0) >= SURE
        doubt = waiting.get(r.id, "")
        kind, reason, hard, doubt = revised.get(r.id, (r.kind, r.reason or "undefined", bool(r.hard), doubt))
        sent_at = max((at for at in sendings.get(r.mail_id, ()) if at <= r.received_at), default=None)
        who = "" if proven else COMPANION if (r.matched_by or "").endswith(SEVERAL_SAID) else ANYBODY
        trace = Trace(r.received_at, kind, hard or bool(doubt), reason, r.id, proven, sent_at, doubt, who)
        if r.mail_id is None:
            untied.append(trace)
            continue
        key = (int(r.mail_id), str(kind), sent_at)
        other = kept.get(key)
        if other is not None:
            best = max(trace, other, key=lambda t: (t.proven, t.hard and not t.unconfirmed, t.hard))
            trace = replace(best, at=min(trace.at, other.at))
        kept[key] = trace
    return _without_twins(_agreeing(connection, address, kept), untied)


def _agreeing(
    connection: Connection, address: str, kept: Mapping[tuple[int, str, datetime | None], Trace]
) -> list[Trace]:
    """The traces, of which those are proven that an independent one bears out: of the same kind, and about another mail
    that had no other recipient in common."""
    doubted = {key for key, trace in kept.items() if trace.doubt == COMPANION and (trace.hard or key[1] == "complaint")}
    if len({mail_id for mail_id, _, _ in doubted}) < 2:
        return list(kept.values())
    company: dict[int, set[str]] = {mail_id: set() for mail_id, _, _ in doubted}
    query = sa.select(e.c.mail_id, sa.func.lower(e.c.recipient).label("to")).where(
        e.c.mail_id.in_(list(company)), e.c.kind.in_(("sent", "unknown")), e.c.recipient.is_not(None)
    )
    for row in connection.execute(query):
        company[int(row.mail_id)].add(mailbox(row.to))
    borne = {
        one
        for one in doubted
        for other in doubted
        if one[0] != other[0] and one[1] == other[1] and company[one[0]] & company[other[0]] <= {address}
    }
    return [replace(t, proven=True, doubt="") if key in borne else t for key, t in kept.items()]


def _refusals(connection: Connection, address: str, *, since: datetime) -> Iterator[Trace]:
    """Refusals at the door that are hard and in doubt, one for each mail; the others were heard when they came."""
    query = (
        sa.select(e.c.mail_id, e.c.at, e.c.data)
        .where(sa.func.lower(e.c.recipient) == address, e.c.at >= since, e.c.kind == "failed")
        .order_by(e.c.id.desc())
        .limit(REPORTS)
    )
    seen: set[int] = set()
    for row in connection.execute(query):
        data = row.data or {}
        if row.mail_id not in seen and data.get(UNCONFIRMED) and data.get("stage") in REFUSED_AT:
            seen.add(row.mail_id)
            reason, doubt = str(data.get("reason") or "undefined"), str(data[UNCONFIRMED])
            yield Trace(row.at, "refused", True, reason, sent_at=row.at, unconfirmed=doubt)


def _sendings(connection: Connection, address: str, mails: set[int]) -> dict[int, list[datetime]]:
    """When each of these mails left to an address."""
    found: dict[int, list[datetime]] = {}
    query = sa.select(e.c.mail_id, e.c.at).where(
        e.c.mail_id.in_(mails), e.c.kind.in_(("sent", "unknown")), sa.func.lower(e.c.recipient) == address
    )
    for row in connection.execute(query) if mails else ():
        found.setdefault(int(row.mail_id), []).append(row.at)
    return found


def _without_twins(tied: list[Trace], untied: list[Trace]) -> list[Trace]:
    """A provider's event that names no mail is most likely the one that a report of those days tells of too."""
    open_to = list(tied)
    rest = []
    for trace in untied:
        twin = next((t for t in open_to if t.kind == trace.kind and abs(t.at - trace.at) <= TWINS), None)
        if twin is None:
            rest.append(trace)
        else:
            open_to.remove(twin)
    return tied + rest


def _arrivals(connection: Connection, address: str, *, since: datetime) -> list[Trace]:
    """Mails to the address that were accepted and did not come back; also those whose row is gone (auto-delete)."""
    back = e.alias("back")
    returned = sa.select(back.c.id).where(
        back.c.mail_id == e.c.mail_id, back.c.recipient == e.c.recipient, back.c.kind == "bounced", standing(back)
    )
    query = (
        sa.select(e.c.at)
        .where(
            e.c.recipient.is_not(None),
            sa.func.lower(e.c.recipient) == address,
            e.c.at >= since,
            e.c.kind == "sent",
            ~returned.exists(),
        )
        .order_by(e.c.at.desc())
        .limit(ARRIVALS)
    )
    return [Trace(r.at, "success") for r in connection.execute(query)]


def counter(connection: Connection, address: str) -> int | None:
    """The highest bounce counter of the contacts at an address (0 after they wrote to us); None without a contact."""
    value = connection.execute(sa.select(sa.func.max(c.c.bounce_count)).where(c.c.email_normalised == address)).scalar()
    return None if value is None else int(value)
