"""Buttons that change something: preview first, then confirm, then say what was done.

An action does what its preview said: the preview hands over the work, bound to what was chosen at that moment, so that
a tick or a filter changed between preview and *Confirm* does not change what happens.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ipywidgets

from ..page.theme import box, esc, live_only
from .controls import button, row
from .faces import Card, changed, said


@dataclass(frozen=True, slots=True)
class Preview:
    """What an action would do, in a sentence, with examples and how many ``more`` there are. ``run(progress)`` does
    exactly that and returns a sentence, or an :class:`Outcome` where it may have gone wrong; None means there is
    nothing to do."""

    sentence: str
    examples: tuple[str, ...] = ()
    run: Callable[[Callable[[str], None]], str | Outcome] | None = None
    more: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action came to: the sentence, its tone (good, warn, bad), and a button that leads on."""

    sentence: str
    tone: str = "good"
    lead: str = ""
    go: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """A button: ``preview()`` tells what would happen, and holds the work."""

    label: str
    preview: Callable[[], Preview]


class Actions(Card):
    """A row of action buttons. Pressing one shows the preview with *Confirm* and *Back*; nothing happens before."""

    def __init__(self, actions: Sequence[Action], *, on_done: Callable[[], object] | None = None) -> None:
        self.actions, self._on_done = tuple(actions), on_done
        self.said = ""

    def build(self) -> ipywidgets.Widget:
        self._buttons = []
        for action in self.actions:
            press = button(action.label)
            press.on_click(lambda _, a=action: self._ask(a))
            self._buttons.append(press)
        self._answer = ipywidgets.HTML("")
        self._confirm = button("Confirm", main=True, tooltip="Do what the preview says")
        self._back = button("Back", tooltip="Change nothing")
        self._back.on_click(lambda _: self._leave())
        self._confirm.on_click(lambda _: self._go())
        self._ask_row = row(self._confirm, self._back)
        self._ask_row.layout.display = "none"
        self._pending: tuple[str, Callable[[Callable[[str], None]], str | Outcome]] | None = None
        self._on = row()
        return ipywidgets.VBox([row(*self._buttons), self._answer, self._on, self._ask_row])

    def _ask(self, action: Action) -> None:
        try:
            seen = action.preview()
        except Exception as error:
            self._pending = None
            self._say(said(error), tone="bad")
            return
        examples = "".join(f'<li style="margin:1px 0">{esc(e)}</li>' for e in seen.examples)
        if examples and seen.more > 0:
            examples += f'<li style="margin:1px 0">and {seen.more:,} more</li>'
        listing = f'<ul style="margin:4px 0;padding-left:20px">{examples}</ul>' if examples else ""
        self._answer.value = box(
            f"<b>{esc(action.label)}:</b> {esc(seen.sentence)}{listing}", accent="info", role="status"
        )
        self._pending = (action.label, seen.run) if seen.run is not None else None
        self._ask_row.layout.display = "" if seen.run is not None else "none"

    def _go(self) -> None:
        pending, self._pending = self._pending, None
        if pending is None:
            return
        label, run = pending
        for press in self._buttons:
            press.disabled = True
        self._say(f"{label}: working …")
        threading.Thread(target=self._work, args=(run,), daemon=True).start()

    def _work(self, run: Callable[[Callable[[str], None]], str | Outcome]) -> None:
        try:
            done = run(self._say)
            done = done if isinstance(done, Outcome) else Outcome(done)
            self._say(done.sentence, tone=done.tone)
            if done.go is not None:
                on, go = button(done.lead), done.go
                on.on_click(lambda _: go())
                self._on.children = (on,)
        except Exception as error:
            self._say(said(error), tone="bad")
        finally:
            for press in self._buttons:
                press.disabled = False
            if self._on_done:
                self._on_done()
            changed()

    def _leave(self) -> None:
        self._pending = None
        self._say("")

    def _say(self, text: str, *, tone: str = "info") -> None:
        self.said = text
        self._ask_row.layout.display = "none"
        self._on.children = ()
        self._answer.value = box(esc(text), accent=tone, role="alert" if tone == "bad" else "status") if text else ""

    def html(self) -> str:
        names = ", ".join(a.label for a in self.actions)
        return live_only(names)

    def text(self) -> str:
        return f"Actions in the live notebook: {', '.join(a.label for a in self.actions)}"
