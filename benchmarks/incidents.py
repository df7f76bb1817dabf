"""Plants incidents in years of traffic, and counts what the daily look at the bounce rate says.

    python -P benchmarks/incidents.py quiet --seeds 20 --step 1
    python -P benchmarks/incidents.py planted --seeds 20

``quiet`` plays years in which nothing happens, of eight kinds, and prints the new alarms a year with a 95 % interval
over the seeds. ``planted`` plays 20 incidents and prints how many were found, after how many days, whether the first
day was right within one, and whether the alarm still stood 60 days later where the incident did; the share that was
found in time with Wilson's 95 % interval. ``make incidents`` runs both as tests, over the same seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from math import sqrt
from statistics import mean, stdev

import numpy as np

from mailops.analysis.jump import Day, jump
from mailops.analysis.share import rate
from mailops.analysis.trend import FALSE, HISTORY

YEAR, WARM = 365, 120
BEGIN = WARM + 58  # a Thursday
START = date(2026, 1, 5)


def day(number: int) -> str:
    return (START + timedelta(days=number)).isoformat()


@dataclass
class World:
    """Sendings of each day, and of these what comes back after so many days: ``back[day][lag]``."""

    sent: np.ndarray
    back: np.ndarray

    def seen(self, today: int) -> list[Day]:
        """What is known in the evening of a day."""
        first = max(0, today - HISTORY - 29)
        rows = []
        for at in range(first, today + 1):
            rows.append(Day(day(at), int(self.sent[at]), int(self.back[at, : today - at + 1].sum())))
        return rows


LAGS = np.array([0.6, 0.2, 0.1, 0.05, 0.03, 0.02])


def made(
    chance: np.random.Generator,
    volume: Callable[[int], float],
    share: Callable[[int], float],
    *,
    spread: float = 0.2,
    clump: int = 1,
    lags: Callable[[int], np.ndarray] = lambda _: LAGS,
) -> World:
    """A year of mail: ``spread`` is how much the rate differs by day, ``clump`` how many come back together."""
    days = WARM + YEAR + 70
    sent = np.zeros(days, int)
    back = np.zeros((days, len(LAGS)), int)
    for at in range(days):
        sent[at] = chance.poisson(volume(at))
        noise = chance.gamma(1 / spread**2, spread**2) if spread else 1.0
        rate = min(share(at) * noise, 1.0)
        number = min(int(chance.binomial(max(sent[at] // clump, 0), rate)) * clump, sent[at])
        back[at] = chance.multinomial(number, lags(at))
    return World(sent, back)


def weekday(at: int, weekend: float = 0.3) -> float:
    return weekend if (START + timedelta(days=at)).weekday() >= 5 else 1.0


QUIET: dict[str, Callable[[np.random.Generator], World]] = {
    "2,000 a day, 2 %": lambda c: made(c, lambda d: 2000 * weekday(d), lambda d: 0.02),
    "200 a day, 2 %": lambda c: made(c, lambda d: 200 * weekday(d), lambda d: 0.02),
    "20,000 a day, days differ by 30 %": lambda c: made(c, lambda d: 20000, lambda d: 0.02, spread=0.3),
    "20,000 a day, days differ by 50 %": lambda c: made(c, lambda d: 20000, lambda d: 0.02, spread=0.5),
    "clumps of three": lambda c: made(c, lambda d: 2000, lambda d: 0.02, clump=3),
    "a newsletter on Tuesdays": lambda c: made(
        c,
        lambda d: 8000 if (START + timedelta(days=d)).weekday() == 1 else 1000,
        lambda d: 0.035 if (START + timedelta(days=d)).weekday() == 1 else 0.015,
    ),
    "weekends have 2.5 times the rate": lambda c: made(
        c, lambda d: 2000 * weekday(d), lambda d: 0.05 if weekday(d) < 1 else 0.02
    ),
    "a season: volume and rate rise and fall": lambda c: made(
        c,
        lambda d: 2000 * (2 - np.cos(2 * np.pi * d / 365)),
        lambda d: 0.02 * (1.3 - 0.3 * np.cos(2 * np.pi * d / 365)),
    ),
}


@dataclass(frozen=True)
class Planted:
    """One incident: from day 0 on (for ``lasts`` days) the rate is ``share`` above the usual one. ``domain``: where one
    is at fault, its share of the mail, and how much of that it refuses; each is looked at by itself too."""

    name: str
    volume: float
    usual: float
    share: Callable[[int], float]
    lasts: int
    late: int = 0
    drift: bool = False
    domain: tuple[float, float] = (0.0, 0.0)


PLANTED = [
    Planted("a domain of 20 % refuses 60 %", 2000, 0.02, lambda n: 0.12, 500, domain=(0.2, 0.6)),
    Planted("the same, for 4 days", 2000, 0.02, lambda n: 0.12, 4, domain=(0.2, 0.6)),
    Planted("the same, 200 a day", 200, 0.02, lambda n: 0.12, 500, domain=(0.2, 0.6)),
    Planted("a domain of 2.8 % refuses 90 %", 2000, 0.02, lambda n: 0.025, 500, domain=(0.028, 0.9)),
    Planted("a domain of 5 % refuses all", 2000, 0.02, lambda n: 0.05, 500, domain=(0.05, 1.0)),
    Planted("a domain of 5 % refuses all, 200 a day", 200, 0.02, lambda n: 0.05, 500, domain=(0.05, 1.0)),
    Planted("a server loses 30 %, told after 2 days", 2000, 0.02, lambda n: 0.30, 500, late=2),
    Planted("the same, 200 a day", 200, 0.02, lambda n: 0.30, 500, late=2),
    Planted("the same, for 6 days", 2000, 0.02, lambda n: 0.30, 6, late=2),
    Planted("a server loses 10 %, told after 3 days", 2000, 0.02, lambda n: 0.10, 500, late=3),
    Planted("SPF lost, a quarter of 25 %", 2000, 0.02, lambda n: 0.06, 500),
    Planted("SPF lost, 200 a day", 200, 0.02, lambda n: 0.08, 500),
    Planted("a huge domain, 3 % by policy", 2000, 0.02, lambda n: 0.035, 500),
    Planted("an old list in one day", 2000, 0.02, lambda n: 0.08, 1),
    Planted("an old list in one day, 200 a day", 200, 0.02, lambda n: 0.14, 1),
    Planted("everything is refused", 2000, 0.02, lambda n: 1.0, 500),
    Planted("everything is refused for a day", 200, 0.02, lambda n: 1.0, 1),
    Planted("a blocklist, half of the mail", 2000, 0.02, lambda n: 0.5, 10),
    Planted("three times as many, 20,000 a day", 20000, 0.01, lambda n: 0.03, 500),
    Planted("a drift from 1.2 to 3.6 % in 60 days", 2000, 0.012, lambda n: min(0.024 * n / 60, 0.024), 500, drift=True),
]


def looks(world: World, days: range, step: int = 1, *, of: int = 1) -> Iterator[tuple[int, str, bool]]:
    """(day, first day of the jump or "", whether it is over) of a daily look at 30 days, at one of ``of`` rows."""
    for today in days[::step]:
        seen = jump(world.seen(today), since=day(today - 29), mature=day(today - 3))
        told = of == 1 or seen.chance * of <= FALSE
        yield today, seen.first if told else "", seen.over


def alarms(kind: str, seed: int, step: int = 1) -> int:
    """New alarms of one quiet year."""
    up, number = False, 0
    for _, first, over in looks(QUIET[kind](np.random.default_rng(seed)), range(WARM, WARM + YEAR), step):
        going_on = bool(first) and not over
        number += going_on and not up
        up = going_on
    return number


def half(values: list[int]) -> float:
    """Half of the 95 % interval of a mean."""
    return 1.96 * stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0


def quiet(seeds: int, step: int) -> None:
    print(f"new alarms a year in quiet years, a look every {step} day(s), {seeds} seeds; mean and 95 % interval")
    for kind in QUIET:
        found = [alarms(kind, seed, step) for seed in range(seeds)]
        print(f"{kind:42} {mean(found):5.2f} ± {half(found):.2f}   at most {max(found)}", flush=True)


DOMAINS = 100
"""Domains that are looked at: what is told of one must be so much clearer."""


def struck_domain(one: Planted, seed: int) -> World:
    """The year of the domain at fault."""
    part, refused = one.domain
    inside = range(BEGIN, BEGIN + one.lasts)
    return made(
        np.random.default_rng(seed + 10_000),
        lambda d: one.volume * part * weekday(d),
        lambda d: refused if d in inside else one.usual,
    )


def struck(one: Planted, seed: int) -> World:
    """A year with this incident in it."""
    lag = np.zeros(len(LAGS))
    lag[one.late] = 1.0
    inside = range(BEGIN, BEGIN + one.lasts)
    return made(
        np.random.default_rng(seed),
        lambda d: one.volume * weekday(d),
        lambda d: one.usual + one.share(d - BEGIN) if d in inside else one.usual,
        lags=lambda d: lag if one.late and d in inside else LAGS,
    )


@dataclass(frozen=True)
class Seen:
    """What was told of one planted incident: after how many days (None: never), whether in time (two days after it can
    be seen), with the first day right within one, and still 60 days later (None: it was over by then)."""

    delay: int | None
    in_time: bool
    right: bool
    still: bool | None


def seen(one: Planted, seed: int) -> Seen:
    """Look each day at a year with this incident, until it is told, and three days after."""
    rows = [(struck(one, seed), 1), *([(struck_domain(one, seed), DOMAINS)] if one.domain[0] else [])]

    def told(today: int) -> list[str]:
        """The first days that are told on a day, of what is going on."""
        found = [next(looks(world, range(today, today + 1), of=of)) for world, of in rows]
        return [first for _, first, over in found if first and not over]

    up = next((n for n in range(BEGIN, BEGIN + 45) if told(n)), None)
    delay = up - BEGIN if up is not None else None
    firsts = [next(looks(world, range(up + 3, up + 4), of=of))[1] for world, of in rows] if up is not None else []
    wrong = [abs((date.fromisoformat(first) - date.fromisoformat(day(BEGIN))).days) for first in firsts if first]
    right = bool(wrong) and min(wrong) <= 1
    later = [bool(told(BEGIN + 60))] if one.lasts > 60 else []
    return Seen(delay, delay is not None and delay <= one.late + 2, right, any(later) if one.lasts > 60 else None)


def planted(seeds: int) -> None:
    print(f"incidents, {seeds} seeds: found; within two days of what can be seen; delay, first day right, still told")
    for one in PLANTED:
        found = [seen(one, seed) for seed in range(seeds)]
        delays = [x.delay for x in found if x.delay is not None]
        in_time, stays = rate(sum(x.in_time for x in found), seeds), [x.still for x in found if x.still is not None]
        print(
            f"{one.name:42} {len(delays):3} of {seeds}   in time {in_time.rate:4.0%} "
            f"({in_time.low:.0%}–{in_time.high:.0%})  {f'{min(delays)}–{max(delays)}' if delays else '–':>6} days   "
            f"first day {sum(x.right for x in found)}   {f'{sum(stays)} of {seeds}' if stays else '–'}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("what", choices=["quiet", "planted"])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--step", type=int, default=1)
    wanted = parser.parse_args()
    quiet(wanted.seeds, wanted.step) if wanted.what == "quiet" else planted(wanted.seeds)


if __name__ == "__main__":
    main()
