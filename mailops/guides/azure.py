"""The guide through Microsoft's portal to a connected Outlook mailbox. Labels in asterisks are the portal's."""

from __future__ import annotations

from ..providers import provider
from .flows import APPLICATION, FIRST, NOT_PROVED, PERSON, PUBLIC, SECRET, WEB
from .model import Choice, Copy, Do, Guide, Input, Link, Step, Trouble

_PERSONAL = (("account_kind", ("personal",)),)
_ORGANISATION = (("account_kind", ("custom",)),)
MULTI_PERSONAL = (
    "Accounts in any organizational directory (Any Microsoft Entra ID directory - Multitenant) "
    "and personal Microsoft accounts (e.g. Skype, Xbox)"
)

_REDIRECT = Trouble(
    "auth.ms-50011",
    ("AADSTS50011", "redirect uri", "reply url"),
    "The redirect address does not match",
    "The portal compares letter by letter: scheme, host, port, path and a slash at the end. The web base URL can "
    "change with the address somebody logs in by.",
    (
        "Copy the address from the message into *Redirect URIs*, platform *Web*. Several may be registered.",
        "Or freeze the base URL: *Settings → Technical → Parameters → System Parameters*, "
        "`web.base.url.freeze` = True.",
    ),
    rows=("AZ-08",),
)
_SECRET_ID = Trouble(
    "auth.ms-7000215",
    ("AADSTS7000215", "invalid client secret"),
    "The client secret is refused",
    "Usually the Secret ID was pasted instead of the Value, or the copy was cut.",
    ("Make a new client secret and copy its *Value* before leaving the page.",),
    rows=("AZ-20",),
)
_SECRET_OVER = Trouble(
    "auth.ms-7000222",
    ("AADSTS7000222", "secret keys are expired", "secret has expired"),
    "The client secret has ended",
    "A secret lives as long as was set when it was made, 24 months at most.",
    ("Make a new client secret, store it in *Outlook Credentials*, and enter its new end date here.",),
    rows=("AZ-18",),
)
_ASSIGN = Trouble(
    "auth.ms-50105",
    ("AADSTS50105", "not assigned to a role"),
    "The person is not assigned to the application",
    "The application demands an assignment, and this person or group has none.",
    ("*Managed Application in Local Directory* → *Users and Groups* → *(+) Add User/Group*: assign the person.",),
    rows=("AZ-15",),
)
_SMTP_OFF = Trouble(
    "auth.ms-smtp-disabled-tenant",
    ("SmtpClientAuthentication is disabled",),
    "SMTP sign-in is switched off",
    "The tenant's or the mailbox's switch is off; security defaults switch it off as well. It counts for tokens too.",
    ("Exchange PowerShell: Set-CASMailbox {mailbox} -SmtpClientAuthenticationDisabled $false",),
)
_CONSENT = Trouble(
    "auth.ms-90094",
    ("AADSTS90094", "AADSTS65001", "admin consent", "need admin approval"),
    "An administrator has to consent",
    "The tenant lets only administrators accept these permissions.",
    ("An administrator opens *API permissions* and presses *Grant admin consent*.",),
)

_NO_DIRECTORY = Trouble(
    "auth.ms-no-directory",
    ("outside of a directory",),
    "A personal account has no directory to register in",
    "Microsoft took away the registration of applications outside of a directory (tenant).",
    (
        "Sign up for a free Azure account with the personal address, then register in its *Default Directory*.",
        "Or register in an organisation's tenant, with the account types that include personal Microsoft accounts.",
    ),
)
_ROLES = Trouble(
    "oauth.claims_scope",
    ("AsApp is missing", "SendAsApp", "AccessAsApp"),
    "The token holds no application permission",
    "The permissions are delegated ones, or nobody granted admin consent after they were added.",
    (
        "*API permissions*: the column *Type* must say *Application*.",
        "An administrator presses *Grant admin consent*; then connect again (an old token keeps its old permissions).",
    ),
    when=APPLICATION,
)
_OBJECT_ID = Trouble(
    "auth.ms-smtp-5.7.3",
    ("535 5.7.3", "AUTHENTICATE failed"),
    "The application's sign-in is refused although its token is good",
    "Exchange does not know this service principal: *New-ServicePrincipal* was not run, or with the object id of the "
    "App registration instead of the Enterprise application's.",
    (
        "`Get-ServicePrincipal | FL AppId, ObjectId`: compare both with *Enterprise applications → Overview*.",
        "Where it is wrong: `Remove-ServicePrincipal`, then `New-ServicePrincipal -AppId {client_id} -ObjectId "
        "{app_object}`.",
    ),
    when=APPLICATION,
)
_LOGON = Trouble(
    "auth.ms-smtp-logon",
    ("430 4.2.0", "mailbox logon failure", "authenticated but not connected", "MapiExceptionLogonFailed"),
    "The application may not open the mailbox",
    "Full Access for the service principal is missing, or does not count yet.",
    (
        "`Get-MailboxPermission {login}` must list the service principal with FullAccess.",
        "Just granted: wait up to an hour and try again.",
    ),
    when=APPLICATION,
)
_SEND_AS = Trouble(
    "auth.ms-smtp-send-as",
    ("SendAsDenied", "5.7.60", "5.2.252", "send as"),
    "The mailbox may not send as this sender",
    "Outlook lets a mailbox send as itself only; with a domain as *From Filter* the envelope sender is bounce@ it.",
    (
        "Set *From Filter* to {login}.",
        "Or in Exchange PowerShell: Add-RecipientPermission ADDRESS -Trustee {login} -AccessRights SendAs",
    ),
)
_PROVIDER_ON = ("provider_on", ("yes",))
_SERVERS_ON = (_PROVIDER_ON, ("custom_servers", ("yes",)))

STEPS = (
    Step(
        "account", "Which account is it?", part=1, face="mailops",
        why="A personal Microsoft address and an address of a custom domain both work; two steps differ.",
        inputs=(
            Input("account_kind", "Kind of address", "choice", choices=(
                Choice("custom", "An address of a custom domain (Microsoft 365)"),
                Choice("personal", "A personal Microsoft address (outlook.com, hotmail.com)"),
            )),
            Input("mailbox", "Outlook mailbox", "email", preset="{address}",
                  help="The address that will send and receive."),
            *FIRST,
        ),
        rows=("AZ-01",),
    ),
    Step(
        "portal", "Open the portal", part=1, needs=("account",),
        why="The application that mailops signs in with is registered there.",
        do=(
            "Open `https://portal.azure.com/`.",
            Do("Preferred: log in with the *Microsoft Outlook Office 365* account.", _ORGANISATION),
            Do("Log in with the personal *Microsoft account*.", _PERSONAL),
            "Without an Office 365 account the personal *Microsoft account* serves as well.",
        ),
        notes=("A user with administrative access to the Azure settings is needed.",),
        links=(Link("Azure portal", "https://portal.azure.com/"),),
        rows=("AZ-02",),
    ),
    Step(
        "entra", "Open Microsoft Entra ID", part=1, needs=("portal",),
        do=("Open *Manage Microsoft Entra ID* (former name: Azure Active Directory).",),
        rows=("AZ-03",),
    ),
    Step(
        "add", "Add an app registration", part=1, needs=("entra",),
        do=("Press *Add (+)* in the top menu.", "Choose *App registration*."),
        rows=("AZ-04",),
    ),
    Step(
        "register", "Register an application", part=1, needs=("add",),
        why="Name, kinds of accounts and redirect address are asked for on one screen.",
        do=(
            "On the screen *Register an application* fill in *Name*: `Odoo`, or another name you will recognise.",
            f"*Supported account types*: choose *{MULTI_PERSONAL}*.",
            Do("*Redirect URL*: choose the platform *Web* and paste the address below.", WEB),
            Do("*Redirect URI*: choose *Public client/native (mobile & desktop)* and paste the address below; after "
               "*Register* set *Authentication → Allow public client flows* to *Yes*.", PUBLIC),
            Do("*Redirect URI*: leave it empty, nobody comes back. One directory is enough: *Single tenant*.",
               APPLICATION),
            "Press *Register*.",
        ),
        copies=(Copy("Name", "Odoo"), Copy("Redirect URL", "{redirect_uri}", WEB),
                Copy("Redirect URI", "{redirect_uri}", PUBLIC)),
        inputs=(
            Input("account_types", "Supported account types", "choice", preset="multi_personal", choices=(
                Choice("multi_personal", MULTI_PERSONAL),
                Choice("multi", "Accounts in any organizational directory (Multitenant)",
                       "personal Microsoft accounts cannot sign in."),
                Choice("single", "Accounts in this organizational directory only (Single tenant)",
                       "only accounts of this one tenant can sign in, and the tenant id must be given."),
                Choice("personal", "Personal Microsoft accounts only", "accounts of organisations cannot sign in."),
            )),
            Input("tenant", "Directory (tenant) ID", "text", "tenant_id", required=False,
                  needed=(("account_types", ("single",)), *APPLICATION),
                  help="Needed for a single tenant; makes the consent link exact."),
            Input("base_url", "Web base URL", "url", "web_base", preset="{base_url}", required=False, needed=WEB),
        ),
        notes=("The sign-in goes to the authority `{tenant}`.",),
        troubles=(_REDIRECT, _NO_DIRECTORY),
        rows=("AZ-05", "AZ-06", "AZ-07", "AZ-08", "AZ-09"),
    ),
    Step(
        "permissions", "Give it the permissions", part=1, needs=("register",), when=PERSON,
        why="SMTP.Send is for sending, IMAP.AccessAsUser.All for reading. User.Read is there by default and stays.",
        do=(
            "In the left bar open *API permissions*.",
            "Press *(+) Add a Permission*.",
            "Choose *Microsoft Graph* under *Commonly Used Microsoft APIs*.",
            "Choose *Delegated Permissions*.",
            "Search `SMTP.Send`, tick it, press *Add permissions*.",
            "The same for `IMAP.AccessAsUser.All`: tick it, press *Add permissions*.",
        ),
        copies=(Copy("Sending", "SMTP.Send"), Copy("Reading", "IMAP.AccessAsUser.All")),
        inputs=(Input("permissions", "Permissions in the list now", "text", "permissions",
                      preset="SMTP.Send, IMAP.AccessAsUser.All, User.Read"),),
        troubles=(_CONSENT,),
        rows=("AZ-10", "AZ-11", "AZ-12"),
    ),
    Step(
        "app_permissions", "Give the application its permissions", part=1, needs=("register",), when=APPLICATION,
        why="These are the application's own: it may then act for every mailbox that an administrator grants it.",
        do=(
            "In the left bar open *API permissions*, press *Add a permission*.",
            "*APIs my organization uses* → search `Office 365 Exchange Online`.",
            "Choose *Application permissions* (not *Delegated permissions*).",
            "Tick `SMTP.SendAsApp` and `IMAP.AccessAsApp` (`POP.AccessAsApp` for POP), press *Add permissions*.",
        ),
        copies=(Copy("Sending", "SMTP.SendAsApp"), Copy("Reading", "IMAP.AccessAsApp")),
        inputs=(Input("app_permissions", "Permissions in the list now", "text", "permissions_app",
                      preset="SMTP.SendAsApp, IMAP.AccessAsApp"),),
        links=(Link("Microsoft: OAuth for IMAP, POP and SMTP", "https://learn.microsoft.com/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth"),),
        troubles=(_ROLES,),
    ),
    Step(
        "consent", "Grant admin consent", part=1, needs=("permissions", "app_permissions"), when=_ORGANISATION,
        why="Since the end of 2025 Microsoft's default consent policy wants an administrator for applications that "
        "read mail by IMAP or POP, so *Grant with Yes* fails for everybody else.",
        do=(
            "A Cloud Application Administrator or Global Administrator opens *API permissions*.",
            "Press *Grant admin consent for* (the tenant's name), then *Yes*; the column *Status* turns green.",
            "Or send that person the link below (with the Client ID filled in once it is known).",
        ),
        copies=(Copy("Consent link", "https://login.microsoftonline.com/{consent_tenant}/adminconsent?client_id={client_id}"),),
        notes=("Where the tenant lets people consent for themselves, go on without.",),
        troubles=(_CONSENT,),
        rows=("AZ-11",),
    ),
    Step(
        "senders", "Say who may use it", part=1, needs=("permissions",), when=PERSON,
        do=(
            "Back to *Overview*; in the table *Essentials* follow the link *Managed Application in Local Directory* "
            "(last entry, bottom right).",
            "In the left bar open *Users and Groups*, press *(+) Add User/Group*.",
            Do("Under *Users* press *None Selected*.", _PERSONAL),
            Do("Under *Users* or *Groups* press *None Selected*.", _ORGANISATION),
            "Choose everybody who will send from the account: {senders}.",
            "Press *Add*, then *Select*, then *Assign*.",
        ),
        inputs=(Input("senders", "Who will send from the account", "emails", "addresses", preset="{mailbox}"),),
        notes=(Do("A personal account can add *Users* only.", _PERSONAL),
               Do("Users and groups can be added.", _ORGANISATION)),
        troubles=(_ASSIGN,),
        rows=("AZ-13", "AZ-14", "AZ-15"),
    ),
    Step(
        "client_id", "Copy the Client ID", part=1, needs=("register",),
        do=("On *Overview*, below *Display Name* in *Essentials*, copy *Client ID* (= *Application ID*).",),
        inputs=(Input("client_id", "Client ID", "text", "client_id_microsoft"),),
        rows=("AZ-16",),
    ),
    Step(
        "client_secret", "Make a client secret", part=1, needs=("register",), when=SECRET,
        why="When it ends a new one must be made and configured, and service may be interrupted: note the date.",
        do=(
            "*Certificates & Secrets* → *(+) New Client Secret*.",
            "In the pane *Add a client secret* fill in *Description*: `Odoo Fetchmail`, or something recognisable.",
            "Set the *expiration date* as far away as possible.",
            "Press *Add*.",
            "Copy the *Value* (*Client Secret Value*) at once: it cannot be read after leaving the page.",
        ),
        copies=(Copy("Description", "Odoo Fetchmail"),),
        inputs=(
            Input("client_secret", "Client Secret Value", "secret", "client_secret_microsoft"),
            Input("secret_ends", "Expiration date", "date", "secret_ends"),
        ),
        notes=("The *Secret ID* is not used.",),
        troubles=(_SECRET_ID, _SECRET_OVER),
        rows=("AZ-17", "AZ-18", "AZ-19", "AZ-20", "AZ-21"),
    ),
    Step(
        "service_principal", "Make the application known to Exchange", part=1, needs=("client_id", "consent"),
        when=APPLICATION,
        why="Exchange Online keeps its own list of applications. The object id it wants is the Enterprise "
        "application's, not the App registration's: the classic mistake, and nothing says so until the first mail.",
        do=(
            "*Enterprise applications* → the application → *Overview*: copy *Object ID*.",
            "In Exchange PowerShell: `Connect-ExchangeOnline`, then the line below.",
        ),
        copies=(Copy("PowerShell", "New-ServicePrincipal -AppId {client_id} -ObjectId {app_object}"),),
        inputs=(
            Input("app_object", "Object ID of the Enterprise application", "text", "app_object"),
            Input("registration_object", "Object ID of the App registration (to compare)", "text", "guid",
                  required=False),
        ),
        troubles=(_OBJECT_ID,),
    ),
    Step(
        "mailbox_permission", "Grant it the mailbox", part=1, needs=("service_principal",), when=APPLICATION,
        why="Full Access lets it read and sign in, Send As lets it send. Either takes some minutes, at most an hour.",
        do=("In Exchange PowerShell run both lines below.",),
        copies=(
            Copy("Full Access", "Add-MailboxPermission -Identity {login} -User {app_object} -AccessRights FullAccess"),
            Copy("Send As", "Add-RecipientPermission {login} -Trustee {app_object} -AccessRights SendAs"),
        ),
        notes=("A narrower way for SMTP alone: role-based access, *Application SMTP.SendAsApp*, without the API "
               "permission.",),
        troubles=(_LOGON,),
    ),
    Step(
        "provider", "Enable Outlook", part=2, face="database",
        needs=("client_id", "client_secret", "mailbox_permission"),
        do=("*Apps*: remove the *Apps* filter, search `Outlook`, install *Microsoft Outlook*.",),
        notes=("In mailops this enables the Outlook provider: servers then offer OAuth sign-in.",),
        copies=(Copy("Search", "Outlook"),),
        inputs=(Input("provider_on", "Outlook provider", "flag", preset="yes"),),
        rows=("AZ-21", "AZ-22"),
    ),
    Step(
        "custom_servers", "Switch custom servers on", part=2, face="database", needs=("provider",),
        when=(_PROVIDER_ON,),
        do=(
            "*Settings → General Settings*, section *Discuss*: tick *Custom Email Servers*.",
            "*Outlook Credentials* appears; press *Save*.",
        ),
        inputs=(Input("custom_servers", "Custom Email Servers", "flag", preset="yes"),),
        rows=("AZ-23",),
    ),
    Step(
        "credentials", "Enter the credentials", part=2, face="database", needs=("custom_servers",),
        when=_SERVERS_ON,
        do=("*Outlook Credentials*: paste *Client ID* and *Client Secret*, press *Save*.",),
        notes=("mailops keeps the secret in the vault and never shows it again.",),
        rows=("AZ-24",),
    ),
    Step(
        "server", "Make the outgoing server", part=2, face="database", needs=("credentials",), when=_SERVERS_ON,
        do=(
            "Follow the link *Outgoing Email Servers*, make a new server, tick *Outlook*.",
            "*Name* is free; *Username* is the Outlook mailbox.",
            "Fill in *From Filter*: a domain or an address.",
        ),
        inputs=(
            Input("server_name", "Name", preset="Outlook"),
            Input("username", "Username", "email", preset="{login}"),
            Input("from_filter", "From Filter", "text", "filter_of_mailbox", preset="{login}"),
        ),
        rows=("AZ-25", "AZ-26"),
    ),
    Step(
        "connect", "Connect your Outlook account", part=2, face="database", needs=("server",), check="connect",
        when=_SERVERS_ON,
        do=(
            "Press *Connect your Outlook account*.",
            Do("In Microsoft's window pick the same address as configured: {mailbox}.", PERSON),
            Do("Grant with *Yes*.", PERSON),
            Do("Nobody has to sign in: the application proves itself with its secret.", APPLICATION),
            "Back here the token is stored by itself and the green tag *Outlook Token Valid* shows.",
        ),
        troubles=(_REDIRECT, _SECRET_ID, _SECRET_OVER, _ASSIGN, _CONSENT),
        rows=("AZ-27", "AZ-28"),
    ),
    Step(
        "test", "Test Connection", part=2, face="database", needs=("connect",), check="test_connection",
        when=_SERVERS_ON,
        do=("Press *Test Connection*; a confirmation shows.",),
        notes=(NOT_PROVED,),
        troubles=(_SMTP_OFF, _OBJECT_ID, _LOGON),
        rows=("AZ-29",),
    ),
    Step(
        "incoming", "Connect the incoming server", part=3, face="database", needs=("connect",), check="incoming",
        when=_SERVERS_ON,
        do=(
            "*Technical Menu → Incoming Mail Servers → Create*.",
            "Choose *Outlook Oauth Authentication*.",
            "*Microsoft Outlook username*: {mailbox}.",
            "Press *Connect your Outlook account*; the tag *Outlook Token Valid* shows.",
            "Press *Test and Confirm*.",
        ),
        troubles=(_OBJECT_ID, _LOGON),
        notes=(
            "The *Technical* menus show in developer mode. System Parameters: "
            "*Settings → Technical → Parameters → System Parameters*.",
        ),
        rows=("AZ-39", "AZ-40"),
    ),
    Step(
        "first_mail", "Send the first mail", part=3, face="mailops", needs=("test", "incoming"), check="first_mail",
        when=_SERVERS_ON,
        why="Some refusals come with the message itself, after every test: the sender, the rights, limits. "
        "Only a mail that arrived proves that mail leaves.",
        do=("mailops sends a mail from {login} to itself and looks for it in the mailbox.",),
        troubles=(_SEND_AS, _LOGON),
        rows=("OUT-20",),
    ),
)  # fmt: skip

AZURE = Guide(
    "azure",
    "Connect Microsoft 365",
    "outlook",
    ("In the Microsoft portal", "In the database", "Receiving"),
    STEPS,
    hosted_note="Connecting Outlook adds complexity. On this hosting the hosted outgoing server is the recommended "
    "way; go on only if mail must leave through Outlook.",
    limit_note=f"Look up Outlook's limits first: {provider('outlook').limit}. It may not suit large marketing "
    "campaigns.",
    links=(Link("Microsoft: register an application", "https://learn.microsoft.com/azure/active-directory/develop/quickstart-register-app"),),
)  # fmt: skip
