# %% [markdown]
# # Somebody's data
# Everything that is kept of one address, as a file to hand out; forgetting it; and how long each kind is kept anyway.

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
address: str = ""  # whose data: name@example.com

# %%
from mailops import Ops
from mailops.checks import people as checks
from mailops.widgets import Headline, LiveCheck, NightlyCard, PersonView

ops = Ops.open(workspace or None)
view = PersonView(ops, address=address)

# %%
Headline("What is kept", "Mails, reports, threads, suppressions and pages of runs that name the address.")

# %%
view.kept

# %% [markdown]
# ## How long it is kept
# *Auto-Vacuum* ends each kind after so many days. The settings are `[retention]` in `mailops.toml`.

# %%
view.retention

# %% [markdown]
# ## Checks

# %%
LiveCheck(lambda: checks.retention(ops.overdue(), now=ops.clock.now()), ops.run.record)

# %%
NightlyCard(ops, "person", globals())

# %%
ops.run.require_passed()
