"""Progress of long work: a bar with words, and the same as text."""

from __future__ import annotations

import ipywidgets

from ..page.theme import INK, SANS, box, esc
from .faces import Card


class Progress(Card):
    """``update(done)`` as work goes on; ``finish(sentence)`` at the end."""

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.done, self.sentence = label, max(total, 1), 0, ""

    def update(self, done: int) -> None:
        """So many of the total are done."""
        self.done = min(done, self.total)
        self.refresh()

    def finish(self, sentence: str) -> None:
        """All done, with what came of it."""
        self.done, self.sentence = self.total, sentence
        self.refresh()

    def _words(self) -> str:
        return self.sentence or f"{self.label}: {self.done} of {self.total} ({self.done / self.total:.0%})"

    def html(self) -> str:
        return box(esc(self._words()), role="status")

    def text(self) -> str:
        return self._words()

    def build(self) -> ipywidgets.Widget:
        self._bar = ipywidgets.IntProgress(value=self.done, max=self.total)
        self._bar.layout.width = "260px"
        self._shown = ipywidgets.HTML(self._line())
        return ipywidgets.HBox([self._bar, self._shown])

    def _line(self) -> str:
        return (
            f'<span role="status" style="font-family:{SANS};color:{INK};margin-left:10px">{esc(self._words())}</span>'
        )

    def refresh(self) -> None:
        if "widget" in self.__dict__:
            self._bar.value = self.done
            self._shown.value = self._line()
