"""The queue as one object to hold: what the command line, the notebooks and programs call."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import Engine

from ..errors import RouteError
from ..model.mail import URGENT, MailView, Submission
from ..model.numbers import within
from ..model.states import MailState, Rank
from ..platforms import require_journal
from . import holds, job, view
from .together import Together

if TYPE_CHECKING:
    import pandas as pd

    from ..ledger import Book
    from ..model.mail import Composed
    from ..model.setup import Setup
    from ..ports import Clock
    from ..routing import Route
    from ..smtp import SmtpTransport
    from .actions import Done, Preview
    from .filters import QueueFilter
    from .signing import Signer
    from .worker import RunReport, Worker

JOB = "Mail: Email Queue Manager"
URGENT_HOLD = timedelta(minutes=5)  # how long the queue job leaves an urgent mail to the one who submitted it


class Queue:
    """The outgoing queue of one store.

    ``setup`` gives the present servers and companies; ``transport`` makes the SMTP transport when something is sent.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        setup: Callable[[], Setup],
        transport: Callable[[], SmtpTransport],
        clock: Clock,
        journals: Path,
        batch: int = 200,
        keep_sent: timedelta | None = None,
        minutes: int = 60,
        book: Callable[[], Book],
        tag_key: Callable[[], bytes | None] = lambda: None,
        tell: Callable[[], int] = lambda: 0,
        feed: Callable[[bool], int] = lambda _mass: 0,
        signer: Callable[[], Signer],
    ) -> None:
        self._engine = engine
        self._setup = setup
        self._transport = transport
        self._clock = clock
        self._journals = journals
        self._batch = batch
        self._keep = keep_sent
        self._minutes = minutes
        self._get_book = book
        self._together = Together(self._store)
        self._tag_key = tag_key
        self._tell = tell
        self._feed = feed
        self._signer = signer

    @cached_property
    def _book(self) -> Book:
        return self._get_book()

    # --- in -----------------------------------------------------------------------------------------------------------

    def submit(self, submission: Submission, *, urgent: bool = False) -> int:
        """Store a mail as *Outgoing* and return its id. An urgent one is sent at once, without waiting for the job;
        it then appears in the queue only if it fails."""
        from . import lease as leases
        from . import submit as submitting

        if urgent:
            require_journal("an urgent mail")  # before it is stored: nobody would send it at once
        hold = URGENT_HOLD if urgent else None
        if urgent and not submission.origin.endswith(URGENT):
            submission = replace(submission, origin=submission.origin + URGENT)
        mail_id = submitting.submit(
            self._engine, submission, setup=self._setup(), clock=self._clock, book=self._book, hold=hold
        )
        if urgent and not self.run(ids=[mail_id]).handled:
            leases.make_due(self._engine, mail_id, now=self._clock.now())  # every connection is in use: who attends it
        return mail_id

    def hand_over(
        self,
        submission: Submission,
        *,
        setup: Setup | None = None,
        check: Callable[[Route, int], None] = lambda _route, _size: None,
    ) -> int:
        """As :meth:`submit`, for a listener with many threads: what is handed over at the same time shares a commit.

        ``check`` hears how the mail would leave now, with its size in octets, and may raise
        :class:`mailops.errors.MessageRefused` for one that is known to fail. ``setup`` is the present one, where the
        caller has read it already.
        """
        from ..routing import RouteRequest, route
        from . import submit as submitting

        setup = setup or self._setup()
        composed = submitting.prepare(submission, setup, self._clock.now())
        company = submitting.company_of(setup, submission.company)
        request = RouteRequest(
            composed.header_from,
            setup.domain_of(company),
            submission.server,
            submission.return_path,
            submission.bounces,
        )
        with contextlib.suppress(RouteError):  # who can carry it may be known when it is due
            check(route(request, setup), len(composed.raw))
        return self._together.put((submission, composed, setup))

    def _store(self, prepared: Sequence[tuple[Submission, Composed, Setup]]) -> list[int]:
        from . import submit as submitting

        mails = [(submission, composed) for submission, composed, _ in prepared]
        setup, now = prepared[-1][2], self._clock.now()
        return submitting.commit(self._engine, mails, setup=setup, now=now, book=self._book)

    def submit_many(self, submissions: Iterable[Submission]) -> Iterator[int]:
        """Store many mails with group commits; yields each id after its commit."""
        from . import submit as submitting

        return submitting.submit_many(
            self._engine, submissions, setup=self._setup(), clock=self._clock, book=self._book
        )

    # --- out ----------------------------------------------------------------------------------------------------------

    def worker(
        self,
        *,
        on_progress: Callable[[RunReport], None] | None = None,
        on_step: Callable[[str], None] | None = None,
    ) -> Worker:
        """A worker on this queue, for programs that want to stop it themselves.

        Its sessions are kept between mails; one that the server closed meanwhile is opened again unnoticed. How many
        there are at a time is shared with every worker of the store (:mod:`.slots`).
        """
        from ..smtp import SessionPool
        from .slots import slots_for
        from .worker import Worker

        pool = SessionPool(self._transport(), self._clock, keep=False)  # an idle connection counts at the other end
        return Worker(
            self._engine,
            pool,
            setup=self._setup,
            clock=self._clock,
            journals=self._journals,
            batch=self._batch,
            on_progress=on_progress,
            on_step=on_step,
            book=self._book,
            on_end=pool.close,
            tag_key=self._tag_key,
            tell=self._tell,
            feed=self._feed,
            signer=self._signer,
            slots=slots_for(self._engine, self._journals.parent / "slots"),
        )

    def run(
        self,
        *,
        limit: int | None = None,
        ids: Sequence[int] | None = None,
        on_progress: Callable[[RunReport], None] | None = None,
    ) -> RunReport:
        """One run of the queue job: everything due is tried once. With ``ids`` only those.

        Raises :class:`PlatformError` where the platform lacks what a worker needs (Windows).
        """
        require_journal("Ops.queue.run")
        if ids is not None:
            return self.worker(on_progress=on_progress).run(limit=limit, ids=ids)
        with self.as_job():
            return self.worker(on_progress=on_progress).run(limit=limit)

    def send_now(self, chosen: QueueFilter, *, on_progress: Callable[[RunReport], None] | None = None) -> RunReport:
        """*Send Now*: try the chosen *Outgoing* mails at once, whatever their schedule."""
        from . import actions

        require_journal("Ops.queue.send_now")
        return self.run(ids=actions.sendable(self._engine, chosen), on_progress=on_progress)

    def attend(self) -> job.Attendance:
        """What tells a process that attends the queue when to run it, and with which ranks."""
        return job.Attendance(self._engine, self._clock, self._minutes)

    def trigger(self, at: datetime | None = None) -> datetime:
        """Let the queue job run at this time (now) beside its usual ones, where ``mailops serve`` attends the queue;
        gives back when it runs next."""
        now = self._clock.now()
        job.trigger(self._engine, at or now)
        return min(max(at or now, now), job.next_job(now, self._minutes))

    def hold(self, domain: str, until: datetime | timedelta, *, why: str = "", actor: str = "") -> holds.Hold:
        """Let mail to a recipient domain wait until a time, or for a span; nothing else waits behind it. Raises
        :class:`InputRefused`."""
        now = self._clock.now()
        if isinstance(until, timedelta):
            within("The hours of a hold", until / timedelta(hours=1), "hours")
        when = now + until if isinstance(until, timedelta) else until
        return holds.hold(self._engine, domain, when, why=why, actor=actor or None, now=now)

    def end_hold(self, domain: str) -> None:
        """End a hold early. Raises :class:`NotFound`."""
        holds.end(self._engine, domain)

    def holds(self) -> list[holds.Hold]:
        """The recipient domains to which mail is held now."""
        return holds.active(self._engine, now=self._clock.now())

    @contextlib.contextmanager
    def as_job(self) -> Iterator[None]:
        """A run of the job by hand: it serves what was triggered up to now, and how long it takes is noted."""
        now = self._clock.now()
        triggered = job.triggered(job.times(self._engine))
        if triggered is not None and triggered < now:
            job.ran(self._engine, now)
        job.begins(self._engine, job.JOB, now)
        yield
        job.ended(self._engine, job.JOB, self._clock.now())

    @property
    def next_job(self) -> datetime:
        """When the queue job runs next."""
        now = self._clock.now()
        triggered = job.triggered(job.times(self._engine))
        usual = job.next_job(now, self._minutes)
        return usual if triggered is None else min(usual, max(triggered, now))

    def _leaving(self, mails: tuple[MailView, ...]) -> tuple[MailView, ...]:
        """The mails, each *Outgoing* one with when it leaves."""
        if not any(mail.state is MailState.OUTGOING for mail in mails):
            return mails
        triggered, now = job.triggered(job.times(self._engine)), self._clock.now()
        held = {one.domain: one for one in holds.active(self._engine, now=now)}
        lanes = self._lanes_that_wait({mail.lane for mail in mails if mail.state is MailState.OUTGOING}, now)
        told = []
        for mail in mails:
            when = job.leaving(mail, now=now, minutes=self._minutes, triggered=triggered)
            over = job.held(mail, held) if when else None
            lane = lanes.get(mail.lane) if when and mail.rank != Rank.URGENT else None
            words = when.words if when else None
            if over and not (lane and lane[0] > over.until):
                words = job.held_words(over, now)
            elif lane and when and lane[0] > when.at:
                words = job.lane_words(mail.lane, *lane, now)
            told.append(replace(mail, leaves=words) if words else mail)
        return tuple(told)

    def _lanes_that_wait(self, keys: set[str], now: datetime) -> dict[str, tuple[datetime, str]]:
        """Of these servers those that are held, or have a limit without room: until when, and why."""
        from ..limits import store as limits
        from ..limits.values import frees_at, windows_of
        from ..model.setup import Authentication
        from ..routing import default_server
        from .slots import account_of

        found = {one.server: (one.until, one.why) for one in holds.active_lanes(self._engine, now=now)}
        setup = self._setup()
        servers = [one for one in setup.servers if one.key in keys and one.key not in found]
        own = limits.own(self._engine) if servers else []
        for server in servers:
            if not (windows := [one for one in windows_of(server, setup, own, now) if not one.fails]):
                continue
            counted = default_server(setup) if server.authentication is Authentication.CLI else server
            used = limits.used(self._engine, account_of(counted), windows, now)
            until, full = max(
                ((frees_at(window, uses, 1, now), window) for window, uses in zip(windows, used, strict=True)),
                key=lambda one: one[0],
            )
            if until > now:
                found[server.key] = (until, f"the limit of {full.said} is reached")
        return found

    # --- by hand ------------------------------------------------------------------------------------------------------

    def preview(self, action: str, chosen: QueueFilter) -> Preview:
        """What ``retry``, ``cancel`` or ``send_now`` would take; nothing is changed."""
        from . import actions

        return actions.preview(self._engine, action, chosen)

    def retry(self, chosen: QueueFilter | int, *, actor: str = "", recipients: tuple[str, ...] | None = None) -> Done:
        """*Retry*: failed mails become *Outgoing*; they leave with the next run of the queue job. Raises
        :class:`NotFound` for one mail that is not there."""
        from . import actions

        if isinstance(chosen, int):
            self.mail(chosen)  # raises for one that is not there
        chosen = actions.single(chosen) if isinstance(chosen, int) else chosen
        return actions.retry(
            self._engine, chosen, clock=self._clock, book=self._book, actor=actor, recipients=recipients
        )

    def cancel(self, chosen: QueueFilter | int, *, actor: str = "") -> Done:
        """*Cancel Email*: the next run skips these mails."""
        from . import actions

        chosen = actions.single(chosen) if isinstance(chosen, int) else chosen
        return actions.cancel(self._engine, chosen, clock=self._clock, book=self._book, actor=actor)

    def ignore(self, chosen: QueueFilter | int, *, actor: str = "") -> Done:
        """Settle *Partly sent* mails: their failed recipients need nobody any more."""
        from . import actions

        chosen = actions.single(chosen) if isinstance(chosen, int) else chosen
        return actions.ignore(self._engine, chosen, clock=self._clock, book=self._book, actor=actor)

    def vacuum(self, keep: timedelta | None = None) -> int:
        """*Auto-Vacuum*: remove old sent mails; failures and all counters stay."""
        from .vacuum import KEEP, vacuum

        kept = self._keep if keep is None else keep
        return vacuum(self._engine, clock=self._clock, keep=KEEP if kept is None else kept)

    # --- looking ------------------------------------------------------------------------------------------------------

    def counts(self) -> dict[MailState, int]:
        """How many mails are in each state."""
        return view.counts(self._engine)

    def page(
        self,
        chosen: QueueFilter | None = None,
        *,
        offset: int = 0,
        limit: int = 25,
        sort: str = "id",
        descending: bool = True,
    ) -> view.Page:
        """One page of mails with their deliveries."""
        page = view.page(self._engine, chosen, offset=offset, limit=limit, sort=sort, descending=descending)
        return replace(page, mails=self._leaving(page.mails))

    def mail(self, mail_id: int) -> MailView:
        """One mail with its deliveries."""
        return self._leaving((view.mail(self._engine, mail_id),))[0]

    def raw(self, mail_id: int) -> bytes:
        """A mail's bytes as stored."""
        return view.raw(self._engine, mail_id)

    def history(self, mail_id: int) -> list[view.HistoryLine]:
        """Every event of a mail, also of one that is gone."""
        return view.history(self._engine, mail_id)

    def causes(self, chosen: QueueFilter | None = None) -> list[tuple[str, str, int]]:
        """Failures grouped: (reason word, recipient domain, number)."""
        return view.causes(self._engine, chosen)

    def frame(self, chosen: QueueFilter | None = None, *, limit: int = 10_000) -> pd.DataFrame:
        """The newest ``limit`` mails as a pandas frame, one row per recipient."""
        from .frame import queue_frame

        return queue_frame(self.page(chosen, limit=limit).mails)

    def health(self) -> view.QueueHealth:
        """Figures for a first look: counts by state, oldest waiting mail, due now."""
        return view.health(self._engine, now=self._clock.now())
