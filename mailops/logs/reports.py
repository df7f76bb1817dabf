"""What logs answer beside a single mail: refused incoming mail, who still sends past mailops, advice.

Refused incoming mail often leaves no trace in the product: its sender gets the report. So it is counted where it is
written down, at the mail server, beside what our own gateway refused.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..bounces.reading import classify
from ..model.reasons import plain
from ..model.setup import Hosting
from ..store import schema
from ..store.database import explained, reading

e, g, n = schema.events, schema.log_mails, schema.inbound_log
RECURS = 3
"""So many refusals of one client or sender's domain are a matter for support."""
INCOMING = {
    "userunknown": "the recipient is not known there",
    "blocked": "the client is on a block list, or not welcome",
    "badreputation": "the client has a bad reputation",
    "norelaying": "that server does not take mail to this domain from this client",
    "spamdetected": "its content was taken for spam",
    "virusdetected": "a virus was found in it",
    "authfailure": "SPF, DKIM or DMARC of the sender failed",
    "requireptr": "the client's address has no name",
    "rejected": "the sender is not welcome, or cannot be checked",
    "mailboxfull": "the mailbox is full",
    "mesgtoobig": "it was too large",
    "speeding": "too many at once",
    "toomanyconn": "too many at once",
}
"""What a reason means for mail that comes in; the others mean what they mean for mail that goes out."""
_REFUSED = ("refused", "no_route", "loop_blocked")
_OWN = re.compile(r"<[^<>]{0,500}>|\[[^\[\]]{0,500}\]|\b[\w.+\-]{1,64}@[\w.\-]{1,253}|\b\d{1,3}(?:\.\d{1,3}){3}\b")


@dataclass(frozen=True, slots=True)
class Refused:
    """Incoming mail that was not taken on one UTC day for one reason: how often, of how many senders, and one of the
    answers that were given."""

    day: str
    reason: str
    meaning: str
    number: int
    senders: int
    answer: str
    server: str


@dataclass(frozen=True, slots=True)
class Outside:
    """Who hands mail to a server past mailops: by which sign-in or from which client, for which sender domains."""

    login: str
    client: str
    server: str
    domains: tuple[str, ...]
    mails: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Recurring:
    """A client or a sender's domain whose mail is refused again and again."""

    what: str
    name: str
    number: int
    answer: str


def refused(engine: Engine, *, since: datetime | None = None) -> list[Refused]:
    """Refused incoming mail per day and reason, the newest day first and the most frequent reason first in it."""
    found: defaultdict[tuple[str, str, str], list[tuple[str, str]]] = defaultdict(list)
    for at, server, reason, sender, answer in _turned_away(engine, since):
        found[f"{at:%Y-%m-%d}", server, reason].append((sender.lower(), answer))
    rows = [
        Refused(
            day,
            reason,
            INCOMING.get(reason) or plain(reason),
            len(told),
            len({sender for sender, _ in told}),
            _typical(told),
            server,
        )
        for (day, server, reason), told in found.items()
    ]
    rows.sort(key=lambda row: (-row.number, row.reason, row.server))
    return sorted(rows, key=lambda row: row.day, reverse=True)


def _typical(told: list[tuple[str, str]]) -> str:
    """The answer that was given most often, addresses apart."""
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for _, answer in told:
        kinds[_OWN.sub("", answer)].append(answer)
    return max(kinds.values(), key=len)[0]


def _turned_away(engine: Engine, since: datetime | None) -> list[tuple[datetime, str, str, str, str]]:
    """When, where, why, of whom and with what answer: from logs, and from our gateway."""
    query = sa.select(e.c.at, e.c.server_key, e.c.data).where(e.c.kind == "turned_away")
    own = sa.select(n.c.at, n.c.sender, n.c.decision, n.c.reason, n.c.answer).where(n.c.decision.in_(_REFUSED))
    if since is not None:
        query, own = query.where(e.c.at >= since), own.where(n.c.at >= since)
    found = []
    with explained("reading refused incoming mail"), reading(engine) as connection:
        for row in connection.execute(query.execution_options(yield_per=5_000)):
            data = row.data or {}
            found.append((row.at, row.server_key or "", data.get("reason") or "undefined", data.get("from") or "",
                          data.get("reply") or ""))  # fmt: skip
        for row in connection.execute(own):
            answer = row.answer or row.reason
            found.append((row.at, "mailops gateway", classify(text=answer).reason, row.sender or "", answer))
    return found


def recurring(engine: Engine, *, since: datetime | None = None) -> list[Recurring]:
    """Senders' domains and clients that are refused at least :data:`RECURS` times, the most first."""
    found: defaultdict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    query = sa.select(e.c.data).where(e.c.kind == "turned_away", *([e.c.at >= since] if since else []))
    with explained("reading refused incoming mail"), reading(engine) as connection:
        for (data,) in connection.execute(query.execution_options(yield_per=5_000)):
            data = data or {}
            sender, answer = str(data.get("from") or "").lower(), str(data.get("reply") or "")
            if "@" in sender:
                found["domain", sender.rpartition("@")[2]].append((sender, answer))
            if data.get("address"):
                found["client", str(data["address"])].append((sender, answer))
    rows = [Recurring(what, name, len(told), _typical(told)) for (what, name), told in found.items()]
    return sorted((row for row in rows if row.number >= RECURS), key=lambda row: (-row.number, row.what, row.name))


def senders(engine: Engine, *, since: datetime | None = None) -> list[Outside]:
    """Who hands outgoing mail to a server past mailops, the most first."""
    name = sa.func.coalesce(e.c.data["domain"].as_string(), "")
    number, first, last = sa.func.count(), sa.func.min(g.c.first_at), sa.func.max(g.c.first_at)
    query = (
        sa.select(g.c.login, g.c.client, g.c.host, g.c.instance, name, number,
                  sa.type_coerce(first, g.c.first_at.type), sa.type_coerce(last, g.c.first_at.type))
        .join(e, sa.and_(e.c.mail_id == g.c.mail_id, e.c.kind == "submitted"))
        .where(g.c.mail_id < 0, g.c.began, g.c.notice_of.is_(None), *([g.c.first_at >= since] if since else []))
        .group_by(g.c.login, g.c.client, g.c.host, g.c.instance, name)
    )  # fmt: skip
    found: dict[tuple[str, str, str], Outside] = {}
    with explained("reading who sends"), reading(engine) as connection:
        for login, client, host, instance, domain, mails, begin, end in connection.execute(query):
            server = f"{host}/{instance}".strip("/")
            key = (login or "", "" if login else client or "", server)
            one = found.get(key)
            domains = tuple(sorted({*(one.domains if one else ()), *([domain] if domain else [])}))
            found[key] = Outside(
                *key, domains, mails + (one.mails if one else 0), min(begin, one.first if one else begin),
                max(end, one.last if one else end),
            )  # fmt: skip
    return sorted(found.values(), key=lambda row: (-row.mails, row.login, row.client))


def advice(hosting: Hosting | str, again: list[Recurring], *, seen: bool) -> tuple[str, ...]:
    """What to do about incoming mail that is refused, by where the database lives. ``again`` is what recurs, ``seen``
    says whether any log was taken.

    >>> advice("online", [], seen=False)[0][:40]
    'An incoming mail that was refused leaves'
    """
    kind = Hosting(hosting)
    lines = [
        "An incoming mail that was refused leaves no trace in the database: its sender has the report, with the answer"
        " (mostly 550, mailbox unavailable). Ask the sender for it, and read it with: mailops bounces parse FILE"
    ]
    if kind is Hosting.ONLINE:
        lines.append("The mail server is the provider's, and its log is not yours to read. Contact support")
        if again:
            lines[-1] += (
                ", since it recurs: " + "; ".join(f"{r.what} {r.name}, {r.number} times" for r in again[:5]) + "."
            )
        else:
            lines[-1] += " if it recurs for one client or one domain; a single mail is tried again by its sender."
    elif kind is Hosting.SH:
        lines.append(
            "The logs are in ~/logs: odoo.log is today's, odoo.log.1 the day before, older ones are dated and"
            " compressed (each day at 05:00 UTC). Take them all: mailops logs take ~/logs, then"
            " ask: mailops trace MESSAGE-ID"
        )
    else:
        lines.append(
            "The log is on your mail server: mailops logs take /var/log (mail.log and what was rotated), or"
            " of journald: journalctl -o json -u 'postfix*' > mail.json. Then ask: mailops logs refused"
        )
    if again and kind is not Hosting.ONLINE:
        lines.append(
            "It recurs for "
            + "; ".join(f"the {r.what} {r.name} ({r.number} times: {r.answer[:120]})" for r in again[:5])
            + ". Look at the rule that gave this answer, and let that sender through or tell him what to mend."
        )
    if not seen:
        lines.append("No log has been taken yet, so what mail servers refused is not counted here.")
    return tuple(lines)
