"""What the templates of the guides are filled with, from answers, profile and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import __version__
from ..errors import ConfigError
from ..model.setup import Hosting, Profile
from ..oauth.redirects import authorized_domain, redirect_uri
from .flows import LOCAL, flow_of
from .model import Guide

UNNAMED = "first"  # the subject of a guide that was begun without naming a mailbox or domain
FIRST_BASE = "(first give the web base URL)"


def base_url(answers: Mapping[str, Any], profile: Profile, parameters: Mapping[str, str]) -> str:
    """The web base URL: as answered, else the stored one, else the hosted subdomain; "" on premise, where only the
    admin knows it (a wrong one would send authorization codes to a stranger)."""
    given = answers.get("base_url") or stored_base(profile, parameters)
    hosted = f"https://{profile.hosted_domain}" if profile.hosting is not Hosting.ON_PREMISE else ""
    return str(given or hosted)


def stored_base(profile: Profile, parameters: Mapping[str, str]) -> str:
    """The base that is set up: the system parameter ``web.base.url``, else the profile's."""
    return str(parameters.get("web.base.url") or profile.web_base_url or "")


def values_of(
    guide: Guide,
    answers: Mapping[str, Any],
    profile: Profile,
    parameters: Mapping[str, str] | None = None,
    subject: str = "",
) -> dict[str, str]:
    """Every ``{name}`` a template of this guide may use. ``subject`` is the mailbox or domain that it is for."""
    stored = parameters or {}
    base = base_url(answers, profile, stored)
    named = subject.rpartition("/")[2] if subject != UNNAMED else ""
    address = named if "@" in named else ""
    domain = str(answers.get("domain") or _domain(answers) or named.rpartition("@")[2])
    if not domain and guide.provider == "mailjet":
        domain = stored.get("mail.catchall.domain", "").strip()  # of the workspace (MJ-10)
    if not domain and profile.hosting is not Hosting.ON_PREMISE:
        domain = profile.hosted_domain
    technical = ", ".join(f"{local}@{domain}" for local in ("notifications", "bounce", "catchall")) if domain else ""
    senders = technical if guide.provider == "mailjet" and domain else "everybody who will send from the account"
    found = {
        "base_url": base,
        "stored_base": stored_base(profile, stored),
        "address": address,
        "database": profile.database,
        "domain": domain,
        "technical": technical,
        "mailbox": str(answers.get("mailbox") or address or "the mailbox"),
        "senders": str(answers.get("senders") or senders),
        "hosting": profile.hosting.value,
        "smtp_server": str(answers.get("smtp_server") or "in-v3.mailjet.com"),
        "port": str(answers.get("port") or "587"),
        "validation_option": validation_option(profile.hosting),
        "tenant": _tenant(guide, answers),
        "login": str(answers.get("shared") or answers.get("mailbox") or address or "the mailbox"),
        "sa_client_id": str(answers.get("sa_client_id") or "(the service account's numeric client id)"),
        "client_id": str(answers.get("client_id") or "(the Client ID)"),
        "app_object": str(answers.get("app_object") or "(the object id)"),
        "consent_tenant": str(answers.get("tenant") or "organizations"),
        "module_version": str(answers.get("module_version") or "(version not noted: *Module Info* shows it)"),
        "version": __version__,
        "dns_host": "(Mailjet shows it on that page)",
        "dns_value": "(Mailjet shows it on that page)",
    }
    try:
        found["authorized_domain"] = authorized_domain(base, profile.hosted_suffix) if base else FIRST_BASE
        if guide.provider in ("outlook", "gmail"):
            found["redirect_uri"] = redirect_uri(guide.provider, base) if base else FIRST_BASE
    except ConfigError:
        found["authorized_domain"] = found["redirect_uri"] = FIRST_BASE
    flow = flow_of(guide.provider, answers)
    if flow is not None and flow.public:
        found["redirect_uri"] = LOCAL
    for name in ("host", "value"):
        if answers.get(f"dns_{name}"):
            found[f"dns_{name}"] = str(answers[f"dns_{name}"])
    return found


def _tenant(guide: Guide, answers: Mapping[str, Any]) -> str:
    flow = flow_of(guide.provider, answers)
    types = "single" if flow is not None and flow.app_only else str(answers.get("account_types") or "multi_personal")
    return tenant_of(types, str(answers.get("tenant") or ""))


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
