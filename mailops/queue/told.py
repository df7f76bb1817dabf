"""How a mail of the queue leaves, or left: its own company, class, forced server and return path, not only its From.

For a mail that was tried, what was recorded then counts; where today's set-up would send it another way, that is said.
Facts and attempts outlive their mail: of one that was removed they tell who handed it over, and where it went.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..errors import NotFound, RouteError
from ..model.setup import DEFAULT_KEY, MailClass, Setup
from ..model.states import MailState
from ..routing import Route, RouteRequest, route
from ..store import schema
from ..store.database import explained, reading
from . import view


@dataclass(frozen=True, slots=True)
class MailRoute:
    """``route`` is today's (None: nothing can carry it, and ``trouble`` says why); ``server``, ``header_from`` and
    ``envelope_from`` are what was recorded at the last attempt (None: there was none), ``signature`` what became of
    signatures then. Of a mail that was removed, ``removed`` holds in words what its facts still tell; what they do not
    tell is None."""

    mail_id: int
    state: MailState
    mail_class: MailClass
    company: str | None
    forced_server: str | None
    route: Route | None
    trouble: RouteError | None = None
    server: str | None = None
    header_from: str | None = None
    envelope_from: str | None = None
    signature: str | None = None
    removed: tuple[str, ...] = ()

    @property
    def reply_to(self) -> str | None:
        """What is put in as Reply-To where the mail has none."""
        return self.route.reply_to if self.route else None

    @property
    def left(self) -> dict[str, str | None] | None:
        """From, envelope sender and signature as they were recorded; None where there was no attempt."""
        if self.envelope_from is None:
            return None
        return {"from": self.header_from, "envelope": self.envelope_from, "signature": self.signature}

    @property
    def changed(self) -> bool:
        """Whether today's set-up would send it another way than it was sent."""
        if self.server is None or self.envelope_from is None:
            return False
        today = self.route
        now = (today.server.key if today.server else DEFAULT_KEY, today.header_from) if today else None
        return now != (self.server, self.header_from)

    def sentences(self) -> list[str]:
        """What is to be said, the recorded first."""
        if self.removed:
            return [*self.removed, *self._today("With today's set-up a mail with this From leaves so:")]
        of = f" of company {self.company}" if self.company else ""
        forced = f", with the server {self.forced_server} set on it" if self.forced_server else ""
        lines = [f"Mail {self.mail_id} is {self.state.label}: {self.mail_class.value} mail{of}{forced}."]
        if self.envelope_from is not None:
            signed = f"; {self.signature}" if self.signature else ""
            lines.append(
                f"At its last attempt it went to {self.server} with From {self.header_from} and the envelope sender "
                f"{self.envelope_from}{signed}."
            )
        return [*lines, *self._today("With today's set-up it would leave another way:" if self.changed else "")]

    def _today(self, heading: str) -> list[str]:
        if self.trouble is not None:
            return [f"Today it could not leave: {self.trouble.message} {self.trouble.fix}".rstrip()]
        return [line for line in (heading, *(self.route.sentences() if self.route else ())) if line]

    def as_dict(self) -> dict[str, Any]:
        """As :meth:`Route.as_dict`, with the mail's own facts; what was recorded stands where today's would."""
        found: dict[str, Any] = self.route.as_dict() if self.route else {}
        today = {key: found.get(key) for key in ("server", "from_after", "envelope_from")}
        if self.envelope_from is not None:
            gone = None if self.server == DEFAULT_KEY else self.server
            found |= {"server": gone, "from_after": self.header_from, "envelope_from": self.envelope_from}
        elif self.removed:
            gone = None if self.server == DEFAULT_KEY else self.server
            found |= {"server": gone, "from_after": None, "envelope_from": None, "rewritten": None}
        if self.envelope_from is not None:
            found["rewritten"] = bool(found.get("from_before")) and self.header_from != found.get("from_before")
        if self.trouble is not None:
            found |= {"failure": self.trouble.code}
        own: dict[str, Any] = {
            "mail": self.mail_id,
            "state": self.state.value,
            "mail_class": self.mail_class.value,
            "company": self.company,
            "forced_server": self.forced_server,
        }
        told = {"today": today, "changed": self.changed, "left": self.left, "sentences": self.sentences()}
        told["removed"] = bool(self.removed)
        return {**found, **own, **told}


def mass_senders(engine: Engine) -> list[str]:
    """The From texts of the mass mail that is kept: what campaigns stand as."""
    m = schema.mails
    query = sa.select(m.c.header_from).where(m.c.mail_class == MailClass.MASS.value, m.c.header_from.is_not(None))
    with explained("reading the senders of mass mail"), reading(engine) as connection:
        return sorted(connection.execute(query.distinct()).scalars())


def explain_mail(engine: Engine, setup: Setup, mail_id: int) -> MailRoute:
    """How this mail leaves or left; of one that was removed, what its facts tell. Raises :class:`NotFound` for a number
    that no mail ever had."""
    try:
        kept, request = view.mail(engine, mail_id), view.request(engine, mail_id, setup)
    except NotFound:
        return _removed(engine, setup, mail_id)
    left = kept.left if kept.server_key is not None else None
    told = MailRoute(
        mail_id,
        kept.state,
        kept.mail_class,
        kept.company,
        request.forced_server,
        None,
        server=kept.server_key if left else None,
        header_from=left["from"] if left else None,
        envelope_from=left["envelope"] if left else None,
        signature=left["signature"] if left else None,
    )
    try:
        return replace(told, route=route(request, setup))
    except RouteError as error:
        return replace(told, trouble=error)


def _removed(engine: Engine, setup: Setup, mail_id: int) -> MailRoute:
    """A mail whose row is gone, from its facts."""
    facts = view.history(engine, mail_id)
    if not facts:
        raise NotFound(
            f"No mail ever had the number {mail_id}.",
            code="queue.mail_unknown",
            facts={"id": mail_id},
            fix="mailops queue list shows the mails there are.",
        )
    handed = next((fact for fact in facts if fact.kind == "submitted"), None)
    said = dict(handed.data or {}) if handed else {}
    ends = {fact.recipient: fact for fact in facts if fact.recipient and fact.kind in _ENDS}
    states = {_ENDS[fact.kind] for fact in ends.values()}
    state = next((s for s in (MailState.SENT, MailState.FAILED) if s in states), MailState.CANCELLED)
    kind = MailClass(said.get("class") or MailClass.TRANSACTIONAL)
    through = [fact for fact in facts if fact.server_key]
    last = through[-1] if through else None
    lines = [
        f"Mail {mail_id} was {state.label}: {kind.value} mail. Its message was removed; this is what was recorded."
    ]
    if handed is not None:
        by = f" by {handed.actor}" if handed.actor else ""
        path = f", envelope sender {said['envelope']}" if said.get("envelope") else ""
        lines.append(f"It was handed over{by} at {handed.at:%Y-%m-%d %H:%M} UTC with From {said.get('from')}{path}.")
    for server in dict.fromkeys(fact.server_key for fact in through):
        told = Counter(fact.kind for fact in through if fact.server_key == server)
        what = ", ".join(f"{word} {number}" for word, number in told.items())
        at = next(fact.at for fact in through if fact.server_key == server)
        lines.append(f"It went to {server} from {at:%Y-%m-%d %H:%M} UTC on ({what}).")
    found = MailRoute(
        mail_id, state, kind, None, None, None, server=last.server_key if last else None, removed=tuple(lines)
    )
    speaking = setup.domain_of(setup.companies[0] if setup.companies else None)
    try:
        return replace(found, route=route(RouteRequest(said.get("from"), speaking), setup))
    except RouteError as error:
        return replace(found, trouble=error)


_ENDS = {"sent": MailState.SENT, "bounced": MailState.SENT, "unknown": MailState.SENT, "failed": MailState.FAILED}
"""What a mail comes to by the last fact about a recipient."""
