"""A paged table: fetches the page that is shown and never all rows, with selection, sorting and a keyboard path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anywidget
import ipywidgets
import traitlets

from ..page.theme import STATE_TONES, esc, html_table, paragraph, state_chip
from .faces import STATIC, Card, said


@dataclass(frozen=True, slots=True)
class Column:
    """A column: ``key`` of the row's value, label, and whether it may be sorted by. ``kind``: text, number, state, or
    long (text that wraps)."""

    key: str
    label: str
    kind: str = "text"
    sortable: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """One page: rows as dictionaries (each with ``id``) and the number of all rows."""

    rows: Sequence[dict[str, Any]] = field(default_factory=tuple)
    total: int = 0


Fetch = Callable[[int, int, str, bool], Rows]


class _Grid(anywidget.AnyWidget):
    _esm = STATIC / "table.js"
    _css = STATIC / "table.css"
    columns: traitlets.List[Any] = traitlets.List([]).tag(sync=True)
    rows: traitlets.List[Any] = traitlets.List([]).tag(sync=True)
    total = traitlets.Int(0).tag(sync=True)
    offset = traitlets.Int(0).tag(sync=True)
    limit = traitlets.Int(25).tag(sync=True)
    sort = traitlets.Unicode("").tag(sync=True)
    descending = traitlets.Bool(True).tag(sync=True)
    selected: traitlets.List[Any] = traitlets.List([]).tag(sync=True)
    caption = traitlets.Unicode("").tag(sync=True)
    empty = traitlets.Unicode("").tag(sync=True)
    selectable = traitlets.Bool(False).tag(sync=True)
    openable = traitlets.Bool(False).tag(sync=True)
    opened = traitlets.Int(0).tag(sync=True)
    presses = traitlets.Int(0).tag(sync=True)
    trouble = traitlets.Unicode("").tag(sync=True)
    tries = traitlets.Int(0).tag(sync=True)
    version = traitlets.Int(0).tag(sync=True)


def state_cell(state: str, word: str) -> dict[str, str]:
    """A cell of kind ``state``."""
    icon, tone = STATE_TONES.get(state, ("", "calm"))
    return {"state": state, "word": word, "icon": icon, "tone": tone}


class Table(Card):
    """``fetch(offset, limit, sort, descending)`` gives a page; ``on_open(id)`` hears which row a person opens."""

    def __init__(
        self,
        columns: Sequence[Column],
        fetch: Fetch,
        *,
        caption: str = "",
        empty: str = "Nothing here.",
        limit: int = 25,
        sort: str = "",
        selectable: bool = False,
        on_open: Callable[[int], object] | None = None,
    ) -> None:
        self.columns, self.fetch, self.caption, self.empty = list(columns), fetch, caption, empty
        self.limit, self.sort, self.selectable, self._on_open = limit, sort, selectable, on_open

    @property
    def selected(self) -> tuple[int, ...]:
        """Ids of the rows a person ticked, also on other pages."""
        return tuple(self.widget.selected) if "widget" in self.__dict__ else ()

    def clear_selection(self) -> None:
        """Untick everything."""
        if "widget" in self.__dict__:
            self.widget.selected = []

    def reload(self, *, first: bool = False) -> None:
        """Fetch the shown page again (``first``: go to the first one)."""
        if "widget" not in self.__dict__:
            return
        if first and self.widget.offset:
            self.widget.offset = 0  # its change fetches
            return
        self._fetch()

    def refresh(self) -> None:
        self.reload()

    def _fetch(self) -> None:
        grid = self.widget
        page, trouble = self._read(grid.offset, grid.sort, grid.descending)
        if trouble:  # what was read before stays in sight
            with grid.hold_sync():
                grid.trouble = trouble
                grid.version += 1
            return
        if not page.rows and page.total and grid.offset:  # the last page emptied
            grid.offset = max(0, (page.total - 1) // grid.limit * grid.limit)
            return
        with grid.hold_sync():
            grid.rows, grid.total, grid.trouble = list(page.rows), page.total, ""
            grid.version += 1

    def _read(self, offset: int, sort: str, descending: bool) -> tuple[Rows, str]:
        """A page, or why there is none."""
        try:
            return self.fetch(offset, self.limit, sort, descending), ""
        except Exception as error:
            return Rows(), said(error)

    def build(self) -> ipywidgets.Widget:
        page, trouble = self._read(0, self.sort, True)
        grid = _Grid(
            columns=[{"key": c.key, "label": c.label, "kind": c.kind, "sortable": c.sortable} for c in self.columns],
            rows=list(page.rows),
            total=page.total,
            limit=self.limit,
            sort=self.sort,
            caption=self.caption,
            empty=self.empty,
            trouble=trouble,
            selectable=self.selectable,
            openable=self._on_open is not None,
        )
        grid.observe(lambda _: self._fetch(), names=["offset", "sort", "descending", "tries"])
        if self._on_open is not None:
            opened = self._on_open
            grid.observe(lambda _: opened(grid.opened), names=["presses"])
        return grid

    def _static(self) -> Rows:
        return self.fetch(0, self.limit, self.sort, True)

    def html(self) -> str:
        page = self._static()
        if not page.rows:
            return html_table([c.label for c in self.columns], [[self.empty]], caption=self.caption)
        rows: list[list[object]] = []
        for row in page.rows:
            cells: list[object] = []
            for column in self.columns:
                value = row.get(column.key)
                if column.kind == "state" and value:
                    cells.append(state_chip(value["state"], value["word"]))
                else:
                    cells.append(esc(value))
            rows.append(cells)
        more = (
            paragraph(f"The first {len(page.rows)} of {page.total:,}.", muted=True)
            if page.total > len(page.rows)
            else ""
        )
        return html_table([c.label for c in self.columns], rows, caption=self.caption, raw=True) + more

    def text(self) -> str:
        page = self._static()
        lines = [self.caption] if self.caption else []
        lines.append(" | ".join(c.label for c in self.columns))
        for row in page.rows:
            values = (row.get(c.key) for c in self.columns)
            lines.append(" | ".join(str(v["word"] if isinstance(v, dict) else "" if v is None else v) for v in values))
        if not page.rows:
            lines.append(self.empty)
        elif page.total > len(page.rows):
            lines.append(f"The first {len(page.rows)} of {page.total}.")
        return "\n".join(lines)


class TableCard(Card):
    """A card around one table, which is all that a report or a log shows of it."""

    table: Table

    def refresh(self) -> None:
        self.table.refresh()

    def html(self) -> str:
        return self.table.html()

    def text(self) -> str:
        return self.table.text()
