"""The service that sends: runs the queue when something is to leave (:mod:`mailops.queue.job`), and tells how it goes.

A run that ends with an error, of whatever class, is told with its code and trace and tried again, after pauses that
grow to :data:`LONGEST` seconds. The parent hears of each; from some such runs in a row on it lets no mail in.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import TYPE_CHECKING

from ..errors import MailopsError
from ..model.states import Rank
from ..model.text import harmless
from ..queue.job import AWAKE
from ..secrets import redact
from .link import Link
from .logs import Out
from .pulse import Pulse, none_moves

if TYPE_CHECKING:
    from ..ops import Ops

log = logging.getLogger(__name__)
LONGEST = 60.0


def pause(every: float, failures: int) -> float:
    """Seconds until the next run, after so many failed ones: they double, to :data:`LONGEST` or the usual pause."""
    return float(min(every * 2 ** min(failures, 30), max(every, LONGEST)))


def queue(link: Link) -> None:
    """The child process that sends."""
    ops = link.open_ops()
    runner = _Runner(link, ops)
    runner.start()
    link.ready()
    while not link.stopping and runner.alive:
        link.wait(3600.0, runner.trouble)
    runner.stop()
    if runner.died:
        raise runner.died


class _Runner:
    """Runs the queue every some seconds in a thread, so that the process itself can always beat and stop."""

    def __init__(self, link: Link, ops: Ops) -> None:
        self._link, self._ops = link, ops
        self._every = float(link.order.options["queue_every"])
        self._over = threading.Event()
        self._failures = 0
        self._worker = ops.queue.worker()
        self._attention = ops.queue.attend()
        self._thread = threading.Thread(target=self._run, name="queue", daemon=True)
        self._pulse = Pulse(ops.clock.monotonic)
        self._busy = False
        self._out = Out(sys.stdout.fileno())
        self._wire, self._wire_at = 0.0, float("-inf")
        self.died: BaseException | None = None

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def trouble(self) -> str:
        """Why nothing moves; asked from another thread than the one that works."""
        threads = self._pulse.look()
        if not self._busy:
            return ""
        return none_moves(threads, silence=self._link.silence, wire=self._wire + self._link.silence)

    def stop(self) -> None:
        """Within seconds, whatever a peer does: nothing of a mail that is not complete is waited for, and an answer to
        one that is out gets the grace period."""
        grace = self._ops.workspace.settings.serve.grace
        self._over.set()
        began = time.monotonic()
        while self._thread.is_alive() and (waited := time.monotonic() - began) < grace + 15:
            self._worker.stop()  # each time: a run that just begins forgets the first
            if waited > min(2.0, grace):  # a healthy peer has answered by then, and its mail is finished
                self._worker.hurry(handed=waited > grace)
            self._thread.join(timeout=0.2)

    def _run(self) -> None:
        try:
            while ranks := self._wait():
                if self._link.take_reload():
                    self._reload()
                self._busy = True
                self._once(ranks)
                self._busy = False
        except BaseException as error:
            self.died = error
            self._link.end()

    def _wait(self) -> tuple[Rank, ...]:
        """What is to leave next, once there is something; nothing at the end. After a failed run: after a pause."""
        if self._failures:
            return () if self._over.wait(pause(self._every, self._failures)) else AWAKE
        return self._attention.wait(self._over, self._every)

    def _reload(self) -> None:
        try:
            ops = self._link.open_ops()
            worker, attention = ops.queue.worker(), ops.queue.attend()
        except MailopsError as error:
            log.error("The settings cannot be read, so what was goes on: %s [%s]", error.message, error.code)
            return
        self._ops.close()
        self._ops, self._worker, self._attention = ops, worker, attention

    def _look_at_servers(self) -> None:
        """How long a server may take for an answer, looked at every half minute."""
        now = self._ops.clock.monotonic()
        if now - self._wire_at >= 30:
            self._wire = max((server.timeout for server in self._ops.setup.servers), default=0.0)
            self._wire_at = now

    def _once(self, ranks: tuple[Rank, ...]) -> None:
        try:
            self._look_at_servers()
            report = self._worker.run(ranks=ranks, also=self._attention.joining)
            self._attention.over()
        except Exception as error:
            self._failures += 1
            if isinstance(error, MailopsError):
                words = f"Queue: {error.message} [{error.code}] {error.fix}"
                log.error("%s", words)
                log.debug("a run of the queue failed", exc_info=True)
            else:
                words = f"Queue: {type(error).__name__} [serve.queue_failed] The next run tries again."
                log.error("%s", words, exc_info=True)
            self._link.say(runs_failed=self._failures, words=harmless(redact(words))[:250])
            return
        self._failures = 0
        self._link.say(runs_failed=0, words="")
        if report.handled:
            deferred = report.deferred + report.unknown
            self._out.write(f"Queue: {report.sent} sent, {deferred} deferred, {report.failed} failed\n")
