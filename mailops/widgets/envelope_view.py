"""The red envelopes: delivery information, *See Error Details*, *Send & close*, *Ignore all*."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InputRefused
from ..page.theme import chip, details, esc, heading, html_table, paragraph
from .faces import Card
from .form import Form
from .panel import Panel

if TYPE_CHECKING:
    from ..ops import Ops
    from ..threads.envelope import Envelope


class EnvelopesCard(Card):
    """Every message whose envelope is red, with a line for each recipient."""

    def __init__(self, ops: Ops) -> None:
        self.ops = ops

    def html(self) -> str:
        found = self.ops.envelopes.red()
        if not found:
            return heading("Red envelopes", 3) + paragraph("✓ No message has a failure.")
        return heading(f"Red envelopes: {len(found)}", 3) + "".join(_html(one) for one in found)

    def text(self) -> str:
        return "\n".join(
            f"Message {one.message}: {x.address or x.contact}: {x.reason}"
            for one in self.ops.envelopes.red()
            for x in one.lines
            if x.failed
        )


def envelopes_panel(ops: Ops) -> Panel:
    """The red envelopes with the form that acts on one: *Try Again* for the addresses named, the others are ignored."""

    def act(values: dict[str, str]) -> Card:
        if not values["message"].isdecimal():
            raise InputRefused("Type the number of a message.", code="input.number", fix="The table above has it.")
        message = int(values["message"])
        wanted = [part.strip() for part in values["again"].split(",") if part.strip()]
        failed = {x.address or x.contact: x.notification for x in ops.envelopes.of(message).lines if x.failed}
        if wanted:
            ops.envelopes.send_and_close(message, [failed[one] for one in wanted if one in failed])
        else:
            ops.envelopes.ignore_all(message)
        return EnvelopesCard(ops)

    form = Form(
        [("message", "Message", ""), ("again", "Try Again", "")],
        act,
        button="Send & close",
        title="Send & close: tries the addresses in Try Again, ignores the others; none there is Ignore all",
    )
    return Panel(EnvelopesCard(ops), form)


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
    return table + more
