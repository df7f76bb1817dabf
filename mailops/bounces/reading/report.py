"""What the reader hands back: one frozen :class:`Report` for each message.

::

    Report
    ├── kind            bounce, delayed, success-dsn, autoreply, complaint, unread or ordinary
    ├── results         one RecipientResult for each address the report itself names
    ├── original        what is known of the message the report is about
    └── rule, evidence  which rule decided, and the text that made it decide

Kinds are exclusive. ``bounce`` is final (also "gave up after 5 days"); ``delayed`` means the sender still tries, so
nobody may act on the address; ``ordinary`` is everything that reports nothing, also a person who quotes a bounce.
``unread`` came back to us by its signs (no return path and a mail system as author, or our bounce address) and was not
understood: it is kept and shown with what was missing, and counts against nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Kind = Literal["bounce", "delayed", "success-dsn", "autoreply", "complaint", "unread", "ordinary"]

FOUND_BY: Mapping[str, float] = MappingProxyType(
    {
        "field": 1.0,
        "tag": 0.95,
        "header": 0.95,
        "line": 0.9,
        "transcript": 0.9,
        "sentence": 0.8,
        "elimination": 0.6,
        "original": 0.5,
    }
)
"""How a recipient was found, in the order in which it is looked for, and how sure that is: a status field, the tag of
our return path, X-Failed-Recipients, a line of its own, a command of a printed session, a known sentence, the one
address left of the report, the only one to which the original was written. A conclusion (the last two) suppresses
nobody without words, or a code, about that person."""

NO_COMPLAINTS = frozenset({"not-spam", "auth-failure", "virus", "dkim", "dkim-spf", "dmarc"})
"""Feedback types (RFC 5965 §7.3, RFC 6591 §3.1) by which no recipient complains."""

GIVEN_UP = "envelope expired"
GOOD_ACTIONS = frozenset({"delivered", "relayed", "expanded", "deliverable"})

_EMPTY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RecipientResult:
    """One recipient and what became of the mail to it.

    ``recipient`` is the address that failed in the end ("" when the report names nobody), ``original_recipient`` the
    one first written to, where the report tells them apart. ``status`` is an RFC 3463 code that stands in the report,
    or None: it is never invented. ``action`` is RFC 3464's word. ``rule`` names the pattern or code that gave
    ``reason``, ``evidence`` the text. ``found_by`` is a key of :data:`FOUND_BY`.
    ``retry_until`` is the moment up to which the other side tries, as it wrote it (RFC 3464 section 2.3.9).

    ``unconfirmed`` is true where the reason is a hard one and its ground too weak to act on: a code that is sent for
    anything, a weak word, a recipient who was concluded. ``hard`` is false then, and a second report decides.
    """

    recipient: str
    original_recipient: str | None = None
    reason: str = "undefined"
    hard: bool = False
    status: str | None = None
    action: str | None = None
    diagnostic: str = ""
    remote_host: str | None = None
    reporting_mta: str | None = None
    rule: str = ""
    evidence: str = ""
    unconfirmed: bool = False
    found_by: str = "field"
    retry_until: str = ""

    @property
    def confidence(self) -> float:
        """How sure it is that this recipient is meant, from 0 to 1."""
        return FOUND_BY.get(self.found_by, 0.5)

    @property
    def strength(self) -> str:
        """``hard``, ``hard, unconfirmed`` or ``soft``, as people are shown it."""
        return "hard" if self.hard else "hard, unconfirmed" if self.unconfirmed else "soft"


@dataclass(frozen=True, slots=True)
class OriginalMessage:
    """The message the report is about, as far as the report carries it.

    ``envelope_from`` is its return path, which holds the VERP token where the sender uses one; ``headers`` are its
    first header fields by lower-case name (the first value of each), for the caller's own ``X-`` fields.
    """

    message_id: str | None = None
    to: tuple[str, ...] = ()
    envelope_from: str | None = None
    subject: str | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: _EMPTY)


@dataclass(frozen=True, slots=True)
class Report:
    """The reader's answer for one message. ``truncated`` says that a bound was reached and text was left unread.

    ``missing`` says of an unread report what would have been needed; ``mail_id`` is the number of our mail that a valid
    signed tag proves (:class:`~mailops.bounces.reading.ours.Ours` with keys).
    """

    kind: Kind
    results: tuple[RecipientResult, ...] = ()
    feedback_type: str | None = None
    original: OriginalMessage = OriginalMessage()
    rule: str = ""
    evidence: str = ""
    subject: str = ""
    truncated: bool = False
    missing: tuple[str, ...] = ()
    mail_id: int | None = None

    @property
    def outcome(self) -> str:
        """The kind as it counts: feedback by which nobody complains (``not-spam``, ``auth-failure``) is its type, and a
        delay whose time is over is a bounce (OpenSMTPD gives up with ``Action: delayed`` and "Envelope expired")."""
        if self.kind == "complaint" and self.feedback_type in NO_COMPLAINTS:
            return str(self.feedback_type)
        if self.kind == "delayed" and self.results and all(GIVEN_UP in r.diagnostic.lower() for r in self.results):
            return "bounce"
        return self.kind

    @property
    def recipients(self) -> tuple[str, ...]:
        """The addresses the report is about; those delivered in a mixed report are only in ``results``."""
        return tuple(result.recipient for result in self._concerned() if result.recipient)

    def _concerned(self) -> tuple[RecipientResult, ...]:
        if self.kind not in ("bounce", "delayed"):
            return self.results
        wanted = tuple(result for result in self.results if result.action not in GOOD_ACTIONS)
        return wanted or self.results

    @property
    def summary(self) -> RecipientResult | None:
        """The one result that stands for the message: the first, or the first soft one where they disagree.

        A message-level flag must never suppress an address whose own answer was soft.
        """
        if not self.results:
            return None
        pool = self._concerned()
        if self.kind == "bounce":  # a recipient still tried for says nothing of the one that failed
            pool = tuple(result for result in pool if result.action != "delayed") or pool
        if len({result.hard for result in pool}) > 1:
            return next(result for result in pool if not result.hard)
        return pool[0]
