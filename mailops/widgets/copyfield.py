"""A value to paste elsewhere: monospace, selectable, one labelled button, a spoken "copied"."""

from __future__ import annotations

import anywidget
import ipywidgets
import traitlets

from ..page.theme import LINE, MONO, SANS, TINT, esc
from .faces import STATIC, Card


class _Field(anywidget.AnyWidget):
    _esm = STATIC / "copy.js"
    _css = STATIC / "copy.css"
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
            f'<div style="font-family:{SANS};margin:6px 0;max-width:1140px">'
            f'<b>{esc(self.label)}</b><pre style="font-family:{MONO};'
            f"font-size:13px;margin:2px 0;padding:6px 8px;border:1px solid {LINE};border-radius:4px;background:{TINT};"
            f'white-space:pre-wrap;overflow-wrap:anywhere;user-select:all">{esc(self.value)}</pre></div>'
        )

    def text(self) -> str:
        return f"{self.label}: {self.value}"
