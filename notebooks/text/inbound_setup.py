# %% [markdown]
# # Mail comes in
# Choose a method, connect mailboxes, make aliases, and send a mail round to see that all of it works.

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
dns: bool = False  # ask for the mail servers of the own domains
probe: bool = False  # also send a probe round (as a job; in the notebook there is a button)
seconds: float = 120.0  # how long a probe waits

# %%
from mailops import Ops
from mailops.widgets import Headline, InboundSetupView, NightlyCard

ops = Ops.open(workspace or None)
view = InboundSetupView(ops, dns=dns, probe=probe, seconds=seconds)

# %%
Headline("1. The method", "What speaks for and against each here, what is to be redirected, and what is wrong.")

# %%
view.methods

# %%
view.redirections

# %% [markdown]
# ## 2. Mailboxes
# For incoming mail servers. A mailbox is a draft until *Test & Confirm* has passed; `mailops serve` watches it from then on.
# *Protocol* is imap or pop3, *Encryption* tls, starttls or none; *Password* a reference such as env:NAME, or oauth, where it is not
# typed into the field above it; *Makes* the kind of record for mail that no alias takes.

# %%
view.mailboxes

# %%
view.standing

# %%
view.mailbox

# %% [markdown]
# ## 3. Aliases
# An alias makes a record from each new mail. Tick aliases whose records should not come from out-of-office answers, receipts
# and other automatic mail.

# %%
view.aliases

# %% [markdown]
# ## 4. One mail round
# It goes out, its answer and its bounce come back (`mailops inbound probe`). By a schedule: `mailops jobs add inbound_setup -p
# probe=true --every 1h`.

# %%
view.probe

# %%
NightlyCard(ops, "inbound_setup", globals())

# %%
ops.run.require_passed()
