# %% [markdown]
# # Bounce rate
# Which share of your mail comes back, from where and why, since when, and whether that is more than chance.

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
since: str = "30d"  # how far back: 30d, 12w, or a date such as 2026-01-31
by: str = "domain"  # group by domain, provider, server, sender, class, campaign or reason
limit: float = 0.05  # the job fails when surely more than this share of the addresses sent mail back
export: str = ""  # also write the figures into the workspace's folder exports: csv or parquet

# %%
from mailops import Ops
from mailops.checks import rates
from mailops.widgets import CheckCard, Headline, MetricsCard, NightlyCard, RatesView

ops = Ops.open(workspace or None)
view = RatesView(ops, since=since, by=by)

# %%
Headline("Bounce rate", "Returned = refused at once, or accepted and sent back later; with 95 % intervals.")

# %%
CheckCard(ops.run.record(rates.bounce_rate(view.addresses, since=since, limit=limit, now=ops.clock.now())))

# %%
CheckCard(ops.run.record(rates.hard_bounces(view.hard, since=since, now=ops.clock.now())))

# %%
view.tiles()

# %% [markdown]
# ## What changed

# %%
ops.run.record(rates.jump(view.jump, since=since, now=ops.clock.now()))
view.notice()

# %%
found = ops.analysis.incidents(since)
CheckCard(ops.run.record(rates.incidents(found, since=since, now=ops.clock.now(), enough=view.jump.enough)))

# %% [markdown]
# A bounce counts on the day its mail was sent; mail of the last days may still come back.

# %%
view.trend("day")

# %%
view.trend("week")

# %%
view.days()

# %% [markdown]
# ## Where from, and why

# %%
view.chart()

# %%
view.groups()

# %%
view.causes()

# %%
MetricsCard(ops)

# %% [markdown]
# ## Failures without a reason

# %%
ops.run.record(view.unexplained.verdict())
view.unexplained

# %% [markdown]
# ## The figures as files

# %%
view.export(export)

# %%
NightlyCard(ops, "bounce_rate", globals())

# %%
ops.run.require_passed()
