"""One mail on one session: its way, its bytes as this server takes them, the wire, and what becomes of it.

A :class:`Sender` belongs to a thread and holds that thread's connection, and its slot as long as it is open. The
session is opened before the journal says "start": until then nothing of a mail can be on the wire.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..errors import ConfigError, DeliveryError, MailopsError, MessageRefused, RouteError, StoreError
from ..ledger.values import Leased, Settled
from ..limits.store import Permit
from ..model.address import NULL_PATH
from ..model.setup import Authentication, MailClass, RetryPolicy, Server
from ..model.states import FailureType
from ..model.tag import sign
from ..ports import Clock, Outbound, RecipientReply, SendResult, Session, Transport
from ..routing import Route, default_server
from ..store.exclusive import Free
from .compose import with_from, with_reply_to
from .fitting import fit
from .journal import Journal
from .lanes import Course, Job, Lane
from .outcome import SERVER_STAGES, beyond, explained, settle, surplus
from .permits import Later, Permits, Reached
from .signing import without_signatures
from .slots import Slots, account_of, sessions_for
from .submit import request_of

log = logging.getLogger(__name__)
REST = 30.0  # seconds before an unreachable server is asked again
AGAIN = 0.02  # seconds between looks for a free slot


class NoRoom(Exception):
    """No session is to be had now, and the mail is untouched: ``taken`` says that all slots are somebody else's, else
    other sessions of the lane go on."""

    def __init__(self, *, taken: bool) -> None:
        super().__init__("no connection is to be had")
        self.taken = taken


@dataclass(slots=True)
class Kit:
    """What the sessions of a worker share. ``resting`` holds servers that could not be reached: until when, and what
    they said; ``patience`` is for how many seconds a session waits for a slot."""

    transport: Transport
    clock: Clock
    journal: Journal
    slots: Slots
    resting: dict[str, tuple[float, RecipientReply]]
    step: Callable[[str], None] | None
    stopped: Callable[[], bool]
    keep_leases: Callable[[], None]
    patience: float
    permits: Permits

    def say(self, step: str) -> None:
        if self.step:
            self.step(step)


@dataclass(slots=True)
class AtHand:
    """How far the mail at hand has come."""

    way: tuple[Server | None, Route | None] = (None, None)
    begun: bool = False  # it stands in the journal
    answer: SendResult | None = None
    unwritten: StoreError | None = None  # why the answer does not stand there


class Sender:
    """Sends the mails of a lane, one by one."""

    def __init__(self, lane: Lane, kit: Kit) -> None:
        self._lane = lane
        self._kit = kit
        self._session: Session | None = None
        self._server: Server | None = None
        self._slot: Free | None = None
        self.hand = AtHand()

    def send(self, job: Job) -> Settled:
        """Send a mail, or say why it cannot be. Raises :class:`NoRoom` with the mail untouched, :class:`StoreError`
        when it cannot be journaled, and what a fault of ours raises; :attr:`hand` says how far it came."""
        self.hand = AtHand()
        kit, mail = self._kit, job.mail
        try:
            route, server, parts = self._prepare(job)
            self.hand.way = (server, route)
        except (RouteError, ConfigError, MessageRefused) as error:
            result = SendResult(tuple(_local(r, error) for r in mail.recipients))
            return self._outcome(mail, result, None, None)
        if not mail.recipients:
            return self._outcome(mail, SendResult(()), server, route)
        resting = kit.resting.get(server.key)
        if resting and resting[0] > kit.clock.monotonic():
            return self._outcome(mail, _everyone(mail, resting[1]), server, route)
        try:
            session = self._connected(server, job.course)
        except DeliveryError as error:
            if kit.stopped():
                raise NoRoom(taken=True) from error  # it was cut
            self._lane.refused_at = kit.clock.monotonic()
            if self._lane.connected:
                raise NoRoom(taken=False) from error
            reply = _reply_of(error)
            kit.resting[server.key] = (kit.clock.monotonic() + REST, reply)
            lines = error.facts.get("transcript") or ()
            return self._outcome(mail, _everyone(mail, reply), server, route, "\n".join(map(str, lines)))
        try:
            permit = kit.permits.take(server, job.course.setup, messages=1, recipients=len(parts[0].recipients))
        except Reached as error:
            text = str(error)
            said = SendResult(tuple(RecipientReply(r, 0, None, text, "local") for r in mail.recipients))
            settled = self._outcome(mail, said, server, route)
            return replace(settled, outcome=beyond(settled.outcome, text))
        except Later as error:
            kit.permits.hold(self._lane.key, error)
            raise NoRoom(taken=True) from error
        return self._transmit(job, route, server, parts, session, permit)

    def _transmit(
        self,
        job: Job,
        route: Route,
        server: Server,
        parts: Sequence[Outbound],
        session: Session,
        permit: Permit | None,
    ) -> Settled:
        """The transactions of a mail, journaled before and after. ``permit`` is that of the first one."""
        kit, mail = self._kit, job.mail
        try:
            parts, signature = self._dress(job, route, parts, session)
            changed = route.header_from if route.header_from != mail.header_from else None
            kit.journal.start(
                mail.attempt_id,
                mail.mail_id,
                server,
                recipients=mail.recipients,
                sent_from=changed,
                envelope_from=route.envelope_from,
                rule=route.rule.number,
            )
            self.hand.begun = True
            kit.say("journaled")
            result = self.hand.answer = session.send(parts[0], kit.step)
        finally:
            kit.permits.close(permit)
        self._note(mail, result)
        if len(parts) == 1:
            result = self._send_surplus(job, server, parts[0], session, result)
        else:
            result = self._send_each(job, server, parts[1:], session, result)
        if any(_turns_away(reply) for reply in result.replies):
            self._lane.refused_at = kit.clock.monotonic()
        if result.connection_lost:
            self.close()
        return self._outcome(mail, result, server, route, "\n".join(result.transcript) or None, signature)

    def troubled(self, mail: Leased, error: Exception) -> Settled:
        """What becomes of a mail that a fault of ours held up: the server's answer, where there was one; in doubt,
        where it was begun; else it waits for its next attempt."""
        self.close()
        if self.hand.answer is not None:
            return self._outcome(mail, self.hand.answer, *self.hand.way)
        text = f"mailops had trouble with this mail ({type(error).__name__}); its log says more"
        doubt = self.hand.begun
        reply = RecipientReply("", 0, None, text, "body") if doubt else RecipientReply("", 451, None, text, "local")
        return self._outcome(mail, replace(_everyone(mail, reply), unknown=doubt), *self.hand.way)

    def close(self) -> None:
        """End the connection, then let its slot go."""
        session, self._session, self._server = self._session, None, None
        try:
            if session is not None:
                session.close()
        finally:
            if session is not None:
                with self._lane.lock:
                    self._lane.connected -= 1
            self._free()

    # --- the connection -----------------------------------------------------------------------------------------------

    def _connected(self, server: Server, course: Course) -> Session:
        if self._session is not None and self._server == server:
            return self._session
        self.close()
        counted = default_server(course.setup) if server.authentication is Authentication.CLI else server
        self._slot = self._slot_for(account_of(counted), sessions_for(server))
        try:
            self._session = self._kit.transport.connect(server)
        except BaseException:
            self._free()
            raise
        self._server = server
        with self._lane.lock:
            self._lane.connected += 1
        self._kit.say("connected")
        return self._session

    def _slot_for(self, account: str, most: int) -> Free:
        until = time.monotonic() + self._kit.patience
        while (slot := self._kit.slots.take(account, most)) is None:
            if self._lane.connected:
                raise NoRoom(taken=False)
            if time.monotonic() > until or self._kit.stopped():
                raise NoRoom(taken=True)
            time.sleep(AGAIN)
        return slot

    def _free(self) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            slot()

    # --- the wire -----------------------------------------------------------------------------------------------------

    def _note(self, mail: Leased, result: SendResult) -> None:
        """Journal an answer. One that cannot be is in memory still, and the run ends with it in the store."""
        try:
            self._kit.journal.end(mail.attempt_id, result)
        except StoreError as error:
            self.hand.unwritten = error
        self._kit.say("recorded")

    def _further(self, job: Job, server: Server, recipients: int) -> Permit | str | None:
        """A permit for a further transaction of the mail at hand, counting so many new recipients; or why there is
        none, and the server is held until there is."""
        try:
            return self._kit.permits.take(server, job.course.setup, messages=1, recipients=recipients)
        except Later as error:
            self._kit.permits.hold(self._lane.key, error)
            return error.why
        except Reached:
            return "the daily limit is reached"

    def _send_surplus(
        self, job: Job, server: Server, outbound: Outbound, session: Session, result: SendResult
    ) -> SendResult:
        """Give a server that takes only so many recipients in one mail the others in further ones, as many at a time as
        it took (RFC 5321 §4.5.3.1.10), with a permit each. Each answer is journaled as it comes; a kill leaves one
        transaction in doubt."""
        mail, portion = job.mail, len(result.taken)
        while (left := surplus(result)) and not (self._kit.stopped() or result.connection_lost or self.hand.unwritten):
            permit = self._further(job, server, 0)  # all recipients are counted already
            if isinstance(permit, str):
                break
            try:
                self._kit.keep_leases()
                self._kit.journal.further(mail.attempt_id, left[:portion])
                then = session.send(replace(outbound, recipients=left[:portion]), self._kit.step)
            except StoreError:
                break  # what the server took so far must be recorded first
            finally:
                self._kit.permits.close(permit)
            result = self.hand.answer = result.with_later(then)
            self._note(mail, then)
            if set(surplus(result)) == set(left):
                break  # it takes nobody more for now
            portion = len(then.taken) or portion
        return result

    def _send_each(
        self, job: Job, server: Server, parts: Sequence[Outbound], session: Session, result: SendResult
    ) -> SendResult:
        """The further transactions of a mail that has one for each recipient, with a permit each. Who had no turn
        waits."""
        mail, why = job.mail, ""
        permit: Permit | None = None
        for part in parts:
            if not why and (self._kit.stopped() or result.connection_lost or self.hand.unwritten):
                why = "mailops was stopped" if self._kit.stopped() else "The connection ended"
            if not why:
                got = self._further(job, server, len(part.recipients))
                permit, why = (None, got) if isinstance(got, str) else (got, "")
            if not why:
                try:
                    self._kit.keep_leases()
                    self._kit.journal.further(mail.attempt_id, part.recipients)
                except StoreError as error:
                    self._kit.permits.close(permit)
                    why = error.message.rstrip(".")
            if why:
                said = f"{why} before this recipient's turn"
                left = tuple(RecipientReply(r, 0, None, said, "connect") for r in part.recipients)
                result = result.with_later(replace(result, replies=left, transcript=()))
                continue
            try:
                then = session.send(part, self._kit.step)
            finally:
                self._kit.permits.close(permit)
            result = self.hand.answer = result.with_later(then)
            self._note(mail, then)
        return result

    def _prepare(self, job: Job) -> tuple[Route, Server, list[Outbound]]:
        """The way of a mail and its transactions (one, or for a mass mail with signed return paths one a recipient),
        with their bytes before the server is known to take them."""
        if job.error is not None:
            raise job.error
        mail, route, server = job.mail, job.route, job.server
        assert route is not None
        assert server is not None
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
        if path.lower() in job.course.signed:
            parts = self._tagged(mail, outbound, job.course.key)
            route = replace(route, envelope_from=parts[0].envelope_from)
        return route, server, parts

    def _tagged(self, mail: Leased, plain: Outbound, key: bytes) -> list[Outbound]:
        """Transactions whose return path says which mail they are of, and to whom where it is to one."""

        def one(recipients: tuple[str, ...]) -> Outbound:
            to = recipients[0] if len(recipients) == 1 else None
            path = sign(plain.envelope_from, mail.mail_id, key, at=self._kit.clock.now(), recipient=to)
            return replace(plain, envelope_from=path, recipients=recipients)

        if mail.mail_class == MailClass.MASS.value:
            return [one((recipient,)) for recipient in plain.recipients]
        return [one(plain.recipients)]

    def _dress(
        self, job: Job, route: Route, parts: Sequence[Outbound], session: Session
    ) -> tuple[list[Outbound], str | None]:
        """The mail as this server takes it, signed last; and what became of it in words."""
        fitted = fit(parts[0].data, getattr(session, "offers", None))
        mail = job.mail
        before = mail.raw if route.header_from != mail.header_from else b""
        raw, signature = job.course.signer.prepare(fitted.data, route.header_from or "", before)
        told = "; ".join(filter(None, (fitted.told, signature))) or None

        def dressed(part: Outbound) -> Outbound:
            utf8 = part.smtputf8 and (fitted.utf8 or not all(address.isascii() for address in part.recipients))
            if part.data is raw and (part.smtputf8, part.eightbit) == (utf8, fitted.eightbit):
                return part
            return replace(part, data=raw, smtputf8=utf8, eightbit=fitted.eightbit)

        return [dressed(part) for part in parts], told

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
            now=self._kit.clock.now(),
            server_name=server.name if server else "none",
            cut=self._kit.stopped() and result.connection_lost and not any(reply.code for reply in result.replies),
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
            route.rule.number if route else None,
        )


def way_of(mail: Leased, course: Course) -> Job:
    """A leased mail with its way by this set-up. What cannot be routed says why when its turn comes."""
    try:
        route = course.router.route(request_of(mail, course.setup))
        return Job(mail, course, route, route.effective_server(course.setup))
    except Exception as error:
        return Job(mail, course, error=error)


def _turns_away(reply: RecipientReply) -> bool:
    """Whether the server says that it has enough of us for now."""
    return reply.code == 421 or (400 <= reply.code < 500 and reply.stage in (*SERVER_STAGES, "mail"))


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
