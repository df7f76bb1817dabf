"""The guide through Mailjet to a server for mass mail: in Mailjet, in the database, and in DNS."""

from __future__ import annotations

from .flows import NOT_PROVED
from .model import Choice, Copy, Do, Guide, Input, Link, Step, Trouble

_DOMAIN = (("sender_way", ("domain",)),)
_ADDRESSES = (("sender_way", ("address",)),)
_NO_DOMAIN = (("sender_way", ("alias",)),)

_KEYS = Trouble(
    "auth.mailjet-smtp-535",
    ("535", "401"),
    "The keys are refused",
    "The two keys are swapped, the Secret Key was made anew, or the password of the site was used.",
    ("User name is the *API key*, password the *Secret Key*.",),
)
_SENDER = Trouble(
    "auth.mailjet-sender",
    ("not validated", "403"),
    "The sender is not validated",
    "Mailjet sends only for addresses or domains that were validated.",
    ("*Senders & Domains*: validate the address, or its whole domain.",),
)

STEPS = (
    Step(
        "settings", "Find the SMTP settings", part=1,
        why="Mailjet becomes the dedicated server for mass mail; the work is in Mailjet, in the database, and in DNS.",
        do=(
            "Open `https://app.mailjet.com/account`.",
            "*Senders & Domains* → *SMTP and SEND API Settings*.",
            "From *Configuration (SMTP only)* note server address, security option (*Use SSL/TLS*) and port number.",
        ),
        inputs=(
            Input("smtp_server", "Server address", preset="in-v3.mailjet.com"),
            Input("security", "Security option", "choice", preset="starttls", choices=(
                Choice("starttls", "SSL/TLS by STARTTLS (port 587)"),
                Choice("tls", "SSL/TLS from the start (port 465)"),
                Choice("none", "None", "mail leaves unprotected; SSL/TLS is recommended even if Mailjet takes it."),
            )),
            Input("port", "Port number", "number", "port", preset="587"),
        ),
        links=(Link("Mailjet account", "https://app.mailjet.com/account"),
               Link("SMTP settings", "https://app.mailjet.com/account/setup"),
               Link("Mailjet SMTP help", "https://documentation.mailjet.com/hc/articles/360043229473")),
        rows=("MJ-01", "MJ-02", "MJ-03", "MJ-04"),
    ),
    Step(
        "keys", "Get the keys", part=1, needs=("settings",),
        why="The API key becomes the user name, the Secret Key the password. The Secret Key is shown once.",
        do=(
            "*Retrieve your API credentials*: press the eye icon and copy the *API key*.",
            "*Generate Secret Key* and copy the *Secret Key*.",
        ),
        inputs=(
            Input("api_key", "API key (becomes the username)", "text", "mailjet_key"),
            Input("secret_key", "Secret Key (becomes the password)", "secret", "mailjet_key"),
        ),
        check="mailjet_keys",
        troubles=(_KEYS,),
        rows=("MJ-05", "MJ-06"),
    ),
    Step(
        "senders", "Say who sends", part=1, needs=("settings",),
        why="Every sending address, or its domain, must be known to Mailjet. The whole domain is easier when its DNS "
        "is accessible.",
        do=(
            "*Add a Sender Domain or Address*: decide for addresses or the whole domain.",
            "The account's original address is trusted from the start.",
        ),
        inputs=(
            Input("sender_way", "What to validate", "choice", choices=(
                Choice("domain", "The whole domain (its DNS is accessible)"),
                Choice("address", "Single addresses, each by a mail"),
                Choice("alias", "Addresses of the hosted subdomain, by temporary aliases"),
            )),
            Input("domain", "Domain of the senders", preset="{domain}"),
            Input("senders", "Addresses that will send", "emails", "addresses",
                  preset="{technical}"),
            Input("account_address", "The account's original address", "email", required=False),
        ),
        notes=("At the least `notifications@{domain}`, `bounce@{domain}` and `catchall@{domain}` must be verified.",),
        rows=("MJ-07", "MJ-08", "MJ-09", "MJ-10"),
    ),
    Step(
        "addresses", "Verify the addresses", part=1, needs=("senders",), when=(("sender_way", ("address", "alias")),),
        do=(
            "*Add a sender address* for each of: {senders}.",
            "Fill in the form *Email Information* with the type of mail; an activation mail arrives at the address.",
            Do("Make a temporary alias (one that creates leads) for each of the three addresses, so that the database "
               "receives the activation mails; open them there, then remove the aliases "
               "(`mailops domain senders DOMAIN --begin`, then `--restore`).", _NO_DOMAIN),
            Do("Open the activation mail in each mailbox and follow its link.", _ADDRESSES),
        ),
        inputs=(Input("sending_type", "Type of mail", "choice", choices=(
            Choice("transactional", "Transactional"), Choice("mass", "Mass"))),),
        check="mailjet_senders",
        troubles=(_SENDER,),
        rows=("MJ-09", "MJ-10", "MJ-11", "MJ-13"),
    ),
    Step(
        "add_domain", "Add the domain", part=2, needs=("senders",), when=_DOMAIN,
        why="All addresses of a validated domain count as validated.",
        do=(
            "*Add a Sender Domain or Address → Add domain*.",
            "On the page *Add a new Domain* fill it in and press *Continue*.",
            "On the validation page take {validation_option}.",
        ),
        links=(Link("Senders & Domains", "https://app.mailjet.com/account/sender"),),
        rows=("MJ-14", "MJ-15"),
    ),
    Step(
        "txt", "Publish the TXT record", part=2, needs=("add_domain",), when=_DOMAIN, check="mailjet_txt",
        do=("Copy *Host* and *Value* and add them as a TXT record at the DNS provider.",),
        copies=(Copy("Host", "{dns_host}"), Copy("Value", "{dns_value}")),
        inputs=(Input("dns_host", "Host"), Input("dns_value", "Value")),
        rows=("MJ-16", "MJ-18"),
    ),
    Step(
        "check_now", "Check Now", part=2, needs=("txt",), when=_DOMAIN,
        why="The record is looked up from here first; press the button once it is visible.",
        do=(
            "*Account Information → Add a Sender Domain or Address*, the gear next to *Domain*, *Validate*.",
            "Or: `https://app.mailjet.com/account/sender` → *Manage*.",
            "Press *Check Now*; a success screen shows.",
        ),
        check="mailjet_senders",
        links=(Link("Senders", "https://app.mailjet.com/account/sender"),),
        rows=("MJ-17", "MJ-18"),
    ),
    Step(
        "authenticate", "Authenticate the domain", part=2, needs=("senders",), when=_DOMAIN, check="mailjet_dns",
        do=("*Authenticate this domain (SPF/DKIM)* lists the records to enter at the DNS provider.",
            "Paste them here too, and they are looked up before Mailjet is asked."),
        inputs=(
            Input("spf_record", "SPF record (value)", required=False),
            Input("dkim_host", "DKIM record (host)", required=False, preset="mailjet._domainkey"),
            Input("dkim_record", "DKIM record (value)", required=False),
        ),
        notes=("SPF, DKIM and DMARC of the sender's domain are recommended.",),
        links=(
            Link("Mailjet: SPF and DKIM", "https://documentation.mailjet.com/hc/en-us/articles/360049641733-Authenticating-Domains-with-SPF-and-DKIM-A-Complete-Guide"),
            Link("Mailjet: DMARC", "https://documentation.mailjet.com/hc/en-us/articles/20531905163419-Understanding-DMARC"),
        ),
        rows=("MJ-12", "MJ-19"),
    ),
    Step(
        "server", "Make the outgoing server", part=3, face="database",
        needs=("keys", "senders"),
        do=(
            "Switch developer mode on.",
            "*Technical Menu → Email → Outgoing Mail Servers → Create*.",
            "SMTP server `{smtp_server}`, port `{port}`, security SSL/TLS.",
            "Username: the API key. The password is the Secret Key.",
            "Priority: a higher number than that of every server for day-to-day mail.",
            "*Email Marketing → Configuration → Settings*, *Dedicated Server*: choose it, so that it carries mass mail "
            "and no other.",
        ),
        inputs=(
            Input("server_name", "Name", preset="Mailjet"),
            Input("priority", "Priority", "number", preset="20"),
            Input("dedicated", "Dedicated Server", "choice", preset="yes", choices=(
                Choice("yes", "It sends mass mail"), Choice("no", "It stands beside the others"))),
        ),
        check="mailjet_server",
        rows=("MJ-20", "MJ-21", "MJ-22", "MJ-23"),
    ),
    Step(
        "test", "Test the Connection", part=3, face="database", needs=("server",), check="test_connection",
        do=("Save, then press *Test the Connection*.",),
        notes=(NOT_PROVED,),
        troubles=(_KEYS, _SENDER),
        rows=("MJ-24",),
    ),
)  # fmt: skip

MAILJET = Guide(
    "mailjet",
    "Connect Mailjet",
    "mailjet",
    ("In Mailjet", "In DNS", "In the database"),
    STEPS,
    hosted_note="Connecting Mailjet adds complexity. On this hosting the hosted outgoing server is the recommended "
    "way; go on if mass mail needs a server of its own.",
    limit_note="Look up what your Mailjet plan sends a month before a large campaign.",
)
