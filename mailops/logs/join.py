"""Lines of Postfix and Odoo joined to mails: queue id to Message-ID to each recipient's answers. No store, no clock.

A :class:`Transaction` is one stay of a mail in one queue. It begins with the line of the client, of a local submission
or of its Message-ID; what a log that begins in the middle tells of an unknown queue id begins one too, which says so.
Queue ids are told apart by host and instance (the syslog name up to its first slash), since short ones are used again
and two instances may share one log.

Postfix's words are those of its daemons ``smtpd(8)``, ``cleanup(8)``, ``qmgr(8)``, ``smtp(8)``, ``local(8)``,
``virtual(8)``, ``pipe(8)``, ``bounce(8)``, ``postscreen(8)``; Odoo's those of ``mail.mail``, ``mail.thread``,
``ir.mail_server`` and ``fetchmail``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from .lines import ODOO, Line, Seen

OUTGOING = frozenset({"smtp", "error", "retry", "discard"})
"""Daemons whose answers are about mail on its way out; the others deliver here."""
DELIVER = frozenset({*OUTGOING, "lmtp", "local", "virtual", "pipe", "bounce"})
STATUSES = frozenset({"sent", "deferred", "bounced", "expired"})
# fmt: off
BESIDE = frozenset({
    "anvil", "scache", "tlsmgr", "tlsproxy", "master", "postlogd", "postfix-script", "verify", "proxymap", "flush",
    "trivial-rewrite", "showq", "dnsblog", "sendmail", "postdrop", "postalias", "postmap", "postqueue", "postsuper",
    "script",
})
# fmt: on
IDENTITY = re.compile(r"([0-9A-F]{5,15}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,20}): ").match
DELIVERY = re.compile(
    r"to=<(.*?)>,(?: orig_to=<(.*?)>,)? relay=(.*?),.*? dsn=(\d\.\d+\.\d+), status=([a-zA-Z]+)(?: \((.*)\))?", re.DOTALL
).match
_CLIENT = re.compile(r"client=([^,]*)").match
_LOGIN = re.compile(r"sasl_username=([^,]*)").search
_FROM = re.compile(r"from=<(.*?)>, (?:size=(\d+), nrcpt=(\d+)|status=(\S+),)").match
_PICKUP = re.compile(r"uid=(\d+) from=<(.*?)>").match
_NOTICE = re.compile(r"(?:postmaster|sender) (?:non-delivery|delay|delivery status)[a-z -]* notification: (\S+)").match
_QUEUED = re.compile(r"\bqueued as ([0-9A-Za-z]+)").search
_REFUSED = re.compile(
    r"(?:NOQUEUE: |[0-9A-Za-z]{5,20}: )?(?:milter-)?reject: (\S+) .*?from (\S*?)\[([^\]]*)\](?::\d+)?[:;] (.*)",
    re.DOTALL,
).match
_ENDS = re.compile(r"(?:; |^)from=<(.*?)>,? to=<(.*?)>(.*)", re.DOTALL).search
_ENDS_ONE = re.compile(r"(?:; |^)from=<(.*?)>(.*)", re.DOTALL).search
_HELO = re.compile(r"helo=<(.*?)>").search

_SENT = re.compile(
    r"mail\.models\.mail_mail: Mail with ID (\d+) and Message-Id '?(<[^>']+>)'? successfully sent"
).search
_DUE_TO = re.compile(r"failed sending mail \(id: (\d+)\) due to (.*)", re.DOTALL).search
_FAILED_NUMBER = re.compile(
    r"(?:Exception|MemoryError) while processing mail with ID (\d+) and Msg-Id '?(<[^>']+>)'?"
).search
_INVALID = re.compile(r"Ignoring invalid recipients for mail\.mail (<[^>]+>): (.*)").search
_ROUTED = re.compile(r"Routing mail from (.*?) to (.*?) with Message-Id (<[^>]+>): (.*)", re.DOTALL).search
_IGNORED = re.compile(r"Ignored mail from (.*?) to (.*?) with Message-Id (<[^>]+>): (.*)", re.DOTALL).search
_NO_ROUTE = re.compile(
    r"No possible route found for incoming message from (.*?) to (.*?) \(Message-Id (<[^>]+>):?\)", re.DOTALL
).search
_SERVER = re.compile(r"Mail delivery failed via SMTP server '(.*?)'\.\s*(\w+): (.*)", re.DOTALL).search
_ADDRESS = re.compile(r"[^\s<>\"',;()]+@[^\s<>\"',;()]+").search
_ODOO_MAIL = ("mail.models", "ir_mail_server", "fetchmail", "mail_thread", "mail_mail")


@dataclass(slots=True, eq=False)
class Transaction:
    """One stay of a mail in one queue. ``began`` tells whether the log shows its beginning; ``last`` is its latest
    line. ``mail`` and ``kept`` are for who keeps it: the number of its facts (0:
    none yet), and whether there is a row."""

    host: str
    instance: str
    queue_id: str
    first: int
    began: bool = True
    message_id: str = ""
    sender: str | None = None
    client: str = ""
    login: str = ""
    size: int = 0
    notice_of: str = ""
    last: int = 0
    done: int = 0
    mail: int = 0
    kept: bool = False
    waiting: dict[str, Answer] | None = None

    @property
    def notice(self) -> bool:
        """Whether it is a report of the server's own, or mail without a sender: nobody's sending."""
        return bool(self.notice_of) or self.sender == ""


class Answer(NamedTuple):
    """What became of one recipient of a transaction, once. ``status`` is ``sent``, ``deferred``, ``bounced`` or
    ``expired``; ``passed_to`` is the transaction of this log that the mail went into."""

    transaction: Transaction
    at: int
    recipient: str
    original: str
    program: str
    relay: str
    enhanced: str
    status: str
    reply: str
    passed_to: Transaction | None = None


class Refusal(NamedTuple):
    """Incoming mail that was not taken: at which step, of whom, with what answer."""

    at: int
    host: str
    instance: str
    queue_id: str
    step: str
    client: str
    address: str
    sender: str | None
    recipient: str
    helo: str
    reply: str


class Joiner:
    """Takes lines in order and keeps what they come to: ``answers``, ``refusals`` and ``changed`` transactions, until
    :meth:`drain`. ``seen`` counts what could not be used."""

    KEPT = 50_000
    """Transactions that are done and still known, for what names them afterwards; open ones are kept up to four times
    that."""

    def __init__(self, seen: Seen | None = None) -> None:
        self.seen = seen or Seen()
        self.answers: list[Answer] = []
        self.refusals: list[Refusal] = []
        self.touched: dict[int, Transaction] = {}
        self.queues: dict[tuple[str, str], dict[str, Transaction]] = {}
        self._by_queue: dict[str, Transaction] = {}
        self._names: dict[str, tuple[str, str]] = {}
        self._odoo: dict[tuple[str, str], Transaction] = {}

    def take(self, lines: Iterable[Line]) -> Joiner:
        """Feed many lines, the long way (:func:`mailops.logs.join_lines` is the short one)."""
        feed = self.feed
        for line in lines:
            feed(line)
        return self

    def drain(self) -> tuple[list[Answer], list[Refusal], list[Transaction]]:
        """What has come together since the last time."""
        found = self.answers, self.refusals, list(self.touched.values())
        self.answers, self.refusals, self.touched = [], [], {}
        if len(self._by_queue) > self.KEPT:
            self._forget()
        return found

    def _forget(self) -> None:
        for queue in self.queues.values():
            done = sorted((t for t in queue.values() if t.done), key=lambda t: t.last)
            for one in done[: max(0, len(done) - self.KEPT // 10)]:
                del queue[one.queue_id]
            for one in sorted(queue.values(), key=lambda t: t.last)[: max(0, len(queue) - 4 * self.KEPT)]:
                del queue[one.queue_id]
        self._by_queue = {t.queue_id: t for queue in self.queues.values() for t in queue.values()}
        self._odoo = dict(list(self._odoo.items())[-self.KEPT :])

    def feed(self, line: Line) -> None:
        """One line."""
        at, host, name, text = line
        try:
            instance, program = self._names[name]
        except KeyError:
            instance, program = self.named(name)
        if program in DELIVER or program in ("qmgr", "cleanup", "smtpd", "pickup"):
            match = IDENTITY(text)
            if match is not None:
                self._of_queue(at, host, instance, program, match[1], text[match.end() :])
            elif program == "smtpd" and "reject" in text[:24]:
                self._refuse(at, host, instance, text)
            else:
                self.seen.beside += 1
        elif program == "postscreen":
            if "reject: " in text[:24]:
                self._refuse(at, host, instance, text)
            else:
                self.seen.beside += 1
        elif program == ODOO:
            self._of_odoo(at, host, text)
        elif program in BESIDE:
            self.seen.beside += 1
        else:
            self.seen.foreign += 1

    def named(self, name: str) -> tuple[str, str]:
        """Instance and daemon of a syslog name; foreign programs have no instance."""
        parts = name.split("/")
        found = (parts[0], parts[-1]) if len(parts) > 1 else ("", name if name == ODOO else "")
        if len(self._names) < 10_000:
            self._names[name] = found
        return found

    # --- Postfix ------------------------------------------------------------------------------------------------------

    def _of_queue(self, at: int, host: str, instance: str, program: str, queue_id: str, text: str) -> None:
        queue = self.queues.get((host, instance))
        if queue is None:
            queue = self.queues[host, instance] = {}
        one = queue.get(queue_id)
        if program in DELIVER:
            match = DELIVERY(text)
            if match is not None:
                one = one or self.begin(queue, at, host, instance, queue_id, began=False)
                self.answer(at, one, program, *(word or "" for word in match.groups()))
            elif program == "bounce" and (notice := _NOTICE(text)) is not None:
                if (own := queue.get(notice[1])) is not None:
                    own.notice_of = queue_id
                    self.touch(own, at)
                self.seen.beside += 1
            else:
                self.seen.beside += 1
            return
        if program == "qmgr":
            if text.startswith("removed"):
                one = one or self.begin(queue, at, host, instance, queue_id, began=False)
                one.done = at
                self.touch(one, at)
                return
            match = _FROM(text)
            if match is None:
                self.seen.beside += 1
                return
            one = one or self.begin(queue, at, host, instance, queue_id, began=False)
            if one.sender is None or match[2]:
                one.sender = match[1]
            one.size = int(match[2] or one.size)
            self.touch(one, at)
            if match[4] and "expired" in match[4]:
                for waiting in list((one.waiting or {}).values()):
                    self.answers.append(waiting._replace(at=at, status="expired"))
                if one.waiting is None:
                    self.answers.append(Answer(one, at, "", "", program, "", "", "expired", ""))
                one.waiting = None
            return
        if program == "cleanup":
            if text.startswith(("message-id=", "resent-message-id=")):
                found = text.partition("=")[2].strip()[:998]
                self.identify(queue, at, host, instance, queue_id, found, again=text[0] == "r")
                return
        elif program == "smtpd":
            match = _CLIENT(text)
            if match is not None:
                one = self.begin(queue, at, host, instance, queue_id)
                one.client = match[1]
                login = _LOGIN(text)
                if login is not None:
                    one.login = login[1]
                return
        elif (match := _PICKUP(text)) is not None:
            one = self.begin(queue, at, host, instance, queue_id)
            one.client, one.sender = f"local user {match[1]}", match[2] or None
            return
        if "reject: " in text[:16]:
            self._refuse(at, host, instance, text, queue_id)
        else:
            self.seen.beside += 1

    def identify(
        self, queue: dict[str, Transaction], at: int, host: str, instance: str, queue_id: str, found: str,
        again: bool = False,
    ) -> None:  # fmt: skip
        """A Message-ID; ``again`` where it is that of a mail that was sent once more (Resent-Message-ID)."""
        one = queue.get(queue_id)
        if one is None or one.done or (one.message_id and one.message_id != found and not again):
            one = self.begin(queue, at, host, instance, queue_id)
        if not again and found not in ("", "<>"):
            one.message_id = found
        self.touch(one, at)

    def begin(
        self, queue: dict[str, Transaction], at: int, host: str, instance: str, queue_id: str, began: bool = True
    ) -> Transaction:
        """A stay in a queue; ``began`` tells whether the log shows its beginning."""
        one = Transaction(host, instance, queue_id, at, began, last=at)
        queue[queue_id] = self._by_queue[queue_id] = one
        self.touched[id(one)] = one
        return one

    def touch(self, one: Transaction, at: int) -> None:
        """Something was told of a stay."""
        if at > one.last:
            one.last = at
        self.touched[id(one)] = one

    def answer(
        self, at: int, one: Transaction, program: str, recipient: str, original: str, relay: str, enhanced: str,
        status: str, reply: str,
    ) -> None:  # fmt: skip
        """A recipient's answer."""
        if status not in STATUSES:
            status = status.lower()
            if status == "softbounce":
                status = "deferred"
            if status not in STATUSES:
                self.seen.beside += 1  # a probe of an address (deliverable, undeliverable): no mail
                return
        passed = None
        if status == "sent" and "queued as " in reply and (queued := _QUEUED(reply)) is not None:
            passed = self._by_queue.get(queued[1])
            if passed is one or (passed is not None and passed.message_id != one.message_id):
                passed = None
        relay = "" if relay == "none" else relay
        words = (one, at, recipient, original, program, relay, enhanced, status, reply, passed)
        answer = tuple.__new__(Answer, words)  # as Answer(...), in half the time
        if status == "deferred":
            one.waiting = one.waiting or {}
            one.waiting[recipient] = answer
        elif one.waiting:
            one.waiting.pop(recipient, None)
        if at > one.last:
            one.last = at
        self.touched[id(one)] = one
        self.answers.append(answer)

    def _refuse(self, at: int, host: str, instance: str, text: str, queue_id: str = "") -> None:
        match = _REFUSED(text)
        if match is None:
            self.seen.unknown += 1
            return
        step, client, address, rest = match.groups()
        ends = _ENDS(rest)
        sender, recipient = (ends[1], ends[2]) if ends else (None, "")
        if ends is None and (ends := _ENDS_ONE(rest)) is not None:
            sender = ends[1]
        reply = rest[: ends.start()] if ends else rest
        tail = ends[ends.lastindex or 0] if ends else ""
        helo = _HELO(tail)
        if queue_id and ends and ": " in tail:  # cleanup's own checks: what was answered stands at the end
            reply = f"{tail.rpartition('>: ')[2] or tail.rpartition(': ')[2]}"
        found = Refusal(at, host, instance, queue_id, step, client, address, sender, recipient,
                        helo[1] if helo else "", reply.strip())  # fmt: skip
        self.refusals.append(found)

    # --- Odoo ---------------------------------------------------------------------------------------------------------

    def _of_odoo(self, at: int, database: str, text: str) -> None:
        logger = text.partition(": ")[0]
        if not any(word in logger for word in _ODOO_MAIL) and "No possible route" not in text:
            self.seen.foreign += 1
            return
        if (found := _SENT(text)) is not None:
            self._odoo_answer(at, database, found[1], found[2], "sent", text)
        elif (found := _FAILED_NUMBER(text)) is not None:
            self._odoo_answer(at, database, found[1], found[2], "failed", text)
        elif (found := _INVALID(text)) is not None:
            self._odoo_answer(at, database, "", found[1], "failed", text, _address(found[2]))
        elif (found := _DUE_TO(text)) is not None:
            self._odoo_answer(at, database, found[1], "", "failed", found[2].partition("\nTraceback")[0])
        elif (found := _SERVER(text)) is not None:
            reply = f"{found[2]}: {found[3]}".partition("\nTraceback")[0]
            self._odoo_answer(at, database, "", "", "failed", reply, _address(found[3]), relay=found[1])
        elif (found := _NO_ROUTE(text)) is not None:
            reply = "No possible route found: no alias takes it, and nothing of ours is answered by it."
            sender, to = _address(found[1]), _address(found[2])
            self.refusals.append(
                Refusal(at, "", f"{ODOO}/{database}", found[3], "route", "", "", sender, to, "", reply)
            )
        elif (found := _ROUTED(text) or _IGNORED(text)) is not None:
            words = found[4].partition("\n")[0]
            status = "refused" if "bounce" in words and "bounced mail" not in words else "routed"
            if text.find("Ignored mail") >= 0:
                status = "ignored"
            to = _address(found[2])
            self._odoo_answer(at, database, "", found[3], status, words, to, sender=_address(found[1]))
            if status == "refused":
                self.refusals.append(
                    Refusal(at, "", f"{ODOO}/{database}", found[3], "route", "", "", _address(found[1]), to, "", words)
                )
        else:
            self.seen.beside += 1

    def _odoo_answer(
        self,
        at: int,
        database: str,
        number: str,
        message_id: str,
        status: str,
        words: str,
        recipient: str = "",
        *,
        relay: str = "",
        sender: str | None = None,
    ) -> None:
        """A mail of Odoo's: by its Message-ID, else by its number in the database."""
        key = (database, message_id or f"#{number or f'{at}/{recipient}'}")
        one = self._odoo.get(key)
        if one is None and number:
            one = self._odoo.get((database, f"#{number}"))
        if one is None:
            one = Transaction("", f"{ODOO}/{database}", number or message_id.strip("<>")[:100] or str(at), at, last=at)
        one.message_id = one.message_id or message_id
        one.sender = sender if one.sender is None else one.sender
        self._odoo[key] = one
        if number:
            self._odoo[database, f"#{number}"] = one
        self.touch(one, at)
        reply = words.partition(": ")[2] if words.startswith("odoo.") else words
        self.answers.append(Answer(one, at, recipient, "", ODOO, relay, "", status, reply.strip()[:4000]))


def _address(text: str) -> str:
    found = _ADDRESS(text)
    return found[0] if found else ""
