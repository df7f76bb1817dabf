"""The red envelopes: delivery information, *See Error Details*, *Send & close* with a toggle for each, *Ignore all*."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import ipywidgets

from ..model.text import counted
from ..page.theme import box, chip, details, esc, heading, html_table, paragraph
from .actions import Action, Actions, Preview
from .controls import row
from .faces import Card, follow

if TYPE_CHECKING:
    from ..ops import Ops
    from ..threads.envelope import Envelope

NONE = "✓ No message has a failure."


class EnvelopesCard(Card):
    """Every message whose envelope is red: a line and a toggle for each recipient, and what can be done about it."""

    def __init__(self, ops: Ops) -> None:
        self.ops = ops
        self.shown: dict[int, EnvelopeDesk] = {}

    def html(self) -> str:
        found = self.ops.envelopes.red()
        if not found:
            return heading("Red envelopes", 3) + paragraph(NONE)
        return heading(f"Red envelopes: {len(found)}", 3) + "".join(_html(one) for one in found)

    def text(self) -> str:
        lines = [
            f"Message {one.message}: {x.address or x.contact}: {x.reason}"
            for one in self.ops.envelopes.red()
            for x in one.lines
            if x.failed
        ]
        return "\n".join(lines) or NONE

    def build(self) -> ipywidgets.Widget:
        follow(self)
        self._said, self._done = ipywidgets.HTML(""), ipywidgets.HTML("")
        self._all = ipywidgets.VBox([])
        self.hear()
        return ipywidgets.VBox([self._said, self._done, self._all])

    def hear(self) -> None:
        """Look again. A message that is still red keeps its toggles."""
        found = self.ops.envelopes.red()
        before, self.shown = self.shown, {}
        for one in found:
            kept = before.get(one.message)
            self.shown[one.message] = (
                kept if kept is not None and kept.envelope == one else EnvelopeDesk(self.ops, one, self._tell)
            )
        self._said.value = heading(f"Red envelopes: {len(found)}" if found else "Red envelopes", 3) + (
            "" if found else paragraph(NONE)
        )
        self._all.children = tuple(desk.widget for desk in self.shown.values())

    def _tell(self, words: str) -> str:
        """Say what was done above the envelopes: the one it was done to may be gone from here."""
        self._done.value = box(esc(words), accent="good", role="status")
        return words

    def refresh(self) -> None:
        if "widget" in self.__dict__:
            self.hear()


class EnvelopeDesk(Card):
    """One red envelope. Whoever is toggled on is tried again by *Send & close*, the others are ignored."""

    def __init__(self, ops: Ops, envelope: Envelope, tell: Callable[[str], str]) -> None:
        self.ops, self.envelope, self._tell = ops, envelope, tell
        self.toggles = {
            x.notification: ipywidgets.Checkbox(value=True, description=f"Try Again: {x.address or x.contact}")
            for x in envelope.lines
            if x.failed
        }
        for toggle in self.toggles.values():
            toggle.indent, toggle.layout.width = False, "auto"
        self.actions = Actions([Action("Send & close", self._send), Action("Ignore all", self._ignore)])

    def _send(self) -> Preview:
        again = [key for key, toggle in self.toggles.items() if toggle.value]
        if not again:
            return self._ignore()
        left = len(self.toggles) - len(again)
        names = tuple(x.address or x.contact for x in self.envelope.lines if x.notification in again)

        def run(say: Callable[[str], None]) -> str:
            self.ops.envelopes.send_and_close(self.envelope.message, again)
            return self._tell(f"Message {self.envelope.message} is tried again for {', '.join(names)}.")

        ignored = f"; {counted(left, 'failure is', 'failures are')} ignored" if left else ""
        return Preview(f"Try again for {counted(len(again), 'recipient')}{ignored}.", names[:10], run, len(names) - 10)

    def _ignore(self) -> Preview:
        def run(say: Callable[[str], None]) -> str:
            self.ops.envelopes.ignore_all(self.envelope.message)
            return self._tell(f"Every failure of message {self.envelope.message} is ignored.")

        count = counted(len(self.toggles), "failure")
        return Preview(f"Ignore {count} of message {self.envelope.message}; its envelope turns white.", (), run)

    def html(self) -> str:
        return _html(self.envelope)

    def text(self) -> str:
        return f"Message {self.envelope.message}: {counted(len(self.toggles), 'failure')}"

    def build(self) -> ipywidgets.Widget:
        toggles = row(*self.toggles.values())
        return ipywidgets.VBox([ipywidgets.HTML(self.html()), toggles, self.actions.widget])


def _html(one: Envelope) -> str:
    rows: list[list[object]] = []
    more = ""
    for x in one.lines:
        mark = chip(x.state, "bad" if x.failed else "good")
        rows.append([esc(x.contact), esc(x.address or ""), mark, esc(x.enhanced or x.code or ""), esc(x.reason or "")])
        if x.details:
            more += details("See Error Details", paragraph(f"{x.address or x.contact}: {x.details}"))
    table = html_table(
        ["Contact", "Address", "State", "Code", "Reason"], rows, caption=f"Message {one.message}", raw=True
    )
    lead = (
        "Whoever is toggled to Try Again is sent it anew by Send & close, the others are ignored; Ignore all ends the "
        "matter. Each mail: Settings → Technical → Email: Emails."
    )
    return paragraph(lead) + table + more
