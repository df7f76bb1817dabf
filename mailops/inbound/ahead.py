"""Many mails decided together: what their decisions ask of the store is read ahead, and what they write is kept back.

A decision and its rows cost a dozen statements when each is asked by itself. A portion of mails needs the same dozen
once. What is kept back is written before anything asks for it (:meth:`Ahead.flush`), so that each decision sees what
the ones before it did. An ``Ahead`` is good for one transaction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection

from ..threads import store as repo
from .sent import sent_ids
from .values import Decision, InboundMail

MAX_REFERENCES = 32


@dataclass(slots=True)
class Line:
    """A line of the gateway's log; its id is 0 until it is written."""

    values: dict[str, Any]
    id: int = 0


@dataclass(frozen=True, slots=True)
class Making:
    """A record to be made with its first entry; ``author`` follows it."""

    record: Mapping[str, Any]
    entry: dict[str, Any]
    author: int | None


class Lately:
    """The newest lines of the gateway's log as far as loops are told by them, read once. The caller lets one
    transaction at a time use it."""

    def __init__(self) -> None:
        self._last = 0
        self._lines: deque[tuple[datetime, str, str | None, int | None]] = deque(maxlen=repo.LOOKED_BACK)
        self._alike: dict[str, list[tuple[datetime, str]]] = {}

    def refresh(self, connection: Connection) -> None:
        """Read what was written since."""
        new = repo.log_after(connection, self._last)
        if not new:
            return
        self._last = int(new[0].id)
        self._lines.extend((row.at, (row.sender or "").lower(), row.like, row.on) for row in reversed(new))
        self._alike = {}
        for at, sender, like, _ in self._lines:
            if like:
                self._alike.setdefault(like, []).append((at, sender))

    def alike(self, like: str, domain: str, since: datetime) -> set[str]:
        """The senders of this domain that wrote alike since then."""
        return {sender for at, sender in self._alike.get(like, ()) if at >= since and domain in sender}

    def automatic_on(self, record: int, since: datetime) -> int:
        """How many automatic mails were posted on a record since then."""
        return sum(on == record and at >= since for at, _, _, on in self._lines)


class Ahead:
    """What a portion of mails needs to know, and what was decided of it and is not written yet."""

    def __init__(
        self,
        connection: Connection,
        mails: Iterable[InboundMail],
        *,
        lately: Lately,
        now: datetime,
        since: datetime,
        done: Sequence[str],
    ) -> None:
        self._connection, self._lately, self.now, self.since = connection, lately, now, since
        own: set[str] = set()
        self.asked: set[str] = set()
        self.senders: set[str] = set()
        for mail in mails:
            own.update((mail.message_id, *mail.other_ids))
            self.asked.update(mail.references[-MAX_REFERENCES:], mail.in_reply_to[-MAX_REFERENCES:])
            self.senders.add(mail.sender_address)
        self.asked |= own
        self.digests = repo.log_digests_of(connection, own, done)
        self.messages = repo.known_ids(connection, self.asked)
        self.sent = sent_ids(connection, self.asked)
        self.contacts = repo.contacts_by(connection, self.senders)
        self.made = repo.created_by_many(connection, self.senders, since)
        self.bounced: set[str] | None = repo.bounced(connection, self.senders)
        self._statuses = repo.alias_statuses(connection)
        lately.refresh(connection)
        self._done = frozenset(done)
        self._kept: list[tuple[Line, Making | None]] = []
        self._kept_ids: set[str] = set()
        self._said: list[Mapping[str, Any]] = []
        self._changed: dict[int, str] = {}

    # --- what is known ------------------------------------------------------------------------------------------------

    def knows_no_message(self, message_id: str) -> bool:
        """Whether no entry has this id. One that is kept back is written first."""
        if message_id in self._kept_ids:
            self.flush()
        return message_id in self.asked and message_id not in self.messages

    def alike(self, domain: str, like: str, since: datetime) -> int:
        """From how many addresses of a domain mails came since then that are alike."""
        now = {str(row["sender"] or "").lower() for row in self._said if row["data"].get("like") == like}
        return len(self._lately.alike(like, domain, since) | {sender for sender in now if domain in sender})

    def automatic_on(self, record: int, since: datetime) -> int:
        """How many automatic mails were posted on this record since then."""
        on = [row["data"].get("automatic_on") for row in self._said]
        return self._lately.automatic_on(record, since) + on.count(record)

    def has_counter(self, address: str) -> bool:
        """Whether this address may have a bounce counter to put back."""
        return self.bounced is None or address in self.bounced

    # --- what is done -------------------------------------------------------------------------------------------------

    def keep(self, line: Line, making: Making | None) -> None:
        """Keep back a line of the log and what is to be made with it."""
        self._kept.append((line, making))
        if making is not None:
            self._kept_ids.add(making.entry["message_id"])

    def status(self, alias: int, status: str) -> None:
        """An alias has this status now; written where it is another."""
        if self._statuses.get(alias) != status:
            self._statuses[alias] = self._changed[alias] = status

    def learn(self, mail: InboundMail, decision: Decision, line: Mapping[str, Any]) -> None:
        """A mail was decided, and is written or kept back: what follows for the next."""
        if decision.kind.value in self._done:
            self.digests.setdefault(mail.message_id[:998], set()).add(mail.digest or None)
        if decision.routes:
            self.messages.add(mail.message_id)
            self.sent.add(mail.message_id)
        sender = mail.sender_address
        self.made[sender] = self.made.get(sender, 0) + sum(route.creates for route in decision.routes)
        if decision.report is not None:
            self.bounced = None
        self._said.append(line)

    def flush(self) -> None:
        """Write what was kept back, in the order in which it was decided."""
        kept, self._kept, self._kept_ids = self._kept, [], set()
        makings = [(line, making) for line, making in kept if making is not None]
        ids = repo.add_records(self._connection, [making.record for _, making in makings])
        for (line, making), key in zip(makings, ids, strict=True):
            making.entry["record_id"] = key
            line.values["data"]["records"] = [key]
        repo.add_messages(self._connection, [making.entry for _, making in makings])
        pairs = [(key, m.author) for (_, m), key in zip(makings, ids, strict=True) if m.author is not None]
        repo.follow_new(self._connection, pairs)
        for (line, _), number in zip(
            kept, repo.add_logs(self._connection, [one.values for one, _ in kept]), strict=True
        ):
            line.id = number
        changed, self._changed = self._changed, {}
        for alias, status in changed.items():
            repo.set_alias(self._connection, alias, status=status)
