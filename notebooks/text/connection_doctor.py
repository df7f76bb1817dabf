# %% [markdown]
# # Connection doctor
# Where a connection breaks, from the server's name to a mail that went out and came back, and who has to act.

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
server: str = ""  # look at this outgoing server only (its key); empty: every active one that signs in by OAuth
test_mail: bool = False  # also send a mail to the mailbox itself, and look for it

# %%
from mailops import Ops
from mailops.widgets import DoctorView, ErrorCard, Headline, NightlyCard, ends_cards

ops = Ops.open(workspace or None)

# %%
Headline("Connection doctor", "Each rung stands on the one before; the first that breaks is the one to mend.")

# %%
DoctorView(ops, server=server, test_mail=test_mail, record=ops.run.record)

# %% [markdown]
# ## An error that you saw
# A sign-in page, a token, a mail server or a report that came back: paste what it says. `mailops explain error` says the same.

# %%
ErrorCard(ops)

# %% [markdown]
# ## What ends when
# Client secrets, certificates and sign-ins end at a date; `mailops calendar --ics` puts the dates into a calendar.

# %%
ends_cards(ops, ops.run.record)

# %%
NightlyCard(ops, "connection_doctor", globals())

# %%
ops.run.require_passed()
