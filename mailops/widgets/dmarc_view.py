"""Reports of other servers as figures, charts and tables: who sends, what aligns, whose the sources are, and whether
sessions were encrypted (TLS-RPT)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property
from typing import TYPE_CHECKING, Any

import ipywidgets

from ..domains.sources import FORGOTTEN, MINE, NOT_MINE
from ..model.text import counted
from ..page.theme import chip, esc
from .actions import Action, Actions, Preview
from .charts import bar_chart, line_chart
from .controls import field, row
from .faces import Card
from .panel import Panel, Tiles
from .rates_view import Frame
from .table import Column, Rows, Table, TableCard, state_cell

if TYPE_CHECKING:
    from ..analysis.dmarc import DmarcReports
    from ..analysis.tls import TlsReports
    from ..domains import Source
    from ..ops import Ops

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
        title = f"{counted(sum(passed), 'mail')} passed in {counted(len(frame), 'day')}, {sum(failed):,} did not"
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


_KINDS = {
    "yours": ("passed", "yours"),
    MINE: ("passed", "marked mine"),
    "service": ("passed", "sending service"),
    "permitted": ("warning", "permitted by SPF"),
    "forwarder": ("skipped", "forwarder"),
    NOT_MINE: ("skipped", "marked not mine"),
    "stranger": ("failed", "stranger"),
    "unknown": ("unknown", "not known"),
}
_LISTED = (
    Column("source", "Source"),
    Column("mails", "Mails", kind="number"),
    Column("passed", "Pass", kind="number"),
    Column("name", "Name"),
    Column("kind", "Kind", kind="state"),
    Column("who", "Who"),
    Column("why", "Why", kind="long"),
)


class SourcesCard(TableCard):
    """Whose the sources are, with *Mine*, *Not Mine* and *Forget Mark*; looked up on first use. ``networks`` also asks
    for the number and prefix of each network."""

    def __init__(self, ops: Ops, reports: DmarcReports, *, networks: bool = False, limit: int = 25) -> None:
        self.ops, self.reports, self.networks = ops, reports, networks
        self.table = Table(
            _LISTED,
            self._page,
            caption="Whose the sources are, largest first",
            empty="No source is told of.",
            limit=limit,
            selectable=True,
        )
        words = (("Mine", MINE), ("Not Mine", NOT_MINE), ("Forget Mark", FORGOTTEN))
        self.actions = Actions([Action(label, self._marking(word)) for label, word in words], on_done=self.refresh)

    @cached_property
    def found(self) -> tuple[Source, ...]:
        """Who the sources are."""
        return self.ops.domains.sources.of(self.reports.surviving, self.reports.domains, networks=self.networks)

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        counts = {line["source_ip"]: line for line in self.reports.sources.to_dict("records")}
        rows = [
            {
                "id": number,
                "label": one.ip,
                "source": one.ip,
                "mails": f"{counts[one.ip]['messages']:,}",
                "passed": f"{counts[one.ip]['passed']:,}",
                "name": " ".join(part for part in (one.name, one.network) if part),
                "kind": state_cell(*_KINDS[one.kind]),
                "who": one.who,
                "why": one.reason,
            }
            for number, one in enumerate(self.found, start=1)
        ]
        return Rows(rows[offset : offset + limit], len(rows))

    def _marking(self, word: str) -> Callable[[], Preview]:
        def preview() -> Preview:
            chosen = [self.found[number - 1].ip for number in self.table.selected]
            if not chosen:
                return Preview("Tick sources first.")
            note = self._note.value

            def run(say: Callable[[str], None]) -> str:
                self.ops.domains.sources.mark(chosen, word, note)
                self.__dict__.pop("found", None)
                self.table.clear_selection()
                self._note.value = ""
                return f"{', '.join(chosen)}: {word}."

            kept = "and later reports heed it" if word != FORGOTTEN else "as if it had never been said"
            return Preview(f"{len(chosen)} marked: {word}, {kept}.", tuple(chosen[:5]), run)

        return preview

    def build(self) -> ipywidgets.Widget:
        self._note = field("Note", "whose it is, in words")
        return ipywidgets.VBox([row(self._note), self.actions.widget, self.table.widget])


class TlsView(Card):
    """TLS reports (RFC 8460): sessions encrypted as asked, what failed and where, and files that gave no report, except
    those named in ``told``, which another card tells of."""

    def __init__(self, reports: TlsReports, *, told: Collection[str] = ()) -> None:
        self.reports, self.told = reports, frozenset(told)

    @cached_property
    def _panel(self) -> Card:
        reports = self.reports
        policies = [policy for report in reports.reports for policy in report.policies]
        good, bad = sum(one.successes for one in policies), sum(one.failures for one in policies)
        share = f"{good / (good + bad):.1%}" if good + bad else "–"
        tiles = Tiles(
            [
                ("TLS reports", f"{len(reports.reports):,}", None),
                ("Sessions", f"{good + bad:,}", None),
                ("Encrypted as asked", share, None),
                ("Failed sessions", f"{bad:,}", "bad" if bad else "good"),
            ]
        )
        rows: list[list[Any]] = [
            [line["domain"], line["policy"], line["kind"] or "–", f"{line['sessions'] or line['failures']:,}",
             line["receiving_mx"] or "–", line["sending_ip"] or "–", line["reason"] or "–", line["org_name"]]
            for line in reports.rows if line["failures"]
        ]  # fmt: skip
        columns = ["Domain", "Policy", "What failed", "Sessions", "Your server", "Sender", "In words", "Reporter"]
        refused = [(name, what) for name, what in reports.refused if name not in self.told]
        told: list[list[Any]] = [[name, what] for name, what in (*refused, *reports.notes)]
        return Panel(
            tiles,
            Frame("Sessions that failed", columns, rows),
            *([Frame("Files that gave no TLS report, and notes", ["File", "What"], told)] if told else []),
        )

    def html(self) -> str:
        return self._panel.html()

    def text(self) -> str:
        return self._panel.text()
