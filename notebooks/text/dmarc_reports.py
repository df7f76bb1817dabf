# %% [markdown]
# # DMARC reports
# Who sends mail in our name, what of it passes, and who has no permission?
#
# Put the files that receivers send (`.xml`, `.gz`, `.zip`, `.eml`) into the workspace's folder `dmarc`, or name another
# one. DMARC joins SPF and DKIM: a mail passes when one of them passes for the domain that people see in *From*.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
files: str = ""  # a file or folder of reports (empty: the folder dmarc of the workspace)
limit: float = 0.02  # the job fails when more than this share does not pass

# %%
from mailops import Ops
from mailops.widgets import CheckCard, DmarcView, Panel

ops = Ops.open(workspace or None)
reports = ops.dmarc.read([files] if files else [])
view = DmarcView(reports)

# %%
view.tiles()

# %%
Panel(*(CheckCard(ops.run.record(verdict)) for verdict in reports.verdicts(limit=limit)))

# %%
view.chart()

# %%
view.unpermitted()

# %%
view.sources()

# %%
view.days()

# %%
view.refused()

# %% [markdown]
# ## What to do with it
# A source of yours that passes nothing: let it sign with DKIM for the domain, or bounce to it. Only when every source of
# yours passes, tighten the policy step by step: `none`, `quarantine`, `reject`. `mailops domain explain` tells what a
# policy does to one send; [dmarc.org](https://dmarc.org/) tells how to write one.

# %%
ops.run.require_passed()
