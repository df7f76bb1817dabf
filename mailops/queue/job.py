"""When mail leaves: what wakes the queue, and what waits for the queue job.

Day-to-day mail that is newly handed in wakes the queue at once, as do *Send Now* and a mail's own due time; mass mail
and what a person retried wait for the job *Mail: Email Queue Manager*. It runs every ``queue.interval_minutes`` minutes
(60 by default, 5 at least), at times that whole intervals since midnight UTC of 1970 give, so that every page can name
the next one. :func:`trigger` lets it run once more, earlier; the usual times stay.

A process that attends the queue notices at once what another one handed in: :class:`Watch` asks SQLite for the version
of its data, and listens to PostgreSQL.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..model.mail import MailView
from ..model.states import OF_THE_JOB, DeliveryState, MailState, Rank
from ..store import schema
from ..store.database import dialect_insert, explained, reading

JOB, TRIGGER = "queue", "queue.trigger"
BEGAN, ENDED = "began", "ended"
AWAKE = tuple(rank for rank in Rank if rank not in OF_THE_JOB)
"""What leaves without the job."""
LOOK = 0.1  # seconds between looks at a file store
CHANNEL = "mailops_queue"
j = schema.job_times


@dataclass(frozen=True, slots=True)
class Leaving:
    """When an *Outgoing* mail leaves: ``how`` is ``now``, ``time`` (its own) or ``job``."""

    how: str
    at: datetime
    words: str


def next_job(now: datetime, minutes: int) -> datetime:
    """When the job runs next.

    >>> next_job(datetime(2026, 1, 5, 13, 20, tzinfo=UTC), 60).isoformat()
    '2026-01-05T14:00:00+00:00'
    """
    return last_job(now, minutes) + timedelta(minutes=minutes)


def last_job(now: datetime, minutes: int) -> datetime:
    """The newest of the job's times, which may be now."""
    span = minutes * 60
    return datetime.fromtimestamp(now.timestamp() // span * span, UTC)


def leaving(mail: MailView, *, now: datetime, minutes: int, triggered: datetime | None = None) -> Leaving | None:
    """When this mail leaves; None for one that is not *Outgoing*. ``triggered`` is when the job runs out of turn."""
    if mail.state is not MailState.OUTGOING:
        return None
    if mail.rank in OF_THE_JOB:
        at = next_job(max(now, mail.due_at), minutes)
        if triggered is not None and triggered >= mail.due_at:
            at = min(at, max(triggered, now))
        return Leaving("job", at, f"leaves with the queue job at {_clock(at, now)}")
    if mail.due_at > now:
        return Leaving("time", mail.due_at, f"leaves at {_clock(mail.due_at, now)}, its own time")
    return Leaving("now", now, "leaves at once, while mailops serve or the queue job runs")


class _Held(Protocol):
    """A hold, as far as it is told."""

    @property
    def domain(self) -> str: ...
    @property
    def until(self) -> datetime: ...
    @property
    def why(self) -> str: ...


HeldT = TypeVar("HeldT", bound=_Held)


def held(mail: MailView, holds: Mapping[str, HeldT]) -> HeldT | None:
    """The hold that a mail waits for: the last to end of those on its waiting recipients' domains."""
    waiting = (d.recipient.rpartition("@")[2].lower() for d in mail.deliveries if d.state is DeliveryState.PENDING)
    return max((holds[name] for name in waiting if name in holds), key=lambda one: one.until, default=None)


def held_words(hold: _Held, now: datetime) -> str:
    """What is said of a mail that a hold keeps back."""
    why = f": {hold.why}" if hold.why else ""
    return f"waits, since mail to {hold.domain} is held until {_clock(hold.until, now)}{why}"


def lane_words(server: str, until: datetime, why: str, now: datetime) -> str:
    """What is said of a mail whose server is held, or has a limit without room."""
    return f"waits, since server {server} is held until {_clock(until, now)}" + (f": {why}" if why else "")


def _clock(at: datetime, now: datetime) -> str:
    day = "" if at.date() == now.date() else f"{at:%Y-%m-%d} "
    return f"{day}{at:%H:%M} UTC"


# --- what is kept -----------------------------------------------------------------------------------------------------


def times(engine: Engine) -> dict[str, datetime]:
    """When the job ran last (:data:`JOB`), and when it is to run out of turn (each begins with :data:`TRIGGER`)."""
    with explained("reading when the queue job ran"), reading(engine) as connection:
        return {str(job): at for job, at in connection.execute(sa.select(j.c.job, j.c.last_at))}


def ran(engine: Engine, at: datetime) -> None:
    """The job begins: what was triggered up to now is served by it."""
    with explained("noting the queue job"), engine.begin() as connection:
        _put(connection, JOB, at)
        connection.execute(sa.delete(j).where(j.c.job.startswith(TRIGGER, autoescape=True), j.c.last_at <= at))


def begins(engine: Engine, name: str, at: datetime) -> None:
    """A run of a scheduled action (``queue``, ``fetch``, ``vacuum``) begins."""
    with explained("noting a run"), engine.begin() as connection:
        _put(connection, f"{BEGAN} {name}", at)


def ended(engine: Engine, name: str, at: datetime) -> None:
    """It is over: how long it took is known from now on."""
    with explained("noting a run"), engine.begin() as connection:
        _put(connection, f"{ENDED} {name}", at)


def measured(known: Mapping[str, datetime], name: str) -> tuple[datetime | None, float | None]:
    """When the last run of an action began, and how many seconds it took (None: it is under way, or broke off)."""
    began, over = known.get(f"{BEGAN} {name}"), known.get(f"{ENDED} {name}")
    return began, (over - began).total_seconds() if began and over and over >= began else None


def trigger(engine: Engine, at: datetime) -> None:
    """Let the job run at this time as well; each time that was asked for counts."""
    with explained("triggering the queue job"), engine.begin() as connection:
        trigger_in(connection, at)


def trigger_in(connection: Connection, at: datetime) -> None:
    """As :func:`trigger`, in the caller's transaction."""
    _put(connection, f"{TRIGGER} {at.astimezone(UTC):%Y%m%dT%H%M%S}", at)
    wake(connection)


def triggered(known: Mapping[str, datetime]) -> datetime | None:
    """When the job is to run out of turn next."""
    return min((at for job, at in known.items() if job.startswith(TRIGGER)), default=None)


def _put(connection: Connection, job: str, at: datetime) -> None:
    row = dialect_insert(connection.engine)(j).values(job=job, last_at=at)
    connection.execute(row.on_conflict_do_update(index_elements=[j.c.job], set_={"last_at": at}))


def job_due(known: dict[str, datetime], *, now: datetime, minutes: int) -> bool:
    """Whether one of the job's times has come, or a trigger's, since it ran last. One that never ran waits for its
    time."""
    early = triggered(known)
    if early is not None and early <= now:
        return True
    return JOB in known and known[JOB] < last_job(now, minutes)


# --- noticing ---------------------------------------------------------------------------------------------------------


def wake(connection: Connection) -> None:
    """Tell who attends the queue that there is something new, once the caller's transaction is committed. A file store
    tells it by itself."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})


class Watch:
    """Notices that the store was changed, by whatever process. One thread's own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._raw: Any = None
        self._seen: object = None

    def wait(self, over: threading.Event, seconds: float) -> bool:
        """Wait so long at most; whether something was changed (or may have been). ``over`` ends it early."""
        try:
            return self._wait(over, seconds)
        except Exception:  # a lost connection: look, and listen anew
            self.close()
            over.wait(min(seconds, 1.0))
            return True

    def _wait(self, over: threading.Event, seconds: float) -> bool:
        fresh = self._raw is None
        if fresh:
            connection = self._engine.raw_connection()
            self._raw = connection.driver_connection
            connection.detach()
        if self._engine.dialect.name == "postgresql":
            if fresh:
                self._raw.autocommit = True
                self._raw.execute(f"LISTEN {CHANNEL}")
                return True
            if over.is_set():
                return False
            return any(True for _ in self._raw.notifies(timeout=min(seconds, LOOK), stop_after=1))
        over.wait(min(seconds, LOOK))
        seen, self._seen = self._seen, self._raw.execute("PRAGMA data_version").fetchone()
        return fresh or seen != self._seen

    def close(self) -> None:
        """Let the connection go."""
        raw, self._raw = self._raw, None
        if raw is not None:
            with contextlib.suppress(Exception):
                raw.close()


class Attendance:
    """When a process that attends the queue is to run it. One thread's own."""

    def __init__(self, engine: Engine, clock: Any, minutes: int) -> None:
        self._engine = engine
        self._clock = clock
        self._minutes = minutes
        self._watch = Watch(engine)
        self._runs = False

    def wait(self, over: threading.Event, every: float) -> tuple[Rank, ...]:
        """Wait for a reason to run, ``every`` seconds at most; with which ranks. Empty when ``over`` is set."""
        from .lease import due

        now = self._clock.now()
        if JOB not in times(self._engine):
            ran(self._engine, now)  # the first one waits for its time
        left, look = every, True
        while not over.is_set():
            if look:
                now = self._clock.now()
                if job_due(times(self._engine), now=now, minutes=self._minutes):
                    self._begins(now)
                    return tuple(Rank)
                if any(rank in AWAKE for _, rank in due(self._engine, now=now)):
                    return AWAKE
            if left <= 0:
                return AWAKE
            step = min(left, 1.0)
            began = self._clock.monotonic()
            look = self._watch.wait(over, step)
            took = self._clock.monotonic() - began
            left -= took if took > 0 else LOOK
            look = look or int(left + took) != int(left)  # own due times come without a change: once a second
        return ()

    def joining(self) -> tuple[Rank, ...]:
        """What joins a run that goes on: everything, once the job's time has come."""
        now = self._clock.now()
        if not job_due(times(self._engine), now=now, minutes=self._minutes):
            return ()
        self._begins(now)
        return tuple(Rank)

    def _begins(self, now: datetime) -> None:
        ran(self._engine, now)
        begins(self._engine, JOB, now)
        self._runs = True

    def over(self) -> None:
        """The run is over that began; if it was the job's, its length is known."""
        if self._runs:
            self._runs = False
            ended(self._engine, JOB, self._clock.now())

    def close(self) -> None:
        """Let go of the store."""
        self._watch.close()
