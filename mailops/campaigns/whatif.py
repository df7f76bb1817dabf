"""When each mail of the queue would leave: the queue's own rules on a clock of their own, from a picture of the store.

::

    picture (one reading transaction) ─► changed by a scenario ─► walked through time ─► when each mail leaves, or fails

What decides is what decides when mail is sent: who waits for the queue job (:mod:`mailops.queue.job`), who goes first
(:class:`mailops.queue.lanes.Lane`), which server (the router), which window has room (:mod:`mailops.limits`), whose
turn it is (:func:`mailops.campaigns.values.first`). Servers take what they get; a mail takes ``pace`` seconds.
``mailops serve`` is taken to attend the queue. Nothing is written anywhere.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

from ..limits.values import Own, Window, frees_at, reached
from ..model.setup import Server
from ..model.states import OF_THE_JOB, Rank
from ..model.text import counted
from ..queue.job import next_job
from ..queue.lanes import Lane
from ..queue.permits import NEAR
from ..routing.usage import next_reset
from .values import Campaign, CampaignState, first

if TYPE_CHECKING:
    import pandas as pd

HORIZON = timedelta(days=31)
"""How far ahead is looked."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is changed: campaigns that are cancelled, another ``minutes`` interval of the queue job, mail of one server
    that leaves through another (``""`` = of all), limits in place of those that are set, seconds a mail takes."""

    cancel: tuple[str, ...] = ()
    minutes: int | None = None
    servers: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[Own, ...] = ()
    pace: float = 0.0

    @property
    def words(self) -> str:
        said = [f"campaign {key} cancelled" for key in self.cancel]
        said += [f"the queue job every {counted(self.minutes, 'minute')}"] if self.minutes else []
        said += [f"{of or 'everything'} through {to}" for of, to in self.servers.items()]
        said += [f"{one.server} at {one.count:,} {one.of} in {one.seconds:g} s" for one in self.limits]
        return ", ".join(said)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A mail that waits, or a recipient whose mail is not made yet (``mail_id`` None): where it goes, or why it cannot
    (``trouble``). ``units`` are the messages and recipients that it counts for."""

    mail_id: int | None
    campaign: str | None
    number: int
    recipients: tuple[str, ...]
    rank: Rank
    due_at: datetime
    server: str
    units: Mapping[str, int]
    trouble: str = ""

    @property
    def urgent(self) -> bool:
        """Whether it is no mass mail."""
        return self.rank not in (Rank.MASS, Rank.CAMPAIGN)

    @property
    def mail(self) -> Waiting:
        """As a lane asks for it."""
        return self


@dataclass(frozen=True, slots=True)
class Picture:
    """A queue at a moment. ``uses`` are what left by account, oldest first; ``triggers`` when the job runs out of
    turn."""

    at: datetime
    mails: tuple[Waiting, ...]
    campaigns: tuple[Campaign, ...]
    lists: Mapping[str, tuple[Waiting, ...]]
    under_way: Mapping[str, int]
    servers: Mapping[str, Server]
    accounts: Mapping[str, str]
    windows: Callable[[str, datetime], tuple[Window, ...]]
    uses: Mapping[str, Sequence[tuple[datetime, int, int]]]
    domains: Mapping[str, datetime]
    lanes: Mapping[str, datetime]
    triggers: tuple[datetime, ...]
    minutes: int


@dataclass(frozen=True, slots=True)
class Leaves:
    """What becomes of one: ``at`` it ``leaves`` or ``fails``; ``stays`` (``at`` None) beyond the horizon, and why."""

    mail_id: int | None
    campaign: str | None
    number: int
    recipient: str
    server: str
    what: str
    at: datetime | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What would become of a queue: each mail in the order of its time, counts, when the last has left, in words."""

    at: datetime
    scenario: str
    mails: tuple[Leaves, ...]
    as_it_is: WhatIf | None = None

    def count(self, what: str) -> int:
        return sum(one.what == what for one in self.mails)

    @property
    def empty_at(self) -> datetime | None:
        """When the queue is empty; None where something stays."""
        return None if self.count("stays") else max((one.at for one in self.mails if one.at), default=self.at)

    def waiting(self, moments: Sequence[datetime]) -> list[int]:
        """How many mails still wait at each of these moments."""
        return [
            sum(one.what == "stays" or (one.at is not None and one.at > moment) for one in self.mails)
            for moment in moments
        ]

    @property
    def order(self) -> tuple[str, ...]:
        """The campaigns in the order of their first mails."""
        return tuple(dict.fromkeys(one.campaign for one in self.mails if one.campaign and one.what == "leaves"))

    @property
    def sentence(self) -> str:
        """The answer in words."""
        leaves, fails, stays = (self.count(what) for what in ("leaves", "fails", "stays"))
        said = f"{counted(leaves, 'mail leaves', 'mails leave')}"
        if leaves:
            said += f", the last at {_clock(max(one.at for one in self.mails if one.what == 'leaves' and one.at))}"
        if fails:
            why = next(one.why for one in self.mails if one.what == "fails")
            said += f"; {counted(fails, 'fails', 'fail')}: {why.partition('. ')[0].rstrip('.')}"
        if stays:
            why = next(one.why for one in self.mails if one.what == "stays")
            said += f"; {counted(stays, 'stays', 'stay')}: {why}"
        head = f"With {self.scenario}: " if self.scenario else "As it is: "
        tail = ""
        if self.as_it_is is not None:
            was, now = self.as_it_is.empty_at, self.empty_at
            tail = f" As it is, the queue is {f'empty at {_clock(was)}' if was else 'not empty within a month'}"
            tail += f"; then at {_clock(now)}." if now else "."
        return f"{head}{said}.{tail}"

    def summary(self) -> dict[str, Any]:
        """Without the mails: counts, the campaigns' order, when the queue is empty, in words."""
        counts = {what: self.count(what) for what in ("leaves", "fails", "stays")}
        more = {"order": list(self.order), "empty_at": self.empty_at, "sentence": self.sentence}
        return {"at": self.at, "scenario": self.scenario, **counts, **more}

    def frame(self) -> pd.DataFrame:
        """A row a mail, in the order of time."""
        import pandas as pd

        heads = ["mail_id", "campaign", "number", "recipient", "server", "what", "at", "why"]
        return pd.DataFrame([{name: getattr(one, name) for name in heads} for one in self.mails], columns=heads)


def _clock(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "-"


class _Used:
    """What left through an account: of each kind of window what it still counts, with the sum."""

    def __init__(self, uses: Sequence[tuple[datetime, int, int]]) -> None:
        self._before = uses
        self._kept: dict[tuple[str, float], tuple[deque[tuple[datetime, int]], list[int]]] = {}

    def add(self, at: datetime, units: Mapping[str, int]) -> None:
        for (of, _), (uses, total) in self._kept.items():
            uses.append((at, units[of]))
            total[0] += units[of]

    def full(self, windows: Iterable[Window], need: Mapping[str, int], now: datetime) -> tuple[Window, datetime] | None:
        """The window that has no room for longest, and until when; None where all have."""
        found: tuple[Window, datetime] | None = None
        for window in windows:
            uses, total = self._of(window)
            begin = window.begin(now)
            while uses and uses[0][0] <= begin:
                total[0] -= uses.popleft()[1]
            if not total[0] or total[0] + need[window.of] <= window.count:
                continue
            until = frees_at(window, uses, need[window.of], now, total=total[0])
            if found is None or until > found[1]:
                found = (window, until)
        return found

    def _of(self, window: Window) -> tuple[deque[tuple[datetime, int]], list[int]]:
        key = (window.of, window.seconds)
        if key not in self._kept:
            messages = window.of == "messages"
            uses = deque((at, sent if messages else people) for at, sent, people in self._before)
            self._kept[key] = (uses, [sum(units for _, units in uses)])
        return self._kept[key]


class _Walk:
    """Walks a picture through time."""

    def __init__(self, picture: Picture, scenario: Scenario) -> None:
        self.now = picture.at
        self.minutes = scenario.minutes or picture.minutes
        self.pace = timedelta(seconds=scenario.pace)
        self.picture = picture
        self.open = [one for one in picture.campaigns if one.key not in scenario.cancel]
        gone = set(scenario.cancel)
        self.lists = {key: deque(rows) for key, rows in picture.lists.items() if key not in gone}
        self.left = {key: number for key, number in picture.under_way.items() if key not in gone}
        self.waiting: list[tuple[datetime, datetime, int, Waiting]] = []
        self.numbers = count()
        self.known: dict[tuple[str, datetime], tuple[Window, ...]] = {}
        self.lanes: dict[str, Lane] = {}
        self.free: dict[str, datetime] = {}
        self.held = dict(picture.lanes)
        self.used = {account: _Used(uses) for account, uses in picture.uses.items()}
        self.triggers = sorted({max(at, picture.at) for at in picture.triggers})
        self.of_job = False  # a run of the job goes on
        self.done: list[Leaves] = []
        self.hands: dict[str, Waiting] = {}
        for mail in picture.mails:
            if mail.campaign not in gone:
                self._wait(mail)
        for one in self.open:
            if one.scheduled_at is not None and one.scheduled_at > self.now:
                self.triggers.append(one.scheduled_at)
        if self.open and gone:
            self.triggers.append(self.now)  # a cancel triggers the job: the next one's turn

    def _wait(self, mail: Waiting) -> None:
        at = max(mail.due_at, self._held_until(mail), self.held.get(mail.server, self.now), self.now)
        heapq.heappush(self.waiting, (at, mail.due_at, next(self.numbers), mail))

    def _held_until(self, mail: Waiting) -> datetime:
        """Until when a recipient's domain is held."""
        names = (one.rpartition("@")[2].lower() for one in mail.recipients)
        return max((self.picture.domains[name] for name in names if name in self.picture.domains), default=self.now)

    def run(self, until: datetime) -> list[Leaves]:
        while self.now <= until:
            if self._step():
                continue
            at = self._next()
            if at is None:
                break
            self.now = at
        return self.done

    def _step(self) -> bool:
        """Do what can be done now; whether anything was."""
        if any(at <= self.now for at in self.triggers) or self._job_time():
            self.triggers = [at for at in self.triggers if at > self.now]
            self.of_job = True
        if not self.of_job and (head := first(self.open, self.now)) and not head.paused and self.lists.get(head.key):
            self.of_job = True  # who attends the queue tells the job where a campaign waits
        fed = self._feed() if self.of_job else False
        moved = self._ready()
        sent = [key for key in list(self.lanes) if self._send(key)]
        if not (fed or moved or sent) and self.of_job and not self._busy():
            self.of_job = False
        return bool(fed or moved or sent)

    def _job_time(self) -> bool:
        return self.now > self.picture.at and next_job(self.now - timedelta(microseconds=1), self.minutes) == self.now

    def _feed(self) -> bool:
        """Hand over the list of the campaign whose turn it is."""
        while (head := first(self.open, self.now)) is not None and not head.paused:
            rows = self.lists.get(head.key)
            if rows:
                self.open[self.open.index(head)] = replace(head, state=CampaignState.SENDING)
                self.left[head.key] = self.left.get(head.key, 0) + len(rows)
                while rows:
                    self._wait(replace(rows.popleft(), due_at=self.now))
                return True
            if self.left.get(head.key, 0):
                return False
            self.open.remove(head)
        return False

    def _ready(self) -> bool:
        """Give the lanes what is due and may leave now."""
        put, back = False, list[tuple[datetime, datetime, int, Waiting]]()
        while self.waiting and self.waiting[0][0] <= self.now:
            one = heapq.heappop(self.waiting)
            mail = one[3]
            if mail.rank in OF_THE_JOB and not self.of_job:
                back.append(one)
            elif self.held.get(mail.server, self.now) > self.now:
                self._wait(mail)
            else:
                self._lane(mail.server).put(mail)  # type: ignore[arg-type]
                put = True
        for one in back:
            heapq.heappush(self.waiting, one)
        return put

    def _lane(self, key: str) -> Lane:
        if key not in self.lanes:
            lane = self.lanes[key] = Lane(key, threading.Lock(), most=2)
            lane.ready = _Quiet()  # type: ignore[assignment]
        return self.lanes[key]

    def _send(self, key: str) -> bool:
        """Let a lane's next mail leave, fail or wait for its permit; whether something happened."""
        if self.held.get(key, self.now) > self.now or self.free.get(key, self.now) > self.now:
            return False
        mail: Any = self.hands.pop(key, None) or self.lanes[key].next()
        if mail is None:
            return False
        if mail.trouble:
            self._note(mail, "fails", mail.trouble)
            return True
        account = self.picture.accounts.get(key, key)
        used = self.used.setdefault(account, _Used(()))
        full = used.full(self._windows(key), mail.units, self.now)
        if full is None:
            at = self.free[key] = self.now + self.pace
            used.add(at, mail.units)
            self._note(mail, "leaves", "", at=at)
            return True
        window, at = full
        if window.fails:
            self._note(mail, "fails", reached(window))
        elif (at - self.now).total_seconds() <= NEAR:
            self.hands[key], self.free[key] = mail, at
        else:
            self.held[key] = at
            rest: list[Any] = [mail, *self.lanes[key].take_all()]
            for one in rest:
                self._wait(one)
        return True

    def _windows(self, key: str) -> tuple[Window, ...]:
        known = (key, next_reset(self.now))
        if known not in self.known:
            self.known[known] = self.picture.windows(key, self.now)
        return self.known[known]

    def _note(self, mail: Waiting, what: str, why: str, *, at: datetime | None = None) -> None:
        self.done.append(_leaves(mail, what, at or self.now, why))
        if mail.campaign is not None and mail.campaign in self.left:
            self.left[mail.campaign] -= 1

    def _busy(self) -> bool:
        """Whether a run goes on: something waits near, or in a lane that nobody holds."""
        return bool(self.hands) or any(lane.waiting for lane in self.lanes.values())

    def _next(self) -> datetime | None:
        """When something may happen next."""
        times = [at for at in self.free.values() if at > self.now]
        times += [at for at in self.triggers if at > self.now]
        later = min((one[0] for one in self.waiting if one[0] > self.now), default=None)
        times += [later] if later else []
        if any(one[3].rank in OF_THE_JOB and one[0] <= self.now for one in self.waiting):
            times.append(next_job(self.now, self.minutes))
        return min(times, default=None)

    def rest(self) -> list[Leaves]:
        """What has not left by the end, and why."""
        waits: list[Any] = [one[3] for one in sorted(self.waiting)] + list(self.hands.values())
        waits += [mail for lane in self.lanes.values() for mail in lane.take_all()]
        found = [_leaves(mail, "stays", None, "it waits for longer than a month") for mail in waits]
        for one in self.open:
            head = first(self.open, self.now)
            before = f"campaign {head.key} is before it" if head and head.key != one.key else "its turn does not come"
            why = "its campaign is paused" if one.paused else before
            found += [_leaves(mail, "stays", None, why) for mail in self.lists.get(one.key, ())]
        return found


class _Quiet:
    """Nobody waits for a lane of a walk."""

    def notify(self) -> None:
        """Nobody hears it."""


def _leaves(mail: Waiting, what: str, at: datetime | None, why: str) -> Leaves:
    to = mail.recipients[0] if mail.recipients else ""
    return Leaves(mail.mail_id, mail.campaign, mail.number, to, mail.server, what, at, why)


def walk(picture: Picture, scenario: Scenario) -> WhatIf:
    """What becomes of each mail of a picture, by a scenario."""
    one = _Walk(picture, scenario)
    found = [*one.run(picture.at + HORIZON), *one.rest()]
    return WhatIf(picture.at, scenario.words, tuple(found))
