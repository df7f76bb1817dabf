"""``mailops company``: companies, alias domains, system parameters."""

from __future__ import annotations

from typing import Any

import typer

from ..routing.select import notification_address
from .app import open_ops
from .output import ask, plain, print_json, say, table

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Companies and their alias domains; system parameters."
)
JSON = typer.Option(False, "--json", help="Print JSON.")


YES = typer.Option(False, "--yes", "-y", help="Do it without asking.")


@app.command("list")
def listing(ctx: typer.Context, json: bool = JSON) -> None:
    """Companies with the addresses that speak for them."""
    setup = open_ops(ctx).setup
    if json:
        print_json({"companies": setup.companies, "alias_domains": setup.alias_domains, "parameters": setup.parameters})
        return
    rows = []
    for company in setup.companies or (None,):
        domain = setup.domain_of(company)
        rows.append(
            (
                company.key if company else "(all)",
                company.name if company else "Every company",
                company.email if company else None,
                domain.name if domain else None,
                notification_address(domain, setup),
                domain.catchall_address if domain else None,
                domain.bounce_address if domain else None,
            )
        )
    table(["Key", "Company", "Email", "Alias Domain", "Notification", "Catchall", "Bounce"], rows)


@app.command("add")
def add(
    ctx: typer.Context,
    key: str,
    name: str = typer.Option(None, help="The company's name (default: the key)."),
    email: str = typer.Option(None, help="The company's contact address; '' takes it away."),
    domain: str = typer.Option(None, help="Its alias domain."),
    json: bool = JSON,
) -> None:
    """Add or change a company: what is not named stays. A new one gets the domain of the lowest sequence."""
    named = {"name": name, "email": email, "domain": domain}
    told = open_ops(ctx).change_company(key, **{k: v or None for k, v in named.items() if v is not None})
    _say(told, f"Company {told.value.key} saved.", json)


@app.command("domain")
def domain(
    ctx: typer.Context,
    name: str,
    bounce: str = typer.Option(None, help="Bounce Alias (default: bounce)."),
    catchall: str = typer.Option(None, help="Catchall Alias (default: catchall)."),
    default_from: str = typer.Option(
        None, help="Default From Alias: a local part, or a complete address (default: notifications)."
    ),
    sequence: int = typer.Option(None, help="The lowest goes to new companies (default: 10)."),
    yes: bool = YES,
    json: bool = JSON,
) -> None:
    """Add or change an alias domain: what is not named stays. The first one is given to all companies. A change that
    touches mail already out, or all mail to come, is shown with its counts and asks first."""
    given = {"bounce_alias": bounce, "catchall_alias": catchall, "default_from": default_from, "sequence": sequence}
    named = {k: v for k, v in given.items() if v is not None}
    ops = open_ops(ctx)
    ask(ops.impact(ops.proposed_alias_domain(name, **named)).confirmation(), yes, json)
    told = ops.change_alias_domain(name, **named)
    _say(told, f"Alias domain {told.value.name} saved.", json)


@app.command("parameter")
def parameter(
    ctx: typer.Context,
    key: str,
    value: str = typer.Argument(None, help="The value; leave it out to remove the parameter."),
    yes: bool = YES,
    json: bool = JSON,
) -> None:
    """Set or remove a system parameter, such as mail.default.from_filter."""
    ops = open_ops(ctx)
    ask(ops.parameter_impact(key, value), yes, json)
    told = ops.change_parameter(key, value)
    if json:
        print_json({key: told.value, **({"findings": told.notes} if told.notes else {})})
        return
    say(f"{key} = {told.value}" if value is not None else f"{key} removed.")
    say("\n".join(told.lines()))


def _say(told: Any, headline: str, json: bool) -> None:
    if json:
        more = {"changed": [one.text() for one in told.changes], "findings": told.notes}
        print_json({**plain(told.value), **{name: value for name, value in more.items() if value}})
        return
    say("\n".join([headline, *told.lines()]))
