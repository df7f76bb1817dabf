"""When an address is suppressed: hard and complaints at once, soft by count and time, and what resets the count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mailops.errors import ConfigError
from mailops.suppression import Policy, Trace, weigh
from mailops.suppression.decide import check_mode

NOW = datetime(2026, 3, 30, 12, tzinfo=UTC)


def soft(*days_ago: float) -> list[Trace]:
    return [Trace(NOW - timedelta(days=d), "bounce", reason="mailboxfull", id=n) for n, d in enumerate(days_ago, 1)]


def test_a_hard_bounce_and_a_complaint_count_at_once() -> None:
    found = weigh([Trace(NOW, "bounce", hard=True, reason="userunknown", id=7)], now=NOW)
    assert (found.suppress, found.hard, found.reason, found.bounce_id) == (True, True, "userunknown", 7)
    assert found.why.startswith("Hard bounce: ")
    assert weigh([Trace(NOW, "complaint")], now=NOW).why == "The recipient complained."


@pytest.mark.parametrize(
    ("days", "suppress"),
    [
        ((0, 2, 4, 6, 8), True),
        ((0, 2, 4, 8), False),  # four
        ((0, 1, 2, 3, 4, 5, 6), False),  # seven, in one week
        ((0, 2, 4, 6, 7), False),  # exactly a week is not more than a week
        ((0, 2, 4, 8, 92), False),  # the fifth is older than thirteen weeks
        ((0, 2, 4, 8, 91), True),
    ],
)
def test_soft_bounces_count_five_times_in_thirteen_weeks_over_more_than_a_week(
    days: tuple[int, ...], suppress: bool
) -> None:
    assert weigh(soft(*days), now=NOW).suppress is suppress


def test_a_mail_that_arrived_resets_the_count_once_it_stayed_away_long_enough() -> None:
    bounces = soft(0, 8, 20, 30, 40)
    assert weigh(bounces, now=NOW).suppress
    arrived = Trace(NOW - timedelta(days=15), "success")
    assert weigh([*bounces, arrived], now=NOW).why.startswith("2 soft bounces within 13 weeks; 5 are needed")
    fresh = Trace(NOW - timedelta(hours=1), "success")  # may still come back
    assert weigh([*bounces, fresh], now=NOW).suppress


def test_a_contact_that_wrote_to_us_starts_anew() -> None:
    assert not weigh(soft(0, 8, 20, 30, 40), now=NOW, counter=1).suppress
    assert not weigh(soft(0, 8, 20, 30, 40), now=NOW, counter=0).suppress
    assert weigh(soft(0, 8, 20, 30, 40), now=NOW, counter=5).suppress
    assert weigh([Trace(NOW, "bounce", hard=True)], now=NOW, counter=0).suppress


def test_what_came_before_an_undo_counts_no_more() -> None:
    hard = Trace(NOW - timedelta(days=3), "bounce", hard=True, reason="userunknown")
    undone = Trace(NOW - timedelta(days=2), "undone")
    assert not weigh([hard, undone], now=NOW).suppress
    assert weigh([hard, undone, Trace(NOW, "bounce", hard=True, reason="userunknown")], now=NOW).suppress


@pytest.mark.parametrize("kind", ["autoreply", "delayed", "success-dsn", "ordinary"])
def test_automatic_replies_and_delays_count_never(kind: str) -> None:
    traces = [Trace(NOW - timedelta(days=n * 4), kind, hard=True) for n in range(9)]
    assert weigh(traces, now=NOW).why == "nothing counts against this address"


def test_the_policy_can_be_changed_and_the_mode_is_checked() -> None:
    assert weigh(soft(0, 8), now=NOW, policy=Policy(soft_count=2)).suppress
    assert check_mode(" Propose ") == "propose"
    with pytest.raises(ConfigError) as refused:
        check_mode("maybe")
    assert refused.value.code == "config.suppression_mode"
