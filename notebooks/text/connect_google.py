# %% [markdown]
# # Connect Gmail
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


def for_real():
    return Guided.open(ops, "google", mailbox), ""


def rehearse():
    from mailops.demo.practice import Practice

    person = mailbox or "ann@example.com"
    world = open_things.enter_context(Practice(ops, "gmail", person, registered=registered, scenario=behaves))
    return world.guided(), world.console_url


guided, console = rehearse() if practice else for_real()

# %%
view = GuideView(guided, console_url=console, switch=for_real if practice else rehearse)
view

# %% [markdown]
# ## How it stands
# As a job this notebook checks what the guide has reached: token, connection and mailbox.

# %%
Standing(guided, ops.run.record, beside=view)

# %%
NightlyCard(ops, "connect_google", globals())

# %%
ops.run.require_passed()
