"""A case for support, on a page: which mail, the questions with what is known, a look at the bundle, and the zip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets

from ..model.text import counted
from ..page.theme import esc
from ..support.questions import EXPORTS, QUESTIONS, Answer
from .actions import Action, Actions, Preview
from .controls import narrow
from .rates_view import Frame
from .table import Column, Rows, Table, TableCard

if TYPE_CHECKING:
    from ..ops import Ops

ASKED = (
    Column("key", ""),
    Column("question", "What support asks", kind="long"),
    Column("answer", "Answer", kind="long"),
    Column("evidence", "Evidence", kind="long"),
)
WHICH = {
    "Mail number": "42",
    "or file": "original.eml, or .msg from Outlook",
    "or record": "S00042, a contact, an invoice",
    "sent at": "2024-01-10 11:45 Europe/Berlin",
}
NOTHING = "Name a mail above: its number, a file, or a record and when it was sent, with the zone."


class SupportView:
    """The parts of the notebook *support_bundle*, for one workspace."""

    def __init__(self, ops: Ops, *, mail: int = 0, file: str = "", record: str = "", sent_at: str = "") -> None:
        self.case = CaseCard(ops, mail, file, record, sent_at)
        self.suggested = Frame(
            "When to ask",
            ["Address or domain", "Failures in 7 days", "Command"],
            [[esc(one.name), f"{one.count:,}", f"<code>{esc(one.command)}</code>"] for one in ops.support.suggested()],
            raw=True,
        )
        self.exports = Frame(
            "A mail as a file", ["Program", "How"], [[one.program, " ".join(one.steps)] for one in EXPORTS]
        )


class CaseCard(TableCard):
    """One case: its questions, answers of one's own, and the button that makes the bundle."""

    def __init__(self, ops: Ops, mail: int, file: str, record: str, sent_at: str) -> None:
        self.ops = ops
        self.mail, self.file, self.record, self.sent_at = mail, file.strip(), record.strip(), sent_at.strip()
        self.answers: dict[str, str] = {}
        self.table = Table(ASKED, self._page, caption="What support asks", empty=NOTHING, limit=len(QUESTIONS))
        self.actions = Actions([Action("Make bundle", self._preview)])

    @property
    def named(self) -> bool:
        """Whether a mail is named."""
        return bool(self.mail or self.file or self.record)

    def _known(self) -> tuple[Answer, ...]:
        if not self.named:
            return ()
        return self.ops.support.questions(
            mail=self.mail or None, file=self.file or None, record=self.record, at=self.sent_at
        )

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        rows = [
            {
                "id": number,
                "key": one.key,
                "question": one.question,
                "answer": self.answers.get(one.key) or one.answer or "not answered yet",
                "evidence": "; ".join(one.evidence),
            }
            for number, one in enumerate(self._known(), start=1)
        ]
        return Rows(rows[offset : offset + limit], len(rows))

    def _which(self, mail: str, file: str, record: str, sent_at: str) -> None:
        self.mail = int(mail) if mail.isdigit() and len(mail) < 18 else 0
        self.file, self.record, self.sent_at = file, record, sent_at
        self.table.reload(first=True)

    def _answered(self, *told: str) -> None:
        self.answers = {one.key: text for one, text in zip(QUESTIONS, told, strict=True) if text}
        self.table.reload(first=True)

    def _preview(self) -> Preview:
        if not self.named:
            return Preview(NOTHING)
        made = self.ops.support.bundle(
            mail=self.mail or None,
            file=self.file or None,
            record=self.record,
            at=self.sent_at,
            answers=self.answers,
        )
        path = _free(self.ops.workspace.path)
        shown = [f"{name}: {counted(len(data), 'byte')}" for name, data in made.files.items()]
        shown += [f"left out: a part of type {part}" for part in made.removed]
        shown += [f"still open: {question}" for question in made.open_questions]

        def run(say: Callable[[str], None]) -> str:
            made.write(path)
            return f"Written to {path.name} in the workspace's folder; open index.html in it. The key stays here."

        warned = "".join(f" {warning}" for warning in made.warnings)
        words = f"{path.name}: {made.says} A second scan found no address, token or secret in it.{warned}"
        return Preview(words, tuple(shown), run)

    def build(self) -> ipywidgets.Widget:
        which = narrow(self._which, WHICH, {})
        for control, value in zip(
            which.children, (str(self.mail or ""), self.file, self.record, self.sent_at), strict=True
        ):
            control.value = value
        own = narrow(self._answered, {one.key: one.text for one in QUESTIONS}, {})
        return ipywidgets.VBox([which, self.table.widget, own, self.actions.widget])


def _free(folder: Path) -> Path:
    """A name that no file has yet."""
    number = 1
    while (folder / f"support-{number}.zip").exists():
        number += 1
    return folder / f"support-{number}.zip"
