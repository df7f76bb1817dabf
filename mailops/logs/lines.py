"""Lines of logs as values: when, which host, which program, what it said. Pure functions over text.

Known by their shape, line by line, so that a file may hold several: BSD stamps (RFC 3164 section 4.1.2, ``Nov 29
14:41:44``, also with fractions), RFC 3339 stamps (Debian 12 and later, ``journalctl -o short-iso``), RFC 5424 lines,
journald's JSON (``journalctl -o json``), and Odoo's (``2026-01-31 05:00:01,234 77 INFO acme odoo.addons…: …``, which
Odoo writes in UTC). What follows an Odoo line without a stamp, as a traceback does, belongs to it.

A BSD stamp has neither year nor zone. It is read in the zone that is given, as the latest such moment that is not more
than a day after the reference (when the file was last written), so a log over New Year has two years.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

_NAMES = "JanFebMarAprMayJunJulAugSepOctNovDec"
MONTHS = {_NAMES[3 * n : 3 * n + 3]: n + 1 for n in range(12)}
BACK = 300
"""Seconds by which lines may stand out of order."""
LONGEST = 16_384
"""Characters of a line, or of an Odoo line with its traceback, that are read."""

_BSD = re.compile(
    r"([A-Z][a-z]{2} [ \d]\d \d\d:\d\d):(\d\d)(?:\.\d+)? (\S+) ([^\s\[:]+)(?:\[\d+\])?: ?(.*)", re.DOTALL
).match
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d):(\d\d)(?:[.,]\d+)?(Z|[+-]\d\d:?\d\d)? (\S+) ([^\s\[:]+)(?:\[\d+\])?: ?(.*)", re.DOTALL
).match
_5424 = re.compile(
    r"1 (\d{4}-\d\d-\d\dT\d\d:\d\d):(\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d) (\S+) (\S+) \S+ \S+ (?:-|(?:\[[^\]]*\])+) ?(.*)",
    re.DOTALL,
).match
_ODOO = re.compile(
    r"(\d{4}-\d\d-\d\d) (\d\d:\d\d):(\d\d)(?:[.,]\d+)? \d+ (?:DEBUG|INFO|WARNING|ERROR|CRITICAL) (\S+) (\S+?): (.*)",
    re.DOTALL,
).match
_PRIORITY = re.compile(r"<\d{1,3}>").match
ODOO = "odoo"


class Line(NamedTuple):
    """One line: seconds since 1970 (UTC), the host's short name, the program as syslog names it (``postfix/smtpd``),
    and its words. Of Odoo the program is ``odoo``, the host the database, and the words begin with the logger."""

    at: int
    host: str
    name: str
    text: str


@dataclass(slots=True)
class Seen:
    """How many lines there were: ``broken`` have no stamp that can be read, ``foreign`` are of programs that do not
    carry mail, ``unknown`` are of mail programs in words that are not known; ``beside`` need no joining."""

    lines: int = 0
    broken: int = 0
    foreign: int = 0
    unknown: int = 0
    beside: int = 0
    continued: int = 0


class Stamps:
    """Turns stamps into seconds. ``zone`` is that of BSD stamps, ``reference`` the moment after which none can be."""

    def __init__(self, *, zone: tzinfo | None = None, reference: datetime | None = None) -> None:
        self.zone = zone
        self.reference = (reference or datetime.now(UTC)).astimezone(UTC) + timedelta(days=1)
        self._minutes: dict[str, int | None] = {}
        self._last = 0

    def minute(self, text: str, zone: str | None = None) -> int | None:
        """Seconds of a stamp without its seconds: ``Nov 29 14:41`` or ``2026-11-29T14:41`` with its zone (none: UTC);
        None where there is no such time."""
        key = text + (zone or "")
        if key in self._minutes:
            return self._minutes[key]
        if len(self._minutes) > 4_000:
            self._minutes.clear()
        twice = False
        try:
            if text[0].isdigit():
                value: int | None = int(datetime.fromisoformat(f"{text}:00{zone or '+00:00'}").timestamp())
            else:
                value, twice = self._bsd(text)
        except (ValueError, KeyError, OverflowError):
            value = None
        if value is not None:
            self._last = value
        if not twice:
            self._minutes[key] = value
        return value

    def knows(self, text: str) -> bool:
        """Whether a stamp always means the same moment: not where its hour comes twice."""
        return text in self._minutes

    def _bsd(self, text: str) -> tuple[int, bool]:
        """Seconds of a stamp without year and zone, and whether its hour comes twice, as one does in autumn."""
        month, day, hour, minute = MONTHS[text[:3]], int(text[4:6]), int(text[7:9]), int(text[10:12])
        for year in range(self.reference.year, self.reference.year - 9, -1):  # 29 February may be eight years away
            try:
                local = datetime(year, month, day, hour, minute)
            except ValueError:
                if month != 2 or day != 29:
                    raise
                continue
            found = local.replace(tzinfo=self.zone) if self.zone else local.astimezone()
            if found > self.reference:
                continue
            first, second = int(found.timestamp()), int(found.replace(fold=1).timestamp())
            # the second time once the first is over
            return (second if first < self._last - BACK else first), first != second
        raise ValueError(text)


def read(lines: Iterable[str], stamps: Stamps, seen: Seen | None = None) -> Iterator[Line]:
    """The lines that have a stamp, in the order of the file. Never raises for what it is given; ``seen`` counts."""
    seen = Seen() if seen is None else seen
    minute, known = stamps.minute, stamps._minutes
    odoo: Line | None = None
    more: list[str] = []
    for line in lines:
        seen.lines += 1
        match = _BSD(line)
        if match is not None:
            text, second, host, name, words = match.groups()
            at = known.get(text) or minute(text)
        else:
            found = _other(line, minute)
            if found is None:
                if odoo is not None and sum(map(len, more)) < LONGEST and line.strip("\0 "):
                    more.append(line)
                    seen.continued += 1
                elif line.strip("\0 "):
                    seen.broken += 1
                else:
                    seen.lines -= 1  # an empty line, or the zeros that a crash leaves
                continue
            at, second, host, name, words = found
        if odoo is not None:
            yield odoo._replace(text="\n".join([odoo.text, *more])) if more else odoo
            odoo = None
            more.clear()
        if at is None:
            seen.broken += 1
            continue
        if "." in host:
            host = short(host)
        if name == ODOO:
            odoo = Line(at + int(second), host, name, words)
        else:
            yield Line(at + int(second), host, name, words)
    if odoo is not None:
        yield odoo._replace(text="\n".join([odoo.text, *more])) if more else odoo


def short(host: str) -> str:
    """A host's name without its domain; an address as it is.

    >>> short("mx1.acme.example"), short("192.0.2.7")
    ('mx1', '192.0.2.7')
    """
    return host if host.replace(".", "").isdigit() else host.partition(".")[0]


def _other(line: str, minute: object) -> tuple[int | None, str, str, str, str] | None:
    """A line with another stamp than BSD's."""
    first = line[:1]
    if first == "{":
        return _journal(line)
    if first == "<":
        mark = _PRIORITY(line)
        if mark is None:
            return None
        line = line[mark.end() :]
        match = _BSD(line)
        if match is not None:
            text, second, host, name, words = match.groups()
            return minute(text), second, host, name, words  # type: ignore[operator]
        match = _5424(line)
        if match is not None:
            text, second, zone, host, name, words = match.groups()
            return minute(text, zone), second, host, name, words  # type: ignore[operator]
    match = _ISO(line)
    if match is not None:
        text, second, zone, host, name, words = match.groups()
        return minute(text, zone), second, host, name, words  # type: ignore[operator]
    match = _ODOO(line)
    if match is not None:
        day, text, second, database, logger, words = match.groups()
        return minute(f"{day}T{text}"), second, "" if database == "?" else database, ODOO, f"{logger}: {words}"  # type: ignore[operator]
    return None


def _journal(line: str) -> tuple[int | None, str, str, str, str] | None:
    """An entry of journald as JSON; text that is not UTF-8 comes as a list of octets."""
    try:
        entry = json.loads(line)
        micros = int(entry["__REALTIME_TIMESTAMP"])
        words = entry["MESSAGE"]
        if isinstance(words, list):
            words = bytes(words).decode("utf-8", "replace")
        name = entry.get("SYSLOG_IDENTIFIER") or entry.get("_COMM") or ""
        if not isinstance(words, str) or not isinstance(name, str):
            return None
        return micros // 1_000_000, "0", str(entry.get("_HOSTNAME") or ""), name, words
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None
