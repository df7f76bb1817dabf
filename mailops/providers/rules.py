"""The providers whose servers mail goes through, by id and by host, and the dates of their rules.

Read from the files in ``data/``: figures and dates change at the provider's will, code does not.
"""

from __future__ import annotations

from functools import lru_cache

from ..errors import NotFound
from .files import FILES
from .model import PasswordRule, Provider

PROVIDERS: dict[str, Provider] = {one.id: one for one in FILES.values() if one.id}
CATALOGUED = ("outlook", "gmail", "mailjet")  # those whose answers the catalogue of refusals holds


def provider(name: str) -> Provider:
    """The provider of this id. Raises :class:`NotFound`."""
    found = PROVIDERS.get(name)
    if found is None:
        raise NotFound(f"There is no provider {name!r}.", facts={"known": sorted(PROVIDERS)})
    return found


@lru_cache(maxsize=1024)
def provider_of_host(host: str | None) -> Provider | None:
    """The provider that a server name belongs to, or None."""
    name = (host or "").strip().lower().rstrip(".")
    return next((one for one in PROVIDERS.values() if name and one.has_host(name)), None)


def password_rules(provider_id: str, protocol: str) -> tuple[PasswordRule, ...]:
    """The rules for passwords at this provider, oldest first; empty where passwords are the normal way."""
    rules = PROVIDERS[provider_id].passwords if provider_id in PROVIDERS else ()
    return tuple(rule for rule in rules if rule.protocol == protocol)
