# %% [markdown]
# # DNS of a mail domain
# Does the domain's DNS let its mail arrive, and if not, which record has to be published?
#
# Give the domain and who sends for it. Every finding carries the record to publish; the whole check was run again with
# it applied before it is shown. Publish it at your DNS host and press *Watch until published*: the page turns green by
# itself. This part needs somebody who may edit the domain's DNS.

# %% [markdown] tags=["lab"]
# ▶▶ *Run All* in the toolbar above fills this page, also after the kernel was restarted. What it shows is set in the lines below.

# %% tags=["parameters"]
workspace: str = ""  # the workspace folder (empty: MAILOPS_WORKSPACE, or found upwards)
domain: str = ""  # the domain after the @ sign (empty: the first alias domain)
service: str = ""  # who sends (empty: whom the workspace sends by): odoo, mailjet, google …, several with commas, own
database: str = ""  # the database's name, where the hosted server sends (empty: the workspace's)
bounce_domain: str = ""  # the bounce address's domain (empty: the workspace's)
selectors: str = ""  # further DKIM selectors, separated by commas
spf_terms: str = ""  # what SPF must permit besides, separated by spaces, such as ip4:192.0.2.25
volume: int = -1  # messages a day to one receiver: also what large receivers ask of bulk senders (-1: not asked)
everything: bool = False  # also MX, MTA-STS, TLS-RPT, BIMI, DANE and reverse names
all_domains: bool = False  # also one table of every mail domain of the workspace
accept_losses: bool = False  # you agree to what a proposal loses, such as a tag nobody can keep
watch_minutes: float = 0.0  # as a job: wait this long for the records to be published

# %%
from mailops import Ops
from mailops.widgets import (
    DomainPage,
    DomainView,
    NightlyCard,
    comparison,
    domains_overview,
    expectations,
    outside_checks,
)

ops = Ops.open(workspace or None)
options = {
    "service": "" if service == "own" else service or None,
    "database": database or None,
    "bounce_domain": bounce_domain or None,
    "selectors": tuple(selectors.replace(",", " ").split()),
    "spf_terms": tuple(spf_terms.split()),
    "volume": volume if volume >= 0 else None,
}
setup = ops.domains.of(ops.setup, domain or ops.domains.first(ops.setup), **options)
view = DomainView(
    ops, setup, ground=everything, record=ops.run.record, watch_minutes=watch_minutes or 60.0, losses=accept_losses
)

# %%
DomainPage(view)

# %% [markdown]
# ## What the sending service expects

# %%
expectations(setup)

# %% [markdown]
# ## All domains
# With `all_domains` every mail domain of the workspace is looked at (`mailops domain check --all-domains`).

# %%
domains_overview(ops, **options) if all_domains else None

# %% [markdown]
# ## What changed
# Every check is kept, so that two dates can be compared (`mailops domain compare`).

# %%
comparison(ops, setup.name)

# %% [markdown]
# ## Outside
# A pass is no promise: filters of receivers can still refuse mail or put it aside. A test with a real mail shows more.

# %%
outside_checks(setup.name)

# %%
view.awaited(watch_minutes)

# %%
NightlyCard(ops, "domain_dns", globals())

# %%
ops.run.require_passed()
