# %% [markdown]
# # Connect Mailjet
# A dedicated server for mass mail: keys, senders, DNS and the server itself, each step checked through Mailjet's API.

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
domain: str = ""  # the domain that will send (empty: the one last worked on)
practice: bool = False  # against a stand-in on this machine: no account is needed, no real mail leaves

# %%
from contextlib import ExitStack

from mailops import Ops
from mailops.guides.service import Guided
from mailops.widgets import GuideView, NightlyCard, Standing

ops = Ops.open(workspace or None)
open_things = ExitStack()


def for_real():
    return Guided.open(ops, "mailjet", domain), ""


def rehearse():
    from mailops.demo.practice_mailjet import MailjetPractice

    world = open_things.enter_context(MailjetPractice(ops, domain or "acme.example"))
    return world.guided(), world.console_url


guided, console = rehearse() if practice else for_real()

# %%
view = GuideView(guided, console_url=console, switch=for_real if practice else rehearse)
view

# %% [markdown]
# ## How it stands
# As a job this notebook checks what the guide has reached: keys, senders, records and connection.

# %%
Standing(guided, ops.run.record, beside=view)

# %%
NightlyCard(ops, "connect_mailjet", globals())

# %%
ops.run.require_passed()
