"""One domain, all checks, one report: the front door of the DNS engine.

:func:`check_domain` runs SPF, DKIM and DMARC (and the rest of the ground where asked) over one shared resolver, proves
every change it proposes, and adds what belongs under such a report: who was asked, which DNS host it is and its guide,
and that a pass is no promise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from ..model.verdict import VerdictState as S
from ..providers.records import guess_host, guides_first
from .check_dkim import check_dkim
from .check_dmarc import check_dmarc
from .check_return import check_return_path
from .check_spf import check_spf
from .domain_model import NO_PROMISE, CheckResult, DomainReport, SendingSetup, verdict
from .fix import proved
from .mtasts import PolicyFetcher, check_mtasts
from .mx import check_mx
from .names import parent
from .resolver import Asker, Resolver
from .tag_records import check_bimi, check_tlsrpt


async def evaluate_auth(resolver: Asker, setup: SendingSetup) -> list[CheckResult]:
    """SPF, DKIM, DMARC and the services' return paths together, unproved."""
    spf, dkim, back = await asyncio.gather(
        check_spf(resolver, setup), check_dkim(resolver, setup), check_return_path(resolver, setup)
    )
    return [*spf, *dkim, *await check_dmarc(resolver, setup, dkim, spf), *back]


async def evaluate_ground(
    resolver: Asker, setup: SendingSetup, fetcher: PolicyFetcher | None = None
) -> list[CheckResult]:
    """The rest of the ground: MX of the bounce domain, MTA-STS, TLS-RPT, BIMI, unproved."""
    mx, sts, tlsrpt, bimi = await asyncio.gather(
        check_mx(resolver, setup.bounce),
        check_mtasts(resolver, setup.bounce, fetcher),
        check_tlsrpt(resolver, setup.bounce, setup.report_to),
        check_bimi(resolver, setup.name),
    )
    return [*mx, *sts, tlsrpt, bimi]


async def check_domain(
    resolver: Resolver, setup: SendingSetup, *, ground: bool = False, fetcher: PolicyFetcher | None = None
) -> DomainReport:
    """The report on one domain. ``ground`` adds MX, MTA-STS, TLS-RPT and BIMI; ``fetcher`` gets the MTA-STS policy."""
    if setup.managed:
        title = f"{setup.name} is a hosted default domain: SPF, DKIM and DMARC are kept by the host"
        results = tuple(verdict(check, setup.name, S.PASSED, "managed", title) for check in ("spf", "dkim", "dmarc"))
        return DomainReport(setup, results, resolver.asked_of, (NO_PROMISE,))
    found, rest, servers = await asyncio.gather(
        evaluate_auth(resolver, setup),
        evaluate_ground(resolver, setup, fetcher) if ground else _nothing(),
        name_servers(resolver, setup.name),
    )
    results = await proved(resolver, setup, found, evaluate_auth)
    results += await proved(resolver, setup, rest, evaluate_ground)
    host = guess_host(servers)
    title = host.title if host else ""
    report = DomainReport(setup, results, resolver.asked_of, (), tuple(guides_first(host)), title)
    return replace(report, notes=(NO_PROMISE,)) if report.green else report


async def _nothing() -> list[CheckResult]:
    return []


async def check_domains(
    resolver: Resolver, setups: Iterable[SendingSetup], *, ground: bool = False
) -> tuple[DomainReport, ...]:
    """Many domains at once, over one shared memory."""
    return tuple(await asyncio.gather(*(check_domain(resolver, setup, ground=ground) for setup in setups)))


async def name_servers(resolver: Asker, domain: str) -> tuple[str, ...]:
    """The name servers of the zone a domain is in: the nearest NS set upwards, never a top-level one."""
    name = domain
    while name and "." in name:
        answer = await resolver.ask(name, "NS")
        if answer.found:
            return answer.names
        name = parent(name)
    return ()
