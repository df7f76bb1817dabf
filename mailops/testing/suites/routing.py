"""Routing cases: servers + alias domains + From → server, header From, envelope sender, Reply-To of a record's mail.

``failure`` says in one word why a mail cannot leave: the failure type, or the last part of the error's code.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mailops.errors import RouteError
from mailops.model.setup import AliasDomain, Authentication, Company, DefaultServer, Profile, Server, Setup
from mailops.routing import RouteRequest, route
from mailops.routing.probe_sender import probe_sender
from mailops.threads.addresses import reply_address
from mailops.threads.store import Record

DOMAIN_FIELDS = ("name", "bounce_alias", "catchall_alias", "default_from", "sequence")


def routing(document: dict[str, Any], path: Path) -> Iterator[dict[str, Any]]:
    """One prediction a case, through the product's own routing."""
    for case in document["cases"]:
        try:
            yield {"id": case["id"], **_predict(case)}
        except RouteError as error:
            word = error.code.rpartition(".")[2].removeprefix("forced_")
            yield {"id": case["id"], "error": f"RouteError: {error}", "failure": word}
        except Exception as error:
            yield {"id": case["id"], "error": f"{type(error).__name__}: {error}"}


def _predict(case: dict[str, Any]) -> dict[str, Any]:
    setup, domain = _setup(case["config"], case["input"])
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
        **({"reply_to": _reply_to(given["record"], given, setup)} if given.get("record") else {}),
        **({"failure": found.failure.value} if found.failure else {}),
    }


def _reply_to(record: dict[str, Any], given: dict[str, Any], setup: Setup) -> str | None:
    """Of a record's mail, as the product's threads write it."""
    row = Record(1, "record", record.get("name") or "", None, 1, None, {})
    return reply_address(row, (), setup, author=given.get("from"))


def _setup(config: dict[str, Any], given: dict[str, Any]) -> tuple[Setup, AliasDomain | None]:
    """The set-up, and the alias domain that speaks for the sending company: of the record's, where there is one."""
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
    known = [_domain(d) for d in config.get("alias_domains") or []]
    sending = _domain(config["alias_domain"]) if config.get("alias_domain") else None
    domains = known or ([sending] if sending else [])
    of_record = ((given.get("record") or {}).get("company") or {}) if given.get("record") else None
    if of_record is not None:
        sending = next((d for d in domains if d.name == of_record.get("alias_domain")), None)
    company = Company("sending", (of_record or {}).get("name") or "", None, sending, 1)
    cli = config.get("cli") or {}
    default = DefaultServer(
        host="localhost" if cli.get("smtp_server") else None,
        from_filter=cli.get("from_filter"),
        email_from=cli.get("email_from"),
    )
    parameters = {k: str(v) for k, v in (config.get("params") or {}).items() if v is not None}
    setup = Setup(Profile(default_server=default), servers, (company,), tuple(domains), parameters)
    return setup, setup.domain_of(company)


def _domain(given: dict[str, Any]) -> AliasDomain:
    return AliasDomain(**{name: given[name] for name in given if name in DOMAIN_FIELDS})
