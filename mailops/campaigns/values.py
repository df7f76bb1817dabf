"""A campaign in values: where it stands, where its recipients stand, and the Message-IDs, which follow of both.

::

    draft ──Send, Schedule──▶ queued ──its turn and time──▶ sending ──nobody waits──▶ done
      ▲                         │                              │
      └── created               └────────── Cancel ────────────┴──▶ cancelled ──Send──▶ queued: to the rest only
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from ..model.text import counted

JOB = "Mail Marketing: Process queue"


class CampaignState(StrEnum):
    """Where a campaign stands."""

    DRAFT = "draft"
    QUEUED = "queued"
    SENDING = "sending"
    DONE = "done"
    CANCELLED = "cancelled"

    @property
    def label(self) -> str:
        return {"queued": "In Queue"}.get(self.value, self.value.capitalize())


class Standing(StrEnum):
    """Where a recipient stands: to come, under way, settled, or set aside."""

    WAITING = "waiting"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    UNKNOWN = "unknown"  # the answer was not read; tried again with the same Message-ID
    DUPLICATE = "duplicate"
    INVALID = "invalid"
    MISSING = "missing"
    SUPPRESSED = "suppressed"
    OPTED_OUT = "opted_out"


OPEN = frozenset({CampaignState.QUEUED, CampaignState.SENDING})
UNDER_WAY = frozenset({Standing.SENDING, Standing.UNKNOWN})
ASIDE = frozenset({Standing.DUPLICATE, Standing.INVALID, Standing.MISSING, Standing.SUPPRESSED, Standing.OPTED_OUT})
_ID = re.compile(r"<c([1-9]\d{0,17})\.([1-9]\d{0,17})\.([0-9a-f]{12})@")


class Place(NamedTuple):
    """A recipient of a campaign: its number, the row's, and the public part of the campaign's token."""

    campaign: int
    number: int
    token: str


def message_id(place: Place, domain: str) -> str:
    """The Message-ID of a recipient's mail, the same at every attempt and after every crash.

    >>> message_id(Place(3, 12, "0f" * 6), "acme.example")
    '<c3.12.0f0f0f0f0f0f@acme.example>'
    """
    return f"<c{place.campaign}.{place.number}.{place.token}@{domain}>"


def place_of(text: str | None) -> Place | None:
    """Whose mail a Message-ID names; None for one that is no campaign's."""
    found = _ID.match(text) if text and text.startswith("<c") else None
    return Place(int(found[1]), int(found[2]), found[3]) if found else None


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign as it is kept. ``subject``, ``text`` and ``html`` are Jinja templates; times are UTC."""

    id: int
    key: str
    state: CampaignState
    paused: bool
    sender: str
    subject: str
    text: str | None
    html: str | None
    server: str | None
    company: str | None
    token: str = field(repr=False)
    created_at: datetime
    scheduled_at: datetime | None
    started_at: datetime | None
    progress_at: datetime | None
    finished_at: datetime | None
    trouble: str | None

    @property
    def mark(self) -> str:
        """The part of the token that Message-IDs show; the whole one proves unsubscribe links."""
        return self.token[:12]

    def is_due(self, now: datetime) -> bool:
        """Whether its turn may come: sent or scheduled, and its time is not ahead."""
        return self.state in OPEN and (self.scheduled_at is None or self.scheduled_at <= now)


@dataclass(frozen=True, slots=True)
class Status:
    """A campaign for people: ``counts`` of recipients by :class:`Standing`, the ``notice`` above it, and what it
    ``waits_for``, in words (empty: for nothing)."""

    key: str
    state: CampaignState
    paused: bool
    notice: str
    waits_for: str
    counts: Mapping[Standing, int]
    sender: str
    subject: str
    server: str | None
    created_at: datetime
    scheduled_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """All rows of its list."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Blocking:
    """What the doctor of campaigns says: the one at the head, since when nothing moved, why, and who waits behind."""

    key: str | None
    why: str
    fix: str
    since: datetime | None
    behind: tuple[str, ...]

    @property
    def sentence(self) -> str:
        if self.key is None:
            return self.why
        behind = f" Behind it {'waits' if len(self.behind) == 1 else 'wait'} {', '.join(self.behind)}." * bool(
            self.behind
        )
        since = f" Its last progress was at {_clock(self.since)}." if self.since else ""
        return f"Campaign {self.key} is at the head: {self.why}.{since}{behind} {self.fix}".rstrip()


def first(campaigns: Collection[Campaign], now: datetime) -> Campaign | None:
    """Whose turn it is: the one that was begun, else the oldest of those whose time has come (CAM-04, CAM-05)."""
    due = [one for one in campaigns if one.is_due(now)]
    return min(due, key=lambda one: (one.state is not CampaignState.SENDING, one.created_at, one.id), default=None)


def notice(campaign: Campaign, head: Campaign | None, *, starts: datetime, now: datetime) -> str:
    """What stands above a campaign (CAM-01): that it is queued, and when it starts; empty for one that is not.
    ``starts`` is when the job runs next, ``head`` whose turn it is."""
    if campaign.state is not CampaignState.QUEUED:
        return ""
    if campaign.paused:
        return "This campaign is paused; it goes on when it is resumed."
    if campaign.scheduled_at is not None and campaign.scheduled_at > now:
        return f"This campaign is scheduled for {_clock(campaign.scheduled_at)} and starts then."
    if head is not None and head.id != campaign.id:
        return f"This campaign is queued and will be sent as soon as possible, when campaign {head.key} is finished."
    return f"This campaign is queued and will be sent as soon as possible; {JOB} starts it at {_clock(starts)}."


def _clock(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at else "-"


def rest(counts: Mapping[Standing, int]) -> str:
    """Who is left, in words.

    >>> rest({Standing.WAITING: 2, Standing.SENT: 5})
    '2 recipients wait'
    """
    waiting, under_way = counts.get(Standing.WAITING, 0), sum(counts.get(one, 0) for one in UNDER_WAY)
    words = [f"{counted(waiting, 'recipient waits', 'recipients wait')}"] if waiting else []
    words += [f"{counted(under_way, 'mail is', 'mails are')} under way"] if under_way else []
    return ", ".join(words) or "nobody is left"
