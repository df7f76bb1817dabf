"""Campaigns as one object to hold: what the command line, the notebooks and programs call."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..errors import InputRefused, NotFound, StateConflict
from ..ledger import Book
from ..model.setup import Setup
from ..ports import Clock
from ..queue import actions, job
from ..queue.compose import sender_of
from ..queue.filters import QueueFilter
from ..queue.submit import company_of, return_path_of
from ..store.database import alone, explained, reading
from . import rows
from .compiled import Compiled
from .feed import ALONE, Feed, refuse_server, submission_of
from .hearing import OURS
from .listing import judged, rows_of
from .template import Template
from .unsubscribe import Links, Unsubscribing, links_of, one_click
from .values import OPEN, Blocking, Campaign, CampaignState, Standing, Status, first, notice, rest

if TYPE_CHECKING:
    import pandas as pd

    from ..suppression import Suppressions
    from .asked import Asked

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
CHUNK = 5_000


class Campaigns:
    """The campaigns of a store. ``next_job`` says when the queue job runs next."""

    def __init__(
        self,
        engine: Callable[[], Engine],
        *,
        setup: Callable[[], Setup],
        clock: Clock,
        book: Callable[[], Book],
        next_job: Callable[[], datetime],
        suppressions: Callable[[], Suppressions],
    ) -> None:
        self._engine, self._setup, self._clock, self._book = engine, setup, clock, book
        self._next_job = next_job
        self.feed = Feed(engine, setup=setup, clock=clock, book=book)
        self.unsubscribing = Unsubscribing(engine, suppressions)

    # --- making -------------------------------------------------------------------------------------------------------

    def create(
        self,
        key: str,
        *,
        sender: str,
        subject: str,
        recipients: Path | str | Iterable[Mapping[str, Any]] | pd.DataFrame,
        text: str | None = None,
        html: str | None = None,
        server: str | None = None,
        company: str | None = None,
    ) -> Status:
        """A draft with its list: a CSV file, a frame, or mappings with ``email`` and any fields. Subject and bodies are
        templates (``{{ name }}``); each row's texts are made once now, so that what cannot be is known before the first
        mail. Raises :class:`InputRefused`, :class:`StateConflict` for a key that is taken, and
        :class:`MessageRefused` for a message that nobody could get; nothing is stored then."""
        if not _KEY.fullmatch(key):
            raise InputRefused(
                f"{key!r} is no key for a campaign.",
                code="campaign.key",
                facts={"key": key},
                fix="Use letters, digits, dots, hyphens and underscores, such as autumn-2026.",
            )
        if text is None and html is None:
            raise InputRefused(
                "The campaign has no text.", code="campaign.no_text", fix="Give a text, an HTML body, or both."
            )
        template = Template(subject, text, html)
        source = Path(recipients) if isinstance(recipients, str) else recipients
        now, setup = self._clock.now(), self._setup()
        made = Campaign(
            0, key, CampaignState.DRAFT, False, sender, subject, text, html, server, company,
            secrets.token_hex(16), now, None, None, None, None, None,
        )  # fmt: skip
        self._check(made, setup, now)
        row = {name: getattr(made, name) for name in Campaign.__dataclass_fields__ if name != "id"}
        with explained("storing the campaign"), self._engine().begin() as connection:
            alone(connection, ALONE)
            if rows.find(connection, key) is not None:
                raise StateConflict(
                    f"There is a campaign {key!r} already.",
                    code="campaign.exists",
                    facts={"key": key},
                    fix="Take another key; mailops campaign list shows those that are there.",
                )
            number = connection.execute(sa.insert(rows.c).values(**row)).inserted_primary_key
            assert number is not None
            if not rows.add(connection, int(number[0]), judged(rows_of(source), template)):
                raise InputRefused(
                    "The list has no rows.",
                    code="campaign.list",
                    facts={"key": key},
                    fix="Give at least one recipient.",
                )
            rows.set_aside(connection, self._named(connection, key), now)
        return self.status(key)

    def _check(self, campaign: Campaign, setup: Setup, now: datetime) -> None:
        """Whether the message can be sent at all: its From, server, company and its form."""
        sender_of(campaign.sender)
        refuse_server(campaign.server, setup)
        base = submission_of(campaign)
        domain = setup.domain_of(company_of(setup, campaign.company))
        Compiled(base, now=now, return_path=return_path_of(base, domain, setup))

    # --- acting -------------------------------------------------------------------------------------------------------

    def send(self, key: str) -> Status:
        """*Send*: in queue, as soon as possible; the queue job is told. After a cancel only the rest. Raises
        :class:`StateConflict` ``campaign.running`` for one that is under way (CAM-03)."""
        return self._queue(key, None)

    def schedule(self, key: str, at: datetime) -> Status:
        """*Schedule*: in queue, to start at a time, for which the queue job is told (CAM-02). Raises
        :class:`InputRefused` ``campaign.past``."""
        now = self._clock.now()
        if at <= now:
            raise InputRefused(
                "The time is past.",
                code="campaign.past",
                facts={"at": at.isoformat(), "now": now.isoformat()},
                fix="Give a time to come, or send the campaign at once: mailops campaign send.",
            )
        return self._queue(key, at)

    def _queue(self, key: str, at: datetime | None) -> Status:
        now, setup = self._clock.now(), self._setup()
        with self._changing(key) as (connection, campaign):
            if campaign.state in OPEN and not (campaign.state is CampaignState.QUEUED and at is not None):
                raise StateConflict(
                    f"Campaign {key} is {campaign.state.label.lower()} already; a second start makes nothing faster.",
                    code="campaign.running",
                    facts={"key": key, "state": campaign.state.value},
                    fix=f"Look how far it is: mailops campaign status {key}.",
                )
            if campaign.state is CampaignState.DONE:
                raise _conflict(campaign, "is done", "Make a new campaign for further recipients.")
            self._check(campaign, setup, now)
            rows.set_aside(connection, campaign, now)
            queued = {"state": CampaignState.QUEUED.value, "scheduled_at": at, "paused": False, "finished_at": None}
            rows.change(connection, campaign, **queued, trouble=None)
            job.trigger_in(connection, at or now)
        return self.status(key)

    def cancel(self, key: str) -> Status:
        """*Cancel*: nothing more of it leaves but what a worker has at this moment. Who got it stays so, and a later
        *Send* goes to the rest (CAM-07)."""
        with self._changing(key) as (connection, campaign):
            if campaign.state not in OPEN:
                raise _conflict(
                    campaign, f"is {campaign.state.label.lower()}", "Only a queued or sending one is cancelled."
                )
            now = self._clock.now()
            done = {"state": CampaignState.CANCELLED.value, "scheduled_at": None, "paused": False, "finished_at": now}
            rows.change(connection, campaign, **done, trouble=None)
            job.trigger_in(connection, now)  # the next one's turn
        self._take_back(campaign)
        return self.status(key)

    def pause(self, key: str) -> Status:
        """Stop until :meth:`resume`; the campaigns behind it wait with it."""
        with self._changing(key) as (connection, campaign):
            if campaign.state not in OPEN or campaign.paused:
                raise _conflict(campaign, "cannot be paused", "Only a queued or sending campaign can be.")
            rows.change(connection, campaign, paused=True)
        self._take_back(campaign)
        return self.status(key)

    def resume(self, key: str) -> Status:
        """Go on after :meth:`pause`."""
        with self._changing(key) as (connection, campaign):
            if not campaign.paused:
                raise _conflict(campaign, "is not paused", "Look at it: mailops campaign status.")
            rows.change(connection, campaign, paused=False, trouble=None)
            job.trigger_in(connection, self._clock.now())
        return self.status(key)

    def finish(self, key: str) -> Status:
        """Finish without the held: what waits in the queue for a later try stays there and leaves when it can, and the
        next campaign does not wait for it. Raises :class:`StateConflict` while recipients have no mail yet."""
        with self._changing(key) as (connection, campaign):
            counts = rows.counts(connection, campaign.id)
            if campaign.state is not CampaignState.SENDING or counts[Standing.WAITING]:
                raise _conflict(
                    campaign, "is not at its last mails", "Cancel it instead; a later send goes to those who are left."
                )
            done = {"state": CampaignState.DONE.value, "finished_at": self._clock.now(), "trouble": None}
            rows.change(connection, campaign, **done)
            job.trigger_in(connection, self._clock.now())
        return self.status(key)

    def _take_back(self, campaign: Campaign) -> None:
        """Take its mails out of the queue that no worker holds; their recipients wait again."""
        with explained("reading a campaign"), reading(self._engine()) as connection:
            mails = rows.under_way(connection, campaign)
        for at in range(0, len(mails), CHUNK):
            chosen = QueueFilter(ids=tuple(mails[at : at + CHUNK]))
            actions.cancel(self._engine(), chosen, clock=self._clock, book=self._book(), actor=OURS + campaign.key)

    # --- looking ------------------------------------------------------------------------------------------------------

    def status(self, key: str) -> Status:
        """Where a campaign and its recipients stand. Raises :class:`NotFound`."""
        with explained("reading a campaign"), reading(self._engine()) as connection:
            return self._status(connection, self._named(connection, key), self._clock.now())

    def all(self) -> list[Status]:
        """Every campaign, oldest first."""
        with explained("reading campaigns"), reading(self._engine()) as connection:
            return [self._status(connection, one, self._clock.now()) for one in rows.campaigns(connection)]

    def _status(self, connection: Connection, campaign: Campaign, now: datetime) -> Status:
        head = first(rows.open_ones(connection), now)
        counts = rows.counts(connection, campaign.id)
        waits = ""
        if campaign.state in OPEN:
            waits = self._why(campaign, head, counts, now)
        notes = _notes(links_of(self._setup()))
        mine = {name: getattr(campaign, name) for name in Status.__dataclass_fields__ if hasattr(campaign, name)}
        told = notice(campaign, head, starts=self._next_job(), now=now)
        return Status(**mine, notice=told, waits_for=waits, counts=counts, notes=notes)

    def _why(self, campaign: Campaign, head: Campaign | None, counts: Mapping[Standing, int], now: datetime) -> str:
        """What an open campaign waits for."""
        if campaign.paused:
            return "it is paused"
        if campaign.trouble:
            return campaign.trouble.rstrip(".")
        if campaign.scheduled_at is not None and campaign.scheduled_at > now:
            return f"its time, {campaign.scheduled_at:%Y-%m-%d %H:%M} UTC"
        if head is not None and head.id != campaign.id:
            return f"campaign {head.key}, which is before it"
        return rest(counts)

    def recipients(
        self, key: str, *, state: Standing | str | None = None, aside: bool = False, limit: int = 1000
    ) -> list[dict[str, Any]]:
        """Rows of its list (number, address, state, reason, mail): those of a state, or those set ``aside``."""
        wanted = Standing(state) if state is not None else None
        with explained("reading a campaign"), reading(self._engine()) as connection:
            found = rows.listed(connection, self._named(connection, key), aside=aside, state=wanted, limit=limit)
            return [dict(row._mapping) for row in found]

    def asked(self, key: str, prepare: Callable[[bytes, str], bytes] = lambda raw, _sender: raw) -> list[Asked]:
        """What Gmail, Yahoo and Microsoft ask of mail to many, held against the mail of the recipient who is next, as
        ``prepare`` makes it leave (signed); nothing where nobody waits. Raises :class:`NotFound`."""
        from .asked import held

        with explained("reading a campaign"), reading(self._engine()) as connection:
            campaign = self._named(connection, key)
            raw, people = self.feed.sample(connection, campaign), rows.domains(connection, campaign)
        return held(prepare(raw, campaign.sender), people) if raw is not None else []

    def frame(self) -> pd.DataFrame:
        """All campaigns as a pandas frame, oldest first, with recipients by state."""
        import pandas as pd

        heads = ["key", "state", "paused", "created_at", "scheduled_at", "started_at", "finished_at", "waits_for"]
        found = [
            {**{n: getattr(one, n) for n in heads}, **{s.value: n for s, n in one.counts.items()}} for one in self.all()
        ]
        return pd.DataFrame(found, columns=[*heads, *(one.value for one in Standing)])

    def aside(self, key: str, *, limit: int = 10_000) -> pd.DataFrame:
        """Who was set aside from a campaign, and why, as a frame; empty without a key."""
        import pandas as pd

        rows_now = self.recipients(key, aside=True, limit=limit) if key else []
        return pd.DataFrame(rows_now, columns=["number", "address", "state", "reason", "mail_id"])

    def blocking(self) -> Blocking:
        """The doctor: which campaign is at the head, its last progress, why nothing moves, and what to do (CAM-06)."""
        now = self._clock.now()
        with explained("reading campaigns"), reading(self._engine()) as connection:
            open_ones = rows.open_ones(connection)
            head = first(open_ones, now)
            if head is None:
                return Blocking(None, "No campaign is under way.", "", None, ())
            counts = rows.counts(connection, head.id)
        behind = tuple(one.key for one in open_ones if one.id != head.id and one.is_due(now))
        if head.paused:
            fix = f"mailops campaign resume {head.key} lets it go on."
        elif head.trouble:
            fix = f"Repair that and send again, or mailops campaign cancel {head.key} and see whether the others leave."
        elif counts[Standing.WAITING]:
            fix = f"mailops queue run (or mailops serve) sends it; {_stop(head.key)}"
        else:
            fix = f"Its last mails wait for another try: mailops campaign finish {head.key} goes on without them."
        return Blocking(head.key, self._why(head, head, counts, now), fix, head.progress_at or head.started_at, behind)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _named(self, connection: Connection, key: str) -> Campaign:
        found = rows.find(connection, key)
        if found is None:
            raise NotFound(
                f"There is no campaign {key!r}.",
                code="campaign.unknown",
                facts={"key": key, "campaigns": [one.key for one in rows.campaigns(connection)][:50]},
                fix="mailops campaign list shows them.",
            )
        return found

    @contextmanager
    def _changing(self, key: str) -> Iterator[tuple[Connection, Campaign]]:
        """A transaction that changes one campaign, after others that do."""
        with explained("changing the campaign"), self._engine().begin() as connection:
            alone(connection, ALONE)
            yield connection, self._named(connection, key)


NO_LINK = "It has no link to unsubscribe: set web.base.url to the address at which people reach mailops serve."
NO_CLICK = "Its link to unsubscribe is no one-click one (RFC 8058): web.base.url is not an https address."


def _notes(links: Links | None) -> tuple[str, ...]:
    """What is to be said of the links before mail leaves."""
    return (NO_LINK,) if links is None else () if one_click(links.base) else (NO_CLICK,)


def _stop(key: str) -> str:
    return f"mailops campaign cancel {key} takes it out, and the others leave."


def _conflict(campaign: Campaign, what: str, fix: str) -> StateConflict:
    return StateConflict(
        f"Campaign {campaign.key} {what}.",
        code="campaign.state",
        facts={"key": campaign.key, "state": campaign.state.value, "paused": campaign.paused},
        fix=fix,
    )
