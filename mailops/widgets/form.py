"""Labelled inputs, and a secret field that forgets at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import anywidget
import ipywidgets
import traitlets

from ..page.theme import INK, SANS, box, esc, live_only, paragraph
from .controls import button as make_button
from .controls import row
from .faces import STATIC, Card, changed, said


class Form(Card):
    """Text inputs with one button; ``submit(values)`` returns a card or a sentence that is shown below. Fields named in
    ``long`` take several lines."""

    def __init__(
        self,
        fields: Sequence[tuple[str, str, str]],
        submit: Callable[[dict[str, str]], Card | str],
        *,
        button: str = "Check now",
        title: str = "",
        long: Sequence[str] = (),
    ) -> None:
        self.long = frozenset(long)
        self.fields = tuple(fields)  # (name, label, first value)
        self._submit, self._label, self.title = submit, button, title
        self._busy = threading.Lock()

    def build(self) -> ipywidgets.Widget:
        self._inputs = {}
        rows = []
        for name, label, value in self.fields:
            kind = ipywidgets.Textarea if name in self.long else ipywidgets.Text
            field = kind(value=value, description=label, style={"description_width": "110px"})
            field.layout.width = "min(640px, 98%)"
            self._inputs[name] = field
            rows.append(field)
        press = make_button(self._label, main=True)
        press.on_click(lambda _: self.press())
        self._answer = ipywidgets.VBox([])
        head = (
            [ipywidgets.HTML(f'<b style="font-family:{SANS};font-size:14px;color:{INK}">{esc(self.title)}</b>')]
            if self.title
            else []
        )
        return ipywidgets.VBox([*head, *rows, row(press), self._answer])

    def press(self) -> None:
        """What the button does: answer at once, work in the background; a second press meanwhile does nothing."""
        if not self._busy.acquire(blocking=False):
            return
        self._show(ipywidgets.HTML(box("Working …", accent="info", role="status")))
        values = {name: field.value.strip() for name, field in self._inputs.items()}
        threading.Thread(target=self._work, args=(values,), daemon=True).start()

    def _work(self, values: dict[str, str]) -> None:
        try:
            answer = self._submit(values)
            sentence = "" if isinstance(answer, Card) else box(esc(answer), accent="info", role="status")
            self._show(answer.widget if isinstance(answer, Card) else ipywidgets.HTML(sentence))
        except Exception as error:
            self._show(ipywidgets.HTML(box(esc(said(error)), accent="bad", role="alert")))
        finally:
            self._busy.release()
        changed()

    def _show(self, widget: Any) -> None:
        self._answer.children = (widget,)

    def html(self) -> str:
        names = ", ".join(label for _, label, _ in self.fields)
        return (paragraph(self.title) if self.title else "") + live_only(names)

    def text(self) -> str:
        return f"{self.title} (fields in the live notebook: {', '.join(label for _, label, _ in self.fields)})"


class _Secret(anywidget.AnyWidget):
    _esm = STATIC / "secret.js"
    _css = STATIC / "secret.css"
    label = traitlets.Unicode("").tag(sync=True)
    said = traitlets.Unicode("").tag(sync=True)
    shown = traitlets.Bool(False).tag(sync=True)  # a browser has it on a page


class SecretField(Card):
    """A password field: what is typed goes to ``keep``, which answers with a label such as "saved, ends in 4f2a".

    A widget's value is saved with the notebook, so the secret never is one: it stays in the browser's field until the
    button is pressed, and comes over as a message of its own.
    """

    def __init__(self, label: str, keep: Callable[[str], str]) -> None:
        self.label, self._keep, self.state = label, keep, ""
        self._asked = 0
        self._then: Callable[[str], object] | None = None

    def build(self) -> ipywidgets.Widget:
        self._field = _Secret(label=self.label, said=self.state)
        self._field.on_msg(lambda _widget, content, _buffers: self.receive(content))
        return self._field

    def ask(self, then: Callable[[str], object]) -> None:
        """Keep what stands typed in the browser's field, then call ``then`` with the trouble ("" = none, or nothing was
        typed). A refused text stays in the field. Where no browser shows the field there is nothing to ask for."""
        if "widget" not in self.__dict__ or not self._field.shown:
            then("")
            return
        self._asked += 1
        self._then = then
        self._field.send({"give": self._asked})

    def receive(self, content: Any) -> None:
        """What the browser sends when the button is pressed, ``{"typed": str}``; with ``asked`` the answer to
        :meth:`ask`."""
        typed = content.get("typed") if isinstance(content, dict) else None
        then = None
        if isinstance(content, dict) and "asked" in content:
            if content["asked"] != self._asked:
                return
            then, self._then = self._then, None
        trouble = self._take(typed) if isinstance(typed, str) and typed else ""
        if then is not None:
            if not trouble:
                self._field.send({"taken": True})
            then(trouble)

    def _take(self, typed: str) -> str:
        """Keep it; why not, where it is refused."""
        trouble = ""
        try:
            self.state = self._keep(typed)
        except Exception as error:
            self.state = trouble = said(error).replace(typed, "•••")
        if "widget" in self.__dict__:
            self._field.said = self.state
        return trouble

    def html(self) -> str:
        said = f"<b>{esc(self.label)}</b>: {esc(self.state or 'not saved')}"
        return f'<div style="font-family:{SANS};color:{INK};margin:6px 0">{said}</div>'

    def text(self) -> str:
        return f"{self.label}: {self.state or 'not saved'}"
