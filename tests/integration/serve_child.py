"""``mailops serve`` in which whatever is named in a file goes wrong, for the tests of what a fault does to it.

usage: serve_child.py FAULTS WORKSPACE MORE…; FAULTS holds ``POINT CLASS TIMES``, read at each point, and TIMES counts
down to 0 as the fault strikes. A point is a step of the worker (``step:leased``) or a function (see POINTS), before it
(``x``) or after it did its work (``x!``).
"""

from __future__ import annotations

import errno
import functools
import importlib
import os
import signal
import sqlite3
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from mailops.errors import DeliveryError, StoreError
from mailops.queue import service

POINTS = {
    "refresh": "mailops.queue.worker:Worker._refresh",
    "recover": "mailops.queue.worker:recover",
    "pay": "mailops.ledger.book:Book.pay",
    "journal.open": "mailops.queue.journal:Journal.__init__",
    "journal.reset": "mailops.queue.journal:Journal.reset",
    "journal.start": "mailops.queue.journal:Journal.start",
    "journal.end": "mailops.queue.journal:Journal.end",
    "journal.close": "mailops.queue.journal:Journal.close",
    "fallocate": "mailops.queue.journal:_reserve",
    "lease": "mailops.queue.lease:lease",
    "settle": "mailops.queue.lease:settle",
    "route": "mailops.routing:Router.route",
    "connect": "mailops.smtp.pool:SessionPool.connect",
    "send": "mailops.smtp.pool:PooledSession.send",
    "session.close": "mailops.smtp.pool:PooledSession.close",
    "pool.close": "mailops.smtp.pool:SessionPool.close",
    "accept": "mailops.serve:accept",
    "outcome": "mailops.queue.sending:settle",
    "explained": "mailops.queue.sending:explained",
}
RECEIVING = {
    "receive": "mailops.inbound.lmtp:LmtpListener.take",
    "fetch": "mailops.inbound.boxes:ImapBox.mails",
    "look": "mailops.inbound.accounts:Accounts.list",
}
"""Points of the services that bring mail in: no mail that is handed over passes them."""
ERRORS: dict[str, Callable[[], BaseException]] = {
    "full": lambda: OSError(errno.ENOSPC, "No space left on device"),
    "busy": lambda: BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
    "denied": lambda: PermissionError(errno.EACCES, "Permission denied"),
    "sqlite": lambda: sqlite3.OperationalError("disk I/O error"),
    "sqlalchemy": lambda: sa.exc.OperationalError("SELECT 1", {}, sqlite3.OperationalError("database is damaged")),
    "store": lambda: StoreError("The database refused it."),
    "delivery": lambda: DeliveryError("The other side is not there."),
    "unicode": lambda: UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    "lookup": lambda: LookupError("unknown encoding: x-evil"),
    "tls": lambda: ssl.SSLError(1, "wrong version number"),
    "memory": MemoryError,
    "recursion": RecursionError,
    "assertion": AssertionError,
    "exit": lambda: SystemExit(3),
}
DEEDS: dict[str, Callable[[], Any]] = {
    "hang": lambda: time.sleep(3600),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
}
"""What no class of exception says."""


def main(faults: Path) -> None:
    def strike(point: str) -> None:
        name, _, rest = faults.read_text().partition(" ")
        if name != point:
            return
        kind, times = rest.split()
        if int(times) > 0:
            left = faults.with_suffix(".new")
            left.write_text(f"{name} {kind} {int(times) - 1}")
            os.replace(left, faults)
            if kind in DEEDS:
                DEEDS[kind]()
            raise ERRORS[kind]()

    for point, place in (POINTS | RECEIVING).items():
        module, _, name = place.partition(":")
        try:
            holder: Any = importlib.import_module(module)
        except ImportError:  # an older mailops
            continue
        *way, last = name.split(".")
        for part in way:
            holder = getattr(holder, part)
        if hasattr(holder, last):
            setattr(holder, last, _struck(getattr(holder, last), point, strike))
    make = service.Queue.worker
    service.Queue.worker = lambda self, **more: make(self, on_step=lambda step: strike(f"step:{step}"), **more)  # type: ignore[method-assign]
    from mailops.cli import main as cli

    sys.argv = ["mailops", "-w", sys.argv[2], "serve", *sys.argv[3:]]
    cli()


def _struck(work: Callable[..., Any], point: str, strike: Callable[[str], None]) -> Callable[..., Any]:
    @functools.wraps(work)
    def struck(*args: Any, **more: Any) -> Any:
        strike(point)
        done = work(*args, **more)
        strike(f"{point}!")
        return done

    return struck


if __name__ == "__main__":
    main(Path(sys.argv[1]))
