"""Headlines, figures in tiles, and a panel that stacks cards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets

from ..page.theme import GROUND, INK, LINE, MUTED, SANS, TONES, esc, heading, paragraph, state_chip
from .faces import Card


class Headline(Card):
    """What this page answers, in one sentence, with a line below."""

    def __init__(self, title: str, lead: str = "", *, state: str | None = None) -> None:
        self.title, self.lead, self.state = title, lead, state

    def html(self) -> str:
        mark = state_chip(self.state) if self.state else ""
        words = paragraph(self.lead) if self.lead else ""
        line = "display:flex;flex-wrap:wrap;gap:2px 10px;align-items:baseline;margin-top:4px"
        return (
            f'<div style="font-family:{SANS};font-size:14px;color:{INK};margin:4px 0 10px;max-width:1140px">'
            f'{heading(self.title, 2)}<div style="{line}">{mark}{words}</div></div>'
        )

    def text(self) -> str:
        mark = f"[{self.state}] " if self.state else ""
        return f"{self.title}\n{mark}{self.lead}".rstrip()


class Tiles(Card):
    """Figures side by side: ``(label, value)`` or ``(label, value, tone)`` with a tone of :data:`theme.TONES`."""

    def __init__(self, figures: Sequence[tuple[Any, ...]]) -> None:
        self.figures = [(*figure, None)[:3] for figure in figures]

    def html(self) -> str:
        cells = []
        for label, value, tone in self.figures:
            edge = TONES[tone] if tone else LINE
            cells.append(
                f'<div style="flex:1 1 130px;background:{GROUND};border:1px solid {LINE};border-top:3px solid {edge};'
                f'border-radius:6px;box-sizing:border-box;padding:8px 14px">'
                '<div style="font-size:22px;font-weight:650;line-height:1.3;font-variant-numeric:tabular-nums">'
                f'{esc(value)}</div><div style="font-size:13px;color:{MUTED}">{esc(label)}</div></div>'
            )
        return (
            f'<div style="display:flex;flex-wrap:wrap;gap:10px;font-family:{SANS};color:{INK};margin:8px 0;'
            f'max-width:1140px">{"".join(cells)}</div>'
        )

    def text(self) -> str:
        return "   ".join(f"{label}: {value}" for label, value, _ in self.figures)


class Panel(Card):
    """Cards below each other."""

    def __init__(self, *cards: Card) -> None:
        self.cards = cards

    def build(self) -> ipywidgets.Widget:
        return ipywidgets.VBox([card.widget for card in self.cards])

    def html(self) -> str:
        return "".join(card.html() for card in self.cards)

    def text(self) -> str:
        return "\n\n".join(card.text() for card in self.cards)

    def refresh(self) -> None:
        for card in self.cards:
            card.refresh()
