"""Limits as one object to hold: what each server may still send, when what waits will leave, limits of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..errors import InputRefused, NotFound
from ..limits import store
from ..limits.values import SPANS, UNITS, Forecast, Own, Window, conditional, forecast, frees_at, windows_of
from ..model.setup import DEFAULT_KEY, Authentication, Server, Setup
from ..ports import Clock
from ..routing import default_server
from ..store import schema
from ..store.database import explained, reading
from . import holds
from .slots import account_of, sessions_for

if TYPE_CHECKING:
    import pandas as pd

m = schema.mails
MOST = 10_000_000


@dataclass(frozen=True, slots=True)
class WindowUse:
    """A window with what is used of it; ``room_at`` is when the next unit fits."""

    of: str
    count: int
    seconds: float
    source: str
    said: str
    used: int
    remaining: int
    room_at: datetime


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """A server's limits: its windows, connections, what waits for it, the forecast, and the hold that it is under.
    ``by_plan`` are limits of its provider that are not obeyed until somebody sets the one that holds."""

    server: str
    connections: int
    windows: tuple[WindowUse, ...]
    by_plan: tuple[str, ...]
    waiting: int
    forecast: Forecast
    sentence: str
    held_until: datetime | None
    held_why: str


class Allowance:
    """The limits of a store. ``to_come`` gives by server what campaigns have not handed over yet."""

    def __init__(
        self,
        engine: Callable[[], Engine],
        *,
        setup: Callable[[], Setup],
        clock: Clock,
        to_come: Callable[[], Mapping[str, int]],
    ) -> None:
        self._engine, self._setup, self._clock, self._to_come = engine, setup, clock, to_come

    def report(self) -> list[ServerLimits]:
        """Every active server (the default one, where there is none) with its limits now."""
        setup, now = self._setup(), self._clock.now()
        servers = [one for one in setup.servers if one.active]
        if not servers:
            default = default_server(setup)
            servers = [default] if default.host or setup.profile.hosted else []
        own, waiting = store.own(self._engine()), self._waiting()
        held = {one.server: one for one in holds.active_lanes(self._engine(), now=now)}
        for key, number in self._to_come().items():
            waiting[key] = waiting.get(key, 0) + number
        return [
            self._of(server, setup, own, waiting.get(server.key, 0), held.get(server.key), now) for server in servers
        ]

    def frame(self) -> pd.DataFrame:
        """The windows of all servers as a pandas frame."""
        import pandas as pd

        heads = ["server", "of", "count", "seconds", "source", "used", "remaining", "room_at"]
        found = [
            {"server": one.server, **{n: getattr(w, n) for n in heads[1:]}}
            for one in self.report()
            for w in one.windows
        ]
        return pd.DataFrame(found, columns=heads)

    def _of(
        self, server: Server, setup: Setup, own: list[Own], waiting: int, held: holds.LaneHold | None, now: datetime
    ) -> ServerLimits:
        windows = windows_of(server, setup, own, now)
        counted = default_server(setup) if server.authentication is Authentication.CLI else server
        used = store.used(self._engine(), account_of(counted), windows, now)
        told = forecast(windows, used, waiting, now)
        sentence = f"Held until {held.until:%Y-%m-%d %H:%M} UTC: {held.why}. " if held else ""
        set_by_hand = any(one.server == server.key for one in own)
        return ServerLimits(
            server.key,
            sessions_for(server),
            tuple(_use(window, uses, now) for window, uses in zip(windows, used, strict=True)),
            () if set_by_hand else conditional(server),
            waiting,
            told,
            sentence + told.sentence,
            held.until if held else None,
            held.why if held else "",
        )

    def _waiting(self) -> dict[str, int]:
        query = sa.select(m.c.lane, sa.func.count()).where(m.c.state == "outgoing").group_by(m.c.lane)
        with explained("counting what waits"), reading(self._engine()) as connection:
            return {str(lane): int(number) for lane, number in connection.execute(query)}

    def set(self, server: str, *, count: int, of: str = "messages", per: str | float = "minute") -> Own:
        """Hold a server to ``count`` messages or recipients in a minute, hour, day, or so many seconds (0: to none,
        whatever its provider says). It counts a few seconds later. Raises :class:`InputRefused`, :class:`NotFound`.
        """
        self._known(server)
        try:
            seconds = SPANS[per] if isinstance(per, str) and per in SPANS else float(per)
        except ValueError:
            seconds = -1.0
        if of not in UNITS or not 0 <= count <= MOST or not 1 <= seconds <= 31 * SPANS["day"]:
            raise InputRefused(
                "This is no limit that can be kept.",
                code="limits.invalid",
                facts={"count": count, "of": of, "per": per, "units": list(UNITS), "spans": list(SPANS)},
                fix="Give a count from 0 of messages or recipients, and minute, hour, day or 1 to 2,678,400 seconds.",
            )
        made = Own(server, of, seconds, count)
        store.put(self._engine(), made, self._clock.now())
        holds.end_lane(self._engine(), server)  # it is judged anew
        return made

    def _known(self, server: str) -> None:
        keys = [one.key for one in self._setup().servers]
        if server not in (*keys, DEFAULT_KEY):
            raise NotFound(
                f"There is no outgoing server {server!r}.",
                code="limits.server_unknown",
                facts={"server": server, "servers": keys},
                fix="mailops server list shows them.",
            )

    def clear(self, server: str) -> int:
        """Forget what was set for a server; its provider's limits hold again. How many there were. Raises
        :class:`NotFound` for a server that is none and was none."""
        done = store.clear(self._engine(), server)
        if not done:
            self._known(server)
        holds.end_lane(self._engine(), server)
        return done

    def hold(self, server: str, until: datetime | timedelta, *, why: str = "", actor: str = "") -> holds.LaneHold:
        """Let what waits for a server wait. Raises :class:`NotFound`."""
        self._known(server)
        now = self._clock.now()
        at = now + until if isinstance(until, timedelta) else until
        return holds.hold_lane(self._engine(), server, at, why=why, actor=actor or None, now=now)

    def release(self, server: str) -> bool:
        """End a server's hold; whether there was one."""
        return holds.end_lane(self._engine(), server)


def _use(window: Window, uses: list[tuple[datetime, int]], now: datetime) -> WindowUse:
    total = sum(units for _, units in uses)
    room = frees_at(window, uses, 1, now)
    said = (window.of, window.count, window.seconds, window.source, window.said)
    return WindowUse(*said, total, max(window.count - total, 0), room)
