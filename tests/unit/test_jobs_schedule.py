"""When a scheduled notebook is due: decided without running anything, over a year of a clock that is turned."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailops.errors import InputRefused
from mailops.jobs.schedule import Job, checked, due, instants, often_enough

MADE = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def job(**changed: Any) -> Job:
    plan = {} if {"cron", "on"} & set(changed) else {"every": "1h"}
    return Job("nightly", "queue", MADE, **{**plan, **changed})


def test_nothing_is_due_before_the_first_instant_and_each_is_due_once() -> None:
    assert due(job(), (), MADE + 59 * timedelta(minutes=1)).slots == ()
    found = due(job(), (), MADE + HOUR)
    assert found.slots == (MADE + HOUR,)
    assert due(job(), found.slots, MADE + HOUR + timedelta(seconds=30)).slots == ()


@pytest.mark.parametrize(("missed", "runs", "dropped"), [("one", 1, 4), ("all", 5, 0), ("none", 1, 4)])
def test_what_becomes_of_missed_instants(missed: str, runs: int, dropped: int) -> None:
    found = due(job(missed=missed), (), MADE + 5 * HOUR + timedelta(minutes=3))
    assert (len(found.slots), len(found.dropped)) == (runs, dropped)
    assert found.slots[-1] == MADE + 5 * HOUR
    late = due(job(missed=missed), (), MADE + 5 * HOUR + timedelta(minutes=30))
    assert len(late.slots) == (0 if missed == "none" else runs)


def test_a_clock_that_is_set_back_runs_nothing_twice() -> None:
    found = due(job(), [MADE + n * HOUR for n in range(1, 11)], MADE + 7 * HOUR)
    assert found.slots == ()
    assert "set back" in found.reason


def test_a_year_of_nights_in_berlin_runs_once_a_night_whatever_the_clock_does() -> None:
    nightly = job(cron="30 2 * * *", zone="Europe/Berlin")
    now, seen = MADE, []
    while now < MADE + 365 * DAY:
        now += timedelta(hours=10, minutes=47)  # a timer that looks when it likes
        found = due(nightly, seen, now)
        assert len(found.slots) <= 1
        assert not found.dropped
        seen += found.slots
    assert len(seen) == 365
    assert len(set(seen)) == 365
    assert {at.hour for at in seen} == {0, 1}, "UTC, in summer and in winter"


def test_a_clock_that_was_ahead_keeps_nothing_back() -> None:
    """At 6f79daf nothing ran until the clock had come to where it was."""
    had = [MADE + HOUR, MADE + 1000 * HOUR]
    assert due(job(), had, MADE + 2 * HOUR).slots == (MADE + 2 * HOUR,)
    assert due(job(), [*had, MADE + 999 * HOUR], MADE + 1000 * HOUR).slots == (), "its run was had"
    ahead = MADE + 1000 * DAY
    assert due(job(on="bounced"), [MADE + HOUR, ahead], MADE + 5 * HOUR, MADE + 4 * HOUR).slots == (MADE + 4 * HOUR,)
    assert due(job(on="bounced"), [MADE + HOUR, ahead], MADE + 5 * HOUR, ahead).slots == ()


@pytest.mark.parametrize("seed", range(20))
def test_a_clock_set_back_and_forth_loses_and_doubles_no_slot(seed: int) -> None:
    """A timer that looks while real time goes on, on a clock that is up to a day wrong for a while; then it is right."""
    chance = random.Random(seed)
    nightly = job(cron=chance.choice(["30 2 * * *", "15 */3 * * *"]), zone="Europe/Berlin", missed="all")
    had: list[datetime] = []
    real, wrong = MADE, timedelta()
    while real < MADE + 20 * DAY:
        real += timedelta(minutes=chance.randint(1, 90))
        if chance.random() < 0.05:
            wrong = chance.choice([timedelta(), timedelta(hours=chance.randint(-24, 24))])
        had += due(nightly, had, real + wrong).slots  # a restart between any two looks: all that is known is had
    had += due(nightly, had, real).slots
    right = instants(nightly, MADE, real)
    assert len(had) == len(set(had))
    lost = [at for at in right if at not in had]
    assert not lost, lost


def test_the_policy_for_the_nights_is_the_job_s_own() -> None:
    autumn = (datetime(2026, 10, 24, 12, tzinfo=UTC), datetime(2026, 10, 25, 12, tzinfo=UTC))
    runs = {
        dst: len(instants(job(cron="30 2 * * *", zone="Europe/Berlin", dst=dst), *autumn))
        for dst in ("once", "both", "skip")
    }
    assert runs == {"once": 1, "both": 2, "skip": 1}


@pytest.mark.req("CRON-04")
@pytest.mark.parametrize(
    "plan", [{"every": "4m"}, {"cron": "*/4 * * * *"}, {"cron": "58,0 * * * *"}, {"cron": "* 3 * * *"}]
)
def test_nothing_runs_more_often_than_every_five_minutes(plan: dict[str, str]) -> None:
    with pytest.raises(InputRefused) as refused:
        often_enough(job(**plan))
    assert (refused.value.code, refused.value.facts["lowest"]) == ("job.too_often", 5)
    assert often_enough(job(every="5m")).every == "5m"
    assert often_enough(job(cron="58,0 9 * * *")).cron


def test_a_job_that_waits_for_facts_runs_once_for_what_is_new() -> None:
    waits = job(on="bounced")
    assert due(waits, (), MADE + DAY, None).slots == ()
    at = MADE + HOUR + timedelta(microseconds=5)
    assert due(waits, (), MADE + DAY, at).slots == (MADE + HOUR,)
    assert due(waits, (MADE + HOUR,), MADE + DAY, at).slots == ()
    assert due(waits, (), MADE + DAY, MADE - HOUR).slots == (), "what was before it is not for it"


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
        {"cron": "0 2 * * *", "dst": "twice"},
    ],
)
def test_what_cannot_be_kept_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputRefused):
        checked(job(**wrong))


@pytest.mark.parametrize("name", ["", "A", "a b", "../a", "x" * 41])
def test_a_name_is_plain(name: str) -> None:
    with pytest.raises(InputRefused):
        checked(replace(job(), name=name))
