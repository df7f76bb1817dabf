"""Permits of a worker: a server with limits (:mod:`mailops.limits`) gets one for each mail before its first byte.

A server without limits costs a look into a table in memory. Where the next permit is near, the session waits for it;
where it is far (the day's limit), the server is held until then, so that nobody leases what cannot leave. What other
processes send counts, since the permits are the store's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from sqlalchemy.engine import Engine

from ..limits import store
from ..limits.values import Own, Window, reached, windows_of
from ..model.setup import Authentication, Server, Setup
from ..ports import Clock
from ..routing import default_server
from . import holds
from .slots import account_of

FRESH = 2.0  # seconds for which limits that people set are not read again
STEP = 0.2  # seconds of a wait at a time
NEAR = 90.0  # seconds that a session waits for a permit


class Later(Exception):
    """No permit before that moment."""

    def __init__(self, full: store.Full) -> None:
        super().__init__(full.window.said)
        self.until = full.until
        self.why = f"the limit of {full.window.said} is reached"


class Reached(Exception):
    """What is beyond this limit fails; the words say what helps."""

    def __init__(self, window: Window) -> None:
        super().__init__(reached(window))


class Permits:
    """``database`` is the worker's lock on the store, ``near`` for how many seconds its sessions wait."""

    def __init__(
        self, engine: Engine, clock: Clock, database: threading.Lock, *, near: float, stopped: Callable[[], bool]
    ) -> None:
        self._engine, self._clock, self._database = engine, clock, database
        self._near, self._stopped = near, stopped
        self._own: list[Own] = []
        self._known: dict[str, tuple[float, Server, tuple[Window, ...]]] = {}
        self._read = float("-inf")

    def take(self, server: Server, setup: Setup, *, messages: int, recipients: int) -> store.Permit | None:
        """A permit, waited for where it is near; None for a server without limits. Raises :class:`Later`,
        :class:`Reached`."""
        windows = self._windows(server, setup)
        if not windows:
            return None
        counted = default_server(setup) if server.authentication is Authentication.CLI else server
        account, began = account_of(counted), self._clock.monotonic()
        while True:
            with self._database:
                now = self._clock.now()
                got = store.take(self._engine, account, windows, messages=messages, recipients=recipients, now=now)
            if isinstance(got, store.Permit):
                return got
            if got.window.fails:
                raise Reached(got.window)
            left = (got.until - now).total_seconds()
            if left > self._near - (self._clock.monotonic() - began) or self._stopped():
                raise Later(got)
            self._wait(left)

    def _wait(self, seconds: float) -> None:
        until = self._clock.monotonic() + max(seconds, 0.001)
        while (left := until - self._clock.monotonic()) > 0 and not self._stopped():
            self._clock.sleep(min(left, STEP))

    def close(self, permit: store.Permit | None) -> None:
        """The mail had its answer."""
        if permit is not None:
            with self._database:
                store.close(self._engine, permit, self._clock.now())

    def hold(self, lane: str, later: Later) -> None:
        """Hold a server until its next permit."""
        with self._database:
            now: datetime = self._clock.now()
            holds.hold_lane(self._engine, lane, later.until, why=later.why, actor="limits", now=now)

    def _windows(self, server: Server, setup: Setup) -> tuple[Window, ...]:
        now = self._clock.monotonic()
        known = self._known.get(server.key)
        if known is not None and known[0] > now and known[1] is server:
            return known[2]
        if self._read < now - FRESH:
            with self._database:
                self._own, self._read = store.own(self._engine), now
        found = windows_of(server, setup, self._own, self._clock.now())
        self._known[server.key] = (now + FRESH, server, found)
        return found
