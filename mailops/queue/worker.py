"""The queue worker: leases due mails, sends them over several sessions, records what became of them.

One mail's way through :meth:`Worker.run`::

    lease (commit: attempt is open; the set-up of this moment decides)
      → journal start → MAIL … final dot → answer → journal end
        → record (commit: deliveries, state, events, counters)

* **Dispatcher** (the caller's thread): leases what the sessions of each lane can send in about a second, round robin
  over the lanes (:mod:`.lanes`), and looks for what came meanwhile every :data:`LOOK` seconds.
* **Sessions** (a thread each): take mails of their lane one by one, urgent first; one session of a lane is kept free of
  mass mail. Another one is opened when what waits takes more than a second; idle ones end.
* **Bookkeeper** (a thread): records the outcomes of all lanes together, at most :data:`RECORD` or :data:`WITHIN`
  seconds' worth. The database is used by one of them at a time.
* Kill -9 at any point loses nothing: the next run settles the dead worker's mails from its journal
  (:mod:`mailops.queue.recover`). Only mails whose answers were in flight are sent again, with the same Message-ID: at
  most one for each open session.
* A server that cannot be reached is not asked again for :data:`~.sending.REST` seconds; its mails are deferred with the
  reason. Where all connections that a server allows are somebody else's, its mails are given back.
* A fault of ours with one mail is that mail's: it waits with the reason, the others leave. :data:`IN_A_ROW` of them
  are a fault of the run, which ends with it.
* An answer that was read and cannot be journaled goes to the store at once, and the run ends.
* ``on_step`` hears every step by name, from the thread that makes it: ``leased``, ``journaled``, ``connected``, the
  transport's ``mail``, ``rcpt``, ``data``, ``body``, ``final-reply``, then ``recorded`` and ``settled``. Tests kill the
  process there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from sqlalchemy.engine import Engine

from ..errors import MailopsError, StoreError
from ..ledger import Book
from ..ledger.values import Leased, Settled, Wanted
from ..model.setup import RetryPolicy, Setup
from ..model.states import MailState, Rank
from ..platforms import require_journal
from ..ports import Clock, RecipientReply, Transport
from ..routing import Router
from ..smtp import SessionPool
from . import lease as leases
from .journal import Journal
from .lanes import CPU_A_MAIL, IDLE, MASS, NOBODY, Course, Job, Lane, another, stock
from .permits import NEAR, Permits
from .recover import Recovered, recover
from .sending import Kit, NoRoom, Sender, way_of
from .signing import Signer
from .slots import Slots, file_slots, sessions_for

log = logging.getLogger(__name__)
IN_A_ROW = 5  # mails that may fail by faults of ours, one after the other
PATIENCE = (0.5, 2.0, 5.0)  # seconds between tries when the database is locked or away
LOOK = 0.1  # seconds between looks for mail that came meanwhile
EMPTY = 50  # looks in a row that find something due and get nothing
COUNT, COUNTED = 0.5, 20_000  # seconds between counts of what is due in a lane, and how far they go
RECORD, WITHIN = 200, 0.1  # outcomes in a commit, seconds that the first of them waits
SLOT_WAIT, SLOT_WAIT_IDS = 1.0, 5.0  # seconds that a session waits for a slot; longer where a person waits
CROWDED = 2.0  # seconds for which a lane without a free slot asks for none
POLITE, LAST = 2.0, 8.0  # seconds until a run that was broken off cuts its peers: before, and after their final dot
Step = Callable[[str], None]
T = TypeVar("T")


@dataclass(slots=True)
class RunReport:
    """What a run did. Counts are mails, ``released`` those that a wrong clock had put off, ``left`` those given back
    since all connections to their server were in use; ``seconds`` is wall time."""

    sent: int = 0
    failed: int = 0
    deferred: int = 0
    unknown: int = 0
    seconds: float = 0.0
    recovered: Recovered = field(default_factory=Recovered)
    stopped: bool = False
    released: int = 0
    left: int = 0

    @property
    def handled(self) -> int:
        return self.sent + self.failed + self.deferred + self.unknown


class Worker:
    """Sends what is due. One object per process or thread; several may run at once.

    ``setup`` is called for each lease, so a changed server or filter counts from the next one on. ``tag_key`` gives
    the key that return paths are signed with; None leaves them plain. ``book`` is the ledger with its listeners.
    ``tell`` is called when nothing is due any more; it hands over mails that follow of the run, and says how many.
    ``feed`` hands over a portion of what is made as it leaves (campaigns), when the store gives less than there is room
    for; it is told whether this run sends mail to many, and says how many mails it handed over.
    ``signer`` gives the DKIM signer for a lease. ``slots`` are shared with all who connect to the same servers.

    Raises :class:`PlatformError` where no journal can be kept (Windows).
    """

    def __init__(
        self,
        engine: Engine,
        transport: Transport,
        *,
        setup: Callable[[], Setup],
        clock: Clock,
        journals: Path,
        batch: int = 200,
        lease: timedelta = timedelta(minutes=10),
        on_step: Step | None = None,
        on_progress: Callable[[RunReport], None] | None = None,
        book: Book | None = None,
        on_end: Callable[[], None] | None = None,
        tag_key: Callable[[], bytes | None] = lambda: None,
        tell: Callable[[], int] = lambda: 0,
        feed: Callable[[bool], int] = lambda _mass: 0,
        signer: Callable[[], Signer] = lambda: Signer({}, {}),
        slots: Slots | None = None,
    ) -> None:
        require_journal("a worker of the queue")
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._engine = engine
        self._transport = transport
        self._setup = setup
        self._clock = clock
        self._journals = journals
        self._batch = batch
        self._lease = lease
        self._renewed = 0.0
        self._step = on_step
        self._progress = on_progress
        self._book = book or Book()
        self._on_end = on_end
        self._tag_key = tag_key
        self._tell = tell
        self._feed = feed
        self._signer = signer
        self._slots = slots or file_slots(journals.parent / "slots")
        self._resting: dict[str, tuple[float, RecipientReply]] = {}
        self._course: Course | None = None
        self._stop = False
        self._database = threading.Lock()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)  # the dispatcher waits on it
        self._told = threading.Condition(self._lock)  # the bookkeeper
        self._fresh(RunReport())

    def _fresh(self, report: RunReport) -> None:
        """The state of one run."""
        self._report = report
        self._fatal: BaseException | None = None
        self._halted = self._closing = False
        self._lanes: dict[str, Lane] = {}
        self._threads: list[threading.Thread] = []
        self._done: list[Settled] = []
        self._recording = 0
        self._untried: list[Leased] = []
        self._left: set[int] = set()  # mails that were given back and not taken again
        self._troubles = 0  # mails in a row that a fault of ours held up
        self._turn = 0
        self._used = 0.0  # seconds of the processor that this run's threads took
        self._load = 1.0  # until it is known
        self._measured: tuple[float, float] | None = None

    def stop(self) -> None:
        """Finish the mails at hand, record, give the rest back, and return from :meth:`run`. A signal's handler may
        call it."""
        self._stop = True

    def hurry(self, *, handed: bool = False) -> None:
        """After :meth:`stop`: cut the connection of a peer that keeps :meth:`run` waiting, from another thread. A mail
        whose final dot is out is left its time unless ``handed``; then it counts as unknown and is sent again."""
        if isinstance(self._transport, SessionPool):
            self._transport.interrupt(handed=handed)

    def run(
        self,
        *,
        limit: int | None = None,
        ids: Sequence[int] | None = None,
        ranks: Collection[int] = tuple(Rank),
        also: Callable[[], Collection[int]] = tuple,
    ) -> RunReport:
        """Send until nothing is due (or ``limit`` mails were handled). With ``ids`` only those, whatever their time;
        else those of these ``ranks``, and of those that ``also`` gives when it is asked, once a second: a run that new
        mail keeps alive does not make the queue job late.

        Raises :class:`StoreError` when the store fails; what was sent by then is settled by the next run.
        """
        report = RunReport()
        began = self._clock.monotonic()
        self._stop = False
        self._also, self._ranks, self._hungry = also, ranks, True
        self._fresh(report)
        self._renewed = began
        report.recovered = self._recover()
        report.released = self._release()
        journal = Journal(self._journals, self.name)
        clean = False
        try:
            self._send_all(journal, limit, ids, ranks)
            clean = True
        finally:
            try:
                self._slots.close()
                if self._on_end:
                    self._on_end()
                if clean:
                    journal.close()
            finally:  # whatever happens, the journal is not left locked: the next run has the same name
                journal.abandon()
                report.seconds = self._clock.monotonic() - began
        return report

    def _send_all(self, journal: Journal, limit: int | None, ids: Sequence[int] | None, ranks: Collection[int]) -> None:
        """Drain, with what follows of it; whatever happens, sessions and books are brought to an end."""
        wait = SLOT_WAIT if ids is None else SLOT_WAIT_IDS
        self._kit = Kit(
            self._transport, self._clock, journal, self._slots, self._resting, self._step,
            lambda: self._stop or self._halted, self._keep_leases, wait,
            Permits(self._engine, self._clock, self._database, near=NEAR if ids is None else wait,
                    stopped=lambda: self._stop or self._halted),
        )  # fmt: skip
        keeper = threading.Thread(target=self._keep_books, args=(journal,), name="mailops-books", daemon=True)
        keeper.start()
        try:
            self._drain(limit, ids, ranks)
            while ids is None and limit is None and not self._stop and not self._halted and self._follow():
                self._drain(limit, ids, ranks)  # what came of it: reports to submitters
        except BaseException as error:
            self._fail(error)
        self._report.stopped = self._stop
        try:
            self._end_sessions()
        finally:
            with self._lock:
                self._closing = True
                self._told.notify()
            keeper.join()
        self._untried += [job.mail for lane in self._lanes.values() for job in lane.take_all()]
        try:
            self._give_back()
        except StoreError as error:  # the next run finds them open and not in the journal
            self._fail(error)
        self._report.left = len(self._left)
        if self._progress:
            self._progress(self._report)
        if self._fatal is not None:
            raise self._fatal

    def _follow(self) -> int:
        """What follows of a run, handed over; mail that waits must not suffer from what goes wrong with it."""
        told = 0
        try:
            told = self._tell()
        except StoreError:
            raise
        except MailopsError as error:
            log.warning("What follows of this run was not handed over: %s", error)
        return told + self._fed()

    def _recover(self) -> Recovered:
        """Settle what dead workers left, and tell again what listeners could not take."""
        servers = {server.key: server for server in self._setup().servers}
        now = self._clock.now()
        found = recover(self._engine, self._journals, now=now, book=self._book, servers=servers)
        self._book.pay(self._engine, now=now)
        return found

    def _release(self) -> int:
        """Make due what a clock that was ahead has put off."""
        longest = max((server.retry.cap for server in self._setup().servers), default=0)
        longest = max(longest, RetryPolicy().cap)
        count = leases.from_the_future(self._engine, now=self._clock.now(), longest=timedelta(seconds=longest))
        if count:
            log.warning("The clock was ahead when %s mails were queued or put off; they are due now.", count)
        return count

    # --- the dispatcher -----------------------------------------------------------------------------------------------

    def _drain(self, limit: int | None, ids: Sequence[int] | None, ranks: Collection[int]) -> None:
        """Hand out what is due until nothing is, nothing is under way, and all is recorded."""
        todo = None if ids is None else list(ids)
        left = limit
        empty: dict[tuple[str, int], float] = {}  # what gave nothing: when to ask again
        patience, asked, fed_out = 0, time.monotonic(), 0.0  # until when there is nothing to feed
        used = time.thread_time()
        while not (self._stop or self._halted):
            jobs: list[Job] = []
            due = False
            if time.monotonic() - asked >= 1:
                asked = time.monotonic()
                ranks = self._ranks = {*ranks, *self._also()}
            if todo:
                if self._held() <= self._batch:
                    part, todo = todo[: self._batch], todo[self._batch :]
                    jobs = self._take(len(part), ids=part)
            elif todo is None and (left is None or left > 0):
                wanted, due = self._wanted(ranks, empty)
                if wanted:
                    most = sum(one.number for one in wanted)
                    jobs = self._take(most if left is None else min(most, left), wanted=wanted)
                    left = None if left is None else left - len(jobs)
                    had = {(job.mail.lane, job.mail.rank) for job in jobs}
                    again = time.monotonic() + LOOK
                    empty |= {(one.lane, one.rank): again for one in wanted if (one.lane, one.rank) not in had}
                if left != 0 and fed_out <= time.monotonic() and self._short(wanted, jobs):
                    fed = self._fed()
                    due = due or fed > 0
                    fed_out = 0.0 if fed else time.monotonic() + COUNT
            patience = 0 if jobs else patience + 1
            self._keep_leases()
            given = self._give_back()
            due = due or given > 0
            left = None if left is None else left + given
            if self._progress:
                self._progress(self._report)
            with self._lock:
                self._used, used = self._used + time.thread_time() - used, time.thread_time()
                self._hand_out(jobs)
                if jobs or todo:
                    if todo and self._held_now() > self._batch:
                        self._changed.wait(LOOK)
                    continue
                over = todo is not None or left == 0 or not due or patience > EMPTY
                if over and self._idle and not (self._done or self._recording or self._untried):
                    return  # else a connection is somebody else's, or another worker was quicker
                self._told.notify()
                self._changed.wait(LOOK)

    def _wanted(self, ranks: Collection[int], empty: dict[tuple[str, int], float]) -> tuple[list[Wanted], bool]:
        """What to lease now: of each lane that has something due as much as is missing of its :func:`stock`; and
        whether anything is due."""
        now = time.monotonic()
        due = [one for one in leases.due(self._engine, now=self._clock.now()) if one[1] in ranks]
        self._hungry = all(rank != Rank.CAMPAIGN for _, rank in due)
        lanes = sorted({lane for lane, _ in due})
        self._turn += 1
        at = self._turn % max(len(lanes), 1)
        with self._lock:
            for lane in self._lanes.values():
                lane.dry = lane.key not in lanes
        found: list[Wanted] = []
        for key in (*lanes[at:], *lanes[:at]):
            with self._lock:
                lane = self._lane(key)
                if lane.closed_until > now:
                    continue
                size = stock(lane.pace, lane.sessions, self._batch)
                held = [len(queue) for queue in lane.queues]
                count = lane.sessions < lane.most and now - lane.counted_at > COUNT
            for _, rank in (one for one in due if one[0] == key and empty.get(one, 0.0) <= now):
                room = size - sum(held[: lane.kind(rank) + 1])
                if lane.kind(rank) == MASS and not held[MASS]:
                    room = max(room, 1)  # what is next when its turn comes
                elif 2 * room < size:
                    continue
                if room > 0:
                    found.append(Wanted(key, rank, min(room, self._batch)))
                    held[lane.kind(rank)] += found[-1].number  # what goes after it is asked for when it is known
            if count:
                lane.backlog = leases.backlog(self._engine, key, ranks, now=self._clock.now(), most=COUNTED)
                lane.counted_at = now
        return found, bool(due)

    def _short(self, wanted: Sequence[Wanted], jobs: Sequence[Job]) -> bool:
        """Whether the store has less mail to many than there is room for."""
        asked = sum(one.number for one in wanted if one.rank == Rank.CAMPAIGN)
        return self._hungry or sum(job.mail.rank == Rank.CAMPAIGN for job in jobs) < asked

    def _fed(self) -> int:
        """How many mails of campaigns were handed over now."""
        with self._database:
            return _patiently(lambda: self._feed(Rank.CAMPAIGN in self._ranks))

    def _take(
        self, size: int, *, wanted: Sequence[Wanted] | None = None, ids: Sequence[int] | None = None
    ) -> list[Job]:
        """Lease mails with their ways, by the set-up of this moment."""
        while True:
            course = self._refresh()
            jobs: dict[int, Job] = {}

            def place(mail: Leased) -> str:
                job = jobs[mail.mail_id] = way_of(mail, course)  # noqa: B023
                return job.server.key if job.server is not None else mail.lane  # its verdict needs no lane

            def take() -> list[Leased]:
                return leases.lease(
                    self._engine, self.name, now=self._clock.now(), batch=size, duration=self._lease, book=self._book,
                    wanted=wanted, ids=ids, place=place, stands=lambda: self._setup() == course.setup,  # noqa: B023
                )  # fmt: skip

            try:
                with self._database:
                    mails = _patiently(take)
            except leases.SetupChanged:
                continue
            if mails:
                self._left.difference_update(mail.mail_id for mail in mails)
                self._say("leased")
            return [self._job(mail, jobs.get(mail.mail_id), course) for mail in mails]

    def _job(self, mail: Leased, job: Job | None, course: Course) -> Job:
        """The job of a leased mail, some of whose recipients may have been taken out since it was placed."""
        return replace(job, mail=mail) if job is not None else way_of(mail, course)

    def _refresh(self) -> Course:
        """The course by the present set-up."""
        setup, course = self._setup(), self._course
        if course is None or setup != course.setup:
            key = self._readable_key()
            signed = frozenset(d.bounce_address.lower() for d in setup.alias_domains if key and d.bounce_address)
            course = Course(setup, Router(setup), key, signed, Signer({}, {}))
        self._course = course = replace(course, signer=self._signer())
        return course

    def _readable_key(self) -> bytes:
        """The key for return paths. Mail must not wait for it: where it cannot be read, they stay plain."""
        try:
            return self._tag_key() or b""
        except MailopsError as error:
            log.warning("Return paths are not signed in this run: %s", error)
            return b""

    def _keep_leases(self) -> None:
        """Renew the leases when a third of their time is over."""
        if self._clock.monotonic() - self._renewed > self._lease.total_seconds() / 3:
            self._renewed = self._clock.monotonic()
            with self._database:
                leases.renew(self._engine, self.name, until=self._clock.now() + self._lease)

    # --- lanes and sessions: under the lock ---------------------------------------------------------------------------

    def _lane(self, key: str) -> Lane:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, self._lock)
        return lane

    def _hand_out(self, jobs: Sequence[Job]) -> None:
        now, used = time.monotonic(), self._used
        if self._measured is None:  # what came before the first mails tells nothing of sending
            self._measured = (now, used) if jobs else None
        elif now - self._measured[0] >= LOOK:
            self._load = (used - self._measured[1]) / (now - self._measured[0])
            self._measured = now, used
        for job in jobs:
            lane = self._lane(job.server.key if job.server is not None else NOBODY)
            if lane.closed_until > time.monotonic():
                self._leave(job.mail)
                continue
            lane.most = sessions_for(job.server) if job.server is not None else 1
            lane.put(job)
        for lane in self._lanes.values():
            if lane.waiting and (not lane.sessions or self._another(lane)):
                self._open(lane)

    def _another(self, lane: Lane) -> str:
        if lane.sessions >= lane.most or lane.crowded_until > time.monotonic():
            return ""
        handled = self._report.handled
        return another(
            sessions=lane.sessions,
            most=max(lane.most - 1, 1) if lane.only_mass else lane.most,
            backlog=max(lane.backlog, lane.waiting),
            pace=lane.pace,
            cpu=self._used / handled if handled >= 20 else CPU_A_MAIL,
            load=self._load if len(self._done) <= RECORD else 1.0,  # the books are behind: none is of use
            quiet=self._clock.monotonic() - lane.refused_at,
            urgent=lane.urgent_waits,
        )

    def _open(self, lane: Lane) -> None:
        lane.sessions += 1
        name = f"mailops-{lane.key or 'nobody'}-{lane.sessions}"
        thread = threading.Thread(target=self._sit, args=(lane,), name=name, daemon=True)
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        thread.start()

    @property
    def _idle(self) -> bool:
        return not any(lane.waiting or lane.busy for lane in self._lanes.values())

    def _held_now(self) -> int:
        return sum(lane.waiting for lane in self._lanes.values())

    def _held(self) -> int:
        with self._lock:
            return self._held_now()

    def _leave(self, mail: Leased) -> None:
        self._untried.append(mail)
        self._left.add(mail.mail_id)

    def _give_back(self) -> int:
        """Give back what has no connection here, at once: another worker may have one, and so may this one soon. How
        many mails these were."""
        with self._lock:
            untried, self._untried = self._untried, []
        if untried:
            with self._database:
                _patiently(lambda: leases.release(self._engine, self.name, untried))
        return len(untried)

    # --- a session's thread -------------------------------------------------------------------------------------------

    def _sit(self, lane: Lane) -> None:
        """Send mails of a lane until there are none for a while, the run ends, or no connection is to be had."""
        sender = Sender(lane, self._kit)
        try:
            while (job := self._next(lane)) is not None:
                if not self._send(lane, sender, job):
                    break
            sender.close()
        except BaseException as error:
            self._fail(error)
            with contextlib.suppress(Exception):
                sender.close()
        finally:
            with self._lock:
                self._changed.notify()

    def _next(self, lane: Lane) -> Job | None:
        with self._lock:
            until = time.monotonic() + IDLE
            while not (self._stop or self._halted or lane.sessions > lane.most):
                if (job := lane.next()) is not None:
                    lane.busy += 1
                    lane.busy_rest += not job.urgent
                    if not lane.dry and 2 * lane.waiting <= stock(lane.pace, lane.sessions, self._batch):
                        self._changed.notify()
                    return job
                left = until - time.monotonic()
                if left <= 0:
                    break
                lane.ready.wait(min(left, LOOK))
            lane.sessions -= 1
            return None

    def _send(self, lane: Lane, sender: Sender, job: Job) -> bool:
        """Send one; whether the session goes on."""
        began, used = time.monotonic(), time.thread_time()
        settled, end, back = None, False, False
        self._keep_leases()
        try:
            settled = sender.send(job)
            self._troubles = 0
            if sender.hand.unwritten is not None:
                self._fail(sender.hand.unwritten)
        except NoRoom as error:
            end = back = True
            with self._lock:
                lane.crowded_until = time.monotonic() + CROWDED
                if error.taken:
                    lane.closed_until = time.monotonic() + CROWDED
        except StoreError as error:
            end = True
            if sender.hand.begun:
                settled = sender.troubled(job.mail, error)
            else:  # the journal cannot be written: nothing of this mail left
                back = True
            self._fail(error)
        except Exception as error:
            self._troubles += 1
            log.exception("mail %s was held up by a fault of mailops", job.mail.mail_id)
            settled = sender.troubled(job.mail, error)
            if self._troubles >= IN_A_ROW:
                self._fail(error)
        except BaseException:
            with self._lock:  # it stays open, and the next run settles it
                lane.sessions -= 1
                self._finished(lane, job)
            raise
        with self._lock:
            self._used += time.thread_time() - used
            if back:
                lane.put(job, back=True)
            if lane.closed_until > time.monotonic():
                for one in lane.take_all():
                    self._leave(one.mail)
            if settled is not None:
                self._count(settled)
                lane.backlog -= 1
                if sender.hand.begun:
                    lane.measure(time.monotonic() - began)
                if len(self._done) in (1, RECORD):
                    self._told.notify()
            if end:
                lane.sessions -= 1
            self._finished(lane, job)
            if lane.waiting and not (self._stop or self._halted or end) and self._another(lane):
                self._open(lane)
        return not end

    def _finished(self, lane: Lane, job: Job) -> None:
        lane.busy -= 1
        lane.busy_rest -= not job.urgent
        lane.ready.notify()
        if not lane.waiting:
            self._changed.notify()
            self._told.notify()

    def _count(self, settled: Settled) -> None:
        self._done.append(settled)
        report, state = self._report, settled.outcome.state
        if state is MailState.SENT:
            report.sent += 1
        elif settled.outcome.attempt == "unknown":
            report.unknown += 1
        elif state is MailState.OUTGOING:
            report.deferred += 1
        else:
            report.failed += 1

    # --- the books ----------------------------------------------------------------------------------------------------

    def _keep_books(self, journal: Journal) -> None:
        """Record outcomes as they come, together."""
        try:
            while done := self._come_in():
                used = time.thread_time()
                with self._database:
                    _patiently(
                        lambda: leases.settle(self._engine, self.name, done, now=self._clock.now(), book=self._book)
                    )
                journal.recorded(item.mail.attempt_id for item in done)
                self._say("settled")
                with self._lock:
                    self._used += time.thread_time() - used
                    self._recording = 0
                    self._changed.notify()
        except BaseException as error:
            self._fail(error)

    def _come_in(self) -> list[Settled]:
        """The outcomes of the next commit; empty at the end of the run."""
        with self._lock:
            while not self._done and not self._closing:
                self._told.wait()
            until = time.monotonic() + WITHIN
            while len(self._done) < RECORD and not self._closing and not self._idle:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._told.wait(left)
            done, self._done = self._done[:RECORD], self._done[RECORD:]
            self._recording = len(done)
            return done

    # --- the end ------------------------------------------------------------------------------------------------------

    def _fail(self, error: BaseException) -> None:
        """End the run with this error; the first one counts."""
        with self._lock:
            if self._fatal is None:
                self._fatal = error
            self._halted = True
            self._changed.notify()
            for lane in self._lanes.values():
                lane.ready.notify_all()

    def _end_sessions(self) -> None:
        """Let each session finish its mail. Where the run was broken off, a peer is not waited for long."""
        with self._lock:
            self._halted = True
            for lane in self._lanes.values():
                lane.ready.notify_all()
            threads = list(self._threads)
        began = time.monotonic()
        broken = self._fatal is not None and not isinstance(self._fatal, Exception)
        for thread in threads:
            while thread.is_alive():
                thread.join(LOOK)
                if self._fatal is not None and time.monotonic() - began > POLITE:
                    self.hurry(handed=broken and time.monotonic() - began > LAST)

    def _say(self, step: str) -> None:
        if self._step:
            self._step(step)


def _patiently(work: Callable[[], T]) -> T:
    """Do a piece of database work; a database that is locked or away gets some seconds to come back."""
    for wait in PATIENCE:
        try:
            return work()
        except StoreError as error:
            if error.code not in ("store.locked", "store.unreachable"):
                raise
            time.sleep(wait)
    return work()
