# %% [markdown]
# # Programs that send through mailops
# Who hands over how much to `mailops serve`, what of it was refused, how long it took, and what the programs heard of it.

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
since: str = "7d"  # how far back: 7d, 12w, or a date such as 2026-01-31
limit: float = 0.1  # the job fails when a login has more than this share of its recipients refused
seconds: float = 300.0  # a login is slow when 1 of 20 of its mails takes longer than this
loop: bool = False  # also send one mail round each listener (as a job; in the notebook there is a button)

# %%
from mailops import Ops
from mailops.checks import relay as checks
from mailops.widgets import CheckCard, Headline, LiveCheck, NightlyCard, RelayView

ops = Ops.open(workspace or None)
view = RelayView(ops, since=since, loop=loop)

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
# ## Who may hand mail over
# Logins of `mailops serve`: add, change and remove them here or with `mailops serve user`. What stands in `mailops.toml` is
# changed there.

# %%
view.users

# %% [markdown]
# ## What leaves is signed with
# A key waits until its record is published: add it, publish the record, activate it. To change keys add the next one and
# activate that; retire the one before some days later. The notebook `domain_dns` watches until a record is published.

# %%
view.keys

# %% [markdown]
# ## One mail round the loop
# TLS, logins, and a mail through each listener of the settings on a free port (`mailops serve check`); nothing is stored.

# %%
view.loop

# %% [markdown]
# ## Checks

# %%
CheckCard(ops.run.record(checks.refused(view.rows, limit=limit, now=ops.clock.now())))

# %%
CheckCard(ops.run.record(checks.slow(view.rows, seconds=seconds, now=ops.clock.now())))

# %%
LiveCheck(lambda: checks.untold(ops.reports.counts(), now=ops.clock.now()), ops.run.record)

# %%
NightlyCard(ops, "relay", globals())

# %%
ops.run.require_passed()
