"""DMARC aggregate reports as figures, charts and tables: who sends, what aligns, who has no permission."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..page.theme import chip, esc
from .charts import bar_chart, line_chart
from .faces import Card
from .panel import Tiles
from .rates_view import Frame

if TYPE_CHECKING:
    from ..analysis.dmarc import DmarcReports

TONES = {"permitted": "good", "partly": "warn", "known": "warn", "without permission": "bad"}
WORDS = {
    "permitted": "all passes",
    "partly": "passes in part",
    "known": "passes for another domain only",
    "without permission": "passes nothing",
}


class DmarcView:
    """Cards over :class:`mailops.analysis.dmarc.DmarcReports`."""

    def __init__(self, reports: DmarcReports) -> None:
        self.reports = reports

    def tiles(self) -> Tiles:
        """The main figures."""
        reports = self.reports
        share = reports.passed / reports.messages if reports.messages else 0.0
        strangers = len(reports.unpermitted)
        return Tiles(
            [
                ("Mails told of", f"{reports.messages:,}", None),
                ("Pass DMARC", f"{share:.1%}" if reports.messages else "–", None),
                ("Sources", f"{len(reports.sources):,}", None),
                ("Sources without permission", f"{strangers:,}", "bad" if strangers else "good"),
                ("Reports", f"{len(reports.reports):,}", None),
            ]
        )

    def chart(self, top: int = 12) -> Card:
        """The sources with most failing mail; the title states the finding."""
        frame = self.reports.sources
        caption = "Mail that does not pass, by source"
        if frame.empty:
            return Frame(caption, [], [])
        frame = frame.assign(failed=frame["messages"] - frame["passed"])
        failed = int(frame["failed"].sum())
        worst = frame[frame["failed"] > 0].sort_values("failed", ascending=False).head(top)
        if worst.empty:
            return Frame(caption, [], [])
        first = worst.iloc[0]
        title = f"{first['source_ip']} sends {first['failed'] / failed:.0%} of the mail that does not pass"
        names = [str(ip) for ip in worst["source_ip"]]
        return bar_chart(
            title, names, [float(n) for n in worst["failed"]], unit="mails that do not pass", label="source"
        )

    def days(self) -> Card:
        """Mail a day."""
        frame = self.reports.days
        if len(frame) < 2:
            return Frame("Mail a day", [], [])
        passed, failed = [int(n) for n in frame["passed"]], [int(n) for n in frame["failed"]]
        title = f"{sum(passed):,} mails passed in {len(frame)} days, {sum(failed):,} did not"
        return line_chart(title, list(frame["day"]), {"passed": passed, "did not pass": failed}, unit="mails")

    def sources(self, top: int = 50) -> Frame:
        """Every source: what passed and by what."""
        return self._table(f"Sources, the {top} largest", self.reports.sources.head(top))

    def unpermitted(self, top: int = 50) -> Frame:
        """Who sends without permission."""
        return self._table("Who sends without permission", self.reports.unpermitted.head(top))

    def refused(self) -> Frame:
        """Files that gave no report."""
        rows: list[list[object]] = [[one.name, one.reason, one.code] for one in self.reports.refused]
        return Frame("Files that gave no report", ["File", "Reason", "Code"], rows)

    @staticmethod
    def _table(caption: str, frame: object) -> Frame:
        import pandas as pd

        assert isinstance(frame, pd.DataFrame)
        rows: list[list[object]] = [
            [
                esc(line["source_ip"]),
                f"{line['messages']:,}",
                f"{line['rate']:.1%}",
                f"{line['dkim_aligned']:,}",
                f"{line['spf_aligned']:,}",
                f"{line['refused']:,}",
                esc(line["signed_by"]) or "–",
                esc(line["bounces_to"]) or "–",
                chip(WORDS[line["verdict"]], TONES[line["verdict"]]),
            ]
            for _, line in frame.iterrows()
        ]
        columns = [
            "Source",
            "Mails",
            "Pass",
            "DKIM aligned",
            "SPF aligned",
            "Refused",
            "Signed by",
            "Bounces to",
            "Verdict",
        ]
        return Frame(caption, columns, rows, raw=True)
