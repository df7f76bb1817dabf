# %% [markdown]
# # Queue
# Which mails wait, which failed and why; *Retry*, *Send Now* and *Cancel Email*, one by one or by filter.

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
state: str = ""  # show only this state: Outgoing, Sent, Delivery Failed or Cancelled
mail: int = 0  # open the mail of this number (0: none)
max_wait_minutes: int = 240  # the job fails when a due mail waits longer
max_failed: int = 1000  # the job fails when more mails stand in Delivery Failed

# %%
from datetime import timedelta

from mailops import Ops
from mailops.checks import queue as checks
from mailops.queue.filters import state_from_label
from mailops.widgets import FollowersCard, Headline, LiveCheck, NightlyCard, QueueView, waits_panel

ops = Ops.open(workspace or None)

# %%
Headline("The queue", "Tick mails (or narrow the list), press an action, read the preview, confirm.")

# %%
QueueView(ops, state=state_from_label(state) if state else None, mail=mail)

# %% [markdown]
# ## Checks

# %%
wait = timedelta(minutes=max_wait_minutes)
LiveCheck(lambda: checks.waiting(ops.queue.health(), now=ops.clock.now(), limit=wait), ops.run.record)

# %%
LiveCheck(
    lambda: checks.failures(
        ops.queue.counts(),
        ops.queue.causes(),
        now=ops.clock.now(),
        limit=max_failed,
        partly=ops.queue.health().partly,
    ),
    ops.run.record,
)

# %% [markdown]
# ## What mail waits for

# %%
waits_panel(ops)

# %%
FollowersCard(ops)

# %% [markdown]
# Unsent mails are in *Settings → Technical → Email: Emails* (developer mode).
#
# ## No mailbox
# A sent mail leaves the queue when it is auto-deleted or vacuumed; its history and all figures stay, and the content of a
# notification lives in the record's thread (red envelopes: notebook `inbox`). There is no CC and no BCC for a thread: followers decide who gets a copy.
# Incoming mail is taken when its *To* is an address of ours, or when its headers reference a message that was sent from
# here; everything else is refused, not parked, and a line with the reason stays in the inbound log (`mailops inbound
# log`). The page `not-a-mailbox.md` of the documentation says the same at more length.

# %%
NightlyCard(ops, "queue", globals())

# %%
ops.run.require_passed()
