"""Scheduled actions with their buttons, the dead man's switch, and the question *what if?* as cards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import ipywidgets

from ..jobs.often import checked_minutes
from ..jobs.scheduled import BY_HAND, CHANGING
from ..model.text import counted
from .actions import Action, Actions, Preview
from .faces import Card
from .form import Form
from .setup_view import Sheet, number
from .table import Column, Rows, Table, TableCard

if TYPE_CHECKING:
    from ..campaigns.whatif import WhatIf
    from ..jobs.deadman import Watch
    from ..jobs.scheduled import ScheduledAction
    from ..ops import Ops
    from .charts import Figure

_COLUMNS = (
    Column("key", "Key"),
    Column("label", "Scheduled action"),
    Column("every", "Every"),
    Column("last", "Last (UTC)"),
    Column("next", "Next (UTC)"),
    Column("took", "Took"),
)
SHOWN = 20
"""Mails of an answer that are listed."""
POINTS = 24
"""Steps of its chart."""


class ActionsView(TableCard):
    """The scheduled actions with *Run Now*, which asks, as the command does."""

    def __init__(self, ops: Ops) -> None:
        self.ops = ops
        self.table = Table(_COLUMNS, self._page, caption="Scheduled actions", empty="There are none.", selectable=True)
        self.actions = Actions([Action("Run Now", self._run)], on_done=self.refresh)

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        found = self.ops.scheduled.all()
        rows = [{"id": number, **_row(one)} for number, one in enumerate(found, start=1)]
        return Rows(rows[offset : offset + limit], len(found))

    def _run(self) -> Preview:
        found = self.ops.scheduled.all()
        chosen = [found[number - 1] for number in self.table.selected if number <= len(found)]

        def run(_say: Callable[[str], None]) -> str:
            done = [f"{one.label}: {self.ops.scheduled.run(one.key)}." for one in chosen]
            self.table.clear_selection()
            return " ".join(done)

        if not chosen:
            return Preview("Tick actions first.")
        return Preview(BY_HAND, tuple(one.label for one in chosen), run)

    def build(self) -> ipywidgets.Widget:
        return ipywidgets.VBox([self.actions.widget, self.table.widget])


def _row(one: ScheduledAction) -> dict[str, str]:
    return {
        "label": one.label,
        "key": one.key,
        "every": f"{one.minutes} min" + (f" (recommended: {one.recommended})" if one.recommended else ""),
        "last": f"{one.last_at:%Y-%m-%d %H:%M}" if one.last_at else "never",
        "next": f"{one.next_at:%Y-%m-%d %H:%M}" if one.next_at else "",
        "took": "" if one.took is None else f"{one.took:.1f} s",
    }


def interval_form(ops: Ops) -> Form:
    """How often one runs: it says what changes, and changes it when the key is typed once more."""

    def change(values: dict[str, str]) -> str:
        key, minutes = values["key"].strip(), int(number(values["minutes"]))
        there = ops.scheduled.get(key)
        checked_minutes(there.label, minutes)
        if values["again"].strip() != key:
            said = f"{there.label}: every {counted(there.minutes, 'minute')} becomes every {minutes}."
            return f"{CHANGING} {said} Type {key} once more to do it."
        made = ops.scheduled.every(key, minutes)
        return f"{made.label} runs every {counted(made.minutes, 'minute')}. {made.warning}".rstrip()

    fields = [("key", "Action", "queue"), ("minutes", "Minutes", "15"), ("again", "Once more", "")]
    return Form(fields, change, button="Change", title="How often one runs")


def watch_sheet(found: Watch) -> Sheet:
    """What runs by itself: was to begin, began, ended."""
    rows = [[one.name, one.state, one.words] for one in found.watched]
    lead = "Scheduled, started and finished are three facts; mailops jobs watch tells where one is missing."
    return Sheet("The dead man's switch", lead, ["Job", "Stands", "What"], lambda: [list(row) for row in rows])


class WhatIfCard(Card):
    """An answer to *what if?*: the sentence, and the first mails."""

    def __init__(self, found: WhatIf) -> None:
        self.found = found
        rows = [
            [
                f"{one.at:%Y-%m-%d %H:%M:%S}" if one.at else "",
                one.what,
                one.campaign or one.mail_id or "",
                one.recipient,
                one.why,
            ]
            for one in found.mails[:SHOWN]
        ]
        header = ["When (UTC)", "What", "Campaign or mail", "To", "Why"]
        self._sheet = Sheet(
            "What would be", found.sentence, header, lambda: [[str(cell) for cell in row] for row in rows]
        )

    @cached_property
    def chart(self) -> Figure | None:
        """How many mails still wait, over time, beside what is to be as it stands; None where all leave at once."""
        from .charts import line_chart

        both = {"so": self.found, "as it is": self.found.as_it_is} if self.found.as_it_is else {"so": self.found}
        ends = [one.at for found in both.values() for one in found.mails if one.at]
        last = max(ends, default=self.found.at)
        if last - self.found.at < timedelta(minutes=1):
            return None
        moments = [self.found.at + (last - self.found.at) * n / POINTS for n in range(POINTS + 1)]
        day = "%H:%M" if last - self.found.at < timedelta(hours=20) else "%m-%d %H:%M"
        series: dict[str, Sequence[float]] = {name: found.waiting(moments) for name, found in both.items()}
        return line_chart(
            "Mails that still wait (UTC)", [f"{at:{day}}" for at in moments], series, unit="mails", label="UTC"
        )

    def html(self) -> str:
        return self._sheet.html() + (self.chart.html() if self.chart else "")

    def text(self) -> str:
        return self._sheet.text()


def what_if_form(ops: Ops) -> Form:
    """*What if?* with a campaign cancelled, another interval or limit."""
    from ..limits.values import own_of

    def ask(values: dict[str, str]) -> Card:
        cancel = [one for one in values["cancel"].replace(",", " ").split() if one]
        limits = [own_of(one) for one in values["limit"].split()]
        minutes = int(number(values["minutes"])) if values["minutes"].strip() else None
        return WhatIfCard(ops.what_if(cancel=cancel, minutes=minutes, limits=limits))

    fields = [("cancel", "Cancel", ""), ("minutes", "Every (min)", ""), ("limit", "Limit (main=30/minute)", "")]
    return Form(fields, ask, button="What if?", title="With a campaign cancelled, another interval or limit")
