"""Takes received mail in: reads it, decides, and carries the decision out in one transaction.

A mail is handled once per Message-ID, however often it arrives. Records, entries, notifications, counters, notices and
the log line are committed together; when anything fails, nothing of the mail has happened and the caller may hand it in
again. A record that cannot be made (bad alias defaults, say) marks its alias *invalid*, and the sender is asked to try
later. What is refused is not parked anywhere: a line in the log with reason and answer is all that stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..errors import MailopsError, MessageRefused
from ..model.alias import AliasStatus
from ..model.mail import Submission
from ..page.sanitise import safe_html
from ..ports import Clock
from ..store import schema
from ..store.database import explained
from ..threads import store as repo
from ..threads.feedback import NO_ERROR, on_bounce
from ..threads.outbox import Outbox
from ..threads.service import Entry, Threads
from . import notices
from .bounce_signs import bounce_sign
from .decide import route_inbound
from .parse import parse
from .values import BounceEffect, Decision, InboundMail, Kind, Notice, Route, Step
from .view import StoreView


class Gateway:
    """The inbound gateway over the store.

    ``reports`` is called with the raw bytes of a bounce before it is decided (the bounce service records it and marks
    the delivery). ``allowed_senders`` are addresses the loop check never blocks.
    """

    def __init__(
        self,
        engine: Engine,
        threads: Threads,
        submit: Outbox,
        clock: Clock,
        *,
        reports: Callable[[bytes], object] | None = None,
        allowed_senders: Collection[str] = (),
    ) -> None:
        self._engine, self._threads, self._submit, self._clock = engine, threads, submit, clock
        self._reports = reports
        self._allowed = tuple(allowed_senders)

    def receive(self, raw: bytes, *, fallback_model: str | None = None) -> Decision:
        """Take one mail in and say what became of it.

        ``fallback_model`` is the target model of the incoming server that fetched it. Nothing raises for what is in
        the mail; :class:`mailops.errors.StoreError` means that nothing happened and the mail may be handed in again.
        """
        mail = parse(raw)
        setup = self._threads.setup()
        if self._reports is not None and bounce_sign(
            mail, {d.bounce_address.lower() for d in setup.alias_domains if d.bounce_address}
        ):
            self._reports(raw)
        with explained("taking a mail in"), self._engine.begin() as tx:
            repo.serialise(tx)
            view = StoreView(
                tx,
                setup,
                self._threads.models,
                self._clock.now(),
                fallback_model=fallback_model,
                allowed_senders=self._allowed,
            )
            decision = route_inbound(mail, view)
            decision, done = self._carry_out(tx, mail, raw, decision, view)
            self._log(tx, mail, decision, done)
        return decision

    def explain(self, raw: bytes, *, fallback_model: str | None = None) -> Decision:
        """What would become of a mail, with every rule passed. Nothing is changed or sent."""
        from ..store.database import reading

        setup = self._threads.setup()
        with explained("reading for an explanation"), reading(self._engine) as connection:
            view = StoreView(
                connection,
                setup,
                self._threads.models,
                self._clock.now(),
                fallback_model=fallback_model,
                allowed_senders=self._allowed,
            )
            return route_inbound(parse(raw), view)

    # --- carrying out -------------------------------------------------------------------------------------------------

    def _carry_out(
        self, tx: Connection, mail: InboundMail, raw: bytes, decision: Decision, view: StoreView
    ) -> tuple[Decision, dict[str, Any]]:
        done: dict[str, Any] = {}
        if decision.reset:
            repo.reset_bounces(tx, decision.reset)
        if decision.bounce is not None:
            self._bounce(tx, mail, raw, decision.bounce)
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
        answered = [self._answer(tx, notice) for notice in decision.notices]
        if answered:
            done["notices"] = answered
        return decision, done

    def _follow_route(self, tx: Connection, mail: InboundMail, decision: Decision, route: Route) -> int:
        """Create where asked, then post; returns the record's id."""
        record_id = self._create(tx, mail, decision, route) if route.record is None else int(route.record)
        parent = repo.message_by_mid(tx, decision.parent.message_id) if decision.parent else None
        note = decision.internal
        addressed = (int(decision.parent.author),) if note and decision.parent and decision.parent.author else ()
        self._threads.post(
            record_id,
            Entry(
                text=mail.text,
                html=_clean(mail.html),
                kind="note" if note else "email",
                author=int(decision.author) if decision.author is not None else None,
                author_email=str(mail.sender) if mail.sender else None,
                subject=mail.subject or None,
                message_id=mail.message_id,
                parent=parent.id if parent else None,
                addressed=addressed,
                already=frozenset(mail.recipients),
            ),
            connection=tx,
        )
        return record_id

    def _create(self, tx: Connection, mail: InboundMail, decision: Decision, route: Route) -> int:
        alias = route.alias
        values = dict(alias.defaults) if alias else {}
        company = alias.company if alias and isinstance(alias.company, int) else None
        name = str(values.pop("name", "") or mail.subject or "(no subject)")
        record_id = self._threads.create_record(
            route.model,
            name,
            connection=tx,
            email=str(mail.sender) if mail.sender else None,
            company_id=company,
            owner=str(alias.owner) if alias and alias.owner else None,
            values={**values, **({"alias_id": alias.key} if alias else {})},
        )
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

    def _bounce(self, tx: Connection, mail: InboundMail, raw: bytes, effect: BounceEffect) -> None:
        repo.count_bounce(tx, [int(k) for k in effect.contacts], [int(k) for k in effect.records])
        now = self._clock.now()
        if effect.message is not None:
            found = repo.message_by_mid(tx, effect.message.message_id)
            if found is not None:
                self._mark(tx, found.id, effect)
        if effect.blacklist:
            values = {"at": now, "kind": "blacklisted", "recipient": effect.address, "actor": "gateway"}
            tx.execute(sa.insert(schema.events).values(**values, data={"reason": "five bounces in thirteen weeks"}))
        self._keep_report(tx, mail, raw, effect)

    def _mark(self, tx: Connection, row: int, effect: BounceEffect) -> None:
        """Turn the notification red. A report without readable address says only that somebody did not get it, unless
        the bounce service has found out who."""
        if effect.address is not None:
            on_bounce(tx, row, [int(k) for k in effect.contacts], effect.address, effect.text[:4000])
        elif not any(x.state == "bounce" for x in repo.notifications_of(tx, row)):
            on_bounce(tx, row, [int(k) for k in (effect.message.notified if effect.message else ())], None, NO_ERROR)

    def _keep_report(self, tx: Connection, mail: InboundMail, raw: bytes, effect: BounceEffect) -> None:
        """Keep the raw report, unless the bounce service has it already."""
        digest = hashlib.sha256(raw).hexdigest()
        b = schema.bounces
        if tx.execute(sa.select(b.c.id).where(b.c.digest.startswith(digest[:60])).limit(1)).first():
            return
        tx.execute(
            sa.insert(b).values(
                received_at=self._clock.now(),
                kind="bounce",
                recipient=effect.address,
                reason=None if effect.address else "undefined",
                original_message_id=effect.message.message_id if effect.message else None,
                matched_by="gateway" if effect.message else None,
                digest=digest,
                raw=raw,
            )
        )

    # --- answers and the log ------------------------------------------------------------------------------------------

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
        )
        try:
            return {"to": notice.to, "reason": notice.reason, "mail": self._submit(tx, submission)}
        except MessageRefused as refused:  # an address nobody can write to: the refusal stands, unanswered
            return {"to": notice.to, "reason": notice.reason, "not_sent": refused.message}

    def _log(self, tx: Connection, mail: InboundMail, decision: Decision, done: dict[str, Any]) -> None:
        answer = next((f"{n.reason} notice to {n.to}" for n in decision.notices), None)
        if answer is None and decision.kind in (Kind.REFUSED, Kind.LOOP_BLOCKED):
            answer = f"no notice: {notices.unanswerable(mail)}"
        elif answer is None and decision.kind is Kind.NO_ROUTE:
            answer = "550 5.1.1 no such address here"
        repo.add_log(
            tx,
            {
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
            },
        )


def _clean(html: str | None) -> str | None:
    """HTML of a stranger as it may be shown, through the one door there is."""
    return safe_html(html) if html is not None and html.strip() else None
