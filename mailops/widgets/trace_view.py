"""Where is this mail: asked by Message-ID, address or queue id; its mails in a table, one opened to its holders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets

from ..errors import InputRefused, NotFound
from ..logs.trace import Journey, Trace
from ..page.theme import box, code, esc, heading, html_table, paragraph, state_chip
from .controls import narrow
from .copyfield import CopyField
from .faces import Card, changed
from .table import Column, Rows, Table, state_cell

if TYPE_CHECKING:
    from ..ops import Ops

NOTHING = "Write a Message-ID, an address or a queue id above."
OPEN = "Press a mail's number to see who had it, who has it now, and the text to send."
STATES = {
    "held": ("sent", "Taken over"),
    "waiting": ("outgoing", "Waits"),
    "delivered": ("passed", "Delivered"),
    "refused": ("failed", "Refused"),
    "stopped": ("cancelled", "Stopped"),
    "lost": ("warning", "Not known"),
}
ORDER = ("refused", "lost", "waiting", "stopped", "held", "delivered")
"""Of several recipients the worst is shown."""
MAILS = (
    Column("number", "No."),
    Column("at", "First (UTC)"),
    Column("sender", "From"),
    Column("recipients", "To"),
    Column("state", "State", kind="state"),
    Column("where", "Where it is", kind="long"),
    Column("message_id", "Message-ID", kind="long"),
)
REFUSED = (
    Column("day", "Day (UTC)"),
    Column("reason", "Reason"),
    Column("number", "Refused", kind="number"),
    Column("senders", "Senders", kind="number"),
    Column("server", "Server"),
    Column("answer", "Answer", kind="long"),
)
OUTSIDE = (
    Column("login", "Sign-in"),
    Column("client", "Client"),
    Column("server", "Server"),
    Column("domains", "Sender domains"),
    Column("mails", "Mails", kind="number"),
    Column("last", "Last (UTC)"),
)


class TraceView:
    """The parts of the notebook *trace*, for one workspace. ``since`` bounds the mails of an address and the tables."""

    def __init__(self, ops: Ops, *, asked: str = "", since: str = "7d", limit: int = 25) -> None:
        self.ops, self.since = ops, since
        self.mails = MailsCard(ops, asked, since, limit)
        self.refused = Table(
            REFUSED, self._refused, caption="Refused incoming mail", empty="No log tells of refused mail.", limit=limit
        )
        self.outside = Table(
            OUTSIDE, self._outside, caption="Who sends past mailops", empty="No log tells of such mail.", limit=limit
        )

    @property
    def advice(self) -> str:
        """What to do about refused incoming mail, a line each."""
        return " ".join(self.ops.logs.advice(self.ops.analysis.period(self.since).start))

    def _refused(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        found = self.ops.logs.refused(self.ops.analysis.period(self.since).start)
        rows = [
            {"id": n, "label": f"{r.day} {r.reason}", "day": r.day, "reason": r.meaning, "number": r.number,
             "senders": r.senders, "server": r.server, "answer": r.answer}
            for n, r in enumerate(found, start=1)
        ]  # fmt: skip
        return Rows(rows[offset : offset + limit], len(rows))

    def _outside(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        found = self.ops.logs.senders(self.ops.analysis.period(self.since).start)
        rows = [
            {"id": n, "label": r.login or r.client, "login": r.login or "(no sign-in)", "client": r.client,
             "server": r.server, "domains": ", ".join(r.domains), "mails": r.mails, "last": f"{r.last:%Y-%m-%d %H:%M}"}
            for n, r in enumerate(found, start=1)
        ]  # fmt: skip
        return Rows(rows[offset : offset + limit], len(rows))


class MailsCard(Card):
    """The question, its mails, and one of them in detail. A single mail is shown in detail at once."""

    def __init__(self, ops: Ops, asked: str, since: str, limit: int) -> None:
        self.ops, self.asked, self.since = ops, asked, since
        self.found: Trace | None = None
        self.table = Table(
            MAILS, self._page, caption="Mails, the newest first", empty=NOTHING, limit=limit, on_open=self.open
        )
        self._look()

    def _look(self) -> None:
        self.found, empty = None, NOTHING
        if self.asked.strip():
            try:
                self.found = self.ops.trace(self.asked, since=self.since)
                empty = "No mail of it is known; what was refused stands below."
            except (NotFound, InputRefused) as error:
                empty = f"{error.message} {error.fix}"
        self.table.empty = empty
        if "widget" in self.table.__dict__:
            self.table.widget.empty = empty

    @property
    def journeys(self) -> Sequence[Journey]:
        """The mails that were found."""
        return self.found.journeys if self.found else ()

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        rows = [_row(number, one) for number, one in enumerate(self.journeys, start=1)]
        return Rows(rows[offset : offset + limit], len(rows))

    def _narrow(self, asked: str, since: str) -> None:
        self.asked, self.since = asked, since
        self._look()
        self.table.reload(first=True)
        self._show(self._first())
        changed()

    def _first(self) -> list[Card]:
        return detail(self.journeys[0]) if len(self.journeys) == 1 else [_Html(self._beside())]

    def open(self, number: int) -> None:
        """Show one mail below the table."""
        if 0 < number <= len(self.journeys):
            self._show(detail(self.journeys[number - 1]))

    def _show(self, cards: Sequence[Card]) -> None:
        if "widget" in self.__dict__:
            self._detail.children = tuple(card.widget for card in cards)

    def build(self) -> ipywidgets.Widget:
        periods = [("7 days", "7d"), ("30 days", "30d"), ("90 days", "90d"), ("ever", "")]
        asked = narrow(self._narrow, {"Mail": "Message-ID, address or queue id"}, {"Since": periods})
        self._detail = ipywidgets.VBox([card.widget for card in self._first()])
        return ipywidgets.VBox([asked, self.table.widget, self._detail])

    def _beside(self) -> str:
        """What was refused of an address, or what to do."""
        refused = self.found.refused if self.found else ()
        if not refused:
            return paragraph(OPEN if self.journeys else "", muted=True)
        rows: list[list[object]] = [[f"{s.at:%Y-%m-%d %H:%M:%S}", s.what, s.answer] for s in refused]
        return html_table(["At (UTC)", "What", "Answer"], rows, caption="Refused before it came in")

    def html(self) -> str:
        shown = "".join(card.html() for card in self._first()) if self.found else ""
        return self.table.html() + shown

    def text(self) -> str:
        shown = [card.text() for card in self._first()] if self.found else []
        return "\n".join([self.table.text(), *shown])


class _Html(Card):
    def __init__(self, inner: str, words: str = "") -> None:
        self._inner, self._words = inner, words

    def html(self) -> str:
        return self._inner

    def text(self) -> str:
        return self._words


def _row(number: int, one: Journey) -> dict[str, Any]:
    people = [path.recipient or "(not named)" for path in one.paths]
    worst = min(one.paths, key=lambda path: ORDER.index(path.state))
    state, word = STATES[worst.state]
    return {
        "id": number,
        "label": one.message_id or f"mail {number}",
        "number": number,
        "at": f"{one.first:%Y-%m-%d %H:%M}",
        "sender": one.sender or ("(unknown)" if one.sender is None else "(null sender)"),
        "recipients": ", ".join(people[:2]) + (f" and {len(people) - 2} more" if len(people) > 2 else ""),
        "state": state_cell(state, word),
        "where": worst.says,
        "message_id": one.message_id or "(none)",
    }


def detail(one: Journey) -> list[Card]:
    """One mail: its holders, every step, where each recipient's copy is, and the texts to send."""
    steps: list[list[object]] = [
        [f"{s.at:%Y-%m-%d %H:%M:%S}", s.source, s.what, s.recipient, s.answer] for s in one.steps
    ]
    ways: list[list[object]] = [
        [
            esc(path.recipient or "(not named)"),
            state_chip(*STATES[path.state]),
            esc(path.says),
            esc(f"{path.since:%Y-%m-%d %H:%M:%S}" if path.since else ""),
            esc(path.answer),
        ]
        for path in one.paths
    ]
    missing = "".join(paragraph(f"Not joined: {line}", muted=True) for line in one.unjoined)
    inner = (
        heading(f"From {one.author}, {one.first:%Y-%m-%d %H:%M} UTC")
        + code(one.message_id or "(no Message-ID)")
        + paragraph("Holders: " + " → ".join(one.holders))
        + html_table(["Recipient", "State", "Where it is", "Since (UTC)", "Proof"], ways, raw=True)
        + html_table(["At (UTC)", "Source", "What", "Recipient", "Answer"], steps, caption="Every step")
        + missing
    )
    lines = [f"{path.recipient or '(not named)'}: {path.says} {path.answer}" for path in one.paths]
    words = "\n".join([" → ".join(one.holders), *lines, *(f"Not joined: {line}" for line in one.unjoined)])
    letters = [CopyField(f"To {path.ask}", path.text) for path in one.paths[:5]]
    return [_Html(box(inner), words), *letters]
