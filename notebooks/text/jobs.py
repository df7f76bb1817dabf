# %% [markdown]
# # Jobs
# Which notebooks run by a schedule, how did each end last, and who hears of it when one fails?

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)

# %%
from mailops import Ops
from mailops.checks.jobs import jobs
from mailops.widgets import AlertsCard, Headline, JobsView, LiveCheck, NightlyCard

ops = Ops.open(workspace or None)

# %%
Headline("Jobs", "Any notebook becomes one by its last card, or by: mailops jobs add NOTEBOOK --every 1d")

# %%
LiveCheck(lambda: jobs(ops.jobs.last(), now=ops.clock.now()), ops.run.record)

# %%
JobsView(ops)

# %%
AlertsCard(ops)

# %%
NightlyCard(ops, "jobs", globals())

# %%
ops.run.require_passed()
