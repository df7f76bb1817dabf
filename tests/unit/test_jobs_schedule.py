"""When a scheduled notebook is due: decided without running anything, over a year of a clock that is turned."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailops.errors import InputRefused
from mailops.jobs.schedule import Job, checked, due, instants

MADE = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def job(**changed: Any) -> Job:
    plan = {} if {"cron", "on"} & set(changed) else {"every": "1h"}
    return Job("nightly", "queue", MADE, **{**plan, **changed})


def test_nothing_is_due_before_the_first_instant_and_each_is_due_once() -> None:
    assert due(job(), None, MADE + 59 * timedelta(minutes=1)).slots == ()
    found = due(job(), None, MADE + HOUR)
    assert found.slots == (MADE + HOUR,)
    assert due(job(), found.slots[-1], MADE + HOUR + timedelta(seconds=30)).slots == ()


@pytest.mark.parametrize(("missed", "runs", "dropped"), [("one", 1, 4), ("all", 5, 0), ("none", 1, 4)])
def test_what_becomes_of_missed_instants(missed: str, runs: int, dropped: int) -> None:
    found = due(job(missed=missed), None, MADE + 5 * HOUR + timedelta(minutes=3))
    assert (len(found.slots), len(found.dropped)) == (runs, dropped)
    assert found.slots[-1] == MADE + 5 * HOUR
    late = due(job(missed=missed), None, MADE + 5 * HOUR + timedelta(minutes=30))
    assert len(late.slots) == (0 if missed == "none" else runs)


def test_a_clock_that_is_set_back_runs_nothing_twice() -> None:
    found = due(job(), MADE + 10 * HOUR, MADE + 7 * HOUR)
    assert found.slots == ()
    assert "set back" in found.reason


def test_a_year_of_nights_in_berlin_runs_once_a_night_whatever_the_clock_does() -> None:
    nightly = job(cron="30 2 * * *", zone="Europe/Berlin")
    last, now, seen = None, MADE, []
    while now < MADE + 365 * DAY:
        now += timedelta(hours=10, minutes=47)  # a timer that looks when it likes
        found = due(nightly, last, now)
        assert len(found.slots) <= 1
        assert not found.dropped
        if found.slots:
            last = found.slots[-1]
            seen.append(last)
    assert len(seen) == 365
    assert len(set(seen)) == 365
    assert {at.hour for at in seen} == {0, 1}, "UTC, in summer and in winter"


def test_a_job_that_waits_for_facts_runs_once_for_what_is_new() -> None:
    waits = job(on="bounced")
    assert due(waits, None, MADE + DAY, None).slots == ()
    at = MADE + HOUR + timedelta(microseconds=5)
    assert due(waits, None, MADE + DAY, at).slots == (MADE + HOUR,)
    assert due(waits, MADE + HOUR, MADE + DAY, at).slots == ()
    assert due(waits, None, MADE + DAY, MADE - HOUR).slots == (), "what was before it is not for it"


def test_the_next_times_are_the_first_ones() -> None:
    assert instants(job(every="1m"), MADE, MADE + DAY)[0] == MADE + timedelta(minutes=1)


def test_the_id_of_a_run_names_the_job_and_the_instant() -> None:
    assert job().run_id(MADE) == job().run_id(MADE.astimezone())
    assert job().run_id(MADE) != replace(job(), name="other").run_id(MADE)
    assert job().run_id(MADE, 2) == job().run_id(MADE) + "-2"
    assert len(job().run_id(MADE, 10)) <= 40


@pytest.mark.parametrize(
    "wrong",
    [
        {"every": "1h", "cron": "0 * * * *"},
        {"every": ""},
        {"every": "0m"},
        {"every": "soon"},
        {"cron": "61 * * * *"},
        {"cron": "0 2 * * *", "zone": "Europe/Atlantis"},
        {"on": "full moon"},
        {"missed": "some"},
        {"retries": 11},
        {"timeout": 0},
    ],
)
def test_what_cannot_be_kept_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputRefused):
        checked(job(**wrong))


@pytest.mark.parametrize("name", ["", "A", "a b", "../a", "x" * 41])
def test_a_name_is_plain(name: str) -> None:
    with pytest.raises(InputRefused):
        checked(replace(job(), name=name))
