"""Buttons that look the same in every theme: one strong colour for the main step, a line around the others.

The main colour is our own: the theme's "primary" puts white on a blue that is too light to read (3.1:1).
"""

from __future__ import annotations

from typing import Any

import ipywidgets

from .theme import LINE, TONES


def button(label: str, *, main: bool = False, tooltip: str = "") -> Any:
    """A real button; ``main`` marks the one step a person most likely wants."""
    made = ipywidgets.Button(description=label, tooltip=tooltip or label)
    made.layout.width = "auto"
    made.layout.min_width = "110px"
    made.layout.height = "34px"
    made.layout.padding = "0 16px"
    made.layout.margin = "0 8px 0 0"
    made.layout.border = f"1px solid {TONES['info'] if main else LINE}"
    if main:
        made.style.button_color = TONES["info"]
        made.style.text_color = "#ffffff"
        made.style.font_weight = "600"
    return made


def row(*controls: Any) -> Any:
    """Controls side by side, wrapping on a narrow window."""
    made = ipywidgets.HBox(list(controls))
    made.layout.flex_flow = "row wrap"
    made.layout.align_items = "center"
    made.layout.margin = "6px 2px"
    made.layout.overflow = "visible"  # or the focus ring is cut off
    return made
