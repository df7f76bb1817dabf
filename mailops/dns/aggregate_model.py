"""DMARC aggregate reports as values: what RFC 7489 appendix C and RFC 9990 carry, without the XML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class AuthPart:
    """One DKIM or SPF result of a row as the receiver saw it, before alignment."""

    mechanism: str
    domain: str
    result: str
    selector: str = ""
    scope: str = ""
    human: str = ""


@dataclass(frozen=True, slots=True)
class AggregateRecord:
    """One row: ``count`` messages from one address with one outcome. ``dkim``/``spf`` are aligned results."""

    source_ip: str
    count: int
    disposition: str
    dkim: str
    spf: str
    header_from: str
    envelope_from: str = ""
    envelope_to: str = ""
    reasons: tuple[tuple[str, str], ...] = ()
    auth: tuple[AuthPart, ...] = ()

    @property
    def dmarc_pass(self) -> bool:
        return self.dkim == "pass" or self.spf == "pass"


@dataclass(frozen=True, slots=True)
class AggregateReport:
    """One report. ``begin`` and ``end`` are Unix seconds; ``recovered`` = the XML was broken and read tolerantly.

    ``notes`` say what was read otherwise than written; ``incomplete`` = rows are missing or could not be counted.
    """

    org_name: str
    email: str
    report_id: str
    begin: int | None
    end: int | None
    domain: str
    p: str
    sp: str
    np: str
    adkim: str
    aspf: str
    testing: str
    pct: str
    discovery_method: str
    generator: str
    version: str
    generation: str
    records: tuple[AggregateRecord, ...]
    errors: tuple[str, ...] = ()
    recovered: bool = False
    notes: tuple[str, ...] = ()
    incomplete: bool = False

    @property
    def messages(self) -> int:
        return sum(record.count for record in self.records)

    @property
    def dmarc_pass(self) -> int:
        """Messages whose aligned DKIM or SPF passed."""
        return sum(record.count for record in self.records if record.dmarc_pass)

    @property
    def sources(self) -> int:
        return len({record.source_ip for record in self.records})

    def rows(self) -> Iterator[dict[str, Any]]:
        """One flat dict a record, for frames and CSV."""
        for record in self.records:
            yield {
                "report_id": self.report_id,
                "org_name": self.org_name,
                "domain": self.domain,
                "begin": self.begin,
                "end": self.end,
                "policy": self.p,
                "generation": self.generation,
                "source_ip": record.source_ip,
                "count": record.count,
                "disposition": record.disposition,
                "dkim": record.dkim,
                "spf": record.spf,
                "dmarc_pass": record.dmarc_pass,
                "header_from": record.header_from,
                "envelope_from": record.envelope_from,
                "dkim_domains": ",".join(part.domain for part in record.auth if part.mechanism == "dkim"),
                "dkim_selectors": ",".join(part.selector for part in record.auth if part.mechanism == "dkim"),
                "dkim_results": ",".join(part.result for part in record.auth if part.mechanism == "dkim"),
                "spf_domains": ",".join(part.domain for part in record.auth if part.mechanism == "spf"),
                "spf_results": ",".join(part.result for part in record.auth if part.mechanism == "spf"),
                "reasons": ",".join(kind for kind, _ in record.reasons),
            }
