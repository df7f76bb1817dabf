"""The analyst as one object to hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.engine import Engine

from ..ports import Clock

if TYPE_CHECKING:
    import pandas as pd

    from .bounce_rate import Rate


class Analysis:
    """pandas answers about what was sent and what came back."""

    def __init__(self, engine: Engine, *, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def bounce_rate(self, by: str = "domain", since: str | None = "30d") -> pd.DataFrame:
        """Bounce rates with intervals, grouped ``by`` domain, server, sender, class, day or all; the worst first."""
        from .bounce_rate import bounce_rate

        return bounce_rate(self._engine, by=by, since=since, now=self._clock.now())

    def overall(self, since: str | None = "30d") -> Rate:
        """The bounce rate of everything sent since then."""
        from .bounce_rate import rate

        frame = self.bounce_rate("all", since)
        if frame.empty:
            return rate(0, 0)
        return rate(int(frame["returned"].iloc[0]), int(frame["addressed"].iloc[0]))

    def causes(self, since: str | None = "30d") -> pd.DataFrame:
        """Why mail failed: reason, plain words, hard or soft, recipients, domains; the most frequent first."""
        from .causes import causes

        return causes(self._engine, since=since, now=self._clock.now())

    def volume(self, since: str | None = "30d") -> pd.DataFrame:
        """Recipients per UTC day and outcome: columns day, sent, failed, deferred, bounced."""
        from .causes import volume

        return volume(self._engine, since=since, now=self._clock.now())
