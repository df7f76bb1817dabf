"""Labelled inputs, and a secret field that forgets at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets

from ..errors import MailopsError
from .faces import Card
from .theme import INK, SANS, box, esc


class Form(Card):
    """Text inputs with one button; ``submit(values)`` returns a card or a sentence that is shown below."""

    def __init__(
        self,
        fields: Sequence[tuple[str, str, str]],
        submit: Callable[[dict[str, str]], Card | str],
        *,
        button: str = "Check now",
        title: str = "",
    ) -> None:
        self.fields = tuple(fields)  # (name, label, first value)
        self._submit, self._label, self.title = submit, button, title

    def build(self) -> ipywidgets.Widget:
        self._inputs = {}
        rows = []
        for name, label, value in self.fields:
            field = ipywidgets.Text(value=value, description=label, style={"description_width": "150px"})
            field.layout.width = "min(640px, 98%)"
            self._inputs[name] = field
            rows.append(field)
        press = ipywidgets.Button(description=self._label, button_style="primary")
        press.on_click(lambda _: self.submit())
        self._answer = ipywidgets.VBox([])
        head = (
            [ipywidgets.HTML(f'<b style="font-family:{SANS};color:{INK}">{esc(self.title)}</b>')] if self.title else []
        )
        return ipywidgets.VBox([*head, *rows, press, self._answer])

    def submit(self) -> None:
        """What the button does."""
        values = {name: field.value.strip() for name, field in self._inputs.items()}
        try:
            answer = self._submit(values)
        except MailopsError as error:
            self._answer.children = (
                ipywidgets.HTML(box(f"{esc(error.message)} <b>{esc(error.fix)}</b>", accent="bad", role="alert")),
            )
            return
        shown = (
            answer.widget
            if isinstance(answer, Card)
            else ipywidgets.HTML(box(esc(answer), accent="info", role="status"))
        )
        self._answer.children = (shown,)

    def html(self) -> str:
        names = ", ".join(label for _, label, _ in self.fields)
        return f'<div style="font-family:{SANS};color:{INK};font-size:13px;margin:6px 0">{esc(self.title)} In the live notebook: {esc(names)}.</div>'

    def text(self) -> str:
        return f"{self.title} (fields in the live notebook: {', '.join(label for _, label, _ in self.fields)})"


class SecretField(Card):
    """A password field: what is typed goes to ``keep`` and leaves the widget at once; only a label stays.

    A widget's value is saved with the notebook, so it never holds the secret for longer than the press of the button.
    """

    def __init__(self, label: str, keep: Callable[[str], str]) -> None:
        self.label, self._keep, self.state = label, keep, ""

    def build(self) -> ipywidgets.Widget:
        self._field = ipywidgets.Password(description=self.label, style={"description_width": "150px"})
        press = ipywidgets.Button(description="Save secret")
        self._said = ipywidgets.HTML("")
        press.on_click(lambda _: self._save())
        return ipywidgets.HBox([self._field, press, self._said])

    def _save(self) -> None:
        value, self._field.value = self._field.value, ""
        if not value:
            return
        try:
            self.state = self._keep(value)
        except MailopsError as error:
            self.state = f"{error.message} {error.fix}"
        self._said.value = f'<span role="status" style="font-family:{SANS};color:{INK}">{esc(self.state)}</span>'

    def html(self) -> str:
        return f'<div style="font-family:{SANS};color:{INK};margin:6px 0"><b>{esc(self.label)}</b>: {esc(self.state or "not saved")}</div>'

    def text(self) -> str:
        return f"{self.label}: {self.state or 'not saved'}"
