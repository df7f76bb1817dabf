"""Says which mails are meant, for lists, previews and bulk actions alike."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ..errors import ConfigError
from ..model.mail import URGENT
from ..model.reasons import SUPPRESSED
from ..model.states import DeliveryState, MailState
from ..store import schema

m, d = schema.mails, schema.deliveries


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Every field that is set must fit. Text fields compare without case.

    ``state``: a :class:`MailState`, of which *Delivery Failed* has also mails that went out with somebody refused;
    ``server``: key of the last server; ``sender``/``recipient``: an address or a domain; ``reason``: the classifier's
    word (``userunknown``, ``mailboxfull`` …); ``text``: part of subject or failure reason; ``login``: the program that
    handed it over; ``before``/``after``: bounds on submission; ``ids``: only these.
    """

    state: MailState | None = None
    server: str | None = None
    sender: str | None = None
    recipient: str | None = None
    reason: str | None = None
    text: str | None = None
    before: datetime | None = None
    after: datetime | None = None
    mail_class: str | None = None
    message_id: str | None = None
    login: str | None = None
    ids: tuple[int, ...] | None = None

    @property
    def is_empty(self) -> bool:
        return all(getattr(self, f.name) is None for f in fields(self))

    def where(self) -> list[sa.ColumnElement[bool]]:
        """The conditions on ``mails``."""
        found: list[sa.ColumnElement[bool]] = []
        if self.state is not None:
            state = MailState(self.state)
            found.append(
                sa.or_(m.c.state == state.value, PARTLY) if state is MailState.FAILED else m.c.state == state.value
            )
        if self.server:
            found.append(m.c.server_key == self.server)
        if self.sender:
            text = self.sender.lower().lstrip("@")
            if "@" in text:
                found.append(sa.func.lower(m.c.header_from).contains(text, autoescape=True))
            else:
                found.append(m.c.sender_domain == text)
        if self.recipient or self.reason:
            found.append(m.c.id.in_(self._by_delivery()))
        if self.text:
            needle = self.text.lower()
            found.append(
                sa.or_(
                    sa.func.lower(m.c.subject).contains(needle, autoescape=True),
                    sa.func.lower(m.c.failure_reason).contains(needle, autoescape=True),
                )
            )
        if self.before is not None:
            found.append(m.c.created_at < self.before)
        if self.after is not None:
            found.append(m.c.created_at >= self.after)
        if self.mail_class:
            found.append(m.c.mail_class == self.mail_class)
        if self.message_id:
            found.append(m.c.message_id == self.message_id)
        if self.login:
            found.append(m.c.login == self.login)
        if self.ids is not None:
            found.append(m.c.id.in_(self.ids))
        return found

    def _by_delivery(self) -> sa.Select[Any]:
        query = sa.select(d.c.mail_id)
        if self.recipient:
            text = self.recipient.lower().lstrip("@")
            query = query.where(d.c.normalised == text if "@" in text else d.c.domain == text)
        if self.reason:
            kept_back = d.c.reason.is_(None) & (d.c.stage == "suppression")
            query = query.where(
                kept_back if self.reason == SUPPRESSED else d.c.reason == self.reason,
                d.c.state.in_([s.value for s in (DeliveryState.FAILED, DeliveryState.BOUNCED, DeliveryState.PENDING)]),
            )
        return query


_refused = sa.select(d.c.mail_id).where(sa.text(schema.REFUSED)).correlate(None)  # as the index says it
PARTLY = sa.and_(m.c.state == MailState.SENT.value, m.c.id.in_(_refused))
"""*Sent* mails with recipients who did not get it: they are work as *Delivery Failed* ones are."""
LEFT_AT_ONCE = sa.and_(m.c.state == MailState.SENT.value, m.c.origin.endswith(URGENT), m.c.id.not_in(_refused))
"""Urgent mails that left: they are in no list (QUE-11), until somebody asks for them by state or number."""


def state_from_label(text: str) -> MailState:
    """A state from its value or the words people see: ``failed``, ``Delivery Failed``."""
    for state in MailState:
        if text.strip().lower() in (state.value, state.label.lower()):
            return state
    raise ConfigError(
        f"There is no mail state {text!r}.",
        code="queue.state_unknown",
        facts={"states": [s.label for s in MailState]},
        fix="Use Outgoing, Sent, Delivery Failed or Cancelled.",
    )
