"""Time zones as their clocks really go: real time cut into stretches of one offset, so that a gap or a fold is what the
zone has."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..errors import InputRefused

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Stretch(NamedTuple):
    """Real time from ``start`` to ``end`` (UTC, without zone, the end not in it) in which one offset holds."""

    start: datetime
    end: datetime
    offset: timedelta


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its name in the IANA database. Raises :class:`InputRefused`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputRefused(
            f"There is no time zone {name!r}.",
            code="input.zone",
            facts={"zone": name},
            fix="Write it as in the IANA database: Europe/Berlin, America/New_York, UTC.",
        ) from error


def stretches(zone: ZoneInfo, start: datetime, end: datetime, step: timedelta = HOUR) -> list[Stretch]:
    """Real time from ``start`` to ``end`` (UTC, without zone) cut where the zone's offset changes; two changes within
    one ``step`` that undo each other are not seen."""
    found: list[Stretch] = []
    begun, at, offset = start, start, _offset(zone, start)
    while at < end:
        after = min(at + step, end)
        now = _offset(zone, after)
        if now != offset:
            low, high = at, after
            while high - low > timedelta(seconds=1):
                middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
                low, high = (middle, high) if _offset(zone, middle) == offset else (low, middle)
            found.append(Stretch(begun, high, offset))
            begun, offset = high, _offset(zone, high)
            at = high
        else:
            at = after
    found.append(Stretch(begun, end, offset))
    return found


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    offset = moment.replace(tzinfo=UTC).astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def day_begins(zone: ZoneInfo, day: date) -> datetime:
    """The first real instant of a local day (UTC, without zone); of a day that the zone left out, of the next one."""
    noon = datetime(day.year, day.month, day.day)
    for part in stretches(zone, noon - 2 * DAY, noon + 3 * DAY):
        at = max(part.start, noon - part.offset)
        if at < part.end:
            return at
    raise AssertionError(f"{day} does not begin in {zone.key}")
