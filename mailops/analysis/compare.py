"""Two bounce rates: is the change more than chance? Pure, in words.

The interval of the difference is Newcombe's hybrid score interval (Newcombe 1998, method 10): built from the two Wilson
intervals, so it stays honest for few mails and for rates near 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from ..model.text import counted
from .share import Rate


@dataclass(frozen=True, slots=True)
class Comparison:
    """``now`` against ``before``: the difference with its 95 % interval (shares of 1), and what follows from it.

    ``verdict``: ``higher``, ``lower`` (both more than chance), ``same`` (no more than chance) or ``few`` (one side has
    no mail).
    """

    now: Rate
    before: Rate
    difference: float
    low: float
    high: float
    verdict: str
    sentence: str


def compare(now: Rate, before: Rate) -> Comparison:
    """Compare two rates.

    >>> from .share import rate
    >>> compare(rate(60, 1000), rate(20, 1000)).verdict
    'higher'
    """
    if not now.addressed or not before.addressed:
        which = "in this period" if not now.addressed else "in the period before"
        return Comparison(now, before, 0.0, -1.0, 1.0, "few", f"Nothing was sent {which}, so there is no comparison.")
    d = now.rate - before.rate
    low = d - sqrt((now.rate - now.low) ** 2 + (before.high - before.rate) ** 2)
    high = d + sqrt((now.high - now.rate) ** 2 + (before.rate - before.low) ** 2)
    verdict = "higher" if low > 0 else "lower" if high < 0 else "same"
    return Comparison(now, before, d, low, high, verdict, _words(now, before, d, low, high, verdict))


def _words(now: Rate, before: Rate, d: float, low: float, high: float, verdict: str) -> str:
    span = f"{_points(d)} points, 95 % between {_points(low)} and {_points(high)}"
    if verdict == "same":
        said = "this is no more than chance"
        if high - low > 0.05:
            said += f"; with {counted(min(now.addressed, before.addressed), 'mail')} on one side, little can be said"
    else:
        said = f"this is more than chance: the rate is {verdict}"
    return f"{now.rate:.2%} now, {before.rate:.2%} in the period before ({span}): {said}."


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
