"""When a temporarily refused mail is tried again, and when we give up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ..model.setup import RetryPolicy
from ..model.text import counted

MINIMUM_ATTEMPTS = 3  # a clock that jumps a week ahead must not fail mails that were tried once


@dataclass(frozen=True, slots=True)
class NextTry:
    """The next attempt's time, or None to give up, with the reason in words."""

    due: datetime | None
    reason: str


def pause(policy: RetryPolicy, attempts: int) -> int:
    """Seconds to wait after the ``attempts``-th attempt (1 = the first): doubling, capped.

    >>> [pause(RetryPolicy(), n) for n in (1, 2, 3, 7)]
    [300, 600, 1200, 14400]
    """
    return int(min(policy.cap, policy.first * 2 ** min(max(attempts, 1) - 1, 30)))


def next_try(policy: RetryPolicy, *, queued_at: datetime, attempts: int, now: datetime) -> NextTry:
    """Decide on the next attempt of a mail that was refused for now (RFC 5321 §4.5.4.1).

    ``attempts`` counts those made since the mail became *Outgoing*.
    """
    age = now - queued_at
    if age >= timedelta(seconds=policy.give_up) and attempts >= MINIMUM_ATTEMPTS:
        return NextTry(None, f"gave up after {counted(attempts, 'attempt')} in {_words(age)}")
    wait = pause(policy, attempts)
    return NextTry(
        now + timedelta(seconds=wait), f"attempt {attempts} failed for now; next in {_words(timedelta(seconds=wait))}"
    )


def _words(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for size, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            n = seconds / size
            text = f"{n:.0f}" if abs(n - round(n)) < 0.05 else f"{n:.1f}"
            return f"{text} {word}{'' if text == '1' else 's'}"
    return counted(seconds, "second")
