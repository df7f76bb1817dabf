"""The services, as data. A new one is a line here and a function that takes a :class:`~mailops.service.link.Link`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Service:
    """One child process. ``entry``: ``module:function``, called with the link; it returns when told to stop.
    ``needs``: modules the parent reads before it forks. ``vital``: the whole ends when it cannot be kept up (nothing is
    taken, so nothing is gained by going on); one that is not is tried for ever. ``patience``: by how much longer than
    the setting ``silence`` it may stand still."""

    name: str
    entry: str
    needs: tuple[str, ...] = ()
    vital: bool = False
    patience: float = 1.0


INTAKE = Service(
    "intake",
    "mailops.serve:intake",
    ("mailops.serve", "mailops.submission", "mailops.queue.submit", "mailops.ledger", "mailops.store.setup"),
    vital=True,
)
QUEUE = Service(
    "queue",
    "mailops.service.queueing:queue",
    ("mailops.queue.service", "mailops.queue.worker", "mailops.queue.signing"),
)
MAILBOXES = Service(
    "mailboxes", "mailops.service.receiving:mailboxes", ("mailops.inbound.fetch", "mailops.inbound.onward")
)
RECEIVE = Service("receive", "mailops.service.receiving:receive", ("mailops.inbound.lmtp", "mailops.inbound.service"))
SCHEDULE = Service("schedule", "mailops.service.schedule:schedule", ("mailops.ledger.erasure",), patience=10.0)
"""Clearing a large store takes statements of minutes."""
