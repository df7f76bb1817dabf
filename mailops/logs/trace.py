"""Where is this mail? One line of holders in time order, of own facts, logs, reports and replies.

A holder is who has taken responsibility for the mail by a positive answer (RFC 5321 section 4.2.5), so the last proven
holder is whoever gave the last one, with that answer as the proof; where it names his own queue id, the text to send to
him does. What the sources do not show is said, never guessed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..errors import InputRefused, NotFound
from ..ledger.book import standing
from ..ledger.returns import acceptances
from ..model.reasons import plain
from ..store import schema
from ..store.database import explained, reading
from .lines import ODOO
from .store import own_mails

e, g, m, d, b, a = (
    schema.events,
    schema.log_mails,
    schema.mails,
    schema.deliveries,
    schema.bounces,
    schema.attempts,
)
msg = schema.messages
LIMIT = 200
_QUEUED = re.compile(
    r"\b(?:queued (?:mail )?(?:as|for delivery as)|Queued mail for delivery|id=|OK id=)\s*<?([\w.\-]{2,})"
).search
INSIDE = "passed it on within this log"
_HERE = frozenset({"local", "virtual", "lmtp", "pipe"})
_OURS = frozenset({"barred", "retried", "cancelled", "ignored"})
ENDS = {
    "held": "in the hands of {holder}",
    "waiting": "waits at {holder}",
    "delivered": "delivered: {holder}",
    "refused": "refused, and back at the sender",
    "lost": "nothing is known of it",
    "stopped": "stopped here",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened. ``holder`` is who has the mail after it, "" where it says nothing of that; ``answer`` is
    quoted as it was given; ``source`` is queue, log, report, webhook or reply."""

    at: datetime
    what: str
    holder: str = ""
    answer: str = ""
    recipient: str = ""
    source: str = "log"
    state: str = ""
    queue_id: str = ""


@dataclass(frozen=True, slots=True)
class Path:
    """One recipient's way. ``state`` is held, waiting, delivered, refused, stopped or lost; ``holder`` has it now as
    far as ``answer`` proves; ``text`` is for whoever has it next, at ``ask``."""

    recipient: str
    state: str
    holder: str
    since: datetime | None
    answer: str
    ask: str
    text: str

    @property
    def says(self) -> str:
        """Where the mail is, in words."""
        return ENDS[self.state].format(holder=self.holder or "nobody known")


@dataclass(frozen=True, slots=True)
class Journey:
    """One mail: its steps in time order, each recipient's way, and what could not be joined. ``mail`` is its number in
    the queue, None for mail that only logs know; ``sender`` is of the envelope, "" the null one (RFC 5321 section
    4.5.5), None where nothing that is known names it."""

    mail: int | None
    message_id: str
    sender: str | None
    first: datetime
    last: datetime
    steps: tuple[Step, ...]
    paths: tuple[Path, ...]
    unjoined: tuple[str, ...] = ()

    @property
    def author(self) -> str:
        """The sender in words."""
        return author(self.sender)

    @property
    def holders(self) -> tuple[str, ...]:
        """Who took responsibility for it, in order, each once in a row."""
        found: list[str] = []
        for step in self.steps:
            if step.holder and step.state in ("held", "delivered") and (not found or found[-1] != step.holder):
                found.append(step.holder)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Trace:
    """What was asked, how it was understood (message_id, address, queue_id, mail), and the mails, the newest first.
    ``total`` counts them all; ``refused`` are answers by which mail to or from an address was not taken."""

    asked: str
    by: str
    journeys: tuple[Journey, ...]
    total: int
    refused: tuple[Step, ...] = ()
    unjoined: tuple[str, ...] = field(default=())


def trace(engine: Engine, asked: str, *, since: datetime | None = None, limit: int = LIMIT) -> Trace:
    """Everything that is known of a Message-ID, an address, a queue id or a mail's number, in one order of time.

    Of an address the mails to and from it, those of ``since`` and later. Raises :class:`InputRefused` for an empty
    question and :class:`NotFound` where nothing is known.
    """
    text = asked.strip()
    if not text:
        raise InputRefused(
            "There is nothing to look for.",
            code="trace.empty",
            fix="Name a Message-ID, an address, a queue id, or a mail's number: mailops trace ann@example.com",
        )
    with explained("tracing a mail"), reading(engine) as connection:
        by, numbers, refused = _find(connection, text, since)
        ordered = _together(connection, _newest(connection, numbers))
        journeys = [one for group in ordered[:limit] if (one := _journey(connection, group)) is not None]
    if not journeys and not refused:
        raise NotFound(
            f"Nothing is known of {text[:200]!r}.",
            facts={"asked": text[:200], "by": by, "since": str(since or "ever")},
            fix="Take the logs of the days in question (mailops logs take PATH), look further back with --since, or"
            " check the spelling: a Message-ID has its angle brackets, a queue id capitals and small letters.",
        )
    return Trace(text, by, tuple(journeys), len(ordered), tuple(refused))


def _find(connection: Connection, text: str, since: datetime | None) -> tuple[str, set[int], list[Step]]:
    bare = text.strip("<>")
    later = [e.c.at >= since] if since else []
    as_id = f"<{bare}>"
    numbers = set(own_mails(connection, {as_id}).values())
    logged = sa.select(g.c.mail_id).where(g.c.message_id.in_([as_id, bare]))
    told = sa.select(e.c.mail_id).where(e.c.message_id == as_id, e.c.recipient.is_not(None), e.c.mail_id.is_not(None))
    for query in (logged, told):
        numbers.update(int(row[0]) for row in connection.execute(query.distinct()) if row[0])
    refused = _refused(connection, e.c.message_id == as_id)
    if numbers or refused:
        return "message_id", numbers, refused
    if "@" in bare:
        who = bare.lower()
        queries = [
            sa.select(e.c.mail_id).where(sa.func.lower(e.c.recipient) == who, e.c.mail_id.is_not(None), *later),
            sa.select(g.c.mail_id).where(sa.func.lower(g.c.sender) == who, *([g.c.last_at >= since] if since else [])),
            sa.select(d.c.mail_id).where(d.c.normalised == who, *([d.c.updated_at >= since] if since else [])),
            sa.select(m.c.id).where(
                sa.func.lower(m.c.header_from).contains(who, autoescape=True),
                *([m.c.created_at >= since] if since else []),
            ),
        ]
        for query in queries:
            numbers.update(int(row[0]) for row in connection.execute(query.distinct()) if row[0])
        return "address", numbers, _refused(connection, sa.func.lower(e.c.recipient) == who, *later)
    rows = connection.execute(sa.select(g.c.mail_id).where(g.c.queue_id == bare).distinct())
    numbers.update(int(row[0]) for row in rows if row[0])
    if numbers or not bare.lstrip("-").isdigit() or len(bare) > 18:
        return "queue_id", numbers, []
    known = sa.select(e.c.mail_id).where(e.c.mail_id == int(bare)).limit(1)
    return "mail", {int(row[0]) for row in connection.execute(known)}, []


def _refused(connection: Connection, *where: Any) -> list[Step]:
    """Answers by which incoming mail was not taken."""
    query = sa.select(e).where(e.c.kind == "turned_away", *where).order_by(e.c.at.desc(), e.c.id.desc()).limit(LIMIT)
    found = []
    for row in connection.execute(query):
        data = row.data or {}
        whom = data.get("from") or "nobody named"
        peer = f"{data.get('client') or 'unknown'}[{data.get('address') or '?'}]"
        what = f"{row.server_key} refused mail from {whom} at {peer}, step {str(data.get('step') or '').upper()}"
        found.append(Step(row.at, what, "", str(data.get("reply") or ""), row.recipient or "", "log", "refused"))
    return found[::-1]


def _newest(connection: Connection, numbers: set[int]) -> list[int]:
    ids = sorted(numbers)
    last: dict[int, datetime] = {}
    for at in range(0, len(ids), 500):
        query = sa.select(e.c.mail_id, sa.func.max(e.c.at, type_=e.c.at.type)).where(
            e.c.mail_id.in_(ids[at : at + 500])
        )
        last.update({int(mail): when for mail, when in connection.execute(query.group_by(e.c.mail_id))})
        kept = sa.select(g.c.mail_id, sa.func.max(g.c.last_at, type_=g.c.last_at.type))
        kept = kept.where(g.c.mail_id.in_(ids[at : at + 500])).group_by(g.c.mail_id)
        for mail, when in connection.execute(kept):
            last[int(mail)] = max(when, last.get(int(mail), when))
    return sorted(last, key=lambda mail: (last[mail], mail), reverse=True)


def _together(connection: Connection, numbers: Sequence[int]) -> list[list[int]]:
    """Numbers of the same Message-ID are one mail: a stay of which the middle was taken before the beginning has one of
    its own."""
    names: dict[int, str] = {}
    for at in range(0, len(numbers), 500):
        some = numbers[at : at + 500]
        query = sa.select(g.c.mail_id, g.c.message_id).where(g.c.mail_id.in_(some), g.c.message_id.is_not(None))
        names.update({int(mail): str(name) for mail, name in connection.execute(query)})
    others: defaultdict[str, set[int]] = defaultdict(set)
    known = sorted(set(names.values()))
    for at in range(0, len(known), 500):
        query = sa.select(g.c.message_id, g.c.mail_id).where(g.c.message_id.in_(known[at : at + 500]), g.c.mail_id != 0)
        for name, mail in connection.execute(query):
            others[str(name)].add(int(mail))
    groups: list[list[int]] = []
    done: set[int] = set()
    for number in numbers:
        if number not in done:
            group = sorted({number, *others[names.get(number, "")]}, reverse=True)
            done.update(group)
            groups.append(group)
    return groups


# --- one mail ---------------------------------------------------------------------------------------------------------


def _journey(connection: Connection, numbers: Sequence[int]) -> Journey | None:
    number = numbers[0]
    stays = connection.execute(sa.select(g).where(g.c.mail_id.in_(numbers)).order_by(g.c.first_at, g.c.id)).all()
    facts = connection.execute(
        sa.select(e).where(e.c.mail_id.in_(numbers), standing()).order_by(e.c.at, e.c.id).limit(5_000)
    ).all()
    if not facts and not stays:
        return None
    message_id = next((r.message_id for r in (*facts, *stays) if r.message_id), "")
    steps = [_taken(row) for row in stays]
    inside = {row.queue_id: _name(row.host, row.instance) for row in stays}
    senders = [row.sender for row in stays if row.sender is not None and not row.notice_of]
    took = acceptances(connection, number)
    for row in facts:
        if row.kind == "submitted" and (told := (row.data or {}).get("from")) is not None:
            senders.insert(0, str(told))
        step = _told(row, took, inside)
        if step is not None:
            steps.append(step)
    steps += _reports(connection, number, message_id, {(s.at, s.source) for s in steps})
    steps += _answers(connection, message_id)
    # what a server took comes before what it did in the same second
    steps.sort(key=lambda step: (step.at, 0 if not step.recipient else 1 if INSIDE in step.what else 2))
    people = list(dict.fromkeys(step.recipient for step in steps if step.recipient and step.state))
    sender = next(filter(None, senders), "" if senders or any(row.notice_of for row in stays) else None)
    paths = tuple(_path(person, steps, sender, message_id) for person in people or [""])
    return Journey(
        number if number > 0 else None, message_id, sender, steps[0].at, steps[-1].at, tuple(steps), paths,
        tuple(_missing(stays, steps, people)),
    )  # fmt: skip


def _name(host: str, instance: str) -> str:
    return f"{host}/{instance}".strip("/")


def _taken(row: Any) -> Step:
    """A queue took the mail."""
    name = _name(row.host, row.instance)
    if row.instance.startswith(f"{ODOO}/"):
        return Step(row.first_at, f"{name} logs it for the first time", name, state="", queue_id=row.queue_id)
    if row.notice_of:
        what = f"{name} wrote a report of its own about {row.notice_of} ({row.queue_id})"
    elif not row.began:
        what = f"{name} has it as {row.queue_id}; the log does not show from whom"
    else:
        signed = f", signed in as {row.login}" if row.login else ""
        what = f"{name} took it from {row.client or 'a program on that host'}{signed}, as {row.queue_id}"
    return Step(row.first_at, what, name, state="held", queue_id=row.queue_id)


def _told(row: Any, took: dict[str, str], inside: dict[str, str]) -> Step | None:
    """A fact as a step."""
    data, kind = row.data or {}, str(row.kind)
    answer, to = str(data.get("reply") or ""), row.recipient or ""
    if data.get("origin") == "log":
        return None if kind == "submitted" else _logged(row, data, answer, to, inside)
    server = row.server_key or "an outgoing server"
    source = str(data.get("source") or "")
    source = "queue" if not source else "report" if source == "report" else "log" if source == "log" else "webhook"
    if kind == "submitted":
        who = data.get("login") or data.get("client") or row.actor
        return Step(row.at, f"mailops took it from {who}", "mailops", source="queue", state="held")
    if kind == "sent":
        return Step(row.at, f"{server} took it", server, took.get(to, answer), to, "queue", "held")
    if kind in ("deferred", "unknown"):
        what = "was put off" if kind == "deferred" else "was broken off amid the answer"
        return Step(row.at, f"the attempt at {server} {what}", "mailops", answer, to, "queue", "waiting")
    if kind == "failed":
        return Step(row.at, f"{server} refused it", "", answer, to, "queue", "refused")
    if kind == "bounced":
        return Step(
            row.at, f"it came back: {plain(str(data.get('reason') or 'undefined'))}", "", answer, to, source, "refused"
        )
    if kind == "complained":
        return Step(
            row.at,
            "the recipient complained, so it arrived",
            "the recipient's mailbox",
            answer,
            to,
            source,
            "delivered",
        )
    if kind in _OURS:
        return Step(row.at, f"{kind} by {row.actor or 'mailops'}", "mailops", answer, to, "queue", _after(kind))
    return None


def _after(kind: str) -> str:
    return {"retried": "waiting", "barred": "stopped", "cancelled": "stopped"}.get(kind, "")


def _logged(row: Any, data: dict[str, Any], answer: str, to: str, inside: dict[str, str]) -> Step | None:
    """What a log told of one recipient; ``inside`` are the queues of this mail that logs show, by its ids there."""
    here, relay, program = row.server_key or "", str(data.get("relay") or ""), str(data.get("program") or "")
    outcome = str(data.get("outcome") or "")
    if row.kind == "bounced":
        return Step(row.at, f"{here} could not pass it on, and reported it back", "", answer, to, "log", "refused")
    if program == ODOO:
        words = {
            "sent": (f"{here} handed it to its outgoing server", "the outgoing server of Odoo", "held"),
            "failed": (f"{here} could not send it" + (f" by {relay}" if relay else ""), here, "refused"),
            "routed": (f"{here} took it in", here, "delivered"),
            "ignored": (f"{here} ignored it", here, "stopped"),
            "refused": (f"{here} refused it, and answered its sender", here, "refused"),
        }[outcome]
        return Step(row.at, words[0], words[1], answer, to, "log", words[2])
    if outcome == "sent" and program in _HERE:
        where = f"{program} delivery at {here}" + (f" ({relay})" if relay not in ("", program) else "")
        return Step(row.at, f"{here} delivered it by {program}", where, answer, to, "log", "delivered")
    if outcome == "sent" and program == "discard":
        return Step(row.at, f"{here} threw it away, as it was told to", here, answer, to, "log", "stopped")
    if outcome == "sent":
        found = _QUEUED(answer)
        theirs = found[1] if found else ""
        if inside.get(theirs, here) != here:
            return Step(row.at, f"{here} {INSIDE}, as {theirs}", inside[theirs], answer, to, "log", "held", theirs)
        return Step(row.at, f"{relay} took it from {here}", relay or here, answer, to, "log", "held", theirs)
    if outcome == "deferred":
        what = f"{relay} put it off; it stays at {here}" if relay else f"no server was reached; it waits at {here}"
        return Step(row.at, what, here, answer, to, "log", "waiting")
    given_up = (
        "gave it up after its queue's lifetime" if outcome == "expired" else f"was told no by {relay or 'itself'}"
    )
    return Step(row.at, f"{here} {given_up}, and reported it back", "", answer, to, "log", "refused")


def _reports(connection: Connection, number: int, message_id: str, known: set[tuple[datetime, str]]) -> Iterable[Step]:
    """Reports that came back, which tell more than the fact that one did: delivered, delayed, relayed."""
    mine = [b.c.mail_id == number] + ([b.c.original_message_id == message_id] if message_id else [])
    query = sa.select(b.c.received_at, b.c.kind, b.c.recipient, b.c.diagnostic, b.c.source).where(sa.or_(*mine))
    for row in connection.execute(query.order_by(b.c.id).limit(LIMIT)):
        source = "report" if row.source in (None, "report") else "webhook"
        if (row.received_at, source) in known:
            continue
        state = {"delivered": "delivered", "bounce": "refused"}.get(row.kind, "")
        holder = "the recipient's mailbox" if state == "delivered" else ""
        told = f"a {source} tells: {row.kind}"
        yield Step(row.received_at, told, holder, str(row.diagnostic or ""), row.recipient or "", source, state)


def _answers(connection: Connection, message_id: str) -> Iterable[Step]:
    """Replies in threads: who answers has got it."""
    if not message_id:
        return
    parent = msg.alias("parent")
    query = (
        sa.select(msg.c.created_at, msg.c.author_email)
        .join(parent, parent.c.id == msg.c.parent_id)
        .where(parent.c.message_id == message_id, msg.c.kind == "email", msg.c.author_email.is_not(None))
        .limit(LIMIT)
    )
    for row in connection.execute(query):
        who = str(row.author_email)
        yield Step(
            row.created_at, f"{who} answered it", "the recipient's mailbox", "", who.lower(), "reply", "delivered"
        )


def author(sender: str | None) -> str:
    """A sender of an envelope in words."""
    return "an unknown sender" if sender is None else sender or "the null sender"


def _path(person: str, steps: Sequence[Step], sender: str | None, message_id: str) -> Path:
    """Where a recipient's copy is: the last step that says so; of those about the whole mail only the ones before
    it was named, since others' copies go on by themselves."""
    state, holder, since, answer, queue_id = "lost", "", None, "", ""
    server, named = "", False
    for step in steps:
        if step.recipient and step.recipient.lower() != person.lower():
            continue
        if not step.state:
            continue
        if not step.recipient and (named or "report of its own" in step.what):
            continue
        named = named or bool(step.recipient)
        if state == "delivered" and step.state in ("held", "waiting"):
            continue  # somebody who answered has it, whatever a queue tells later
        state, since, answer, queue_id = step.state, step.at, step.answer or "", step.queue_id
        holder = step.holder
        server = step.holder or server
    return Path(
        person,
        state,
        holder,
        since,
        answer,
        *_letter(state, holder or server, since, answer, queue_id, person, sender, message_id),
    )


def _letter(
    state: str,
    holder: str,
    since: datetime | None,
    answer: str,
    queue_id: str,
    person: str,
    sender: str | None,
    message_id: str,
) -> tuple[str, str]:
    """Whom to ask, and the text for him."""
    when = f"{since:%Y-%m-%d %H:%M:%S} UTC" if since else "a time that is not known"
    mail = f"the mail {message_id or 'without a Message-ID'} from {author(sender)}"
    mail += f" to {person}" if person else ""
    said = f":\n\n    {answer}\n\n" if answer else ". "
    if state == "held":
        yours = f"Your queue id is {queue_id}. " if queue_id and answer else ""
        return f"the postmaster of {holder.partition('[')[0]}", (
            f"On {when} your server {holder} took over {mail}{said}{yours}It has not been seen since. What became"
            " of it: was it delivered (to which folder), passed on (with what answer), held or thrown away, and by"
            " which rule?"
        )
    if state == "waiting":
        return f"the admin of {holder}", (
            f"On {when} {holder} still had {mail} in its queue; the last attempt was put off{said}Is it still"
            " there, when is the next attempt, and does the other side say why it puts mail off?"
        )
    if state == "refused":
        return "the sender, and the recipient's postmaster", (
            f"On {when} {mail} was refused{said}What has to change so that it is taken? If it should have been taken as"
            " it is: by which rule was it not?"
        )
    if state == "delivered":
        return "the recipient", (
            f"On {when} {mail} was delivered ({holder}){said}Please look in the spam folder, in other folders and at"
            " filters and forwardings of your own."
        )
    if state == "stopped":
        return "whoever looks after this server", f"On {when} {mail} was stopped{said}".rstrip()
    return "the admin of the sending server", (
        f"Of {mail} nothing but its beginning is known. Which server took it, when, and with what answer?"
    )


def _missing(stays: Sequence[Any], steps: Sequence[Step], people: Sequence[str]) -> Iterable[str]:
    """What the sources do not show."""
    seen = {step.queue_id for step in steps if step.queue_id}
    for row in stays:
        name = _name(row.host, row.instance)
        odoo = row.instance.startswith(f"{ODOO}/")
        if not row.began and not odoo:
            yield (
                f"The logs taken do not show how it came to {name} as {row.queue_id}: take the file before"
                f" {row.first_at:%Y-%m-%d %H:%M} UTC."
            )
        if not row.message_id:
            yield f"{row.queue_id} at {name} has no Message-ID in the logs taken: joined by its queue id alone."
        if row.done_at is None and not odoo and row.queue_id in seen:
            yield (
                f"{name} has not removed {row.queue_id} in the logs taken, which end for it at"
                f" {row.last_at:%Y-%m-%d %H:%M} UTC: it is still queued there, or the next file is missing."
            )
    if stays and all(row.instance.startswith(f"{ODOO}/") for row in stays):
        yield "Odoo's log names no recipients: take the log of the mail server that it hands its mail to."
    if not people and not stays:
        yield "No recipient is named in what is known."
