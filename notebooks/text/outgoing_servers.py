# %% [markdown]
# # Outgoing servers
# Which server carries whose mail, why, and whether it really takes it.

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
sender: str = ""  # explain this From
recipient: str = ""  # fills in the form for a real test mail
test_connections: bool = True  # run Test Connection on every active server

# %%
from mailops import Ops
from mailops.checks import queue as checks
from mailops.widgets import Headline, LiveCheck, NightlyCard, RouteCard, ServersView

ops = Ops.open(workspace or None)
view = ServersView(ops, sender=sender, recipient=recipient)

# %%
Headline("Outgoing servers", "A mail asks the filters in this order: full address, domain, notification address, none.")

# %%
LiveCheck(lambda: checks.plan(ops.findings(), now=ops.clock.now()), ops.run.record)

# %%
if test_connections:
    view.test_all()
view

# %% [markdown]
# ## Explain a From

# %%
RouteCard(ops.explain(sender=sender or None))

# %%
NightlyCard(ops, "outgoing_servers", globals())

# %%
ops.run.require_passed()
