# %% [markdown]
# # Connect Mailjet
# A dedicated server for mass mail: keys, senders, DNS and the server itself, each step checked through Mailjet's API.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
domain: str = ""  # the domain that will send (empty: the one last worked on)

# %%
from mailops import Ops
from mailops.guides.service import Guided
from mailops.widgets import GuideView, Panel, guide_cards

ops = Ops.open(workspace or None)
guided = Guided.open(ops, "mailjet", domain)

# %%
GuideView(guided)

# %% [markdown]
# ## How it stands
# As a job this notebook checks what the guide has reached: keys, senders, records and connection.

# %%
Panel(*guide_cards(guided, ops.run.record))

# %%
ops.run.require_passed()
