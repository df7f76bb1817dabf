"""The manual clock moves only when told."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from mailops.ports import Clock
from mailops.testing import ManualClock

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_it_is_a_clock_and_stands_still():
    clock: Clock = ManualClock(START)
    assert (clock.now(), clock.monotonic()) == (START, 0.0)
    assert (clock.now(), clock.monotonic()) == (START, 0.0)


def test_advance_moves_both_and_jump_the_wall_only():
    clock = ManualClock(START)
    clock.advance(90)
    assert (clock.now(), clock.monotonic()) == (START + timedelta(seconds=90), 90.0)
    clock.jump(-3600)
    assert (clock.now(), clock.monotonic()) == (START - timedelta(seconds=3510), 90.0)


def test_sleep_passes_at_once_and_is_remembered():
    clock = ManualClock(START)
    clock.sleep(5)
    clock.sleep(2.5)
    assert clock.slept == [5, 2.5]
    assert clock.monotonic() == 7.5


def test_a_blocking_sleep_waits_for_the_whole_time():
    clock = ManualClock(START, blocking=True)
    woke = threading.Event()

    def sleeper() -> None:
        clock.sleep(10)
        woke.set()

    thread = threading.Thread(target=sleeper)
    thread.start()
    clock.wait_for_sleepers()
    clock.advance(9)
    clock.jump(100)
    assert not woke.wait(0.05)
    clock.advance(1)
    assert woke.wait(10)
    thread.join(10)


def test_a_forgotten_sleeper_fails_instead_of_hanging():
    clock = ManualClock(START, blocking=True, patience=0.01)
    with pytest.raises(TimeoutError, match="nobody advanced"):
        clock.sleep(1)
    with pytest.raises(TimeoutError, match="0 of 1"):
        clock.wait_for_sleepers(timeout=0.01)


@pytest.mark.parametrize("wrong", [lambda c: c.advance(-1), lambda c: c.sleep(-1)])
def test_time_does_not_run_back(wrong):
    with pytest.raises(ValueError, match=r"forward|cannot sleep"):
        wrong(ManualClock(START))


def test_a_start_without_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        ManualClock(datetime(2026, 1, 1))
