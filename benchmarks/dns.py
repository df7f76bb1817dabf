"""DNS verification against the clock: one domain, 500 domains, an aggregate report, hostile files.

    python benchmarks/dns.py [--latency 20] [--domains 500] [--peer N] [--json]

A loopback name server in a process of its own answers each question after ``--latency`` milliseconds, then at 0.
Each domain has 2 MX, 2 NS, SPF with two includes of which one nests three more, DMARC, TLS-RPT and a DKIM key; one has
ten includes. ``--peer N`` runs checkdmarc (where it is installed; it is no dependency) over the same server on N
domains. Figures are medians of three looks, each with an empty memory; ``cpu`` is what the last one took of a core.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# this file is called dns.py: its folder must not stand where the package dns is looked for
sys.path[:] = [str(HERE.parent), *(part for part in sys.path if Path(part or ".").resolve() != HERE)]

from mailops.dns.aggregate import read_reports
from mailops.dns.domain import check_domains
from mailops.dns.domain_model import SendingSetup
from mailops.dns.resolver import DnsRun, Resolver
from mailops.errors import InputRefused
from mailops.testing.dkim_keys import dkim_key_pair
from mailops.testing.dns_server import DnsServer


def make_zone(domains: int) -> dict[str, list[str]]:
    key = dkim_key_pair()[1]
    zone: dict[str, list[str]] = {
        "_spf.odoo.com": ["TXT v=spf1 ip4:198.51.100.0/24 -all"],
        "odoo._domainkey.odoo.com": [f"TXT {key}"],
        **{f"inc{n}.example": [f"TXT v=spf1 ip4:203.0.113.{n} -all"] for n in range(10)},
    }
    for number in range(domains + 1):
        name = "ten.example" if number == domains else f"d{number}.example"
        nested = f"spf.{name}"
        includes = f"include:_spf.odoo.com include:{nested}"
        if number == domains:
            includes = "include:_spf.odoo.com " + " ".join(f"include:inc{n}.example" for n in range(9))
        zone[name] = [f"MX 10 mx1.{name}.", f"MX 20 mx2.{name}.", f"NS ns1.{name}.", f"NS ns2.{name}.",
                      f"TXT v=spf1 {includes} ~all"]  # fmt: skip
        zone[nested] = ["TXT v=spf1 " + " ".join(f"include:s{n}.{name}" for n in range(3)) + " -all"]
        for n in range(3):
            zone[f"s{n}.{name}"] = [f"TXT v=spf1 ip4:192.0.2.{n} -all"]
        for host in ("mx1", "mx2", "ns1", "ns2"):
            zone[f"{host}.{name}"] = ["A 192.0.2.53"]
        zone[f"_dmarc.{name}"] = ["TXT v=DMARC1; p=none; rua=mailto:r@" + name]
        zone[f"_smtp._tls.{name}"] = ["TXT v=TLSRPTv1; rua=mailto:r@" + name]
        zone[f"odoo._domainkey.{name}"] = ["CNAME odoo._domainkey.odoo.com."]
    return zone


def serve(pipe: Connection, domains: int, latency: float) -> None:
    with DnsServer(make_zone(domains), latency=latency, log=False) as server:
        pipe.send(server.address)
        while True:
            asked = pipe.recv()
            if asked is None:
                return
            server.latency = asked
            pipe.send(True)


def timed(address: tuple[str, int], names: list[str]) -> dict[str, float]:
    with DnsRun(Resolver([address], timeout=10)) as run:
        began, spent = time.perf_counter(), time.process_time()
        reports = run.do(lambda r: check_domains(r, [SendingSetup(name) for name in names], ground=True))
        took, spent = time.perf_counter() - began, time.process_time() - spent
        wrong = [
            result.code for report in reports for result in report.results if result.state in ("failed", "unknown")
        ]
        if wrong:
            raise SystemExit(f"the clean zone is not clean: {set(wrong)}")
        return {"seconds": took, "cpu": spent, "questions": len(run.resolver.evidence), "sent": run.resolver.sent}


def median_of(job: Callable[[], dict[str, float]], times: int = 3) -> dict[str, float]:
    rows = [job() for _ in range(times)]
    return {**rows[-1], "seconds": statistics.median(row["seconds"] for row in rows)}


def peer(address: tuple[str, int], names: list[str]) -> dict[str, Any]:
    try:
        import checkdmarc
        import dns.resolver
    except ImportError:
        return {"skipped": "checkdmarc is not installed here"}
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [address[0]], address[1]
    out = {}
    for label, batch in (("one", ["ten.example"]), (f"{len(names)}", names)):
        began = time.perf_counter()
        for name in batch:
            checkdmarc.check_domains([name], skip_tls=True, resolver=resolver, timeout=5)
        out[label] = time.perf_counter() - began
    return out


ROW = (
    "<record><row><source_ip>192.0.{}.{}</source_ip><count>1</count><policy_evaluated><disposition>none</disposition>"
    "<dkim>fail</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>example.com</header_from>"
    "</identifiers><auth_results><spf><domain></domain><result>none</result></spf></auth_results></record>"
)


def report_figures() -> dict[str, float]:
    rows = "".join(ROW.format(n // 250, n % 250) for n in range(2286))
    data = f"<feedback><report_metadata><report_id>1</report_id></report_metadata>{rows}</feedback>".encode()
    out = {"rows_2286": median_of(lambda: _clock(data), 5)["seconds"]}
    hostile_files = {
        "gzip_bomb": gzip.compress(b"\0" * 300_000_000),
        "deep": b"<feedback>" + b"<a>" * 2_000_000,
        "broken": b"<feedback>" + b"<" * 5_000_000,
    }
    for name, hostile in hostile_files.items():
        out[name] = _clock(hostile)["seconds"]
        tracemalloc.start()
        _clock(hostile)
        out[f"{name}_mib"] = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
    return out


def _clock(data: bytes) -> dict[str, float]:
    began = time.perf_counter()
    try:
        read_reports(data)
    except InputRefused:
        pass
    return {"seconds": time.perf_counter() - began}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--latency", type=float, default=20.0, help="milliseconds an answer")
    options.add_argument("--domains", type=int, default=500)
    options.add_argument("--peer", type=int, default=0, help="domains for checkdmarc")
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(
        target=serve, args=(theirs, chosen.domains, chosen.latency / 1000), daemon=True
    )
    child.start()
    address = ours.recv()
    names = [f"d{number}.example" for number in range(chosen.domains)]
    figures: dict[str, Any] = {}
    try:
        for latency in (chosen.latency, 0.0):
            ours.send(latency / 1000)
            ours.recv()
            timed(address, ["ten.example"])  # imports and the server's first encoding are nobody's figure
            figures[f"one domain, ten includes, {latency:g} ms"] = median_of(lambda: timed(address, ["ten.example"]))
            figures[f"{len(names)} domains, {latency:g} ms"] = median_of(lambda: timed(address, names))
        if chosen.peer:
            ours.send(chosen.latency / 1000)
            ours.recv()
            figures[f"checkdmarc, {chosen.latency:g} ms"] = peer(address, names[: chosen.peer])
    finally:
        ours.send(None)
        child.join(10)
    figures["aggregate reports"] = report_figures()
    if chosen.json:
        print(json.dumps(figures, indent=1))
    else:
        for name, row in figures.items():
            print(
                f"{name}: " + ", ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
