"""From a group down to a single failure: its causes, its failures, and what the server said, to the raw report.

Everything here takes text of strangers: it is shown as text, redacted, never rendered.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import ipywidgets

from ..analysis.why import Trouble, explain_failure
from ..bounces.reading.searchable import searchable
from ..model.reasons import who_acts
from ..page.theme import INK, SANS, box, code, details, esc, heading, html_table, paragraph
from .controls import button, row
from .copyfield import CopyField
from .faces import Card, said
from .table import Column, Rows, Table, TableCard

if TYPE_CHECKING:
    from ..analysis.causes import Failure
    from ..domains.failing import SenderReport
    from ..ops import Ops

UNEXPLAINED = ("undefined", "onhold")
FAILURES = (
    Column("number", "Failure"),
    Column("at", "When (UTC)"),
    Column("address", "Address"),
    Column("cause", "Cause", kind="long"),
    Column("error", "What the server said", kind="long"),
)
SEARCH = "For a web search"


def causes_html(ops: Ops, since: str, by: str, value: str) -> str:
    """The causes of one group as a table."""
    from .bounces_view import actor

    rows: list[list[object]] = [
        [
            r["meaning"],
            r["hard"],
            actor(r["reason"]),
            f"{r['recipients']:,}",
            f"{r['addresses']:,}",
            str(r["example"])[:160],
        ]
        for _, r in ops.analysis.causes(since, by=by, value=value).head(15).iterrows()
    ]
    if not rows:
        return paragraph("No failure of this group is on record in this time.", muted=True)
    return html_table(["Cause", "Hard or soft", "Who can act", "Recipients", "Addresses", "What a server said"], rows)


class FailuresCard(TableCard):
    """The failures of one group, newest first; one opens below."""

    def __init__(self, ops: Ops, since: str, by: str = "all", value: str = "", limit: int = 10) -> None:
        self.ops, self.since, self.by, self.value = ops, since, by, value
        self.table = Table(
            FAILURES,
            self._page,
            caption=f"Failures{'' if by == 'all' else f' of {value or by}'}, newest first",
            empty="No failure of this group is on record in this time.",
            limit=limit,
            on_open=self.open,
        )

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        found, total = self.ops.analysis.failures(self.since, by=self.by, value=self.value, offset=offset, limit=limit)
        return Rows([_row(one) for one in found], total)

    def open(self, event_id: int) -> None:
        """Show one failure below the table."""
        if "widget" not in self.__dict__:
            return
        try:
            self._detail.children = (FailureCard(self.ops, self.ops.analysis.failure(event_id)).widget,)
        except Exception as error:
            self._detail.children = (ipywidgets.HTML(box(esc(said(error)), accent="bad", role="alert")),)

    def build(self) -> ipywidgets.Widget:
        hint = "Press a failure's number to see what was said, and its raw report."
        self._detail = ipywidgets.VBox([ipywidgets.HTML(paragraph(hint, muted=True))])
        return ipywidgets.VBox([self.table.widget, self._detail])


def _row(one: Failure) -> dict[str, Any]:
    return {
        "id": one.id,
        "label": f"failure {one.id}",
        "number": one.id,
        "at": f"{one.at:%Y-%m-%d %H:%M}",
        "address": one.recipient,
        "cause": one.meaning,
        "error": one.error[:120],
    }


class FailureCard(Card):
    """One failure: the error, who can do what, a text for a web search, the raw report, the sender's DNS."""

    def __init__(self, ops: Ops, failure: Failure) -> None:
        self.ops, self.failure = ops, failure
        self.search = CopyField(SEARCH, searchable(failure.error))
        self.dns = DnsButton(ops, [failure.sender]) if failure.sender else None

    def html(self) -> str:
        f = self.failure
        told = explain_failure(f, self.ops.setup)
        trouble = Trouble(f, told)
        tasks = "".join(f'<li style="margin:2px 0">{esc(task)}</li>' for task in trouble.tasks)
        head = f"{f.recipient}: {f.meaning}"
        when = "refused at once" if f.kind == "refused" else "came back later"
        facts = [
            f"{f.at:%Y-%m-%d %H:%M} UTC",
            when,
            f.strength,
            f.code,
            f"server {f.server_key}" if f.server_key else "",
        ]
        facts += [f"mail {f.mail_id}" if f.mail_id else ""]
        parts = [heading(head, 4), paragraph(", ".join(x for x in facts if x), muted=True), code(f.error)]
        if trouble.cause not in (f.meaning, "no error"):
            parts.append(f"<b>{esc(trouble.cause)}</b>")
        parts.append(paragraph(trouble.consequence))
        if told.own:
            parts.append(paragraph(f"To act: {told.acts}.", muted=True))
        parts.append(f'<ul style="margin:4px 0;padding-left:20px">{tasks}</ul>')
        return box("".join(parts), accent="bad") + self._report()

    def _report(self) -> str:
        """The stored report, if there is one; its judgement and its raw text."""
        from .bounces_view import report_html

        if self.failure.bounce_id is None:
            return ""
        raw = self.ops.bounces.raw(self.failure.bounce_id)
        shown = report_html(raw, self.ops.bounces.parse(raw))
        return box(details(f"Report {self.failure.bounce_id}", shown))

    def build(self) -> ipywidgets.Widget:
        cards: list[Any] = [ipywidgets.HTML(self.html())]
        if self.search.value:
            cards.append(self.search.widget)
        if self.dns is not None and self.failure.reason in UNEXPLAINED:
            cards.append(self.dns.widget)
        return ipywidgets.VBox(cards)

    def text(self) -> str:
        f = self.failure
        return f"{f.recipient}: {f.meaning} ({f.kind} {f.at:%Y-%m-%d %H:%M} UTC, acts: {who_acts(f.reason)})\n{f.error}"


class DnsButton(Card):
    """The DNS report of senders whose mail failed without a reason: by a button, or at once with ``run_now``."""

    def __init__(self, ops: Ops, domains: list[str]) -> None:
        self.ops, self.domains = ops, domains
        self.reports: list[SenderReport] = []
        self._busy = threading.Lock()

    def run_now(self) -> list[str]:
        """Ask, bounded in time, and give the lines."""
        self.reports = [self.ops.sender_report(domain) for domain in self.domains]
        return [line for report in self.reports for line in report.lines]

    def html(self) -> str:
        if not self.reports:
            return paragraph(
                f"SPF and DKIM are the most common causes. DNS of {', '.join(self.domains)}: not asked yet."
            )
        return "".join(
            box(
                f"<b>{esc(one.lines[0])}</b>" + "".join(paragraph(line) for line in one.lines[1:]),
                accent="good" if one.in_order else "warn",
                role="status",
            )
            for one in self.reports
        )

    def text(self) -> str:
        lines = [line for one in self.reports for line in one.lines]
        return "\n".join(lines) if lines else f"DNS of {', '.join(self.domains)}: not asked yet."

    def build(self) -> ipywidgets.Widget:
        style = f"font-family:{SANS};font-size:14px;color:{INK};margin:6px 2px"
        self._shown = ipywidgets.HTML(f'<div style="{style}">{self.html()}</div>')
        press = button(f"Run the DNS report of {', '.join(self.domains)}")
        press.on_click(lambda _: self._press())
        return ipywidgets.VBox([self._shown, row(press)])

    def _press(self) -> None:
        if self._busy.acquire(blocking=False):
            self._shown.value = box("Asking the name servers …", accent="info", role="status")
            threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        try:
            self.run_now()
            self._shown.value = self.html()
        except Exception as error:
            self._shown.value = box(esc(said(error)), accent="bad", role="alert")
        finally:
            self._busy.release()
