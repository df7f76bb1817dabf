# %% [markdown]
# # Programs that send through mailops
# Who hands over how much to `mailops serve`, what of it was refused, how long it took, and what the programs heard of it.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
since: str = "7d"  # how far back: 7d, 12w, or a date such as 2026-01-31
limit: float = 0.1  # the job fails when a login has more than this share of its recipients refused
seconds: float = 300.0  # a login is slow when 1 of 20 of its mails takes longer than this

# %%
from mailops import Ops
from mailops.checks import relay as checks
from mailops.widgets import CheckCard, Headline, RelayView

ops = Ops.open(workspace or None)
view = RelayView(ops, since=since)

# %%
Headline("Programs", "By login: handed over, delivered, refused, waiting; seconds from the 250 to the delivery.")

# %%
view.logins

# %% [markdown]
# ## What submitters heard
# A report goes to the envelope sender of a mail that did not arrive; where none went, the reason stands here.

# %%
view.told

# %% [markdown]
# ## Checks

# %%
CheckCard(ops.run.record(checks.refused(view.rows, limit=limit, now=ops.clock.now())))

# %%
CheckCard(ops.run.record(checks.slow(view.rows, seconds=seconds, now=ops.clock.now())))

# %%
CheckCard(ops.run.record(checks.untold(ops.reports.counts(), now=ops.clock.now())))

# %%
ops.run.require_passed()
