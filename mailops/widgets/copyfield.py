"""A value to paste elsewhere: monospace, selectable, one labelled button, a spoken "copied"."""

from __future__ import annotations

import anywidget
import ipywidgets
import traitlets

from .faces import Card
from .theme import LINE, MONO, SANS, TINT, esc

_ESM = """
function render({ model, el }) {
  const row = document.createElement("div");
  row.className = "mo-copy";
  const label = document.createElement("label");
  const field = document.createElement("input");
  const button = document.createElement("button");
  const said = document.createElement("span");
  const id = "mo" + Math.random().toString(36).slice(2);
  label.textContent = model.get("label"); label.htmlFor = id;
  field.id = id; field.readOnly = true; field.value = model.get("value");
  field.addEventListener("focus", () => field.select());
  button.type = "button"; button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy " + model.get("label"));
  said.setAttribute("role", "status");
  button.addEventListener("click", async () => {
    field.select();
    try { await navigator.clipboard.writeText(model.get("value")); said.textContent = "copied"; }
    catch (e) {
      let ok = false;
      try { ok = document.execCommand("copy"); } catch (e2) { ok = false; }
      said.textContent = ok ? "copied" : "press Ctrl+C";
    }
    setTimeout(() => { said.textContent = ""; }, 4000);
  });
  model.on("change:value", () => { field.value = model.get("value"); });
  row.append(label, field, button, said);
  el.append(row);
}
export default { render };
"""
_CSS = """
.mo-copy { display:flex; flex-wrap:wrap; gap:8px; align-items:center; margin:4px 0; max-width:1100px;
  font-family:var(--jp-content-font-family, system-ui, sans-serif); color:var(--jp-content-font-color1, #1f2328); }
.mo-copy label { flex:0 0 180px; font-weight:600; font-size:13.5px; }
.mo-copy input { flex:1 1 320px; font-family:var(--jp-code-font-family, monospace); font-size:13px; padding:6px 8px;
  border:1px solid var(--jp-border-color1, #8c959f); border-radius:4px; background:var(--jp-layout-color2, #f6f8fa);
  color:var(--jp-content-font-color1, #1f2328); }
.mo-copy button { padding:6px 14px; border-radius:4px; border:1px solid #0860c4; background:#0860c4; color:#fff;
  font-weight:600; cursor:pointer; }
.mo-copy button:focus-visible, .mo-copy input:focus-visible { outline:3px solid #6cb0ff; outline-offset:1px; }
.mo-copy span { min-width:80px; font-size:13px; }
"""


class _Field(anywidget.AnyWidget):
    _esm = _ESM
    _css = _CSS
    label = traitlets.Unicode("").tag(sync=True)
    value = traitlets.Unicode("").tag(sync=True)


class CopyField(Card):
    """``label`` says what it is, ``value`` is copied exactly."""

    def __init__(self, label: str, value: str) -> None:
        self.label, self.value = label, value

    def build(self) -> ipywidgets.Widget:
        return _Field(label=self.label, value=self.value)

    def html(self) -> str:
        return (
            f'<div style="font-family:{SANS};margin:6px 0;max-width:1100px"><b>{esc(self.label)}</b><pre style="font-family:{MONO};'
            f"font-size:13px;margin:2px 0;padding:6px 8px;border:1px solid {LINE};border-radius:4px;background:{TINT};"
            f'white-space:pre-wrap;overflow-wrap:anywhere;user-select:all">{esc(self.value)}</pre></div>'
        )

    def text(self) -> str:
        return f"{self.label}: {self.value}"
