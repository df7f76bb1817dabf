"""The providers mailops guides to, and the dates of their rules (as published up to November 2026).

A rules pack: figures and dates change at the provider's will, code does not. Sources stand beside the figures.
"""

from __future__ import annotations

from datetime import date

from ..errors import NotFound
from ..model.setup import Encryption
from .model import Endpoints, Host, Limits, PasswordRule, Provider

_OUTLOOK = "https://outlook.office.com/"

OUTLOOK = Provider(
    id="outlook",
    name="Microsoft Outlook",
    smtp=Host("smtp.outlook.com", 587, Encryption.STARTTLS),
    imap=Host("imap.outlook.com", 993, Encryption.TLS),
    pop=Host("outlook.office365.com", 995, Encryption.TLS),
    other_hosts=(
        "smtp.office365.com",
        "outlook.office365.com",
        "smtp-mail.outlook.com",
        "smtp-hve.office365.com",
        "imap-mail.outlook.com",
        "pop-mail.outlook.com",
        "outlook.office.com",
        "smtp.live.com",
        "smtp.office365.us",
        "outlook.office365.us",
        "outlook-dod.office365.us",
        "smtp-dod.office365.us",
        "smtp.partner.outlook.cn",
        "partner.outlook.cn",
    ),
    host_suffixes=(".mail.protection.outlook.com", ".mail.protection.partner.outlook.cn", ".mx.microsoft"),
    oauth=True,
    redirect_path="/microsoft_outlook/confirm",
    token_tag="Outlook Token Valid",  # noqa: S106 - the words on a green tag
    connect_label="Connect your Outlook account",
    command="microsoft",
    not_configured="Please configure your Outlook credentials.",
    endpoints=Endpoints(authority="https://login.microsoftonline.com/{tenant}"),
    scopes_send=(_OUTLOOK + "SMTP.Send",),
    scopes_receive=(_OUTLOOK + "IMAP.AccessAsUser.All",),
    scopes_pop=(_OUTLOOK + "POP.AccessAsUser.All",),
    scopes_app=("https://outlook.office365.com/.default",),
    limits=Limits(
        recipients_a_day=10_000,
        messages_a_minute=30,
        recipients_a_message=500,
        connections=3,
        note="10,000 recipients a day and 30 messages a minute for one mailbox; the tenant has a limit of its own.",
    ),
    bulk=False,
)

GMAIL = Provider(
    id="gmail",
    name="Google Gmail",
    smtp=Host("smtp.gmail.com", 587, Encryption.STARTTLS),
    imap=Host("imap.gmail.com", 993, Encryption.TLS),
    pop=Host("pop.gmail.com", 995, Encryption.TLS),
    other_hosts=(
        "smtp-relay.gmail.com",
        "aspmx.l.google.com",
        "smtp.googlemail.com",
        "imap.googlemail.com",
        "pop.googlemail.com",
    ),
    oauth=True,
    redirect_path="/google_gmail/confirm",
    token_tag="Gmail Token Valid",  # noqa: S106 - the words on a green tag
    connect_label="Connect your Gmail Account",
    command="google",
    not_configured="Please configure your Gmail credentials.",
    endpoints=Endpoints(
        authorize="https://accounts.google.com/o/oauth2/v2/auth",
        token="https://oauth2.googleapis.com/token",  # noqa: S106 - an address
        revoke="https://oauth2.googleapis.com/revoke",
    ),
    scopes_send=("https://mail.google.com/",),
    scopes_receive=("https://mail.google.com/",),
    scopes_pop=("https://mail.google.com/",),
    scopes_app=("https://mail.google.com/",),
    limits=Limits(
        recipients_a_day=10_000,
        messages_a_day=2_000,
        recipients_a_message=100,
        connections=15,
        note="2,000 messages a day with Workspace, 500 with gmail.com and trials; 100 recipients in one SMTP message.",
    ),
    bulk=False,
)

MAILJET = Provider(
    id="mailjet",
    name="Mailjet",
    smtp=Host("in-v3.mailjet.com", 587, Encryption.STARTTLS),
    limits=Limits(note="As bought; the plan's page in the account says how many a month."),
)

PROVIDERS: dict[str, Provider] = {p.id: p for p in (OUTLOOK, GMAIL, MAILJET)}

_RETIREMENT = "https://techcommunity.microsoft.com/blog/exchange/exchange-online-to-retire-basic-auth-for-client-submission-smtp-auth/4114750"

_PASSWORD_RULES = (
    PasswordRule(
        "outlook", "smtp", None, date(2027, 1, 1), True,
        "Passwords still work for client submission until the end of December 2026.", _RETIREMENT,
    ),
    PasswordRule(
        "outlook", "smtp", date(2027, 1, 1), None, False,
        "Off by default for existing tenants (an administrator can switch it on again); "
        "not available to tenants made after that. The final date is to be announced in the second half of 2027.",
        _RETIREMENT,
    ),
    PasswordRule(
        "outlook", "imap", date(2023, 1, 1), None, False,
        "Passwords for IMAP ended in 2023 (personal accounts: September 2024).", _RETIREMENT,
    ),
    PasswordRule(
        "outlook", "pop", date(2023, 1, 1), None, False,
        "Passwords for POP ended in 2023 (personal accounts: September 2024).", _RETIREMENT,
    ),
    *(
        PasswordRule(
            "gmail", protocol, date(2025, 5, 1), None, False,
            "Google takes the account's password no longer; app passwords remain where 2-Step Verification is on.",
            "https://support.google.com/a/answer/14114704", True,
        )
        for protocol in ("smtp", "imap", "pop")
    ),
)  # fmt: skip


def provider(name: str) -> Provider:
    """The provider of this id. Raises :class:`NotFound`."""
    found = PROVIDERS.get(name)
    if found is None:
        raise NotFound(f"There is no provider {name!r}.", facts={"known": sorted(PROVIDERS)})
    return found


def provider_of_host(host: str | None) -> Provider | None:
    """The provider that a server name belongs to, or None."""
    name = (host or "").strip().lower().rstrip(".")
    for one in PROVIDERS.values():
        names = {h.name for h in (one.smtp, one.imap, one.pop) if h is not None} | set(one.other_hosts)
        if name in names or (one.host_suffixes and name.endswith(one.host_suffixes)):
            return one
    return None


def password_rules(provider_id: str, protocol: str) -> tuple[PasswordRule, ...]:
    """The rules for passwords at this provider, oldest first; empty where passwords are the normal way."""
    return tuple(r for r in _PASSWORD_RULES if r.provider == provider_id and r.protocol == protocol)
