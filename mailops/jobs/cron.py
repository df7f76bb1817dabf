"""When a cron expression runs, in a zone whose clock is set forward and back.

The five fields are those of POSIX crontab(5) with Vixie's steps, lists, ranges and names. Times come from real instants
walked forward: the zone is cut into stretches of one offset, so a gap or a fold is what the zone has, not one hour at
two o'clock. What the policies mean (``dst``):

======== ============================================== ======================================
policy   a slot that the clock jumps over               a slot that the clock shows twice
======== ============================================== ======================================
once     runs at the first minute after the gap         runs the first time
both     runs at the first minute after the gap         runs both times
skip     does not run                                   runs the first time
======== ============================================== ======================================

An expression whose minute or hour field begins with ``*`` follows real time instead, whatever the policy: it runs at
every real minute whose wall clock it matches. This is what Debian's cron does by default.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise

from ..errors import InputRefused
from ..model.text import counted
from ..model.zones import Stretch, day_begins, stretches, zone_of

POLICIES = ("once", "both", "skip")
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
MAX_DAYS = 3_700
"""Days that are looked at in one go: ten years."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)
NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression. ``by_clock``: it follows real time; ``either``: one of the two day fields is enough."""

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    by_clock: bool
    either: bool

    def on(self, day: date) -> bool:
        """Whether it has slots on a day."""
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, (day.weekday() + 1) % 7 in self.weekdays
        return of_month or of_week if self.either else of_month and of_week

    def slots(self, day: date) -> Iterator[datetime]:
        """The wall-clock minutes of a day that it matches, in order, without a zone."""
        if self.on(day):
            for hour in self.hours:
                for minute in self.minutes:
                    yield datetime(day.year, day.month, day.day, hour, minute)


@lru_cache(maxsize=256)
def parse(text: str) -> Cron:
    """Read an expression. Raises :class:`InputRefused` that names the field, and what may stand there.

    >>> parse("30 2 * * mon-fri").weekdays == {1, 2, 3, 4, 5}
    True
    """
    words = NAMED.get(text.strip().lower(), text).split()
    if len(words) != 5:
        raise _refused(
            text, f"it has {counted(len(words), 'field')}", "Write minute, hour, day of month, month and day of week."
        )
    found = [_field(text, word, *kind) for word, kind in zip(words, _FIELDS, strict=True)]
    minutes, hours, days, months, weekdays = found
    return Cron(
        " ".join(words),
        tuple(sorted(minutes)),
        tuple(sorted(hours)),
        frozenset(days),
        frozenset(months),
        frozenset(day % 7 for day in weekdays),
        words[0].startswith("*") or words[1].startswith("*"),
        not words[2].startswith("*") and not words[4].startswith("*"),
    )


def _field(text: str, word: str, name: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    found: set[int] = set()
    for part in word.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        every = 1
        if slash:
            if not (step.isascii() and step.isdigit() and int(step)) or not (dash or span == "*"):
                raise _refused(text, f"{part!r} is no {name}", "A step stands after * or a range: */15, 8-18/2.")
            every = int(step)
        if span == "*":
            found.update(range(low, high + 1, every))
            continue
        start = _number(text, first, part, name, low, high, names)
        end = _number(text, last, part, name, low, high, names) if dash else start
        if end < start:
            raise _refused(text, f"{part!r} ends before it begins", f"Write the {name} as LOW-HIGH.")
        found.update(range(start, end + 1, every))
    return found


def _number(text: str, word: str, part: str, name: str, low: int, high: int, names: dict[str, int]) -> int:
    number = names.get(word.lower(), int(word) if word.isascii() and word.isdigit() and len(word) < 5 else -1)
    if not low <= number <= high:
        also = f" or {', '.join(names)}" if names else ""
        raise _refused(text, f"{part!r} is no {name}", f"Use numbers from {low} to {high}{also}.")
    return number


def _refused(text: str, why: str, hint: str) -> InputRefused:
    return InputRefused(
        f"The schedule {text!r} cannot be read: {why}.",
        code="input.cron",
        facts={"cron": text, "why": why},
        fix=f"{hint} Example: 30 2 * * mon-fri",
    )


def tightest(cron: Cron) -> timedelta:
    """The shortest time between two slots of an expression, by the clock on the wall; an hour at most.

    >>> tightest(parse("58,0 9-10 * * *")), tightest(parse("58,0 9 * * *"))
    (datetime.timedelta(seconds=120), datetime.timedelta(seconds=3480))
    """
    gaps = [later - minute for minute, later in pairwise(cron.minutes)]
    if any((hour + 1) % 24 in cron.hours for hour in cron.hours):
        gaps.append(60 + cron.minutes[0] - cron.minutes[-1])
    return timedelta(minutes=min(gaps, default=60))


def day_of(day: date | str) -> date:
    """A day as it is written. Raises :class:`InputRefused`."""
    if isinstance(day, date):
        return day
    try:
        return date.fromisoformat(day.strip())
    except ValueError as error:
        raise InputRefused(
            f"{day!r} is no day.", code="input.day", facts={"day": day}, fix="Write it as 2026-01-31."
        ) from error


def runs(text: str, *, zone: str, first: date, until: date, dst: str = "once") -> list[datetime]:
    """When an expression runs from the first real instant of the day ``first`` to that of ``until`` (not in it).

    The times ascend, each in the zone with the offset that holds at it; two slots that fall on one instant are one run.
    Raises :class:`InputRefused` for what cannot be read, and for more than :data:`MAX_DAYS` days.
    """
    cron, where = parse(text), zone_of(zone)
    if dst not in POLICIES:
        raise InputRefused(
            f"There is no policy {dst!r} for daylight saving.",
            code="input.dst",
            facts={"dst": dst},
            fix=f"Use one of: {', '.join(POLICIES)}.",
        )
    if (until - first).days > MAX_DAYS:
        raise InputRefused(
            "That is too long a time to look at.",
            code="input.too_large",
            facts={"days": (until - first).days, "limit": MAX_DAYS},
            fix="Ask for fewer days.",
        )
    if until <= first:
        return []
    begin, end = day_begins(where, first), day_begins(where, until)
    around = stretches(where, begin - 2 * DAY, end + 2 * DAY)
    found: set[datetime] = set()
    day, last = first - DAY, until + DAY
    while day <= last:
        for slot in cron.slots(day):
            found.update(_instants(slot, around, cron.by_clock, dst))
        day += DAY
    return [at.replace(tzinfo=UTC).astimezone(where) for at in sorted(found) if begin <= at < end]


def _instants(slot: datetime, around: list[Stretch], by_clock: bool, dst: str) -> list[datetime]:
    """The real instants at which a wall-clock minute runs."""
    near = bisect_right(around, slot - DAY, key=lambda part: part.start) - 1
    shown: list[datetime] = []
    after: datetime | None = None
    for part in around[max(near, 0) :]:
        at = slot - part.offset
        if part.start > slot + DAY:
            break
        if part.start <= at < part.end:
            shown.append(at)
        elif at < part.start and after is None and not shown:
            after = part.start  # the clock jumped over it, and this is the first it shows
    if by_clock:
        return shown
    if shown:
        return shown if dst == "both" else shown[:1]
    return [_whole(after, around)] if after is not None and dst != "skip" else []


def _whole(at: datetime, around: list[Stretch]) -> datetime:
    """The first instant from then on at which a minute of the wall clock begins."""
    part = next(part for part in around if part.start <= at < part.end)
    local = at + part.offset
    return at + (timedelta() if not local.second else MINUTE - timedelta(seconds=local.second))
