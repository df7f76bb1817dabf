"""Bounce rates as figures, chart and tables."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from .charts import Figure, bar_chart, line_chart
from .faces import Card
from .panel import Tiles
from .theme import chip, esc, html_table, paragraph

if TYPE_CHECKING:
    from ..analysis.bounce_rate import Rate
    from ..ops import Ops

TONES = {"critical": "bad", "warning": "warn", "ok": "good", "few": "calm"}
WORDS = {"critical": "critical", "warning": "high", "ok": "fine", "few": "too few to say"}


class Frame(Card):
    """A pandas frame with a caption; ``html_cells`` names columns that are HTML already."""

    def __init__(self, caption: str, columns: list[str], rows: list[list[Any]], *, raw: bool = False) -> None:
        self.caption, self.columns, self.rows, self.raw = caption, columns, rows, raw

    def html(self) -> str:
        if not self.rows:
            return paragraph(f"{self.caption}: nothing in this time.")
        return html_table(self.columns, self.rows, caption=self.caption, raw=self.raw)

    def text(self) -> str:
        import re

        lines = [self.caption, " | ".join(self.columns)]
        lines += [" | ".join(re.sub(r"<[^>]+>", "", str(c)) for c in row) for row in self.rows]
        return "\n".join(lines)


class RatesView:
    """Answers of the analyst for one period, as cards."""

    def __init__(self, ops: Ops, *, since: str = "30d", by: str = "domain") -> None:
        self.ops, self.since, self.by = ops, since, by

    @cached_property
    def overall(self) -> Rate:
        """The rate of everything."""
        return self.ops.analysis.overall(self.since)

    @cached_property
    def _frame(self) -> Any:
        return self.ops.analysis.bounce_rate(self.by, self.since)

    def tiles(self) -> Tiles:
        """The main figures."""
        frame = self._frame
        refused, bounced = (int(frame[c].sum()) if len(frame) else 0 for c in ("refused", "bounced"))
        tone = TONES[self.overall.verdict]
        return Tiles(
            [
                ("Bounce rate", f"{self.overall.rate:.2%}", None if tone == "calm" else tone),
                ("Recipients addressed", f"{self.overall.addressed:,}", None),
                ("Refused at once", f"{refused:,}", None),
                ("Came back later", f"{bounced:,}", None),
            ]
        )

    def chart(self, top: int = 12) -> Card:
        """The groups with most returns, with intervals; the title states the finding."""
        frame = self._frame[self._frame["returned"] > 0].head(top)
        if frame.empty:
            return Frame("Bounce rate by " + self.by, [], [])
        worst = frame.iloc[0]
        share = worst["returned"] / max(int(self._frame["returned"].sum()), 1)
        title = f"{worst[self.by]} gives {share:.0%} of all returns ({worst['rate']:.1%} of its mail comes back)"
        chart = bar_chart(
            title,
            [str(v) for v in frame[self.by]],
            [100 * v for v in frame["rate"]],
            unit="returned, % (line: 95 % interval)",
            low=[100 * v for v in frame["low"]],
            high=[100 * v for v in frame["high"]],
            label=self.by,
        )
        return chart

    def table(self) -> Frame:
        """Every group."""
        rows = [
            [
                esc(row[self.by]),
                f"{row['addressed']:,}",
                f"{row['refused']:,}",
                f"{row['bounced']:,}",
                f"{row['rate']:.2%}",
                f"{row['low']:.1%} – {row['high']:.1%}",
                chip(WORDS[row["verdict"]], TONES[row["verdict"]]),
            ]
            for _, row in self._frame[self._frame["addressed"] > 0].head(50).iterrows()
        ]
        columns = [self.by.capitalize(), "Addressed", "Refused", "Came back", "Rate", "95 % interval", "Verdict"]
        return Frame(f"Bounce rate by {self.by} since {self.since}", columns, rows, raw=True)

    def causes(self) -> Frame:
        """Why mail was returned."""
        frame = self.ops.analysis.causes(self.since)
        rows = [
            [row["meaning"], row["hard"], f"{row['recipients']:,}", f"{row['domains']:,}", str(row["example"])[:120]]
            for _, row in frame.iterrows()
        ]
        return Frame("Why it came back", ["Cause", "Kind", "Recipients", "Domains", "An answer"], rows)

    def days(self) -> Figure:
        """Recipients per day."""
        frame = self.ops.analysis.volume(self.since)
        returned = [int(a + b) for a, b in zip(frame["failed"], frame["bounced"], strict=True)]
        total = int(frame["sent"].sum())
        title = f"{total:,} recipients were accepted in {len(frame)} days, {sum(returned):,} returned"
        return line_chart(
            title, list(frame["day"]), {"accepted": list(frame["sent"]), "returned": returned}, unit="recipients"
        )
