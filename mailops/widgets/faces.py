"""One object, three faces: a widget live, HTML in reports and untrusted notebooks, text in terminals and logs."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakSet

import ipywidgets

from ..errors import MailopsError

STATIC = Path(__file__).parent / "static"  # scripts and styles of the live widgets


class Hearer(Protocol):
    """A card that shows something which an action elsewhere on the page may change."""

    def hear(self) -> None: ...


_hearers: WeakSet[Any] = WeakSet()


def follow(card: Hearer) -> None:
    """From now on ``card.hear()`` is called after each :func:`changed`. A kernel serves one page, so this is the
    page."""
    _hearers.add(card)


def changed() -> None:
    """Something was done on this page: every card that follows looks again, so that no two contradict each other. A
    card that cannot look is no reason for the act to have failed: it keeps its time of looking."""
    for card in list(_hearers):
        with suppress(Exception):
            card.hear()


def said(error: Exception) -> str:
    """An error as a person reads it: what happened, also in the other side's words, and what to do next; redacted, no
    traceback."""
    from ..secrets import redact

    if isinstance(error, MailopsError):
        told = " ".join(str(error.facts.get("said") or "").split())[:300]
        words = f" The provider said: {told}." if told and told not in error.message else ""
        return redact(f"{error.message}{words.replace('..', '.')} {error.fix}".strip())
    return redact(f"This is a fault of mailops; report it with this text. {type(error).__name__}: {error}")


class Card:
    """The base of everything that is shown. A subclass gives :meth:`html` and :meth:`text`, and may give a live
    :meth:`build`; without one the widget shows the HTML. :meth:`refresh` redraws a live card."""

    def html(self) -> str:
        """The card as HTML that stands alone: no script, inline style."""
        raise AssertionError(f"{type(self).__name__} has no HTML face")

    def text(self) -> str:
        """The card as plain text."""
        raise AssertionError(f"{type(self).__name__} has no text face")

    def build(self) -> ipywidgets.Widget:
        """The live widget."""
        return ipywidgets.HTML(self.html())

    @cached_property
    def widget(self) -> Any:
        """The live widget, made on first use."""
        return self.build()

    def refresh(self) -> None:
        """Redraw the live widget from what is true now."""
        if "widget" in self.__dict__ and isinstance(self.widget, ipywidgets.HTML):
            self.widget.value = self.html()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        from ..secrets import redact

        live = self.widget._repr_mimebundle_(**kwargs) or {}
        bundle = dict(live[0] if isinstance(live, tuple) else live)  # anywidget gives (data, metadata)
        bundle["text/html"] = redact(self.html())
        bundle["text/plain"] = redact(self.text())
        return bundle
