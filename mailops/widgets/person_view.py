"""Everything that is kept of an address, as a person asks for it: look, save as a file, forget."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import ipywidgets

from ..ledger.about_file import summary, write
from ..ledger.erasure import About
from ..model.retention import KINDS
from ..model.text import counted
from .actions import Action, Actions, Preview
from .controls import narrow
from .table import Column, Rows, Table, TableCard

if TYPE_CHECKING:
    from ..ops import Ops

PLACES = (Column("place", "Where"), Column("count", "Rows", kind="number"), Column("newest", "The newest", kind="long"))
TERMS = (Column("what", "What is kept"), Column("days", "Days"), Column("price", "What its end costs", kind="long"))
NOBODY = "Write an address above."


class PersonView:
    """The parts of the notebook *person*, for one workspace."""

    def __init__(self, ops: Ops, *, address: str = "", limit: int = 25) -> None:
        self.kept = KeptCard(ops, address, limit)
        self.retention = RetentionCard(ops)


class KeptCard(TableCard):
    """What is kept of one address, place by place; saved to a file or forgotten with the buttons below."""

    def __init__(self, ops: Ops, address: str, limit: int) -> None:
        self.ops, self.address = ops, address
        self.table = Table(PLACES, self._page, caption="What is kept", empty=NOBODY, limit=limit)
        self.actions = Actions(
            [Action("Save as Page", lambda: self._save(".html")), Action("Save as JSON", lambda: self._save(".json"))]
        )
        self.end = Actions([Action("Forget", self._forget)], on_done=self.refresh)

    def _look(self) -> About | None:
        return self.ops.about(self.address) if self.address.strip() else None

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        found = self._look()
        self.table.empty = summary(found) if found else NOBODY
        if "widget" in self.table.__dict__:
            self.table.widget.empty = self.table.empty
        held = found.held if found else ()
        rows = [{"id": number, **_place(one)} for number, one in enumerate(held, start=1)]
        return Rows(rows[offset : offset + limit], len(held))

    def _narrow(self, address: str) -> None:
        self.address = address
        self.table.reload(first=True)

    def _save(self, ending: str) -> Preview:
        found = self._look()
        if found is None or not found.rows:
            return Preview(summary(found) if found else NOBODY)
        file = self.ops.workspace.path / f"about-{found.digest}{ending}"

        def run(say: Callable[[str], None]) -> str:
            return f"Written to {write(found, file).name} in the workspace's folder, for you alone to read."

        return Preview(f"{summary(found)} It is written to a file in the workspace's folder.", (file.name,), run)

    def _forget(self) -> Preview:
        found = self._look()
        if found is None or not found.rows:
            return Preview(summary(found) if found else NOBODY)
        if found.waiting:
            return Preview(f"{summary(found)} Let them leave or cancel them in the queue first.")
        examples = tuple(f"{held.count} {held.place}" for held in found.held)
        beyond = "; ".join((*found.elsewhere, *found.beyond))

        def run(say: Callable[[str], None]) -> str:
            receipt = self.ops.forget(found.address, digest=found.digest, actor="notebook")
            return (
                f"Forgotten. It is called {receipt.pseudonym} now; "
                f"{counted(sum(receipt.changed.values()), 'row was', 'rows were')} changed."
            )

        words = (
            f"{summary(found)} All of it loses its person; figures, states and suppressions stay. There is no way back."
        )
        return Preview(f"{words} Not reached from here: {beyond}.", examples, run)

    def build(self) -> ipywidgets.Widget:
        asked = narrow(self._narrow, {"Address": "name@example.com"}, {})
        return ipywidgets.VBox([asked, self.table.widget, self.actions.widget, self.end.widget])


class RetentionCard(TableCard):
    """How long each kind is kept, by default or by the settings."""

    def __init__(self, ops: Ops) -> None:
        self.days = ops.workspace.settings.retention.days()
        self.table = Table(TERMS, self._page, caption="How long it is kept", empty="", limit=len(KINDS))

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        rows = [
            {"id": number, "what": kind.what, "days": term(self.days[kind.name]), "price": kind.price}
            for number, kind in enumerate(KINDS, start=1)
        ]
        return Rows(rows[offset : offset + limit], len(rows))

    def build(self) -> ipywidgets.Widget:
        return self.table.widget


def term(days: float) -> str:
    """A term in words."""
    return f"{days:g}" if days else "for ever"


def _place(held: Any) -> dict[str, Any]:
    newest = held.rows[0] if held.rows else {}
    told = [(key.replace("_", " "), value) for key, value in newest.items() if not isinstance(value, dict | list)]
    shown = ", ".join(f"{key}: {_said(value)}" for key, value in told[:6])
    return {"place": held.place, "count": held.count, "newest": shown}


def _said(value: Any) -> str:
    return f"{value:%Y-%m-%d %H:%M} UTC" if isinstance(value, datetime) else str(value)
