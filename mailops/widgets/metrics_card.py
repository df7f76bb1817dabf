"""The metrics as a table: each with its value, what it counts, over which days, and whose limit it is held against."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from ..page.theme import chip, esc, heading, html_table
from .faces import Card

if TYPE_CHECKING:
    from ..analysis.metrics import Metric
    from ..ops import Ops

TONES = {"critical": "bad", "warning": "warn", "watch": "warn", "ok": "good"}


class MetricsCard(Card):
    """What ``mailops metrics`` prints, as a card."""

    def __init__(self, ops: Ops) -> None:
        self.ops = ops

    @cached_property
    def _found(self) -> tuple[Metric, ...]:
        return self.ops.metrics()

    def html(self) -> str:
        rows: list[list[object]] = []
        for one in self._found:
            mark = chip(one.state, TONES[one.state]) if one.state else ""
            counts = one.as_dict()["counts"]
            rows.append([esc(one.name), esc(one.words), mark, esc(counts), esc(one.definition.window)])
        columns = ["Metric", "Value", "Held against its limit", "What it counts", "Over"]
        return heading("Metrics", 3) + html_table(columns, rows, caption="Each figure, defined once", raw=True)

    def text(self) -> str:
        return "\n".join(f"{one.name}: {one.words} {one.state}".rstrip() for one in self._found)
