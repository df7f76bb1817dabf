"""What can be told of a mail, as values: a fact has a natural key, so that it is told once however often it arrives.

The hand-over of a mail needs none: the mail's number is new with it. The others:

========================================  ============================================================================
key                                       who tells it
========================================  ============================================================================
``b:<mail>:<recipient>:<when>``           the suppression list, at the hand-over and when a mail is taken for sending
``a:<mail>.<attempt>:<recipient>``        a worker or the recovery of a dead one: what the server answered
``a:<mail>.<attempt>?:<recipient>``       the same, where the answer was not known: it may still come
``r:<sha-256 of the report>:<block>``     a report, or a provider's webhook as the bytes it was kept with
``c:<action>:<mail>:<recipient>``         a person; the action is one press of a button
``u:<fact>:<action>``                     today's rules, when they take an older fact back
========================================  ============================================================================
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from sqlalchemy.engine import Connection

SHORT = 20
"""Characters up to which a key is kept as it is; a longer one is kept as the first 96 bits of its SHA-256."""


def key_of(*parts: object) -> str:
    """A fact's key, short enough for an index; it never holds an address.

    >>> key_of("u", 12)
    'u:12'
    >>> len(key_of("a", "12.1", "somebody@example.com"))
    18
    """
    text = ":".join(str(part) for part in parts)
    if len(text) <= SHORT and "@" not in text:
        return text
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()[:12]).decode()
    return f"{parts[0]}:{digest}"


class Counted(NamedTuple):
    """Under what a fact is counted: the sender's domain, the mail's class, and the outcome."""

    sender_domain: str
    mail_class: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that became of a mail or of one of its recipients. ``undoes`` is the id of the fact it takes back,
    ``left_at`` of what came back is the moment its mail was first handed over.

    ``row`` are columns of the recipient's delivery beside its state; ``told`` those of the mail when the fact changes
    its state. Both are for the states alone: what a listener needs stands in ``data``, which is kept.
    """

    kind: str
    at: datetime
    key: str | None = None
    mail_id: int | None = None
    recipient: str | None = None
    message_id: str | None = None
    server: str | None = None
    actor: str | None = None
    data: Mapping[str, Any] | None = None
    undoes: int | None = None
    counted: Counted | None = None
    left_at: datetime | None = None
    row: Mapping[str, Any] | None = field(default=None, compare=False)
    told: Mapping[str, Any] | None = field(default=None, compare=False)


class Listener(Protocol):
    """Who hears of new facts, in their transaction. It may write its own tables only, and tell of further facts.

    It is called once with all facts of its kinds in a batch. What it raises undoes its own writes and nothing else: the
    facts are owed to it then, and told again later, in order, so hearing must bear a state that has gone on.
    """

    name: str
    kinds: frozenset[str]

    def hear(self, connection: Connection, facts: Sequence[Fact], *, now: datetime) -> Sequence[Fact]:
        """Apply the facts; gives back further ones."""
        ...
