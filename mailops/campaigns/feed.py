"""Hands a campaign's recipients to the queue, a portion at a time and each once.

::

    whose turn? ─► recipients that wait, by number ─► mails with their fixed Message-IDs ─┐ one commit
         ▲                                             recipients' rows: under way ───────┘
         └── nobody waits and nothing is under way: done, the next

So a row that is under way has its mail in the queue, and whoever kills a process at any point finds either both or
neither. A recipient has one mail in all: what a campaign took back is put in again, not made anew. What stops a whole
campaign (its server is gone) is written down as its trouble, and the ones behind it wait.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection, Engine

from ..errors import MailopsError, MessageRefused, StoreError
from ..ledger import Book
from ..ledger.acts import act
from ..model.address import ascii_domain, parse_first
from ..model.mail import Composed, Submission
from ..model.setup import MailClass, Setup
from ..ports import Clock
from ..queue import job
from ..queue.submit import company_of, return_path_of, store
from ..store.database import alone, explained, reading
from ..suppression.store import UNSUBSCRIBED, blocked
from . import rows
from .compiled import Compiled
from .hearing import OURS
from .template import Template, Unrendered
from .unsubscribe import links_of
from .values import Campaign, CampaignState, Place, Standing, first, message_id

log = logging.getLogger(__name__)
PORTION = 500
ALONE = 7312053
"""The work of :func:`mailops.store.database.alone` that campaigns are changed in."""


class Feed:
    """Feeds the queue of a store. One for each process; several may run at once."""

    def __init__(
        self,
        engine: Callable[[], Engine],
        *,
        setup: Callable[[], Setup],
        clock: Clock,
        book: Callable[[], Book],
    ) -> None:
        self._engine, self._setup, self._clock, self._book = engine, setup, clock, book
        self._made: tuple[Any, Template, Compiled] | None = None

    def __call__(self, mass: bool = True) -> int:
        """Hand over a portion of the campaign whose turn it is; how many mails. Without ``mass`` (a run that leaves
        mail to many alone) nothing is handed over, and the job is told where something could be."""
        with explained("looking for campaigns"), reading(self._engine()) as connection:
            campaign = first(rows.open_ones(connection), self._clock.now())
            if campaign is None or campaign.paused or rows.only_under_way(connection, campaign):
                return 0
        while True:
            with explained("handing a campaign to the queue"), self._engine().begin() as connection:
                alone(connection, ALONE)
                campaign = first(rows.open_ones(connection), self._clock.now())
                if campaign is None or campaign.paused:
                    return 0
                fed = self._step(connection, campaign, mass=mass)
            if fed is not None:
                return fed

    def _step(self, connection: Connection, campaign: Campaign, *, mass: bool) -> int | None:
        """One portion; None when the campaign is finished by now and the next one's turn has come."""
        now = self._clock.now()
        found = rows.waiting(connection, campaign, PORTION)
        if not found:
            if rows.is_under_way(connection, campaign):
                return 0
            done = {"state": CampaignState.DONE.value, "finished_at": now, "trouble": None}
            rows.change(connection, campaign, **done)
            return None
        if not mass:
            job.trigger_in(connection, now)
            return 0
        try:
            fed = self._hand_over(connection, campaign, found, now)
        except StoreError:
            raise
        except MailopsError as error:
            told = f"{error.message} {error.fix}"
            if told != campaign.trouble:
                log.warning("Campaign %s cannot go on: %s", campaign.key, error)
                rows.change(connection, campaign, trouble=told)
            return 0
        begun: dict[str, Any] = {"state": CampaignState.SENDING.value, "trouble": None}
        if campaign.started_at is None:
            begun["started_at"] = now
        if campaign.state is not CampaignState.SENDING or campaign.trouble:
            rows.change(connection, campaign, **begun)
        return fed or None  # all of them were set aside: the next ones

    def _hand_over(self, connection: Connection, campaign: Campaign, found: Sequence[Any], now: datetime) -> int:
        setup, book = self._setup(), self._book()
        refuse_server(campaign.server, setup)
        template, compiled, base = self._compiled(campaign, setup, now)
        links = links_of(setup)
        again = [int(one.mail_id) for one in found if one.mail_id is not None]
        press, actor = f"{campaign.token}.{now.isoformat()}", OURS + campaign.key
        taken = act(connection, book, "retried", again, action=press, actor=actor, now=now) if again else set()
        fresh = [one for one in found if one.mail_id is None or one.mail_id not in taken]
        people = [one.normalised for one in fresh]
        barred = {one.address: one for one in blocked(connection, people, now=now, names=book.names)}
        sender = parse_first(campaign.sender)
        host = (ascii_domain(sender.domain) if sender else None) or "mailops.invalid"
        mails: list[tuple[Submission, Composed]] = []
        numbers: list[int] = []
        settled: list[dict[str, Any]] = []

        def aside(one: Any, standing: Standing, why: str) -> None:
            row = {"campaign_id": campaign.id, "number": one.number, "state": standing.value}
            settled.append({**row, "reason": why, "mail_id": one.mail_id})

        for one in fresh:
            if (entry := barred.get(one.normalised)) is not None:
                out = entry.source == UNSUBSCRIBED
                aside(one, Standing.OPTED_OUT if out else Standing.SUPPRESSED, entry.why)
                continue
            url = links.url(campaign, one.number) if links else ""
            fields = {**json.loads(one.fields), "email": one.address, "unsubscribe_url": url}
            place = message_id(Place(campaign.id, one.number, campaign.mark), host)
            try:
                rendered = template.render(fields)
                mail = compiled.mail(one.address, place, rendered, now=now, first=links.lines(url) if links else b"")
            except (Unrendered, MessageRefused) as error:
                missing = isinstance(error, Unrendered)
                aside(one, Standing.MISSING if missing else Standing.INVALID, str(error))
                continue
            mails.append((base, mail))
            numbers.append(int(one.number))
        ids = store(connection, mails, setup=setup, now=now, book=book) if mails else []
        for number, mail_id in zip(numbers, ids, strict=True):
            row = {"campaign_id": campaign.id, "number": number, "state": Standing.SENDING.value}
            settled.append({**row, "reason": None, "mail_id": mail_id})
        rows.settle(connection, settled)
        return len(ids) + len(taken)

    def sample(self, connection: Connection, campaign: Campaign) -> bytes | None:
        """The mail of the recipient who is next, as it would be handed over; None where nobody waits."""
        found = rows.waiting(connection, campaign, 1)
        if not found:
            return None
        setup, now, one = self._setup(), self._clock.now(), found[0]
        template, compiled, _ = self._compiled(campaign, setup, now)
        links, sender = links_of(setup), parse_first(campaign.sender)
        host = (ascii_domain(sender.domain) if sender else None) or "mailops.invalid"
        url = links.url(campaign, one.number) if links else ""
        rendered = template.render({**json.loads(one.fields), "email": one.address, "unsubscribe_url": url})
        place = message_id(Place(campaign.id, one.number, campaign.mark), host)
        return compiled.mail(one.address, place, rendered, now=now, first=links.lines(url) if links else b"").raw

    def _compiled(self, campaign: Campaign, setup: Setup, now: datetime) -> tuple[Template, Compiled, Submission]:
        base = submission_of(campaign)
        path = return_path_of(base, setup.domain_of(company_of(setup, campaign.company)), setup)
        mark = (campaign.id, path)
        if self._made is None or self._made[0] != mark:
            template = Template(campaign.subject, campaign.text, campaign.html)
            self._made = mark, template, Compiled(base, now=now, return_path=path)
        return self._made[1], self._made[2], base


def refuse_server(key: str | None, setup: Setup) -> None:
    """Raises :class:`MessageRefused` for a server that is not there."""
    if key is not None and not any(server.key == key for server in setup.servers):
        raise MessageRefused(
            f"There is no outgoing server {key!r}.",
            code="message.server_unknown",
            facts={"server": key, "servers": [server.key for server in setup.servers]},
            fix="Use one of the servers listed, or leave the choice to the FROM filters.",
        )


def submission_of(campaign: Campaign) -> Submission:
    """What all mails of a campaign have alike; its texts are templates still."""
    return Submission(
        sender=campaign.sender,
        subject=campaign.subject,
        text=campaign.text,
        html=campaign.html,
        company=campaign.company,
        mail_class=MailClass.MASS,
        server=campaign.server,
        headers=(("Precedence", "list"), ("X-Auto-Response-Suppress", "OOF")),
        auto_delete=True,
        origin="campaign",
    )
