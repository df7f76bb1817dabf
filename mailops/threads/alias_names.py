"""Which aliases a mail is addressed to: by whole address, or by local part where the alias says so."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable

from ..errors import ConfigError
from ..model.alias import Alias
from ..model.setup import AliasDomain
from ..routing.effect import PARAMETERS_PATH

_NOT_ATOM = re.compile(r"[^a-z0-9!#$%&'*+/=?^_`{|}~.-]+")


def matching(
    aliases: Iterable[Alias], addresses: Collection[str], allowed_domains: Collection[str] = ()
) -> tuple[Alias, ...]:
    """The aliases that one of ``addresses`` (normalised) reaches, in the order given.

    An alias with local-part detection is reached at any domain; with ``allowed_domains`` only at those. A whole
    address always counts, whatever the list. An alias without domain has no whole address.
    """
    whole = set(addresses)
    locals_ = {
        local
        for local, _, domain in (a.rpartition("@") for a in addresses)
        if not allowed_domains or domain in allowed_domains
    }
    return tuple(
        alias
        for alias in aliases
        if (alias.address is not None and alias.address.lower() in whole)
        or (alias.any_domain and alias.local.lower() in locals_)
    )


def allowed_domains(parameter: str | None, domains: Iterable[AliasDomain]) -> frozenset[str]:
    """The domains for local-part matches from ``mail.catchall.domain.allowed``; our own are always in. Empty = all."""
    named = {part.strip().lower() for part in (parameter or "").split(",") if part.strip()}
    return frozenset(named | {d.name.lower() for d in domains}) if named else frozenset()


def clean_allowed_domains(value: str) -> str:
    """The parameter as it is stored: trimmed and lower-cased. Raises :class:`ConfigError` when nothing is left."""
    parts = list(dict.fromkeys(part.strip().lower() for part in value.split(",") if part.strip()))
    bad = [part for part in parts if "@" in part or any(c.isspace() for c in part)]
    if not parts or bad:
        raise ConfigError(
            "The list of allowed domains is empty." if not parts else f"{bad[0]!r} is not a domain.",
            code="config.bad_parameter",
            facts={"key": "mail.catchall.domain.allowed", "value": value},
            fix="Name domains separated by commas, such as a.example,b.example, or remove it (in Odoo: "
            f"{PARAMETERS_PATH}).",
        )
    return ",".join(parts)


def sanitise_local(text: str) -> str:
    """A local part as an alias may have it: no accents, lower case, cut at ``@``, other characters as ``-``."""
    plain = unicodedata.normalize("NFKD", text.strip()).encode("ascii", "ignore").decode()
    word = _NOT_ATOM.sub("-", plain.partition("@")[0].lower())
    return re.sub(r"\.{2,}", ".", word).strip(".")


def check_free(local: str, domain: AliasDomain) -> None:
    """Refuse an alias that would take a technical address of its domain. Raises :class:`ConfigError`."""
    taken = {domain.bounce_alias.lower(): "bounce", domain.catchall_alias.lower(): "catchall"}
    if domain.notification_address and domain.notification_address.lower().endswith("@" + domain.name.lower()):
        taken[domain.notification_address.lower().partition("@")[0]] = "notification"
    if local.lower() in taken:
        raise ConfigError(
            f"{local}@{domain.name} is the {taken[local.lower()]} address of this domain.",
            code="config.alias_taken",
            facts={"local": local, "domain": domain.name},
            fix="Choose another name for the alias.",
        )
