"""The way through a guide: its phases with their steps, where one stands, and each step a press away.

It also does two things that a widget of ipywidgets cannot: it moves the focus to the heading of the step that was
opened, and ties an error to the field that it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anywidget
import traitlets

from .faces import STATIC


@dataclass(frozen=True, slots=True)
class Stop:
    """A step on the way: its id, number and title, the phase that it belongs to, its state as icon and word."""

    id: str
    number: int
    title: str
    phase: str
    icon: str
    word: str


class Stepper(anywidget.AnyWidget):
    """``on_open(step id)`` is called when a person opens a step."""

    _esm = STATIC / "stepper.js"
    _css = STATIC / "stepper.css"
    stops: Any = traitlets.List([]).tag(sync=True)
    shown = traitlets.Unicode("").tag(sync=True)
    done = traitlets.Int(0).tag(sync=True)
    moved = traitlets.Int(0).tag(sync=True)  # a person went to another step: the focus follows
    wrong: Any = traitlets.Dict({}).tag(sync=True)  # a field's label → what is wrong with it

    def __init__(self, on_open: Callable[[str], object]) -> None:
        super().__init__()
        self._on_open = on_open
        self.on_msg(lambda _widget, content, _buffers: self.receive(content))

    def receive(self, content: Any) -> None:
        """What the browser sends when a step is pressed: ``{"open": id}``."""
        step = content.get("open") if isinstance(content, dict) else None
        if isinstance(step, str) and step in [stop["id"] for stop in self.stops]:
            self._on_open(step)

    def draw(self, stops: Sequence[Stop], shown: str, done: int) -> None:
        """The steps as they stand, the one that is open, and how many are done."""
        with self.hold_sync():
            self.stops = [
                {"id": s.id, "number": s.number, "title": s.title, "phase": s.phase, "icon": s.icon, "word": s.word}
                for s in stops
            ]
            self.shown, self.done = shown, done

    def move(self) -> None:
        """Let the focus follow to the step that is shown now."""
        self.moved += 1

    def mark(self, wrong: Mapping[str, str]) -> None:
        """Tie each message to its field, by the field's label; none takes all marks away."""
        self.wrong = dict(wrong)
