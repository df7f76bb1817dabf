"""Whether a bounce rate changed, since when, and by what: pure decisions on plain figures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mailops.analysis.bounce_rate import rate
from mailops.analysis.compare import compare
from mailops.analysis.jump import Day, Failed, jump
from mailops.analysis.sql import Period

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def day(number: int) -> str:
    return f"{datetime(2026, 10, 1) + timedelta(days=number):%Y-%m-%d}"


@pytest.mark.parametrize(
    ("now", "before", "verdict", "word"),
    [
        ((60, 1000), (20, 1000), "higher", "more than chance"),
        ((20, 1000), (60, 1000), "lower", "more than chance"),
        ((21, 1000), (20, 1000), "same", "no more than chance"),
        ((2, 10), (0, 10), "same", "little can be said"),
        ((0, 0), (5, 100), "few", "Nothing was sent in this period"),
        ((5, 100), (0, 0), "few", "Nothing was sent in the period before"),
    ],
)
def test_a_change_is_held_against_chance(
    now: tuple[int, int], before: tuple[int, int], verdict: str, word: str
) -> None:
    found = compare(rate(*now), rate(*before))
    assert found.verdict == verdict
    assert word in found.sentence
    assert found.low <= found.difference <= found.high


def test_the_interval_is_newcombe_s() -> None:
    found = compare(rate(56, 70), rate(48, 80))  # Newcombe 1998, table II, (a), method 10
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_no_more_comes_back_than_was_sent() -> None:
    """Both are counted in the hour the mail left, so nothing is clipped."""
    with pytest.raises(ValueError, match="3 of 2"):
        rate(3, 2)


def quiet(days: int = 30, addressed: int = 400) -> list[Day]:
    return [Day(day(n), addressed, 8 + n % 3) for n in range(days)]


def test_a_jump_names_its_day_its_reason_and_its_domain() -> None:
    days = [*quiet(20), *(Day(day(n), 400, 60) for n in range(20, 26))]
    failed = [Failed(day(n), "userunknown", f"d{n % 7}.example", 9) for n in range(26)]
    failed += [Failed(day(n), "blocked", "big.example", 51) for n in range(20, 26)]
    found = jump(days, failed)
    assert (found.first, found.over, found.reason, found.domain) == (day(20), False, "blocked", "big.example")
    assert (found.hits, found.returned) == (306, 360)
    assert found.sentence.startswith(f"This jump began on {day(20)}: 15.0% came back, ")
    assert "306 of 360 returns are “Our server's address is blocked there” at big.example." in found.sentence


def test_a_jump_that_is_over_says_so_and_one_of_many_domains_names_the_reason_alone() -> None:
    days = quiet(10) + [Day(day(n), 400, 70) for n in (10, 11)] + [Day(day(n), 400, 8) for n in range(12, 22)]
    failed = [Failed(day(n), "mailboxfull", f"d{k}.example", 1) for n in (10, 11) for k in range(65)]
    found = jump(days, failed)
    assert (found.first, found.last, found.over) == (day(10), day(11), True)
    assert f"ended after {day(11)}" in found.sentence
    assert (found.reason, found.domain) == ("mailboxfull", "")


def test_what_grew_is_named_and_not_what_was_always_there() -> None:
    days = quiet(20, 1000) + [Day(day(n), 1000, 110) for n in range(20, 30)]
    failed = [Failed(day(n), "mailboxfull", "usual.example", 60) for n in range(30)]
    failed += [Failed(day(n), "spamdetected", "new.example", 50) for n in range(20, 30)]
    assert jump(days, failed).domain == "new.example"


@pytest.mark.parametrize(
    ("days", "word"),
    [
        ([], "too few days"),
        ([Day(day(0), 5, 5)], "too few days"),
        (quiet(), "No jump"),
        ([Day(day(n), 3, n % 2) for n in range(20)], "No jump"),
        ([Day(day(n), 400, 0) for n in range(20)], "No jump"),
        ([Day(day(n), 400, 100) for n in range(20)], "No jump"),  # always bad is no jump
        ([Day(day(n), 400, 4) for n in range(20)] + [Day(day(20), 3, 2)], "No jump"),
        ([Day(day(n), 0, 2) for n in range(5)], "No jump"),
    ],
)
def test_chance_and_few_mails_raise_no_alarm(days: list[Day], word: str) -> None:
    found = jump(days)
    assert not found.found
    assert word in found.sentence
    assert found.why


def test_a_period_knows_the_one_before() -> None:
    assert Period("2026-11-17").before(NOW) == Period("2026-11-10", "2026-11-16")
    assert Period(None).before(NOW) is None
