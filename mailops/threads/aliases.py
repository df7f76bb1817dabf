"""Aliases as people make and change them: checked names, a policy, a model, and a status that is earned."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy.engine import Connection, Engine

from ..errors import ConfigError, NotFound
from ..model.alias import Alias, Policy
from ..model.setup import AliasDomain
from ..store.database import explained
from . import store as repo
from .alias_names import check_free, sanitise_local
from .models import Models


def aliases(connection: Connection) -> tuple[Alias, ...]:
    """All aliases of the store, in order of name."""
    return tuple(_alias(row) for row in repo.alias_rows(connection))


def _alias(row: Any) -> Alias:
    s = row.settings or {}
    return Alias(
        key=int(row.id),
        local=row.local,
        domain=row.domain,
        model=row.model,
        policy=Policy(s.get("policy", Policy.EVERYONE)),
        any_domain=bool(s.get("any_domain")),
        record=s.get("record"),
        parent=s.get("parent"),
        bounced_content=s.get("bounced_content"),
        defaults=s.get("defaults") or {},
        owner=s.get("owner"),
        company=s.get("company"),
        automatic=bool(s.get("automatic", True)),
    )


def save_alias(
    engine: Engine,
    local: str,
    model: str,
    *,
    domain: AliasDomain | None,
    models: Models,
    policy: Policy | str = Policy.EVERYONE,
    any_domain: bool = False,
    record: int | None = None,
    parent: int | None = None,
    defaults: Mapping[str, Any] | None = None,
    owner: str | None = None,
    company: int | None = None,
    bounced_content: str | None = None,
    automatic: bool = True,
) -> int:
    """A new alias; returns its id. The name is sanitised (``Sales Team`` becomes ``sales-team``). With ``automatic``
    False, automatic mail makes no records.

    Raises :class:`ConfigError` for an empty or taken name, an unknown policy, or defaults that cannot be stored.
    """
    name = sanitise_local(local)
    models.get(model)
    if not name:
        raise ConfigError(
            "An alias needs a name.", code="config.alias_name", facts={"local": local}, fix="Use letters and digits."
        )
    if domain is not None:
        check_free(name, domain)
    try:
        json.dumps(dict(defaults or {}))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            "The alias defaults cannot be stored.",
            code="config.alias_defaults",
            facts={"reason": str(error)},
            fix="Give a dictionary of texts, numbers, true/false and lists.",
        ) from error
    settings = {
        "policy": checked_policy(policy).value,
        "any_domain": any_domain,
        "record": record,
        "parent": parent,
        "defaults": dict(defaults or {}),
        "owner": owner,
        "company": company,
        "bounced_content": bounced_content,
        "automatic": automatic,
    }
    with explained("saving an alias"), engine.begin() as connection:
        taken = [x for x in aliases(connection) if x.local == name and x.domain == (domain.name if domain else None)]
        if taken:
            raise ConfigError(
                f"There is already an alias {name!r} on this domain.",
                code="config.alias_taken",
                facts={"local": name, "domain": domain.name if domain else None},
                fix="Choose another name, or change the one there is.",
            )
        return repo.add_alias(connection, name, model, domain_id=domain.id if domain else None, settings=settings)


def change_alias(
    engine: Engine,
    address: str,
    *,
    policy: Policy | str | None = None,
    any_domain: bool | None = None,
    automatic: bool | None = None,
    bounced_content: str | None = None,
) -> Alias:
    """Change settings of an alias; None leaves one as it is. Raises :class:`NotFound`, or :class:`ConfigError` for an
    unknown policy."""
    changes = {"any_domain": any_domain, "automatic": automatic, "bounced_content": bounced_content}
    changes["policy"] = checked_policy(policy).value if policy is not None else None
    with explained("changing an alias"), engine.begin() as connection:
        found = find_alias(aliases(connection), address)
        repo.set_alias(connection, int(found.key), **{name: v for name, v in changes.items() if v is not None})
        return find_alias(aliases(connection), address)


def remove_alias(engine: Engine, address: str) -> Alias:
    """Remove an alias; what it made stays. Raises :class:`NotFound`."""
    with explained("removing an alias"), engine.begin() as connection:
        found = find_alias(aliases(connection), address)
        repo.remove_alias(connection, int(found.key))
        return found


def find_alias(known: Iterable[Alias], address: str) -> Alias:
    """The alias with this address, or with this local part where that names one alone. Raises :class:`NotFound`."""
    wanted, known = address.strip().lower(), tuple(known)
    hits = [a for a in known if wanted == (a.address or a.local).lower()] or [a for a in known if a.local == wanted]
    if len(hits) != 1:
        raise NotFound(
            f"There is no alias {address!r}." if not hits else f"{address!r} is an alias of several domains.",
            facts={"alias": address, "aliases": [a.address or a.local for a in hits or known][:50]},
            fix="Give the whole address of one that mailops alias list shows.",
        )
    return hits[0]


def checked_policy(policy: Policy | str) -> Policy:
    """Who may write, checked. Raises :class:`ConfigError`."""
    try:
        return Policy(policy)
    except ValueError as error:
        words = ", ".join(Policy)
        raise ConfigError(
            f"An alias cannot take mail from {policy!r}.",
            code="config.alias_policy",
            facts={"policy": str(policy)[:100], "policies": [p.value for p in Policy]},
            fix=f"Use one of: {words}.",
        ) from error
