"""TLS reports of a folder or of files: how many sessions of other servers to yours were encrypted as asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..dns.aggregate import read_file
from ..dns.tlsrpt import TlsReport, read_tls_file
from ..errors import InputRefused, NotFound
from ..model.verdict import Verdict, VerdictState
from .share import rate

if TYPE_CHECKING:
    import pandas as pd

MAX_FILES = 20_000


@dataclass(frozen=True, slots=True)
class TlsReports:
    """Reports that were read; ``refused`` and ``notes`` are (file, what)."""

    reports: tuple[TlsReport, ...]
    refused: tuple[tuple[str, str], ...] = ()
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One dict a kind of failure."""
        return [row for report in self.reports for row in report.rows()]

    @property
    def frame(self) -> pd.DataFrame:
        """One line a policy of a report: ``begin``, ``end`` (UTC), ``org_name``, ``domain``, ``policy`` (sts, tlsa,
        no-policy-found), ``sessions``, ``failures`` and their ``rate`` (of 1); newest first."""
        import pandas as pd

        rows = [
            (report.begin, report.end, report.org_name, policy.domain, policy.kind, policy.successes + policy.failures,
             policy.failures) for report in self.reports for policy in report.policies
        ]  # fmt: skip
        frame = pd.DataFrame(rows, columns=["begin", "end", "org_name", "domain", "policy", "sessions", "failures"])
        for column in ("begin", "end"):
            frame[column] = pd.to_datetime(frame[column], unit="s", utc=True, errors="coerce")
        frame = frame.astype({"sessions": "int64", "failures": "int64"})
        frame["rate"] = (frame["failures"] / frame["sessions"].clip(lower=1)).astype("float64")
        return frame.sort_values("begin", ascending=False, na_position="last", kind="stable", ignore_index=True)

    @property
    def days(self) -> pd.DataFrame:
        """Sessions by ``day`` (UTC, on which the report begins) and ``domain``: ``sessions``, ``failures``."""
        frame = self.frame[self.frame["begin"].notna()]
        day = frame["begin"].dt.strftime("%Y-%m-%d").rename("day")
        return frame.groupby([day, "domain"])[["sessions", "failures"]].sum().reset_index()

    def verdicts(self, *, limit: float = 0.01) -> tuple[Verdict, ...]:
        """For each domain whether other servers could encrypt as its policy asks. It fails when surely more than
        ``limit`` (a share) of the sessions failed (:meth:`.Rate.surely_above`); fewer are a warning: one server's
        mishap is no fault of yours."""
        out = []
        domains = sorted({policy.domain for report in self.reports for policy in report.policies})
        for domain in domains:
            mine = [one for report in self.reports for one in report.policies if one.domain == domain]
            good, bad = sum(one.successes for one in mine), sum(one.failures for one in mine)
            kinds = sorted({each.kind for one in mine for each in one.details if each.kind})
            hosts = sorted({each.receiving_mx for one in mine for each in one.details if each.receiving_mx})
            state = VerdictState.PASSED if good else VerdictState.UNKNOWN
            if bad:
                much = rate(bad, good + bad).surely_above(limit)
                state = VerdictState.FAILED if much else VerdictState.WARNING
            title = f"{good:,} of {good + bad:,} sessions to {domain} were encrypted as asked"
            found = "; ".join(part for part in (", ".join(kinds), ", ".join(hosts)) if part)
            fix = f"Look at the certificate and the policy of {', '.join(hosts) or domain}." if bad else ""
            code = "tlsrpt.failures" if bad else "tlsrpt.encrypted"
            out.append(
                Verdict("tlsrpt.reports", domain, state, title, found, f"at most {limit:.0%} that fail", fix, code, {})
            )
        return tuple(out)


def read_tls(paths: Sequence[Path]) -> TlsReports:
    """All TLS reports of files and folders; a file that gives none is told and never stops the others.

    Raises :class:`NotFound` for a path that is not there.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise NotFound(
                f"There is no file or folder {path.name!r}.",
                code="dmarc.no_file",
                facts={"path": str(path)},
                fix="Name report files (.json, .gz, .zip, .eml) or a folder that holds them.",
            )
        files += sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    reports: dict[tuple[str, str], TlsReport] = {}
    refused: list[tuple[str, str]] = []
    notes: list[tuple[str, str]] = []
    for file in files[:MAX_FILES]:
        try:
            found = read_tls_file(file)
        except InputRefused as error:
            if not _about_dmarc(file):
                refused.append((file.name, error.message))
            continue
        except OSError as error:
            refused.append((file.name, error.strerror or str(error)))
            continue
        for report in found:
            reports.setdefault((report.org_name.casefold(), report.report_id or str(len(reports))), report)
            notes += [(file.name, note) for note in report.notes]
    return TlsReports(tuple(reports.values()), tuple(refused), tuple(notes))


def _about_dmarc(file: Path) -> bool:
    """Whether the file is an aggregate report, which comes to the same mailbox and is read elsewhere."""
    try:
        return bool(read_file(file))
    except (InputRefused, OSError):
        return False
