# %% [markdown]
# # Start here
# What this workspace is, how its mail stands, and which notebook answers which question.

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
backup_to: str = ""  # also write a backup of the store to this new file
dns: bool = True  # look at the own domains, for some seconds at most

# %%
from datetime import timedelta

from mailops import Ops
from mailops.checks import queue as checks
from mailops.checks.ready import ready
from mailops.checks.services import services
from mailops.widgets import Headline, LiveCheck, NightlyCard, PlanCard, QueueView, ReadinessCard, notebook_list

ops = Ops.open(workspace or None)

# %%
Headline("How your mail stands", f"Workspace {ops.workspace.path.name}: figures as of now; run again to refresh.")

# %%
QueueView(ops).tiles()

# %% [markdown]
# ## Checks

# %%
LiveCheck(lambda: checks.plan(ops.findings(), now=ops.clock.now()), ops.run.record)

# %%
LiveCheck(lambda: checks.waiting(ops.queue.health(), now=ops.clock.now(), limit=timedelta(hours=4)), ops.run.record)

# %%
LiveCheck(lambda: services(ops.status()), ops.run.record)

# %% [markdown]
# ## Is it ready?
# The notebook `setup` has the forms.

# %%
LiveCheck(lambda: ready(ops.readiness(dns=dns), now=ops.clock.now()), ops.run.record)

# %%
ReadinessCard(ops, dns=False)

# %% [markdown]
# ## Outgoing servers, in the order they are asked

# %%
PlanCard(ops)

# %% [markdown]
# ## Backup

# %%
how = "Set backup_to to a new file, or run: mailops backup FILE. It may be taken while everything runs."
Headline("Backup", f"Written and checked: {ops.backup(backup_to).sentence}." if backup_to else how)

# %% [markdown]
# ## Which notebook answers what

# %%
notebook_list()

# %%
NightlyCard(ops, "start_here", globals())

# %%
ops.run.require_passed()
