"""Outgoing providers as data: hosts, ports, which FROM filter they want, what they suit.

Facts from the providers' public documentation as of November 2026.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import ConfigError
from ..model.setup import Authentication, Encryption, MailClass, Server


@dataclass(frozen=True, slots=True)
class Provider:
    """What mailops knows of a provider. ``filter_is_mailbox``: its FROM filter must be the mailbox that signs in.
    ``campaigns``: whether large campaigns suit it; ``limit`` says why not."""

    id: str
    name: str
    host: str
    ports: tuple[int, ...]
    authentication: Authentication
    filter_is_mailbox: bool = False
    suits: tuple[MailClass, ...] = (MailClass.TRANSACTIONAL,)
    campaigns: bool = True
    limit: str = ""
    setup_page: str = ""


_BOTH = (MailClass.TRANSACTIONAL, MailClass.MASS)
PROVIDERS: dict[str, Provider] = {
    p.id: p
    for p in (
        Provider(
            "hosted",
            "the hosted server",
            "",
            (587,),
            Authentication.NONE,
            limit="it has a daily limit and is meant for transactional mail and small campaigns",
            campaigns=False,
        ),
        Provider(
            "outlook",
            "Outlook",
            "smtp.outlook.com",
            (587,),
            Authentication.OAUTH,
            True,
            campaigns=False,
            limit="30 messages a minute and 3 connections, 10,000 recipients a day",
        ),
        Provider(
            "gmail",
            "Gmail",
            "smtp.gmail.com",
            (587, 465),
            Authentication.OAUTH,
            True,
            campaigns=False,
            limit="500 recipients a day, 2,000 with Workspace",
        ),
        Provider(
            "mailjet",
            "Mailjet",
            "in-v3.mailjet.com",
            (587, 465),
            Authentication.LOGIN,
            suits=_BOTH,
            setup_page="https://app.mailjet.com/account/setup",
        ),
        Provider(
            "ses",
            "Amazon SES",
            "email-smtp.eu-west-1.amazonaws.com",
            (587, 465, 2525),
            Authentication.LOGIN,
            suits=_BOTH,
        ),
        Provider("sendgrid", "SendGrid", "smtp.sendgrid.net", (587, 465, 2525), Authentication.LOGIN, suits=_BOTH),
        Provider("mailgun", "Mailgun", "smtp.mailgun.org", (587, 465, 2525), Authentication.LOGIN, suits=_BOTH),
        Provider("brevo", "Brevo", "smtp-relay.brevo.com", (587, 465, 2525), Authentication.LOGIN, suits=_BOTH),
    )
}
SUGGESTED = {
    MailClass.TRANSACTIONAL: ("Gmail", "Amazon SES", "Brevo"),
    MailClass.MASS: ("Mailgun", "Sendgrid", "Mailjet"),
}
CAMPAIGN_LIMIT = 1_000  # recipients from which a campaign is large for a mailbox provider


def server_for(
    provider_id: str, *, login: str, password: str | None = None, port: int | None = None, **more: object
) -> Server:
    """A server record as the provider wants it: host, port, matching encryption, filter where it must be the mailbox.

    ``password`` is a secret reference. Raises :class:`ConfigError` for an unknown provider or port.
    """
    provider = PROVIDERS.get(provider_id)
    if provider is None:
        raise ConfigError(
            f"There is no provider profile {provider_id!r}.",
            code="provider.unknown",
            facts={"known": sorted(PROVIDERS)},
            fix="Use one of the names listed, or fill in host and port yourself.",
        )
    chosen = provider.ports[0] if port is None else port
    if chosen not in provider.ports:
        raise ConfigError(
            f"{provider.name} does not offer port {chosen}.",
            code="provider.port",
            facts={"ports": list(provider.ports)},
            fix=f"Use {' or '.join(map(str, provider.ports))}.",
        )
    server = Server(
        key=provider.id,
        name=provider.name,
        host=provider.host,
        port=chosen,
        encryption=Encryption.TLS if chosen == 465 else Encryption.STARTTLS,
        authentication=provider.authentication,
        login=login,
        password=password,
        from_filter=login if provider.filter_is_mailbox else None,
        provider=provider.id,
        mail_class=None if len(provider.suits) > 1 else provider.suits[0],
    )
    return replace(server, **more)  # type: ignore[arg-type]  # field names are checked by replace itself
