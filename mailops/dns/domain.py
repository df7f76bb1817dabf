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
from ..providers.outgoing import REGISTRARS
from ..providers.records import guess_host, guides_first
from .answer import Status
from .check_bulk import check_bulk
from .check_common import standing
from .check_dkim import check_dkim
from .check_dmarc import check_dmarc
from .check_return import check_return_path
from .check_spf import check_spf
from .dane import check_dane
from .domain_model import NO_PROMISE, CheckResult, DomainReport, SendingSetup, verdict
from .fix import proved
from .mtasts import PolicyFetcher, check_mtasts, remembered
from .mx import check_mx, check_sending
from .names import normalise, parent, spoken
from .overlay import from_wildcard, same, value_of
from .psl import likely_zone
from .records import ZoneRecord
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
    """The rest of the ground: MX of the bounce domain, MTA-STS, TLS-RPT, BIMI, DANE, own addresses; unproved."""
    mx, sts, tlsrpt, bimi, dane, sending = await asyncio.gather(
        check_mx(resolver, setup.bounce),
        check_mtasts(resolver, setup.bounce, fetcher),
        check_tlsrpt(resolver, setup.bounce, setup.report_to),
        check_bimi(resolver, setup.name),
        check_dane(resolver, None, setup.bounce),
        check_sending(resolver, setup),
    )
    # hosts without TLSA are only told beside one that has it: DANE is a choice, half of it is not
    some = [one for one in dane if one.code not in ("dane.missing", "dane.no_mx")]
    return [*mx, *sts, tlsrpt, bimi, *(dane if some else []), *sending]


async def check_domain(
    resolver: Resolver, setup: SendingSetup, *, ground: bool = False, fetcher: PolicyFetcher | None = None
) -> DomainReport:
    """The report on one domain. ``ground`` adds MX, MTA-STS, TLS-RPT and BIMI; ``fetcher`` gets the MTA-STS policy."""
    if setup.managed and not setup.own_subdomain:
        title = f"{setup.name} is a hosted subdomain, and not of this database: its DNS lets nobody else send"
        fix = "Send with your own domain, or with the subdomain of this database."
        return DomainReport(
            setup, (verdict("spf", setup.name, S.FAILED, "hosted.other", title, fix=fix),), resolver.asked_of, ()
        )
    if setup.managed:
        title = f"{setup.name} is a hosted default domain: SPF, DKIM and DMARC are kept by the host"
        results = tuple(verdict(check, setup.name, S.PASSED, "managed", title) for check in ("spf", "dkim", "dmarc"))
        return DomainReport(setup, results, resolver.asked_of, (NO_PROMISE,))
    if await is_absent(resolver, setup.name):
        return DomainReport(setup, (_absent(setup.name),), resolver.asked_of)
    # the policy is fetched once: a change of DNS does not change it, and the proof must see the same
    fetcher = remembered(fetcher) if fetcher is not None else None
    found, rest, (zone, servers) = await asyncio.gather(
        evaluate_auth(resolver, setup),
        evaluate_ground(resolver, setup, fetcher) if ground else _nothing(),
        find_zone(resolver, setup.name),
    )
    results = await proved(resolver, setup, found, evaluate_auth)
    results += await proved(resolver, setup, rest, lambda asker, what: evaluate_ground(asker, what, fetcher))
    if setup.volume is not None:
        sending = [] if ground else await check_sending(resolver, setup)
        results += tuple(check_bulk(setup, (*results, *sending)))
    host = guess_host(servers)
    title = host.title if host else ""
    report = DomainReport(
        setup, results, resolver.asked_of, (), tuple(guides_first(host)), title, (zone,) if zone else (),
        appends_domain=host.appends_domain if host else None,
    )  # fmt: skip
    report = await _placed(resolver, report)
    return replace(report, notes=(NO_PROMISE,)) if report.green else report


async def is_absent(resolver: Asker, name: str) -> bool:
    """Whether DNS says that there is no such name, and no such domain above it that somebody could have registered: a
    name of an own domain that has nothing yet is about to get its first record. No answer is no answer."""
    for one in dict.fromkeys((name, likely_zone(name))):
        if (await resolver.ask(one, "NS")).status is not Status.NXDOMAIN:
            return False
    return True


def _absent(name: str) -> CheckResult:
    return verdict(
        "domain", name, S.FAILED, "domain.absent", f"There is no domain {spoken(name)}: DNS does not know it",
        found=f"NXDOMAIN for {name}", expected="A registered domain",
        fix=f"Look for a slip of the keys in the name. One that is free is sold by {', '.join(REGISTRARS)} and others.",
    )  # fmt: skip


async def _placed(resolver: Asker, report: DomainReport) -> DomainReport:
    """The report with the zones of its changes, and with what stands at their names and stays."""
    touched = [record for change in report.changes for record in (*change.publish, *change.remove)]
    if not touched:
        return report
    names = dict.fromkeys(normalise(record.name) for record in touched)
    found = await asyncio.gather(*(find_zone(resolver, name) for name in names))
    gone = [record for change in report.changes for record in change.remove]
    sets = dict.fromkeys((normalise(record.name), record.type) for record in touched)
    kept = await asyncio.gather(*(_staying(resolver, name, kind, gone) for name, kind in sets))
    zones = tuple(dict.fromkeys([*report.zones, *(zone for zone, _ in found if zone)]))
    return replace(report, zones=zones, beside=tuple(record for part in kept for record in part))


async def _staying(resolver: Asker, name: str, kind: str, gone: list[ZoneRecord]) -> list[ZoneRecord]:
    """The records of one RRset that are in the zone and not taken away."""
    answer = await resolver.ask(name, kind)
    if not answer.found or answer.chain or await from_wildcard(resolver, name, kind, answer):
        return []
    away = [value_of(one) for one in gone if normalise(one.name) == name and one.type == kind]
    out = []
    for value, text in zip(answer.values, answer.texts if kind == "TXT" else answer.lines, strict=True):
        if any(same(kind, value, one) for one in away):
            continue
        shown = text.removesuffix(".") if kind in ("CNAME", "NS", "PTR", "MX") else text
        out.append(replace(standing(name, text), ttl=answer.ttl or 3600) if kind == "TXT"
                   else ZoneRecord(name, kind, shown, answer.ttl or 3600))  # fmt: skip
    return out


async def _nothing() -> list[CheckResult]:
    return []


async def check_domains(
    resolver: Resolver,
    setups: Iterable[SendingSetup],
    *,
    ground: bool = False,
    fetcher: PolicyFetcher | None = None,
) -> tuple[DomainReport, ...]:
    """Many domains at once, over one shared memory."""
    checks = (check_domain(resolver, setup, ground=ground, fetcher=fetcher) for setup in setups)
    return tuple(await asyncio.gather(*checks))


async def name_servers(resolver: Asker, domain: str) -> tuple[str, ...]:
    """The name servers of the zone a domain is in."""
    return (await find_zone(resolver, domain))[1]


async def find_zone(resolver: Asker, domain: str) -> tuple[str, tuple[str, ...]]:
    """The zone a name is in and its name servers: the nearest NS set upwards, never a top-level one nor an alias's."""
    name = domain
    while name and "." in name:
        answer = await resolver.ask(name, "NS")
        if answer.found and not answer.chain:
            return name, answer.names
        name = parent(name)
    return "", ()
