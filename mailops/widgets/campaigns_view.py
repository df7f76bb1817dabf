"""Campaigns as a page that acts: the list, who is at the head and why, and forms for what ``mailops campaign`` does.

Each press asks ``Ops.campaigns`` what the commands ask; *Send* and *Schedule* say first what the commands say before
they ask, and act where the box was filled in a second time with *yes*.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..campaigns.values import Standing, Status
from ..errors import InputRefused
from ..model.text import counted
from ..page.theme import heading, html_table, paragraph
from ..queue.submit import parse_when
from .faces import Card
from .form import Form
from .panel import Panel

if TYPE_CHECKING:
    from ..ops import Ops

Values = dict[str, str]
_NEW = [
    ("key", "Key", ""), ("sender", "From", ""), ("subject", "Subject", ""), ("text", "Text", ""),
    ("recipients", "List (a CSV file)", ""), ("query", "or a SELECT", ""), ("server", "Server", ""),
]  # fmt: skip
_SEND = [("key", "Campaign", ""), ("at", "At (empty: now)", ""), ("sure", "Really (yes)", "")]
TITLES = {"Finish Without the Held": "Finish a campaign without the held"}
ACTS = ("Cancel", "Pause", "Resume", "Finish Without the Held")


class Overview(Card):
    """Which campaign is at the head and what it waits for, and all of them in the order in which they leave."""

    header = ("Key", "State", "Recipients", "Waiting", "Sent", "Failed", "Waits for")

    def __init__(self, ops: Ops) -> None:
        self.ops = ops

    def _rows(self) -> list[list[object]]:
        return [
            [one.key, "Paused" if one.paused else one.state.label.replace(" ", "\u00a0"), one.total,
             one.counts[Standing.WAITING], one.counts[Standing.SENT], one.counts[Standing.FAILED], one.waits_for or ""]
            for one in self.ops.campaigns.all()
        ]  # fmt: skip

    def html(self) -> str:
        rows = self._rows()
        table = html_table(list(self.header), rows) if rows else ""
        return heading("Campaigns, oldest first", 2) + paragraph(self.ops.campaigns.blocking().sentence) + table

    def text(self) -> str:
        lines = [" | ".join(map(str, row)) for row in self._rows()]
        return "\n".join(["Campaigns, oldest first", self.ops.campaigns.blocking().sentence, *lines])


def campaigns_panel(ops: Ops) -> Panel:
    """The campaigns, oldest first, with the one that the others wait for; forms to make, send, schedule, cancel, pause,
    resume and finish one."""

    overview = Overview(ops)

    def told(made: Status) -> str:
        overview.refresh()
        lines = [f"Campaign {made.key}: {'paused' if made.paused else made.state.label}.", made.notice, *made.notes]
        return " ".join(line for line in lines if line)

    def create(values: Values) -> str:
        if bool(values["recipients"]) == bool(values["query"]):
            raise InputRefused(
                "The campaign needs one list.",
                code="campaign.list",
                fix="Name a CSV file, or write a SELECT: not both.",
            )
        rows = ops.recipients_by(values["query"]) if values["query"] else Path(values["recipients"]).expanduser()
        return told(
            ops.campaigns.create(
                values["key"], sender=values["sender"], subject=values["subject"], text=values["text"] or None,
                recipients=rows, server=values["server"] or None,
            )
        )  # fmt: skip

    def send(values: Values) -> str:
        key, at = values["key"], parse_when(values["at"]) if values["at"] else None
        if values["sure"].lower() != "yes":
            return _before(ops, key, f"Send it at {at:%Y-%m-%d %H:%M} UTC" if at else "Send it")
        return told(ops.campaigns.schedule(key, at) if at else ops.campaigns.send(key))

    def act(name: str) -> Form:
        work = {"Cancel": ops.campaigns.cancel, "Pause": ops.campaigns.pause, "Resume": ops.campaigns.resume}

        def done(values: Values) -> str:
            return told(work.get(name, ops.campaigns.finish)(values["key"]))

        return Form([("key", "Campaign", "")], done, button=name, title=TITLES.get(name, f"{name} a campaign"))

    return Panel(
        overview,
        Form(
            _NEW, create, button="Create", title="A new campaign: checked row by row, nothing is sent", long=("text",)
        ),
        Form(_SEND, send, button="Send", title="Send or schedule a campaign"),
        *map(act, ACTS),
    )


def _before(ops: Ops, key: str, what: str) -> str:
    """What is to be known before, and what to write."""
    waiting = ops.campaigns.status(key).counts[Standing.WAITING]
    return " ".join([*ops.before_sending(key), f"{what}, to {counted(waiting, 'recipient')}? Then write yes."])
