"""A paged table: fetches the page that is shown and never all rows, with selection, sorting and a keyboard path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anywidget
import ipywidgets
import traitlets

from .faces import Card
from .theme import STATE_TONES, esc, html_table, paragraph, state_chip


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

_ESM = """
function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "mo-table";
  el.append(root);
  const button = (text, label, enabled, act) => {
    const b = document.createElement("button");
    b.type = "button"; b.textContent = text; b.disabled = !enabled;
    if (label) b.setAttribute("aria-label", label);
    b.addEventListener("click", act);
    return b;
  };
  function select(ids) { model.set("selected", ids); model.save_changes(); marks(); }
  function marks() {
    const chosen = new Set(model.get("selected"));
    root.querySelectorAll("input[data-id]").forEach((i) => {
      i.checked = chosen.has(Number(i.dataset.id));
      i.closest("tr").classList.toggle("mo-on", i.checked);
    });
    const note = root.querySelector(".mo-selected");
    if (note) note.textContent = chosen.size ? chosen.size + " selected" : "";
  }
  function draw() {
    const focus = document.activeElement && root.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    root.replaceChildren();
    const columns = model.get("columns"), rows = model.get("rows"), total = model.get("total");
    const offset = model.get("offset"), limit = model.get("limit");
    const scroll = document.createElement("div"); scroll.className = "mo-scroll";
    const table = document.createElement("table");
    const caption = document.createElement("caption"); caption.textContent = model.get("caption"); table.append(caption);
    const head = table.createTHead().insertRow();
    if (model.get("selectable")) {
      const th = document.createElement("th"); th.scope = "col";
      const all = document.createElement("input"); all.type = "checkbox"; all.dataset.key = "all";
      all.setAttribute("aria-label", "Select all on this page");
      all.addEventListener("change", () => {
        const here = rows.map((r) => r.id), chosen = new Set(model.get("selected"));
        here.forEach((id) => all.checked ? chosen.add(id) : chosen.delete(id));
        select([...chosen]);
      });
      th.append(all); head.append(th);
    }
    columns.forEach((c) => {
      const th = document.createElement("th"); th.scope = "col";
      if (c.kind === "number") th.className = "mo-number";
      if (c.sortable) {
        const on = model.get("sort") === c.key, down = model.get("descending");
        th.setAttribute("aria-sort", on ? (down ? "descending" : "ascending") : "none");
        const b = button(c.label + (on ? (down ? " ▾" : " ▴") : ""), "Sort by " + c.label, true, () => {
          model.set("descending", on ? !down : true); model.set("sort", c.key); model.set("offset", 0);
          model.save_changes();
        });
        b.className = "mo-sort"; b.dataset.key = "sort-" + c.key; th.append(b);
      } else th.textContent = c.label;
      head.append(th);
    });
    const body = table.createTBody();
    rows.forEach((r) => {
      const tr = body.insertRow();
      if (model.get("selectable")) {
        const box = document.createElement("input"); box.type = "checkbox"; box.dataset.id = r.id; box.dataset.key = "row-" + r.id;
        box.setAttribute("aria-label", "Select " + (r.label || r.id));
        box.addEventListener("change", () => {
          const chosen = new Set(model.get("selected"));
          if (box.checked) chosen.add(r.id); else chosen.delete(r.id);
          select([...chosen]);
        });
        tr.insertCell().append(box);
      }
      columns.forEach((c, n) => {
        const td = tr.insertCell(), value = r[c.key];
        if (c.kind === "state" && value) {
          const chip = document.createElement("span"); chip.className = "mo-chip mo-" + value.tone;
          chip.textContent = value.icon + " " + value.word; td.append(chip);
        } else if (n === 0 && model.get("openable")) {
          const b = button(String(value), "Open " + (r.label || r.id), true, () => {
            model.set("opened", r.id); model.set("presses", model.get("presses") + 1); model.save_changes();
          });
          b.className = "mo-link"; b.dataset.key = "open-" + r.id; td.append(b);
        } else { td.textContent = value === null || value === undefined ? "" : value; td.title = td.textContent.length > 60 ? td.textContent : ""; }
        if (c.kind === "number") td.className = "mo-number";
        if (c.kind === "long") td.className = "mo-long";
      });
    });
    if (!rows.length) {
      const td = body.insertRow().insertCell(); td.colSpan = columns.length + 1; td.className = "mo-empty";
      td.textContent = model.get("empty");
    }
    scroll.append(table);
    const foot = document.createElement("div"); foot.className = "mo-foot";
    const go = (to) => () => { model.set("offset", to); model.save_changes(); };
    const last = Math.max(0, Math.floor((total - 1) / limit) * limit);
    const keyed = (b, k) => { b.dataset.key = k; return b; };
    const place = document.createElement("span"); place.setAttribute("role", "status");
    place.textContent = total ? (offset + 1).toLocaleString() + "–" + (offset + rows.length).toLocaleString() + " of " + total.toLocaleString() : "";
    const note = document.createElement("span"); note.className = "mo-selected"; note.setAttribute("role", "status");
    foot.append(
      keyed(button("« First", "First page", offset > 0, go(0)), "first"),
      keyed(button("‹ Previous", "Previous page", offset > 0, go(Math.max(0, offset - limit))), "previous"),
      keyed(button("Next ›", "Next page", offset + limit < total, go(offset + limit)), "next"),
      keyed(button("Last »", "Last page", offset + limit < total, go(last)), "last"), place, note);
    root.append(scroll, foot);
    marks();
    if (focus) { const back = root.querySelector('[data-key="' + focus + '"]'); if (back) back.focus(); }
  }
  model.on("change:version", draw);
  model.on("change:selected", marks);
  draw();
}
export default { render };
"""
_CSS = """
.mo-table { font-family:var(--jp-content-font-family, system-ui, sans-serif); font-size:13.5px; line-height:1.4; max-width:1140px;
  color:var(--jp-content-font-color1, #1f2328); margin:8px 0; }
.mo-table .mo-scroll { overflow-x:auto; border:1px solid var(--jp-border-color2, #d0d7de); border-radius:6px; }
.mo-table table { border-collapse:collapse; width:100%; margin:0; }
.mo-table caption { text-align:left; font-weight:650; padding:8px 12px; color:inherit; caption-side:top; }
.mo-table th, .mo-table td { text-align:left; padding:6px 10px; vertical-align:top; border-top:1px solid var(--jp-border-color2, #d0d7de);
  max-width:220px; overflow:hidden; text-overflow:ellipsis; white-space:nowrap; color:inherit; background:transparent; }
.mo-table th { background:var(--jp-layout-color2, #f6f8fa); font-weight:650; }
.mo-table tbody tr:hover td { background:var(--jp-layout-color2, rgba(127,127,127,.09)); }
.mo-table tbody tr.mo-on td { background:rgba(8,96,196,.14); }
.mo-table .mo-number { text-align:right; font-variant-numeric:tabular-nums; }
.mo-table td.mo-long { white-space:normal; min-width:190px; }
.mo-table .mo-empty { text-align:center; padding:24px; white-space:normal; }
.mo-table .mo-foot { display:flex; flex-wrap:wrap; gap:8px; align-items:center; padding:8px 0; }
.mo-table button { font:inherit; padding:4px 10px; border-radius:4px; border:1px solid var(--jp-border-color1, #8c959f);
  background:var(--jp-layout-color1, #fff); color:inherit; cursor:pointer; }
.mo-table button:disabled { opacity:.55; cursor:default; }
.mo-table button.mo-link { border:0; background:none; padding:0; text-decoration:underline; font-weight:600; }
.mo-table button.mo-sort { border:0; background:none; padding:0; font-weight:650; }
.mo-table button:focus-visible, .mo-table input:focus-visible { outline:3px solid #6cb0ff; outline-offset:1px; }
.mo-chip { display:inline-block; padding:1px 8px; border-radius:10px; color:#fff; font-size:12px; line-height:18px; font-weight:600; }
.mo-good { background:#1a7f37; } .mo-warn { background:#8a5a00; } .mo-bad { background:#c0202c; } .mo-info { background:#0860c4; }
.mo-calm { background:#57606a; }
.mo-table .mo-selected { font-weight:600; }
"""


class _Grid(anywidget.AnyWidget):
    _esm = _ESM
    _css = _CSS
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
        page = self.fetch(grid.offset, grid.limit, grid.sort, grid.descending)
        if not page.rows and page.total and grid.offset:  # the last page emptied
            grid.offset = max(0, (page.total - 1) // grid.limit * grid.limit)
            return
        with grid.hold_sync():
            grid.rows, grid.total = list(page.rows), page.total
            grid.version += 1

    def build(self) -> ipywidgets.Widget:
        page = self.fetch(0, self.limit, self.sort, True)
        grid = _Grid(
            columns=[{"key": c.key, "label": c.label, "kind": c.kind, "sortable": c.sortable} for c in self.columns],
            rows=list(page.rows),
            total=page.total,
            limit=self.limit,
            sort=self.sort,
            caption=self.caption,
            empty=self.empty,
            selectable=self.selectable,
            openable=self._on_open is not None,
        )
        grid.observe(lambda _: self._fetch(), names=["offset", "sort", "descending"])
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
