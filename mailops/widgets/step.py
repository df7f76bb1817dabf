"""A guide's step: exactly one state, icon and word, what to do, and why it matters."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets

from ..model.verdict import VerdictState
from ..page.theme import MUTED, box, esc, paragraph, titled
from .faces import Card

ACCENTS = {"passed": "good", "warning": "warn", "failed": "bad", "unknown": "warn", "ready": "info", "checking": "info"}


class StepCard(Card):
    """One step with its number, state, text, and the cards that belong to it (copy fields, forms, checks)."""

    def __init__(
        self,
        number: int,
        title: str,
        state: VerdictState,
        *,
        why: str = "",
        do: Sequence[str] = (),
        note: str = "",
        inside: Sequence[Card] = (),
    ) -> None:
        self.number, self.title, self.state = number, title, state
        self.why, self.do, self.note, self.inside = why, tuple(do), note, tuple(inside)

    def _own(self) -> str:
        rows = "".join(f'<li style="margin:2px 0">{esc(line)}</li>' for line in self.do)
        todo = f'<ol style="margin:6px 0;padding-left:22px">{rows}</ol>' if rows else ""
        note = f'<div style="font-size:13px;color:{MUTED}">{esc(self.note)}</div>' if self.note else ""
        top = titled(self.state.value, f"{self.number}. {self.title}")
        why = paragraph(self.why, muted=True) if self.why else ""
        return box(top + why + todo + note, accent=ACCENTS.get(self.state.value))

    def html(self) -> str:
        return self._own() + "".join(card.html() for card in self.inside)

    def text(self) -> str:
        lines = [f"{self.state.icon} {self.number}. {self.title} [{self.state.value}]"]
        lines += [f"   {n}) {line}" for n, line in enumerate(self.do, start=1)]
        return "\n".join([*lines, *(card.text() for card in self.inside)])

    def build(self) -> ipywidgets.Widget:
        self._shown = ipywidgets.HTML(self._own())
        inside = ipywidgets.VBox([card.widget for card in self.inside])
        inside.layout.margin = "0 0 0 20px"
        return ipywidgets.VBox([self._shown, inside])

    def refresh(self) -> None:
        if "widget" in self.__dict__:
            self._shown.value = self._own()
            for card in self.inside:
                card.refresh()
