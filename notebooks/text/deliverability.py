# %% [markdown]
# # Deliverability
# Does your mail arrive, who refuses it and why, and what of that is yours to mend?

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
since: str = "30d"  # how far back: 30d, 12w, or a date such as 2026-01-31
dns: bool = True  # also look at the own domains' records

# %%
from mailops import Ops
from mailops.checks import rates
from mailops.widgets import CheckCard, Headline, MetricsCard, NightlyCard, Panel, RatesView, domains_overview

ops = Ops.open(workspace or None)
view = RatesView(ops, since=since)
now = ops.clock.now()

# %%
Headline("Deliverability", "Every figure is defined once; whose limit it is held against stands beside it.")

# %%
CheckCard(ops.run.record(rates.limits(ops.metrics(), now=now)))

# %%
MetricsCard(ops)

# %% [markdown]
# ## What changed

# %%
found = ops.analysis.incidents(since)
Panel(
    CheckCard(ops.run.record(rates.jump(view.jump, since=since, now=now))),
    CheckCard(ops.run.record(rates.incidents(found, since=since, now=now, enough=view.jump.enough))),
)

# %% [markdown]
# ## Who refuses, and why

# %%
view.groups()

# %%
view.causes()

# %% [markdown]
# ## What receivers can check
# SPF, DKIM and DMARC of the own domains, and what receivers say of mail in their names.

# %%
domains_overview(ops) if dns and ops.setup.speaking else Headline("Domains", "No domain of your own was looked at.")

# %%
reports = ops.dmarc.read()
told = reports.verdicts() if reports.reports or reports.refused else ()
Panel(
    *(CheckCard(ops.run.record(verdict)) for verdict in told),
    *([] if told else [Headline("DMARC", "No report is there.")]),
)

# %%
NightlyCard(ops, "deliverability", globals())

# %%
ops.run.require_passed()
