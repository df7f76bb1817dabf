"""Server records as a provider wants them, and which providers suit which mail."""

from __future__ import annotations

from dataclasses import replace

from ..errors import ConfigError
from ..model.setup import Encryption, MailClass, Server
from .model import Provider
from .rules import PROVIDERS

__all__ = ["CAMPAIGN_LIMIT", "PROVIDERS", "SUGGESTED", "Provider", "server_for"]

REGISTRARS = ("GoDaddy", "Namecheap")
"""Who sells domains, for example."""
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
        host=provider.smtp.name if provider.smtp else "",
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
