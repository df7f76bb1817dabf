"""Received mail as a person works with it: threads and their envelopes, what became of each mail, the shelf, and where
a mail would go."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets

from ..inbound.shelf import Shelved
from ..inbound.values import Kind, LogLine
from ..model.text import counted
from ..page.sanitise import safe_html
from ..page.theme import box, chip, esc, heading, html_table, live_only, paragraph
from ..threads.envelope import Mark
from .actions import Action, Actions, Preview
from .controls import button, choice, field, narrow, row
from .envelope_view import EnvelopesCard
from .faces import Card, follow, said
from .table import Column, Rows, Table, TableCard, state_cell
from .trace_view import MailsCard

if TYPE_CHECKING:
    from ..ops import Ops
    from ..threads.desk import Row

LOG = (
    Column("at", "Received (UTC)"),
    Column("sender", "From"),
    Column("decision", "Decision"),
    Column("report", "Report"),
    Column("why", "Why, or what a report changed", kind="long"),
    Column("answer", "Answer", kind="long"),
)
THREADS = (
    Column("number", "Record"),
    Column("model", "Kind"),
    Column("name", "Name", kind="long"),
    Column("sender", "From"),
    Column("entries", "Entries", kind="number"),
    Column("mark", "Envelope", kind="state"),
    Column("last", "Last (UTC)"),
)
OPEN = "Press a record's number to read its thread."
ENTRIES = (
    Column("at", "Received (UTC)"),
    Column("author", "From"),
    Column("subject", "Subject", kind="long"),
    Column("record", "Record"),
    Column("rule", "Rule"),
    Column("words", "Why here", kind="long"),
)
INTAKE = (
    Column("account", "Account"),
    Column("folder", "Folder"),
    *(Column(name, name.capitalize()) for name in ("seen", "doubled", "unreadable", "delivered", "refused")),
    *(Column(name, name.capitalize()) for name in ("shelved", "skipped", "waiting", "gap")),
    Column("missing", "Missing UIDs", kind="long"),
)
SHELF = (
    Column("at", "Received (UTC)"),
    Column("account", "Account"),
    Column("sender", "From"),
    Column("subject", "Subject"),
    Column("reason", "Why it is here", kind="long"),
)


class InboxView:
    """The parts of the notebook *inbox*, for one workspace. ``record`` is opened at once; ``asked`` is traced."""

    def __init__(
        self, ops: Ops, *, record: int = 0, decision: str = "", asked: str = "", since: str = "7d", limit: int = 25
    ) -> None:
        self.threads = ThreadsCard(ops, record, limit)
        self.envelopes = EnvelopesCard(ops)
        self.entries = EntriesCard(ops, limit)
        self.received = ReceivedCard(ops, decision, limit)
        self.shelf = ShelfCard(ops, limit)
        self.intake = IntakeCard(ops, limit)
        self.where = WhereCard(ops)
        self.trace = MailsCard(ops, asked, since, limit)


class ThreadsCard(TableCard):
    """Records, the one that was written about last first; one opened to its thread: each entry with its envelope mark
    and the rule that brought it here."""

    def __init__(self, ops: Ops, record: int, limit: int) -> None:
        self.ops, self.record = ops, record
        self.table = Table(
            THREADS, self._page, caption="Records", empty="There is no record yet.", limit=limit, on_open=self.open
        )

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        found, total = self.ops.desk.records(offset=offset, limit=limit)
        marks = self.ops.envelopes.red_records([one.id for one in found])
        return Rows([_record_row(one, marks.get(one.id, 0)) for one in found], total)

    def open(self, record: int) -> None:
        """Show one record's thread below the table."""
        self.record = record
        self.hear()

    def hear(self) -> None:
        self.table.refresh()
        if "widget" in self.__dict__:
            self._thread.value = self._shown()

    def refresh(self) -> None:
        self.hear()

    def _shown(self) -> str:
        return thread_html(self.ops, self.record) if self.record else paragraph(OPEN, muted=True)

    def build(self) -> ipywidgets.Widget:
        follow(self)
        self._thread = ipywidgets.HTML(self._shown())
        return ipywidgets.VBox([self.table.widget, self._thread])

    def html(self) -> str:
        return self.table.html() + (self._shown() if self.record else "")

    def text(self) -> str:
        if not self.record:
            return self.table.text()
        lines = [f"{one.created_at:%Y-%m-%d %H:%M} {one.kind} {one.author_email or ''}: {one.subject or ''}"
                 for one in self.ops.threads.entries(self.record)]  # fmt: skip
        return "\n".join([self.table.text(), f"Record {self.record}", *lines])


def thread_html(ops: Ops, key: int) -> str:
    """A record's thread, oldest first; quoted text is folded in this view only."""
    record, entries = ops.desk.record(key), ops.threads.entries(key)
    parts = [heading(f"{record.model} {record.id}: {record.name}", 3)]
    for entry in entries:
        found = ops.envelopes.of(entry.id)
        told = counted(len(found.lines), "recipient")
        red = found.mark is Mark.RED
        mark = chip(f"✉ {told}", "bad" if red else "calm", "✗" if red else "") if found.lines else ""
        note = chip("note", "warn") if entry.kind == "note" else ""
        why = ops.desk.why(entry.id)
        who = f"<b>{esc(entry.author_email or 'mailops')}</b> {entry.created_at:%Y-%m-%d %H:%M} UTC"
        parts.append(
            box(
                f"<div>{who} {note} {mark}</div>"
                + (f"<div><b>{esc(entry.subject)}</b></div>" if entry.subject else "")
                + f'<div style="overflow-wrap:anywhere">{folded(safe_html(entry.body or ""))}</div>'
                + paragraph(f"Entry {entry.id}. Why here: {why.words}.", muted=True),
                accent="bad" if red else None,
            )
        )
    return "".join(parts)


def folded(html: str) -> str:
    """Clean HTML with what it quotes folded: block quotes, and lines that begin with ``>`` in plain text.

    >>> folded("<pre>Yes.\\n&gt; Shall we?\\n</pre>").count("<details")
    1
    """
    shut = '<details><summary style="cursor:pointer">Quoted text</summary>'
    html = html.replace("<blockquote>", f"{shut}<blockquote>").replace("</blockquote>", "</blockquote></details>")
    if not html.startswith("<pre>"):
        return html
    kept, quoted = [], list[str]()
    for line in [*html.removeprefix("<pre>").removesuffix("</pre>").splitlines(), ""]:
        if line.startswith("&gt;"):
            quoted.append(line)
            continue
        if quoted:
            kept.append(f"{shut}{'<br>'.join(quoted)}</details>")
            quoted = []
        kept.append(line)
    return '<pre style="white-space:pre-wrap">' + "\n".join(kept).rstrip() + "</pre>"


class WhereCard(Card):
    """Where a mail would go, by every rule it passes; nothing is changed."""

    def __init__(self, ops: Ops) -> None:
        self.ops = ops
        self.said = ""

    def look(self, mail: str) -> str:
        """The answer for a mail as text, as HTML."""
        if not mail.strip():
            return paragraph("Paste a whole mail, with its header.", muted=True)
        found = self.ops.inbound.explain(mail.replace("\r\n", "\n").replace("\n", "\r\n").encode())
        where = [
            f"{route.model}: {'a new record' if route.record is None else f'record {route.record}'}"
            for route in found.routes
        ]
        told = [f"a notice to {one.to}" for one in found.notices]
        steps: list[list[object]] = [[step.rule, step.found] for step in found.trace]
        lines = "; ".join([*where, *told]) or "nowhere"
        return (
            heading(f"{found.kind.value.replace('_', ' ').capitalize()}: {lines}", 4)
            + paragraph(found.reason)
            + html_table(["Rule", "Found"], steps, caption="Every rule it passed")
        )

    def build(self) -> ipywidgets.Widget:
        box_ = ipywidgets.Textarea(description="Whole mail", placeholder="From: …", style={"description_width": "90px"})
        box_.layout.width, box_.layout.height = "min(760px, 98%)", "150px"
        press = button("Where Would This Go?", tooltip="Nothing is changed")
        answer = ipywidgets.HTML(self.look(""))

        def show(_: object) -> None:
            try:
                answer.value = self.look(box_.value)
            except Exception as error:
                answer.value = box(esc(said(error)), accent="bad", role="alert")

        press.on_click(show)
        return ipywidgets.VBox([box_, row(press), answer])

    def html(self) -> str:
        return live_only("Where would this go?")

    def text(self) -> str:
        return "Where would a mail go: mailops explain receive FILE"


class ReceivedCard(TableCard):
    """The gateway's log, newest first: the decision with its reason; of a report its kind and consequence."""

    def __init__(self, ops: Ops, decision: str, limit: int) -> None:
        self.ops, self.decision = ops, decision
        self.table = Table(
            LOG, self._page, caption="Received mail, newest first", empty="No mail has come in.", limit=limit
        )

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        lines, total = self.ops.inbound.log(decision=self.decision or None, offset=offset, limit=limit)
        return Rows([_log_row(line) for line in lines], total)

    def _narrow(self, decision: str) -> None:
        self.decision = decision
        self.table.reload(first=True)

    def build(self) -> ipywidgets.Widget:
        decisions = [("any", ""), *((kind.value.replace("_", " "), kind.value) for kind in Kind)]
        return ipywidgets.VBox([narrow(self._narrow, {}, {"Decision": decisions}), self.table.widget])


class IntakeCard(TableCard):
    """The sums by account and folder: every mail that was seen is accounted for, or named as missing."""

    def __init__(self, ops: Ops, limit: int) -> None:
        self.ops = ops
        self.table = Table(INTAKE, self._page, caption="Intake", empty="Nothing was taken in yet.", limit=limit)
        fetch = Action("Fetch Now", self._fetch)
        self.actions = Actions([fetch], on_done=self.refresh)

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        found = self.ops.intake.ledger()
        missing = {(gap.account, gap.folder, gap.uidvalidity): ", ".join(gap.uids[:20]) for gap in found.gaps}
        rows = [
            {
                **one.as_dict(),
                "id": f"{one.account} {one.folder} {one.uidvalidity}",
                "label": one.account,
                "folder": one.folder or "-",
                "missing": missing.get((one.account, one.folder, one.uidvalidity), ""),
            }
            for one in found.sums
        ]
        return Rows(rows[offset : offset + limit], len(rows))

    def _fetch(self) -> Preview:
        confirmed = [one.key for one in self.ops.mailboxes.list() if one.state == "confirmed"]
        if not confirmed:
            return Preview("No mailbox is confirmed: mailops inbound account add, then mailops inbound account test.")

        def run(say: Callable[[str], None]) -> str:
            done = self.ops.fetch()
            broken = "; ".join(error.message for error in done.errors)
            return f"{done.counts.seen} seen, {done.counts.decided} decided. {broken}".strip()

        return Preview(f"Fetch from {len(confirmed)} mailboxes.", tuple(confirmed[:10]), run)

    def build(self) -> ipywidgets.Widget:
        return ipywidgets.VBox([self.actions.widget, self.table.widget])


class ShelfCard(TableCard):
    """Mail that mailops could not process; what is ticked (or all) is tried again, after a preview by this version."""

    def __init__(self, ops: Ops, limit: int) -> None:
        self.ops = ops
        self.table = Table(
            SHELF, self._page, caption="Shelf", empty="Nothing lies on the shelf.", limit=limit, selectable=True
        )
        self.actions = Actions([Action("Try Again", self._retry)], on_done=self.refresh)

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        found = self.ops.shelf.mails()
        return Rows([_shelf_row(one) for one in found[offset : offset + limit]], len(found))

    def _retry(self) -> Preview:
        ids = [one.id for one in self.ops.shelf.mails() if not self.table.selected or one.id in self.table.selected]
        if not ids:
            return Preview("Nothing lies on the shelf.")

        def run(say: Callable[[str], None]) -> str:
            done = self.ops.shelf.retry(ids)
            self.table.clear_selection()
            return done.words

        seen = self.ops.shelf.preview(ids)
        reasons = tuple(f"{one.id}: {one.reason}" for one in seen.mails if one.reason)
        return Preview(seen.words, reasons[:10], run)

    def build(self) -> ipywidgets.Widget:
        return ipywidgets.VBox([self.actions.widget, self.table.widget])


class EntriesCard(TableCard):
    """What came by mail, with the record it is on and the rule that brought it there; what is ticked is moved."""

    def __init__(self, ops: Ops, limit: int) -> None:
        self.ops = ops
        self.table = Table(
            ENTRIES, self._page, caption="Where it is, and why", empty="No mail has made or changed a record.",
            limit=limit, selectable=True,
        )  # fmt: skip
        self.actions = Actions([Action("Move", self._move), Action("Why Here?", self._why)], on_done=self.refresh)
        self._to = field("To record", "")
        self._new = choice("Else a new", [(model.label, model.name) for model in ops.threads.models])

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        found, total = self.ops.desk.latest(offset=offset, limit=limit)
        rows = [
            {
                "id": entry.id,
                "label": f"entry {entry.id}",
                "at": f"{entry.created_at:%Y-%m-%d %H:%M}",
                "author": entry.author_email or "(nobody)",
                "subject": entry.subject or "",
                "record": entry.record_id,
                "rule": why.rule,
                "words": why.words,
            }
            for entry, why in found
        ]
        return Rows(rows, total)

    def _why(self) -> Preview:
        ticked = sorted(self.table.selected)
        if not ticked:
            return Preview("Tick an entry.")
        found = self.ops.desk.why(int(ticked[0]))
        passed = tuple(f"{rule}: {what}" for rule, what in found.trace)
        return Preview(
            f"Entry {found.entry} is on record {found.record}: {found.words}. {found.reason}".strip(), passed
        )

    def _move(self) -> Preview:
        ticked = sorted(self.table.selected)
        to = self._to.value.strip()
        if not ticked:
            return Preview("Tick the entries that belong elsewhere.")
        if to and not to.isdecimal():
            return Preview("Write the number of a record, or leave it empty for a new one.")
        where = f"record {to}" if to else f"a new {self._new.value} each"

        def run(say: Callable[[str], None]) -> str:
            for entry in ticked:
                if to:
                    self.ops.desk.move(int(entry), to=int(to))
                else:
                    self.ops.desk.move(int(entry), new=self._new.value)
            self.table.clear_selection()
            return f"{len(ticked)} moved to {where}; answers follow."

        return Preview(f"Move {len(ticked)} to {where}.", tuple(f"entry {one}" for one in ticked[:10]), run)

    def build(self) -> ipywidgets.Widget:
        return ipywidgets.VBox([self.table.widget, row(self._to, self._new), self.actions.widget])


def _record_row(one: Row, red: int) -> dict[str, Any]:
    return {
        "id": one.id,
        "label": f"record {one.id}",
        "number": one.id,
        "model": one.model,
        "name": one.name,
        "sender": one.email or "",
        "entries": one.entries,
        "mark": state_cell("failed", f"{red} red") if red else state_cell("", "white"),
        "last": f"{one.last:%Y-%m-%d %H:%M}" if one.last else "",
    }


def _log_row(line: LogLine) -> dict[str, Any]:
    return {
        "id": line.id,
        "label": f"mail {line.id}",
        "at": f"{line.at:%Y-%m-%d %H:%M}",
        "sender": line.sender or "(nobody)",
        "decision": line.decision.replace("_", " "),
        "report": ", ".join(dict.fromkeys(block.kind for block in line.blocks)),
        "why": line.consequence or line.reason,
        "answer": line.answer or "",
    }


def _shelf_row(one: Shelved) -> dict[str, Any]:
    return {
        "id": one.id,
        "label": f"mail {one.id}",
        "at": f"{one.seen_at:%Y-%m-%d %H:%M}",
        "account": one.account,
        "sender": one.sender or "(nobody)",
        "subject": one.subject,
        "reason": one.reason,
    }
