# %% [markdown]
# # Fleet
# How do all workspaces below a folder stand: their queues, their notebooks, what ends soon, and their domains?

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
folder: str = ""  # the folder that holds the workspaces (empty: the one around this workspace)
domains: bool = True  # also ask DNS about every mail domain
notebook: str = ""  # also run this notebook in each workspace, one after the other

# %%
from pathlib import Path

from mailops import Ops
from mailops.checks.jobs import fleet
from mailops.widgets import CheckCard, FleetCard, Headline, NightlyCard, Panel

ops = Ops.open(workspace or None)
around = Path(folder) if folder else ops.workspace.path.parent

# %%
Headline("Fleet", f"All workspaces below {around.name}; one that is broken stops no other.")

# %%
found = Ops.fleet_status(around)
Panel(CheckCard(ops.run.record(fleet(found, what="status", now=ops.clock.now()))), FleetCard(found))

# %% [markdown]
# ## Domains

# %%
found = Ops.fleet_domains(around) if domains else ()
card = FleetCard(found, caption="What DNS says")
Panel(CheckCard(ops.run.record(fleet(found, what="domains", now=ops.clock.now()))), card) if found else card

# %% [markdown]
# ## One notebook in each

# %%
found = Ops.fleet_run(around, notebook) if notebook else ()
card = FleetCard(found, caption=f"Runs of {notebook}" if notebook else "Set the parameter notebook to run one in each")
Panel(CheckCard(ops.run.record(fleet(found, what="run", now=ops.clock.now()))), card) if found else card

# %%
NightlyCard(ops, "fleet", globals())

# %%
ops.run.require_passed()
