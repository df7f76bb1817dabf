"""Bounce rates weigh the interval: few mails never raise an alarm, and never give an all-clear."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mailops.analysis.bounce_rate import rate, since_day
from mailops.errors import ConfigError

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.req("LIM-05")
def test_six_of_two_hundred_are_three_per_cent() -> None:
    found = rate(6, 200)
    assert f"{found.rate:.2%}" == "3.00%"
    assert found.low == pytest.approx(0.01381, abs=1e-4)  # Wilson's interval, worked out by hand
    assert found.high == pytest.approx(0.06388, abs=1e-4)
    assert found.verdict == "ok"


@pytest.mark.parametrize(
    ("returned", "addressed", "verdict"),
    [
        (0, 0, "few"),
        (0, 1, "few"),
        (1, 5, "few"),
        (1, 2, "few"),  # Wilson's interval alone begins at 9.5 %
        (1, 3, "few"),
        (2, 2, "few"),  # two addresses say nothing
        (3, 3, "warning"),  # and fewer than ten are never critical
        (10, 10, "critical"),
        (0, 100, "ok"),
        (30, 1000, "ok"),
        (80, 1000, "warning"),
        (150, 1000, "critical"),
        (1000, 1000, "critical"),
    ],
)
def test_the_verdict(returned: int, addressed: int, verdict: str) -> None:
    found = rate(returned, addressed)
    assert found.verdict == verdict
    assert 0 <= found.low <= found.rate <= found.high <= 1


@pytest.mark.parametrize(
    ("text", "day"), [("30d", "2026-10-25"), ("2w", "2026-11-10"), ("2026-01-31", "2026-01-31"), ("", None)]
)
def test_periods(text: str, day: str | None) -> None:
    assert since_day(text, NOW) == day


def test_a_period_that_cannot_be_read_is_said() -> None:
    with pytest.raises(ConfigError) as caught:
        since_day("lately", NOW)
    assert caught.value.code == "analysis.since"
