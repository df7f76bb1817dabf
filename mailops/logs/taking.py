"""What logs told, as facts of origin ``log``: in the ledger, by its one door, once however often a log is taken.

========================================  ============================================================================
mail                                      facts
========================================  ============================================================================
on its way out, not of this queue         ``submitted``, ``sent``, ``deferred``, ``failed`` under a number below zero:
                                          rates, causes and failures count it, no worker can ever lease it
one of ours, further on                   ``logged``; a refusal for good is a ``bounced``, as if its report had come
delivered here, a report of the server,   ``logged``: it can be traced, and counts in no rate
passed on within this log, Odoo's lines
incoming, refused                         ``turned_away``
========================================  ============================================================================

The key of a fact is made of host, instance, queue id, second, recipient and words, so a line of a copy, of an archive
or of journald is the same fact. The number is made of the Message-ID, so one mail that passes two instances is one
sending. Nobody is suppressed by what a log tells of mail that is not ours.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..bounces.reading import classify
from ..bounces.reading.classify import find_enhanced, find_reply, stage_of
from ..ledger import Book, Fact, key_of
from ..ledger.facts import Counted
from ..ledger.returns import returned
from ..store import schema
from ..store.database import explained
from . import store
from .join import OUTGOING, Answer, Joiner, Refusal, Transaction
from .lines import ODOO, Stamps
from .quick import join_lines

e = schema.events
BATCH = 20_000
"""Lines whose facts are committed together."""
CLASS = "transactional"
_STAGES = {"helo": "ehlo", "dot": "body"}
_HOST = re.compile(r"^host (\S+?)\[").match


@dataclass(slots=True)
class Taken:
    """What a log came to: stays of mails in queues that were new, answers, refusals, how many facts of them were new,
    and how many answers have no Message-ID to join them by (``unjoined``)."""

    mails: int = 0
    answers: int = 0
    refusals: int = 0
    facts: int = 0
    unjoined: int = 0


class Taker:
    """Takes lines into the store. ``book`` is that of the workspace: it hears what became of our own mails."""

    def __init__(self, engine: Engine, book: Book, joiner: Joiner | None = None) -> None:
        self._engine, self._book, self.joiner = engine, book, joiner or Joiner()
        self._plain = Book((), book.names)  # others' mail has no listeners: nobody here waits for it
        self.taken = Taken()

    def take(self, lines: Iterable[str], stamps: Stamps, *, now: datetime) -> Iterator[int]:
        """Take the lines of a log a batch at a time; yields how many there were, after each commit."""
        for number in join_lines(self.joiner, lines, stamps, every=BATCH):
            self.commit(now=now)
            yield number

    def commit(self, *, now: datetime, also: Any = None) -> int:
        """Write what has come together in one transaction; ``also`` is called with the connection. How many facts."""
        answers, refusals, touched = self.joiner.drain()
        if not (answers or refusals or touched or also):
            return 0
        with explained("taking a log"), self._engine.begin() as connection:
            fresh = store.settle(connection, touched, {id(answer.transaction) for answer in answers})
            expired = {a.transaction.mail for a in answers if a.status == "expired" and not a.recipient}
            if expired:
                answers = list(_with_expired(answers, store.waiting(connection, expired)))
            self._rename(connection, answers)
            mine = [answer for answer in answers if answer.transaction.mail > 0]
            others = [answer for answer in answers if answer.transaction.mail <= 0]
            facts = list(_facts(others, touched, _domains(connection, touched)))
            facts += [_turned_away(refusal) for refusal in refusals]
            new = len(self._plain.record(connection, facts, now=now))
            if mine:
                new += len(self._book.record(connection, list(_of_ours(connection, mine)), now=now))
            if also is not None:
                also(connection)
        self.taken.mails += fresh
        self.taken.answers += len(answers)
        self.taken.refusals += len(refusals)
        self.taken.facts += new
        self.taken.unjoined += sum(1 for answer in answers if not answer.transaction.message_id)
        return new

    def _rename(self, connection: Connection, answers: list[Answer]) -> None:
        """Use the pseudonym of people who were forgotten."""
        if self._book.names is None:
            return
        known = self._book.names.known(connection, {a.recipient.lower() for a in answers if a.recipient})
        if known:
            for at, answer in enumerate(answers):
                if answer.recipient.lower() in known:
                    name = known[answer.recipient.lower()]
                    answers[at] = answer._replace(recipient=name, original="", reply="")


def _with_expired(answers: Sequence[Answer], waiting: dict[int, dict[str, Any]]) -> Iterator[Answer]:
    """A queue's end of a mail whose recipients an earlier run had seen put off, recipient by recipient."""
    for answer in answers:
        if answer.status == "expired" and not answer.recipient:
            for recipient, data in waiting.get(answer.transaction.mail, {}).items():
                yield answer._replace(
                    recipient=recipient, program="smtp", relay=str(data.get("relay") or ""),
                    enhanced=str(data.get("enhanced") or ""), reply=str(data.get("reply") or ""),
                )  # fmt: skip
        else:
            yield answer


def _domains(connection: Connection, touched: Sequence[Transaction]) -> dict[int, str]:
    """The sender's domain under which mails are counted already, by their number."""
    found: dict[int, str] = {}
    numbers = sorted({one.mail for one in touched if one.mail < 0})
    for at in range(0, len(numbers), store.CHUNK):
        query = sa.select(e.c.mail_id, e.c.data["domain"].as_string()).where(
            e.c.mail_id.in_(numbers[at : at + store.CHUNK]), e.c.kind == "submitted"
        )
        found.update({int(mail): domain or "" for mail, domain in connection.execute(query)})
    return found


def _facts(answers: Sequence[Answer], touched: Sequence[Transaction], domains: dict[int, str]) -> Iterator[Fact]:
    """The facts of mail that is not ours."""
    for answer in answers:
        one = answer.transaction
        if not _counts(answer):
            yield _logged(answer)
            continue
        if one.mail not in domains:
            domains[one.mail] = (one.sender or "").rpartition("@")[2].lower()
            yield _submitted(one, domains[one.mail])
        yield _counted(answer, domains[one.mail])


def _counts(answer: Answer) -> bool:
    """Whether an answer is about a sending: mail on its way out of here, to somebody, of a sender."""
    return answer.program in OUTGOING and not answer.transaction.notice and answer.passed_to is None


def _submitted(one: Transaction, domain: str) -> Fact:
    data = {"from": one.sender, "domain": domain, "class": CLASS, "size": one.size, "origin": "log"}
    data |= {"queue": one.queue_id, "instance": server_of(one)}
    key = key_of("l", "in", one.mail)
    return Fact(
        "submitted", store.moment(one.first), key, one.mail, None, one.message_id or None, actor="log", data=data
    )


def _counted(answer: Answer, domain: str) -> Fact:
    one = answer.transaction
    kind = {"sent": "sent", "deferred": "deferred"}.get(answer.status, "failed")
    data = _data(answer)
    if kind != "sent":
        data |= judged(answer.reply, answer.enhanced, answer.relay)
        if answer.status == "expired":
            data["why"] = "given up after the queue's lifetime"
    return Fact(
        kind, store.moment(answer.at), _key(answer), one.mail, answer.recipient[:320], one.message_id or None,
        server_of(one), actor="log", data=data, counted=Counted(domain, CLASS, kind),
    )  # fmt: skip


def _logged(answer: Answer) -> Fact:
    one = answer.transaction
    data = _data(answer)
    if answer.status not in ("sent", "routed", "ignored"):
        data |= judged(answer.reply, answer.enhanced, answer.relay)
    return Fact(
        "logged", store.moment(answer.at), _key(answer), one.mail, answer.recipient[:320] or None,
        one.message_id or None, server_of(one), actor="log", data=data,
    )  # fmt: skip


def _of_ours(connection: Connection, answers: Sequence[Answer]) -> Iterator[Fact]:
    """The facts of our own mails, told by a server they passed: how they went on, and what came back."""
    before: Counter[tuple[int, str]] = Counter()
    for answer in answers:
        yield _logged(answer)
        one = answer.transaction
        if answer.status in ("bounced", "expired") and answer.program in OUTGOING and not one.notice:
            told = judged(answer.reply, answer.enhanced, answer.relay)
            data = {**_data(answer), **told, "status": answer.enhanced, "source": "log"}
            yield returned(
                connection, "bounced", mail_id=one.mail, recipient=answer.recipient[:320],
                message_id=one.message_id, key=key_of("l", "b", _key(answer)), data=data, bounce_id=None,
                at=store.moment(answer.at), before=before,
            )  # fmt: skip


def _data(answer: Answer) -> dict[str, Any]:
    one = answer.transaction
    data = {"origin": "log", "queue": one.queue_id, "program": answer.program, "outcome": answer.status}
    data |= {"reply": answer.reply[:1000]} if answer.reply else {}
    data |= {"relay": answer.relay} if answer.relay else {}
    if answer.passed_to is not None:
        data["passed_to"] = answer.passed_to.queue_id
    if answer.original and answer.original != answer.recipient:
        data["original"] = answer.original
    return data


def server_of(one: Transaction) -> str:
    """What a queue is called where servers are grouped: host and instance."""
    return f"{one.host}/{one.instance}".strip("/")[:100]


def _key(answer: Answer) -> str:
    one = answer.transaction
    return key_of(
        "l", one.host, one.instance, one.queue_id, answer.at, answer.recipient, answer.original, answer.status,
        answer.reply,
    )  # fmt: skip


def _turned_away(refusal: Refusal) -> Fact:
    at = refusal.at
    data = {"origin": "log", "step": refusal.step.lower(), "program": ODOO if refusal.host == "" else "smtpd"}
    data |= {"from": refusal.sender or "", "client": refusal.client, "address": refusal.address, "helo": refusal.helo}
    data |= {"reply": refusal.reply[:1000]} | {k: v for k, v in judged(refusal.reply, "", "").items() if k != "stage"}
    if refusal.queue_id:
        data["queue"] = refusal.queue_id
    key = key_of(
        "l", refusal.host, refusal.instance, at, refusal.step, refusal.address, refusal.sender, refusal.recipient,
        refusal.reply,
    )  # fmt: skip
    server = f"{refusal.host}/{refusal.instance}".strip("/")[:100]
    message_id = refusal.queue_id if refusal.queue_id.startswith("<") else None
    return Fact(
        "turned_away", store.moment(at), key, None, refusal.recipient[:320] or None, message_id, server, actor="log",
        data={name: value for name, value in data.items() if value not in ("", None)},
    )  # fmt: skip


def judged(reply: str, enhanced: str, relay: str) -> dict[str, Any]:
    """Code, enhanced code, step and reason of an answer as a log quotes it."""
    found = _judged(reply[:1000], enhanced, relay.partition("[")[0].lower())
    return dict(found)


@lru_cache(maxsize=20_000)
def _judged(reply: str, enhanced: str, host: str) -> tuple[tuple[str, Any], ...]:
    said = reply.partition(" said: ")[2] or reply
    code = find_reply(said)
    status = find_enhanced(said) or enhanced
    stage = stage_of(reply)
    if stage is None and ("connect to " in reply or "onnection " in reply[:60] or "lost connection" in reply):
        stage = "connect"
    step = _STAGES.get(stage or "", stage or "route")
    said_by = _HOST(reply)
    reason = classify(code, status, reply, stage, said_by[1] if said_by else host).reason
    return ("code", int(code) if code else 0), ("enhanced", status or ""), ("stage", step), ("reason", reason)
