# %% [markdown]
# # Campaigns and limits
# Which campaign leaves now and which waits for what, what each server may still send, and when what waits will leave.

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
campaign: str = ""  # also list who was set aside from this one
stuck_hours: float = 24.0  # the job fails when the campaign at the head made no progress for longer than this

# %%
from mailops import Ops
from mailops.checks import campaigns as checks
from mailops.widgets import Frame, Headline, LiveCheck, NightlyCard, campaigns_panel

ops = Ops.open(workspace or None)
servers = ops.limits.report()

# %%
campaigns_panel(ops)

# %%
Headline(
    "Set aside", f"From campaign {campaign}." if campaign else "Name a campaign to see who was set aside, and why."
)

# %%
Frame.of("Set aside", ops.campaigns.aside(campaign))

# %% [markdown]
# ## Limits
# Windows are shared by all processes and kept over restarts. `mailops limits set` sets one of your own.

# %%
Headline("Servers", " ".join(f"{one.server}: {one.sentence}" for one in servers) or "There is no outgoing server.")

# %%
Frame.of("What each server may still send", ops.limits.frame())

# %% [markdown]
# ## Checks

# %%
LiveCheck(lambda: checks.moving(ops.campaigns.blocking(), hours=stuck_hours, now=ops.clock.now()), ops.run.record)

# %%
LiveCheck(lambda: checks.held(ops.limits.report(), now=ops.clock.now()), ops.run.record)

# %%
NightlyCard(ops, "campaigns", globals())

# %%
ops.run.require_passed()
