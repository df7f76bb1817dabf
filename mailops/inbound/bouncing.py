"""What a bounce changes: which counters, which notification, and whether the address is blacklisted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from ..model.alias import Key
from .values import BounceEffect, ContactFacts, GatewayView, InboundMail, MessageFacts

NO_ERROR = "no error"  # an error exists that could not be interpreted
LIMIT = 5  # bounced campaign mails
WINDOW = timedelta(weeks=13)
SPREAD = timedelta(weeks=1)


def bounce_effect(mail: InboundMail, view: GatewayView) -> BounceEffect:
    """The effects of a report. Without a readable address nothing is counted, and the report is still swallowed."""
    ids = original_ids(mail)
    message = _newest(view, ids)
    address = mail.reported.address if mail.reported else None
    contacts = view.contacts(address) if address else ()
    if address is None and message is not None and len(message.notified) == 1:
        only = view.contact(message.notified[0])
        if only is not None:
            address, contacts = only.email, (only,)
    if address is None:
        return BounceEffect(None, message, (), (), (), False, _text(mail))
    records = dict.fromkeys(view.counted_records(address))
    if message is not None and message.record is not None and _has_counter(view, message.record):
        records.setdefault(message.record)
    keys = tuple(c.key for c in contacts)
    return BounceEffect(
        address=address,
        message=message,
        contacts=keys,
        records=tuple(records),
        notified=tuple(k for k in keys if message is not None and k in message.notified),
        blacklist=blacklist_due(view.bounced_at(address, ids), contacts, view.now),
        text=_text(mail),
    )


def original_ids(mail: InboundMail) -> tuple[str, ...]:
    """Ids of the mail the report is about: from the part that carries it, else the report's own references."""
    if mail.reported and mail.reported.message_ids:
        return mail.reported.message_ids
    return tuple(dict.fromkeys((*mail.in_reply_to, *mail.references)))


def blacklist_due(bounced_at: Sequence[datetime], contacts: Sequence[ContactFacts], now: datetime) -> bool:
    """Whether campaigns must leave the address out: five bounced campaign mails within 13 weeks, spread over more than
    one, and no contact with fewer than five bounces (this one counted) stands for the address."""
    recent = [moment for moment in bounced_at if moment > now - WINDOW]
    if len(recent) < LIMIT or max(recent) - min(recent) <= SPREAD:
        return False
    return not contacts or any(c.bounces + 1 >= LIMIT for c in contacts)


def _newest(view: GatewayView, ids: Sequence[str]) -> MessageFacts | None:
    known = [m for i in ids if (m := view.message(i)) is not None]
    return max(known, key=lambda m: m.order, default=None)


def _has_counter(view: GatewayView, key: Key) -> bool:
    record = view.record(key)
    facts = view.model(record.model) if record else None
    return facts is not None and facts.bounce_counter


def _text(mail: InboundMail) -> str:
    return (mail.reported.text if mail.reported else "") or mail.text.strip() or NO_ERROR
