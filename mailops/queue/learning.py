"""What a server's answer says of a rate: who has enough of us, and for how long.

::

    421, 450, 451, 452 with words of a rate ─┬─ one mailbox gets too much      ─► nothing: its own mail waits as ever
                                             ├─ the recipient's domain is named ─► the domain is held
                                             └─ else                            ─► the server is held

The answer is quoted with the hold. Greylisting, full mailboxes and plain "try later" say nothing of a rate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.engine import Connection

from ..ledger import Fact
from . import holds

FIRST = timedelta(minutes=1)
_RATE = re.compile(
    r"\brate[- ]?(?:limit|of|is|exceed)|throttl"
    r"|too (?:many|much) (?:messages?|mails?|e-?mails?|recipients? (?:per|this)|requests?)"
    r"|(?:quota|limit)\b[^.]{0,60}\bexceed|exceed\w*[^.]{0,60}\b(?:quota|limit|rate)\b|slow(?:ing)? down"
    r"|(?:messages?|mails?|recipients?) (?:per|a|an|each) (?:second|minute|hour|day)\b",
    re.IGNORECASE,
)
_MAILBOX = re.compile(
    r"\b(?:mailbox|inbox|storage|disk)\b|over ?quota"
    r"|\b(?:user|recipient|address|account)\b[^.]{0,60}\b(?:receiving|is over|has received|has exceeded their)",
    re.IGNORECASE,
)
_SPAN = re.compile(r"(?:in|after|for|wait)\s+(\d{1,4})\s*(s|sec|second|m|min|minute|h|hour)s?\b", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class Spoken:
    """Of whom an answer speaks: ``domain``, else ``server``; for how long, and why in words."""

    domain: str | None
    span: timedelta
    why: str


def spoken_of(code: int, stage: str, text: str, recipient: str) -> Spoken | None:
    """What an answer says of a rate; None where it says nothing of one, or of a single mailbox.

    >>> spoken_of(451, "mail", "4.7.1 Rate limit exceeded, try again in 5 minutes", "a@x.test").span
    datetime.timedelta(seconds=300)
    >>> spoken_of(450, "rcpt", "4.2.1 The user you are trying to contact is receiving mail at a rate that", "a@x.test")
    >>> spoken_of(451, "rcpt", "4.7.0 Too many messages for x.test, slow down", "a@x.test").domain
    'x.test'
    """
    if code not in (421, 450, 451, 452) or not _RATE.search(text) or _MAILBOX.search(text):
        return None
    domain = recipient.rpartition("@")[2].lower()
    named = bool(domain) and re.search(rf"(?<![\w.-])@?{re.escape(domain)}(?![\w-]|\.\w)", text.lower()) is not None
    whole = recipient.lower() in text.lower()
    if whole and stage == "rcpt":
        return None  # of this mailbox
    asked = _SPAN.search(text)
    span = FIRST
    if asked:
        span = timedelta(seconds=int(asked[1]) * _SECONDS[asked[2][0].lower()])
        span = min(max(span, timedelta(seconds=5)), holds.LONGEST)
    return Spoken(domain if named else None, span, f"it said: {code} {' '.join(text.split())[:300]}")


class RateListener:
    """Holds whom an answer speaks of."""

    name = "rates"
    kinds = frozenset({"deferred"})

    def hear(self, connection: Connection, facts: Sequence[Fact], *, now: datetime) -> Sequence[Fact]:
        """Apply a batch; the first answer of a domain or server counts."""
        heard: set[tuple[str | None, str | None]] = set()
        for fact in facts:
            data = fact.data or {}
            text = " ".join(str(data.get(name) or "") for name in ("enhanced", "reply"))
            said = spoken_of(int(data.get("code") or 0), str(data.get("stage") or ""), text, fact.recipient or "")
            if said is None or (not said.domain and not fact.server):
                continue
            place = (said.domain, None if said.domain else fact.server)
            if place not in heard:
                heard.add(place)
                holds.learn(connection, *place, said.span, said.why, now)
        return ()
