"""The queue worker: leases due mails, sends them, settles them.

One mail's way through :meth:`Worker.run`::

    lease (commit: attempt is open)
      → journal start → MAIL … final dot → answer → journal end
        → settle (commit: deliveries, state, events, counters)

* The database works in a thread of its own: while one batch is on the wire, the next is leased and the last settled.
* Kill -9 at any point loses nothing: the next run settles the dead worker's batch from its journal
  (:mod:`mailops.queue.recover`). Only a mail whose answer was in flight is sent again, with the same Message-ID.
* A server that cannot be reached is not asked again for :data:`REST` seconds; its mails are deferred with the reason.
* A fault of ours with one mail is that mail's: it waits with the reason, the others leave. :data:`IN_A_ROW` of them
  are a fault of the run, which ends with it.
* An answer that was read and cannot be journaled goes to the store at once, and the run ends.
* ``on_step`` hears every step by name, in order: ``leased``, ``journaled``, ``connected``, the transport's ``mail``,
  ``rcpt``, ``data``, ``body``, ``final-reply``, then ``recorded`` and ``settled``. Tests kill the process there.
"""

from __future__ import annotations

import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from sqlalchemy.engine import Engine

from ..errors import ConfigError, DeliveryError, MailopsError, MessageRefused, RouteError, StoreError
from ..ledger import Book
from ..ledger.values import Leased, Settled
from ..model.address import NULL_PATH
from ..model.setup import MailClass, RetryPolicy, Server, Setup
from ..model.states import FailureType, MailState
from ..model.tag import sign
from ..platforms import require_journal
from ..ports import Clock, Outbound, RecipientReply, SendResult, Session, Transport
from ..routing import Route, Router
from ..smtp import SessionPool
from . import lease as leases
from .compose import with_from, with_reply_to
from .fitting import fit
from .journal import Journal
from .outcome import explained, settle, surplus
from .recover import Recovered, recover
from .signing import Signer, without_signatures
from .submit import request_of

log = logging.getLogger(__name__)
REST = 30.0  # seconds before an unreachable server is asked again
JOURNAL_LIMIT = 8 * 1024 * 1024
IN_A_ROW = 5  # mails that may fail by faults of ours, one after the other
PATIENCE = (0.5, 2.0, 5.0)  # seconds between tries when the database is locked or away
Step = Callable[[str], None]
T = TypeVar("T")


@dataclass(slots=True)
class RunReport:
    """What a run did. Counts are mails, ``released`` those that a wrong clock had put off; ``seconds`` is wall time."""

    sent: int = 0
    failed: int = 0
    deferred: int = 0
    unknown: int = 0
    seconds: float = 0.0
    recovered: Recovered = field(default_factory=Recovered)
    stopped: bool = False
    released: int = 0

    @property
    def handled(self) -> int:
        return self.sent + self.failed + self.deferred + self.unknown


@dataclass(slots=True)
class _Batch:
    mails: list[Leased]
    leased_at: float


@dataclass(slots=True)
class _AtHand:
    """How far the mail at hand has come."""

    way: tuple[Server | None, Route | None] = (None, None)
    begun: bool = False  # it stands in the journal
    answer: SendResult | None = None
    unwritten: StoreError | None = None  # why the answer does not stand there


class Worker:
    """Sends what is due. One object per process or thread; several may run at once.

    ``setup`` is called for each batch, so a changed server or filter counts from the next batch on. ``tag_key`` gives
    the key that return paths are signed with; None leaves them plain. ``book`` is the ledger with its listeners.
    ``tell`` is called when nothing is due any more; it hands over mails that follow of the run, and says how many.
    ``signer`` gives the DKIM signer for a batch.

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
        signer: Callable[[], Signer] = lambda: Signer({}, {}),
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
        self._signer = signer
        self._sign = Signer({}, {})
        self._key = b""
        self._signed: set[str] = set()  # the bounce addresses that get a signed tag
        self._stop = False
        self._hand = _AtHand()
        self._troubles = 0  # mails in a row that a fault of ours held up
        self._sessions: dict[str, Session] = {}
        self._resting: dict[str, tuple[float, RecipientReply]] = {}
        self._router: Router | None = None
        self._routed: Setup | None = None
        self._servers: dict[str, Server] = {}

    def stop(self) -> None:
        """Finish the mail at hand, settle, give the rest back, and return from :meth:`run`."""
        self._stop = True

    def hurry(self, *, handed: bool = False) -> None:
        """After :meth:`stop`: cut the connection of a peer that keeps :meth:`run` waiting, from another thread. A mail
        whose final dot is out is left its time unless ``handed``; then it counts as unknown and is sent again."""
        if isinstance(self._transport, SessionPool):
            self._transport.interrupt(handed=handed)

    def run(self, *, limit: int | None = None, ids: Sequence[int] | None = None) -> RunReport:
        """Send until nothing is due (or ``limit`` mails were handled). With ``ids`` only those, whatever their time.

        Raises :class:`StoreError` when the store fails; what was sent by then is settled by the next run.
        """
        report = RunReport()
        began = self._clock.monotonic()
        self._stop = False
        report.recovered = self._recover()
        report.released = self._release()
        journal = Journal(self._journals, self.name)
        clean = False
        try:
            with ThreadPoolExecutor(1, thread_name_prefix="mailops-store") as database:
                self._drain(report, journal, database, limit, ids)
                while ids is None and limit is None and not self._stop and self._follow():
                    self._drain(report, journal, database, limit, ids)  # what came of it: reports to submitters
            clean = True
        finally:
            try:
                self._close_sessions()
                if self._on_end:
                    self._on_end()
                if clean:
                    journal.close()
            finally:  # whatever happens, the journal is not left locked: the next run has the same name
                journal.abandon()
                report.seconds = self._clock.monotonic() - began
        return report

    def _follow(self) -> int:
        """What follows of a run, handed over; mail that waits must not suffer from what goes wrong with it."""
        try:
            return self._tell()
        except StoreError:
            raise
        except MailopsError as error:
            log.warning("What follows of this run was not handed over: %s", error)
            return 0

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

    # --- the loop -----------------------------------------------------------------------------------------------------

    def _drain(
        self,
        report: RunReport,
        journal: Journal,
        database: ThreadPoolExecutor,
        limit: int | None,
        ids: Sequence[int] | None,
    ) -> None:
        requests = _requests(self._batch, limit, ids)

        def take() -> Future[_Batch] | None:
            request = None if self._stop else next(requests, None)
            return database.submit(self._take, *request) if request else None

        coming = take()
        settling: Future[None] | None = None
        try:
            while coming is not None:
                batch = coming.result()
                coming = None if not batch.mails and ids is None else take()
                if not batch.mails:
                    continue
                done, untried = self._send_batch(batch, journal, report)
                if settling is not None:
                    settling.result()
                settling = database.submit(self._settle, done, untried)
                if journal.size > JOURNAL_LIMIT:
                    settling.result()
                    journal.reset()
                if self._progress:
                    self._progress(report)
        finally:
            if settling is not None:
                settling.result()
            if coming is not None:  # a stop or an error left a leased batch
                leases.release(self._engine, self.name, coming.result().mails)
        report.stopped = self._stop

    def _take(self, size: int, ids: Sequence[int] | None) -> _Batch:
        def take() -> list[Leased]:
            now = self._clock.now()
            return leases.lease(
                self._engine, self.name, now=now, batch=size, duration=self._lease, ids=ids, book=self._book
            )

        mails = _patiently(take)
        if mails:
            self._say("leased")
        return _Batch(mails, self._clock.monotonic())

    def _settle(self, done: list[Settled], untried: list[Leased]) -> None:
        _patiently(lambda: leases.settle(self._engine, self.name, done, now=self._clock.now(), book=self._book))
        _patiently(lambda: leases.release(self._engine, self.name, untried))
        self._say("settled")

    # --- one batch ----------------------------------------------------------------------------------------------------

    def _send_batch(self, batch: _Batch, journal: Journal, report: RunReport) -> tuple[list[Settled], list[Leased]]:
        self._refresh()
        self._sign = self._signer()
        done: list[Settled] = []
        self._renewed = batch.leased_at
        for at, mail in enumerate(batch.mails):
            if self._stop:
                return done, batch.mails[at:]
            self._keep_leases()
            self._hand = _AtHand()
            try:
                settled = self._send(mail, journal)
                self._troubles = 0
            except StoreError as error:
                if self._hand.begun:
                    self._end_early([*done, self._troubled(mail, error)], batch.mails[at + 1 :])
                else:  # the journal cannot be written: nothing of this mail left
                    self._end_early(done, batch.mails[at:])
                raise
            except Exception as error:
                self._troubles += 1
                log.exception("mail %s was held up by a fault of mailops", mail.mail_id)
                settled = self._troubled(mail, error)
                if self._troubles >= IN_A_ROW:
                    self._end_early([*done, settled], batch.mails[at + 1 :])
                    raise
            done.append(settled)
            if self._hand.unwritten is not None:
                self._end_early(done, batch.mails[at + 1 :])
                raise self._hand.unwritten
            state = settled.outcome.state
            if state is MailState.SENT:
                report.sent += 1
            elif settled.outcome.attempt == "unknown":
                report.unknown += 1
            elif state is MailState.OUTGOING:
                report.deferred += 1
            else:
                report.failed += 1
        return done, []

    def _end_early(self, done: list[Settled], untried: Sequence[Leased]) -> None:
        """Settle what was sent and give the others back, before the run ends with an error."""
        leases.settle(self._engine, self.name, done, now=self._clock.now(), book=self._book)
        leases.release(self._engine, self.name, untried)

    def _troubled(self, mail: Leased, error: Exception) -> Settled:
        """What becomes of a mail that a fault of ours held up: the server's answer, where there was one; in doubt,
        where it was begun; else it waits for its next attempt."""
        self._close_sessions()
        if self._hand.answer is not None:
            return self._outcome(mail, self._hand.answer, *self._hand.way)
        text = f"mailops had trouble with this mail ({type(error).__name__}); its log says more"
        doubt = self._hand.begun
        reply = RecipientReply("", 0, None, text, "body") if doubt else RecipientReply("", 451, None, text, "local")
        return self._outcome(mail, replace(_everyone(mail, reply), unknown=doubt), *self._hand.way)

    def _keep_leases(self) -> None:
        """Renew the leases when a third of their time is over."""
        if self._clock.monotonic() - self._renewed > self._lease.total_seconds() / 3:
            leases.renew(self._engine, self.name, until=self._clock.now() + self._lease)
            self._renewed = self._clock.monotonic()

    def _refresh(self) -> None:
        setup = self._setup()
        if setup != self._routed:
            self._routed = setup
            self._key = self._readable_key()
            self._signed = {d.bounce_address.lower() for d in setup.alias_domains if self._key and d.bounce_address}
            self._router = Router(setup)
            self._servers = {server.key: server for server in setup.servers}
            self._close_sessions()

    def _readable_key(self) -> bytes:
        """The key for return paths. Mail must not wait for it: where it cannot be read, they stay plain."""
        try:
            return self._tag_key() or b""
        except MailopsError as error:
            log.warning("Return paths are not signed in this run: %s", error)
            return b""

    def _send(self, mail: Leased, journal: Journal) -> Settled:
        try:
            route, server, parts = self._prepare(mail)
            self._hand.way = (server, route)
        except (RouteError, ConfigError, MessageRefused) as error:
            result = SendResult(tuple(_local(r, error) for r in mail.recipients))
            return self._outcome(mail, result, None, None)
        if not mail.recipients:
            return self._outcome(mail, SendResult(()), server, route)
        resting = self._resting.get(server.key)
        if resting and resting[0] > self._clock.monotonic():
            return self._outcome(mail, _everyone(mail, resting[1]), server, route)
        # The session is opened first: until the journal says "start", nothing of this mail can be on the wire.
        try:
            session = self._session(server)
        except DeliveryError as error:
            reply = _reply_of(error)
            self._resting[server.key] = (self._clock.monotonic() + REST, reply)
            lines = error.facts.get("transcript") or ()
            return self._outcome(mail, _everyone(mail, reply), server, route, "\n".join(map(str, lines)))
        parts, signature = self._dress(mail, route, parts, session)
        changed = route.header_from if route.header_from != mail.header_from else None
        journal.start(
            mail.attempt_id,
            mail.mail_id,
            server,
            recipients=mail.recipients,
            sent_from=changed,
            envelope_from=route.envelope_from,
        )
        self._hand.begun = True
        self._say("journaled")
        result = self._hand.answer = session.send(parts[0], self._step)
        self._note(journal, mail, result)
        if len(parts) == 1:
            result = self._send_surplus(mail, parts[0], session, journal, result)
        else:
            result = self._send_each(mail, parts[1:], session, journal, result)
        if result.connection_lost:
            self._drop(server.key)
        return self._outcome(mail, result, server, route, "\n".join(result.transcript) or None, signature)

    def _note(self, journal: Journal, mail: Leased, result: SendResult) -> None:
        """Journal an answer. One that cannot be is in memory still, and the run ends with it in the store."""
        try:
            journal.end(mail.attempt_id, result)
        except StoreError as error:
            self._hand.unwritten = error
        self._say("recorded")

    def _send_surplus(
        self, mail: Leased, outbound: Outbound, session: Session, journal: Journal, result: SendResult
    ) -> SendResult:
        """Give a server that takes only so many recipients in one mail the others in further ones, as many at a time as
        it took (RFC 5321 §4.5.3.1.10). Each answer is journaled as it comes; a kill leaves one transaction in doubt."""
        portion = len(result.taken)
        while (left := surplus(result)) and not (self._stop or result.connection_lost or self._hand.unwritten):
            try:
                self._keep_leases()
                journal.further(left[:portion])
            except StoreError:
                break  # what the server took so far must be recorded first
            then = session.send(replace(outbound, recipients=left[:portion]), self._step)
            result = self._hand.answer = result.with_later(then)
            self._note(journal, mail, then)
            if set(surplus(result)) == set(left):
                break  # it takes nobody more for now
            portion = len(then.taken) or portion
        return result

    def _send_each(
        self, mail: Leased, parts: Sequence[Outbound], session: Session, journal: Journal, result: SendResult
    ) -> SendResult:
        """The further transactions of a mail that has one for each recipient. Who had no turn waits."""
        why = ""
        for part in parts:
            if not why and (self._stop or result.connection_lost or self._hand.unwritten):
                why = "mailops was stopped" if self._stop else "The connection ended"
            if not why:
                try:
                    self._keep_leases()
                    journal.further(part.recipients)
                except StoreError as error:
                    why = error.message.rstrip(".")
            if why:
                said = f"{why} before this recipient's turn"
                left = tuple(RecipientReply(r, 0, None, said, "connect") for r in part.recipients)
                result = result.with_later(replace(result, replies=left, transcript=()))
                continue
            then = session.send(part, self._step)
            result = self._hand.answer = result.with_later(then)
            self._note(journal, mail, then)
        return result

    def _prepare(self, mail: Leased) -> tuple[Route, Server, list[Outbound]]:
        """The way of a mail and its transactions (one, or for a mass mail with signed return paths one a recipient),
        with their bytes before the server is known to take them."""
        assert self._router is not None
        assert self._routed is not None
        route = self._router.route(request_of(mail, self._routed))
        if route.failure is not None or not route.header_from or not route.envelope_from:
            raise RouteError(
                "The mail's From cannot be used."
                if route.failure is FailureType.FROM_INVALID
                else "The mail has no From, and no notification address is configured.",
                code=f"route.{(route.failure or FailureType.FROM_MISSING).value}",
                facts={"from": mail.header_from},
                fix="Set an alias domain with a default-from address for the company, or give the mail a usable From.",
            )
        raw = mail.raw
        rewritten = route.header_from != mail.header_from
        if rewritten:
            raw = with_from(raw, mail.from_start, mail.from_end, route.header_from)
            raw, _ = without_signatures(raw)  # the rewrite broke them
        if route.reply_to:
            raw = with_reply_to(raw, route.reply_to)
        path = "" if route.envelope_from == NULL_PATH else str(route.envelope_from)
        outbound = Outbound(path, mail.recipients, raw, mail.smtputf8, mail.eightbit)
        parts = [outbound]
        if self._signed and path.lower() in self._signed:
            parts = self._tagged(mail, outbound)
            route = replace(route, envelope_from=parts[0].envelope_from)
        return route, self._server_of(route), parts

    def _tagged(self, mail: Leased, plain: Outbound) -> list[Outbound]:
        """Transactions whose return path says which mail they are of, and to whom where it is to one."""

        def one(recipients: tuple[str, ...]) -> Outbound:
            to = recipients[0] if len(recipients) == 1 else None
            path = sign(plain.envelope_from, mail.mail_id, self._key, at=self._clock.now(), recipient=to)
            return replace(plain, envelope_from=path, recipients=recipients)

        if mail.mail_class == MailClass.MASS.value:
            return [one((recipient,)) for recipient in plain.recipients]
        return [one(plain.recipients)]

    def _dress(
        self, mail: Leased, route: Route, parts: Sequence[Outbound], session: Session
    ) -> tuple[list[Outbound], str | None]:
        """The mail as this server takes it, signed last; and what became of it in words."""
        fitted = fit(parts[0].data, getattr(session, "offers", None))
        before = mail.raw if route.header_from != mail.header_from else b""
        raw, signature = self._sign.prepare(fitted.data, route.header_from or "", before)
        told = "; ".join(filter(None, (fitted.told, signature))) or None

        def dressed(part: Outbound) -> Outbound:
            utf8 = fitted.utf8 or not all(address.isascii() for address in part.recipients)
            return replace(part, data=raw, smtputf8=part.smtputf8 and utf8, eightbit=fitted.eightbit)

        return [dressed(part) for part in parts], told

    def _server_of(self, route: Route) -> Server:
        assert self._routed is not None
        return route.effective_server(self._routed)

    def _session(self, server: Server) -> Session:
        session = self._sessions.get(server.key)
        if session is None:
            session = self._transport.connect(server)
            self._sessions[server.key] = session
            self._say("connected")
        return session

    def _drop(self, key: str) -> None:
        session = self._sessions.pop(key, None)
        if session is not None:
            session.close()

    def _close_sessions(self) -> None:
        for key in list(self._sessions):
            self._drop(key)

    def _outcome(
        self,
        mail: Leased,
        result: SendResult,
        server: Server | None,
        route: Route | None,
        transcript: str | None = None,
        signature: str | None = None,
    ) -> Settled:
        outcome = settle(
            result,
            others=mail.others,
            policy=server.retry if server else RetryPolicy(),
            queued_at=mail.queued_at,
            attempts=mail.attempts,
            now=self._clock.now(),
            server_name=server.name if server else "none",
            senders=(route.header_from, route.envelope_from) if route else (mail.header_from,),
        )
        outcome = explained(outcome, result, server)
        changed = route is not None and route.header_from != mail.header_from
        return Settled(
            mail,
            outcome,
            server.key if server else "none",
            route.header_from if route and changed else None,
            route.envelope_from if route else None,
            transcript[:20_000] if transcript else None,
            signature,
        )

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


def _requests(batch: int, limit: int | None, ids: Sequence[int] | None) -> Iterator[tuple[int, Sequence[int] | None]]:
    """What to lease, batch by batch: (how many, of which ids)."""
    if ids is not None:
        for at in range(0, len(ids), batch):
            part = ids[at : at + batch]
            yield len(part), part
        return
    left = limit
    while left is None or left > 0:
        size = batch if left is None else min(batch, left)
        yield size, None
        left = None if left is None else left - size


def _everyone(mail: Leased, reply: RecipientReply) -> SendResult:
    return SendResult(tuple(replace(reply, recipient=r) for r in mail.recipients), connection_lost=True)


def _local(recipient: str, error: MailopsError) -> RecipientReply:
    return RecipientReply(recipient, 554, None, f"{error.message} {error.fix}", "local")


def _reply_of(error: DeliveryError) -> RecipientReply:
    facts = error.facts
    return RecipientReply(
        "",
        int(facts.get("smtp_code") or 0),
        facts.get("enhanced"),
        str(facts.get("text") or error.message),
        str(facts.get("stage") or "connect"),
        {**facts, "code": error.code, "fix": error.fix} if error.code.startswith("auth.") else None,
    )
