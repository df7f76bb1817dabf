"""What a notebook shows when mailops cannot go on: one card with what happened and what to do, in place of a traceback.

The error itself stays in the output behind the card, in one line: a job must end by it, and JupyterLab shows it. An app
hides tracebacks, with everything that they say; the card is no part of them.
"""

from __future__ import annotations

from typing import Any

from ..errors import MailopsError
from ..page.theme import box, code, details, esc, heading, paragraph
from .faces import Card, said

TITLES = {
    "workspace.": "There is no workspace to show",
    "input.": "This cannot be used",
    "store.": "The store cannot be opened",
    "settings.": "The settings cannot be used",
}


class FailureCard(Card):
    """An error of mailops: what happened, its facts, what to do next. Anything of people or secrets is redacted."""

    def __init__(self, error: MailopsError) -> None:
        self.error = error

    @property
    def _title(self) -> str:
        return next((title for start, title in TITLES.items() if self.error.code.startswith(start)), "It stops here")

    def html(self) -> str:
        from ..secrets import redact

        error = self.error
        facts = "\n".join(f"{name}: {value}" for name, value in error.facts.items() if name != "transcript")
        parts = [heading(self._title), paragraph(redact(error.message))]
        if error.fix:
            parts.append(f"<p style='margin:6px 0'><b>What to do:</b> {esc(redact(error.fix))}</p>")
        if error.code == "workspace.not_found":
            parts.append(
                paragraph("Only looking round? Make the demonstration's, a month of made mail:") + code("make demo")
            )
        parts.append(details("Details", code(redact("\n".join(filter(None, (error.code, facts)))))))
        return box("".join(parts), accent="bad", role="alert")

    def text(self) -> str:
        return f"{self._title}: {said(self.error)}"


def tell_by_cards() -> None:
    """In this kernel, show the errors of mailops as cards from now on. Without a kernel nothing is changed."""
    from IPython import get_ipython

    shell: Any = get_ipython()
    if shell is None:
        return

    def shown(shell: Any, kind: type[BaseException], error: Any, trace: Any, tb_offset: Any = None) -> list[str]:
        from IPython.display import display

        if error.code != "run.checks_failed":  # the gate: its checks stand on the page
            display(FailureCard(error))  # type: ignore[no-untyped-call]
        lines = [f"{kind.__name__}: {error}"]
        shell._showtraceback(kind, error, lines)
        return lines

    shell.set_custom_exc((MailopsError,), shown)
