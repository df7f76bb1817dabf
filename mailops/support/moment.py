"""When a mail was sent, as people write it: a date, a time, and the zone, without which nobody else can find it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from ..errors import InputRefused
from ..model.zones import zone_of

NAMED = {
    "utc": "UTC", "gmt": "UTC", "z": "UTC",
    "cet": "Europe/Berlin", "cest": "Europe/Berlin", "central european time": "Europe/Berlin",
    "central european summer time": "Europe/Berlin", "wet": "Europe/Lisbon", "eet": "Europe/Helsinki",
    "bst": "Europe/London", "est": "America/New_York", "edt": "America/New_York", "eastern time": "America/New_York",
    "cst": "America/Chicago", "cdt": "America/Chicago", "mst": "America/Denver", "mdt": "America/Denver",
    "pst": "America/Los_Angeles", "pdt": "America/Los_Angeles", "pacific time": "America/Los_Angeles",
}  # fmt: skip
"""Words for zones that people use; a standard and a summer name mean the clock of that place."""
_FORMS = (
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %I:%M %p", "%d %B %Y %H:%M", "%d %B %Y %I:%M %p",
    "%d %b %Y %H:%M", "%B %d %Y %H:%M", "%B %d %Y %I:%M %p", "%d.%m.%Y %H:%M",
)  # fmt: skip
_SPLIT = re.compile(
    r"(?P<time>.{0,40}?\d{1,2}:\d{2}(?::\d{2})?(?:\s?[AaPp][Mm])?)\s{0,3}(?P<zone>[^\d:]{0,60}|[+-]\d{2}:?\d{2}|[A-Za-z/_+-]{1,40}\d{0,2})\Z"
)


def moment_of(text: str) -> datetime:
    """The moment in UTC. Raises :class:`InputRefused` ``support.zone`` where the zone is missing, ``support.moment``
    for what is no time.

    >>> moment_of("10 January 2024 11:45 AM Central European Time").isoformat()
    '2024-01-10T10:45:00+00:00'
    """
    clean = " ".join(text[:120].replace("T", " ", 1 if re.match(r"\d{4}-\d\d-\d\dT", text.strip()) else 0).split())
    clean = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b|(?<=\d),", "", clean).removeprefix("the ").replace(" at ", " ")
    found = _SPLIT.match(clean)
    naive = _naive(found["time"].strip()) if found else None
    if found is None or naive is None:
        raise InputRefused(
            f"{text[:80]!r} is no date with a time.",
            code="support.moment",
            facts={"given": text[:120]},
            fix="Write it as 2024-01-10 11:45 Europe/Berlin.",
        )
    zone = found["zone"].strip().strip("()")
    if not zone:
        raise InputRefused(
            "In which time zone was that?",
            code="support.zone",
            facts={"given": text[:120]},
            fix=f"Add the zone: {clean} Europe/Berlin, or an offset such as +01:00.",
        )
    offset = re.fullmatch(r"([+-])(\d\d):?(\d\d)", zone)
    if offset:
        span = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return naive.replace(tzinfo=timezone(-span if offset[1] == "-" else span)).astimezone(UTC)
    return naive.replace(tzinfo=zone_of(NAMED.get(zone.lower(), zone))).astimezone(UTC)


def _naive(text: str) -> datetime | None:
    for form in _FORMS:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return None
