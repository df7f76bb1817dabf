"""An error that somebody saw, explained: cause, who must act, what helps. The notebook's face of ``explain error``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets

from ..bounces.explainer import Explanation
from ..page.theme import box, esc, heading, paragraph
from .controls import button, row
from .faces import Card, said

if TYPE_CHECKING:
    from ..ops import Ops

_PROVIDERS = (("as its words say", ""), ("Microsoft", "microsoft"), ("Google", "google"), ("Mailjet", "mailjet"))
_PLACES = (
    ("as its words say", ""),
    ("sending (SMTP)", "smtp"),
    ("reading (IMAP)", "imap"),
    ("reading (POP)", "pop"),
    ("token endpoint", "token"),
    ("sign-in page", "page"),
)


class ErrorCard(Card):
    """Explains a pasted text. ``text`` is explained at once, where one is given."""

    def __init__(self, ops: Ops, text: str = "", *, provider: str = "", protocol: str = "") -> None:
        self.ops = ops
        self.seen, self.provider, self.protocol = text, provider, protocol

    def _found(self) -> Explanation | None:
        if not self.seen.strip():
            return None
        return self.ops.explain_error(self.seen, provider=self.provider, protocol=self.protocol)

    def html(self) -> str:
        found = self._found()
        if found is None:
            return box(paragraph("Paste an error of a provider, a mail server or a report, and it is explained."))
        named = f"Row {found.row}" if found.row else f"Reason {found.reason}" if found.reason else ""
        parts = [
            heading(found.cause, 4),
            f"<p style='margin:4px 0'><b>To act:</b> {esc(found.acts)}</p>",
            f"<p style='margin:4px 0'><b>What to do:</b> {esc(found.fix)}</p>",
        ]
        parts += [paragraph(f"{named}, class {found.kind}.", muted=True)] if named else []
        return box(
            "".join(parts), accent="warn" if found.kind in ("retry", "limit", "unknown") else "bad", role="status"
        )

    def text(self) -> str:
        found = self._found()
        if found is None:
            return "No error to explain."
        return f"{found.cause}\nTo act: {found.acts}\nWhat to do: {found.fix}"

    def build(self) -> ipywidgets.Widget:
        wide: dict[str, Any] = {"style": {"description_width": "230px"}}
        seen = ipywidgets.Textarea(description="What was shown", value=self.seen, rows=3, **wide)
        whose = ipywidgets.Dropdown(description="Whose words", options=_PROVIDERS, value=self.provider, **wide)
        where = ipywidgets.Dropdown(description="Where it was said", options=_PLACES, value=self.protocol, **wide)
        seen.layout.width = "min(760px, 98%)"
        press = button("Explain", main=True)
        answer = ipywidgets.HTML(self.html())

        def explain(_: Any) -> None:
            self.seen, self.provider, self.protocol = seen.value, whose.value, where.value
            try:
                answer.value = self.html()
            except Exception as error:
                answer.value = box(esc(said(error)), accent="bad", role="alert")

        press.on_click(explain)
        return ipywidgets.VBox([seen, whose, where, row(press), answer])
