# %% [markdown]
# # Set-up
# Hosting, companies, alias domains, aliases, outgoing servers and parameters, and what is left to do until mail works
# both ways. A field that is left empty stays as it is; a change that touches mail already out is shown first.

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
dns: bool = True  # look at the own domains, for some seconds at most

# %%
from mailops import Ops
from mailops.checks import queue as checks
from mailops.checks.ready import ready
from mailops.widgets import Headline, InboxView, LiveCheck, NightlyCard, ServersView, SetupView

ops = Ops.open(workspace or None)
view = SetupView(ops, dns=dns)

# %%
Headline("Set-up", f"Workspace {ops.workspace.path.name}")

# %% [markdown]
# ## What is left to do

# %%
view.path

# %%
LiveCheck(lambda: ready(ops.readiness(dns=dns), now=ops.clock.now()), ops.run.record)

# %% [markdown]
# ## Hosting

# %%
view.hosting

# %% [markdown]
# ## Companies and alias domains

# %%
view.companies

# %%
view.domains

# %% [markdown]
# ## Aliases

# %%
view.aliases

# %% [markdown]
# ## Outgoing servers
# *Test Connection* and a real test mail are below; a passed test does not prove that mail goes out.

# %%
view.servers

# %%
view.plans

# %%
view.senders

# %%
ServersView(ops)

# %% [markdown]
# ## System Parameters

# %%
view.parameters

# %%
LiveCheck(lambda: checks.plan(ops.findings(), now=ops.clock.now()), ops.run.record)

# %% [markdown]
# ## What came in
# Answers are taken in by `mailops inbound receive`; the log tells what became of each.

# %%
InboxView(ops).received

# %%
NightlyCard(ops, "setup", globals())

# %%
ops.run.require_passed()
