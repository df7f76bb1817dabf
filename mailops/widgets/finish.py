"""The end of a guide: what was set up, a mail to yourself as the proof, a nightly look, and the next guide.

After practice no mail is sent: a sandbox took what was sent there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets

from ..guides.service import PRACTICE, Guided
from ..page.theme import box, heading, paragraph
from .faces import Card
from .form import Form
from .jobs_view import NightlyCard
from .servers_view import send_test
from .ways import link_to

if TYPE_CHECKING:
    from ..ops import Ops

NOTEBOOKS = {
    "azure": ("connect_microsoft365", "Connect Microsoft 365"),
    "google": ("connect_google", "Connect Gmail"),
    "mailjet": ("connect_mailjet", "Connect Mailjet"),
}


class FinishCard(Card):
    """What to do when all steps of a guide have passed."""

    def __init__(self, guided: Guided, *, rehearsed: bool = False) -> None:
        self.guided, self.rehearsed = guided, rehearsed
        self.ops: Ops = guided.ops
        self.subject = guided.run.store.subject.removeprefix(PRACTICE)
        mailbox = self.subject if "@" in self.subject else ""
        self.test = Form(
            [("sender", "From", mailbox), ("to", "To", mailbox)],
            lambda values: send_test(self.ops, values["sender"], values["to"]),
            button="Send a test mail to yourself",
            title="A mail to yourself: only its arrival proves that mail goes out",
        )
        name = NOTEBOOKS[guided.run.guide.id][0]
        key = "mailbox" if mailbox else "domain"
        self.nightly = NightlyCard(self.ops, name, {key: self.subject})

    def _next(self) -> str:
        own = self.guided.run.guide.id
        others = [link_to(*NOTEBOOKS[one]) for one in NOTEBOOKS if one != own]
        others.append(link_to("connection_doctor", "What ends when (connection doctor)"))
        return "Next: " + " · ".join(others)

    def _said(self) -> str:
        if self.rehearsed:
            return "You have walked the whole guide in practice; nothing of it left this machine. Now do it for real."
        server = next((s for s in self.ops.setup.servers if s.login and s.login == self.subject), None)
        through = f" Mail with this From leaves through {server.name} ({server.host})." if server else ""
        return f"{self.guided.run.guide.title} is set up for {self.subject}.{through}"

    def html(self) -> str:
        inner = heading("Done") + paragraph(self._said()) + f'<p style="margin:6px 0">{self._next()}</p>'
        return box(inner, accent="good", role="status")

    def text(self) -> str:
        return f"Done. {self._said()}"

    def build(self) -> ipywidgets.Widget:
        shown = ipywidgets.HTML(self.html())
        if self.rehearsed:
            return shown
        return ipywidgets.VBox([shown, self.test.widget, self.nightly.widget])
