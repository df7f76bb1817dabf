"""The octets of large mails that may be under way at one time, so that memory has a bound whatever clients do.

A mail up to :data:`SMALL` passes; a larger one reserves what its client announced (RFC 1870) before it is asked for,
and waits its turn: slow, not refused. One that is larger than the whole budget goes alone.
"""

from __future__ import annotations

import asyncio
from collections import deque

SMALL = 256 * 1024


class Budget:
    """Octets to give out; owned by one event loop."""

    def __init__(self, octets: int) -> None:
        self.octets = octets
        self.used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, octets: int, patience: float) -> bool:
        """Reserve; False when there was no room within ``patience`` seconds. Pair True with :meth:`give_back`."""
        if octets <= 0:
            return True
        if not self._waiting and self._fits(octets):
            self.used += octets
            return True
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (octets, turn)
        self._waiting.append(place)
        try:
            await asyncio.wait_for(turn, patience)
        except TimeoutError:
            return False
        finally:
            if place in self._waiting:
                self._waiting.remove(place)
        return True

    def give_back(self, octets: int) -> None:
        """Octets that are free again; the longest waiting go on."""
        self.used -= max(0, octets)
        while self._waiting and self._fits(self._waiting[0][0]):
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                self.used += wanted
                turn.set_result(None)

    def _fits(self, octets: int) -> bool:
        return self.used == 0 or self.used + octets <= self.octets
