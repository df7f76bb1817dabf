"""What the templates of the guides are filled with, from answers, profile and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from ..model.setup import Hosting, Profile
from ..oauth.redirects import authorized_domain, redirect_uri
from .model import Guide


def base_url(answers: Mapping[str, Any], profile: Profile, parameters: Mapping[str, str]) -> str:
    """The web base URL: as answered, else the parameter, else the profile's, else the hosted subdomain."""
    given = answers.get("base_url") or parameters.get("web.base.url") or profile.web_base_url
    return str(given or f"https://{profile.hosted_domain}")


def values_of(
    guide: Guide, answers: Mapping[str, Any], profile: Profile, parameters: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Every ``{name}`` a template of this guide may use."""
    base = base_url(answers, profile, parameters or {})
    found = {
        "base_url": base,
        "database": profile.database,
        "domain": str(answers.get("domain") or _domain(answers) or profile.hosted_domain),
        "mailbox": str(answers.get("mailbox") or "the mailbox"),
        "senders": str(answers.get("senders") or "everybody who will send from the account"),
        "hosting": profile.hosting.value,
        "smtp_server": str(answers.get("smtp_server") or "in-v3.mailjet.com"),
        "port": str(answers.get("port") or "587"),
        "validation_option": validation_option(profile.hosting),
        "tenant": tenant_of(str(answers.get("account_types") or "multi_personal"), str(answers.get("tenant") or "")),
    }
    try:
        found["authorized_domain"] = authorized_domain(base, profile.hosted_suffix)
        if guide.provider in ("outlook", "gmail"):
            found["redirect_uri"] = redirect_uri(guide.provider, base)
    except ConfigError:
        found["authorized_domain"] = found["redirect_uri"] = "(first give the web base URL)"
    for name in ("host", "value"):
        if answers.get(f"dns_{name}"):
            found[f"dns_{name}"] = str(answers[f"dns_{name}"])
    return found


def tenant_of(account_types: str, tenant: str) -> str:
    """The authority's tenant for *Supported account types*: ``common`` for the type the guide asks for (AZ-06)."""
    return {"multi_personal": "common", "multi": "organizations", "personal": "consumers"}.get(
        account_types, tenant or "(the tenant id)"
    )


def _domain(answers: Mapping[str, Any]) -> str:
    return str(answers.get("mailbox") or "").rpartition("@")[2]


def validation_option(hosting: Hosting) -> str:
    """MJ-15: which of Mailjet's two ways to prove a domain: the file on a web server needs a server of one's own."""
    return "*Option 1*" if hosting is Hosting.ON_PREMISE else "*Option 2: Create a DNS Record*"
