"""One object to hold: wires store, queue, routing, bounces, analysis and runs for programs and notebooks.

>>> from mailops import Ops                                                             # doctest: +SKIP
>>> ops = Ops.open()                                                                    # doctest: +SKIP
>>> ops.send(sender="ann@acme.example", to=["bob@x.test"], subject="Hi", text="Hello")  # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .clock import SystemClock
from .errors import ConfigError, NotFound
from .model.changes import Saved, changed
from .model.mail import Attachment, Submission
from .model.setup import AliasDomain, Authentication, BouncePolicy, Company, MailClass, Profile, Server, Setup
from .ports import Clock
from .workspace import Workspace, find

if TYPE_CHECKING:
    import socket
    from threading import Event

    from sqlalchemy.engine import Engine

    from .analysis.dmarc import DmarcFiles
    from .analysis.metrics import Metric
    from .analysis.query import Found
    from .analysis.relief import Relief
    from .analysis.service import Analysis
    from .analysis.why import Trouble
    from .bounces.explainer import Explanation
    from .bounces.return_path import ReturnPaths
    from .bounces.service import Bounces
    from .campaigns import Campaigns
    from .campaigns.asked import Asked
    from .campaigns.whatif import WhatIf
    from .checks.quota import QuotaRequest
    from .checks.services import Status
    from .domains.failing import SenderReport
    from .domains.mailboxes import Mailboxes
    from .domains.service import Domains
    from .inbound.accounts import Account, Accounts
    from .inbound.carried import Carried
    from .inbound.fetch import Fetching
    from .inbound.foreign import Proposal
    from .inbound.ingest import Result
    from .inbound.intake import Intake
    from .inbound.lmtp import LmtpListener, SmtpListener
    from .inbound.methods import Receiving
    from .inbound.onward import Onward
    from .inbound.probe import Probe
    from .inbound.service import Gateway
    from .inbound.shelf import Shelf
    from .jobs.deadman import Watch
    from .jobs.fleet import Member
    from .jobs.runner import RunResult
    from .jobs.scheduled import ScheduledAction, ScheduledActions
    from .jobs.service import Jobs, RunsDiff
    from .jobs.verdicts import RunContext
    from .ledger import Book
    from .ledger.check import Books
    from .ledger.erasure import About, Erasure, Receipt, Vacuumed
    from .ledger.follow import Followers
    from .ledger.names import Names
    from .limits.values import Own
    from .logs.service import Logs
    from .logs.trace import Trace
    from .model.alias import Alias
    from .model.verdict import Finding, Verdict
    from .oauth.calendar import End
    from .oauth.signin import SignIn
    from .oauth.tokens import TokenService
    from .queue.allowance import Allowance
    from .queue.service import Queue
    from .queue.signing import Signing
    from .queue.told import MailRoute
    from .relay.logins import Logins
    from .relay.reporting import Reports
    from .routing import Route
    from .routing.impact import Impact
    from .routing.plan import Plan
    from .routing.readiness import Readiness
    from .routing.senders import PossibleSender
    from .routing.steps import Task
    from .routing.usage import Usage
    from .secrets import SecretStore
    from .smtp import ConnectionTest, SmtpTransport
    from .store.backup import Backup
    from .support import Support
    from .suppression import Suppressions
    from .threads.desk import Desk
    from .threads.envelope import Envelopes
    from .threads.models import RecordModel
    from .threads.service import Threads
    from .threads.tokens import ThreadTokens
    from .threads.verification import SenderVerification, Waiting


class Ops:
    """An open workspace with everything it can do. Make one with :meth:`open`."""

    def __init__(self, workspace: Workspace, *, clock: Clock | None = None, engine: Engine | None = None) -> None:
        self.workspace = workspace
        self.clock: Clock = clock or SystemClock()
        self._engine = engine

    @classmethod
    def open(cls, workspace: str | Path | Workspace | None = None, *, clock: Clock | None = None) -> Ops:
        """Open a workspace: the one given, else ``MAILOPS_WORKSPACE``, else the nearest folder upwards."""
        return cls(workspace if isinstance(workspace, Workspace) else find(workspace), clock=clock)

    @property
    def engine(self) -> Engine:
        """The store's SQLAlchemy engine, opened and migrated on first use."""
        return self._engine if self._engine is not None else self.workspace.engine

    # --- set-up -------------------------------------------------------------------------------------------------------

    @property
    def setup(self) -> Setup:
        """Servers, companies, alias domains and parameters as they are now."""
        from .store.setup import load

        return load(self.engine, self.workspace.settings.as_profile())

    def save_server(self, server: Server) -> Server:
        """Add or change an outgoing server. Raises :class:`ConfigError` also for what cannot work in this set-up: a
        blocked port, or a filter on the hosted subdomain at an external server."""
        from .routing.plan import refuse_server
        from .store.setup import save_server

        refuse_server(server, self.setup)
        return save_server(self.engine, server)

    def change_server(self, key: str, **named: Any) -> Saved[Server]:
        """Add a server, or change what is named of the one with this key; all else stays. ``named`` are fields of
        :class:`~mailops.model.setup.Server`; a host that a provider is known by sets ``provider`` where none is named.
        """
        from .providers import provider_of_host
        from .routing.effect import about, without_effect

        before = next((s for s in self.setup.servers if s.key == key), None)
        if before is None or before.authentication is not Authentication.OAUTH:
            self._refuse_sign_in(named.get("authentication"), str(named.get("provider") or ""))
        if "host" in named and "provider" not in named and (before is None or before.host != named["host"]):
            known = provider_of_host(str(named["host"]))
            named["provider"] = known.id if known else None
        saved = self.save_server(replace(before or Server(key, key), **named))
        notes = about(without_effect(self.setup), f"server:{key}")
        return Saved(saved, changed(before, saved), tuple(notes))

    @property
    def sign_in_options(self) -> tuple[str, ...]:
        """The ways to sign in that a server form offers; OAuth only for providers that no guide switched off."""
        from .guides.checks import authentication_options
        from .guides.steps import last_answer

        guides = {"outlook": "azure", "gmail": "google"}
        return authentication_options(
            [p for p, g in guides.items() if last_answer(self.engine, g, "provider_on") != "no"]
        )

    def _refuse_sign_in(self, way: Authentication | None, provider: str) -> None:
        if way is not Authentication.OAUTH:
            return
        options = self.sign_in_options
        wanted = {f"oauth:{provider}"} if provider in ("outlook", "gmail") else {"oauth:outlook", "oauth:gmail"}
        if not wanted & set(options):
            raise ConfigError(
                f"The provider {provider or 'for OAuth'} is switched off, so no server signs in by it.",
                code="server.provider_off",
                facts={"provider": provider, "options": list(options)},
                fix="Enable it first: mailops connect guide "
                + ("google" if provider == "gmail" else "azure")
                + " --reopen provider.",
            )

    def change_company(self, key: str, **named: Any) -> Saved[Company]:
        """Add a company, or change what is named of the one with this key (``name``, ``email``, ``domain``: the name of
        an alias domain); all else stays."""
        from .store.setup import not_found

        setup = self.setup
        before = next((c for c in setup.companies if c.key == key), None)
        domain = named.pop("domain", None)
        if domain is not None:
            wanted = domain.strip().lower()
            found = next((d for d in setup.alias_domains if d.name == wanted), None)
            if found is None:
                raise not_found("alias domain", domain, [d.name for d in setup.alias_domains])
            named["alias_domain"] = found
        company = replace(before or Company(key, key), **named)
        if "alias_domain" not in named and setup.is_hosted_domain(company.alias_domain):
            company = replace(company, alias_domain=None)  # it has none of its own, and shares the hosted one
        self.save_company(company)
        saved = next(c for c in self.setup.companies if c.key == key)
        return Saved(saved, changed(before, saved))

    def change_alias_domain(self, name: str, **named: Any) -> Saved[AliasDomain]:
        """Add an alias domain, or change what is named of the one of this name (``bounce_alias``, ``catchall_alias``,
        ``default_from``, ``sequence``); all else stays. Ask :meth:`impact` first."""
        from .routing.effect import about, without_effect

        proposed = self.proposed_alias_domain(name, **named)
        before = next((d for d in self.setup.alias_domains if d.name == proposed.name), None)
        saved = self.save_alias_domain(proposed)
        notes = about(without_effect(self.setup), f"domain:{saved.name}")
        return Saved(saved, changed(before, saved), tuple(notes))

    def proposed_alias_domain(self, name: str, **named: Any) -> AliasDomain:
        """The alias domain as :meth:`change_alias_domain` would save it."""
        wanted = name.strip().lower()
        before = next((d for d in self.setup.alias_domains if d.name == wanted), None)
        return replace(before or AliasDomain(name), **named)

    def change_parameter(self, key: str, value: str | None) -> Saved[str | None]:
        """Set or remove a system parameter, with what changed and what has no effect."""
        from .model.changes import Changed
        from .routing.effect import about, without_effect

        before = self.setup.parameters.get(key)
        self.set_parameter(key, value)
        setup = self.setup
        now = setup.parameters.get(key)
        moved = () if before == now else (Changed(key, before or "", now or ""),)
        return Saved(now, moved if before is not None else (), tuple(about(without_effect(setup), key)))

    def parameter_impact(self, key: str, value: str | None) -> str:
        """What a change of a parameter touches that is already out, as a question; "" when nothing is."""
        before = self.setup.parameters.get(key) or ""
        if key != "web.base.url" or not before or before.rstrip("/") == (value or "").rstrip("/"):
            return ""
        signed_in = sum(1 for _ in self.tokens.accounts)
        return (
            f"web.base.url: {before} becomes {value or 'empty'}. {signed_in} connected accounts were signed in with "
            f"redirect addresses below {before}: register the new ones at Microsoft and Google before the next sign-in."
            "\nChanging it is generally not recommended; freeze it with web.base.url.freeze."
        )

    def readiness(
        self,
        *,
        methods: Sequence[str] | None = None,
        done: Sequence[str] = (),
        undone: Sequence[str] = (),
        fetch_minutes: int | None = None,
        outgoing: str | None = None,
        admin: str | None = None,
        dns: bool = True,
    ) -> Readiness:
        """What is still to do until mail works both ways. What is given is kept in the store: the inbound ``methods``
        in use, tasks ``done`` (or ``undone`` again), minutes between two fetches, the way mail goes ``outgoing``
        (hosted, own; "" decides by the servers), the administrator's address.

        With ``dns`` the own domains are looked at, for some seconds at most, and mark the tasks whose records are
        published.
        """
        import json

        from .domains.known import Known, known_of
        from .routing import steps
        from .routing.readiness import Facts, checked_outgoing, own_domains, readiness
        from .store.setup import READINESS, set_parameter

        setup = self.setup
        kept: dict[str, Any] = json.loads(setup.parameters.get(READINESS) or "{}")
        given: dict[str, Any] = {"fetch_minutes": fetch_minutes, "admin": admin}
        if methods is not None:
            given["methods"] = sorted({steps.method_named(method) for method in methods})
        if outgoing is not None:
            given["outgoing"] = checked_outgoing(outgoing)
        now = {**kept, **{name: value for name, value in given.items() if value is not None}}
        names = [d.name for d in own_domains(setup)]
        known = known_of(self.domains, setup, names) if dns and names else Known()

        def report(marks: frozenset[str]) -> Readiness:
            facts = Facts(
                outgoing=now.get("outgoing") or None,
                methods=frozenset(now.get("methods", ())),
                fetch_minutes=now.get("fetch_minutes"),
                domains=known.exists,
                aliases=tuple(a.address for a in self.aliases if a.address),
                spf=known.spf,
                zones=known.zones,
                done=marks,
                admin=now.get("admin"),
                sends_itself=True,
            )
            return readiness(setup, facts)

        marks = frozenset(now.get("done", ()))
        if done or undone:
            tasks = report(marks).tasks
            marks = (marks | steps.chosen(tasks, done)) - steps.chosen(tasks, undone)
            now["done"] = sorted(marks)
        if now != kept:
            set_parameter(self.engine, READINESS, json.dumps(now))
        told = report(marks | known.done)
        return replace(told, findings=(*told.findings, *self._unrestored()))

    def change_profile(self, *, hosting: str | None = None, database: str | None = None) -> Saved[Profile]:
        """Change hosting kind or database in ``mailops.toml``; what is not named stays. This object goes on with it."""
        from .workspace import with_profile

        before = self.setup.profile
        self.workspace = with_profile(self.workspace, hosting=hosting, database=database)
        after = self.setup.profile
        return Saved(after, changed(before, after))

    def remove_server(self, key: str) -> None:
        """Remove an outgoing server. Raises :class:`StateConflict` for the dedicated mass-mailing server."""
        from .routing.plan import refuse_without
        from .store.setup import remove_server

        refuse_without(key, self.setup)
        remove_server(self.engine, key)

    def save_alias_domain(self, domain: AliasDomain) -> AliasDomain:
        """Add or change an alias domain; the first one is given to all companies. Names that are given up are still
        read: mail sent before carries them (:meth:`impact` says how many)."""
        from .model.setup import FORMER, with_former
        from .routing.plan import refuse_second_subdomain
        from .store.setup import checked_alias_domain, save_alias_domain, set_parameter
        from .threads.alias_names import check_free

        domain = checked_alias_domain(domain)
        setup = self.setup
        refuse_second_subdomain(domain.name, setup.profile)
        before = next((d for d in setup.alias_domains if d.name == domain.name), None)
        for alias in self.aliases:
            if alias.domain == domain.name:
                check_free(alias.local, domain)
        hosted = setup.profile.hosted
        saved = save_alias_domain(self.engine, domain, hosted=hosted.name if hosted else "")
        if before is not None:
            said = setup.parameters.get(FORMER, "")
            now = with_former(said, before, saved)
            if now != said:
                set_parameter(self.engine, FORMER, now or None)
        return saved

    def impact(self, domain: AliasDomain) -> Impact:
        """What saving this alias domain would do to mail that is already out, with counts; nothing is changed."""
        from .routing.impact import change_impact
        from .store.setup import checked_alias_domain
        from .threads.former import mails_that_carry

        domain = checked_alias_domain(domain)
        setup = self.setup
        before = next((d for d in setup.alias_domains if d.name == domain.name), None)
        return change_impact(before, domain, mails_that_carry(self.engine, before, setup) if before else {})

    def _kept(self, domain: AliasDomain) -> AliasDomain:
        """An alias domain with a row of its own: the hosted one is there without, until something belongs to it."""
        known = next((d for d in self.setup.alias_domains if d.name == domain.name.strip().lower()), domain)
        return self.save_alias_domain(known) if self.setup.is_hosted_domain(known) else known

    def save_company(self, company: Company) -> Company:
        """Add or change a company."""
        from .store.setup import save_company

        if company.alias_domain is not None:
            company = replace(company, alias_domain=self._kept(company.alias_domain))
        return save_company(self.engine, company)

    def set_parameter(self, key: str, value: str | None) -> None:
        """Set (or with None remove) a system parameter; it counts from the next mail on."""
        from .bounces.hardness import PARAMETER as HARDNESS
        from .bounces.hardness import read_table
        from .inbound.loops import ALLOWED, check_limit, clean_allowed
        from .model.filters import parse_filter
        from .model.setup import MASS_PARAMETER
        from .model.tag import KEY_PARAMETER
        from .model.thread_token import KEY_PARAMETER as TOKEN_KEY
        from .routing.plan import refuse_dedicated
        from .routing.usage import DAILY, SUBSCRIPTION, check_policy
        from .store.setup import check_identity, set_parameter
        from .suppression.decide import check_mode
        from .threads.alias_names import clean_allowed_domains

        if value is not None and key.startswith("mail.gateway.loop."):
            value = str(check_limit(key, value or "0", 1))
        if value is not None and key == ALLOWED:
            value = clean_allowed(value)
        if value is not None and key == "mail.catchall.domain.allowed":
            value = clean_allowed_domains(value)
        if key == KEY_PARAMETER:  # a key that is replaced or removed is still read with
            self.return_paths.plain() if value is None else self.return_paths.sign(value)
            return
        if key == TOKEN_KEY:
            self.thread_tokens.plain() if value is None else self.thread_tokens.sign(value)
            return
        if key == HARDNESS:
            read_table(value)
        if value is not None and key == "mailops.suppression.mode":
            value = check_mode(value)
        if value is not None and key in (SUBSCRIPTION, DAILY):
            value = check_policy(key, value)
        if value is not None and key == MASS_PARAMETER:
            refuse_dedicated(value, self.setup)
        if value is not None and key == "mail.default.from_filter":
            parse_filter(value)
        if value is not None and key in ("mail.catchall.domain", "mail.default.from"):
            check_identity(key, value)
        set_parameter(self.engine, key, value)

    # --- sending ------------------------------------------------------------------------------------------------------

    @cached_property
    def secrets(self) -> SecretStore:
        """Resolves secret references, and registers what it reveals for redaction."""
        from .secrets import SecretStore

        return SecretStore(self.workspace.path)

    @cached_property
    def tokens(self) -> TokenService:
        """Access tokens of the connected mailboxes, renewed ahead of their end."""
        from .oauth.tokens import TokenService

        return TokenService(self.secrets, clock=self.clock)

    def ends(self, *, network: bool = True, also: Sequence[str] = ()) -> list[End]:
        """What ends when, soonest first: secrets, sign-ins, certificates of applications and (with ``network``) of own
        servers, of those the settings name, and ``also`` of these (``imaps://imap.example.com``)."""
        from .oauth.calendar import ends_of
        from .oauth.certificates import file_end, place_of, places_of, served_ends

        named = [place_of(one) for one in (*self.workspace.settings.calendar.certificates, *also)]
        setup, settings = self.setup, self.workspace.settings
        found = ends_of(self.tokens.accounts, secrets=self.secrets, servers=setup.servers)
        if settings.serve.tls_cert:
            own = file_end(settings.serve.tls_cert, "mailops serve")
            found += [own] if own else []
        if network:
            base = setup.parameters.get("web.base.url") or settings.as_profile().web_base_url or ""
            found += served_ends(places_of(setup.servers, base, named))
        return sorted(found, key=lambda end: end.at)

    @cached_property
    def sign_in(self) -> SignIn:
        """Signs people in at the providers: ``begin``, ``redeem``, ``store``."""
        from .oauth.signin import SignIn

        return SignIn(self.secrets, clock=self.clock)

    def transport(self) -> SmtpTransport:
        """A new SMTP transport; servers that sign in by OAuth get their tokens from :attr:`tokens`."""
        from .smtp import SmtpTransport

        default = self.workspace.settings.as_profile().default_server
        return SmtpTransport(self.secrets, self.clock, self.tokens, default=default)

    @cached_property
    def queue(self) -> Queue:
        """The outgoing queue."""
        from .queue.service import Queue

        settings = self.workspace.settings.queue
        return Queue(
            self.engine,
            setup=lambda: self.setup,
            transport=self.transport,
            clock=self.clock,
            journals=self.workspace.journals,
            batch=settings.batch,
            keep_sent=timedelta(days=settings.keep_sent_days),
            minutes=settings.interval_minutes,
            book=lambda: self.book,
            tag_key=lambda: self.return_paths.key(),
            tell=lambda: self.reports.tell(),
            feed=lambda mass: self.campaigns.feed(mass),
            signer=lambda: self.signing.signer(),
        )

    @cached_property
    def campaigns(self) -> Campaigns:
        """Campaigns: create, send, schedule, cancel, pause, resume, status; the queue carries them."""
        from .campaigns import Campaigns

        return Campaigns(
            lambda: self.engine,
            setup=lambda: self.setup,
            clock=self.clock,
            book=lambda: self.book,
            next_job=lambda: self.queue.next_job,
            suppressions=lambda: self.suppressions,
        )

    @cached_property
    def limits(self) -> Allowance:
        """Limits of servers: what is used, when what waits will leave, limits of one's own."""
        from .queue.allowance import Allowance

        return Allowance(lambda: self.engine, setup=lambda: self.setup, clock=self.clock, to_come=self._to_come)

    def quota_request(
        self, *, wanted: int = 200, users: int | None = None, apps: Sequence[str] = (), dns: bool = True
    ) -> QuotaRequest:
        """The request to support for a higher daily limit, with what support weighs: users and apps as told, bounce
        rate, aliases with the records of their domains (looked at with ``dns``)."""
        from .checks.quota import WANTED, request_of
        from .errors import MailopsError

        setup, aliases = self.setup, self.aliases
        rates: list[Any] = self.analysis.bounce_rate("all").to_dict("records")
        records: dict[str, dict[str, str]] = {}
        for name in sorted({one.domain.lower() for one in aliases if one.domain}) if dns else ():
            try:
                found = self.domains.check(self.domains.of(setup, name)).results
            except MailopsError as error:
                records[name] = dict.fromkeys(WANTED, f"not known ({error.code})")
                continue
            records[name] = {
                one.verdict.check: one.state.value for one in reversed(found) if one.verdict.check in WANTED
            }
        return request_of(
            setup,
            limit=self.usage().limit,
            wanted=wanted,
            users=users,
            apps=apps,
            rates=rates,
            aliases=aliases,
            records=records,
        )

    def recipients_by(self, query: str) -> list[dict[str, Any]]:
        """The rows that a SELECT over the views of :meth:`sql` gives, as a campaign's list: a column called email, any
        others as fields. Raises :class:`InputRefused`."""
        from .analysis.query import ask
        from .campaigns.listing import MOST_BY_QUERY, from_query

        return from_query(ask(self.engine, query, seconds=120.0, rows=MOST_BY_QUERY))

    def before_sending(self, key: str) -> list[str]:
        """What to say before a campaign is queued, a sentence each: findings, its own notes, and the rules of Gmail,
        Yahoo and Microsoft that it misses. Raises :class:`NotFound`, :class:`RouteError` without a server."""
        found = self.campaigns.status(key)
        told = self.campaign_findings(found.counts["waiting"], found.sender, server=found.server)  # type: ignore[index]
        missed = [one.sentence for one in self.campaign_rules(key) if one.recipients and one.missing]
        return [*(f"{one.message} {one.fix}".strip() for one in told), *found.notes, *missed]

    def campaign_rules(self, key: str) -> list[Asked]:
        """What Gmail, Yahoo and Microsoft ask of mail to many, held against this campaign's composed, signed mail."""
        signer = self.signing.signer()
        return self.campaigns.asked(key, lambda raw, sender: signer.prepare(raw, sender)[0])

    def relief(self, users: Sequence[str] | int | None = None, *, since: str = "30d") -> Relief:
        """How many mails a day fewer leave when users (addresses, so many of those who get most, None: all) read their
        notifications in the app instead of by email, by what was."""
        return self.analysis.relief(users, since, limit=self.usage().limit)

    def what_if(
        self,
        *,
        cancel: Sequence[str] = (),
        minutes: int | None = None,
        servers: Mapping[str, str] | None = None,
        limits: Sequence[Own] = (),
        pace: float = 0.0,
    ) -> WhatIf:
        """When each mail that waits would leave, what fails, and when the queue is empty: with campaigns cancelled,
        another interval of the queue job, mail of one server through another (``""`` = of all), other limits. By the
        queue's own rules on a clock of their own; nothing is written. ``pace``: seconds that a mail takes."""
        from .campaigns.picture import what_if
        from .campaigns.whatif import Scenario

        scenario = Scenario(tuple(cancel), minutes, dict(servers or {}), tuple(limits), pace)
        usual = self.workspace.settings.queue.interval_minutes
        return what_if(
            self.engine,
            self.setup,
            scenario,
            now=self.clock.now(),
            minutes=usual,
            names=self.book.names,
            key=lambda: self.return_paths.key(),
        )

    def _to_come(self) -> dict[str, int]:
        """What campaigns under way have not handed over yet, by server; what no server carries is in none's way."""
        from .errors import RouteError

        found: dict[str, int] = {}
        for one in self.campaigns.all():
            if one.state in ("queued", "sending") and (waiting := one.counts["waiting"]):  # type: ignore[index]
                try:
                    way = self.explain(sender=one.sender, server=one.server, mail_class=MailClass.MASS).server
                except RouteError:
                    continue
                key = way.key if way is not None else ""
                found[key] = found.get(key, 0) + waiting
        return found

    @cached_property
    def signing(self) -> Signing:
        """The DKIM keys that what leaves is signed with."""
        return self.signing_over()

    def signing_over(self, resolvers: Sequence[str] | None = None, timeout: float | None = None) -> Signing:
        """As :attr:`signing`, asking other name servers whether records are published."""
        from .queue.signing import Signing

        domains = self.domains.asking(resolvers or (), timeout)
        put = self.secrets.vault.put
        return Signing(
            lambda: self.engine,
            self.secrets,
            self.clock,
            put=lambda name, value: str(put(name, value)),
            ask=domains.ask,
        )

    @cached_property
    def logins(self) -> Logins:
        """Who may hand mail over to ``mailops serve``: company, senders, bounce policy, limit."""
        from .relay.logins import Logins

        return Logins(lambda: self.engine, self.workspace.settings.serve.users, self.clock)

    def _wants_reports(self, name: str | None) -> bool:
        login = self.logins.find(name)
        return self.workspace.settings.serve.reports and (login is None or login.reports)

    @cached_property
    def reports(self) -> Reports:
        """What submitters hear of mail that did not arrive."""
        from .relay.reporting import Reports

        serve = self.workspace.settings.serve
        return Reports(
            lambda: self.engine,
            setup=lambda: self.setup,
            clock=self.clock,
            book=lambda: self.book,
            host=serve.name,
            wanted=self._wants_reports,
            per_hour=serve.reports_per_hour,
        )

    def send(
        self,
        *,
        to: Sequence[str] | str,
        sender: str | None = None,
        subject: str = "",
        text: str | None = None,
        html: str | None = None,
        cc: Sequence[str] = (),
        bcc: Sequence[str] = (),
        attachments: Sequence[Attachment] = (),
        headers: Sequence[tuple[str, str]] = (),
        reply_to: str | None = None,
        company: str | None = None,
        mail_class: MailClass | str = MailClass.TRANSACTIONAL,
        server: str | None = None,
        scheduled_at: datetime | None = None,
        auto_delete: bool = False,
        urgent: bool = False,
        return_path: str | None = None,
    ) -> int:
        """Hand a mail over; returns its id in the queue once it is durably stored.

        An ``urgent`` mail is sent at once; any other leaves with the next run of the queue job. ``return_path`` is an
        own envelope sender, ``<>`` the null one (of what answers mail, and is not to be answered). Raises
        :class:`mailops.errors.MessageRefused` with nothing stored when the mail cannot be sent as it is.
        """
        submission = Submission(
            sender=sender,
            to=(to,) if isinstance(to, str) else tuple(to),
            cc=tuple(cc),
            bcc=tuple(bcc),
            subject=subject,
            text=text,
            html=html,
            attachments=tuple(attachments),
            headers=tuple(headers),
            reply_to=reply_to,
            company=company,
            mail_class=MailClass(mail_class),
            server=server,
            scheduled_at=scheduled_at,
            auto_delete=auto_delete,
            return_path=return_path,
        )
        return self.queue.submit(submission, urgent=urgent)

    def explain(
        self,
        *,
        sender: str | None,
        company: str | None = None,
        server: str | None = None,
        return_path: str | None = None,
        bounces: BouncePolicy | str | None = None,
        mail_class: MailClass | str = MailClass.TRANSACTIONAL,
    ) -> Route:
        """Which server would carry a mail of this sender, with which From and envelope sender, and why.

        With ``bounces`` (keep, ours or both) as mail relayed for a program, whose envelope sender ``return_path`` is.
        Raises :class:`MessageRefused` ``message.from_invalid`` for a From that no mail is taken with.
        """
        from .queue.compose import sender_of
        from .queue.submit import company_of
        from .routing import Router, RouteRequest
        from .routing.plan import server_for_class

        sender_of(sender)
        setup = self.setup
        request = RouteRequest(
            sender=sender,
            alias_domain=setup.domain_of(company_of(setup, company)),
            forced_server=server or server_for_class(MailClass(mail_class), setup),
            return_path=return_path,
            bounces=BouncePolicy(bounces) if bounces else None,
        )
        return Router(setup).route(request)

    def explain_mail(self, mail_id: int) -> MailRoute:
        """How a mail of the queue leaves or left: with its company, class and forced server, and what was recorded."""
        from .queue.told import explain_mail

        return explain_mail(self.engine, self.setup, mail_id)

    def findings(self) -> list[Finding]:
        """The whole set-up held against the rules, the weightiest first: servers, default server, parameters and
        settings without effect, and what mailops cannot reach."""
        from .routing.plan import validate
        from .routing.usage import reach_finding

        setup = self.setup
        reach = reach_finding(setup)
        return [*self._unrestored(), *validate(setup), *([reach] if reach else [])]

    def _unrestored(self) -> list[Finding]:
        """A verification of sender addresses that waits for its end (IN-34)."""
        from .model.verdict import Finding, Severity

        return [
            Finding(
                "verification.pending",
                Severity.WARNING,
                f"The verification of the sender addresses of {one.domain} is not ended: they still make leads.",
                f"Restore the addresses: mailops domain senders {one.domain} --restore",
                {"domain": one.domain, "addresses": [f"{part}@{one.domain}" for part in one.local_parts]},
            )
            for one in self.verifications
        ]

    def senders(
        self, key: str, *, campaigns: Sequence[str] = (), templates: Sequence[str] = (), bot: str | None = None
    ) -> list[PossibleSender]:
        """Every address that may stand as sender, and whether the FROM filter of this server covers it (OUT-21).
        ``campaigns`` and ``templates`` are From texts in use beside those of the mass mail that is kept."""
        import json

        from .queue.told import mass_senders
        from .routing.senders import inventory
        from .store.setup import READINESS, not_found

        setup = self.setup
        server = next((s for s in setup.servers if s.key == key), None)
        if server is None:
            raise not_found("outgoing server", key, [s.key for s in setup.servers])
        kept = json.loads(setup.parameters.get(READINESS) or "{}")
        known = (*campaigns, *mass_senders(self.engine))
        return inventory(setup, server, admin=kept.get("admin"), bot=bot, campaigns=known, templates=templates)

    def campaign_findings(
        self, recipients: int, sender: str | None, *, company: str | None = None, server: str | None = None
    ) -> list[Finding]:
        """What to say before mail to many is queued: too much for its provider or the daily limit, or a From that the
        server's filter refuses."""
        from .routing.plan import campaign_findings
        from .routing.usage import quota_findings

        found = self.explain(sender=sender, company=company, server=server, mail_class=MailClass.MASS)
        told = campaign_findings(found.server, recipients, found.header_from or "") if found.server else []
        return [*told, *quota_findings(self.usage(found.server.key if found.server else None), recipients)]

    def _left_today(self) -> int:
        """Recipients' mails that left through the hosted server since the limit started anew."""
        from .model.setup import DEFAULT_KEY
        from .queue.view import left_since
        from .routing.usage import is_hosted, next_reset

        setup = self.setup
        keys = [DEFAULT_KEY, *(s.key for s in setup.servers if is_hosted(s, setup))]
        return left_since(self.engine, next_reset(self.clock.now()) - timedelta(days=1), keys)

    def usage(self, key: str | None = None) -> Usage:
        """Today's usage of a server (None: the default one): sent, limit, remaining."""
        from .routing.usage import usage
        from .store.setup import not_found

        setup = self.setup
        server = next((s for s in setup.servers if s.key == key), None)
        if key is not None and server is None:
            raise not_found("outgoing server", key, [s.key for s in setup.servers])
        return usage(setup, server, self._left_today())

    def plan(self, kind: str, **options: Any) -> Plan:
        """A usual plan of servers, not saved: ``single`` (mailbox), ``per user`` (users, notification) or
        ``transactional + mass`` (transactional, mass: keys of servers). See :func:`mailops.routing.plan.made_plan`."""
        from .routing.plan import made_plan

        return made_plan(kind, self.setup, **options)

    def save_plan(self, plan: Plan) -> list[Saved[Server]]:
        """Write a plan: its servers, the Dedicated Server, and the alias domain or parameters that it needs."""
        from .model.setup import MASS_PARAMETER

        done = []
        before = {s.key: s for s in self.setup.servers}
        for server in plan.servers:
            saved = self.save_server(server)
            done.append(Saved(saved, changed(before.get(server.key), saved)))
        if plan.dedicated:
            self.set_parameter(MASS_PARAMETER, plan.dedicated)
        for key, value in plan.parameters:
            self.set_parameter(key, value)
        return done

    @staticmethod
    def explain_error(
        text: str, *, provider: str | None = None, protocol: str | None = None, grant: str | None = None
    ) -> Explanation:
        """What an error of a provider, a mail server or a bounce means: cause, who must act, what helps."""
        from .bounces.explainer import explain

        return explain(text, provider=provider, protocol=protocol, grant=grant)

    def test_connection(self, key: str, *, sender: str | None = None) -> ConnectionTest:
        """*Test Connection*: connect, sign in, try sender and recipient; no mail is sent."""
        from .routing.mailbox import mailbox_finding
        from .routing.probe_sender import probe_sender
        from .smtp import test_connection
        from .store.setup import not_found

        setup = self.setup
        server = next((s for s in setup.servers if s.key == key), None)
        if server is None:
            raise not_found("outgoing server", key, [s.key for s in setup.servers])
        mail_from = sender or probe_sender(server, setup.alias_domains)
        found = test_connection(server, self.transport(), sender=mail_from)
        return found.judged(mailbox_finding(server, setup, sender or ""))

    @cached_property
    def book(self) -> Book:
        """The ledger: the one writer of what becomes of mails, with everything that follows of it, in this order."""
        from .campaigns.hearing import CampaignListener
        from .ledger import Book
        from .queue.learning import RateListener
        from .relay.hearing import RelayListener
        from .suppression.hearing import SuppressionListener
        from .threads.hearing import ThreadsListener

        return Book(
            (ThreadsListener(), SuppressionListener(), RelayListener(), CampaignListener(), RateListener()), self._names
        )

    @cached_property
    def followers(self) -> Followers:
        """Programs outside that are told each fact once, and how far each is behind."""
        from .ledger.follow import Followers

        return Followers(self.engine, self.clock)

    def status(self) -> Status:
        """What runs in this workspace and how it goes: services, queue, workers on all machines, one word of health."""
        from .checks.services import status
        from .ledger.workers import loads

        now = self.clock.now()
        return status(
            self.workspace.path,
            now=now,
            queue=lambda: self.queue.health(),
            workers=lambda: loads(self.engine, since=now - timedelta(hours=1), now=now),
        )

    def metrics(self) -> tuple[Metric, ...]:
        """Every metric now: value, what is counted in what, over which days, and the limits with their source."""
        from .analysis.metrics import metrics

        return metrics(self.engine, self.clock.now(), self.workspace.settings.profile.zone)

    def sql(self, text: str, *, seconds: float = 30.0) -> Found:
        """Answer one SELECT over documented views (:data:`mailops.analysis.query.VIEWS`); changes nothing."""
        from .analysis.query import ask

        return ask(self.engine, text, seconds=seconds)

    def books(self, progress: Callable[[int, int], None] | None = None) -> Books:
        """Count states, counters and open attempts again from the facts, and say where the tables differ."""
        from .ledger.check import check

        return check(self.engine, progress=progress)

    # --- schedules ----------------------------------------------------------------------------------------------------

    @cached_property
    def jobs(self) -> Jobs:
        """Notebooks that run by a schedule: add, all, run, tick, remove, history."""
        from .jobs.alerts import by_queue
        from .jobs.service import Jobs

        def state(number: int) -> str:
            return self.queue.mail(number).state.value

        return Jobs(self.workspace, self.clock, by_queue(self.send, state, self.workspace.settings.alerts.sender))

    @cached_property
    def scheduled(self) -> ScheduledActions:
        """Scheduled actions: the queue job, fetching, campaigns, Auto-Vacuum; how often each runs, when next, how long
        the last run took; ``every`` changes an interval, ``run`` runs one now."""
        from .jobs.scheduled import ScheduledActions

        def queue() -> str:
            done = self.queue.run()
            return f"{done.sent} sent, {done.deferred + done.unknown} deferred, {done.failed} failed"

        def fetch() -> str:
            done = self.fetch().counts
            return f"{done.stored} mails taken in, {done.delivered} delivered, {done.refused} refused"

        def vacuum() -> str:
            done = self.vacuum()
            return f"{done.removed} old sent mails removed, {sum(done.retention.values())} rows ended"

        def every(minutes: int) -> None:
            from .workspace import with_interval

            self.workspace = with_interval(self.workspace, minutes)
            self.__dict__.pop("queue", None)  # it is made anew, with the new interval

        def fetched(minutes: int) -> None:
            self.readiness(fetch_minutes=minutes, dns=False)

        return ScheduledActions(
            self._scheduled,
            {"queue": every, "fetch": fetched},
            {"queue": queue, "campaigns": queue, "fetch": fetch, "vacuum": vacuum},
        )

    def watch_jobs(
        self,
        *,
        file: str = "",
        webhook: str = "",
        ping: str = "",
        grace: timedelta | None = None,
        tell: bool = True,
    ) -> Watch:
        """The dead man's switch: whether everything that runs by itself began when it was to, and ended; told by a file
        and a webhook of its own (default: ``[watch]`` of the settings), never by mail. For a timer of its own;
        without ``tell`` it only looks."""
        from .jobs.deadman import DeadMan

        kept = self.workspace.settings.watch
        return DeadMan(self.workspace, self.clock).watch(
            file=file or kept.file,
            webhook=webhook or kept.webhook,
            ping=ping or kept.ping,
            grace=timedelta(minutes=kept.grace_minutes) if grace is None else grace,
            tell=tell,
        )

    def _scheduled(self) -> dict[str, ScheduledAction]:
        """How each scheduled action stands."""
        from .inbound.accounts import CONFIRMED
        from .jobs.often import DAY, RECOMMENDED, too_short
        from .jobs.scheduled import DEFAULTS, LABELS, ScheduledAction, daily, fetch_minutes
        from .model.running import last_runs
        from .queue import job

        now, settings = self.clock.now(), self.workspace.settings
        known = job.times(self.engine)
        looked = [one.checked_at for one in self.mailboxes.list() if one.state == CONFIRMED]
        fetch = fetch_minutes(self.engine)
        began, _ = job.measured(known, "vacuum")
        vacuumed = max(filter(None, (last_runs(self.workspace.path).get("auto_vacuum"), began)), default=None)
        times = [one.scheduled_at or now for one in self.campaigns.all() if one.state in ("queued", "sending")]
        ran = max(filter(None, (known.get(job.JOB), job.measured(known, job.JOB)[0])), default=None)
        fetched = None if not looked else max(min(at or now for at in looked) + timedelta(minutes=fetch), now)
        rows = {
            "queue": (settings.queue.interval_minutes, ran, self.queue.next_job, ""),
            "fetch": (fetch, max(filter(None, looked), default=None), fetched, ""),
            "campaigns": (DAY, ran, max(min(times), now) if times else None,
                          "it is part of the queue job, and a campaign triggers it early"),
            "vacuum": (DAY, vacuumed, daily(vacuumed, settings.serve.vacuum_at, now),
                       "it runs once a day, at serve.vacuum_at of mailops.toml"),
        }  # fmt: skip
        found = {}
        for key, (minutes, last, soon, fixed) in rows.items():
            took = job.measured(known, "queue" if key == "campaigns" else key)[1]
            usual, wise = DEFAULTS[key], RECOMMENDED if key == "queue" else None
            told = "" if key == "campaigns" else too_short(LABELS[key], minutes, took)
            found[key] = ScheduledAction(
                key, LABELS[key], minutes, usual, last, soon, took, told, fixed, recommended=wise
            )
        return found

    def report(
        self,
        name: str,
        params: dict[str, Any] | None = None,
        *,
        to: Sequence[str] = (),
        timeout: float = 600.0,
    ) -> tuple[RunResult, str]:
        """Run a report (:data:`mailops.jobs.letter.REPORTS`, or any notebook) and mail it ``to`` people. Gives the run
        with its page, and why the letter did not leave at once ("" = it did)."""
        from .jobs.letter import REPORTS
        from .jobs.runner import run_notebook

        notebook, usual = REPORTS.get(name, (name, {}))
        given = {**usual, **(params or {})}
        result = run_notebook(notebook, given, workspace=self.workspace, timeout=timeout, clock=self.clock)
        return result, self.jobs.mail(result, to) if to else ""

    def runs_diff(self, before: str, after: str) -> RunsDiff:
        """What changed from one run of a notebook to another: checks, parameters, versions."""
        from .jobs.service import diff

        return diff(self.workspace, before, after)

    @staticmethod
    def next_runs(
        cron: str,
        *,
        zone: str = "UTC",
        first: date | str | None = None,
        until: date | str | None = None,
        dst: str = "once",
    ) -> list[datetime]:
        """When a schedule runs from the local day ``first`` (default: from now on) to the beginning of ``until``
        (default: a week later). ``dst``: once, both or skip, for the nights when the clock is set."""
        from .jobs.cron import day_of, runs
        from .model.zones import zone_of

        now = SystemClock().now()
        begin = day_of(first) if first is not None else now.astimezone(zone_of(zone)).date()
        end = day_of(until) if until is not None else begin + timedelta(days=7)
        found = runs(cron, zone=zone, first=begin, until=end, dst=dst)
        return found if first is not None else [at for at in found if at > now]

    # --- fleet --------------------------------------------------------------------------------------------------------

    @staticmethod
    def fleet_status(folder: str | Path, *, clock: Clock | None = None) -> tuple[Member, ...]:
        """One look at each workspace below a folder: its queue, how its notebooks ended last, what ends within a month.
        A workspace that cannot be looked at is a line like the others."""
        from .jobs.fleet import over

        return over(Path(folder), lambda space: _look(space, clock))

    @staticmethod
    def fleet_run(
        folder: str | Path, notebook: str | Path, params: dict[str, Any] | None = None, *, timeout: float = 600.0
    ) -> tuple[Member, ...]:
        """Run a notebook as a job in each workspace below a folder, one after the other."""
        from .jobs.fleet import over
        from .jobs.runner import run_notebook

        def run(space: Workspace) -> tuple[str, str, dict[str, Any]]:
            try:
                done = run_notebook(notebook, params, workspace=space, timeout=timeout)
            finally:
                if "engine" in space.__dict__:
                    space.engine.dispose()
            verdict = {"passed": "ok", "failed": "look"}.get(done.status, "error")
            return verdict, done.message, {"run": done.id, "status": done.status, "report": done.report}

        return over(Path(folder), run)

    @staticmethod
    def fleet_domains(folder: str | Path, *, clock: Clock | None = None) -> tuple[Member, ...]:
        """What DNS says of every mail domain of each workspace below a folder; each look is kept in its workspace."""
        from .jobs.fleet import over

        return over(Path(folder), lambda space: _look_at_domains(space, clock))

    # --- people -------------------------------------------------------------------------------------------------------

    @cached_property
    def _names(self) -> Names:
        """The pseudonyms of people who were forgotten; their key is a secret of the workspace."""
        from .ledger.names import Names
        from .model.pseudonym import KEY_PARAMETER
        from .store.setup import parameter, set_parameter

        kept: dict[str, bytes] = {}

        def key() -> bytes | None:
            reference = parameter(self.engine, KEY_PARAMETER)
            if reference is None:
                return None
            if reference not in kept:
                kept[reference] = self.secrets.reveal(reference).encode()
            return kept[reference]

        def make() -> bytes:
            import secrets as random

            if self.secrets.vault.find("people") is None:
                self.secrets.vault.put("people", random.token_urlsafe(32))
            set_parameter(self.engine, KEY_PARAMETER, "vault:people")
            return self.secrets.reveal("vault:people").encode()

        return Names(key, make)

    @cached_property
    def erasure(self) -> Erasure:
        """Everything that is kept of an address, and its end: by request, or by the kinds' days."""
        from .bounces.holding import ReportHolder
        from .campaigns.holding import CampaignHolder
        from .inbound.holding import IntakeHolder
        from .jobs.holding import RunHolder
        from .ledger.erasure import Erasure
        from .ledger.holding import LedgerHolder
        from .ledger.lasting import FILE, remember
        from .logs.holding import LogHolder
        from .queue.holding import ContentHolder
        from .relay.holding import SubmitterHolder
        from .store.plan import kept_files
        from .support.keeping import SupportHolder
        from .suppression.holding import SuppressionHolder
        from .threads.holding import ThreadHolder

        rows = (ContentHolder(), ThreadHolder(), ReportHolder(), SuppressionHolder(), SubmitterHolder())
        runs, ledger = RunHolder(self.workspace.runs), LedgerHolder(self._names)
        bundles = SupportHolder(self.workspace.path)
        return Erasure(
            self.engine,
            holders=(*rows, LogHolder(), IntakeHolder(), CampaignHolder(), ledger, runs, bundles),
            names=self._names,
            clock=self.clock,
            elsewhere=lambda: [f"{file.name}: an older store" for file in kept_files(Path(self.workspace.database))],
            lasting=lambda names: remember(self.workspace.path / FILE, names),
        )

    def about(self, address: str) -> About:
        """Everything that is kept of an address."""
        return self.erasure.about(address)

    def forget(self, address: str, *, digest: str | None = None, actor: str = "person") -> Receipt:
        """Forget an address: it becomes a pseudonym, and what was written to, by or about it goes. ``digest`` is that
        of the :meth:`about` which was looked at; without one whatever is there now is taken."""
        return self.erasure.forget(address, digest=digest or self.about(address).digest, actor=actor)

    def vacuum(self, keep: timedelta | None = None) -> Vacuumed:
        """*Auto-Vacuum*: removes sent mails older than ``keep`` (default: settings), then ends what is older than its
        kind is kept. Failures and every figure stay."""
        from .ledger.erasure import Vacuumed

        with self._measured("vacuum"):
            removed = self.queue.vacuum(keep)
            self.intake.release()
            self.erasure.keep_names()
            return Vacuumed(removed, self.erasure.expire(self.workspace.settings.retention.days()))

    @contextmanager
    def _measured(self, action: str) -> Iterator[None]:
        """Note when a scheduled action begins and ends."""
        from .queue.job import begins, ended

        begins(self.engine, action, self.clock.now())
        yield
        ended(self.engine, action, self.clock.now())

    def overdue(self) -> dict[str, int]:
        """How many rows of each kind are older than it is kept: none where *Auto-Vacuum* runs."""
        return self.erasure.overdue(self.workspace.settings.retention.days())

    # --- threads and what comes in ------------------------------------------------------------------------------------

    @cached_property
    def threads(self) -> Threads:
        """Records with their discussions, followers and notifications."""
        from .store.setup import MODELS, parameter
        from .threads.models import models_from
        from .threads.outbox import queue_outbox
        from .threads.service import Threads

        outbox = queue_outbox(lambda: self.setup, self.clock, self.book)
        models = models_from(parameter(self.engine, MODELS))
        return Threads(
            self.engine,
            setup=lambda: self.setup,
            clock=self.clock,
            submit=outbox,
            models=models,
            tokens=self.thread_tokens,
        )

    @cached_property
    def thread_tokens(self) -> ThreadTokens:
        """Signed thread tokens in Reply-To: on (``sign``) or off (``plain``)."""
        from .threads.tokens import ThreadTokens

        return ThreadTokens(self.engine, secrets=self.secrets, clock=self.clock)

    @cached_property
    def desk(self) -> Desk:
        """Threads as people look at them: list, show, why an entry is where it is, and moving it."""
        from .threads.desk import Desk

        return Desk(self.threads)

    def register_model(self, name: str, label: str = "", *, bounce_counter: bool = False) -> RecordModel:
        """A kind of record of your own that aliases may make; kept in the workspace."""
        from .store.setup import MODELS, set_parameter
        from .threads.models import RecordModel

        model = RecordModel(name, label or name.replace("_", " ").capitalize(), bounce_counter)
        self.threads.models.register(model)
        set_parameter(self.engine, MODELS, self.threads.models.as_text())
        return model

    @property
    def models(self) -> tuple[RecordModel, ...]:
        """The kinds of record there are."""
        return tuple(self.threads.models)

    def verification(self, domain: str) -> SenderVerification:
        """The helper that receives a provider's activation mails: ``begin``, ``arrived``, ``restore``."""
        from .threads.verification import SenderVerification

        return SenderVerification(self.engine, domain, clock=self.clock)

    @property
    def verifications(self) -> list[Waiting]:
        """Verifications that were begun and not restored."""
        from .threads.verification import pending

        return pending(self.engine)

    @cached_property
    def envelopes(self) -> Envelopes:
        """The envelope marks of messages: who got it, who did not, try again or ignore."""
        from .threads.envelope import Envelopes

        def again(mail_id: int) -> bool:
            try:
                return self.queue.retry(mail_id).count == 1
            except NotFound:  # it left the queue meanwhile
                return False

        return Envelopes(self.threads, retry=again, book=self.book)

    @cached_property
    def inbound(self) -> Gateway:
        """The inbound gateway: ``ops.inbound.receive(raw)`` decides, carries out, and says why."""
        from .inbound.service import Gateway
        from .threads.outbox import queue_outbox

        outbox = queue_outbox(lambda: self.setup, self.clock, self.book)

        return Gateway(self.engine, self.threads, outbox, self.clock, bounces=self.bounces)

    @cached_property
    def intake(self) -> Intake:
        """What came in, by account and folder: stored before it is acknowledged, decided, and added up."""
        from .inbound.intake import Intake, locks

        lock = locks(self.engine, self.workspace.path / "intake")
        return Intake(self.engine, gateway=self.inbound, setup=lambda: self.setup, clock=self.clock, lock=lock)

    @cached_property
    def mailboxes(self) -> Accounts:
        """The mailboxes that mail is fetched from: list, get, save."""
        from .inbound.accounts import Accounts

        return Accounts(self.engine, self.clock)

    @cached_property
    def fetching(self) -> Fetching:
        """*Test & Confirm* of mailboxes, and fetching from them."""
        from .inbound.fetch import Fetching
        from .model.setup import Server
        from .threads.people import is_person

        def token(account: Account) -> Callable[[bool], str]:
            server = Server(account.key, account.key, host=account.host, login=account.login)
            return lambda refused: self.tokens.access_token(server, refused=refused)

        return Fetching(
            self.mailboxes,
            self.intake,
            secrets=self.secrets,
            token=token,
            is_person=lambda address: is_person(self.engine, address),
        )

    def mailbox_verdicts(self) -> list[Verdict]:
        """How each mailbox stands: looked at in time, without an error, and mail as usual."""
        from .inbound.standing import standing
        from .jobs.scheduled import fetch_minutes

        now, minutes = self.clock.now(), fetch_minutes(self.engine)
        return [standing(one, self.intake.arrivals(one.key), minutes=minutes, now=now) for one in self.mailboxes.list()]

    def fetch(self, account: str | None = None) -> Result:
        """*Mail: Fetchmail Service*: fetch from all confirmed mailboxes, or from this one; then hand mail on to the
        targets there are."""
        with nullcontext() if account else self._measured("fetch"):
            done = self.fetching.fetch(account)
            self.onward.run()
            return done

    def watch(
        self,
        account: str,
        *,
        stop: Event,
        on_run: Callable[[Result], object] = lambda result: None,
        every: float | None = None,
    ) -> None:
        """Fetch from a mailbox until ``stop`` is set, as soon as mail comes (IMAP IDLE), and hand it on; ``every`` so
        many seconds in any case."""

        def after(result: Result) -> None:
            self.onward.run()
            on_run(result)

        self.fetching.watch(account, stop=stop, on_run=after, every=every)

    @cached_property
    def onward(self) -> Onward:
        """Applications that received mail is handed on to: ``targets``, ``save``, ``remove``, ``run``."""
        from .inbound.onward import Onward

        return Onward(self.engine, secrets=self.secrets, clock=self.clock, lock=self.intake.lock)

    def lmtp(self, host: str = "127.0.0.1", port: int = 0, *, sock: socket.socket | None = None) -> LmtpListener:
        """A listener that takes mail from this machine's mail server over LMTP; it runs within ``with``. ``sock`` is
        one that is bound already."""
        from .inbound.lmtp import LmtpListener

        return LmtpListener(self.intake, host, port, sock=sock)

    def mx(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        certificate: str | Path | None = None,
        key: str | Path | None = None,
        sock: socket.socket | None = None,
    ) -> SmtpListener:
        """A listener that an MX record may lead to: SMTP for the alias domains alone; it runs within ``with``. With a
        certificate (PEM) it offers STARTTLS."""
        from .inbound.lmtp import SmtpListener, starttls

        tls = starttls(certificate, key) if certificate else None
        names = lambda: [d.name for d in self.setup.alias_domains]  # noqa: E731
        return SmtpListener(self.intake, names, host, port, tls=tls, sock=sock)

    def probe(self, *, domain: str | None = None, nobody: str | None = None, patience: float = 120.0) -> Probe:
        """The round-trip probe: a mail goes out, its answer and its bounce come back, each leg timed. Where no
        ``mailops serve`` attends the queue, its mails are sent from here; mailboxes are fetched from meanwhile.

        ``domain``: an alias domain (default: the first); ``nobody``: an address that bounces (default: one made up at
        the domain); ``patience``: seconds. Raises :class:`ConfigError` ``inbound.probe``.
        """
        from .checks.services import attended
        from .inbound.probe import Prober

        def drive(mails: list[int]) -> None:
            if not attended(self.workspace.path, self.clock.now()):
                self.queue.run(ids=mails)
            if any(one.state == "confirmed" for one in self.mailboxes.list()):
                self.fetch()

        prober = Prober(
            self.engine,
            self.threads,
            self.clock,
            setup=lambda: self.setup,
            submit=self.queue.submit,
            drive=drive,
            rest=self.clock.sleep,
        )
        return prober.run(domain=domain, nobody=nobody, patience=patience)

    def receiving(self, *, dns: bool = True) -> Receiving:
        """The inbound methods as they are here, what is to be redirected, which mailboxes are missing, and what is
        wrong. With ``dns`` the mail servers of the own domains are asked for; what cannot be known blocks nothing."""
        from .inbound.methods import choose
        from .routing.readiness import own_domains

        setup, report = self.setup, self.readiness(dns=False)
        mx: dict[str, tuple[str, ...]] = {}
        for domain in own_domains(setup) if dns else ():
            answer = self.domains.ask(lambda asker, name=domain.name: asker.ask(name, "MX"))  # type: ignore[misc]
            mx[domain.name] = tuple(host for _, host in answer.exchanges) if answer.found else ()
        return choose(
            setup,
            self.aliases,
            chosen=report.methods,
            logins=[account.login for account in self.mailboxes.list()],
            mx=mx,
            open_tasks=[task.id for task in report.open_tasks],
        )

    def inbound_domain(self, name: str, *, used_elsewhere: bool = False) -> Finding | Task | None:
        """Whether mail can come in by this domain: a subdomain of the hosting (a finding when it is no alias domain
        yet), else one of the MX method (its task). Raises :class:`ConfigError` where it cannot."""
        from .inbound.methods import check_mx_domain, check_subdomain

        setup = self.setup
        if name.strip().rstrip(".").lower().endswith("." + setup.profile.hosted_suffix):
            return check_subdomain(setup, name, used_elsewhere=used_elsewhere)
        return check_mx_domain(setup.profile, name)

    def carried(self, raw: bytes) -> Carried:
        """Whether a received mail was redirected or forwarded on its way here, and what that breaks."""
        from .inbound.carried import carried

        names = {domain.name.lower() for domain in self.setup.alias_domains}
        boxes = [account.login for account in self.mailboxes.list()]
        return carried(self.inbound.read(raw), raw, boxes, names)

    def foreign_matches(self, limit: int = 1000) -> Proposal:
        """Past mail that an alias took by its local part on a domain that is not ours, and the value of
        ``mail.catchall.domain.allowed`` that keeps such out."""
        from .inbound.foreign import foreign

        return foreign(self.inbound.log(limit=limit)[0], self.aliases, self.setup.alias_domains)

    @cached_property
    def shelf(self) -> Shelf:
        """Mail that mailops could not process: list, preview, retry."""
        from .inbound.shelf import Shelf

        return Shelf(self.engine, self.intake)

    def ingest(
        self,
        paths: Sequence[str | Path] = (),
        *,
        stream: BinaryIO | None = None,
        model: str | None = None,
        delivered_to: str | None = None,
    ) -> Result:
        """Take received mail in from files, folders, mailboxes, or a ``stream`` of bytes; each mail once.

        ``model`` makes records of mail that no alias takes; ``delivered_to`` is the envelope recipient where the fields
        do not say it.
        """
        from .inbound.ingest import ingest

        if model is not None:
            self.threads.models.get(model)
        files = [Path(path) for path in paths]
        return ingest(self.intake, files, stream=stream, model=model, delivered_to=delivered_to)

    def save_alias(self, local: str, model: str, *, domain: str | None = None, **settings: Any) -> Alias:
        """A new alias on an alias domain (default: the first). ``settings``: ``policy``, ``any_domain``, ``automatic``
        and the others of :func:`mailops.threads.aliases.save_alias`."""
        from .store.setup import not_found
        from .threads.aliases import save_alias

        domains = self.setup.alias_domains
        chosen = self.setup.domain_of(None)
        if domain is not None:
            chosen = next((d for d in domains if d.name == domain.strip().lower()), None)
            if chosen is None:
                raise not_found("alias domain", domain, [d.name for d in domains])
        chosen = self._kept(chosen) if chosen else None
        key = save_alias(self.engine, local, model, domain=chosen, models=self.threads.models, **settings)
        return next(alias for alias in self.aliases if alias.key == key)

    @property
    def aliases(self) -> tuple[Alias, ...]:
        """The aliases, in order of name."""
        return self.threads.aliases()

    def change_alias(self, address: str, **changes: Any) -> Alias:
        """Change an alias: ``policy``, ``any_domain``, ``bounced_content``, ``automatic`` (False: automatic mail makes
        no records)."""
        from .threads.aliases import change_alias

        return change_alias(self.engine, address, **changes)

    def remove_alias(self, address: str) -> Alias:
        """Remove an alias; what it made stays."""
        from .threads.aliases import remove_alias

        return remove_alias(self.engine, address)

    # --- coming back, looking, running --------------------------------------------------------------------------------

    @cached_property
    def bounces(self) -> Bounces:
        """Reads reports that came back and ties them to the deliveries they speak of."""
        from .bounces.service import Bounces
        from .threads import reports

        return Bounces(
            self.engine,
            clock=self.clock,
            book=self.book,
            tag_keys=self.return_paths.reading_keys,
            discussions=reports,
            profile=self.workspace.settings.as_profile(),
        )

    @cached_property
    def logs(self) -> Logs:
        """Logs of mail servers: ``ops.logs.take("/var/log")``, follow one, and what they tell."""
        from .logs.service import Logs

        hosting = self.workspace.settings.as_profile().hosting
        return Logs(self.engine, book=self.book, clock=self.clock, hosting=hosting)

    def trace(self, asked: str, *, since: str | None = "7d", limit: int = 200) -> Trace:
        """Where a mail is: of a Message-ID, an address, a queue id or a mail's number, from everything that is known.
        ``since`` (30d, 12w, a date; None = ever) bounds the mails of an address."""
        from .analysis.sql import Period
        from .logs.trace import trace

        period = self.analysis.period(since) if since else Period()
        return trace(self.engine, asked, since=period.start, limit=limit)

    @cached_property
    def return_paths(self) -> ReturnPaths:
        """Signed return paths: the switch, and whether reports came back by their tag."""
        from .bounces.return_path import ReturnPaths

        return ReturnPaths(self.engine, secrets=self.secrets, clock=self.clock)

    @cached_property
    def suppressions(self) -> Suppressions:
        """Addresses that get no more campaigns, or no more mail: why, and the way back."""
        from .suppression import Suppressions

        return Suppressions(self.engine, clock=self.clock, book=self.book, reader=lambda: self.bounces.reader())

    @cached_property
    def analysis(self) -> Analysis:
        """pandas answers about what was sent and what came back."""
        from .analysis.service import Analysis

        zone = self.workspace.settings.profile.zone
        return Analysis(
            self.engine, clock=self.clock, zone=zone, provider=lambda names: self.recipient_providers.of(names)
        )

    @cached_property
    def recipient_providers(self) -> Mailboxes:
        """Whose mailboxes recipient domains are, by their MX."""
        from .domains.mailboxes import Mailboxes

        return Mailboxes(self.workspace.path, self.clock.now, lambda names: self.domains.exchangers(names))

    def why(self, mail_id: int) -> list[Trouble]:
        """Why a mail failed or still waits: each recipient's trouble with cause, who must act, and what helps."""
        from .analysis.why import why

        return why(self.engine, self.setup, mail_id)

    @cached_property
    def domains(self) -> Domains:
        """DNS of mail domains: check, watch until published, compare two dates."""
        from .domains.service import Domains

        dns = self.workspace.settings.dns
        return Domains(
            self.clock,
            engine=lambda: self.engine,
            resolvers=dns.resolvers,
            timeout=dns.timeout,
            servers=dns.servers,
            panel=dns.panel,
            hosts=lambda: [server.host for server in self.setup.servers if server.active and server.host],
            keys=lambda domain: self.signing.published_as(domain),
            own=lambda: [domain.name for domain in self.setup.alias_domains],
        )

    @cached_property
    def support(self) -> Support:
        """Support bundles without names, the way back from support's answer, and when to ask."""
        from .support import Support

        return Support(self)

    def sender_report(self, domain: str, *, seconds: float = 20.0) -> SenderReport:
        """The DNS report of a sender whose mail failed without a reason; bounded in time, never raises."""
        from .domains.failing import sender_report

        return sender_report(self.domains, self.setup, domain, seconds=seconds)

    @cached_property
    def dmarc(self) -> DmarcFiles:
        """DMARC aggregate reports in the workspace's folder ``dmarc``."""
        from .analysis.dmarc import DmarcFiles

        return DmarcFiles(self.workspace.path / "dmarc", marks=self.domains.sources.marks)

    @cached_property
    def run(self) -> RunContext:
        """The present notebook run: records verdicts, and judges at the end."""
        from .jobs.verdicts import RunContext

        return RunContext(self.engine, os.environ.get("MAILOPS_RUN_ID", ""), self.clock)

    def backup(self, file: str | Path, *, secrets: bool = False) -> Backup:
        """Write a backup of the store and ``mailops.toml`` to a new file, while everything runs; with ``secrets`` also
        the vault, and its key where that lies beside it: keep such a file as you keep the vault."""
        from .store.backup import back_up

        self.erasure.keep_names()  # with the store brought up to date, and none that was emptied
        return back_up(
            self.workspace.database,
            Path(file).expanduser(),
            now=self.clock.now(),
            beside=self.workspace.files(secrets=secrets),
        )

    def restore(self, file: str | Path, *, replace: bool = False) -> Backup:
        """Put a backup in the place of this workspace's store; the store of before stays as a file beside it. Mails
        that were *Outgoing* at the backup are so again: cancel those that left since, before the queue runs. Whom the
        store of before had forgotten is forgotten again, also where that store is lost (``forgotten.txt``);
        ``not_forgotten`` says of whom that cannot be said."""
        from .ledger.again import forget_again
        from .ledger.lasting import FILE, remembered
        from .store.backup import forgotten, restore

        self.close()
        gone = None if self.workspace.lost else forgotten(self.workspace.database)
        kept = remembered(self.workspace.path / FILE)
        done = restore(
            Path(file).expanduser(),
            self.workspace.database,
            now=self.clock.now(),
            replace=replace,
            folder=self.workspace.path,
        )
        self.workspace.renew()
        people = {*(gone or ()), *(kept or ())}
        keyless = people and self.secrets.vault.find("people") is None
        again = forget_again(self.engine, self.erasure, self._names, people, cancel=self.queue.cancel)
        unknown = []
        if gone is None and kept is None:
            unknown.append("whoever was forgotten since: the store of before cannot be read")
        if keyless:
            unknown.append(f"{len(people)} who were forgotten since: the key of their names is not in the vault")
        return done.with_people(again.forgotten, again.cancelled, (*again.left, *unknown))

    def __enter__(self) -> Ops:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the database connections. ``with Ops.open() as ops:`` does it by itself."""
        engine: Any = self._engine or self.workspace.__dict__.get("engine")
        if engine is not None:
            engine.dispose()


def _look_at_domains(space: Workspace, clock: Clock | None) -> tuple[str, str, dict[str, Any]]:
    """Verdict, sentence and the state of each mail domain of one workspace."""
    from .domains.values import state_of
    from .model.verdict import VerdictState

    ops = Ops.open(space, clock=clock)
    try:
        setup = ops.setup
        try:
            setups = ops.domains.all_of(setup)
        except NotFound:
            return "ok", "It has no mail domain.", {"domains": {}}
        states = {report.setup.domain: state_of(report) for report in ops.domains.check_all(setups)}
    finally:
        ops.close()
    bad = {domain: state for domain, state in states.items() if state is not VerdictState.PASSED}
    told = "; ".join(f"{domain}: {state.value}" for domain, state in sorted(bad.items()))
    facts = {"domains": {domain: state.value for domain, state in states.items()}}
    return ("look", f"{told}.", facts) if bad else ("ok", f"In order: {', '.join(sorted(states))}.", facts)


def _look(space: Workspace, clock: Clock | None) -> tuple[str, str, dict[str, Any]]:
    """Verdict, sentence and figures of one workspace."""
    from .model.states import MailState
    from .store.runs import list_runs

    ops = Ops.open(space, clock=clock)
    try:
        health, now = ops.queue.health(), ops.clock.now()
        ended: dict[str, str] = {}
        for run in list_runs(ops.engine, limit=500):
            if run.status != "running":
                ended.setdefault(run.notebook, run.status)
        ends = [end for end in ops.ends(network=False) if not end.moves and end.days(now) <= 30]
    finally:
        ops.close()
    bad = sorted(name for name, status in ended.items() if status != "passed")
    failed = health.counts[MailState.FAILED]
    said = [
        f"{failed} in Delivery Failed" if failed else "",
        f"{health.owed} facts owed" if health.owed else "",
        f"notebooks to look at: {', '.join(bad)}" if bad else "",
        "; ".join(f"{end.name} ends on {end.at:%Y-%m-%d}" for end in ends[:3]),
    ]
    facts = {
        "counts": {state.value: number for state, number in health.counts.items()},
        "due": health.due,
        "oldest": health.oldest,
        "notebooks": ended,
        "ends": {end.name: end.at for end in ends},
    }
    told = ". ".join(filter(None, said))
    return ("look", told + ".", facts) if told else ("ok", "Nothing to look at.", facts)
