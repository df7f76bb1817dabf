"""When schedules run: against a walk over real minutes that shares no code, and the nights that are known."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from mailops import Ops
from mailops.errors import InputRefused
from mailops.jobs.cron import parse, runs

MINUTE = timedelta(minutes=1)


def walked(text: str, zone: str, first: date, until: date, dst: str) -> list[str]:
    """The same by looking at every real minute, one after the other."""
    words = text.split()
    where = ZoneInfo(zone)
    clock = words[0][0] == "*" or words[1][0] == "*"

    def fits(local: datetime) -> bool:
        spec = parse(text)
        of_month, of_week = local.day in spec.days, local.isoweekday() % 7 in spec.weekdays
        both_restricted = words[2][0] != "*" and words[4][0] != "*"
        day = (of_month or of_week) if both_restricted else (of_month and of_week)
        return local.minute in spec.minutes and local.hour in spec.hours and local.month in spec.months and day

    at = datetime(first.year, first.month, first.day, tzinfo=UTC) - timedelta(days=2)
    end = datetime(until.year, until.month, until.day, tzinfo=UTC) + timedelta(days=2)
    found: list[datetime] = []
    shown: set[datetime] = set()
    before = at.astimezone(where).replace(tzinfo=None) - MINUTE
    began: dict[date, datetime] = {}
    while at < end:
        local = at.astimezone(where).replace(tzinfo=None)
        for day in (first, until):
            if local.date() >= day:
                began.setdefault(day, at)
        missed = []
        step = before + MINUTE
        while step < local:
            missed.append(step)
            step += MINUTE
        jumped = not clock and dst != "skip" and any(fits(one) for one in missed)
        again = local in shown and not clock and dst != "both"
        if jumped or (fits(local) and not again):
            found.append(at)
        shown.add(local)
        before, at = local, at + MINUTE
    return [one.astimezone(where).isoformat() for one in found if began[first] <= one < began[until]]


NIGHTS = [
    ("Europe/Berlin", date(2027, 3, 27), date(2027, 3, 30)),
    ("Europe/Berlin", date(2027, 10, 30), date(2027, 11, 2)),
    ("America/New_York", date(2027, 3, 13), date(2027, 3, 16)),
    ("America/Havana", date(2027, 3, 13), date(2027, 3, 16)),  # forward at midnight: the day begins at 01:00
    ("America/Havana", date(2027, 11, 6), date(2027, 11, 9)),
    ("Australia/Lord_Howe", date(2027, 4, 3), date(2027, 4, 6)),  # back by half an hour
    ("Australia/Lord_Howe", date(2027, 10, 2), date(2027, 10, 5)),
    ("Pacific/Chatham", date(2027, 9, 25), date(2027, 9, 28)),  # forward at 02:45
    ("Africa/Casablanca", date(2027, 2, 6), date(2027, 2, 9)),  # back before forward
    ("Africa/Casablanca", date(2027, 3, 13), date(2027, 3, 16)),
    ("Pacific/Apia", date(2011, 12, 28), date(2012, 1, 2)),  # a day that never was
    ("America/Scoresbysund", date(2027, 3, 27), date(2027, 3, 30)),
]
EXPRESSIONS = (
    *("30 2 * * *", "5 */2 * * *", "*/30 * * * *", "0 0 * * *", "0 3 * * *", "15,45 1-3 * * *", "59 23 * * *"),
    *("0 12 13 * 5", "30 0 * * sun", "0 2-3 * * 0,7"),
)


@pytest.mark.parametrize(("zone", "first", "until"), NIGHTS, ids=lambda value: str(value))
@pytest.mark.parametrize("dst", ["once", "both", "skip"])
def test_the_nights_when_the_clock_is_set(zone: str, first: date, until: date, dst: str) -> None:
    for text in EXPRESSIONS:
        found = [at.isoformat() for at in runs(text, zone=zone, first=first, until=until, dst=dst)]
        assert found == walked(text, zone, first, until, dst), text


def test_any_expression_on_any_night() -> None:
    chance = random.Random(18)
    for _ in range(60):
        zone, first, until = chance.choice(NIGHTS)
        text = " ".join(
            (
                chance.choice(["*", "*/7", str(chance.randrange(60)), f"{chance.randrange(30)}-59/9"]),
                chance.choice(["*", "*/3", str(chance.randrange(5)), "0-3", "22-23"]),
                chance.choice(["*", "*/2", "1-15", str(first.day + 1 if first.day < 28 else 1)]),
                "*",
                chance.choice(["*", "*/2", "sun", "1-5", "7"]),
            )
        )
        dst = chance.choice(["once", "both", "skip"])
        found = [at.isoformat() for at in runs(text, zone=zone, first=first, until=until, dst=dst)]
        assert found == walked(text, zone, first, until, dst), (text, zone, first, dst)


def test_what_is_known_by_heart() -> None:
    def at(text: str, zone: str, first: str, until: str, dst: str = "once") -> list[str]:
        return [one.isoformat() for one in Ops.next_runs(text, zone=zone, first=first, until=until, dst=dst)]

    spring = ("Europe/Berlin", "2027-03-28", "2027-03-29")
    assert at("30 2 * * *", *spring) == ["2027-03-28T03:00:00+02:00"]
    assert at("30 2 * * *", *spring, "skip") == []
    assert at("0,30 2 * * *", *spring) == ["2027-03-28T03:00:00+02:00"], "several that are missing run once, together"
    assert at("0 2-3 * * *", *spring) == ["2027-03-28T03:00:00+02:00"], "and with one at that very minute"
    assert len(at("*/30 * * * *", *spring)) == 46
    autumn = ("Europe/Berlin", "2027-10-31", "2027-11-01")
    assert at("30 2 * * *", *autumn) == ["2027-10-31T02:30:00+02:00"]
    assert at("30 2 * * *", *autumn, "both") == ["2027-10-31T02:30:00+02:00", "2027-10-31T02:30:00+01:00"]
    assert len(at("*/30 * * * *", *autumn)) == 50
    assert "2027-04-04T02:05:00+10:30" in at("5 */2 * * *", "Australia/Lord_Howe", "2027-04-04", "2027-04-05")
    assert at("0 0 * * *", "America/Havana", "2027-03-14", "2027-03-15") == ["2027-03-14T01:00:00-04:00"]
    assert at("0 0 30 2 *", "UTC", "2027-01-01", "2028-01-01") == []
    assert at("@hourly", "UTC", "2027-01-01", "2027-01-02") == at("0 * * * *", "UTC", "2027-01-01", "2027-01-02")
    assert len(at("0 9 * * 7", "UTC", "2027-01-01", "2027-02-01")) == 5
    assert len(at("0 9 13 * 5", "UTC", "2027-08-01", "2027-09-01")) == 4  # Fridays, the 13th among them
    assert at("0 9 * * *", "UTC", "2027-01-02", "2027-01-01") == []


@pytest.mark.parametrize(
    "text",
    ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "5/2 * * * *", "*/0 * * * *",
     "9-5 * * * *", "a * * * *", "@reboot", "* * * * mon-", "1,, * * * *", "² * * * *", "*-5 * * * *", "* * * * * *"],
)  # fmt: skip
def test_what_is_no_schedule_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(InputRefused) as refused:
        parse(text)
    assert refused.value.code == "input.cron"
    assert refused.value.fix


def test_the_command_prints_a_list_of_times() -> None:
    from mailops.cli import commands  # noqa: F401
    from mailops.cli.app import app

    words = ["jobs", "next", "--cron", "30 2 * * *", "--zone", "Europe/Berlin", "--from", "2027-03-28"]
    done = CliRunner().invoke(app, [*words, "--until", "2027-03-30", "--json"])
    assert json.loads(done.stdout) == ["2027-03-28T03:00:00+02:00", "2027-03-29T02:30:00+02:00"]
    assert "Sun 2027-03-28T03:00:00+02:00" in CliRunner().invoke(app, [*words, "--until", "2027-03-30"]).stdout
    for wrong in (["--zone", "Berlin"], ["--dst", "twice"], ["--from", "tomorrow"], ["--until", "2099-01-01"]):
        with pytest.raises(InputRefused):
            CliRunner().invoke(app, [*words, *wrong], catch_exceptions=False)
