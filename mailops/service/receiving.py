"""The services that bring mail in: one watches the confirmed mailboxes, one listens for mail that an MX leads here.

Each mailbox has a thread and an ``Ops`` of its own, so that a slow server holds up nobody else's mail. Which mailboxes
there are is looked at every :data:`LOOK` seconds: one that is added, changed or taken back to a draft needs no restart.
A mail under way at a stop is settled by the next run, as after a kill (:mod:`mailops.inbound.intake`). The listeners
work on sockets of the parent, so a mail server that connects while they are started again waits instead of failing.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..errors import MailopsError
from ..inbound.accounts import CONFIRMED, Account
from ..jobs.scheduled import fetch_minutes
from ..model.running import MOST, Listening
from .link import Link
from .logs import Out
from .pulse import Pulse, one_stands

if TYPE_CHECKING:
    import socket

    from ..inbound.ingest import Result
    from ..inbound.lmtp import LmtpListener
    from ..ops import Ops
    from ..settings import ReceiverSection

log = logging.getLogger(__name__)
LOOK = 5.0
WIRE = ("mailops.inbound.boxes",)


@dataclass(slots=True)
class _Watch:
    """A mailbox that is watched, as it stood when the watch began."""

    account: Account
    over: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


def changes(watched: Iterable[Account], now: Iterable[Account]) -> tuple[set[str], list[Account]]:
    """Whose watch is to end, and which mailboxes are to be watched anew: drafts are not, a changed one is both."""
    wanted = {one.key: _settings(one) for one in now if one.state == CONFIRMED}
    begun = {one.key: _settings(one) for one in watched}
    ended = {key for key, one in begun.items() if wanted.get(key) != one}
    return ended, [one for key, one in wanted.items() if key in ended or key not in begun]


def _settings(account: Account) -> Account:
    return replace(account, checked_at=None, arrived_at=None, error=None, error_at=None)


def mailboxes(link: Link) -> None:
    """The child process that watches the mailboxes."""
    ops = link.open_ops()
    watching = _Watching(link, ops)
    pulse = Pulse(ops.clock.monotonic, wire=WIRE)
    link.ready()

    def trouble() -> str:
        return one_stands(pulse.look(), silence=link.silence, wire=watching.longest + link.silence)

    while not link.stopping:
        if link.take_reload():
            watching.reload()
        watching.look()
        link.wait(LOOK, trouble)
    watching.stop(ops.workspace.settings.serve.grace)


class _Watching:
    """The threads, one for each confirmed mailbox."""

    def __init__(self, link: Link, ops: Ops) -> None:
        self._link, self._ops = link, ops
        self._out = Out(sys.stdout.fileno())
        self._watches: dict[str, _Watch] = {}
        self.longest = 0.0
        """How long a mail server may take for an answer."""

    def reload(self) -> None:
        """The settings as they are now; every watch begins anew by them."""
        try:
            ops = self._link.open_ops()
        except MailopsError as error:
            log.error("The settings cannot be read, so what was goes on: %s [%s]", error.message, error.code)
            return
        self._end(self._watches)
        self._ops.close()
        self._ops = ops

    def look(self) -> None:
        """Watch what is to be watched. What cannot be asked is told, and asked again."""
        try:
            accounts = self._ops.mailboxes.list()
            minutes = fetch_minutes(self._ops.engine)
        except MailopsError as error:
            log.error("The mailboxes cannot be looked at: %s [%s]", error.message, error.code)
            return
        self.longest = max((one.timeout for one in accounts), default=0.0)
        live = [one.account for one in self._watches.values() if one.thread is not None and one.thread.is_alive()]
        self._end(self._watches.keys() - {one.key for one in live})
        ended, begun = changes(live, accounts)
        self._end(ended)
        for account in begun:
            watch = _Watch(account)
            name = f"mailbox {account.key}"
            watch.thread = threading.Thread(target=self._watch, args=(watch, minutes), name=name, daemon=True)
            self._watches[account.key] = watch
            watch.thread.start()

    def _watch(self, watch: _Watch, minutes: float) -> None:
        key = watch.account.key

        def told(result: Result) -> None:
            counts = result.counts
            if counts.seen:
                self._out.write(f"{key}: {counts.seen} seen, {counts.stored} stored, {counts.delivered} delivered\n")
            for error in result.errors:
                log.warning("%s: %s [%s]", key, error.message, error.code)

        try:
            with self._link.open_ops() as ops:
                ops.watch(key, stop=watch.over, on_run=told, every=60 * minutes)
        except MailopsError as error:
            log.error("%s is watched no more: %s [%s]", key, error.message, error.code)
        except Exception:
            log.exception("%s: watching it failed, and begins again", key)

    def _end(self, keys: Iterable[str]) -> None:
        for key in list(keys):
            self._watches.pop(key).over.set()

    def stop(self, grace: float) -> None:
        """End all watches, within the grace period."""
        threads = [one.thread for one in self._watches.values() if one.thread is not None]
        self._end(self._watches)
        until = self._ops.clock.monotonic() + grace
        for thread in threads:
            thread.join(max(0.0, until - self._ops.clock.monotonic()))


def receive(link: Link) -> None:
    """The child process with the listeners of ``[[serve.receiver]]``."""
    ops = link.open_ops()
    pulse = Pulse(ops.clock.monotonic)
    out = Out(sys.stdout.fileno())
    listeners, told = [], []
    for number, section in enumerate(ops.workspace.settings.serve.receiver):
        for sock in link.order.sockets[f"receive {number}"]:  # one for each address of a host's name
            listener = make_receiver(ops, section, sock).start()
            listeners.append(listener)
            told.append(receives(ops, section, listener))
            out.write(f"mailops receives mail by {section.protocol.upper()} on {section.host}:{listener.port}\n")
    link.say(listeners=[one.as_told() for one in told][:MOST])
    link.ready()

    def trouble() -> str:
        silent = next((listener for listener in listeners if not listener.alive), None)
        return f"{silent.account} listens no more" if silent else one_stands(pulse.look(), silence=link.silence)

    while not link.stopping:
        link.wait(3600.0, trouble)
    for listener in listeners:
        listener.stop()


def make_receiver(ops: Ops, section: ReceiverSection, sock: socket.socket) -> LmtpListener:
    """The listener that a section describes, on a socket that is bound. Raises :class:`ConfigError` for one that would
    not be safe."""
    settings = ops.workspace.settings.serve
    if section.protocol == "lmtp":
        return ops.lmtp(section.host, section.port, sock=sock)
    return ops.mx(section.host, section.port, certificate=settings.tls_cert, key=settings.tls_key, sock=sock)


def receives(ops: Ops, section: ReceiverSection, listener: LmtpListener) -> Listening:
    """Where a listener is, and how it is spoken to."""
    settings = ops.workspace.settings.serve
    tls = "starttls" if section.protocol == "smtp" and settings.tls_cert else "none"
    return Listening(section.host, listener.port, tls, "none", settings.name, section.protocol)
