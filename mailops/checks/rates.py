"""Checks of bounce rates: weigh the interval, never the bare point."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..model.verdict import Verdict, VerdictState


def bounce_rate(rate: Any, *, since: str, limit: float, now: datetime) -> Verdict:
    """The bounce rate (:class:`mailops.analysis.bounce_rate.Rate`) stays below ``limit``, a share of 1.

    Failed only when the whole 95 % interval is above the limit; a rate above it from few mails is a warning.
    """
    above = rate.addressed > 0 and rate.rate > limit
    sure = rate.addressed > 0 and rate.low > limit
    state = VerdictState.FAILED if sure else VerdictState.WARNING if above else VerdictState.PASSED
    if rate.addressed == 0:
        state = VerdictState.SKIPPED
    return Verdict(
        check="bounce_rate",
        subject=f"everything sent since {since}",
        state=state,
        title=f"Bounce rate {rate.rate:.2%}" if rate.addressed else "Nothing was sent in this time",
        found=str(rate),
        expected=f"Below {limit:.1%}; providers look at you from 5 % and stop you at 10 %.",
        fix="Open the table by domain and by cause: take out addresses that do not exist, "
        "and stop sending to old lists.",
        code="bounce_rate.high" if sure else "",
        evidence={"addressed": rate.addressed, "returned": rate.returned, "low": rate.low, "high": rate.high},
        at=now,
    )
