"""Six zones, eight expressions, both nights, three policies: ``mailops jobs next`` against a walk over real minutes.

The walk shares nothing with the program: it reads the five fields itself, asks zoneinfo for the wall clock of each real
minute, and marks gaps and folds as it meets them.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from mailops.cli import commands  # noqa: F401  (registers the top-level commands)
from mailops.cli.app import app

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
NIGHTS = {
    "Europe/Berlin": (date(2027, 3, 28), date(2027, 10, 31)),
    "America/New_York": (date(2027, 3, 14), date(2027, 11, 7)),
    "America/Havana": (date(2027, 3, 14), date(2027, 11, 7)),
    "Australia/Lord_Howe": (date(2027, 10, 3), date(2027, 4, 4)),
    "Pacific/Chatham": (date(2027, 9, 26), date(2027, 4, 4)),
    "Africa/Casablanca": (date(2027, 3, 14), date(2027, 2, 7)),
}
EXPRESSIONS = (
    "30 2 * * *",
    "5 */2 * * *",
    "*/20 * * * *",
    "0 0 * * *",
    "15,45 1-3 * * *",
    "0 3 * * *",
    "10 2 13 * 0",
    "59 23 * * 1-6",
)


def field(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin, end = (low, high) if span == "*" else (int(first), int(last or first))
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


@cache
def minutes_of(zone: str, day: date) -> list[tuple[datetime, datetime]]:
    """Real minutes around a day, each with its wall clock."""
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) - 2 * DAY
    real = [at + n * MINUTE for n in range(5 * 1440)]
    return [(one, one.astimezone(ZoneInfo(zone)).replace(tzinfo=None)) for one in real]


def expected(text: str, zone: str, day: date, dst: str) -> list[str]:
    minute, hour, of_month, month, of_week = text.split()
    wanted = (field(minute, 0, 59), field(hour, 0, 23), field(month, 1, 12))
    days, weekdays = field(of_month, 1, 31), {n % 7 for n in field(of_week, 0, 7)}
    either, by_clock = "*" not in (of_month[0], of_week[0]), "*" in (minute[0], hour[0])

    def fits(wall: datetime) -> bool:
        on = (wall.day in days, wall.isoweekday() % 7 in weekdays)
        return (wall.minute in wanted[0] and wall.hour in wanted[1] and wall.month in wanted[2]) and (
            any(on) if either else all(on)
        )

    found, seen, before = [], set(), None
    for real, wall in minutes_of(zone, day):
        runs = fits(wall) and (by_clock or dst == "both" or wall not in seen)
        if not by_clock and dst != "skip" and before is not None and wall > before + MINUTE:  # set forward
            gap = int((wall - before) / MINUTE) - 1
            runs = runs or any(fits(before + n * MINUTE) for n in range(1, gap + 1))
        if runs and wall.date() == day:
            found.append(real.astimezone(ZoneInfo(zone)).isoformat())
        seen.add(wall)
        before = wall
    return found


@pytest.mark.parametrize("zone", NIGHTS)
@pytest.mark.parametrize("text", EXPRESSIONS)
@pytest.mark.parametrize("night", [0, 1], ids=["forward", "back"])
def test_the_command_gives_the_real_times(zone: str, text: str, night: int) -> None:
    day = NIGHTS[zone][night]
    walls = {wall for _, wall in minutes_of(zone, day)}
    assert len(walls) < 5 * 1440 if night else len(walls) == 5 * 1440, "the clock is set this night"
    for dst in ("once", "both", "skip"):
        words = ["jobs", "next", "--cron", text, "--zone", zone, "--from", f"{day}", "--until", f"{day + DAY}"]
        done = CliRunner().invoke(app, [*words, "--dst", dst, "--json"])
        assert json.loads(done.stdout) == expected(text, zone, day, dst), (text, zone, day, dst)


def test_what_the_library_loses_runs() -> None:
    assert "2027-04-04T02:05:00+10:30" in expected("5 */2 * * *", "Australia/Lord_Howe", date(2027, 4, 4), "once")
