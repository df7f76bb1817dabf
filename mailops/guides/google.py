"""The guide through Google's console to a connected Gmail mailbox. Labels between asterisks are the console's own."""

from __future__ import annotations

from ..providers import provider
from .flows import APPLICATION, NOT_PROVED, PERSON, PUBLIC, WEB, WHERE, WHO_GOOGLE
from .model import Choice, Copy, Do, Guide, Input, Link, Step, Trouble

_PERSONAL = (("account_kind", ("personal",)),)
_WORKSPACE = (("account_kind", ("workspace",)),)
_EXTERNAL = (("user_type", ("external",)),)
_CONSENT_PAGE = "https://console.cloud.google.com/apis/credentials/consent"

_LOGINS_100 = Trouble(
    "auth.google-100-logins",
    ("100 sensitive scope logins", "100 sensitive-scope logins", "hasn't verified this app"),
    "OAuth is limited to 100 sensitive scope logins",
    "The publishing status is *Production* and the app is not verified.",
    (
        f"Open `{_CONSENT_PAGE}`; if it says *In Production*, press *Back to Testing*.",
        "Mind: for external apps in Testing the sign-in ends every 7 days. Where there is a Workspace, *Internal* has "
        "neither limit.",
    ),
    (Link("OAuth consent screen", _CONSENT_PAGE),),
    ("GO-28",),
)
_ACCESS_DENIED = Trouble(
    "auth.google-unverified-tester",
    ("403 access denied", "403: access_denied", "access_denied"),
    "403 access denied",
    "The consent screen is in Testing and the account is not one of its test users.",
    ("*APIs & Services → OAuth consent screen*: under *Test users* add {mailbox}.",),
    (Link("OAuth consent screen", _CONSENT_PAGE),),
    ("GO-29",),
)
_FORBIDDEN = Trouble(
    "guide.google-forbidden",
    ("forbidden", "403 on /google_gmail/confirm", "permission to access the requested resource"),
    "Forbidden",
    "The module *Google Gmail* in the database is not up to date.",
    (
        "*Apps*: clear the search, search `Gmail` or `Google`, three dots on *Google Gmail*, *Upgrade*.",
        "Installed: *Google Gmail* {module_version}; mailops {version}.",
    ),
    rows=("GO-30",),
)
_MISMATCH = Trouble(
    "auth.google-redirect",
    ("redirect_uri_mismatch",),
    "Authorization Error / Error 400: redirect_uri_mismatch",
    "*Desktop App* was chosen, or the registered address differs from {redirect_uri} in some letter.",
    (
        "Delete the credentials and make new ones as *Web Application* with the URI {redirect_uri}.",
        "If the type is right already, compare the two addresses letter by letter.",
    ),
    rows=("GO-31",),
)

_KEY_GONE = Trouble(
    "auth.google-key-deleted",
    ("Invalid JWT Signature",),
    "Google does not know the key",
    "The key was deleted or replaced in the console.",
    ("*Service Accounts → Keys → Add key*: make a new JSON key and enter it here.",),
    when=APPLICATION,
)
_DELEGATION = Trouble(
    "auth.google-delegation",
    ("unauthorized_client", "not authorized for any of the scopes", "Requested client not authorized"),
    "The service account may not act for the mailbox",
    "The delegation is missing, is for another client id or scope, or does not count yet; or the mailbox is "
    "outside the Workspace.",
    ("*Manage Domain Wide Delegation*: {sa_client_id} with exactly `https://mail.google.com/`.",),
    when=APPLICATION,
)
_PROVIDER_ON = ("provider_on", ("yes",))
_SERVERS_ON = (_PROVIDER_ON, ("custom_servers", ("yes",)))

STEPS = (
    Step(
        "account", "Which account is it?", part=1, face="mailops",
        why="A personal Gmail address and an address of a custom domain (Workspace) both work; four steps differ.",
        inputs=(
            Input("account_kind", "Kind of address", "choice", choices=(
                Choice("workspace", "An address of a custom domain (Google Workspace)"),
                Choice("personal", "A personal Gmail address"),
            )),
            Input("mailbox", "Gmail mailbox", "email", preset="{address}", help="The address to be configured."),
            WHO_GOOGLE, WHERE,
        ),
        rows=("GO-01",),
    ),
    Step(
        "console", "Open the console", part=1, needs=("account",),
        do=(
            "Open `https://console.developers.google.com`.",
            Do("Sign in with the Workspace account.", _WORKSPACE),
            Do("Sign in with the personal Gmail account.", _PERSONAL),
            "It should be the address to be configured: {mailbox}.",
        ),
        inputs=(Input("console_account", "Signed in to the console as", "text", "console_account",
                      preset="{mailbox}"),),
        links=(Link("Google API console", "https://console.developers.google.com"),),
        rows=("GO-02",),
    ),
    Step(
        "project", "Create a project", part=1, needs=("console",),
        do=(
            "No project yet: *Create Project*, far right of *OAuth consent screen*.",
            "There is one already: *Select a project*, then *New Project* at the top right.",
            "*Project name*: `Odoo`.",
            Do("*Location*: the Workspace organization.", _WORKSPACE),
            Do("*Location*: *No Organization*.", _PERSONAL),
            "Press *Create*.",
        ),
        copies=(Copy("Project name", "Odoo"), Copy("Location", "No Organization", _PERSONAL)),
        rows=("GO-03", "GO-04", "GO-05"),
    ),
    Step(
        "user_type", "Choose the user type", part=1, needs=("project",),
        when=PERSON,
        do=(
            "If you are not sent to *User Type* by itself, press *OAuth consent screen* in the left menu.",
            "Choose *User Type*, press *Create*; the page *Edit app registration* opens.",
        ),
        inputs=(Input("user_type", "User Type", "choice", "user_type", choices=(
            Choice("internal", "Internal"), Choice("external", "External"))),),
        notes=(
            Do("Personal accounts may only be *External*.", _PERSONAL),
            Do("A Workspace may be *Internal*: no approval, no 7 days, no list of test users.", _WORKSPACE),
            Do("*External* in testing mode: no approval needed; at most 100 users.", _EXTERNAL),
        ),
        rows=("GO-06", "GO-07", "GO-08", "GO-09"),
    ),
    Step(
        "app", "Describe the app", part=1, needs=("user_type",),
        when=PERSON,
        why="Google writes to the developer contact about changes to the project.",
        do=(
            "*App information*: *App name* is `Odoo`, *User support* email is the organisation's address.",
            "*App Domain → Authorized domains → Add Domain*: {authorized_domain}.",
            "*Developer contact information*: the organisation's address.",
            "Press *Save and Continue*.",
            "On *Scopes* change nothing, scroll down, press *Save and Continue*.",
        ),
        copies=(Copy("App name", "Odoo"), Copy("Authorized domain", "{authorized_domain}")),
        inputs=(
            Input("base_url", "Web base URL", "url", "web_base", preset="{base_url}", required=False, needed=WEB),
            Input("contact", "Developer contact information", "email", preset="{mailbox}"),
        ),
        rows=("GO-10", "GO-11", "GO-12", "GO-13"),
    ),
    Step(
        "test_users", "Add the test users", part=1, needs=("app",), when=(*_EXTERNAL, *PERSON),
        do=(
            "*Test users* → *Add Users*: every address to be configured.",
            "Press *Save and Continue*; a summary appears.",
        ),
        inputs=(Input("test_users", "Test users", "emails", "test_users", preset="{mailbox}"),),
        troubles=(_ACCESS_DENIED,),
        rows=("GO-09", "GO-14"),
    ),
    Step(
        "dashboard", "Back to the dashboard", part=1, needs=("app",),
        when=PERSON,
        do=("At the bottom of the page press *Back to Dashboard*.",),
        troubles=(_LOGINS_100,),
        rows=("GO-15",),
    ),
    Step(
        "client", "Create the client", part=1, needs=("dashboard",),
        when=PERSON,
        do=(
            "In the left bar: *Credentials* → *Create Credentials* → *OAuth client ID*.",
            Do("*Application Type*: *Web Application*.", WEB),
            Do("*Application type*: *Desktop app* (a loopback redirect is refused to a web application).", PUBLIC),
            "*Name*: `Odoo`.",
            Do("*Authorized redirect URIs* → *ADD URI* → field *URIs 1*: {redirect_uri}.", WEB),
            "Press *Create*.",
        ),
        copies=(Copy("Name", "Odoo"), Copy("URIs 1", "{redirect_uri}", WEB)),
        inputs=(Input("registered_uri", "URIs 1 as entered", "url", "registered_uri", preset="{redirect_uri}",
                      required=False, needed=WEB),),
        troubles=(_MISMATCH,),
        rows=("GO-16", "GO-17", "GO-18", "GO-19"),
    ),
    Step(
        "client_id", "Copy Client ID and Client Secret", part=1, needs=("client",),
        when=PERSON,
        do=("Copy *Client ID* and *Client Secret*, or download the client's JSON and give that.",),
        notes=("The Client Secret is shown once, right after the client was made: copy it before leaving the page.",),
        inputs=(
            Input("client_json", "JSON of the client", "json", "client_json", required=False),
            Input("client_id", "Client ID", "text", "client_id_google", required=False),
            Input("client_secret", "Client Secret", "secret", "client_secret_google", required=False),
        ),
        check="both_values",
        troubles=(_MISMATCH,),
        rows=("GO-17", "GO-20", "GO-31"),
    ),
    Step(
        "service_account", "Make a service account", part=1, needs=("project",), when=APPLICATION,
        why="A service account acts for mailboxes of the Workspace: nobody signs in, and no token runs out.",
        do=(
            "*IAM & Admin → Service Accounts → Create service account*: *Name* `Odoo`, then *Done*.",
            "Open it, *Keys → Add key → Create new key → JSON*; a file is downloaded.",
            "Enable the Gmail API: *APIs & Services → Library → Gmail API → Enable*.",
        ),
        inputs=(Input("service_json", "JSON key of the service account", "secret", "service_json"),),
        notes=("The key is shown once. The policy *iam.disableServiceAccountKeyCreation* may forbid keys.",),
        troubles=(_KEY_GONE,),
    ),
    Step(
        "delegation", "Delegate the mail scope to it", part=1, needs=("service_account",), when=APPLICATION,
        do=(
            "A super administrator opens `https://admin.google.com`.",
            "*Security → Access and data control → API controls → Manage Domain Wide Delegation → Add new*.",
            "*Client ID*: the numeric id of the service account, *OAuth scopes*: the one below; press *Authorize*.",
        ),
        copies=(Copy("Client ID", "{sa_client_id}"), Copy("OAuth scopes", "https://mail.google.com/")),
        notes=("It counts after some minutes, at most a day.",),
        troubles=(_DELEGATION,),
    ),
    Step(
        "provider", "Enable Gmail", part=2, face="database", needs=("client_id", "test_users", "delegation"),
        do=("*Apps*: remove the *Apps* filter, search `Google`, install *Google Gmail*.",),
        copies=(Copy("Search", "Google"),),
        inputs=(
            Input("provider_on", "Gmail provider", "flag", preset="yes"),
            Input("module_version", "Installed version (three dots on *Google Gmail*, *Module Info*)", required=False),
        ),
        troubles=(_FORBIDDEN,),
        rows=("GO-21",),
    ),
    Step(
        "credentials", "Enter the credentials", part=2, face="database", needs=("provider",), when=(_PROVIDER_ON,),
        do=(
            "*Settings → General Settings*, section *Discuss*: tick *Custom Email Servers* "
            "(or *External Email Servers*).",
            "*Gmail Credentials* appears (or *Use a Gmail Server*): paste both values, press *Save*.",
        ),
        inputs=(Input("custom_servers", "Custom Email Servers", "flag", preset="yes"),),
        rows=("GO-22",),
    ),
    Step(
        "server", "Make the outgoing server", part=2, face="database", needs=("credentials",),
        when=_SERVERS_ON,
        do=(
            "*Outgoing Email Servers* → *New* (or *Create*).",
            "*Name*, *Description*, *Username* if required.",
        ),
        inputs=(
            Input("server_name", "Name", preset="Gmail"),
            Input("username", "Username", "email", preset="{mailbox}"),
            Input("from_filter", "From Filter", "text", "from_filter", preset="{mailbox}"),
        ),
        rows=("GO-23",),
    ),
    Step(
        "connect", "Connect your Gmail Account", part=2, face="database", needs=("server",), check="connect",
        when=_SERVERS_ON,
        do=(
            "Choose *Gmail OAuth Authentication* (or *Gmail*, under *Authenticate with* / *Connection*).",
            "Press *Connect your Gmail Account*.",
            Do("In the window *Google* pick {mailbox}.", PERSON),
            Do("Nobody has to sign in: the service account acts for {mailbox}.", APPLICATION),
            Do("Personal accounts get one more page: press *Continue*.", _PERSONAL),
            Do("Press *Continue* or *Allow*.", PERSON),
            "Back here the token is stored by itself and the green tag *Gmail Token Valid* shows.",
        ),
        troubles=(_MISMATCH, _ACCESS_DENIED, _LOGINS_100, _FORBIDDEN, _KEY_GONE, _DELEGATION),
        rows=("GO-24", "GO-25", "GO-26"),
    ),
    Step(
        "test", "Test the Connection", part=2, face="database", needs=("connect",), check="test_connection",
        when=_SERVERS_ON,
        do=("Press *Test the Connection*; a confirmation shows.",),
        notes=(NOT_PROVED,),
        rows=("GO-27",),
    ),
    Step(
        "first_mail", "Send the first mail", part=2, face="mailops", needs=("test",), check="first_mail",
        when=_SERVERS_ON,
        why="Some refusals come with the message itself, after every test. Only a mail that arrived proves that mail "
        "leaves.",
        do=("mailops sends a mail from {mailbox} to itself and looks for it in the mailbox.",),
        rows=("OUT-20",),
    ),
)  # fmt: skip

GOOGLE = Guide(
    "google",
    "Connect Gmail",
    "gmail",
    ("In the Google console", "In the database"),
    STEPS,
    hosted_note="Connecting Gmail adds complexity. On this hosting the hosted outgoing server is the recommended way; "
    "go on only if mail must leave through Gmail.",
    limit_note=f"Look up Gmail's limits first: {provider('gmail').limit}. It may not suit large marketing campaigns.",
    links=(Link("Google: setting up OAuth", "https://support.google.com/cloud/answer/6158849"),),
)
