# %% [markdown]
# # Limits and schedules
# What may leave when, what runs by itself and whether it does, and what would be if a limit, an interval or a campaign were another.

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
cancel: str = ""  # what if this campaign were cancelled (empty: as it is)
relief_users: int = 5  # so many users read their notifications in the app

# %%
from mailops import Ops
from mailops.checks import campaigns as checks
from mailops.checks import schedules
from mailops.widgets import (
    ActionsView,
    Frame,
    Headline,
    LiveCheck,
    NightlyCard,
    WhatIfCard,
    interval_form,
    watch_sheet,
    what_if_form,
)

ops = Ops.open(workspace or None)

# %%
Headline("Limits", " ".join(f"{one.server}: {one.sentence}" for one in ops.limits.report()) or "There is no server.")

# %%
Frame.of("What each server may still send", ops.limits.frame())

# %%
Headline("Relief", ops.relief(relief_users).sentence)

# %% [markdown]
# ## What if?
# By the queue's own rules on a clock of their own; nothing is changed.

# %%
WhatIfCard(ops.what_if(cancel=[cancel] if cancel else []))

# %%
what_if_form(ops)

# %% [markdown]
# ## What runs by itself
# In Odoo: *Settings → Technical → Automation: Scheduled Actions*.

# %%
ActionsView(ops)

# %%
interval_form(ops)

# %%
watch_sheet(ops.watch_jobs(tell=False))

# %% [markdown]
# ## Checks

# %%
LiveCheck(lambda: schedules.long_enough(ops.scheduled.all(), now=ops.clock.now()), ops.run.record)

# %%
LiveCheck(lambda: schedules.running(ops.watch_jobs(tell=False)), ops.run.record)

# %%
LiveCheck(lambda: checks.held(ops.limits.report(), now=ops.clock.now()), ops.run.record)

# %%
NightlyCard(ops, "limits_and_schedules", globals())

# %%
ops.run.require_passed()
