"""The parent: starts the services, hears their heartbeats, ends what hangs, starts again what ended, stops with all.

It has one thread and opens no store, so there is little in it that could break, and it may fork at any time. Every
decision is :func:`mailops.service.decide.choose`. How things stand is written to ``serve.json`` (of ``mailops worker``:
``worker.json``) at each change, and every two seconds besides; a lock beside it keeps a second parent out.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import MailopsError, StateConflict
from ..locks import try_lock
from ..model.running import STATE, Listening, Running, ServiceState, listening_from, read_running
from .decide import HOLD_AFTER, STEADY, Seen, choose, counted, ended_how, pause
from .definitions import Service
from .link import HELD, Link, Order

log = logging.getLogger(__name__)
RUNS_HOLD_AFTER = 3
"""Runs of the queue in a row that may end with an error before no mail is taken any more."""
WRITE_EVERY, TICK = 2.0, 0.25
MARGIN = 6.0
"""Seconds over the grace period that a service gets to stop before it is ended."""


@dataclass
class _Child:
    """What the parent knows of one service. Times without a name are monotonic seconds."""

    service: Service
    pid: int | None = None
    hear: int = -1
    say: int = -1
    rest: bytes = b""
    since: datetime | None = None
    heard_at: datetime | None = None
    began: float = 0.0
    up_since: float = 0.0
    heard: float = 0.0
    ending: float | None = None
    due: float = 0.0
    ready: bool = False
    ever: bool = False  # it was ready once
    failures: int = 0
    restarts: int = 0
    said: str = ""  # what this one said of its end
    stuck: bool = False
    error: str = ""
    refused: dict[str, Any] | None = None

    def state(self) -> ServiceState:
        return ServiceState(
            self.service.name,
            self.pid,
            self.since,
            self.heard_at,
            self.ready and self.pid is not None,
            self.failures,
            self.restarts,
            self.error,
        )


class Supervisor:
    """Runs ``services`` until told to stop, or for ``seconds``. ``settings`` gives grace period and silence, both in
    seconds, and is asked again at SIGHUP."""

    def __init__(
        self,
        services: Sequence[Service],
        order: Order,
        *,
        settings: Callable[[], tuple[float, float]],
        kind: str = "serve",
        state: str = STATE,
    ) -> None:
        self._children = [_Child(service) for service in services]
        self._order = order
        self._settings = settings
        self._grace, self._silence = settings()
        self._kind = kind
        self._file = order.workspace / state
        self._lock = -1
        self._over = False
        self._hup = False
        self._holding = False
        self._runs_failed = 0
        self._words = ""
        self._listening: dict[str, tuple[Listening, ...]] = {}
        self._since = order.clock.now()
        self._written = float("-inf")
        self._wake: tuple[int, int] = (-1, -1)

    # --- the loop -----------------------------------------------------------------------------------------------------

    def run(self, *, seconds: float = 0.0) -> None:
        """Raises :class:`StateConflict` ``serve.running`` where another parent runs in this workspace, the error with
        which a service refused to start for the first time, and :class:`MailopsError` ``serve.part_ended`` when one
        could not be kept up, or was down when all was stopped."""
        self._lock = _locked(self._file)
        for child in self._children:
            for module in child.service.needs:
                importlib.import_module(module)
        now = self._order.clock.monotonic
        until = now() + seconds if seconds else float("inf")
        lost: list[str] = []
        with self._signals():
            try:
                while not self._over and now() < until and not lost:
                    self._listen(TICK)
                    self._reap()
                    self._refuse()
                    lost = self._care()
                    self._tell()
                self._note()
            finally:
                down = [c.service.name for c in self._children if self._is_down(c)]
                self._stop()
        if lost or down:
            raise MailopsError(
                "A part of mailops ended by itself and could not be started again, so the whole ends."
                if lost
                else "mailops was stopped while a part of it could not do its work.",
                code="serve.part_ended",
                facts={"part": ", ".join(lost or down), "error": self._child(lost or down).error},
                fix="Start it again (a service manager does so by itself), and read in its log what ended it.",
            )

    def _is_down(self, child: _Child) -> bool:
        """Whether it failed and does not work again."""
        up = child.pid is not None and child.ready
        return child.ever and ((child.failures > 0 and not up) or (self._holding and child.service.name == "queue"))

    def _child(self, names: Sequence[str]) -> _Child:
        return next(c for c in self._children if c.service.name in names)

    def _care(self) -> list[str]:
        """Do for each service what is to be done; the names of those that are given up."""
        now = self._order.clock.monotonic()
        lost = []
        for child in self._children:
            seen = Seen(
                child.pid is not None,
                silent=now - child.heard,
                ending=None if child.ending is None else now - child.ending,
                due=max(0.0, child.due - now),
                failures=child.failures,
                ready=child.ready,
                stuck=child.said if child.stuck else "",
            )
            choice = choose(seen, silence=self._silence, vital=child.service.vital)
            if choice.action == "start":
                if self._its_turn(child, now):
                    self._start(child)
            elif choice.action == "give_up":
                lost.append(child.service.name)
            elif choice.action in ("end", "kill") and child.pid is not None:
                log.error("%s (process %d) is ended: %s", child.service.name, child.pid, choice.reason)
                if child.ending is None:
                    child.ending, child.said = now, choice.reason
                self._signal(child, signal.SIGTERM if choice.action == "end" else signal.SIGKILL)
            steady = child.ready and child.pid is not None and now - child.up_since > STEADY
            if steady and child.failures and child.service.name != "queue":
                child.failures = 0
        return lost

    def _its_turn(self, child: _Child, now: float) -> bool:
        """At the beginning one after the other: the first one binds and says where before the next prints a line."""
        before = self._children[: self._children.index(child)]
        return all(c.ever or c.failures or (c.pid is not None and now - c.began > 10) for c in before)

    # --- children -----------------------------------------------------------------------------------------------------

    def _start(self, child: _Child) -> None:
        hear, their_say = os.pipe()
        their_hear, say = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
        pid = os.fork()
        if pid == 0:
            ours = [fd for c in self._children for fd in (c.hear, c.say) if fd >= 0]
            _be(child.service, self._order, [hear, say, self._lock, *self._wake, *ours], their_hear, their_say)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(their_say)
        os.close(their_hear)
        os.set_blocking(hear, False)
        os.set_blocking(say, False)
        now = self._order.clock.monotonic()
        child.pid, child.hear, child.say, child.rest = pid, hear, say, b""
        child.since = child.heard_at = self._order.clock.now()
        child.began = child.heard = now
        child.ending, child.ready, child.refused, child.stuck, child.said = None, False, None, False, ""
        if child.failures:
            log.warning("%s is started again (process %d): %s", child.service.name, pid, child.error)
        self._say_holding(child)
        self._written = float("-inf")

    def _listen(self, seconds: float) -> None:
        """Take in what the children say, and signals."""
        readable = {c.hear: c for c in self._children if c.hear >= 0}
        ready, _, _ = select.select([self._wake[0], *readable], [], [], seconds)
        for descriptor in ready:
            if descriptor == self._wake[0]:
                with contextlib.suppress(BlockingIOError):
                    os.read(descriptor, 4096)
            else:
                self._hear(readable[descriptor])
        if self._hup:
            self._hup = False
            self._reload()

    def _hear(self, child: _Child) -> None:
        got = b""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(child.hear, 65_536):
                got += piece
        *lines, child.rest = (child.rest + got).split(b"\n")
        for line in lines:
            try:
                self._take(child, json.loads(line))
            except ValueError:
                log.debug("%s said something that is not understood", child.service.name)

    def _take(self, child: _Child, said: dict[str, Any]) -> None:
        child.heard = self._order.clock.monotonic()
        child.heard_at = self._order.clock.now()
        if said.get("ready"):
            child.ready = child.ever = True
            child.up_since = child.heard
            self._written = float("-inf")
        if "listeners" in said:
            self._listening[child.service.name] = listening_from(said["listeners"])
        if "refused" in said:
            child.refused = said["refused"]
            child.said = f"{said['refused']['error']} [{said['refused']['code']}]"
        if "error" in said:
            child.said = str(said["error"])
        if "stuck" in said:
            child.stuck, child.said = True, str(said["stuck"])
        if "runs_failed" in said:
            before = (self._runs_failed, self._words, child.failures)
            self._runs_failed, self._words = int(said["runs_failed"]), str(said["words"])
            if not self._runs_failed:
                child.failures = 0
            self._hold()
            if before != (self._runs_failed, self._words, child.failures):
                self._written = float("-inf")

    def _reap(self) -> None:
        for child in self._children:
            if child.pid is None:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if not pid:
                continue
            self._hear(child)
            self._close(child)
            how = ended_how(status)
            child.failures = counted(
                child.failures, vital=child.service.vital, worked=child.ready, by_signal=os.WIFSIGNALED(status)
            )
            child.pid, child.restarts = None, child.restarts + 1
            child.error = f"{child.said}; {how}" if child.said else how
            child.due = self._order.clock.monotonic() + pause(child.failures)
            if not self._over and (child.ever or child.refused is None):
                log.error("%s ended: %s", child.service.name, child.error)
            self._hold()
            self._written = float("-inf")

    def _refuse(self) -> None:
        """A service that never came up and says why: that is for who started it."""
        for child in self._children:
            if child.pid is None and child.refused is not None and not child.ever:
                told = child.refused
                raise MailopsError(told["error"], code=told["code"], facts=told["facts"], fix=told["fix"])

    def _close(self, child: _Child) -> None:
        for descriptor in (child.hear, child.say):
            if descriptor >= 0:
                os.close(descriptor)
        child.hear = child.say = -1

    def _signal(self, child: _Child, number: int) -> None:
        if child.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, number)

    # --- what is told -------------------------------------------------------------------------------------------------

    def _hold(self) -> None:
        """Whether mail is to be taken, from what is known of the queue."""
        queue = next((c for c in self._children if c.service.name == "queue"), None)
        holding = queue is not None and (self._runs_failed >= RUNS_HOLD_AFTER or queue.failures >= HOLD_AFTER)
        if holding == self._holding:
            return
        self._holding = holding
        if holding:
            log.error("Queue: nothing can be sent, so mail is answered 451 until it can.")
        else:
            log.warning("Queue: sending goes on, and mail is taken again.")
        for child in self._children:
            self._say_holding(child)

    def _say_holding(self, child: _Child) -> None:
        if child.say >= 0:
            with contextlib.suppress(OSError):
                os.write(child.say, b"hold\n" if self._holding else b"go\n")

    def _tell(self) -> None:
        now = self._order.clock.monotonic()
        if now - self._written >= WRITE_EVERY:
            self._written = now
            self._note()

    def _note(self) -> None:
        """Write how it stands over what stood there: the place was taken at the start, so a full disk has it."""
        told = Running(
            self._kind,
            os.getpid(),
            self._since,
            self._order.clock.now(),
            self._holding,
            self._runs_failed,
            self._words,
            socket.gethostname(),
            tuple(child.state() for child in self._children),
            tuple(one for found in self._listening.values() for one in found),
        )
        with contextlib.suppress(OSError):
            descriptor = os.open(self._file, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
            try:
                os.pwrite(descriptor, told.as_text(), 0)
            finally:
                os.close(descriptor)

    # --- signals and the end ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        self._wake = os.pipe()
        for descriptor in self._wake:
            os.set_blocking(descriptor, False)
        before = {
            number: signal.signal(number, handler)
            for number, handler in (
                (signal.SIGTERM, self._on_stop),
                (signal.SIGINT, self._on_stop),
                (signal.SIGHUP, self._on_hup),
                (signal.SIGCHLD, lambda *_: None),
            )
        }
        old = signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before.items():
                signal.signal(number, handler)
            for descriptor in self._wake:
                os.close(descriptor)

    def _on_stop(self, *_signal: object) -> None:
        self._over = True

    def _on_hup(self, *_signal: object) -> None:
        self._hup = True

    def _reload(self) -> None:
        """Every service reads its settings anew; none is started again."""
        log.info("SIGHUP: the settings are read again")
        try:
            self._grace, self._silence = self._settings()
        except MailopsError as error:
            log.error("The settings cannot be read, so what was goes on: %s [%s]", error.message, error.code)
            return
        for child in self._children:
            self._signal(child, signal.SIGHUP)

    def _stop(self) -> None:
        """Let every service finish what is under way, for the grace period; then end what is left."""
        self._over = True
        for socks in self._order.sockets.values():
            for sock in socks:
                sock.close()
        for child in self._children:
            self._signal(child, signal.SIGTERM)
        now = time.monotonic
        until = now() + self._grace + MARGIN
        while any(c.pid is not None for c in self._children):
            if now() > until:
                until = float("inf")
                for child in self._children:
                    if child.pid is not None:
                        log.error("%s did not stop within its time and is ended", child.service.name)
                        self._signal(child, signal.SIGKILL)
            self._listen(0.1)
            failed = [c.failures for c in self._children]
            self._reap()
            for child, failures in zip(self._children, failed, strict=True):
                child.failures = failures  # an end that was asked for is none
        if not self._runs_failed:
            with contextlib.suppress(OSError):
                self._file.unlink(missing_ok=True)
        os.close(self._lock)


def _locked(state: Path) -> int:
    """The lock of the one parent in a workspace; it goes with the process."""
    descriptor = os.open(state.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    if try_lock(descriptor):
        return descriptor
    os.close(descriptor)
    running = read_running(state.parent, state.name)
    raise StateConflict(
        f"mailops {state.stem} runs in this workspace already.",
        code="serve.running",
        facts={"workspace": str(state.parent), "pid": running.pid if running else None},
        fix="mailops status shows it. Stop it first; to change its settings, send it SIGHUP.",
    )


def _be(service: Service, order: Order, others: Sequence[int], hear: int, say: int) -> None:
    """The child's life; it does not return. ``others`` are descriptors of the parent: a copy of a pipe's end that is
    left open here would keep another child from noticing the parent's death."""
    status = 70  # EX_SOFTWARE of sysexits.h
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in others:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        link = Link(order, hear=hear, say=say, service=service)
        link.catch_signals()
        module, _, name = service.entry.partition(":")
        try:
            getattr(importlib.import_module(module), name)(link)
            status = 0 if link.stopping else status
        except MailopsError as error:
            log.debug("%s cannot work", service.name, exc_info=True)
            facts = {name: str(value)[:200] for name, value in list(error.facts.items())[:10]}
            link.say(refused={**error.as_dict(), "facts": facts})
            status = 2
        except SystemExit as error:
            log.critical("%s ended by itself", service.name, exc_info=True)
            link.say(error="SystemExit")
            status = error.code if isinstance(error.code, int) else 1
        except BaseException as error:
            log.critical("%s ended by itself", service.name, exc_info=True)
            link.say(error=f"{type(error).__name__}: {str(error)[:200]}")
            status = 1
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
