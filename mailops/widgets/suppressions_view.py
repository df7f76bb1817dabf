"""The suppression list as a person works with it: looked through, undone, accepted, and entered by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets

from ..suppression.decide import STATES
from ..suppression.store import Suppression
from .actions import Action, Actions, Preview
from .controls import choice, field, narrow, row
from .table import Column, Rows, Table, TableCard

if TYPE_CHECKING:
    from ..ops import Ops

SCOPES = (("campaigns", "campaigns"), ("all mail", "all"))
LISTED = (
    Column("address", "Address"),
    Column("scope", "Kept from"),
    Column("state", "State"),
    Column("since", "Since (UTC)"),
    Column("why", "Why", kind="long"),
)


class SuppressionsCard(TableCard):
    """The suppression list with *Undo*, *Accept Proposal* and *Suppress Address*."""

    def __init__(self, ops: Ops, limit: int) -> None:
        self.ops, self.text_part, self.state = ops, "", ""
        self.table = Table(
            LISTED,
            self._page,
            caption="Suppressed addresses, newest first",
            empty="Nobody is suppressed.",
            limit=limit,
            selectable=True,
        )
        self.actions = Actions(
            [
                Action("Undo", lambda: self._preview("active")),
                Action("Undo Proposal", lambda: self._preview("proposed")),
                Action("Accept Proposal", self._accept),
            ],
            on_done=self.refresh,
        )
        self.by_hand = Actions([Action("Suppress Address", self._add)], on_done=self.refresh)

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        wanted = {"text": self.text_part or None, "state": self.state or None}
        rows, total = self.ops.suppressions.page(**wanted, offset=offset, limit=limit)
        return Rows([_listed_row(row) for row in rows], total)

    def _ticked(self, state: str) -> list[Suppression]:
        rows = [self.ops.suppressions.get(number) for number in self.table.selected]
        return [row for row in rows if row.state == state]

    def _preview(self, state: str) -> Preview:
        rows = self._ticked(state)
        if not rows:
            return Preview(f"Tick addresses that are {state}.")
        ids = [row.id for row in rows]

        def run(say: Callable[[str], None]) -> str:
            done = self.ops.suppressions.undo(ids, actor="notebook")
            self.table.clear_selection()
            return f"Can be mailed again: {', '.join(done)}."

        sentence = f"{_count(rows)} can be mailed again; the reports are kept, and count no more."
        return Preview(sentence, tuple(f"{row.address}: {row.why}" for row in rows[:5]), run)

    def _accept(self) -> Preview:
        rows = self._ticked("proposed")
        if not rows:
            return Preview("Tick addresses that are proposed.")
        ids = [row.id for row in rows]

        def run(say: Callable[[str], None]) -> str:
            done = self.ops.suppressions.confirm(ids, actor="notebook")
            self.table.clear_selection()
            return f"{done} {'address gets' if done == 1 else 'addresses get'} no campaigns any more."

        sentence = f"{_count(rows)} will get no campaigns."
        return Preview(sentence, tuple(f"{row.address}: {row.why}" for row in rows[:5]), run)

    def _add(self) -> Preview:
        address, scope, why = self._address.value.strip(), self._scope.value, self._why.value.strip()
        if "@" not in address:
            return Preview("Write the address that is to get no mail.")
        what = "campaigns" if scope == "campaigns" else "mail"

        def run(say: Callable[[str], None]) -> str:
            made = self.ops.suppressions.add(address, scope=scope, why=why, actor="notebook")
            self._address.value = self._why.value = ""
            return f"{made.address} gets no {what} any more."

        return Preview(f"{address} will get no {what}.", (why,) if why else (), run)

    def _narrow(self, text: str, state: str) -> None:
        self.text_part, self.state = text, state
        self.table.clear_selection()
        self.table.reload(first=True)

    def build(self) -> ipywidgets.Widget:
        states = [("any", ""), *((state, state) for state in STATES)]
        filters = narrow(self._narrow, {"Address": "address or domain"}, {"State": states})
        self._address = field("Address", "ann@example.com")
        self._scope = choice("Kept from", SCOPES)
        self._why = field("Why", "in words")
        entry = ipywidgets.VBox([row(self._address, self._scope, self._why), self.by_hand.widget])
        return ipywidgets.VBox([filters, self.actions.widget, self.table.widget, entry])


def _listed_row(row: Suppression) -> dict[str, Any]:
    return {
        "id": row.id,
        "label": row.address,
        "address": row.address,
        "scope": "campaigns" if row.scope == "campaigns" else "all mail",
        "state": row.standing,
        "since": f"{row.since:%Y-%m-%d %H:%M}",
        "why": row.why,
    }


def _count(rows: list[Suppression]) -> str:
    return f"{len(rows)} {'address' if len(rows) == 1 else 'addresses'}"
