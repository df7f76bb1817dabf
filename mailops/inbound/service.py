"""Takes received mail in: reads it, decides, and carries the decision out in one transaction.

A mail is handled once per Message-ID, however often it arrives. A report goes to the bounce service, in the same
transaction. Records, entries, notifications, counters, notices and the log line are committed together; when anything
fails, nothing of the mail has happened and the caller may hand it in again. A record that cannot be made (bad alias
defaults, say) marks its alias *invalid*, and the sender is asked to try later. What is refused is not parked anywhere:
a line in the log with reason and answer is all that stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy.engine import Connection, Engine

from ..bounces.addressed import Block
from ..bounces.own import Knowing, delivered
from ..bounces.service import Bounces, Taken
from ..errors import InputRefused, MailopsError, MessageRefused
from ..ledger import Book
from ..model.alias import AliasStatus
from ..model.mail import Attachment, Submission
from ..model.setup import Setup
from ..page.sanitise import safe_html
from ..ports import Clock
from ..store.database import explained
from ..threads import reports
from ..threads import store as repo
from ..threads.hearing import ThreadsListener
from ..threads.outbox import Outbox
from ..threads.service import Entry, Threads, entry_row
from . import notices
from .ahead import Ahead, Lately, Line, Making
from .decide import route_inbound, sent_automatically
from .loops import likeness, limits
from .parse import parse
from .raw import Raw
from .values import Decision, InboundMail, Kind, LogLine, Notice, Route, Step
from .view import DONE, StoreView

MAX_TOLD = 100  # blocks of a report that a line of the log tells of


@dataclass(frozen=True, slots=True)
class Received:
    """What became of a mail that was taken in: the decision, its line of the log, and the mails that answer it."""

    decision: Decision
    line: Line
    notices: tuple[int, ...] = ()


class Gateway:
    """The inbound gateway over the store.

    ``bounces`` takes the reports; ``allowed_senders`` are addresses the loop check never blocks.
    """

    def __init__(
        self,
        engine: Engine,
        threads: Threads,
        submit: Outbox,
        clock: Clock,
        *,
        bounces: Bounces | None = None,
        allowed_senders: Collection[str] = (),
    ) -> None:
        self._engine, self._threads, self._submit, self._clock = engine, threads, submit, clock
        self._bounces = bounces or Bounces(engine, clock=clock, discussions=reports, book=Book((ThreadsListener(),)))
        self._allowed = tuple(allowed_senders)
        self._lately = Lately()

    def receive(self, raw: bytes, *, fallback_model: str | None = None, delivered_to: str | None = None) -> Decision:
        """Take one mail in and say what became of it.

        ``fallback_model`` is the target model of the incoming server that fetched it, ``delivered_to`` the envelope
        recipient, where the fields do not say it. Nothing raises for what is in
        the mail; :class:`mailops.errors.StoreError` means that nothing happened and the mail may be handed in again.
        """
        raw = delivered(raw, delivered_to)
        mail = self.read(raw)
        setup = self._threads.setup()
        with explained("taking a mail in"), self._engine.begin() as tx:
            repo.serialise(tx)
            return self.take(tx, mail, raw, self.view(tx, setup, fallback_model)).decision

    def read(self, raw: Raw, reader: Knowing | None = None) -> InboundMail:
        """A received mail, read with today's words for reports; many are read with one ``reader``."""
        return parse(raw, reader or self.reader())

    def reader(self) -> Knowing:
        """The reader of reports with the names that are ours now."""
        return self._bounces.reader()

    def ahead(self, connection: Connection, setup: Setup, mails: Iterable[InboundMail]) -> Ahead:
        """What these mails will ask, read in the caller's transaction, which lets one gateway run at a time."""
        now = self._clock.now()
        since = now - timedelta(minutes=limits(setup.parameters).minutes)
        return Ahead(connection, mails, lately=self._lately, now=now, since=since, done=DONE)

    def view(
        self, connection: Connection, setup: Setup, fallback_model: str | None = None, ahead: Ahead | None = None
    ) -> StoreView:
        """The store as a decision sees it over this connection; good for one transaction. With ``ahead`` the mails it
        was made for are decided together, and :meth:`Ahead.flush` ends them."""
        return StoreView(
            connection,
            setup,
            self._threads.models,
            self._bounces,
            ahead.now if ahead is not None else self._clock.now(),
            fallback_model=fallback_model,
            allowed_senders=self._allowed,
            ahead=ahead,
        )

    def take(self, tx: Connection, mail: InboundMail, raw: Raw, view: StoreView) -> Received:
        """Decide about a mail and carry it out in the caller's transaction, which lets one gateway run at a time
        (:func:`mailops.threads.store.serialise`)."""
        mail, ahead = self._opened(mail, view), view.ahead
        decision = route_inbound(mail, view)
        if ahead is not None and _alone(decision, ahead):
            return self._keep_back(mail, decision, ahead)
        if ahead is not None:
            ahead.flush()
        decision, done = self._carry_out(tx, mail, raw, decision, view)
        line = Line(self._line(mail, decision, done))
        line.id = repo.add_log(tx, line.values)
        if ahead is not None:
            ahead.learn(mail, decision, line.values)
        return Received(decision, line, tuple(n["mail"] for n in done.get("notices", ()) if "mail" in n))

    def _opened(self, mail: InboundMail, view: StoreView) -> InboundMail:
        """The mail with its thread tokens read: the addresses without them, and the entry that they name."""
        tokens = self._threads.tokens
        found = {a: read for a in mail.recipients if tokens is not None and (read := tokens.opened(a))}
        if not found:
            return mail
        if view.ahead is not None:
            view.ahead.flush()

        def bare(addresses: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(dict.fromkeys(found[a][0] if a in found else a for a in addresses))

        answers = next((facts for _, token in found.values() if (facts := view.answered(token))), None)
        heading = replace(mail.heading, to=bare(mail.heading.to))
        return replace(mail, to=bare(mail.to), recipients=bare(mail.recipients), heading=heading, answers=answers)

    def _keep_back(self, mail: InboundMail, decision: Decision, ahead: Ahead) -> Received:
        """Carry out a decision that concerns nothing but its own rows: with the others, in few statements."""
        making = None
        for route in decision.routes:
            name, fields = _record_of(mail, route)
            now = self._clock.now()
            record = repo.record_row(route.model, name, now=now, **fields)
            entry = _entry(mail, decision, None)
            values = entry_row(entry, mail.message_id, None, entry.author_email, now)
            making = Making(record, values, entry.author)
        for alias, status in decision.statuses:
            ahead.status(int(alias), status.value)
        line = Line(self._line(mail, decision, {}))
        ahead.keep(line, making)
        ahead.learn(mail, decision, line.values)
        return Received(decision, line)

    def explain(self, raw: bytes, *, fallback_model: str | None = None, delivered_to: str | None = None) -> Decision:
        """What would become of a mail, with every rule passed. Nothing is changed or sent."""
        from ..store.database import reading

        mail = self.read(delivered(raw, delivered_to))
        setup = self._threads.setup()
        with explained("reading for an explanation"), reading(self._engine) as connection:
            view = self.view(connection, setup, fallback_model)
            return route_inbound(self._opened(mail, view), view)

    def log(
        self, *, decision: Kind | str | None = None, offset: int = 0, limit: int = 100
    ) -> tuple[list[LogLine], int]:
        """What became of received mail, newest first, and how many lines there are. Raises :class:`InputRefused` for
        an unknown decision."""
        from ..store.database import reading

        if decision is not None and decision not in list(Kind):
            raise InputRefused(
                f"The gateway decides nothing called {decision!r}.",
                code="input.decision",
                facts={"decision": str(decision)[:100]},
                fix=f"Use one of: {', '.join(Kind)}.",
            )
        with explained("reading the gateway's log"), reading(self._engine) as connection:
            rows, total = repo.log_page(connection, decision=decision, offset=offset, limit=limit)
        return [_line(row) for row in rows], total

    # --- carrying out -------------------------------------------------------------------------------------------------

    def _carry_out(
        self, tx: Connection, mail: InboundMail, raw: Raw, decision: Decision, view: StoreView
    ) -> tuple[Decision, dict[str, Any]]:
        done: dict[str, Any] = {}
        if decision.reset:
            repo.reset_bounces(tx, decision.reset)
        if decision.report is not None:
            taken = self._bounces.take_in(tx, bytes(raw), decision.report)
            decision = replace(decision, report=taken.report, blocks=taken.blocks)
            done["report"] = _told(taken)
        made = []
        for route in decision.routes:
            try:
                with tx.begin_nested():
                    made.append(self._follow_route(tx, mail, decision, route))
            except (MailopsError, ValueError, TypeError) as error:
                decision = self._creation_failed(decision, mail, view, route, error)
        if made:
            done["records"] = made
        for alias, status in decision.statuses:
            repo.set_alias(tx, int(alias), status=status.value)
        if decision.forward_to:
            decision, done["forwarded"] = self._forward(tx, mail, bytes(raw), decision)
        answered = [self._answer(tx, notice) for notice in decision.notices]
        if answered:
            done["notices"] = answered
        return decision, done

    def _follow_route(self, tx: Connection, mail: InboundMail, decision: Decision, route: Route) -> int:
        """Create where asked, then post; returns the record's id."""
        record_id = self._create(tx, mail, decision, route) if route.record is None else int(route.record)
        parent = repo.message_by_mid(tx, decision.parent.message_id) if decision.parent else None
        self._threads.post(record_id, _entry(mail, decision, parent.id if parent else None), connection=tx)
        return record_id

    def _create(self, tx: Connection, mail: InboundMail, decision: Decision, route: Route) -> int:
        name, fields = _record_of(mail, route)
        record_id = self._threads.create_record(route.model, name, connection=tx, **fields)
        if decision.author is not None:
            repo.follow(tx, record_id, int(decision.author))
        return record_id

    def _creation_failed(
        self, decision: Decision, mail: InboundMail, view: StoreView, route: Route, error: Exception
    ) -> Decision:
        notice = notices.failure_notice(mail, view, route.alias)
        alias = route.alias
        statuses = tuple(s for s in decision.statuses if alias is None or s[0] != alias.key)
        if alias is not None:
            statuses += ((alias.key, AliasStatus.INVALID),)
        left = tuple(r for r in decision.routes if r is not route)
        return replace(
            decision,
            kind=decision.kind if left else Kind.REFUSED,
            code=decision.code if left else "creation_failed",
            reason=f"The record could not be made: {error}",
            routes=left,
            notices=decision.notices + ((notice,) if notice else ()),
            statuses=statuses,
            trace=(*decision.trace, Step("create", f"{route.model}: {error}")),
        )

    # --- answers and the log ------------------------------------------------------------------------------------------

    def _forward(
        self, tx: Connection, mail: InboundMail, raw: bytes, decision: Decision
    ) -> tuple[Decision, dict[str, Any]]:
        """Pass an answer on to the author of the mail it answers: as it came, else (where it cannot be sent so) in a
        mail of ours that encloses it."""
        author = str(decision.forward_to)
        company = self._company_at(mail)
        plain = Submission(
            sender=str(mail.sender) if mail.sender else None,
            to=(author,),
            subject=" ".join(mail.subject.split())[:900],
            text=mail.text,
            reply_to=str(mail.sender) if mail.sender else None,
            attachments=(Attachment("original.eml", raw, "application/octet-stream"),),
            auto_delete=True,
            origin="gateway",
            company=company,
        )
        as_it_came = replace(
            plain, to=(), raw=raw, envelope_to=(author,), subject="", text=None, reply_to=None, attachments=()
        )
        for submission in (as_it_came, plain):
            try:
                with tx.begin_nested():
                    return decision, {"to": author, "mail": self._submit(tx, submission)}
            except MessageRefused as error:
                refused = error
        words = f"It answers a mail of {author}, and cannot be passed on: {refused.message}"
        return replace(decision, code="not_forwarded", reason=words), {"to": author, "not_sent": refused.message}

    def _company_at(self, mail: InboundMail) -> str | None:
        """The company that was written to, by key."""
        setup = self._threads.setup()
        names = (address.rpartition("@")[2] for address in (*mail.to, *mail.recipients))
        return next((c.key for name in names if (c := setup.company_at(name))), None)

    def _answer(self, tx: Connection, notice: Notice) -> dict[str, Any]:
        submission = Submission(
            sender=notice.sender,
            to=(notice.to,),
            subject=notice.subject[:900],
            text=notice.text,
            reply_to=notice.reply_to,
            references=notice.references,
            in_reply_to=notice.references[0],
            headers=(("Auto-Submitted", "auto-replied"),),
            auto_delete=True,
            origin="gateway",
            return_path=notice.return_path,
            company=self._company_of(notice.domain),
        )
        try:
            return {"to": notice.to, "reason": notice.reason, "mail": self._submit(tx, submission)}
        except MessageRefused as refused:  # an address nobody can write to: the refusal stands, unanswered
            return {"to": notice.to, "reason": notice.reason, "not_sent": refused.message}

    def _company_of(self, domain: str | None) -> str | None:
        """The company that speaks with this alias domain: where From is rewritten, its notification address is used."""
        found = self._threads.setup().company_at(domain) if domain else None
        return found.key if found else None

    def _line(self, mail: InboundMail, decision: Decision, done: dict[str, Any]) -> dict[str, Any]:
        answer = next((f"{n.reason} notice to {n.to}" for n in decision.notices), None)
        if answer is None and decision.kind in (Kind.REFUSED, Kind.LOOP_BLOCKED):
            why = notices.unanswerable(mail) or sent_automatically(mail) or "too many mails alike"
            answer = f"no notice: {why}"
        elif answer is None and decision.kind is Kind.NO_ROUTE:
            answer = "550 5.1.1 no such address here"
        if decision.kind in (Kind.CREATE, Kind.REFUSED, Kind.LOOP_BLOCKED):
            done = {**done, "like": likeness(mail)}
        if decision.kind in (Kind.REPLY, Kind.UPDATE) and done.get("records") and sent_automatically(mail):
            done = {**done, "automatic_on": done["records"][0]}
        return {
            "digest": mail.digest or None,
            "at": self._clock.now(),
            "message_id": mail.message_id[:998],
            "sender": mail.sender_text[:1000] or None,
            "recipients": ", ".join(mail.recipients)[:4000],
            "decision": decision.kind.value,
            "reason": decision.reason,
            "answer": answer,
            "data": {
                "code": decision.code,
                "subject": mail.subject[:200],
                "trace": [[step.rule, step.found] for step in decision.trace],
                **done,
            },
        }


def _alone(decision: Decision, ahead: Ahead) -> bool:
    """Whether a decision concerns nothing but rows of its own: it sends nothing, and posts on no record there is."""
    if decision.report is not None or decision.forward_to or decision.notices or decision.parent is not None:
        return False
    if decision.reset and ahead.has_counter(decision.reset):
        return False
    return not decision.routes or (len(decision.routes) == 1 and decision.routes[0].creates)


def _entry(mail: InboundMail, decision: Decision, parent: int | None) -> Entry:
    """What is posted of a mail."""
    note = decision.internal
    addressed = (int(decision.parent.author),) if note and decision.parent and decision.parent.author else ()
    return Entry(
        text=mail.text,
        html=_clean(mail.html),
        kind="note" if note else "email",
        author=int(decision.author) if decision.author is not None else None,
        author_email=str(mail.sender) if mail.sender else None,
        subject=mail.subject or None,
        message_id=mail.message_id,
        parent=parent,
        addressed=addressed,
        already=frozenset(mail.recipients),
    )


def _record_of(mail: InboundMail, route: Route) -> tuple[str, dict[str, Any]]:
    """Name and fields of the record that a mail makes."""
    alias = route.alias
    values = dict(alias.defaults) if alias else {}
    name = str(values.pop("name", "") or mail.subject or "(no subject)")
    return name, {
        "email": str(mail.sender) if mail.sender else None,
        "company_id": alias.company if alias and isinstance(alias.company, int) else None,
        "owner": str(alias.owner) if alias and alias.owner else None,
        "values": {**values, **({"alias_id": alias.key} if alias else {})},
    }


def _line(row: Any) -> LogLine:
    data = row.data or {}
    report = data.get("report") or {}
    blocks = tuple(
        Block(x.get("recipient"), x["kind"], bool(x["counted"]), x.get("by") or "", x["consequence"])
        for x in report.get("blocks") or ()
    )
    return LogLine(
        int(row.id), row.at, row.sender, row.recipients or "", row.decision, data.get("code") or row.decision,
        row.reason, row.answer, data.get("subject") or "", blocks, bool(report.get("repeated")),
    )  # fmt: skip


def _told(taken: Taken) -> dict[str, Any]:
    """A report's kind and the consequence of each block, for the log."""
    blocks = [{"recipient": x.recipient, "kind": x.kind, "counted": x.counted, "by": x.by, "consequence": x.words}
              for x in taken.blocks[:MAX_TOLD]]  # fmt: skip
    return {"kind": taken.kind, "repeated": taken.repeated, "blocks": blocks}


def _clean(html: str | None) -> str | None:
    """HTML of a stranger as it may be shown, through the one door there is."""
    return safe_html(html) if html is not None and html.strip() else None
