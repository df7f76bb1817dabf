"""Who follows the facts from outside, and how far each is behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..page.theme import esc, heading, html_table, paragraph
from .faces import Card

if TYPE_CHECKING:
    from ..ops import Ops


class FollowersCard(Card):
    """The followers of a workspace, as ``mailops facts list`` prints them."""

    def __init__(self, ops: Ops) -> None:
        self.ops = ops

    def html(self) -> str:
        found = self.ops.followers.all()
        title = heading("Programs that are told what becomes of mails", 3)
        if not found:
            return title + paragraph("None. A program follows with: mailops facts follow NAME")
        rows: list[list[object]] = [
            [esc(one.name), one.at.isoformat(" ", "seconds"), f"{one.behind:,}"] for one in found
        ]
        return title + html_table(["Follower", "Last", "Behind"], rows, caption="Each fact is told once")

    def text(self) -> str:
        found = self.ops.followers.all()
        return "\n".join(f"{one.name}: {one.behind} behind" for one in found) or "Nobody follows the facts."
