# %% [markdown]
# # DMARC reports
# Who sends mail in our name, what of it passes, and who has no permission?
#
# Hand in the files that receivers send (`.xml`, `.gz`, `.zip`, `.eml`) on the page *Files* of the app, put them into the
# workspace's folder `dmarc`, or name another one. DMARC joins SPF and DKIM: a mail passes when one of them passes for the domain that people see in *From*.

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
files: str = ""  # a file or folder of reports (empty: the folder dmarc of the workspace)
limit: float = 0.02  # the job fails when surely more than this share of your own sources' mail does not pass
networks: bool = False  # also ask for the number and prefix of each source's network

# %%
from mailops import Ops
from mailops.widgets import CheckCard, DmarcView, NightlyCard, Panel, SourcesCard, TlsView

ops = Ops.open(workspace or None)
reports = ops.dmarc.read([files] if files else [])
encrypted = ops.dmarc.tls([files] if files else [])
view = DmarcView(reports)

# %%
view.tiles()

# %% [markdown]
# ## What they say

# %%
verdicts = (*reports.verdicts(limit=limit), *encrypted.verdicts())
Panel(*(CheckCard(ops.run.record(verdict)) for verdict in verdicts))

# %%
view.chart()

# %%
view.unpermitted()

# %% [markdown]
# ## Whose the sources are
# Names are asked of DNS now. Tick a source and say whether it is yours: the mark is kept, and what a source sends that is
# *not mine* counts against nobody, since it is meant not to pass.

# %%
SourcesCard(ops, reports, networks=networks)

# %%
view.sources()

# %%
view.days()

# %%
view.refused()

# %% [markdown]
# ## Encryption of what comes to you
# Reports about TLS (RFC 8460) come to the address of the record `_smtp._tls`.

# %%
TlsView(encrypted, told=[one.name for one in reports.refused])

# %% [markdown]
# ## What to do with it
# A source of yours that passes nothing: let it sign with DKIM for the domain, or bounce to it. Only when every source of
# yours passes, tighten the policy step by step: `none`, `quarantine`, `reject`. `mailops domain explain` tells what a
# policy does to one send; [dmarc.org](https://dmarc.org/) tells how to write one.

# %%
NightlyCard(ops, "dmarc_reports", globals())

# %%
ops.run.require_passed()
