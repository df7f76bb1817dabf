"""Limits as values: windows of a server, and what follows of what left in them.

A window is rolling: at no moment may more than ``count`` have left within the ``seconds`` before. What is under way
counts as long as it is, and from its answer on for a whole window, so that the other end, which counts somewhere in
between, never counts more. The hosted server's day is not rolling: it starts anew at its hour.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..errors import InputRefused
from ..model.setup import Server, Setup
from ..model.text import counted
from ..providers.rules import PROVIDERS, provider_of_host
from ..routing.usage import RESET, daily_limit, is_hosted, next_reset

SPANS = {"minute": 60.0, "hour": 3600.0, "day": 86_400.0}
UNITS = ("messages", "recipients")
DAY = SPANS["day"]


@dataclass(frozen=True, slots=True)
class Window:
    """At most ``count`` ``of`` (messages, recipients) within ``seconds``; ``source`` is ``own``, a provider's name or
    ``policy``. With ``since`` it began then and ends after its seconds; ``fails`` says that what is beyond it fails."""

    of: str
    count: int
    seconds: float
    source: str
    since: datetime | None = None
    fails: bool = False

    @property
    def span(self) -> str:
        """``a minute``, ``in 20 seconds``."""
        named = next((name for name, seconds in SPANS.items() if seconds == self.seconds), None)
        return f"a{'n' if named == 'hour' else ''} {named}" if named else f"in {self.seconds:g} seconds"

    @property
    def said(self) -> str:
        """``30 messages a minute (own)``."""
        return f"{counted(self.count, self.of[:-1])} {self.span} ({self.source})"

    def begin(self, now: datetime) -> datetime:
        """From when on what left counts now."""
        return self.since if self.since is not None else now - timedelta(seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class Own:
    """A limit that a person set for a server; ``count`` 0 = there is none, whatever the provider says."""

    server: str
    of: str
    seconds: float
    count: int


def own_of(text: str) -> Own:
    """A limit as it is typed: ``main=30/minute``, ``main=500r/day`` (recipients), ``main=10/90`` (seconds). Raises
    :class:`InputRefused`.

    >>> own_of("main=500r/day")
    Own(server='main', of='recipients', seconds=86400.0, count=500)
    """
    server, _, rest = text.partition("=")
    count, _, per = rest.partition("/")
    of = "recipients" if count.endswith("r") else "messages"
    digits = count.removesuffix("r")
    span = SPANS.get(per, float(per) if per.isascii() and per.isdigit() and len(per) < 8 else 0.0)
    if not (server and digits.isascii() and digits.isdigit() and len(digits) < 9 and span >= 1):
        raise InputRefused(
            f"{text[:60]!r} is no limit.",
            code="limits.invalid",
            facts={"given": text[:100], "units": list(UNITS), "spans": list(SPANS)},
            fix="Write it as main=30/minute, main=500r/day (recipients) or main=10/90 (seconds).",
        )
    return Own(server, of, span, int(digits))


def windows_of(server: Server, setup: Setup, own: Iterable[Own], now: datetime) -> tuple[Window, ...]:
    """The windows that a server is held to: its own, its provider's that hold for everybody (what depends on a plan is
    for a person to set), and for the hosted one the day's policy; the shortest first."""
    found: dict[tuple[str, float], Window] = {}
    provider = PROVIDERS.get(server.provider or "") or provider_of_host(server.host)
    for limit in provider.limits if provider else ():
        if limit.per in SPANS and limit.of in UNITS and not limit.plan:
            made = Window(limit.of, limit.count, SPANS[limit.per], provider.name if provider else "")
            found[made.of, made.seconds] = made
    for one in own:
        if one.server == server.key:
            found[one.of, one.seconds] = Window(one.of, one.count, one.seconds, "own")
    windows = [window for window in found.values() if window.count > 0]
    if is_hosted(server, setup) and (limit_of_day := daily_limit(setup)) is not None:
        since = next_reset(now) - timedelta(days=1)
        windows.append(Window("recipients", limit_of_day, DAY, "policy", since, fails=True))
    return tuple(sorted(windows, key=lambda window: window.seconds))


def conditional(server: Server) -> tuple[str, ...]:
    """Limits of the provider that depend on the plan, in words: not obeyed until somebody says which one holds."""
    provider = PROVIDERS.get(server.provider or "") or provider_of_host(server.host)
    hosted = (server.provider or "") == "hosted"
    return (
        tuple(one.said for one in provider.limits if one.per in SPANS and one.plan) if provider and not hosted else ()
    )


def frees_at(
    window: Window, uses: Iterable[tuple[datetime, int]], need: int, now: datetime, *, total: int | None = None
) -> datetime:
    """When ``need`` more fit into a window; ``uses`` are what left in it (when answered, how many), oldest first, and
    ``total`` their sum, where it is known.

    A mail that is more than the whole window waits until it is empty.

    >>> from datetime import UTC
    >>> at = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
    >>> frees_at(Window("messages", 2, 60, "own"), [(at, 1), (at + timedelta(seconds=5), 1)], 1, at).second
    0
    >>> frees_at(Window("messages", 2, 60, "own"), [(at, 1), (at + timedelta(seconds=5), 1)], 2, at).second
    5
    """
    total = sum(units for _, units in uses) if total is None else total
    room = max(window.count, need) - need
    if total <= room:
        return now
    if window.since is not None:
        return window.since + timedelta(seconds=window.seconds)
    for at, units in uses:
        total -= units
        if total <= room:
            return at + timedelta(seconds=window.seconds)
    return now


@dataclass(frozen=True, slots=True)
class Forecast:
    """How what waits for a server will leave: ``today`` and ``later`` are units, ``reached`` when the window is full,
    ``again`` when the next may leave after that, ``empty`` when the last one may."""

    waiting: int
    leaves_before: int
    later: int
    reached: datetime | None
    again: datetime | None
    empty: datetime | None

    @property
    def sentence(self) -> str:
        if not self.waiting:
            return "Nothing waits for it."
        if self.later == 0 or self.again is None:
            return f"What waits ({self.waiting:,}) fits within the limits."
        reached = f"reached at {_clock(self.reached)}; " if self.reached else ""
        return f"{reached}{self.later:,} leave from {_clock(self.again)}, the last about {_clock(self.empty)}."


def forecast(
    windows: Sequence[Window], used: Sequence[Sequence[tuple[datetime, int]]], waiting: int, now: datetime
) -> Forecast:
    """By the window that takes longest: what fits now, and when the rest leaves, as far as limits alone decide.
    ``used`` are the uses of each window, oldest first; a mail counts as one unit."""
    worst = Forecast(waiting, waiting, 0, None, None, None)
    for window, uses in zip(windows, used, strict=True):
        room = max(window.count - sum(units for _, units in uses), 0)
        later = max(waiting - room, 0)
        if not later:
            continue
        again = frees_at(window, [*uses, (now, min(room, waiting))], 1, now)
        span = timedelta(seconds=window.seconds)
        empty = again + span * ((later - 1) // window.count)
        if worst.empty is None or empty > worst.empty:
            worst = Forecast(waiting, waiting - later, later, now, again, empty)
    return worst


def _clock(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else "-"


WAYS = (
    "ask support for a higher limit (mailops limits request fills the request in)",
    "use an external outgoing server, which is independent of it",
    f"wait until it starts anew at {RESET:%H:%M} UTC, then press Retry beside the mail (mailops queue retry)",
)
"""The three ways out of the daily limit (LIM-03)."""
WHY = (
    "The hosted server has a daily limit because providers blacklist a server that sends to addresses which are dead, "
    "or spam."
)
"""Why there is one (LIM-01)."""


def reached(window: Window) -> str:
    """What a mail beyond the day's limit is told."""
    return f"The daily limit of {counted(window.count, 'mail')} is reached. {WHY} Three ways: {'; '.join(WAYS)}"
