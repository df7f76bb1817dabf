"""Checks of mail domains for one workspace: one fresh look each, kept in the store, and watched where wanted.

Who is asked comes from the settings (``[dns]``) or the call; a look never uses answers of an earlier one. A watch asks
the zone's own name servers with growing pauses; it is over when they all have the records and the whole check, run
again, agrees, and it never takes a success back.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar

from ..dns.answer import Answer, Status
from ..dns.domain_model import DomainReport, SendingSetup, SigningKey
from ..dns.names import askable, mail_domain, normalise
from ..dns.records import ZoneRecord
from ..errors import ConfigError, InputRefused, NotFound
from ..model.verdict import VerdictState
from ..ports import Clock
from .history import Difference, Snapshot, at_or_before, differences, keep, known_domains, snapshots
from .sources import Sources
from .values import endpoint, meant

T = TypeVar("T")

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from ..dns.published import Look
    from ..dns.resolver import Asker, DnsRun
    from ..dns.send import SendExplanation
    from ..dns.transport import Endpoint
    from ..model.setup import Setup

_ADDRESS = re.compile(r'(?:"[^"]*"|[^\s<>",;()]+)@[^\s<>"(),;:@]+')
_BAD = (VerdictState.FAILED, VerdictState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Where a watch stands after a look. ``pause`` is the wait in seconds until the next; ``report`` is new only when
    it changed what is known."""

    line: str
    report: DomainReport
    looks: int
    pause: float
    done: bool
    cleared: bool
    seen: tuple[tuple[str, str], ...] = ()


class Domains:
    """``resolvers`` and ``servers`` as in the settings; ``engine`` None = nothing is kept; ``hosts`` are names of the
    workspace's own mail servers, ``own`` its mail domains, ``keys`` those that it signs a domain's mail with; ``panel``
    the name its DNS panel wants (*short*, *full*, "" = as is known)."""

    def __init__(
        self,
        clock: Clock,
        *,
        engine: Callable[[], Engine] | None = None,
        resolvers: Sequence[str] = (),
        timeout: float = 5.0,
        servers: Mapping[str, str] | None = None,
        hosts: Callable[[], Sequence[str]] = tuple,
        keys: Callable[[str], Sequence[SigningKey]] = lambda _: (),
        own: Callable[[], Sequence[str]] = tuple,
        panel: str = "",
    ) -> None:
        self._clock = clock
        self._engine = engine
        self._resolvers = tuple(resolvers)
        self._timeout = timeout
        self._hosts = hosts
        self._keys = keys
        self._own = own
        self._panel = panel
        self._servers = {normalise(name): endpoint(place) for name, place in (servers or {}).items()}

    def asking(self, resolvers: Sequence[str] = (), timeout: float | None = None, panel: str = "") -> Domains:
        """The same, asking others, or for another DNS panel."""
        if panel not in ("", "short", "full"):
            raise ConfigError(
                f"There is no kind of DNS panel {panel[:60]!r}.",
                code="dns.panel",
                facts={"given": panel[:100]},
                fix="short: it appends the domain to the name; full: it does not.",
            )
        other = Domains(
            self._clock,
            engine=self._engine,
            resolvers=resolvers or self._resolvers,
            timeout=timeout or self._timeout,
            hosts=self._hosts,
            keys=self._keys,
            own=self._own,
            panel=panel or self._panel,
        )
        other._servers = dict(self._servers)
        return other

    @property
    def sources(self) -> Sources:
        """Who sends what reports tell of, and a person's marks on it."""
        return Sources(self._run, self._clock, engine=self._engine, hosts=self._hosts)

    def setup(self, domain: str, **options: Any) -> SendingSetup:
        """What is to be checked, with bad input refused. Options are the fields of :class:`SendingSetup`."""
        from ..providers.records import SENDERS

        name = _mail_domain(domain)
        made = SendingSetup(name, **options)
        if made.bounce_domain:
            made = replace(made, bounce_domain=_mail_domain(made.bounce_domain))
        for ip in made.sample_ips:
            _address(ip)
        for term in made.spf_terms:
            _spf_term(term)
        if made.report_to:
            made = replace(made, report_to=_report_address(made.report_to))
        unknown = next((key for key in made.services if key not in SENDERS), None)
        if unknown is not None:
            raise NotFound(
                f"There is no sending service {unknown!r}.",
                code="dns.unknown_service",
                facts={"known": list(SENDERS)},
                fix="Name known ones (several with commas), or none for a server of your own, and give selectors.",
            )
        return made

    def of(self, setup: Setup, domain: str, **options: Any) -> SendingSetup:
        """What is to be checked of a domain, as the workspace's set-up has it (:func:`.sending.sending_of`); options
        that are not None override it."""
        from .sending import sending_of

        name = _mail_domain(domain)
        known: dict[str, Any] = {**sending_of(setup, name).options(), "own_keys": tuple(self._keys(name))}
        return self.setup(domain, **{**known, **{name: value for name, value in options.items() if value is not None}})

    def all_of(self, setup: Setup, **options: Any) -> tuple[SendingSetup, ...]:
        """Every mail domain of a workspace: alias domains and those of FROM filters. Options as in :meth:`of`.

        Raises :class:`NotFound` when there is none.
        """
        self.first(setup)
        names = [one.name for one in sorted(setup.speaking, key=lambda one: one.sequence)]
        for server in setup.servers:
            filters = (server.from_filter or "").replace(",", " ").split() if server.active else ()
            names += [domain for one in filters if "." in (domain := one.rpartition("@")[2])]
        return tuple(self.of(setup, name, **options) for name in dict.fromkeys(map(normalise, names)))

    @staticmethod
    def first(setup: Setup) -> str:
        """The first alias domain of a workspace. Raises :class:`NotFound` when there is none."""
        if not setup.alias_domains:
            raise NotFound(
                "There is no alias domain yet, and no domain was named.",
                code="dns.no_domain",
                fix="Name one with the parameter domain, or add one: mailops company domain.",
            )
        return min(setup.alias_domains, key=lambda one: one.sequence).name

    def exists(self, domain: str, *, seconds: float = 5.0) -> bool | None:
        """Whether DNS knows a domain; None when nobody said so within ``seconds``."""
        found: list[bool | None] = []

        def look() -> None:
            with suppress(Exception), self._run() as run:
                answer = run.do(lambda resolver: resolver.ask(_mail_domain(domain), "SOA"))
                found.append(None if answer.unknown else answer.status is not Status.NXDOMAIN)

        worker = threading.Thread(target=look, daemon=True)
        worker.start()
        worker.join(seconds)
        return found[0] if found else None

    def check(self, setup: SendingSetup, *, ground: bool = False) -> DomainReport:
        """A fresh look at a domain, kept in the store."""
        with self._run() as run:
            report = self._check(run, setup, ground)
        return report

    def check_all(self, setups: Sequence[SendingSetup], *, ground: bool = False) -> tuple[DomainReport, ...]:
        """Many domains in one go over one memory, each kept."""
        from ..dns.domain import check_domains
        from ..dns.mtasts import PolicyFetcher

        fetcher = PolicyFetcher(timeout=self._timeout)  # asked only for a domain that announces a policy
        with self._run() as run:
            found = run.do(lambda resolver: check_domains(resolver, setups, ground=ground, fetcher=fetcher))
        reports = tuple(map(self._fitted, found))
        for report in reports:
            self._keep(report)
        return reports

    def explain(
        self, *, sender: str, bounce: str, ip: str, helo: str = "", signed_by: Sequence[str] = ()
    ) -> SendExplanation:
        """What receivers make of one send; see :func:`mailops.dns.send.explain_send`."""
        from ..dns.send import explain_send

        sender, bounce = _bare(sender), _bare(bounce)
        for what, value in (("From", sender), ("bounce address", bounce)):
            domain = value.rpartition("@")[2]
            if not _ADDRESS.fullmatch(value) or not askable(normalise(domain)):
                raise InputRefused(
                    f"The {what} {value[:100]!r} is no address.",
                    code="input.address",
                    facts={"given": value[:100]},
                    fix="Write it as name@example.com.",
                )
        _address(ip)
        with self._run() as run:
            return run.do(
                lambda resolver: explain_send(
                    resolver, from_address=sender, bounce_address=bounce, ip=ip, helo=helo, signed_by=signed_by
                )
            )

    # --- watching -----------------------------------------------------------------------------------------------------

    def watch(
        self,
        setup: SendingSetup,
        *,
        limit: float,
        ground: bool = False,
        stop: threading.Event | None = None,
        before: DomainReport | None = None,
    ) -> Iterator[Waiting]:
        """Look until nothing failed any more, ``limit`` seconds are over, or ``stop`` is set; yields after each look.

        Waiting is done here, between the yields. A last yield always has ``done``.
        """
        from ..dns.published import Watch, authoritative_servers, look

        ends = self._clock.monotonic() + limit
        report = before or self.check(setup, ground=ground)
        watch, good = Watch(), 0
        while True:
            wanted = tuple(dict.fromkeys(record for change in report.changes for record in change.publish))
            with self._run() as run:
                servers = run.do(lambda resolver: authoritative_servers(resolver, setup.name, self._servers))
                asked: dict[str, Endpoint] = servers or {_shown(one): one for one in run.resolver.servers}
                seen = run.do(lambda resolver: look(resolver, asked, wanted))  # noqa: B023 (run at once)
                fresh = self._check(run, setup, ground, kept=False)
            line = watch.see(seen)
            # others may have published something else that also serves; two clean looks running decide, never one
            good = good + 1 if _clean(fresh) else 0
            if good >= 2 and (watch.published or not (seen.published or _uneven(seen))):
                self._keep(fresh)
                suggested = any(change.publish for change in fresh.changes)
                passes = "no check fails any more" if suggested else "every check passes now"
                told = line if watch.published and wanted else passes
                yield Waiting(told, fresh, watch.looks, 0, True, True, _places(seen))
                return
            if watch.published and not _clean(fresh) and _codes(fresh) != _codes(report):
                self._keep(fresh)  # these records are out; what is left has records of its own to wait for
                report, watch = fresh, Watch()
                line = "published; what is still wrong is below"
            pause = 2.0 if good == 1 else watch.pause
            late = self._clock.monotonic() + pause > ends
            if late:
                line = f"not published within {_span(limit)}; last seen: {line}"
            yield Waiting(line, report, watch.looks, 0 if late else pause, late, False, _places(seen))
            if late or (stop is not None and stop.is_set()):
                return
            if stop is None:
                self._clock.sleep(pause)
            elif stop.wait(pause):
                return

    # --- history ------------------------------------------------------------------------------------------------------

    def history(self, domain: str, *, limit: int = 50) -> tuple[Snapshot, ...]:
        """The kept checks of a domain, newest first."""
        return snapshots(self._store(), normalise(domain), limit=limit)

    def compare(
        self, domain: str, *, older: datetime | None = None, newer: datetime | None = None
    ) -> tuple[Snapshot, Snapshot, tuple[Difference, ...]]:
        """Two kept checks (by default the last two) and what changed between them."""
        name = normalise(domain)
        last = at_or_before(self._store(), name, newer)
        first = at_or_before(self._store(), name, older, skip=0 if older else 1)
        return first, last, differences(first, last)

    def ask(self, question: Callable[[Asker], Awaitable[T]]) -> T:
        """The answer to a question of one's own, with the resolvers of these checks."""
        with self._run() as run:
            return run.do(question)

    def exchangers(self, names: Sequence[str]) -> dict[str, Answer]:
        """The MX answers of domains, asked at once."""
        from ..dns.resolver import together

        async def all_of(asker: Asker) -> list[Answer]:
            return await together(asker.ask(name, "MX") for name in names)

        return dict(zip(names, self.ask(all_of), strict=True))

    # --- inside -------------------------------------------------------------------------------------------------------

    def _run(self) -> DnsRun:
        from ..dns.resolver import DnsRun, Resolver

        given = [endpoint(one) for one in self._resolvers]
        if given:
            return DnsRun(Resolver(given, timeout=self._timeout))
        return DnsRun(Resolver.system(timeout=self._timeout))

    def _check(self, run: DnsRun, setup: SendingSetup, ground: bool, *, kept: bool = True) -> DomainReport:
        from ..dns.domain import check_domain
        from ..dns.mtasts import PolicyFetcher

        fetcher = PolicyFetcher(timeout=self._timeout)  # asked only for a domain that announces a policy
        report = self._fitted(run.do(lambda resolver: check_domain(resolver, setup, ground=ground, fetcher=fetcher)))
        if kept:
            self._keep(report)
        return report

    def _fitted(self, report: DomainReport) -> DomainReport:
        report = meant(report, self._known()) if report.absent else report
        return replace(report, appends_domain=self._panel == "short") if self._panel else report

    def _known(self) -> tuple[str, ...]:
        """The workspace's own domains, and those that were looked at before and were there."""
        return (*self._own(), *known_domains(self._engine())) if self._engine is not None else ()

    def _keep(self, report: DomainReport) -> None:
        if self._engine is not None and not report.absent:  # a slip of the keys is no domain to be compared
            keep(self._engine(), report, self._clock.now())

    def _store(self) -> Engine:
        if self._engine is None:
            raise ConfigError(
                "Earlier checks are kept in a workspace, and there is none here.",
                code="config.no_workspace",
                fix="Go to your workspace folder, or name it: mailops -w FOLDER …",
            )
        return self._engine()


def _mail_domain(text: str) -> str:
    """The domain as DNS has it, from what somebody typed (:func:`mailops.dns.names.mail_domain`). Raises
    ``input.domain``."""
    name = mail_domain(text)
    if name is None:
        raise InputRefused(
            f"{text[:100]!r} is no mail domain.",
            code="input.domain",
            facts={"domain": text[:100]},
            fix=f"Give the part after the @ sign, such as {mail_domain(text.partition('/')[0]) or 'example.com'}.",
        )
    return name


def _bare(text: str) -> str:
    """The address of ``Ann <ann@example.com>``; what is none stays as it is and is refused."""
    named = re.fullmatch(r"\s*(?:\"[^\"]*\"|[^<>\"@]*)\s*<([^<>]*)>\s*", text)
    return named[1].strip() if named is not None else text.strip()


def _address(text: str) -> None:
    """Refuse what is no IP address (``input.ip``)."""
    try:
        ip_address(text)
    except ValueError as error:
        raise InputRefused(
            f"{text[:60]!r} is no IP address.",
            code="input.ip",
            facts={"given": text[:60]},
            fix="Give the address the mail leaves from, such as 192.0.2.25.",
        ) from error


def _spf_term(text: str) -> None:
    """Refuse what is no SPF term (``input.spf_term``)."""
    from ..dns.spf_parse import TermProblem, parse_term

    try:
        parse_term(text)
    except TermProblem as problem:
        raise InputRefused(
            f"{text[:80]!r} is no SPF term: {problem}.",
            code="input.spf_term",
            facts={"given": text[:80]},
            fix=problem.mistake.hint or "Write it as in a record, such as ip4:192.0.2.25 or include:spf.example.com.",
        ) from problem


def _report_address(text: str) -> str:
    """An address DMARC can carry: one address, its name in ASCII, its domain in A-labels (RFC 9990, RFC 6068)."""
    local, at, host = text.strip().removeprefix("mailto:").rpartition("@")
    good = bool(at and re.fullmatch(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+", local))
    name = normalise(host) if good else ""
    if not good or not askable(name) or "." not in name or any(mark in name for mark in ",;! "):
        raise InputRefused(
            f"{text[:80]!r} is no address for reports.",
            code="input.report_to",
            facts={"given": text[:80]},
            fix="Give one address with an ASCII name before the @ sign, such as dmarc@example.com.",
        )
    return f"{local}@{name}"


def _clean(report: DomainReport) -> bool:
    return not any(result.state in _BAD for result in report.results)


def _codes(report: DomainReport) -> set[tuple[str, str]]:
    return {(result.verdict.subject, result.code) for result in report.results}


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _uneven(seen: Look) -> bool:
    """Whether the servers that answered tell different things of a record."""
    told: dict[ZoneRecord, set[str]] = {}
    for sightings in seen.sightings.values():
        for one in sightings:
            if one.presence != "unknown":
                told.setdefault(one.record, set()).add(str(one.presence))
    return any(len(states) > 1 for states in told.values())


def _shown(server: Endpoint) -> str:
    return f"{server[0]}:{server[1]}"


def _places(seen: Look) -> tuple[tuple[str, str], ...]:
    """For each record: where it stands on how many servers."""
    by_record: dict[ZoneRecord, list[str]] = {}
    for sightings in seen.sightings.values():
        for one in sightings:
            by_record.setdefault(one.record, []).append(str(one.presence))
    out = []
    for record, states in by_record.items():
        have = states.count("present")
        rest = sorted({state for state in states if state != "present"})
        tail = f" ({', '.join(rest)} on the others)" if rest and have else f" ({', '.join(rest)})" if rest else ""
        out.append((f"{record.name} {record.type}", f"on {have} of {len(states)} name servers{tail}"))
    return tuple(out)
