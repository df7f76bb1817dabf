"""Routing cases: servers + alias domain + From → server, header From, envelope sender."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mailops.model.setup import AliasDomain, Authentication, DefaultServer, Profile, Server, Setup
from mailops.routing import RouteRequest, route
from mailops.routing.probe_sender import probe_sender

DOMAIN_FIELDS = ("name", "bounce_alias", "catchall_alias", "default_from", "sequence")


def routing(document: dict[str, Any], path: Path) -> Iterator[dict[str, Any]]:
    """One prediction a case, through the product's own routing."""
    for case in document["cases"]:
        try:
            yield {"id": case["id"], **_predict(case)}
        except Exception as error:
            yield {"id": case["id"], "error": f"{type(error).__name__}: {error}"}


def _predict(case: dict[str, Any]) -> dict[str, Any]:
    setup, domain = _setup(case["config"])
    given = case["input"]
    if case.get("kind") == "test_connection":
        server = next(s for s in setup.servers if s.key == given["server"])
        user = case["config"].get("current_user_email") or given.get("user")
        return {"mail_from": probe_sender(server, setup.alias_domains, user)}
    request = RouteRequest(given.get("from"), domain, given.get("forced_server"), given.get("return_path"))
    found = route(request, setup)
    return {
        "server": found.server.key if found.server else None,
        "header_from": found.header_from,
        "envelope_from": found.envelope_from,
    }


def _setup(config: dict[str, Any]) -> tuple[Setup, AliasDomain | None]:
    servers = tuple(
        Server(
            key=s["key"],
            name=s.get("name") or s["key"],
            host="smtp.invalid",
            from_filter=s.get("from_filter"),
            priority=s.get("sequence", 10),
            active=s.get("active", True),
            authentication=Authentication.CLI if s.get("auth") == "cli" else Authentication.LOGIN,
            created=n,
        )
        for n, s in enumerate(config.get("servers") or [])
    )
    given = config.get("alias_domain")
    domain = AliasDomain(**{name: given[name] for name in given if name in DOMAIN_FIELDS}) if given else None
    cli = config.get("cli") or {}
    default = DefaultServer(
        host="localhost" if cli.get("smtp_server") else None,
        from_filter=cli.get("from_filter"),
        email_from=cli.get("email_from"),
    )
    parameters = {k: str(v) for k, v in (config.get("params") or {}).items() if v is not None}
    setup = Setup(Profile(default_server=default), servers, (), (domain,) if domain else (), parameters)
    return setup, domain
