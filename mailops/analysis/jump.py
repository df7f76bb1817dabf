"""Finds the jump in a row of days and says since when, of what and where: pure, with its reason.

A scan statistic (Kulldorff 1997, binomial): every run of days is held against all the other days, and the run that
chance explains worst is the jump, when it is sure enough. What "the other days" let expect is taken weekday by weekday,
so that a newsletter on Tuesdays is no jump; and the likelihood is divided by the dispersion of those days
(quasi-likelihood; Wedderburn 1974), so that days that differ anyway raise no alarm. Sure enough means all of these:

- the log-likelihood ratio over the dispersion is above :data:`SURE` and the logarithm of the number of runs tried;
- the rate in the run is at least :data:`TIMES` that outside, and surely :data:`POINTS` above it (Newcombe's interval);
- at least :data:`LEAST` returns more than the other days let expect;
- mail went out before the run, so that it can be said to have begun.

The days before the period that is asked for are looked at too, as what is usual; runs that ended there are left out of
the usual. So a block that lasts stays a jump for as long as it lasts. A jump is over only when days after it whose
returns are in (``mature``) are good beyond chance: a report takes its time, and a last day without returns says nothing
yet.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from math import exp, log
from typing import Any

import numpy as np

from ..model.reasons import plain
from .compare import compare
from .share import rate, tail

SURE, TIMES, POINTS, LEAST, BACK = 6.0, 1.5, 0.005, 5, 0.001
MOST_DAYS, ROUNDS = 400, 5
USUAL = 14
"""Other days that must be there to tell what is usual (where there are few days at all: a third of them)."""
_MEDIAN, _RARE, _CAPPED = 0.4549, 3.8415, 0.913
"""Of a squared residual (chi-squared, 1 degree): its median, what one in twenty passes, its mean when cut there."""


@dataclass(frozen=True, slots=True)
class Day:
    """One day: recipients ``addressed``, and how many of them were ``returned``."""

    day: str
    addressed: int
    returned: int


@dataclass(frozen=True, slots=True)
class Failed:
    """``count`` failures of one day, with one reason, at one recipient domain."""

    day: str
    reason: str
    domain: str
    count: int


@dataclass(frozen=True, slots=True)
class Jump:
    """``sentence`` is what to tell; ``why`` how it was decided. ``first`` is "" when there is no jump; ``over`` says
    that the rate has come down again. ``hits`` of ``returned`` fit ``reason`` and ``domain`` ("" = any).
    ``chance`` is how likely so clear a run is by itself, all runs that were tried counted in; ``addressed`` are the
    recipients of its days, ``others`` those of the other days.
    Without ``enough`` days nothing could be decided."""

    first: str
    last: str
    sentence: str
    why: str
    over: bool = False
    reason: str = ""
    domain: str = ""
    hits: int = 0
    returned: int = 0
    enough: bool = True
    chance: float = 1.0
    addressed: int = 0
    others: int = 0

    @property
    def found(self) -> bool:
        return bool(self.first)


@dataclass(frozen=True, slots=True)
class Run:
    """The run of days ``i`` to ``j`` (``j`` not in it) that the others explain worst. ``usual`` is the rate that they
    let expect on its weekdays, ``ratio`` the log-likelihood ratio over the ``dispersion`` of such days, ``outside``
    is that of the others."""

    i: int
    j: int
    addressed: int
    returned: int
    usual: float
    others: int
    ratio: float
    dispersion: float
    outside: float
    needed: float

    @property
    def more(self) -> float:
        """Returns beyond what was to be expected."""
        return self.returned - self.usual * self.addressed

    @property
    def sure(self) -> bool:
        """Whether it is a jump, by all the rules above."""
        if self.ratio < self.needed or self.more < LEAST or self.returned < TIMES * self.usual * self.addressed:
            return False
        inside = rate(*_less(self.returned, self.addressed, self.dispersion))
        outside = rate(*_less(round(self.usual * self.others), self.others, self.outside))
        return compare(inside, outside).low >= POINTS


def _less(returned: int, addressed: int, dispersion: float) -> tuple[int, int]:
    """The same rate from as many independent mails as these are worth."""
    of = max(round(addressed / dispersion), 1)
    return min(round(returned / dispersion), of), of


def jump(days: Sequence[Day], failed: Iterable[Failed] = (), *, since: str = "", mature: str = "") -> Jump:
    """The jump in ``days`` (in order), and what of ``failed`` makes it.

    ``since`` is the first day of the period that is asked for (days before it tell what is usual), ``mature`` the last
    day whose returns are in; "" = all of them.
    """
    days = [d for d in days if d.addressed or d.returned][-MOST_DAYS:]
    if len(days) < 3:
        return Jump(
            "", "", "There are too few days to see a jump.", f"days with mail: {len(days)}, needed: 3", enough=False
        )
    usual = list(days)
    told = run = worst(usual)
    found: tuple[list[Day], Run] | None = None
    for _ in range(ROUNDS):
        if not run.sure:
            break
        last = usual[run.j - 1].day
        if last >= since and (found is None or not _over(usual, run, mature)):
            found = usual, run
            if not _over(usual, run, mature):
                break
        usual = usual[: run.i] + usual[run.j :]
        if len(usual) < 3:
            break
        run = worst(usual)
    if found is None:
        return Jump("", "", "No jump: the days differ no more than chance lets them.", _why(told), chance=_chance(told))
    usual, run = found
    first, last, over = usual[run.i].day, usual[run.j - 1].day, _over(usual, run, mature)
    sentence = f"This jump began on {first}" + (f" and ended after {last}" if over else "")
    sentence += f": {run.returned / run.addressed:.1%} came back, {run.usual:.1%} on the other days."
    if not over and last < usual[-1].day:
        sentence += f" Returns of mail since {last} are not all in yet."
    seen = Jump(first, last, sentence, _why(run), over, chance=_chance(run), addressed=run.addressed, others=run.others)
    return because(seen, failed)


def because(seen: Jump, failed: Iterable[Failed]) -> Jump:
    """A jump with what of ``failed`` makes it: the reason and domain that grew most."""
    reason, domain, hits, returned = _cause(list(failed), seen.first, seen.last, seen.others, seen.addressed)
    if not hits:
        return seen
    said = f" {hits:,} of {returned:,} returns are {_what(reason, domain)}."
    told = replace(seen, sentence=seen.sentence + said, reason=reason, domain=domain, hits=hits)
    return replace(told, returned=returned)


def _over(days: Sequence[Day], run: Run, mature: str) -> bool:
    """Whether the days that follow, as far as their returns are in, say that the rate is back: that so few would come
    back is a matter of one in a thousand if it were not."""
    after = [d for d in days[run.j :] if not mature or d.day <= mature]
    back, of = _less(sum(d.returned for d in after), sum(d.addressed for d in after), run.dispersion)
    return bool(after) and 1 - tail(back + 1, of, run.returned / run.addressed) <= BACK


def _why(run: Run) -> str:
    inside = run.returned / run.addressed if run.addressed else 0.0
    return (
        f"the worst run of days has {inside:.1%}, the others {run.usual:.1%}; log-likelihood ratio {run.ratio:.1f} "
        f"(needed: {run.needed:.0f}) at a dispersion of {run.dispersion:.1f}, {max(run.more, 0):.0f} returns more than "
        f"expected (needed: {LEAST})"
    )


def _chance(run: Run) -> float:
    return min(1.0, exp(run.needed - SURE - run.ratio))


def _what(reason: str, domain: str) -> str:
    words = f"“{plain(reason).rstrip('.')}”" if reason else ""
    return f"{words} at {domain}" if reason and domain else words or f"at {domain}"


# --- the scan ---------------------------------------------------------------------------------------------------------


def worst(days: Sequence[Day]) -> Run:
    """The run of ``days`` (at least two, in order) that the others explain worst; it never begins with the first."""
    count = len(days)
    returned = np.array([d.returned for d in days], float)
    addressed = np.maximum(np.array([d.addressed for d in days], float), returned)
    weekday = np.array([date.fromisoformat(d.day).weekday() for d in days])
    begin, end = np.triu_indices(count + 1, 1)
    begin, end = begin[begin > 0], end[begin > 0]

    def within(values: Any) -> Any:
        sums = np.concatenate([[0.0], np.cumsum(values)])
        return sums[end] - sums[begin]

    n, a = within(addressed), within(returned)
    m, b = addressed.sum() - n, returned.sum() - a
    p = np.divide(b, m, out=np.zeros_like(b), where=m > 0)
    day = m / np.maximum(count - (end - begin), 1)
    expected = np.zeros_like(n)
    for k in range(7):  # what the other days of this weekday let expect, drawn to all of them by a day's worth
        of, back = addressed * (weekday == k), returned * (weekday == k)
        inside = within(of)
        others, came = of.sum() - inside, back.sum() - within(back)
        expected += inside * np.divide(came + p * day, others + day, out=p.copy(), where=others + day > 0)
    usual = np.minimum(np.divide(expected, n, out=np.zeros_like(n), where=n > 0), 1.0)
    enough = count - (end - begin) >= min(USUAL, count // 3)
    higher = enough & (n > 0) & (m > 0) & (a > usual * n)
    apart, together = _likely(a, n) + _likely(usual * m, m), _likely(a + usual * m, n + m)
    ratio = np.where(higher, apart - together, 0.0)
    everything = np.ones(count, bool)
    for _ in range(2):  # first by the dispersion of all days, then by that of the days outside of the run
        mean, spread, growth = _dispersion(addressed, returned, weekday, everything)
        squares, plain_ = within(mean**2), within(mean)
        much = spread + growth * np.divide(squares, plain_, out=np.zeros_like(n), where=plain_ > 0)
        at = int(np.argmax(ratio / much))
        everything[begin[at] : end[at]] = False
        if everything.sum() < 3:
            break
    i, j = int(begin[at]), int(end[at])
    outside = spread + growth * float((mean[everything] ** 2).sum() / max(mean[everything].sum(), 1e-9))
    needed = SURE + log(max(count * count / 2, 1.0))
    return Run(
        i, j, int(n[at]), int(a[at]), float(usual[at]), int(m[at]), float(ratio[at] / much[at]),
        float(much[at]), float(outside), float(needed),
    )  # fmt: skip


def _likely(hits: Any, of: Any) -> Any:
    """The binomial log-likelihood of shares at their own rate."""
    total = np.zeros_like(of)
    for x in (hits, of - hits):
        some = (x > 1e-9) & (of > 0)
        total[some] += x[some] * np.log(x[some] / of[some])
    return total


def _dispersion(addressed: Any, returned: Any, weekday: Any, which: Any) -> tuple[Any, float, float]:
    """What each day lets expect, and how much more ``which`` of the days differ than chance lets them: the variance is
    (``spread`` + ``growth`` × expected) × expected, with ``spread`` at least 1. Returns expected, spread, growth.

    Both are fitted to the squared residuals by least squares, weighted again by each fit; a residual that only one day
    in twenty would have counts no more than that, so that another incident does not hide this one.
    """
    of, back, kind = addressed[which], returned[which], weekday[which]
    p, day = back.sum() / max(of.sum(), 1.0), max(of.mean(), 1.0)
    rates = np.full(7, p)
    for k in set(kind.tolist()):
        some = kind == k
        rates[k] = (back[some].sum() + p * day) / (of[some].sum() + day)
    expected = addressed * rates[weekday]
    mean, kind = expected[which], weekday[which]
    some = mean > 0
    if some.sum() < 5:
        return expected, 1.0, 0.0
    mean = mean[some]
    squared = (back[some] - mean) ** 2 / (mean * (1 - np.minimum(rates[kind[some]], 0.999)))
    spread, growth = 1.0, 0.0
    fit = np.full_like(mean, max(float(np.median(squared)) / _MEDIAN, 1.0))
    for _ in range(6):
        capped = np.minimum(squared, _RARE * fit) / _CAPPED
        weight = fit**-2
        x = np.array([[weight.sum(), (weight * mean).sum()], [(weight * mean).sum(), (weight * mean**2).sum()]])
        y = np.array([(weight * capped).sum(), (weight * mean * capped).sum()])
        spread, growth = _solved(x, y)
        fit = spread + growth * mean
    return expected, spread, growth


def _solved(x: Any, y: Any) -> tuple[float, float]:
    """The least squares' solution within its bounds: a spread of at least 1, no negative growth."""
    wide = x[0, 0] * x[1, 1] - x[0, 1] ** 2
    spread, growth = float(y[0] / x[0, 0]), 0.0
    if wide > 1e-9 * x[0, 0] * x[1, 1]:
        growth = float((x[0, 0] * y[1] - x[0, 1] * y[0]) / wide)
        spread = float((y[0] - growth * x[0, 1]) / x[0, 0])
    if growth < 0:
        spread, growth = float(y[0] / x[0, 0]), 0.0
    if spread < 1.0:
        spread = 1.0
        growth = max(float((y[1] - x[0, 1]) / x[1, 1]), 0.0) if x[1, 1] else 0.0
    return spread, growth


def _cause(failed: list[Failed], first: str, last: str, others: int, own: int) -> tuple[str, str, int, int]:
    """(reason, domain, failures that fit, all failures of these days): the pair that grew most, or only its reason or
    its domain where that tells clearly more."""
    scale = own / others if others else 0.0
    grown: list[defaultdict[tuple[str, str], float]] = [defaultdict(float) for _ in range(3)]
    number: Counter[tuple[str, str]] = Counter()
    total = 0
    for f in failed:
        inside = first <= f.day <= last
        total += f.count if inside else 0
        for kind, key in enumerate(((f.reason, f.domain), (f.reason, ""), ("", f.domain))):
            grown[kind][key] += f.count * (1 if inside else -scale)
            number[key] += f.count if inside else 0
    if not total:
        return "", "", 0, 0
    tops = [max(pairs.items(), key=lambda item: (item[1], item[0])) for pairs in grown]
    pair, single = tops[0], max(tops[1:], key=lambda item: item[1])
    key = pair[0] if pair[1] >= 0.6 * single[1] else single[0]
    return key[0], key[1], number[key], total
