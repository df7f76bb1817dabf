"""A picture of the queue for :mod:`.whatif`: read in one transaction, routed by the set-up, nothing written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..errors import ConfigError, InputRefused, MailopsError, NotFound, RouteError
from ..ledger.names import Names
from ..limits.store import own
from ..limits.values import DAY, Window, windows_of
from ..model.address import normalise
from ..model.setup import Authentication, MailClass, Server, Setup
from ..model.states import DeliveryState, MailState, Rank
from ..queue import holds, job
from ..queue.slots import account_of
from ..queue.submit import request_of
from ..routing import Router, default_server
from ..store import schema
from ..store.database import explained, reading
from ..suppression.store import blocked
from . import rows
from .feed import submission_of
from .values import UNDER_WAY, Campaign, Standing, place_of
from .whatif import Picture, Scenario, Waiting, WhatIf, walk

m, d, u = schema.mails, schema.deliveries, schema.limit_uses


class _Ways:
    """Which server a mail leaves through, or why it cannot; each kind is asked once."""

    def __init__(self, setup: Setup, servers: Mapping[str, str], signed: Collection[str]) -> None:
        self._setup, self._router, self._through = setup, Router(setup), servers
        self._signed = signed
        self._known: dict[Any, tuple[str, str, bool]] = {}
        self.servers: dict[str, Server] = {}

    def of(self, row: Any) -> tuple[str, str, bool]:
        """The server's key, the trouble, and whether each recipient gets a transaction of its own."""
        key = (row.header_from, row.company_id, row.forced_server, row.return_path, row.bounces, row.mail_class)
        if key not in self._known:
            self._known[key] = self._find(row)
        return self._known[key]

    def _find(self, row: Any) -> tuple[str, str, bool]:
        try:
            request = request_of(row, self._setup)
            server = self._router.route(request).effective_server(self._setup)
            to = self._through.get(server.key) or self._through.get("")
            found = self._router.route(replace(request, forced_server=to)) if to else self._router.route(request)
            server = found.effective_server(self._setup)
        except (RouteError, ConfigError) as error:
            return "", f"{error.message} {error.fix}", False
        self.servers[server.key] = server
        if found.failure is not None or not found.header_from or not found.envelope_from:
            return server.key, "The mail's From cannot be used.", False
        tagged = row.mail_class == MailClass.MASS.value and str(found.envelope_from).lower() in self._signed
        return server.key, "", tagged


def _checked(scenario: Scenario, setup: Setup, campaigns: Collection[Campaign]) -> None:
    """Raises for what a scenario names and is not there."""
    keys, open_ones = [one.key for one in setup.servers], [one.key for one in campaigns]
    for key in scenario.cancel:
        if key not in open_ones:
            raise NotFound(
                f"No campaign {key!r} is under way.",
                code="campaign.unknown",
                facts={"key": key, "campaigns": open_ones},
                fix="mailops campaign list shows them.",
            )
    named = [*scenario.servers.values(), *filter(None, scenario.servers), *(one.server for one in scenario.limits)]
    for key in named:
        if key not in keys and key != default_server(setup).key:
            raise NotFound(
                f"There is no outgoing server {key!r}.",
                code="limits.server_unknown",
                facts={"server": key, "servers": keys},
                fix="mailops server list shows them.",
            )
    wrong = scenario.minutes is not None and not 5 <= scenario.minutes <= 1440
    if wrong or scenario.pace < 0 or any(one.count < 0 or one.seconds < 1 for one in scenario.limits):
        raise InputRefused(
            "This is no queue that can be.",
            code="queue.what_if",
            facts={"minutes": scenario.minutes, "pace": scenario.pace},
            fix="Give an interval from 5 minutes, limits from 0 in at least a second, and seconds a mail from 0.",
        )


def take(
    engine: Engine,
    setup: Setup,
    scenario: Scenario,
    *,
    now: datetime,
    minutes: int,
    names: Names | None = None,
    key: Callable[[], bytes | None] = lambda: None,
) -> Picture:
    """The queue as it is now, routed as the scenario says. Raises :class:`NotFound` for what it names in vain."""
    limits = own(engine)
    replaced = {(one.server, one.of) for one in scenario.limits}
    limits = [one for one in limits if (one.server, one.of) not in replaced] + list(scenario.limits)
    with explained("looking at the queue"), reading(engine) as connection:
        campaigns = rows.open_ones(connection)
        _checked(scenario, setup, campaigns)
        signed = _signed(setup, key)
        ways = _Ways(setup, scenario.servers, signed)
        mails = _mails(connection, ways, campaigns, now, names)
        lists = {one.key: _list(connection, one, ways, setup, now, names) for one in campaigns}
        stand = {one.key: rows.counts(connection, one.id) for one in campaigns}
        under_way = {name: sum(counts[one] for one in UNDER_WAY) for name, counts in stand.items()}
        uses: dict[str, list[tuple[datetime, int, int]]] = defaultdict(list)
        left = sa.select(u.c.account, u.c.closed_at, u.c.messages, u.c.recipients).where(
            u.c.closed_at > now - timedelta(seconds=2 * DAY)
        )
        for account, at, messages, recipients in connection.execute(left.order_by(u.c.closed_at)):
            uses[str(account)].append((at, int(messages), int(recipients)))
    accounts = {name: _account(server, setup) for name, server in ways.servers.items()}

    def windows(server: str, at: datetime) -> tuple[Window, ...]:
        return windows_of(ways.servers[server], setup, limits, at) if server in ways.servers else ()

    triggers = [at for name, at in job.times(engine).items() if name.startswith(job.TRIGGER)]
    return Picture(
        now, tuple(mails), tuple(campaigns), lists, under_way, ways.servers, accounts, windows, uses,
        {one.domain: one.until for one in holds.active(engine, now=now)},
        {one.server: one.until for one in holds.active_lanes(engine, now=now)},
        tuple(triggers), minutes,
    )  # fmt: skip


def _signed(setup: Setup, key: Callable[[], bytes | None]) -> frozenset[str]:
    """The bounce addresses that are signed, so that each recipient of mail to many has a transaction of its own."""
    try:
        known = key()
    except MailopsError:
        known = None
    return frozenset(one.bounce_address.lower() for one in setup.alias_domains if known and one.bounce_address)


def _account(server: Server, setup: Setup) -> str:
    return account_of(default_server(setup) if server.authentication is Authentication.CLI else server)


def _mails(
    connection: Connection, ways: _Ways, campaigns: Collection[Campaign], now: datetime, names: Names | None
) -> list[Waiting]:
    keys = {one.id: one.key for one in campaigns}
    people: dict[int, list[str]] = defaultdict(list)
    waits = (d.c.state == DeliveryState.PENDING.value, m.c.state == MailState.OUTGOING.value)
    for mail_id, recipient in connection.execute(
        sa.select(d.c.mail_id, d.c.recipient).join(m, m.c.id == d.c.mail_id).where(*waits).order_by(d.c.id)
    ):
        people[int(mail_id)].append(str(recipient))
    barred = _barred(connection, {one for some in people.values() for one in some}, now, names)
    query = sa.select(
        m.c.id, m.c.rank, m.c.due_at, m.c.mail_class, m.c.header_from, m.c.company_id, m.c.forced_server,
        m.c.return_path, m.c.bounces, m.c.message_id,
    ).where(m.c.state == MailState.OUTGOING.value)  # fmt: skip
    found = []
    for row in connection.execute(query.order_by(m.c.due_at, m.c.id)):
        server, trouble, tagged = ways.of(row)
        mass = row.mail_class == MailClass.MASS.value
        to = people.get(int(row.id), [])
        out = [barred[one] for one in map(normalise, to) if one in barred and (mass or barred[one][0] == "all")]
        left = [one for one in to if (said := barred.get(normalise(one))) is None or not (mass or said[0] == "all")]
        trouble = out[0][1] if out and not left else trouble
        place = place_of(row.message_id) if mass else None
        campaign = keys.get(place.campaign) if place else None
        number = place.number if place else 0
        found.append(_waiting(row, int(row.id), campaign, number, left or to, (server, trouble, tagged)))
    return found


def _waiting(
    row: Any, mail_id: int | None, campaign: str | None, number: int, to: list[str], way: tuple[str, str, bool]
) -> Waiting:
    server, trouble, tagged = way
    units = {"messages": len(to) if tagged else 1, "recipients": len(to)}
    return Waiting(mail_id, campaign, number, tuple(to), Rank(row.rank), row.due_at, server, units, trouble)


def _barred(
    connection: Connection, people: Collection[str], now: datetime, names: Names | None
) -> dict[str, tuple[str, str]]:
    found = blocked(connection, {normalise(one) for one in people}, now=now, names=names) if people else []
    return {one.address: (one.scope, one.why) for one in found}


class _Row:
    """A recipient's mail that is not made yet, as routing asks about it."""

    def __init__(self, campaign: Campaign, setup: Setup, due: datetime) -> None:
        from ..queue.submit import company_of

        base = submission_of(campaign)
        company = company_of(setup, base.company)
        self.header_from, self.company_id = campaign.sender, company.id if company else None
        self.forced_server, self.return_path, self.bounces = base.server, base.return_path, None
        self.mail_class, self.rank, self.due_at = MailClass.MASS.value, Rank.CAMPAIGN, due


def _list(
    connection: Connection, campaign: Campaign, ways: _Ways, setup: Setup, now: datetime, names: Names | None
) -> tuple[Waiting, ...]:
    """Who waits of a campaign, by number; who is suppressed by now gets nothing."""
    r = rows.r
    query = sa.select(r.c.number, r.c.address, r.c.normalised).where(
        r.c.campaign_id == campaign.id, r.c.state == Standing.WAITING.value
    )
    people = connection.execute(query.order_by(r.c.number)).all()
    barred = _barred(connection, {str(one.normalised) for one in people}, now, names)
    row = _Row(campaign, setup, now)
    way = ways.of(row)
    return tuple(
        _waiting(row, None, campaign.key, int(one.number), [str(one.address)], way)
        for one in people
        if one.normalised not in barred
    )


def what_if(
    engine: Engine,
    setup: Setup,
    scenario: Scenario,
    *,
    now: datetime,
    minutes: int,
    names: Names | None = None,
    key: Callable[[], bytes | None] = lambda: None,
) -> WhatIf:
    """When each mail leaves by a scenario, beside how it is."""

    def answer(one: Scenario) -> WhatIf:
        return walk(take(engine, setup, one, now=now, minutes=minutes, names=names, key=key), one)

    as_it_is = Scenario(pace=scenario.pace)
    found = answer(scenario)
    return replace(found, as_it_is=answer(as_it_is)) if scenario != as_it_is else found
