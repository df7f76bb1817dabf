"""One object to hold: wires store, queue, routing, bounces, analysis and runs for programs and notebooks.

>>> from mailops import Ops                                                             # doctest: +SKIP
>>> ops = Ops.open()                                                                    # doctest: +SKIP
>>> ops.send(sender="ann@acme.example", to=["bob@x.test"], subject="Hi", text="Hello")  # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .clock import SystemClock
from .model.mail import Attachment, Submission
from .model.setup import AliasDomain, BouncePolicy, Company, MailClass, Server, Setup
from .ports import Clock
from .workspace import Workspace, find

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from .analysis.dmarc import DmarcFiles
    from .analysis.service import Analysis
    from .analysis.why import Trouble
    from .bounces.explainer import Explanation
    from .bounces.return_path import ReturnPaths
    from .bounces.service import Bounces
    from .domains.failing import SenderReport
    from .domains.service import Domains
    from .inbound.service import Gateway
    from .jobs.verdicts import RunContext
    from .ledger import Book
    from .ledger.check import Books
    from .ledger.erasure import About, Erasure, Receipt, Vacuumed
    from .ledger.names import Names
    from .model.alias import Alias
    from .oauth.calendar import End
    from .oauth.signin import SignIn
    from .oauth.tokens import TokenService
    from .queue.service import Queue
    from .queue.signing import Signing
    from .relay.logins import Logins
    from .relay.reporting import Reports
    from .routing import Route
    from .secrets import SecretStore
    from .smtp import ConnectionTest, SmtpTransport
    from .store.backup import Backup
    from .suppression import Suppressions
    from .threads.envelope import Envelopes
    from .threads.service import Threads


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
        """Add or change an outgoing server."""
        from .store.setup import save_server

        return save_server(self.engine, server)

    def remove_server(self, key: str) -> None:
        """Remove an outgoing server."""
        from .store.setup import remove_server

        remove_server(self.engine, key)

    def save_alias_domain(self, domain: AliasDomain) -> AliasDomain:
        """Add or change an alias domain; the first one is given to all companies."""
        from .store.setup import save_alias_domain

        return save_alias_domain(self.engine, domain)

    def save_company(self, company: Company) -> Company:
        """Add or change a company."""
        from .store.setup import save_company

        return save_company(self.engine, company)

    def set_parameter(self, key: str, value: str | None) -> None:
        """Set (or with None remove) a system parameter; it counts from the next mail on."""
        from .bounces.hardness import PARAMETER as HARDNESS
        from .bounces.hardness import read_table
        from .inbound.loops import check_limit
        from .model.tag import KEY_PARAMETER
        from .store.setup import set_parameter
        from .suppression.decide import check_mode
        from .threads.alias_names import clean_allowed_domains

        if value is not None and key.startswith("mail.gateway.loop."):
            value = str(check_limit(key, value or "0", 1))
        if value is not None and key == "mail.catchall.domain.allowed":
            value = clean_allowed_domains(value)
        if key == KEY_PARAMETER:  # a key that is replaced or removed is still read with
            self.return_paths.plain() if value is None else self.return_paths.sign(value)
            return
        if key == HARDNESS:
            read_table(value)
        if value is not None and key == "mailops.suppression.mode":
            value = check_mode(value)
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
            book=self.book,
            tag_key=lambda: self.return_paths.key(),
            tell=lambda: self.reports.tell(),
            signer=lambda: self.signing.signer(),
        )

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
    ) -> Route:
        """Which server would carry a mail of this sender, with which From and envelope sender, and why.

        With ``bounces`` (keep, ours or both) as mail relayed for a program, whose envelope sender ``return_path`` is.
        """
        from .queue.submit import alias_domain_of, company_of
        from .routing import Router, RouteRequest

        setup = self.setup
        request = RouteRequest(
            sender=sender,
            alias_domain=alias_domain_of(setup, company_of(setup, company)),
            forced_server=server,
            return_path=return_path,
            bounces=BouncePolicy(bounces) if bounces else None,
        )
        return Router(setup).route(request)

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
        from .ledger import Book
        from .relay.hearing import RelayListener
        from .suppression.hearing import SuppressionListener
        from .threads.hearing import ThreadsListener

        return Book((ThreadsListener(), SuppressionListener(), RelayListener()), self._names)

    def books(self, progress: Callable[[int, int], None] | None = None) -> Books:
        """Count states, counters and open attempts again from the facts, and say where the tables differ."""
        from .ledger.check import check

        return check(self.engine, progress=progress)

    # --- schedules ----------------------------------------------------------------------------------------------------

    @staticmethod
    def next_runs(
        cron: str,
        *,
        zone: str = "UTC",
        first: date | str | None = None,
        until: date | str | None = None,
        dst: str = "once",
    ) -> list[datetime]:
        """When a schedule runs from the local day ``first`` (default: today there) to the beginning of ``until``
        (default: a week later). ``dst``: once, both or skip, for the nights when the clock is set."""
        from .jobs.cron import day_of, runs, zone_of

        begin = day_of(first) if first is not None else datetime.now(zone_of(zone)).date()
        end = day_of(until) if until is not None else begin + timedelta(days=7)
        return runs(cron, zone=zone, first=begin, until=end, dst=dst)

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
        from .jobs.holding import RunHolder
        from .ledger.erasure import Erasure
        from .ledger.holding import LedgerHolder
        from .queue.holding import ContentHolder
        from .relay.holding import SubmitterHolder
        from .store.plan import kept_files
        from .suppression.holding import SuppressionHolder
        from .threads.holding import ThreadHolder

        rows = (ContentHolder(), ThreadHolder(), ReportHolder(), SuppressionHolder(), SubmitterHolder())
        return Erasure(
            self.engine,
            holders=(*rows, LedgerHolder(self._names), RunHolder(self.workspace.runs)),
            names=self._names,
            clock=self.clock,
            elsewhere=lambda: [f"{file.name}: an older store" for file in kept_files(Path(self.workspace.database))],
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

        removed = self.queue.vacuum(keep)
        return Vacuumed(removed, self.erasure.expire(self.workspace.settings.retention.days()))

    def overdue(self) -> dict[str, int]:
        """How many rows of each kind are older than it is kept: none where *Auto-Vacuum* runs."""
        return self.erasure.overdue(self.workspace.settings.retention.days())

    # --- threads and what comes in ------------------------------------------------------------------------------------

    @cached_property
    def threads(self) -> Threads:
        """Records with their discussions, followers and notifications."""
        from .threads.outbox import queue_outbox
        from .threads.service import Threads

        outbox = queue_outbox(lambda: self.setup, self.clock, self.book)
        return Threads(self.engine, setup=lambda: self.setup, clock=self.clock, submit=outbox)

    @cached_property
    def envelopes(self) -> Envelopes:
        """The envelope marks of messages: who got it, who did not, try again or ignore."""
        from .threads.envelope import Envelopes

        return Envelopes(self.threads, retry=lambda mail_id: self.queue.retry(mail_id).count == 1, book=self.book)

    @cached_property
    def inbound(self) -> Gateway:
        """The inbound gateway: ``ops.inbound.receive(raw)`` decides, carries out, and says why."""
        from .inbound.service import Gateway
        from .threads.outbox import queue_outbox

        outbox = queue_outbox(lambda: self.setup, self.clock, self.book)

        return Gateway(self.engine, self.threads, outbox, self.clock, bounces=self.bounces)

    def save_alias(self, local: str, model: str, *, domain: str | None = None, **settings: Any) -> Alias:
        """A new alias on an alias domain (default: the first). ``settings``: ``policy``, ``any_domain``, ``automatic``
        and the others of :func:`mailops.threads.aliases.save_alias`."""
        from .store.setup import not_found
        from .threads.aliases import save_alias

        domains = self.setup.alias_domains
        chosen = next((d for d in domains if domain is None or d.name == domain.strip().lower()), None)
        if chosen is None and domain is not None:
            raise not_found("alias domain", domain, [d.name for d in domains])
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
    def return_paths(self) -> ReturnPaths:
        """Signed return paths: the switch, and whether reports came back by their tag."""
        from .bounces.return_path import ReturnPaths

        return ReturnPaths(self.engine, secrets=self.secrets, clock=self.clock)

    @cached_property
    def suppressions(self) -> Suppressions:
        """Addresses that get no more campaigns, or no more mail: why, and the way back."""
        from .suppression import Suppressions

        return Suppressions(self.engine, clock=self.clock, book=self.book, reader=self.bounces.reader)

    @cached_property
    def analysis(self) -> Analysis:
        """pandas answers about what was sent and what came back."""
        from .analysis.service import Analysis

        return Analysis(self.engine, clock=self.clock)

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
            hosts=lambda: [server.host for server in self.setup.servers if server.active and server.host],
        )

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

        _ = self.engine  # brought up to date, and none that was emptied
        return back_up(
            self.workspace.database,
            Path(file).expanduser(),
            now=self.clock.now(),
            beside=self.workspace.files(secrets=secrets),
        )

    def restore(self, file: str | Path, *, replace: bool = False) -> Backup:
        """Put a backup in the place of this workspace's store; the store of before stays as a file beside it. Mails
        that were *Outgoing* at the backup are so again: cancel those that left since, before the queue runs."""
        from .store.backup import restore

        self.close()
        done = restore(
            Path(file).expanduser(),
            self.workspace.database,
            now=self.clock.now(),
            replace=replace,
            folder=self.workspace.path,
        )
        self.workspace.renew()
        return done

    def close(self) -> None:
        """Release the database connections."""
        engine: Any = self._engine or self.workspace.__dict__.get("engine")
        if engine is not None:
            engine.dispose()
