"""``mailops company``: companies, alias domains, system parameters."""

from __future__ import annotations

import typer

from .app import open_ops
from .output import print_json, say, table

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Companies and their alias domains; system parameters."
)
JSON = typer.Option(False, "--json", help="Print JSON.")


@app.command("list")
def listing(ctx: typer.Context, json: bool = JSON) -> None:
    """Companies with their addresses."""
    setup = open_ops(ctx).setup
    if json:
        print_json({"companies": setup.companies, "alias_domains": setup.alias_domains, "parameters": setup.parameters})
        return
    rows = []
    for company in setup.companies:
        domain = company.alias_domain
        rows.append(
            (
                company.key,
                company.name,
                company.email,
                domain.name if domain else None,
                domain.notification_address if domain else None,
                domain.catchall_address if domain else None,
                domain.bounce_address if domain else None,
            )
        )
    table(["Key", "Company", "Email", "Alias domain", "Notification", "Catchall", "Bounce"], rows)


@app.command("add")
def add(
    ctx: typer.Context,
    key: str,
    name: str = typer.Option(None, help="The company's name (default: the key)."),
    email: str = typer.Option(None, help="The company's contact address."),
    domain: str = typer.Option(None, help="Its alias domain."),
    json: bool = JSON,
) -> None:
    """Add or change a company; without a domain it gets the one of the lowest sequence."""
    from ..model.setup import AliasDomain, Company

    ops = open_ops(ctx)
    saved = ops.save_company(Company(key, name or key, email, AliasDomain(domain) if domain else None))
    if json:
        print_json(saved)
    else:
        say(f"Company {saved.key} saved.")


@app.command("domain")
def domain(
    ctx: typer.Context,
    name: str,
    bounce: str = typer.Option("bounce", help="Bounce alias."),
    catchall: str = typer.Option("catchall", help="Catchall alias."),
    default_from: str = typer.Option("notifications", help="Default-from alias: a local part, or a complete address."),
    sequence: int = typer.Option(10, help="The lowest goes to new companies."),
    json: bool = JSON,
) -> None:
    """Add or change an alias domain; the first one is given to all companies."""
    from ..model.setup import AliasDomain

    saved = open_ops(ctx).save_alias_domain(AliasDomain(name, bounce, catchall, default_from, sequence))
    if json:
        print_json(saved)
        return
    say(f"Alias domain {saved.name} saved.")
    if saved.complete_default_from:
        say(f"Note: a complete address overwrites the From of all outgoing mail: {saved.complete_default_from}")


@app.command("parameter")
def parameter(
    ctx: typer.Context,
    key: str,
    value: str = typer.Argument(None, help="The value; leave it out to remove the parameter."),
    json: bool = JSON,
) -> None:
    """Set or remove a system parameter, such as mail.default.from_filter."""
    open_ops(ctx).set_parameter(key, value)
    if json:
        print_json({key: value})
    else:
        say(f"{key} = {value}" if value is not None else f"{key} removed.")
