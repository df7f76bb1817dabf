"""What the consoles say today, beside the words of the documentation: dated, with the page where it was read.

The steps keep the documentation's labels. A console is renamed at the vendor's will, so this is data: guide, step, the
label or menu path of the documentation, today's.
"""

from __future__ import annotations

from dataclasses import dataclass

SEEN = "November 2026"
_PLATFORM = "https://support.google.com/cloud/answer/15544987"
_AUDIENCE = "https://support.google.com/cloud/answer/15549945"
_CLIENTS = "https://support.google.com/cloud/answer/6158849"
_BRANDING = "https://support.google.com/cloud/answer/15549049"
_REGISTER = "https://learn.microsoft.com/entra/identity-platform/quickstart-register-app"
_REDIRECT = "https://learn.microsoft.com/entra/identity-platform/how-to-add-redirect-uri"
_CONSENT = "https://learn.microsoft.com/entra/identity/enterprise-apps/grant-admin-consent"
_ASSIGN = "https://learn.microsoft.com/entra/identity/enterprise-apps/assign-user-or-group-access-portal"
_SMTP_AUTH = (
    "https://learn.microsoft.com/exchange/clients-and-mobile-in-exchange-online/authenticated-client-smtp-submission"
)


@dataclass(frozen=True, slots=True)
class Label:
    """``written`` is the documentation's label or path, ``today`` the console's, ``source`` where it was read."""

    written: str
    today: str
    source: str
    seen: str = SEEN


TODAY: dict[tuple[str, str], tuple[Label, ...]] = {
    ("azure", "portal"): (
        Label("`https://portal.azure.com/`",
              "`https://entra.microsoft.com/` (*Microsoft Entra admin center*) is the short way; the portal works too",
              _REGISTER),
        Label("the personal *Microsoft account* serves as well",
              "only with a directory of its own: sign up for a free Azure account with it first, then switch to its "
              "*Default Directory*", "https://github.com/getmail6/getmail6/issues/201"),
    ),
    ("azure", "entra"): (Label("*Manage Microsoft Entra ID*", "*Entra ID* in the left menu", _REGISTER),),
    ("azure", "add"): (
        Label("*Add (+)* → *App registration*", "*Entra ID → App registrations → New registration*", _REGISTER),
    ),
    ("azure", "register"): (
        Label("*Redirect URL*", "*Redirect URI (optional)*: *Select a platform* → *Web*", _REDIRECT),
        Label("*Accounts in any organizational directory (… Multitenant) and personal Microsoft accounts*",
              "the same, or in newer portals *Any Entra ID Tenant + Personal Microsoft accounts*", _REGISTER),
    ),
    ("azure", "permissions"): (
        Label("*(+) Add a Permission* → *Add permissions*",
              "*Add a permission → Microsoft Graph → Delegated permissions*, then *Grant admin consent for …*",
              _CONSENT),
    ),
    ("azure", "senders"): (
        Label("*Users and Groups*",
              "*Enterprise applications → the application → Users and groups*; it counts only where *Properties → "
              "Assignment required?* is *Yes*", _ASSIGN),
    ),
    ("azure", "client_id"): (Label("*Client ID*", "*Application (client) ID*", _REGISTER),),
    ("azure", "client_secret"): (
        Label("*(+) New Client Secret*, *expiration date*",
              "*Certificates & secrets → Client secrets → New client secret*, *Expires*: 24 months at most, and a "
              "tenant may allow less", _REGISTER),
    ),
    ("azure", "test"): (
        Label("`Set-CASMailbox … -SmtpClientAuthenticationDisabled $false`",
              "*Microsoft 365 admin center → Users → Active users → the mailbox → Mail → Manage email apps → "
              "Authenticated SMTP*; for all: *Exchange admin center → Settings → Mail flow*", _SMTP_AUTH),
    ),
    ("google", "console"): (
        Label("`https://console.developers.google.com`", "`https://console.cloud.google.com/auth`", _PLATFORM),
    ),
    ("google", "project"): (
        Label("*OAuth consent screen* → *Create Project*",
              "*Select a project → New project*; then *Google Auth Platform → Overview → Get started*", _PLATFORM),
    ),
    ("google", "user_type"): (
        Label("*User Type*, *Create*", "*Google Auth Platform → Audience*: *Internal* or *External*", _AUDIENCE),
    ),
    ("google", "app"): (
        Label("*App information*, *App Domain*, *Developer contact information*",
              "*Google Auth Platform → Branding*; there is one *Save*, no *Save and Continue*", _BRANDING),
        Label("*Scopes*", "*Google Auth Platform → Data Access*: change nothing", _PLATFORM),
    ),
    ("google", "test_users"): (
        Label("*Test users* → *Add Users*", "*Google Auth Platform → Audience → Test users → Add users*", _AUDIENCE),
    ),
    ("google", "dashboard"): (
        Label("*Back to Dashboard*", "no such button any more: go on with *Clients*", _PLATFORM),
        Label("*Back to Testing*", "*Audience → Publishing status → Back to testing*", _AUDIENCE),
    ),
    ("google", "client"): (
        Label("*Credentials* → *Create Credentials* → *OAuth client ID*",
              "*Google Auth Platform → Clients → Create client*", _CLIENTS),
        Label("*URIs 1*", "*Authorized redirect URIs → Add URI*", _CLIENTS),
    ),
    ("google", "client_id"): (
        Label("*Client Secret*",
              "shown once, right after *Create*: copy it or *Download JSON* then; later it is masked, and *Add secret* "
              "makes a second one. Google deletes clients that were not used for six months", _CLIENTS),
    ),
    ("mailjet", "settings"): (
        Label("*Senders & Domains* → *SMTP and SEND API Settings*", "*Account settings → SMTP and SEND API settings*",
              "https://documentation.mailjet.com/hc/en-us/articles/360043229473"),
    ),
}  # fmt: skip


def labels_of(guide: str, step: str) -> tuple[Label, ...]:
    """Today's labels of a step, where they differ from the documentation's."""
    return TODAY.get((guide, step), ())
