"""Buttons and fields that look the same in every theme: one strong colour for the main step, a line around the others.

The main colour is our own: the theme's "primary" puts white on a blue that is too light to read (3.1:1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets

from ..page.theme import LINE, TONES

FIELD = "270px"
_LABELLED = {"description_width": "90px"}


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


def field(label: str, placeholder: str = "") -> Any:
    """A line of text; it counts when a person leaves it or presses Enter."""
    made = ipywidgets.Text(description=label, placeholder=placeholder, style=_LABELLED, continuous_update=False)
    made.layout.width = FIELD
    return made


def choice(label: str, options: Sequence[tuple[str, str]]) -> Any:
    """One of several (label, value) pairs; the first is chosen."""
    made = ipywidgets.Dropdown(options=list(options), value=options[0][1], description=label, style=_LABELLED)
    made.layout.width = FIELD
    return made


def narrow(
    on_change: Callable[..., object], fields: Mapping[str, str], choices: Mapping[str, Sequence[tuple[str, str]]]
) -> Any:
    """A row of fields (label → placeholder) and choices (label → pairs) above a table. ``on_change`` hears the values,
    in their order, when one of them changes."""
    controls = [field(label, text) for label, text in fields.items()]
    controls += [choice(label, pairs) for label, pairs in choices.items()]
    for control in controls:
        control.observe(lambda _: on_change(*(c.value.strip() for c in controls)), names="value")
    return row(*controls)
