"""The DNS suites of ``python -m mailops.testing.evaluate``: spf, dmarc, dkim, aggregate.

Every case's zone is served by a real name server on loopback (:class:`mailops.testing.dns_server.DnsServer`) and asked
through the product's resolver over UDP and TCP. Cases that share a zone share the server and the resolver.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...dns.aggregate import read_report
from ...dns.dkim import lookup_key
from ...dns.dmarc import Identity, Method, evaluate, report_destination, walk
from ...dns.names import normalise
from ...dns.psl import PublicSuffixes
from ...dns.resolver import DnsRun, Resolver
from ...dns.spf import check_host
from ...errors import InputRefused
from ..dns_server import DnsServer
from ..dns_zone import split_text

Case = dict[str, Any]
Job = Callable[[Resolver, Case], Awaitable[dict[str, Any]]]

_TIMEOUT = 1.2  # seconds; a planted time-out costs this once per name and type


def _zone(zone: Mapping[str, list[Case]]) -> dict[str, list[Case]]:
    """The zone with over-long strings cut to what a DNS message can carry."""
    out = copy.deepcopy(dict(zone))
    for records in out.values():
        for record in records:
            if "strings" in record:
                record["strings"] = [
                    part.decode("latin-1") for text in record["strings"] for part in split_text(_octets(text))
                ]
    return out


def _octets(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8")


def spf(data: Mapping[str, Any], path: Path) -> Iterator[dict[str, Any]]:
    """``{"id", "result", "explanation", "term", "reason"}`` a case; ``DEFAULT`` is the local explanation."""
    by_scenario: dict[str, list[Case]] = {}
    for case in data["cases"]:
        by_scenario.setdefault(case["scenario"], []).append(case)
    for scenario, cases in by_scenario.items():
        zone = _zone(data["scenarios"][scenario]["zone"])
        with DnsServer(zone) as server, DnsRun(Resolver([server.address], timeout=_TIMEOUT)) as run:
            for case in cases:
                yield _answered(run, case, _spf)


async def _spf(resolver: Resolver, case: Case) -> dict[str, Any]:
    outcome = await check_host(resolver, case["host"], case["mailfrom"], case["helo"], default_explanation="DEFAULT")
    return {
        "result": str(outcome.result),
        "explanation": outcome.explanation,
        "term": outcome.term,
        "reason": outcome.reason,
    }


def _answered(run: DnsRun, case: Case, job: Job) -> dict[str, Any]:
    """One prediction. A case whose input is refused still gets its line, with the reason, and the others go on."""
    try:
        return {"id": case["id"], **run.do(lambda resolver: job(resolver, case))}
    except (InputRefused, ValueError) as problem:
        return {"id": case["id"], "problem": str(problem)}


def _served(cases: list[Case], jobs: Mapping[str, Job]) -> Iterator[dict[str, Any]]:
    """Cases that carry their own zone: a server and a resolver each."""
    for case in cases:
        with (
            DnsServer(_zone(case["zone"])) as server,
            DnsRun(Resolver([server.address], timeout=_TIMEOUT)) as run,
        ):
            yield _answered(run, case, jobs[case["kind"]])


def dmarc(data: Mapping[str, Any], path: Path) -> Iterator[dict[str, Any]]:
    """Evaluate, walk and report-destination cases."""
    return _served(data["cases"], {"evaluate": _evaluate, "walk": _walk, "report_destination": _destination})


async def _evaluate(resolver: Resolver, case: Case) -> dict[str, Any]:
    given = case["input"]
    spf_part = given.get("spf")
    suffixes = PublicSuffixes(case["public_suffixes"], "case") if case.get("method") == "psl" else None
    outcome = await evaluate(
        resolver,
        given["from_domain"],
        Identity(spf_part["domain"], spf_part["result"]) if spf_part else None,
        [Identity(one["domain"], one["result"]) for one in given.get("dkim") or []],
        method=Method(case["method"]),
        suffixes=suffixes,
    )
    row = outcome.as_dict()
    return {key: row[key] for key in _EVALUATE_FIELDS}


_EVALUATE_FIELDS = (
    "result", "policy_domain", "policy", "policy_applied", "org_domain", "spf_aligned", "dkim_aligned", "reason",
)  # fmt: skip


async def _walk(resolver: Resolver, case: Case) -> dict[str, Any]:
    found = await walk(resolver, normalise(case["input"]["domain"]))
    return {"queries": list(found.queries), "org_domain": found.org_domain}


async def _destination(resolver: Resolver, case: Case) -> dict[str, Any]:
    found = await report_destination(resolver, case["input"]["policy_domain"], case["input"]["uri"])
    return {"authorized": found.authorized, "query": found.query, "reason": found.reason}


def dkim(data: Mapping[str, Any], path: Path) -> Iterator[dict[str, Any]]:
    """Key-record cases."""
    return _served(data["cases"], {"dkim_key": _key})


async def _key(resolver: Resolver, case: Case) -> dict[str, Any]:
    found = await lookup_key(resolver, case["input"]["selector"], case["input"]["domain"])
    row = found.as_dict()
    del row["asked"]
    return row


def aggregate(data: Mapping[str, Any], path: Path) -> Iterator[dict[str, Any]]:
    """Aggregate-report cases; files are relative to the case file."""
    for case in data["cases"]:
        try:
            report = read_report((path.parent / case["file"]).read_bytes())
        except InputRefused as problem:
            yield {"id": case["id"], "error": True, "code": problem.code, "reason": problem.message}
            continue
        yield {
            "id": case["id"],
            "report_id": report.report_id,
            "org_name": report.org_name,
            "domain": report.domain,
            "p": report.p,
            "begin": report.begin,
            "end": report.end,
            "records": len(report.records),
            "messages": report.messages,
            "dmarc_pass": report.dmarc_pass,
            "sources": report.sources,
            "generation": report.generation,
            "recovered": report.recovered,
        }


def write(rows: Iterator[dict[str, Any]], path: Path) -> int:
    """Write predictions as JSON lines; the number written."""
    count = 0
    with path.open("w", encoding="utf-8") as handle:
        for row in rows:
            handle.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count
