"""DMARC aggregate reports of a folder or of files, as frames and verdicts: who sends in the domain's name.

A file that cannot be read is told with its reason and never stops the others. The frames come from
:mod:`mailops.dns.aggregate_frames`; this module loads, counts, and judges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..dns.aggregate import read_file
from ..dns.aggregate_frames import rows_frame, sources_frame, without_permission
from ..dns.aggregate_model import AggregateRecord, AggregateReport
from ..domains.sources import MINE, NOT_MINE, Mark, is_address, nearest
from ..errors import InputRefused, NotFound
from ..model.text import counted
from ..model.verdict import Verdict, VerdictState
from .share import rate
from .tls import TlsReports, read_tls

if TYPE_CHECKING:
    import pandas as pd

MAX_FILES = 20_000
OWN = "Let every source of yours sign with DKIM for your domain, or bounce to it."
WHOSE = (
    "Say whose the sources are (mailops dmarc mark): what is yours must sign or bounce for your domain; a policy of "
    "quarantine or reject keeps the others off."
)
NEXT = "Ask the reporter for a whole copy."
FORWARDED = frozenset({"forwarded", "trusted_forwarder", "mailing_list"})
"""Reasons by which a report says that the mail was changed on its way (RFC 7489 appendix C, PolicyOverrideType)."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that gave no report, and why."""

    name: str
    reason: str
    code: str


class DmarcReports:
    """Reports that were read. ``repeated`` counts reports that came more than once and are counted once; ``notes`` are
    (file, what was read otherwise than written); ``marks`` are what a person said of sources."""

    def __init__(
        self,
        reports: Sequence[AggregateReport],
        refused: Sequence[Refused] = (),
        notes: Sequence[tuple[str, str]] = (),
        marks: Sequence[Mark] = (),
    ) -> None:
        unique: dict[tuple[str, str, str, Any], AggregateReport] = {}
        for report in sorted(reports, key=lambda one: one.incomplete):  # of two copies the whole one counts
            unique.setdefault((report.org_name.casefold(), report.report_id, report.domain, report.begin), report)
        self.reports = tuple(unique.values())
        self.repeated = len(reports) - len(unique)
        self.refused = tuple(refused)
        self.notes = tuple(notes)
        self.marks = tuple(marks)

    @property
    def messages(self) -> int:
        return sum(report.messages for report in self.reports)

    @property
    def passed(self) -> int:
        """Messages of which aligned DKIM or SPF passed."""
        return sum(report.dmarc_pass for report in self.reports)

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(sorted({report.domain for report in self.reports}))

    @cached_property
    def rows(self) -> pd.DataFrame:
        """One line a row of every report."""
        return rows_frame(self.reports)

    @cached_property
    def sources(self) -> pd.DataFrame:
        """One line a source address, largest first; ``mark`` is what a person said of it."""
        frame = sources_frame(self.reports)
        return frame.assign(mark=[self.mark_of(ip) for ip in frame["source_ip"]])

    def mark_of(self, ip: str) -> str:
        """``mine``, ``not mine`` or nothing."""
        mark = nearest(self.marks, ip) if self.marks and is_address(ip) else None
        return mark.word if mark is not None else ""

    @cached_property
    def surviving(self) -> dict[str, bool]:
        """Every source, largest first, with whether all its mail carries the domain's own signature and none passes
        SPF, as that of a forwarder does."""
        return {
            str(one["source_ip"]): 0 < one["messages"] == one["dkim_aligned"] and not one["spf_aligned"]
            for one in self.sources.to_dict("records")
        }

    @cached_property
    def unpermitted(self) -> pd.DataFrame:
        """The sources of which nothing passed, largest first."""
        frame = without_permission(self.reports)
        return frame.assign(mark=[self.mark_of(ip) for ip in frame["source_ip"]])

    @cached_property
    def days(self) -> pd.DataFrame:
        """Messages a day: ``day``, ``passed``, ``failed``; a report counts on the day it begins."""
        rows = self.rows[self.rows["begin"].notna()]
        day = rows["begin"].dt.strftime("%Y-%m-%d")
        passed = rows["count"].where(rows["dmarc_pass"], 0).groupby(day).sum()
        failed = rows["count"].where(~rows["dmarc_pass"], 0).groupby(day).sum()
        return passed.rename("passed").to_frame().join(failed.rename("failed")).rename_axis("day").reset_index()

    def verdicts(self, *, limit: float = 0.02) -> tuple[Verdict, ...]:
        """What a job says of the reports: readable files, and for each domain the share of its *own* sources' mail that
        does not pass.

        Own is a source that passes at least now and then, or is marked *mine*. A domain fails when more than ``limit``
        (a share) of that mail does not pass, and surely so (:meth:`.Rate.surely_above`); less is a warning. What a
        forwarder broke does not count (:data:`FORWARDED`). Sources of which
        nothing passes are strangers: they are told with what the policy did to them, and warn only where no policy
        keeps them off. What is marked *not mine* is meant not to pass.
        """
        return (self._files(), *(self._domain(domain, limit) for domain in self.domains))

    def _domain(self, domain: str, limit: float) -> Verdict:
        mine = [report for report in self.reports if report.domain == domain]
        everything = [record for report in mine for record in report.records]
        theirs = [record for record in everything if self.mark_of(record.source_ip) != NOT_MINE]
        aside = sum(one.count for one in everything) - sum(one.count for one in theirs)
        total, passed = sum(one.count for one in theirs), sum(one.count for one in theirs if one.dmarc_pass)
        known = {one.source_ip for one in theirs if one.dmarc_pass or self.mark_of(one.source_ip) == MINE}
        own = [one for one in theirs if one.source_ip in known and (one.dmarc_pass or not _forwarded(one))]
        strange = [one for one in theirs if one.source_ip not in known]
        bad = rate(sum(one.count for one in own if not one.dmarc_pass), sum(one.count for one in own))
        strangers = sum(one.count for one in strange)
        kept_off = sum(one.count for one in strange if one.disposition in ("quarantine", "reject"))
        missing = sum(report.incomplete for report in mine)
        newest = max(mine, key=lambda report: (report.end or report.begin or 0, report.begin or 0))
        policy = newest.p or "none"
        loose = not known or rate(strangers - kept_off, total).surely_above(limit)  # nobody passes: all may be yours
        if not total:
            state = VerdictState.UNKNOWN
        elif bad.surely_above(limit):
            state = VerdictState.FAILED
        elif bad.returned or missing or loose:
            state = VerdictState.WARNING
        else:
            state = VerdictState.PASSED
        title = (
            f"{passed:,} of {counted(total, 'mail')} in the name of {domain} "
            f"{'passes' if passed == 1 else 'pass'} DMARC ({passed / total:.1%})"
            if total
            else f"no mail in the name of {domain} is counted in its reports"
        )
        foreign = without_permission(mine)
        foreign = foreign[foreign["source_ip"].map(self.mark_of) == ""]
        does = "does" if aside == 1 else "do"
        found = [
            f"of {counted(bad.addressed, 'mail')} of your own sources {bad.returned:,} "
            f"{'does' if bad.returned == 1 else 'do'} not pass",
            f"sources without permission: {len(foreign)}"
            + (f" with {counted(strangers, 'mail')}, {kept_off:,} of them kept off" if strangers else ""),
            f"the policy is p={policy}",
            f"{counted(aside, 'mail')} of sources marked not yours {does} not count" if aside else "",
            f"reports of which something is missing: {missing}" if missing else "",
        ]
        aligned = state is VerdictState.PASSED
        return Verdict(
            "dmarc.reports",
            domain,
            state,
            title,
            "; ".join(filter(None, found)),
            f"at most {limit:.1%} of your own sources' mail that does not pass",
            "" if aligned else OWN if bad.returned else WHOSE if strangers else NEXT,
            "dmarc.aligned" if aligned else "dmarc.not_aligned",
            {
                "policy": policy,
                "reports": len(mine),
                "own": {"mails": bad.addressed, "not_passed": bad.returned},
                "strangers": {"mails": strangers, "kept_off": kept_off},
                "sources_without_permission": foreign.head(5)[["source_ip", "messages"]].to_dict("records"),
            },
        )

    def _files(self) -> Verdict:
        # TLS reports come to the same mailbox; they are no bad files where there are others
        told = [one for one in self.refused if not self.reports or one.code != "input.report.tls"]
        bad = [{"file": one.name, "reason": one.reason, "code": one.code} for one in told]
        notes = [{"file": name, "note": note} for name, note in self.notes]
        mended = sum(report.recovered for report in self.reports)
        found = f"Reports read: {len(self.reports)}; came again: {self.repeated}; files refused: {len(bad)}"
        found += f"; broken, read as far as they go: {mended}" if mended else ""
        short = sum(report.incomplete for report in self.reports)
        if not self.reports:
            state, title = VerdictState.UNKNOWN, "There is no DMARC report to look at"
            fix = "Put the files (.xml, .gz, .zip, .eml) into the folder; receivers send them to the rua address."
        elif bad:
            state, title = VerdictState.WARNING, "Some files gave no report"
            fix = "Look at the reasons; hostile files are best deleted."
        elif short:
            state, title = VerdictState.WARNING, f"Of {short} reports something is missing"
            fix = "Look at the notes; ask the reporter for a whole copy, or count these figures as too small."
        else:
            state, title, fix = VerdictState.PASSED, "Every file was read", ""
        return Verdict(
            "dmarc.files", "reports", state, title, found, "", fix, "dmarc.files", {"refused": bad, "notes": notes}
        )


def _forwarded(record: AggregateRecord) -> bool:
    return any(kind in FORWARDED for kind, _ in record.reasons)


class DmarcFiles:
    """Reads reports from files and folders; without a path from ``folder``. ``marks`` gives what a person said of
    sources."""

    def __init__(self, folder: Path, *, marks: Callable[[], Sequence[Mark]] = tuple) -> None:
        self.folder, self._marks = folder, marks

    def tls(self, paths: Sequence[Path | str] = ()) -> TlsReports:
        """All TLS reports (RFC 8460) of files and folders; without a path of the folder."""
        return read_tls([Path(one).expanduser() for one in paths] or ([self.folder] if self.folder.exists() else []))

    def read(self, paths: Sequence[Path | str] = ()) -> DmarcReports:
        """All reports. Raises :class:`NotFound` for a path that is not there; an empty folder gives no reports."""
        files: list[Path] = []
        for path in [Path(one).expanduser() for one in paths] or [self.folder]:
            if path.is_dir():
                files += sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
            elif path.is_file():
                files.append(path)
            elif paths:
                raise NotFound(
                    f"There is no file or folder {path.name!r}.",
                    code="dmarc.no_file",
                    facts={"path": str(path)},
                    fix="Name report files (.xml, .gz, .zip, .eml) or a folder that holds them.",
                )
        reports: list[AggregateReport] = []
        notes: list[tuple[str, str]] = []
        refused = [Refused("more files", f"only the first {MAX_FILES} are read", "dmarc.many")] * (
            len(files) > MAX_FILES
        )
        for file in files[:MAX_FILES]:
            try:
                fresh = read_file(file)
                reports += fresh
                notes += [(file.name, note) for report in fresh for note in report.notes]
                notes += [(file.name, "the XML is broken and was read as far as it goes") for r in fresh if r.recovered]
            except InputRefused as error:
                refused.append(Refused(file.name, error.message, error.code))
            except OSError as error:
                refused.append(Refused(file.name, error.strerror or str(error), "dmarc.unreadable"))
        return DmarcReports(reports, refused, notes, self._marks())
