"""Finds the jump in a row of days and says since when, of what and where: pure, with its reason.

A scan statistic (Kulldorff 1997, binomial): every run of days is held against all the other days, and the run that
chance explains worst is the jump, when it is sure enough. Sure enough means all of these:

- the log-likelihood ratio is above :data:`SURE`, which stands for the many runs that were tried;
- the rate in the run is at least :data:`TIMES` that outside, and surely :data:`POINTS` above it (Newcombe's interval);
- at least :data:`LEAST` returns more than the other days let expect;
- mail went out before the run, so that it can be said to have begun.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log

from ..model.reasons import plain
from .bounce_rate import rate
from .compare import compare

SURE, TIMES, POINTS, LEAST = 12.0, 1.5, 0.005, 5
MOST_DAYS = 400


@dataclass(frozen=True, slots=True)
class Day:
    """One UTC day: recipients ``addressed``, and how many of them were ``returned``."""

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

    @property
    def found(self) -> bool:
        return bool(self.first)


def jump(days: Sequence[Day], failed: Iterable[Failed] = ()) -> Jump:
    """The jump in ``days`` (in order), and what of ``failed`` makes it."""
    days = [d for d in days if d.addressed or d.returned][-MOST_DAYS:]
    if len(days) < 3:
        return Jump(
            "", "", "There are too few days to see a jump.", f"days with mail: {len(days)}, needed: 3", enough=False
        )
    sums = _sums(days)
    all_addressed, all_returned = sums[-1]
    best, at = 0.0, (0, 0)
    for i in range(1, len(days)):
        for j in range(i + 1, len(days) + 1):
            addressed, returned = sums[j][0] - sums[i][0], sums[j][1] - sums[i][1]
            ratio = _ratio(returned, addressed, all_returned - returned, all_addressed - addressed)
            if ratio > best:
                best, at = ratio, (i, j)
    i, j = at
    inside = rate(sums[j][1] - sums[i][1], sums[j][0] - sums[i][0])
    outside = rate(all_returned - inside.returned, all_addressed - inside.addressed)
    difference = compare(inside, outside)
    more = inside.returned - outside.rate * inside.addressed
    why = (
        f"the worst run of days has {inside.rate:.1%}, the others {outside.rate:.1%}; "
        f"log-likelihood ratio {best:.1f} (needed: {SURE:.0f}), {max(more, 0):.0f} returns more than expected "
        f"(needed: {LEAST})"
    )
    if best < SURE or more < LEAST or inside.rate < TIMES * outside.rate or difference.low < POINTS:
        return Jump("", "", "No jump: the days differ no more than chance lets them.", why)
    first, last, over = days[i].day, days[j - 1].day, j < len(days)
    reason, domain, hits, returned = _cause(list(failed), first, last, sums[-1][0] - inside.addressed, inside.addressed)
    sentence = f"This jump began on {first}" + (f" and ended after {last}" if over else "")
    sentence += f": {inside.rate:.1%} came back, {outside.rate:.1%} on the other days."
    if hits:
        sentence += f" {hits:,} of {returned:,} returns are {_what(reason, domain)}."
    return Jump(first, last, sentence, why, over, reason, domain, hits, returned)


def _what(reason: str, domain: str) -> str:
    words = f"“{plain(reason).rstrip('.')}”" if reason else ""
    return f"{words} at {domain}" if reason and domain else words or f"at {domain}"


def _sums(days: Sequence[Day]) -> list[tuple[int, int]]:
    out = [(0, 0)]
    for d in days:
        out.append((out[-1][0] + max(d.addressed, d.returned), out[-1][1] + d.returned))
    return out


def _ratio(a: int, n: int, b: int, m: int) -> float:
    """Log-likelihood ratio of two binomial rates against one; 0 unless a/n is the higher one."""
    if not n or not m or a * m <= b * n:
        return 0.0
    return _likely(a, n) + _likely(b, m) - _likely(a + b, n + m)


def _likely(a: int, n: int) -> float:
    return sum(x * log(x / n) for x in (a, n - a) if x > 0)


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
