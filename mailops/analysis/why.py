"""Why a mail did not arrive, or not yet: each recipient's last trouble with its explanation.

A failure at our own server and a deferral ask the catalogue of providers' refusals first (what was kept with the event,
else anew with the server's provider); a report that came back is read as the other side's words.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..bounces.explainer import Explanation, explain_answer, explain_report, stored
from ..bounces.reading.advice import Advice, advise, authentication
from ..model.address import mailbox
from ..model.reasons import plain
from ..model.setup import Server, Setup
from ..model.states import DeliveryState
from ..store import schema
from ..store.database import explained, reading
from .causes import Failure, failures_of

e, d, m = schema.events, schema.deliveries, schema.mails
FOLLOWS = {
    "hard": "Nobody writes there any more: the address is on the suppression list, unless somebody took it off.",
    "hard, unconfirmed": "The address is proposed for the suppression list: the ground is too weak to act on alone. "
    "A second answer like it, to another mail, decides.",
    "soft": "It counts as one soft bounce; the address stays in use.",
    "refused": "The mail failed; nothing is counted, and the address stays in use.",
}
"""What follows from a failure, by its strength; "refused" is what was turned away at once and is not hard."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One recipient's trouble. ``failure.kind`` is refused, bounced or deferred; ``listed`` says how the recipient
    stands on the suppression list, and why only proposed where that is so."""

    failure: Failure
    explanation: Explanation
    listed: str = ""

    @property
    def cause(self) -> str:
        """Why, in a sentence."""
        return self._advice.diagnosis if self._advice else self.explanation.cause

    @property
    def tasks(self) -> tuple[str, ...]:
        """What to do, one thing each; nothing is sent again that still waits in the queue."""
        return self._advice.tasks if self._advice else (self.explanation.fix,)

    @property
    def consequence(self) -> str:
        """What follows for the address, in a sentence."""
        if self.failure.kind == "deferred":
            return "Nothing is counted: the queue still tries."
        soft = self.failure.strength == "soft" and self.failure.kind == "refused"
        return FOLLOWS["refused" if soft else self.failure.strength]

    @property
    def _advice(self) -> Advice | None:
        """What is known of the reason; None where a provider's own row says it, and the answer itself no more."""
        one, reason = self.failure, self.explanation.reason
        if one.reason == "authfailure" and authentication(one.error):
            reason = one.reason  # it names the method and the domain
        return advise(one.error, reason, sender=one.sender, queued=one.kind == "deferred") if reason else None

    @property
    def next_look(self) -> str:
        """The command that looks further, where our own server is the matter."""
        own = self.explanation.own and self.failure.server_key not in ("", "none")
        return f"mailops doctor connection {self.failure.server_key}" if own else ""


def why(engine: Engine, setup: Setup, mail_id: int) -> list[Trouble]:
    """The troubles of a mail, also of one that is gone; empty when none is known."""
    found = failures_of(engine, mail_id)
    over = {one.recipient.lower() for one in found}
    waiting = [one for one in _deferred(engine, mail_id) if one.recipient.lower() not in over]
    servers = {server.key: server for server in setup.servers}
    kept = _kept(engine, [one.id for one in (*found, *waiting)])
    listed = _listed(engine, [one.recipient for one in (*found, *waiting)])

    def trouble(one: Failure) -> Trouble:
        told = kept.get(one.id) or _explained(one, servers.get(one.server_key))
        return Trouble(one, told, listed.get(mailbox(one.recipient), ""))

    return [trouble(one) for one in (*found, *waiting)]


def _listed(engine: Engine, recipients: list[str]) -> dict[str, str]:
    s = schema.suppressions
    query = sa.select(s.c.address, s.c.state, s.c.since, s.c.why).where(
        s.c.address.in_({mailbox(one) for one in recipients}), s.c.state.in_(("active", "proposed"))
    )
    with explained("reading the suppression list"), reading(engine) as connection:
        rows = connection.execute(query.order_by(s.c.id)).all()
    words = {"active": "Suppressed", "proposed": "Proposed for the suppression list"}
    return {row.address: f"{words[row.state]} since {row.since:%Y-%m-%d}: {row.why}" for row in rows}


def about(engine: Engine, mail_id: int) -> tuple[str, str]:
    """(subject, Message-ID) of a mail; "" for what is gone with it."""
    told = sa.select(e.c.message_id).where(e.c.mail_id == mail_id, e.c.message_id.is_not(None)).limit(1)
    with explained("reading a mail's head"), reading(engine) as connection:
        row = connection.execute(sa.select(m.c.subject, m.c.message_id).where(m.c.id == mail_id)).first()
        if row is not None:
            return row.subject or "", row.message_id or ""
        return "", str(connection.execute(told).scalar() or "")


def explain_failure(failure: Failure, setup: Setup) -> Explanation:
    """The explanation of one failure, computed from what the server said."""
    return _explained(failure, next((s for s in setup.servers if s.key == failure.server_key), None))


def _explained(one: Failure, server: Server | None) -> Explanation:
    if one.kind == "bounced":
        return explain_report(one.error, one.reason)
    code, enhanced = (None, one.code) if "." in one.code else (int(one.code or 0), None)
    host, provider = (server.host, server.provider) if server else (None, None)
    return explain_answer(one.error, host=host, provider=provider, code=code, enhanced=enhanced, reason=one.reason)


def _deferred(engine: Engine, mail_id: int) -> list[Failure]:
    """The last deferral of each recipient that still waits."""
    last = (
        sa.select(sa.func.max(e.c.id))
        .join(d, sa.and_(d.c.mail_id == e.c.mail_id, d.c.recipient == e.c.recipient))
        .where(e.c.mail_id == mail_id, e.c.kind.in_(("deferred", "unknown")), d.c.state == DeliveryState.PENDING.value)
        .group_by(e.c.recipient)
        .limit(1000)
    )
    query = sa.select(e.c.id, e.c.at, e.c.recipient, e.c.mail_id, e.c.server_key, e.c.data).where(e.c.id.in_(last))
    born = sa.select(e.c.data).where(e.c.mail_id == mail_id, e.c.kind == "submitted").limit(1)
    with explained("reading the deferrals"), reading(engine) as connection:
        rows = connection.execute(query.order_by(e.c.id)).all()
        sender = str(((connection.execute(born).scalar() if rows else None) or {}).get("domain") or "")
    found = []
    for row in rows:
        data = row.data or {}
        reason = data.get("reason") or "undefined"
        said = str(data.get("reply") or "").strip() or plain(reason)
        code = str(data.get("enhanced") or data.get("code") or "")
        found.append(
            Failure(
                int(row.id),
                row.at,
                "deferred",
                row.recipient,
                row.mail_id,
                row.server_key or "",
                reason,
                said,
                code,
                sender,
            )
        )
    return found


def _kept(engine: Engine, ids: list[int]) -> dict[int, Explanation]:
    query = sa.select(e.c.id, e.c.data).where(e.c.id.in_(ids))
    with explained("reading the events"), reading(engine) as connection:
        rows = connection.execute(query).all()
    return {int(row.id): one for row in rows if (one := stored(row.data)) is not None}
