"""Tells submitters what did not arrive: one report a mail, once nobody of it waits any more.

::

    ledger ──► RelayListener: a row of ``reports`` for each recipient who will not get it (due)
                    │ the mail is done
                    ▼
               Reports.tell: withheld, with the reason  ──or──  one mail to the submitter's envelope sender, with
                             the null path, and the rows told; both in one commit

Nothing is told for the null path, nothing to our own bounce addresses (:mod:`.decide`), so no report answers a report.
Above ``per_hour`` reports to one address the next wait; what waited for :data:`TOO_OLD` is withheld and says so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..errors import RouteError
from ..ledger import Book, Fact, note
from ..mime import head_of
from ..model.address import NULL_PATH, normalise
from ..model.mail import Submission
from ..model.setup import BouncePolicy, Setup
from ..model.states import DeliveryState
from ..ports import Clock
from ..queue.compose import compose
from ..queue.submit import store
from ..routing import RouteRequest, notification_address, route
from ..store import schema
from ..store.database import explained, reading
from .decide import Choice, whether
from .report import Undelivered, build, status_of

m, d, c, r = schema.mails, schema.deliveries, schema.contents, schema.reports
PER_HOUR = 300
HOUR, TOO_OLD = timedelta(hours=1), timedelta(days=2)
PART = 100
"""Mails in one round."""


@dataclass(frozen=True, slots=True)
class Told:
    """One recipient of whom a submitter was told, is to be told (``due``), or was not (``withheld``, and ``why``)."""

    mail_id: int
    recipient: str
    address: str
    login: str | None
    kind: str
    state: str
    why: str | None
    reply: str | None
    at: datetime
    told_at: datetime | None
    report_id: int | None


class Reports:
    """The reports to submitters. ``wanted`` is the switch of a login (None: a program that did not sign in)."""

    def __init__(
        self,
        engine: Callable[[], Engine],
        *,
        setup: Callable[[], Setup],
        clock: Clock,
        book: Callable[[], Book],
        host: str,
        wanted: Callable[[str | None], bool],
        per_hour: int = PER_HOUR,
    ) -> None:
        self._engine = engine
        self._setup = setup
        self._clock = clock
        self._book = book
        self._host = host
        self._wanted = wanted
        self._per_hour = per_hour

    def tell(self) -> int:
        """Hand over the reports that are due; how many there were. Each is a mail of the queue from then on."""
        told, skipped, seen = 0, set[str](), set[int]()
        setup = self._setup()
        while part := [one for one in self._due(skipped) if one[0] not in seen]:
            for mail_id, address in part:
                seen.add(mail_id)
                done = self._tell(mail_id, address, setup)
                told += done is True
                if done is None:
                    skipped.add(address)
        return told

    def _due(self, skipped: Collection[str]) -> list[tuple[int, str]]:
        """Mails of which a report is due and nobody waits, oldest first; a few at a time."""
        waiting = sa.exists().where(d.c.mail_id == r.c.mail_id, d.c.state == DeliveryState.PENDING.value)
        query = sa.select(r.c.mail_id, r.c.address).where(r.c.state == "due", ~waiting)
        query = query.where(r.c.address.not_in(sorted(skipped))) if skipped else query
        query = query.group_by(r.c.mail_id, r.c.address).order_by(sa.func.min(r.c.at), r.c.mail_id).limit(PART)
        with explained("reading what is to be reported"), reading(self._engine()) as connection:
            return [(int(row.mail_id), row.address) for row in connection.execute(query)]

    def _tell(self, mail_id: int, address: str, setup: Setup) -> bool | None:
        """Whether a report was handed over; None when this address has to wait."""
        now = self._clock.now()
        with explained("reporting to the submitter"), self._engine().begin() as connection:
            mine = sa.select(r).where(r.c.mail_id == mail_id, r.c.state == "due").order_by(r.c.recipient)
            rows = connection.execute(mine.with_for_update(skip_locked=True)).all()
            if not rows:
                return False
            mail = connection.execute(sa.select(m).where(m.c.id == mail_id)).first()
            chosen = [(row, self._choice(row, mail, setup)) for row in rows]
            if any(choice.tell for _, choice in chosen) and self._over(connection, address, now):
                if now - min(row.at for row in rows) < TOO_OLD:
                    return None
                late = Choice(False, f"more than {self._per_hour} reports an hour were due for {address}")
                chosen = [(row, late if choice.tell else choice) for row, choice in chosen]
            going = [row for row, choice in chosen if choice.tell]
            number = self._hand_over(connection, going, mail, setup, now) if going else None
            for row, choice in chosen:
                values: dict[str, Any] = {
                    "state": "told" if choice.tell else "withheld",
                    "why": None if choice.tell else choice.why,
                }
                values |= {"told_at": now, "report_id": number if choice.tell else None}
                key = (r.c.mail_id == mail_id, r.c.recipient == row.recipient)
                connection.execute(sa.update(r).where(*key).values(**values))
            note(connection, *(_fact(row, choice, number, mail, now) for row, choice in chosen))
        return number is not None

    def _choice(self, row: Any, mail: Any, setup: Setup) -> Choice:
        ours = {normalise(a.bounce_address) for a in setup.alias_domains if a.bounce_address}
        return whether(
            row.kind,
            path=row.address,
            policy=BouncePolicy(mail.bounces) if mail is not None and mail.bounces else BouncePolicy.KEEP,
            left_with=mail.sent_envelope if mail is not None else None,
            ours=ours,
            login=row.login,
            wanted=self._wanted(row.login),
        )

    def _over(self, connection: Connection, address: str, now: datetime) -> bool:
        query = sa.select(sa.func.count(sa.distinct(r.c.report_id)))
        query = query.where(r.c.address == address, r.c.told_at > now - HOUR)
        return int(connection.execute(query).scalar_one()) >= self._per_hour

    def _hand_over(self, connection: Connection, rows: Sequence[Any], mail: Any, setup: Setup, now: datetime) -> int:
        """Store the report in the same commit; its number in the queue."""
        raw = connection.execute(sa.select(c.c.raw).where(c.c.mail_id == rows[0].mail_id)).scalar()
        hosts = {server.key: server.host for server in setup.servers}
        server = hosts.get(mail.server_key, "") if mail is not None else ""
        company = next((x for x in setup.companies if mail is not None and x.id == mail.company_id), None)
        report = build(
            head_of(bytes(raw or b"")),
            [
                Undelivered(
                    row.recipient,
                    status_of(row.kind, row.code, row.status),
                    row.code,
                    row.reply or "",
                    row.at,
                    server if row.code else "",
                )
                for row in rows
            ],
            sender=self._sender(setup, company),
            to=rows[0].address,
            host=self._host,
            arrived=mail.created_at if mail is not None else rows[0].at,
            message_id=mail.message_id if mail is not None else "",
        )
        submission = Submission(
            raw=report,
            return_path=NULL_PATH,
            envelope_to=(rows[0].address,),
            company=company.key if company else None,
            origin="report",
        )
        composed = compose(submission, now=now)
        return store(connection, [(submission, composed)], setup=setup, now=now, book=self._book())[0]

    def _sender(self, setup: Setup, company: Any) -> str:
        """From of a report: the bounce address, where the server that carries it may send as it."""
        domain = setup.domain_of(company)
        name = "Mail Delivery System"
        address = domain.bounce_address if domain else None
        if address is None:
            return f"{name} <{notification_address(domain, setup) or f'mailer-daemon@{self._host}'}>"
        try:
            left = route(RouteRequest(address, domain), setup).header_from
        except RouteError:  # who can carry it may be known when it is due
            left = address
        return f"{name} <{address if left == address else notification_address(domain, setup) or address}>"

    def listing(
        self, *, state: str | None = None, mail_id: int | None = None, login: str | None = None, limit: int = 100
    ) -> list[Told]:
        """What was told, is due, or was withheld, newest first."""
        columns = [r.c[name] for name in Told.__dataclass_fields__]
        query = sa.select(*columns).order_by(r.c.at.desc(), r.c.mail_id.desc(), r.c.recipient).limit(limit)
        for column, wanted in ((r.c.state, state), (r.c.mail_id, mail_id), (r.c.login, login)):
            query = query.where(column == wanted) if wanted is not None else query
        with explained("reading the reports"), reading(self._engine()) as connection:
            return [Told(*row) for row in connection.execute(query)]

    def counts(self) -> dict[str, int]:
        """How many recipients stand in each state."""
        found: dict[str, int] = defaultdict(int)
        with explained("counting the reports"), reading(self._engine()) as connection:
            for state, number in connection.execute(sa.select(r.c.state, sa.func.count()).group_by(r.c.state)):
                found[str(state)] = int(number)
        return {state: found[state] for state in ("due", "told", "withheld")}


def _fact(row: Any, choice: Choice, number: int | None, mail: Any, now: datetime) -> Fact:
    told = {"to": row.address, "report": number} if choice.tell else {"to": row.address, "why": choice.why}
    message_id = mail.message_id if mail is not None else None
    kind = "submitter_told" if choice.tell else "submitter_not_told"
    return Fact(kind, now, None, row.mail_id, row.recipient, message_id, actor="relay", data=told)
