# %% [markdown]
# # Connect Microsoft 365
# From an empty console to a mailbox that sends and receives, step by step; each step says what to do and checks itself.

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
mailbox: str = ""  # the mailbox to connect (empty: the one last worked on)
practice: bool = False  # walk the guide against a sandbox instead of the provider; nothing leaves this machine
registered: str = ""  # practice: the redirect address that the console begins with, to try what a wrong one does
behaves: str = "healthy"  # practice: how the mailbox behaves, such as smtp-auth-off

# %%
from contextlib import ExitStack

from mailops import Ops
from mailops.guides.service import Guided
from mailops.widgets import GuideView, NightlyCard, Standing

ops = Ops.open(workspace or None)
open_things = ExitStack()
if practice:
    from mailops.demo.practice import Practice

    person = mailbox or "ann@example.com"
    world = open_things.enter_context(Practice(ops, "outlook", person, registered=registered, scenario=behaves))
    guided, console = world.guided(), world.console_url
else:
    guided, console = Guided.open(ops, "azure", mailbox), ""

# %%
GuideView(guided, console_url=console)

# %% [markdown]
# ## How it stands
# As a job this notebook checks what the guide has reached: token, connection and mailbox.

# %%
Standing(guided, ops.run.record)

# %%
NightlyCard(ops, "connect_microsoft365", globals())

# %%
ops.run.require_passed()
