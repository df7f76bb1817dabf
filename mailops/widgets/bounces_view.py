"""Bounces as a person works with them: causes, reports, the suppression list with Undo, what today's rules change."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets
from IPython.display import display

from ..bounces import view
from ..bounces.doubt import strength
from ..bounces.reading.explain import explain
from ..bounces.reading.searchable import searchable
from ..model.reasons import plain, who_acts
from ..model.text import counted
from ..page.theme import code, details, heading, html_table, paragraph
from ..suppression.reread import EFFECTS
from .actions import Action, Actions, Preview
from .controls import narrow
from .copyfield import CopyField
from .faces import Card
from .failures_view import SEARCH
from .progress import Progress
from .rates_view import Frame
from .suppressions_view import SuppressionsCard
from .table import Column, Rows, Table, TableCard

if TYPE_CHECKING:
    from ..bounces import Report
    from ..ops import Ops
    from ..suppression.reread import Change

MAX_SHOWN = 20_000
ACTORS = {"sender": "you, the sender", "recipient": "the recipient", "nobody": "nobody in particular"}
REPORTS = (
    Column("number", "Report"),
    Column("at", "Received (UTC)"),
    Column("address", "Address"),
    Column("cause", "Cause", kind="long"),
    Column("kind", "Kind"),
    Column("tied", "Tied to"),
)


class BouncesView:
    """The parts of the notebook *bounces*, for one workspace."""

    def __init__(self, ops: Ops, *, since: str = "30d", limit: int = 25) -> None:
        self.ops, self.since = ops, since
        self.causes = self._causes()
        self.reports = ReportsCard(ops, limit)
        self.suppressed = SuppressionsCard(ops, limit)
        self.rules = RulesCard(ops, on_done=self.suppressed.refresh)

    def _causes(self) -> Frame:
        rows = [
            [
                row["meaning"],
                row["hard"],
                actor(row["reason"]),
                f"{row['recipients']:,}",
                f"{row['addresses']:,}",
                f"{row['domains']:,}",
                str(row["example"])[:160],
            ]
            for _, row in self.ops.analysis.causes(self.since).iterrows()
        ]
        columns = ["Cause", "Hard or soft", "Who can act", "Recipients", "Addresses", "Domains", "What a server said"]
        return Frame(f"Why mail failed since {self.since}", columns, rows)


def actor(reason: str) -> str:
    """Who can do something about it, as it is said to the reader."""
    found = who_acts(reason)
    return ACTORS.get(found, f"the {found}")


class ReportsCard(TableCard):
    """Stored reports, newest first, also those that fit no mail of ours; one opens to its raw text."""

    def __init__(self, ops: Ops, limit: int) -> None:
        self.ops, self.address, self.reason = ops, "", ""
        self.table = Table(
            REPORTS,
            self._page,
            caption="Reports that came back, newest first",
            empty="No report has come back.",
            limit=limit,
            on_open=self.open,
        )

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        rows, total = view.page(self.ops.engine, address=self.address, reason=self.reason, offset=offset, limit=limit)
        waiting = view.waiting(self.ops.engine, rows)
        return Rows([_report_row(row, waiting.get(row.id, "")) for row in rows], total)

    def open(self, bounce_id: int) -> None:
        """Show one report below the table."""
        if "widget" not in self.__dict__:
            return
        raw = self.ops.bounces.raw(bounce_id)
        report = self.ops.bounces.parse(raw)
        fields = [CopyField(SEARCH, text).widget for text in search_texts(report)]
        self._detail.children = (ipywidgets.HTML(report_html(raw, report)), *fields)

    def _reasons(self) -> list[tuple[str, str]]:
        """The causes that occur, most frequent first, for a choice."""
        rows = view.causes(self.ops.engine)
        return [("any", ""), *((f"{plain(reason)} ({count:,})", reason) for reason, count in rows)]

    def _narrow(self, address: str, reason: str) -> None:
        self.address, self.reason = address, reason
        self.table.reload(first=True)

    def build(self) -> ipywidgets.Widget:
        filters = narrow(self._narrow, {"Address": "address or domain"}, {"Cause": self._reasons()})
        hint = "Press a report's number to see why it was judged so, and its raw text."
        self._detail = ipywidgets.VBox([ipywidgets.HTML(paragraph(hint, muted=True))])
        return ipywidgets.VBox([filters, self.table.widget, self._detail])


class RulesCard(Card):
    """What today's rules say otherwise about the stored reports, and *Apply Today's Rules*.

    The reports are read once, when first asked for (:attr:`changes`), and again after rules were applied. Many take
    their time (some thousand a second), so a bar shows how far it is.
    """

    MANY = 5_000

    def __init__(self, ops: Ops, *, on_done: Callable[[], object] | None = None) -> None:
        self.ops, self._after = ops, on_done
        self._changes: list[Change] | None = None
        self.actions = Actions([Action("Apply Today's Rules", self._preview)], on_done=self.refresh)

    @property
    def changes(self) -> list[Change]:
        """The judgements that differ today."""
        if self._changes is None:
            bar: Progress | None = None

            def read(done: int, total: int) -> None:
                nonlocal bar
                if bar is None and total >= self.MANY:
                    bar = Progress("Stored reports read again", total)
                    display(bar)  # type: ignore[no-untyped-call]  # IPython has no types
                if bar is not None:
                    bar.update(done)

            self._changes = self.ops.suppressions.diff(read)
            if bar is not None:
                bar.finish(f"{bar.total:,} stored reports were read again.")
        return self._changes

    def _preview(self) -> Preview:
        self._changes = None  # what is applied is what is true now
        changes = self.changes
        if not changes:
            return Preview("Today's rules judge every stored report as before.")
        off, on, maybe = (sum(c.effect == e for c in changes) for e in ("unsuppress", "suppress", "propose"))
        proposed = f", {maybe} proposed for it" if maybe else ""
        sentence = (
            f"{counted(len(changes), 'judgement changes', 'judgements change')}: {off} off the list, "
            f"{on} onto it{proposed}."
        )

        def run(say: Callable[[str], None]) -> str:
            done = self.ops.suppressions.apply(changes, actor="notebook")
            self._changes = None
            return f"{counted(done, 'judgement')} changed."

        return Preview(sentence, tuple(str(c) for c in changes[:10]), run)

    def _table(self) -> Frame:
        rows = [
            [
                c.address,
                *(_judged(*each) for each in zip((c.was, c.now), c.strengths, strict=True)),
                EFFECTS[c.effect],
                c.rule,
                c.evidence[:120],
            ]
            for c in self.changes[:200]
        ]
        columns = ["Address", "Was", "Today", "The list", "Rule", "By this text"]
        return Frame("What today's rules change", columns, rows)

    def build(self) -> ipywidgets.Widget:
        self._shown = ipywidgets.HTML(self.html())
        return ipywidgets.VBox([self._shown, self.actions.widget])

    def refresh(self) -> None:
        if "widget" in self.__dict__:
            self._shown.value = self.html()
        if self._after:
            self._after()

    def html(self) -> str:
        found = self._table()
        return found.html() if found.rows else paragraph("Today's rules judge every stored report as before.")

    def text(self) -> str:
        found = self._table()
        return found.text() if found.rows else "Today's rules judge every stored report as before."


def search_texts(report: Report) -> list[str]:
    """What of a report can be searched for on the web: its diagnostics without anybody's data, each once."""
    texts = (searchable(result.diagnostic) for result in report.results)
    return [text for text in dict.fromkeys(texts) if text][:3]


def report_html(raw: bytes, report: Report) -> str:
    """A report: the judgement with rule and evidence, and its raw text as text (never rendered), redacted."""
    from ..secrets import redact

    rows: list[list[object]] = [
        [
            r.recipient,
            plain(r.reason),
            r.strength,
            r.status or "",
            r.diagnostic[:500],
            f"{r.rule}: {r.evidence[:200]}",
        ]
        for r in report.results
    ]
    shown = redact(raw[:MAX_SHOWN].decode("utf-8", "replace"))
    table = html_table(["Address", "Cause", "", "Status", "What the server said", "Rule and text"], rows)
    about = " ".join(word for word in (report.original.subject, report.original.message_id) if word)
    told = "".join(
        paragraph(words)
        for words in dict.fromkeys([f"About: {about}" if about else "", *(one.consequence for one in explain(report))])
        if words
    )
    return heading(f"A {report.kind} (rule {report.rule})") + told + table + details("The raw report", code(shown))


def _report_row(row: Any, doubt: str) -> dict[str, Any]:
    sure = f"mail {row.mail_id} ({row.matched_by}, {row.confidence or 0:.0%})" if row.mail_id else ""
    return {
        "id": row.id,
        "label": f"report {row.id}",
        "number": row.id,
        "at": f"{row.received_at:%Y-%m-%d %H:%M}",
        "address": row.recipient or "(not said)",
        "cause": plain(row.reason or "undefined"),
        "kind": f"{row.kind} {strength(row.hard, doubt)}" if row.hard or doubt else row.kind,
        "tied": sure or f"nothing: {row.matched_by or 'not looked for'}",
    }


def _judged(what: tuple[str, str, bool], strength: str) -> str:
    kind, reason, _ = what
    return f"{kind}, {strength}: {plain(reason)}"
