# %% [markdown]
# # Bounces
# Why did this fail? Causes, every report down to its raw text, the suppression list with *Undo*, and what today's rules
# judge otherwise.

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
since: str = "30d"  # how far back causes are counted: 30d, 12w, or a date such as 2026-01-31

# %%
from mailops import Ops
from mailops.checks import bounces as checks
from mailops.widgets import BouncesView, Headline, LiveCheck, NightlyCard

ops = Ops.open(workspace or None)
view = BouncesView(ops, since=since)

# %%
Headline("What came back", "Hard: the address is dead. Soft: try later. Every judgement carries its rule and text.")

# %%
view.causes

# %%
view.reports

# %% [markdown]
# ## The suppression list
# Hard bounces and complaints enter at once, soft ones after five within 13 weeks spread over more than a week. They get
# no campaigns; day-to-day mail still goes out.

# %%
view.suppressed

# %% [markdown]
# ## When a rule improves

# %%
view.rules

# %% [markdown]
# ## Checks


# %%
def unmatched():
    reports = ops.bounces.recent()
    return checks.unmatched(len(reports), int(reports["mail_id"].notna().sum()), now=ops.clock.now())


LiveCheck(unmatched, ops.run.record)


# %%
def rules():
    changes = view.rules.changes
    coming_off = sum(change.effect == "unsuppress" for change in changes)
    return checks.rules(len(changes), coming_off, now=ops.clock.now())


LiveCheck(rules, ops.run.record)

# %%
LiveCheck(lambda: checks.return_paths(ops.return_paths.state(), now=ops.clock.now()), ops.run.record)

# %% [markdown]
# No reason given? It is shown as *no error*, and is a failure all the same; some providers give none, by their own
# policy. SPF or DKIM is the most common cause: the notebook `bounce_rate` runs the sender's DNS report beside such
# failures, and names addresses and domains that keep failing. A report's *For a web search* holds its error without
# addresses and ids; if that does not help, `mailops bounces collect` puts together what support needs.

# %%
NightlyCard(ops, "bounces", globals())

# %%
ops.run.require_passed()
