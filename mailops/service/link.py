"""A child's end of the two pipes: it says how it is, and hears when to hold mail back, to reload and to stop."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ports import Clock
from .definitions import Service

if TYPE_CHECKING:
    import socket

    from ..ops import Ops

BEAT = 1.0
"""Seconds between two heartbeats."""
HELD = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, name))
"""Signals that a fork holds back until its child has handlers of its own."""
MOST = 4000
"""Octets of a line: a write to a pipe is whole up to 4,096 (PIPE_BUF, pipe(7)), so lines of two threads do not mix."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a whole is to do: where, with which options; ``sockets`` are the parent's, by use."""

    workspace: Path
    clock: Clock
    options: dict[str, Any] = field(default_factory=dict)
    sockets: dict[str, list[socket.socket]] = field(default_factory=dict)


class Link:
    """What a service's function is called with. :attr:`stopping` and :attr:`holding` may be asked from any thread."""

    def __init__(self, order: Order, *, hear: int, say: int, service: Service) -> None:
        self.order, self.service = order, service
        self._hear, self._say = hear, say
        self._rest = b""
        self._over = threading.Event()
        self._reload = False
        self.holding = False
        self.silence = 60.0 * service.patience
        self._every = BEAT
        os.set_blocking(say, False)
        os.set_blocking(hear, False)

    def open_ops(self) -> Ops:
        """The workspace as its settings are now. :attr:`silence` are the seconds its work may stand still."""
        from ..ops import Ops

        ops = Ops.open(self.order.workspace, clock=self.order.clock)
        silence = ops.workspace.settings.serve.silence
        self.silence, self._every = silence * self.service.patience, min(BEAT, silence / 4)
        return ops

    # --- saying -------------------------------------------------------------------------------------------------------

    def say(self, **what: Any) -> None:
        """Tell the parent. What it cannot take now is not worth waiting for."""
        line = json.dumps(what).encode()[:MOST] + b"\n"
        with contextlib.suppress(OSError):
            os.write(self._say, line)

    def beat(self) -> None:
        """It is alive, and its work moves."""
        self.say(beat=True)

    def ready(self) -> None:
        """It does what it is there for."""
        self.say(ready=True)

    # --- hearing ------------------------------------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        return self._over.is_set()

    def stop(self, *_signal: object) -> None:
        self._over.set()

    def end(self) -> None:
        """Stop, from another thread: a wait ends at once."""
        self.stop()
        with contextlib.suppress(OSError):
            os.write(self._wakes, b"\0")

    def reload(self, *_signal: object) -> None:
        self._reload = True

    def take_reload(self) -> bool:
        """Whether to read the settings anew; asked once for each time."""
        wanted, self._reload = self._reload, False
        return wanted

    def catch_signals(self) -> None:
        """SIGTERM stops, SIGHUP reloads; SIGINT, which a terminal sends to all of them, is the parent's. They were held
        back since the fork, so that none is lost; one that comes ends a wait at once."""
        self._woken, self._wakes = os.pipe()
        for descriptor in (self._woken, self._wakes):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(self._wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGHUP, self.reload)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)

    def hear(self) -> None:
        """Take in what the parent said; its end is ours."""
        with contextlib.suppress(BlockingIOError):
            while True:
                got = os.read(self._hear, 4096)
                if not got:
                    self.stop()
                    return
                *lines, self._rest = (self._rest + got).split(b"\n")
                for line in lines:
                    self.holding = line == b"hold"

    def wait(self, seconds: float, trouble: Callable[[], str] = str) -> None:
        """Beat and hear until told to stop, for so many seconds at most. ``trouble`` says why its work does not move:
        then the parent hears that instead of a beat, and ends this process."""
        clock = self.order.clock
        until = clock.monotonic() + seconds
        while not self.stopping:
            if why := trouble():
                self.say(stuck=why)
            else:
                self.beat()
            left = until - clock.monotonic()
            if left <= 0:
                return
            with contextlib.suppress(InterruptedError):
                select.select([self._hear, self._woken], [], [], min(left, self._every))
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 4096)
            self.hear()
