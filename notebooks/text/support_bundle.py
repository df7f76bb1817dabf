# %% [markdown]
# # Ask support, without giving names away
# One case in one zip that opens anywhere: the mail, its way, causes, set-up, DNS, and answers to support's questions. Addresses,
# domains, tokens and secrets have stand-ins; the key stays in the workspace (`mailops support translate`).

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
mail: int = 0  # the mail's number in the queue
file: str = ""  # or the mail as a file: .eml, or .msg from Outlook
record: str = ""  # or, of mail that went out, the order, contact or invoice
sent_at: str = ""  # and when it was sent, with the zone: 2024-01-10 11:45 Europe/Berlin

# %%
from mailops import Ops
from mailops.checks import support as checks
from mailops.widgets import Headline, LiveCheck, NightlyCard, SupportView

ops = Ops.open(workspace or None)
view = SupportView(ops, mail=mail, file=file, record=record, sent_at=sent_at)

# %%
Headline("One case", "Name the mail, look at the answers, add what you know, then make the bundle: it is shown first.")

# %%
view.case

# %% [markdown]
# ## The mail as a file
# Support needs the original. A forwarded copy has only part of it: ask the sender for the file.

# %%
view.exports

# %% [markdown]
# ## When to ask
# Three or more failures of one address or domain in seven days that nobody explains.

# %%
view.suggested

# %% [markdown]
# ## Checks

# %%
LiveCheck(lambda: checks.unexplained(ops.support.suggested(), now=ops.clock.now()), ops.run.record)

# %%
NightlyCard(ops, "support_bundle", globals())

# %%
ops.run.require_passed()
