# %% [markdown]
# # Inbox
# What came in and where it is: threads with their envelopes, each mail with the rule that decided, and the shelf.

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
record: int = 0  # open this record's thread
decision: str = ""  # show only this decision: create, reply, bounce, refused, no_route
asked: str = ""  # trace this: a Message-ID, an address, a queue id, or a mail's number
since: str = "7d"  # how far back the trace of an address looks: 7d, 12w, or a date such as 2026-01-31

# %%
from mailops import Ops
from mailops.checks import inbound as checks
from mailops.widgets import Headline, InboxView, LiveCheck, NightlyCard

ops = Ops.open(workspace or None)
view = InboxView(ops, record=record, decision=decision, asked=asked, since=since)

# %%
Headline("Threads", "A record for each matter; its thread holds what was written, by mail or here.")

# %%
view.threads

# %%
view.envelopes

# %% [markdown]
# ## Where it is, and why
# Each entry with the rule that brought it to its record. Tick what belongs elsewhere and move it; answers follow.

# %%
view.entries

# %% [markdown]
# ## What came in
# Each mail with the rule that decided; of a report its kind and its consequence. Every mail that was seen is accounted for:
# seen = stored + doubled + unreadable.

# %%
view.received

# %%
view.intake

# %% [markdown]
# ## Shelf
# What mailops could not process is kept here and stops no other mail.

# %%
view.shelf

# %% [markdown]
# ## Where would this go?

# %%
view.where

# %% [markdown]
# ## Where is it?
# One mail in the line of its holders, out and in.

# %%
view.trace

# %% [markdown]
# ## Checks

# %%
LiveCheck(
    lambda: checks.refused([line.code for line in ops.inbound.log(limit=200)[0]], now=ops.clock.now()), ops.run.record
)

# %%
NightlyCard(ops, "inbox", globals())

# %%
ops.run.require_passed()
