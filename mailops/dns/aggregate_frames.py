"""Aggregate reports as pandas frames: rows, sources, alignment, and who sends without permission.

pandas is imported inside the functions: this module belongs to the DNS engine and is loaded where nobody draws tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .aggregate_model import AggregateReport

if TYPE_CHECKING:
    import pandas as pd

ROW_COLUMNS = (
    "report_id", "org_name", "domain", "begin", "end", "policy", "generation", "source_ip", "count", "disposition",
    "dkim", "spf", "dmarc_pass", "header_from", "envelope_from", "dkim_domains", "dkim_selectors", "dkim_results",
    "spf_domains", "spf_results", "reasons",
)  # fmt: skip


def rows_frame(reports: Iterable[AggregateReport]) -> pd.DataFrame:
    """One line a row of every report; ``begin`` and ``end`` as UTC times."""
    import pandas as pd

    frame = pd.DataFrame([row for report in reports for row in report.rows()], columns=list(ROW_COLUMNS))
    for column in ("begin", "end"):
        frame[column] = pd.to_datetime(frame[column], unit="s", utc=True, errors="coerce")
    return frame.astype({"count": "int64", "dmarc_pass": "bool"})


def sources_frame(reports: Iterable[AggregateReport]) -> pd.DataFrame:
    """One line a source address: messages, how many passed and by what, and the domains it signed or bounced with.

    ``verdict`` is ``permitted`` (everything passed), ``partly``, ``known`` (SPF or DKIM passed, but nothing aligned)
    or ``without permission`` (nothing passed at all).
    """
    import pandas as pd

    rows = rows_frame(reports)
    columns = ["source_ip", "messages", "passed", "rate", "dkim_aligned", "spf_aligned", "refused", "signed_by",
               "bounces_to", "verdict"]  # fmt: skip
    if rows.empty:
        return pd.DataFrame(columns=columns)
    out = []
    for source, part in rows.groupby("source_ip", sort=False):
        count = part["count"]
        total, passed = int(count.sum()), int(count[part["dmarc_pass"]].sum())
        raw_pass = part["dkim_results"].str.contains("pass") | part["spf_results"].str.contains("pass")
        out.append(
            {
                "source_ip": source,
                "messages": total,
                "passed": passed,
                "rate": passed / total if total else 0.0,
                "dkim_aligned": int(count[part["dkim"] == "pass"].sum()),
                "spf_aligned": int(count[part["spf"] == "pass"].sum()),
                "refused": int(count[part["disposition"] == "reject"].sum()),
                "signed_by": _joined(part["dkim_domains"]),
                "bounces_to": _joined(part["spf_domains"]),
                "verdict": _verdict(total, passed, bool(raw_pass.any())),
            }
        )
    return pd.DataFrame(out, columns=columns).sort_values("messages", ascending=False, ignore_index=True)


def without_permission(reports: Iterable[AggregateReport]) -> pd.DataFrame:
    """The sources of which nothing passed, largest first."""
    frame = sources_frame(reports)
    chosen = frame[frame["verdict"].isin(["known", "without permission"])]
    return chosen.reset_index(drop=True)


def _joined(column: pd.Series[str]) -> str:
    return ", ".join(sorted({domain for cell in column for domain in cell.split(",") if domain}))


def _verdict(total: int, passed: int, raw_pass: bool) -> str:
    if passed == total:
        return "permitted"
    if passed:
        return "partly"
    return "known" if raw_pass else "without permission"
