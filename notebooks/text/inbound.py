# %% [markdown]
# # Received mail
# What became of each mail that came in, what a delivery report said and changed, and the aliases that make records.

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
decision: str = ""  # show only this decision: create, reply, bounce, refused, no_route

# %%
from mailops import Ops
from mailops.checks import inbound as checks
from mailops.widgets import Headline, InboundView, LiveCheck, NightlyCard

ops = Ops.open(workspace or None)
view = InboundView(ops, decision=decision)

# %%
Headline("What came in", "Each mail with the rule that decided; of a report its kind and its consequence.")

# %%
view.received

# %% [markdown]
# ## Intake
# Every mail that was seen is accounted for: seen = stored + doubled + unreadable. What mailops could not process lies on the
# shelf and stops no other mail.

# %%
view.intake

# %%
view.shelf

# %% [markdown]
# ## Where it is, and why
# Each entry with the rule that brought it to its record. Tick what belongs elsewhere and move it; answers follow.

# %%
view.entries

# %% [markdown]
# ## How mail comes in
# The three methods for this set-up, what is to be redirected, and what is wrong.

# %%
view.methods

# %% [markdown]
# ## Aliases
# An alias makes a record from each new mail. Tick aliases whose records should not come from out-of-office answers, receipts
# and other automatic mail.

# %%
view.aliases

# %% [markdown]
# ## Checks

# %%
LiveCheck(
    lambda: checks.refused([line.code for line in ops.inbound.log(limit=200)[0]], now=ops.clock.now()), ops.run.record
)

# %%
NightlyCard(ops, "inbound", globals())

# %%
ops.run.require_passed()
