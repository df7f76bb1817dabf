"""The step of the demonstration that asks support: a bundle about the last mail that was refused, judged again."""

from __future__ import annotations

from ..model.states import MailState
from ..model.text import counted
from ..ops import Ops
from ..queue.filters import QueueFilter
from ..support.service import recheck

FILE = "support-demo.zip"


def ask_support(ops: Ops) -> list[str]:
    """Make a bundle in the workspace's folder; what came of it, a line each."""
    failed = ops.queue.page(QueueFilter(state=MailState.FAILED), limit=1).mails
    if not failed:
        return ["No mail failed, so there is nothing to ask support."]
    made = ops.support.bundle(mail=failed[0].id, seconds=5.0)
    path = ops.workspace.path / FILE
    path.unlink(missing_ok=True)
    made.write(path)
    again = recheck(path)
    same = sum(one.same for one in again)
    return [
        f"A bundle for support about mail {failed[0].id} ({FILE}): {made.says}",
        f"Judged again from the zip alone: {same} of {counted(len(again), 'verdict')} the same.",
    ]
