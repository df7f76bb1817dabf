"""Lanes: one for each outgoing server, with the mails that wait for it here and the sessions that send them.

Decisions are functions of figures: how much to hold (:func:`stock`), whether another session is of use
(:func:`another`). A lane is used by several threads, each under the worker's lock.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass, field

from ..ledger.values import Leased
from ..model.setup import MailClass, Server, Setup
from ..model.states import Rank
from ..routing import Route, Router
from .signing import Signer

NOBODY = ""
"""The lane of what no server can carry."""
QUIET = 60.0  # seconds without a refusal before another session is opened
IDLE = 10.0  # seconds after which a session that has nothing to do is closed
UNKNOWN = 20  # mails to hold of a lane whose pace is not known
CPU_A_MAIL = 0.0004  # seconds, until it is measured
BUSY = 0.8  # share of a processor that the run uses, from which on another session would only wait for it
WEIGHT = 0.2  # of the last mail in the pace
MASS = 2  # the third of a lane's queues
TURN = 20  # day-to-day mails after which mass mail has its turn


@dataclass(frozen=True, slots=True)
class Course:
    """What mails are sent by: the set-up of their lease, with what was made of it."""

    setup: Setup
    router: Router
    key: bytes
    signed: frozenset[str]  # the bounce addresses that get a signed tag
    signer: Signer


@dataclass(frozen=True, slots=True)
class Job:
    """A leased mail with its way, or why it has none."""

    mail: Leased
    course: Course
    route: Route | None = None
    server: Server | None = None
    error: Exception | None = None

    @property
    def urgent(self) -> bool:
        """Whether it is no mass mail."""
        return self.mail.mail_class != MailClass.MASS.value


@dataclass(slots=True)
class Lane:
    """A server's lane in this process. ``pace`` is seconds a mail takes a session, measured; ``backlog`` what is due in
    the store, as last counted; ``refused_at`` (monotonic) when a connection was refused last."""

    key: str
    lock: threading.Lock
    most: int = 1
    account: str = ""
    queues: tuple[deque[Job], deque[Job], deque[Job]] = field(default_factory=lambda: (deque(), deque(), deque()))
    sessions: int = 0
    connected: int = 0
    busy: int = 0
    busy_rest: int = 0
    in_a_row: int = 0  # day-to-day mails taken since a mass mail was
    pace: float | None = None
    backlog: int = 0
    counted_at: float = -math.inf
    refused_at: float = -math.inf
    dry: bool = False  # nothing more was due when the store was asked last
    crowded_until: float = -math.inf  # no further connection was to be had
    closed_until: float = -math.inf  # none at all: others are at it
    ready: threading.Condition = field(init=False)

    def __post_init__(self) -> None:
        self.ready = threading.Condition(self.lock)

    @property
    def waiting(self) -> int:
        urgent, daily, mass = self.queues
        return len(urgent) + len(daily) + len(mass)

    @property
    def urgent_waits(self) -> bool:
        """Whether an urgent mail waits and every session is busy, or a day-to-day one behind mass mail alone."""
        return bool(
            (self.queues[0] and self.busy >= self.sessions) or (self.queues[1] and self.busy_rest >= self.sessions)
        )

    @property
    def only_mass(self) -> bool:
        return not (self.queues[0] or self.queues[1])

    @staticmethod
    def kind(rank: int) -> int:
        """In which of the queues a rank stands: urgent, day-to-day, mass."""
        return 0 if rank == Rank.URGENT else 1 if rank in (Rank.DAILY, Rank.RETRIED) else MASS

    def put(self, job: Job, *, back: bool = False) -> None:
        """Add a mail behind those of its kind, or give one ``back`` to their front."""
        queue = self.queues[self.kind(job.mail.rank) if job.urgent else MASS]
        (queue.appendleft if back else queue.append)(job)
        self.ready.notify()

    def next(self) -> Job | None:
        """The next mail: urgent first, after :data:`TURN` day-to-day ones a mass mail (none that would take the last
        session), so that what comes in faster than it leaves keeps nothing back for good."""
        urgent, daily, mass = self.queues
        free = bool(mass) and self.busy_rest < max(self.most - 1, 1)
        if urgent:
            return urgent.popleft()
        if daily and not (free and self.in_a_row >= TURN):
            self.in_a_row += 1
            return daily.popleft()
        if free:
            self.in_a_row = 0
            return mass.popleft()
        return None

    def measure(self, seconds: float) -> None:
        """A mail took a session so long."""
        self.pace = seconds if self.pace is None else self.pace + WEIGHT * (seconds - self.pace)

    def take_all(self) -> list[Job]:
        """What waits here, which waits here no more."""
        jobs = [job for queue in self.queues for job in queue]
        for queue in self.queues:
            queue.clear()
        return jobs


def stock(pace: float | None, sessions: int, batch: int) -> int:
    """How many mails to hold of a lane: what its sessions send in about a second.

    >>> stock(None, 1, 200), stock(0.5, 1, 200), stock(0.02, 10, 200), stock(0.001, 1, 200)
    (20, 4, 400, 400)
    """
    if pace is None:
        return min(batch, UNKNOWN)
    return max(min(math.ceil(sessions / pace), 2 * batch), min(2 * sessions + 2, batch))


def another(
    *,
    sessions: int,
    most: int,
    backlog: int,
    pace: float | None,
    cpu: float,
    load: float,
    quiet: float,
    urgent: bool = False,
) -> str:
    """Why another session is to be opened; empty when none is.

    ``cpu`` is the seconds of the processor that a mail takes: more sessions than ``pace`` holds of these it cannot
    feed; nor any more when ``load``, the share of one that sending and recording used lately, is high. ``quiet`` is for
    how long nothing was refused, ``urgent`` that an urgent mail waits and every session is busy.

    >>> another(sessions=1, most=10, backlog=100, pace=0.04, cpu=0.0004, load=0.1, quiet=99)
    'what waits takes 4.0 s'
    >>> another(sessions=1, most=10, backlog=9000, pace=0.0004, cpu=0.0004, load=0.1, quiet=99)
    ''
    >>> another(sessions=1, most=10, backlog=9000, pace=0.04, cpu=0.0004, load=0.9, quiet=99)
    ''
    """
    if sessions >= most or quiet < QUIET:
        return ""
    if urgent:
        return "an urgent mail waits and every session is busy"
    if pace is None or load > BUSY or sessions >= pace / cpu:
        return ""
    seconds = backlog * pace / max(sessions, 1)
    return f"what waits takes {seconds:.1f} s" if seconds > 1 else ""
