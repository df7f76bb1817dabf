"""Buttons that change something: preview first, then confirm, then say what was done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ipywidgets

from ..errors import MailopsError
from .faces import Card
from .theme import INK, SANS, box, esc


@dataclass(frozen=True, slots=True)
class Preview:
    """What an action would do, in a sentence, with examples; ``count`` 0 means there is nothing to do."""

    sentence: str
    examples: tuple[str, ...] = ()
    count: int = 1


@dataclass(frozen=True, slots=True)
class Action:
    """A button: ``preview()`` tells what would happen, ``run(progress)`` does it and returns a sentence."""

    label: str
    preview: Callable[[], Preview]
    run: Callable[[Callable[[str], None]], str]
    style: str = ""


class Actions(Card):
    """A row of action buttons. Pressing one shows the preview with *Confirm* and *Back*; nothing happens before."""

    def __init__(self, actions: Sequence[Action], *, on_done: Callable[[], object] | None = None) -> None:
        self.actions, self._on_done = tuple(actions), on_done
        self.said = ""

    def build(self) -> ipywidgets.Widget:
        self._buttons = []
        for action in self.actions:
            button = ipywidgets.Button(description=action.label, button_style=action.style)
            button.on_click(lambda _, a=action: self._ask(a))
            self._buttons.append(button)
        self._answer = ipywidgets.HTML("")
        self._confirm = ipywidgets.Button(description="Confirm", button_style="primary")
        self._back = ipywidgets.Button(description="Back")
        self._back.on_click(lambda _: self._say(""))
        self._confirm.on_click(lambda _: self._go())
        self._ask_row = ipywidgets.HBox([self._confirm, self._back])
        self._ask_row.layout.display = "none"
        self._pending: Action | None = None
        return ipywidgets.VBox([ipywidgets.HBox(self._buttons), self._answer, self._ask_row])

    def _ask(self, action: Action) -> None:
        try:
            seen = action.preview()
        except MailopsError as error:
            self._say(f"{error.message} {error.fix}", bad=True)
            return
        examples = "".join(f'<li style="margin:1px 0">{esc(e)}</li>' for e in seen.examples)
        listing = f'<ul style="margin:4px 0;padding-left:20px">{examples}</ul>' if examples else ""
        self._answer.value = box(
            f"<b>{esc(action.label)}:</b> {esc(seen.sentence)}{listing}", accent="info", role="status"
        )
        self._pending = action if seen.count else None
        self._ask_row.layout.display = "" if seen.count else "none"

    def _go(self) -> None:
        action, self._pending = self._pending, None
        if action is None:
            return
        self._ask_row.layout.display = "none"
        for button in self._buttons:
            button.disabled = True
        self._say(f"{action.label}: working …")
        threading.Thread(target=self._work, args=(action,), daemon=True).start()

    def _work(self, action: Action) -> None:
        try:
            self._say(action.run(self._say), good=True)
        except MailopsError as error:
            self._say(f"{error.message} {error.fix}", bad=True)
        except Exception as error:
            self._say(f"{type(error).__name__}: {error}", bad=True)
        finally:
            for button in self._buttons:
                button.disabled = False
            if self._on_done:
                self._on_done()

    def _say(self, text: str, *, good: bool = False, bad: bool = False) -> None:
        self.said = text
        self._ask_row.layout.display = "none"
        accent = "good" if good else "bad" if bad else "info"
        self._answer.value = box(esc(text), accent=accent, role="alert" if bad else "status") if text else ""

    def html(self) -> str:
        names = ", ".join(a.label for a in self.actions)
        return f'<div style="font-family:{SANS};color:{INK};font-size:13px;margin:6px 0">In the live notebook: {esc(names)}.</div>'

    def text(self) -> str:
        return f"Actions in the live notebook: {', '.join(a.label for a in self.actions)}"
