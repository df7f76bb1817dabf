"""The place beside a list where one of its rows is shown: it comes into sight, and the focus with it."""

from __future__ import annotations

import anywidget
import traitlets

from .faces import STATIC


class Spot(anywidget.AnyWidget):
    """``show(html)`` puts HTML of ours here; an empty text closes it, and the focus goes back to where it was."""

    _esm = STATIC / "spot.js"
    _css = STATIC / "spot.css"
    html = traitlets.Unicode("").tag(sync=True)
    label = traitlets.Unicode("Details").tag(sync=True)
    shown = traitlets.Int(0).tag(sync=True)

    def show(self, html: str) -> None:
        with self.hold_sync():
            self.html = html
            self.shown += 1
