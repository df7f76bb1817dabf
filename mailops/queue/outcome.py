"""From what a server said to what becomes of the mail: one pure function for the live run, recovery and tests."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from ..bounces.doubt import WEAK
from ..bounces.explainer import explain_answer
from ..bounces.reading.classify import classify
from ..bounces.reading.entities import about_us, entities
from ..ledger.values import DeliveryOutcome, Outcome
from ..model.address import parse_first
from ..model.setup import RetryPolicy, Server
from ..model.states import DeliveryState, FailureType, mail_state
from ..ports import RecipientReply, SendResult
from .retry import NextTry, next_try

log = logging.getLogger(__name__)
SERVER_STAGES = frozenset({"connect", "ehlo", "starttls", "auth"})
_OF_RECIPIENTS = frozenset(
    {"userunknown", "hostunknown", "hasmoved", "notaccept", "suspend", "mailboxfull", "filtered"}
)


def settle(
    result: SendResult,
    *,
    others: tuple[DeliveryState, ...],
    policy: RetryPolicy,
    queued_at: datetime,
    attempts: int,
    now: datetime,
    server_name: str,
    senders: Sequence[str | None] = (),
    cut: bool = False,
) -> Outcome:
    """Decide the outcome of the ``attempts``-th attempt.

    ``senders`` are the From and the envelope sender that left: an answer that their name is unknown says nothing of the
    recipient. ``others`` are the states of recipients that were not part of it.

    A 5xx answer to a recipient, to MAIL, DATA or the final dot fails for good. What goes wrong before MAIL (connection,
    greeting, TLS, login) speaks of the server and not of the mail, so the mail stays *Outgoing* and is tried again, as
    MTAs do. An answer that never came after the final dot is ``unknown``: tried again with the same Message-ID. Where a
    server took some recipients and more were too many for one mail (:func:`surplus`), the others are due at once: there
    was progress. So is a mail whose connection mailops itself ``cut``, before anything was answered, to end in time.
    """
    own: list[str] = []
    if all(reply.accepted and reply.stage == "body" for reply in result.replies):
        again = NextTry(None, "")  # nothing is to be tried again
    elif surplus(result):
        again = NextTry(now, "this server takes no more recipients in one mail; the others follow at once")
    elif cut:
        again = NextTry(now, "mailops was stopped meanwhile; it is tried again at once")
    else:
        again = next_try(policy, queued_at=queued_at, attempts=attempts, now=now)
    if again.reason:
        own = [found.spec for one in senders if one and (found := parse_first(one))]
    rows = tuple(_delivery(reply, again.due is None, again.reason, own) for reply in result.replies)
    state = mail_state([*others, *(row.state for row in rows)])
    waiting = [row for row in rows if row.state is DeliveryState.PENDING]
    failed = [row for row in rows if row.state is DeliveryState.FAILED]
    sent = [row for row in rows if row.state is DeliveryState.SENT]
    if result.unknown and waiting:
        attempt = "unknown"
    elif waiting:
        attempt = "partial" if sent else "deferred"
    elif failed:
        attempt = "partial" if sent else "failed"
    else:
        attempt = "sent"
    trouble = failed or waiting
    return Outcome(
        state=state,
        due_at=again.due if waiting else None,
        attempt=attempt,
        failure_type=None if not trouble else FailureType.SMTP,
        failure_reason=_words(trouble[0], len(trouble), server_name, again.reason if waiting else "", result.unknown)
        if trouble
        else None,
        deliveries=rows,
    )


def explained(outcome: Outcome, result: SendResult, server: Server | None) -> Outcome:
    """The outcome with what the catalogue of refusals knows of each recipient's answer; kept with the event."""
    if all(row.event == "sent" for row in outcome.deliveries):
        return outcome
    told = {reply.recipient: reply.told for reply in result.replies}
    rows = []
    for row in outcome.deliveries:
        found = None
        if row.event != "sent" and row.stage != "local":
            try:
                found = explain_answer(
                    row.reply,
                    host=server.host if server else None,
                    provider=server.provider if server else None,
                    code=row.code,
                    enhanced=row.enhanced,
                    stage=row.stage,
                    facts=told.get(row.recipient),
                )
            except Exception:  # an explanation less is no reason not to record what was said
                log.exception("an answer could not be explained")
        rows.append(replace(row, explained=found.as_dict()) if found and found.own else row)
    return replace(outcome, deliveries=tuple(rows))


def surplus(result: SendResult) -> tuple[str, ...]:
    """The recipients that were too many for one mail, where others were taken; empty when there was no progress."""
    if len(result.replies) < 2 or not result.taken:
        return ()
    return tuple(reply.recipient for reply in result.replies if _too_many(reply))


def _too_many(reply: RecipientReply) -> bool:
    """452, or 552 where it says so: that is also the code of a full mailbox."""
    return (
        reply.stage == "rcpt"
        and reply.code in (452, 552)
        and ((reply.enhanced or "").endswith(".5.3") or "too many recipients" in reply.text.lower())
    )


def _delivery(reply: RecipientReply, last: bool, gave_up: str, own: Sequence[str]) -> DeliveryOutcome:
    if reply.accepted and reply.stage == "body":
        return DeliveryOutcome(
            reply.recipient, DeliveryState.SENT, reply.stage, reply.code, reply.enhanced, reply.text, None, "sent"
        )
    final = reply.permanent and reply.stage not in SERVER_STAGES and not _too_many(reply)
    text = reply.text
    if last and not final:
        text = f"{text} ({gave_up})"
    failed = final or last
    reason, doubt = _reason(reply, own)
    return DeliveryOutcome(
        reply.recipient,
        DeliveryState.FAILED if failed else DeliveryState.PENDING,
        reply.stage,
        reply.code,
        reply.enhanced,
        text,
        reason,
        "failed" if failed else "deferred",
        unconfirmed=doubt,
    )


def _reason(reply: RecipientReply, own: Sequence[str]) -> tuple[str, str]:
    """The classifier's word, and why it waits for a second answer.

    Before MAIL nothing was said of a recipient: a name that is not known is our server's.
    """
    found = classify(reply.code or None, reply.enhanced, reply.text, reply.stage)
    if reply.stage in SERVER_STAGES and found.reason in _OF_RECIPIENTS:
        return "blocked" if reply.code else "networkerror", ""
    names = entities([reply.recipient], own, (), (), ())
    turned = about_us(reply.text, found.matched_text, found.reason, names)
    if turned is not None:
        return turned[0], ""
    return found.reason, WEAK if found.unconfirmed else ""


_STAGE_WORDS = {
    "connect": "when connecting",
    "ehlo": "in the greeting",
    "starttls": "when switching to TLS",
    "auth": "when signing in",
    "mail": "to the sender (MAIL FROM)",
    "rcpt": "to the recipient (RCPT TO)",
    "data": "to DATA",
    "body": "to the message",
    "local": "before anything was sent",
}


def _words(row: DeliveryOutcome, count: int, server: str, again: str, unknown: bool) -> str:
    """One or two sentences a person understands."""
    where = _STAGE_WORDS.get(row.stage, "")
    said = f"{row.code} {row.enhanced + ' ' if row.enhanced else ''}{row.reply}".strip() if row.code else row.reply
    said = said.rstrip(". ")
    if unknown:
        text = f"The connection to {server!r} ended after the message was sent and before it answered: {said}."
    elif row.stage == "local":
        text = f"Not sent: {said}"
    elif row.code:
        text = f"Mail delivery failed via SMTP server {server!r} {where} ({row.recipient}): {said}"
    else:
        text = f"No usable answer from SMTP server {server!r} {where}: {said}"
    if count > 1:
        text += f" — and {count - 1} more recipient{'s' if count > 2 else ''}"
    return f"{text}. {again[:1].upper()}{again[1:]}." if again else text
