"""The analyst as one object to hold."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy.engine import Engine

from ..ports import Clock

if TYPE_CHECKING:
    import pandas as pd

    from .addresses import Counted
    from .causes import Failure, Split
    from .compare import Comparison
    from .jump import Jump
    from .relief import Relief
    from .share import Rate
    from .sql import Period
    from .trend import Incident
    from .unexplained import Recurring


class Analysis:
    """pandas answers about what was sent and what came back.

    ``since`` is 30d, 12w or a date; empty or None = everything. ``by`` and ``value`` pick one group: all, domain,
    provider (of the mailboxes, by MX), address, server, sender, class, campaign (its key), reason, day or week, such
    as ``by="domain", value="x.example"``. ``provider`` says whose mailboxes domains are.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Clock,
        zone: str = "UTC",
        provider: Callable[[Sequence[str]], Mapping[str, str]] | None = None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._zone = zone
        self._provider = provider

    def period(self, since: str | None = "30d") -> Period:
        """The days from then until now."""
        from .counting import period_of

        return period_of(since, self._clock.now(), self._zone)

    def bounce_rate(self, by: str = "domain", since: str | None = "30d") -> pd.DataFrame:
        """Bounce rates with intervals, grouped ``by`` domain, provider, server, sender, class, campaign, reason, day,
        week or all; the worst first."""
        from .bounce_rate import bounce_rate

        period, now = self.period(since), self._clock.now()
        of = "domain" if by == "provider" else by
        people = self._people.by(of, period) if of in ("domain", "server", "sender", "class", "campaign") else None
        return bounce_rate(self._engine, by=by, now=now, period=period, people=people, provider=self._provider)

    def _picked(self, by: str, value: str, period: Period) -> tuple[str, str]:
        """A group as the database knows it: a provider is its domains."""
        if by != "provider":
            return by, value
        domains = sorted(self._people.by("domain", period))
        of = self._provider(domains) if self._provider else {}
        return "domains", " ".join(domain for domain in domains if of.get(domain, domain) == value)

    @cached_property
    def _people(self) -> Counted:
        from .addresses import Counted

        return Counted(self._engine)

    def relief(
        self, users: Collection[str] | int | None = None, since: str | None = "30d", *, limit: int | None = None
    ) -> Relief:
        """What the daily ``limit`` is spared when ``users`` (addresses, so many of those who get most, None: all) read
        their notifications in the app."""
        from .relief import relief

        return relief(self._engine, self.period(since), self._clock.now(), users=users, limit=limit)

    def relay(self, since: str | None = "7d") -> pd.DataFrame:
        """What programs handed over to ``mailops serve``: a row for each login, the most first."""
        from .relay import by_login

        return by_login(self._engine, self.period(since))

    def overall(self, since: str | None = "30d") -> Rate:
        """The bounce rate of everything sent since then, in sendings."""
        return self._overall(self.period(since))

    def _overall(self, period: Period) -> Rate:
        from .counting import counters
        from .share import rate

        found: dict[str, int] = {}
        for _, outcome, number in counters(self._engine, None, period, self._clock.now()):
            found[outcome] = found.get(outcome, 0) + number
        back = found.get("failed", 0) + found.get("bounced", 0)
        return rate(back, back + found.get("sent", 0), effect=self._people.all(period).effect)

    def addresses(self, since: str | None = "30d") -> Rate:
        """The share of addresses whose mail was returned, each address counted once."""
        return self._people.all(self.period(since)).back_rate

    def hard(self, since: str | None = "30d") -> Rate:
        """The share of addresses whose mail was returned for good: what the limits of sending services count."""
        return self._people.all(self.period(since)).dead_rate

    def compared(self, since: str | None = "30d") -> Comparison:
        """The rate against that of the period before, of the same length."""
        from .compare import compare
        from .share import rate

        period = self.period(since)
        before = period.before(self._clock.now())
        return compare(self._overall(period), self._overall(before) if before else rate(0, 0))

    def trend(self, since: str | None = "30d", by: str = "day") -> pd.DataFrame:
        """Rates by ``day`` or ``week``; a bounce counts on the day its mail was sent."""
        from .trend import trend

        return trend(self._engine, period=self.period(since), now=self._clock.now(), by=by)

    def jump(self, since: str | None = "30d") -> Jump:
        """Since when the rate is up, of what and where; or that it is not."""
        from .trend import notice

        return notice(self._engine, period=self.period(since), now=self._clock.now())

    def incidents(self, since: str | None = "30d") -> list[Incident]:
        """Jumps that are going on in single recipient domains, servers and sender domains, the clearest first."""
        from .trend import incidents

        return incidents(self._engine, period=self.period(since), now=self._clock.now())

    def causes(self, since: str | None = "30d", *, by: str = "all", value: str = "") -> pd.DataFrame:
        """Why mail failed: reason, plain words, hard or soft, recipients, domains; the most frequent first."""
        from .causes import causes

        period = self.period(since)
        by, value = self._picked(by, value, period)
        return causes(self._engine, now=self._clock.now(), period=period, by=by, value=value)

    def split(self, since: str | None = "30d", *, by: str = "all", value: str = "") -> Split:
        """Hard and soft, refused at once and bounced later."""
        from .causes import split

        period = self.period(since)
        by, value = self._picked(by, value, period)
        return split(self._engine, period=period, by=by, value=value)

    def failures(
        self,
        since: str | None = "30d",
        *,
        by: str = "all",
        value: str = "",
        offset: int = 0,
        limit: int = 25,
        only: tuple[str, ...] = (),
    ) -> tuple[list[Failure], int]:
        """Single failures, newest first, and the number of all."""
        from .causes import failure_page

        period = self.period(since)
        by, value = self._picked(by, value, period)
        return failure_page(self._engine, period=period, by=by, value=value, offset=offset, limit=limit, only=only)

    def failure(self, event_id: int) -> Failure:
        """One failure, with its sender's domain and its report."""
        from .causes import failure

        return failure(self._engine, event_id)

    def failures_of(self, mail_id: int) -> list[Failure]:
        """The last failure of each recipient of a mail, also of one that is gone."""
        from .causes import failures_of

        return failures_of(self._engine, mail_id)

    def recurring(self) -> list[Recurring]:
        """Addresses and domains whose unexplained failures are a matter for support."""
        from .unexplained import recurring

        return recurring(self._engine, now=self._clock.now())

    def unexplained_senders(self, days: int = 7) -> list[tuple[str, int]]:
        """The From domains of the last days' unexplained failures: whose DNS to look at."""
        from .unexplained import senders

        return senders(self._engine, since=self._clock.now() - timedelta(days=days))

    def volume(self, since: str | None = "30d") -> pd.DataFrame:
        """Sendings per day they left, by last outcome: columns day, sent, failed, deferred, bounced,
        undelivered (not handed over)."""
        from .causes import volume

        return volume(self._engine, period=self.period(since), now=self._clock.now())
