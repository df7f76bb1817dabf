# %% [markdown]
# # Queue
# Which mails wait, which failed and why; *Retry*, *Send Now* and *Cancel Email*, one by one or by filter.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
state: str = ""  # show only this state: Outgoing, Sent, Delivery Failed or Cancelled
max_wait_minutes: int = 240  # the job fails when a due mail waits longer
max_failed: int = 1000  # the job fails when more mails stand in Delivery Failed

# %%
from datetime import timedelta

from mailops import Ops
from mailops.checks import queue as checks
from mailops.queue.filters import state_from_label
from mailops.widgets import CheckCard, Headline, QueueView

ops = Ops.open(workspace or None)

# %%
Headline("The queue", "Tick mails (or narrow the list), press an action, read the preview, confirm.")

# %%
QueueView(ops, state=state_from_label(state) if state else None)

# %% [markdown]
# ## Checks

# %%
CheckCard(
    ops.run.record(checks.waiting(ops.queue.health(), now=ops.clock.now(), limit=timedelta(minutes=max_wait_minutes)))
)

# %%
CheckCard(
    ops.run.record(checks.failures(ops.queue.counts(), ops.queue.causes(), now=ops.clock.now(), limit=max_failed))
)

# %% [markdown]
# A sent mail leaves the queue when it is auto-deleted or vacuumed; its history and all figures stay. This is a queue
# and no mailbox: followers decide who gets a copy, and what is not addressed to an alias, and answers nothing, is
# refused and not kept ([docs/not-a-mailbox.md](../docs/not-a-mailbox.md) tells more).

# %%
ops.run.require_passed()
