# %% [markdown]
# # Where is this mail?
# Who had it, who has it as far as it is proven, and the text to send to him; from what mailops knows and from logs of
# Postfix and Odoo that were taken (`mailops logs take /var/log`).

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
asked: str = ""  # a Message-ID, an address, a queue id, or a mail's number
since: str = "7d"  # how far back: 7d, 12w, or a date such as 2026-01-31
logs: str = ""  # also take these log files or folders first, with commas between

# %%
from mailops import Ops
from mailops.checks import logs as checks
from mailops.widgets import Headline, LiveCheck, NightlyCard, TraceView

ops = Ops.open(workspace or None)
paths = [path.strip() for path in logs.split(",") if path.strip()]
taken = ops.logs.take(*paths).says if paths else "No logs were taken in this run."
view = TraceView(ops, asked=asked, since=since)

# %%
Headline("One mail, or the mails of an address", taken)

# %%
view.mails

# %% [markdown]
# ## Incoming mail that was refused
# Its sender has the report, and nothing of it is in the database. So it is counted where it was refused.

# %%
view.refused

# %%
Headline("What to do about it", view.advice)

# %% [markdown]
# ## Who still sends past mailops

# %%
view.outside

# %% [markdown]
# ## Checks

# %%
LiveCheck(lambda: checks.arrived(view.mails.asked, view.mails.journeys, now=ops.clock.now()), ops.run.record)

# %%
LiveCheck(lambda: checks.joined(view.mails.asked, view.mails.journeys, now=ops.clock.now()), ops.run.record)

# %%
NightlyCard(ops, "trace", globals())

# %%
ops.run.require_passed()
