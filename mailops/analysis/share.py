"""Shares with honest small numbers: the interval, the exact tail, and what follows from them. Pure.

A rate from few mails says little, so each comes with its 95 % Wilson interval (Wilson 1927; Brown, Cai, DasGupta 2001)
and a verdict that weighs the interval, not the point. Sendings to one address are not independent of each other: what
they say together is less than their number, by the design effect (Kish 1965), or the address is the unit that counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, lgamma, log, log1p, sqrt

WARN, CRITICAL = 0.05, 0.10
"""Amazon SES reviews an account at 5 % of hard bounces (addresses that are no good) and pauses it at 10 %."""
COLOUR, ALARM = 3, 10
"""So many it takes to say anything of a group, and to call it critical."""
FALSE = 0.025
"""The chance of a false alarm that is borne; of the alarms of many groups, the share that may be false."""


@dataclass(frozen=True, slots=True)
class Rate:
    """``returned`` of ``addressed`` with the 95 % interval (``low``, ``high``), all as shares of 1. ``effect`` is the
    design effect: so many of them say as much as one that depends on no other."""

    addressed: int
    returned: int
    rate: float
    low: float
    high: float
    effect: float = 1.0

    @property
    def verdict(self) -> str:
        """``ok``, ``watch`` (above 5 %, which chance may explain), ``warning`` (surely above 5 %), ``critical`` (surely
        above 10 %) or ``few`` (too few to say: less than :data:`COLOUR`, or nothing is sure)."""
        return judged([self])[0]

    def chance(self, limit: float) -> float:
        """The chance of at least so many returns if the rate were ``limit``, exactly (Clopper, Pearson 1934)."""
        if self.effect == 1.0:
            return tail(self.returned, self.addressed, limit)
        return tail(int(self.returned / self.effect), ceil(self.addressed / self.effect), limit)

    def surely_above(self, limit: float) -> bool:
        """Whether the rate is above ``limit`` beyond chance (2.5 %).

        The interval must be above it, and the exact binomial tail must agree: Wilson's lower end is too high for few
        mails and for small limits.
        """
        return self.low >= limit and self.returned > 0 and self.chance(limit) <= FALSE

    def __str__(self) -> str:
        return f"{self.rate:.2%} ({self.returned} of {self.addressed}; 95 % between {self.low:.1%} and {self.high:.1%})"


def judged(rates: Sequence[Rate]) -> list[str]:
    """The verdicts of groups that are looked at together: of those called high no more than :data:`FALSE` by chance,
    however many there are (Benjamini, Hochberg 1995)."""
    sure = {}
    for limit, least in ((CRITICAL, ALARM), (WARN, COLOUR)):
        chances = [x.chance(limit) if x.addressed >= least and x.low >= limit and x.returned else 1.0 for x in rates]
        sure[limit] = discovered(chances, FALSE, of=sum(x.addressed >= COLOUR for x in rates))
    return [
        _verdict(one, critical, high) for one, critical, high in zip(rates, sure[CRITICAL], sure[WARN], strict=True)
    ]


def _verdict(one: Rate, critical: bool, high: bool) -> str:
    if critical or high:
        return "critical" if critical else "warning"
    if one.addressed < COLOUR or one.high >= CRITICAL:
        return "few"
    return "watch" if one.rate > WARN else "ok"


def discovered(chances: Sequence[float], share: float, *, of: int | None = None) -> list[bool]:
    """Which of many tests tell something, so that ``share`` of what is told is false at most (Benjamini, Hochberg
    1995). ``of`` is how many were made, where not all are given.

    >>> discovered([0.001, 0.03, 0.9], 0.05)
    [True, True, False]
    """
    made = max(of or 0, len([c for c in chances if c < 1.0]), 1)
    bound = 0.0
    for place, chance in enumerate(sorted(chances), 1):
        if chance <= share * place / made:
            bound = chance
    return [chance <= bound for chance in chances] if bound else [chance == 0.0 for chance in chances]


@dataclass(frozen=True, slots=True)
class Clusters:
    """What addresses got: ``people`` of them, ``back`` had something returned, ``dead`` for good, which ``hard``
    sendings told. The other sums are over addresses: ``m`` sendings of one, ``y`` of them returned."""

    people: int
    back: int
    dead: int
    hard: int
    m: int
    mm: int
    y: int
    yy: int
    my: int

    def __add__(self, other: Clusters) -> Clusters:
        return Clusters(*(getattr(self, name) + getattr(other, name) for name in Clusters.__slots__))

    @property
    def effect(self) -> float:
        """The design effect (Kish 1965) of the returned share, from the variance between addresses (ratio estimator).
        Where fewer than :data:`ALARM` addresses tell it, the most it can be: all or nothing of an address returns."""
        if not self.m or self.mm <= self.m:
            return 1.0
        most = self.mm / self.m
        if self.back < ALARM or self.people - self.back < ALARM:
            return most
        p = self.y / self.m
        between = (self.yy - 2 * p * self.my + p * p * self.mm) * self.people / (self.people - 1)
        return min(max(between / (self.m * p * (1 - p)), 1.0), most) if 0 < p < 1 else most

    @property
    def back_rate(self) -> Rate:
        """The share of addresses of which something was returned."""
        return rate(self.back, self.people)

    @property
    def dead_rate(self) -> Rate:
        """The share of addresses that are dead."""
        return rate(self.dead, self.people)


def tail(hits: int, of: int, share: float) -> float:
    """The chance of at least so many hits when each has this chance, exactly, for any number.

    >>> round(tail(1, 2, 0.5), 2)
    0.75
    """
    if hits <= 0:
        return 1.0
    if not 0 < share < 1:
        return float(share >= 1)
    if hits <= of * share:  # the sum of the other side has fewer terms that count
        return max(0.0, 1.0 - _sum(of - hits + 1, of, 1 - share))
    return _sum(hits, of, share)


def _sum(hits: int, of: int, share: float) -> float:
    """The binomial terms from ``hits`` on, which fall from there; the first by logarithms, others by their ratio."""
    if hits > of:
        return 0.0
    term = exp(
        lgamma(of + 1) - lgamma(hits + 1) - lgamma(of - hits + 1) + hits * log(share) + (of - hits) * log1p(-share)
    )
    total = 0.0
    odds = share / (1 - share)
    for k in range(hits, of + 1):
        total += term
        term *= (of - k) / (k + 1) * odds
        if term < 1e-17 * total or term == 0.0:
            break
    return min(total, 1.0)


def rate(returned: int, addressed: int, z: float = 1.959964, *, effect: float = 1.0) -> Rate:
    """The rate and its Wilson interval, wider by the design ``effect``.

    >>> str(rate(6, 200))[:5]
    '3.00%'
    """
    if not 0 <= returned <= addressed:
        raise ValueError(f"{returned} of {addressed} is no share")
    if addressed == 0:
        return Rate(0, 0, 0.0, 0.0, 1.0)
    p, n = returned / addressed, addressed / effect
    z2 = z * z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    low = max(0.0, middle - half) if returned else 0.0  # at the ends the interval ends there, not by rounding near it
    return Rate(addressed, returned, p, low, min(1.0, middle + half) if returned < addressed else 1.0, effect)
