"""``mailops server``: outgoing servers and Test Connection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from ..errors import ConfigError
from ..model.text import counted
from .app import open_ops
from .output import plain, print_json, say, table

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Outgoing servers: list, add, remove, check, readiness, Test Connection.",
)
JSON = typer.Option(False, "--json", help="Print JSON.")


@app.command("list")
def listing(ctx: typer.Context, json: bool = JSON) -> None:
    """All outgoing servers in the order they are asked."""
    from ..model.setup import MASS_PARAMETER

    setup = open_ops(ctx).setup
    servers = sorted(setup.servers, key=lambda s: (s.priority, s.name, s.created))
    dedicated = setup.parameters.get(MASS_PARAMETER)
    if json:
        print_json([{**plain(s), "dedicated": s.key == dedicated} for s in servers])
        return
    rows = [
        (
            s.key,
            s.name,
            f"{s.host}:{s.port}",
            s.encryption.value,
            s.from_filter or "(none)",
            s.priority,
            "Dedicated Server" if s.key == dedicated else s.mail_class.value if s.mail_class else "",
            "yes" if s.active else "no",
        )
        for s in servers
    ]
    table(["Key", "Name", "Address", "Encryption", "FROM filter", "Priority", "For", "Active"], rows)


@app.command("add")
def add(
    ctx: typer.Context,
    key: str = typer.Argument(..., help="A short name, such as notifications."),
    host: str = typer.Option(None, help="The SMTP host."),
    name: str = typer.Option(None, help="The name people see (default: the key)."),
    port: int = typer.Option(None, help="The port: 587, 465 or 2525 (default: 587)."),
    encryption: str = typer.Option(None, help="starttls, tls or none (default: starttls)."),
    authentication: str = typer.Option(None, help="none, login, certificate, oauth or cli (default: none)."),
    login: str = typer.Option(None, help="The user name."),
    password: str = typer.Option(None, help="A reference to the password: env:NAME, file:PATH, keyring:…, vault:NAME."),
    from_filter: str = typer.Option(
        None, "--filter", help="FROM Filtering: domains and addresses, separated by commas; '' takes it away."
    ),
    priority: int = typer.Option(None, help="Lower is asked first (default: 10)."),
    ca_file: str = typer.Option(None, help="A CA file to verify this server with."),
    mail_class: str = typer.Option(None, help="What it is meant for: transactional or mass."),
    provider: str = typer.Option(None, help="outlook, gmail, mailjet … (default: the one that the host belongs to)."),
    active: bool = typer.Option(None, "--active/--inactive", help="Keep it, but do not use it."),
    json: bool = JSON,
) -> None:
    """Add an outgoing server, or change the one with this key: what is not named stays."""
    from ..model.setup import Authentication, Encryption, MailClass

    given = {
        "host": host, "name": name, "port": port, "encryption": encryption, "authentication": authentication,
        "login": login, "password": password, "from_filter": from_filter, "priority": priority, "ca_file": ca_file,
        "mail_class": mail_class, "provider": provider, "active": active,
    }  # fmt: skip
    kinds: dict[str, Any] = {"encryption": Encryption, "authentication": Authentication, "mail_class": MailClass}
    try:
        named = {
            field: None if value == "" and field != "host" else kinds.get(field, type(value))(value)
            for field, value in given.items()
            if value is not None
        }
    except ValueError as error:
        raise ConfigError(
            f"This cannot be used for a server: {error}.",
            code="server.option",
            fix="encryption: starttls, tls, none; authentication: none, login, certificate, oauth, cli.",
        ) from error
    told = open_ops(ctx).change_server(key, **named)
    if json:
        more = {"changed": [one.text() for one in told.changes], "findings": told.notes}
        print_json({**plain(told.value), **{name: value for name, value in more.items() if value}})
    else:
        say("\n".join([f"Server {told.value.key} saved.", *told.lines()]))
        say(f"Next: mailops server test {told.value.key}")


@app.command("remove")
def remove(ctx: typer.Context, key: str, json: bool = JSON) -> None:
    """Remove an outgoing server."""
    open_ops(ctx).remove_server(key)
    if json:
        print_json({"removed": key})
    else:
        say(f"Server {key} removed.")


@app.command("test")
def try_connection(
    ctx: typer.Context, key: str, sender: str = typer.Option(None, "--from", help="Try this sender."), json: bool = JSON
) -> None:
    """Test Connection: connects, signs in, tries sender and recipient, sends no mail."""
    found = open_ops(ctx).test_connection(key, sender=sender)
    if json:
        print_json(found)
    else:
        table(["Step", "Result", "Answer"], [(s.label, s.state.value, s.reply) for s in found.steps])
        say(found.message)
        for warning in found.warnings:
            say(f"Warning: {warning.message}\nWhat to do: {warning.fix}")
        if not found.warnings or not found.ok:
            say(found.note if found.ok else f"What to do: {found.fix}")
    raise typer.Exit(0 if found.ok else 1)


@app.command("check")
def check(ctx: typer.Context, json: bool = JSON) -> None:
    """Hold the whole plan of servers against the rules; exit 1 when something blocks."""
    findings = open_ops(ctx).findings()
    if json:
        print_json(findings)
    else:
        table(
            ["Weight", "Code", "Finding", "What to do"],
            [(f.severity.value, f.code, f.message, f.fix) for f in findings],
        )
        say(f"{counted(len(findings), 'finding')}.")
    raise typer.Exit(1 if any(f.severity.value in ("blocking", "error") for f in findings) else 0)


@app.command("senders")
def senders(
    ctx: typer.Context,
    key: str,
    campaigns: list[str] = typer.Option([], "--campaign", help="The From of a campaign; repeat it."),
    templates: list[str] = typer.Option([], "--template", help="The From of a template; repeat it."),
    bot: str = typer.Option(None, help="OdooBot's address, where it was changed."),
    json: bool = JSON,
) -> None:
    """Every address that may stand as sender (the provider may want each allowed), and whether the FROM filter of this
    server covers it."""
    found = open_ops(ctx).senders(key, campaigns=campaigns, templates=templates, bot=bot)
    if json:
        print_json([{"address": s.address, "sources": s.sources, "covered": s.covered} for s in found])
    else:
        table(["Address", "Where from", "Filter"], [(s.address, ", ".join(s.sources), s.mark) for s in found])


@app.command("usage")
def usage(ctx: typer.Context, key: str = typer.Argument(None, help="A server."), json: bool = JSON) -> None:
    """How much left today, the daily limit, and what may still leave (default: through the default server)."""
    found = open_ops(ctx).usage(key)
    if json:
        print_json({"sent": found.sent, "limit": found.limit, "remaining": found.remaining, "reason": found.reason})
    else:
        say(found.text())


@app.command("default")
def default(
    ctx: typer.Context,
    file: Path = typer.Argument(..., help="A configuration file of the database (section [options]).", exists=True),
    json: bool = JSON,
) -> None:
    """Read the default server (smtp_server, smtp_port, from_filter …) out of a database's configuration file, as the
    section [default_server] of mailops.toml. Nothing is changed; the password is left out."""
    from ..routing.readiness import read_default_server

    found = read_default_server(file.read_text("utf-8", "replace"))
    if json:
        print_json(found)
        return
    say("[default_server]")
    for name, value in plain(found).items():
        if value is not None:
            say(f"{name} = {value}" if isinstance(value, int) else f'{name} = "{value}"')


@app.command("plan")
def plan(
    ctx: typer.Context,
    kind: str = typer.Argument(..., help="single, per-user or two-class (transactional + mass)."),
    mailbox: str = typer.Option("", help="single: the mailbox that sends for everybody; per-user: the fallback."),
    users: list[str] = typer.Option([], "--user", help="per-user: a user's mailbox; repeat it."),
    provider: str = typer.Option("outlook", help="outlook or gmail."),
    transactional: str = typer.Option("", help="two-class: the key of the server for day-to-day mail."),
    mass: str = typer.Option("", help="two-class: the key of the server for mass mail."),
    yes: bool = typer.Option(False, "--yes", "-y", help="Write the plan into the set-up."),
    json: bool = JSON,
) -> None:
    """One of the usual plans of servers: shown, and with --yes written."""
    ops = open_ops(ctx)
    made = ops.plan(kind, mailbox=mailbox, users=users, provider=provider, transactional=transactional, mass=mass)
    if yes:
        ops.save_plan(made)
    if json:
        print_json({**plain(made), "saved": yes})
        return
    rows = [(s.key, s.name, s.login, s.from_filter, s.priority, s.mail_class) for s in made.servers]
    table(["Key", "Name", "Username", "FROM Filtering", "Priority", "Class"], rows)
    for name, value in made.parameters:
        say(f"Parameter {name} = {value}")
    if made.dedicated:
        say(f"Dedicated Server: {made.dedicated}")
    for task in made.tasks:
        say(f"To do: {task}")
    say("Saved. Next: mailops server check" if yes else "Nothing is saved yet; give --yes to write it.")


@app.command("readiness")
def ready(
    ctx: typer.Context,
    methods: list[str] = typer.Option(
        None, "--method", help="An inbound method in use: incoming mail server, redirection, MX record; repeat it."
    ),
    fetch: int = typer.Option(None, help="Minutes between two fetches of incoming mail."),
    done: list[str] = typer.Option([], "--done", help="The id of a finished task; may be given more than once."),
    undone: list[str] = typer.Option([], "--undone", help="The id of a task that is not finished after all."),
    outgoing: str = typer.Option(None, "--server", help="hosted or own: the way mail is to go out."),
    admin: str = typer.Option(None, help="The administrator's address in the database."),
    dns: bool = typer.Option(True, "--dns/--no-dns", help="Look at the own domains, for some seconds at most."),
    json: bool = JSON,
) -> None:
    """What is still to do until mail works both ways; exit 1 while something is missing. What is given is kept."""
    report = open_ops(ctx).readiness(
        methods=methods or None, done=done, undone=undone, fetch_minutes=fetch, outgoing=outgoing, admin=admin, dns=dns
    )
    if json:
        print_json(report)
        raise typer.Exit(0 if report.ready else 1)
    found = report.addresses
    if found.notification:
        say(f"From {found.notification}, replies to {found.reply_to}, delivery errors to {found.bounce}.")
    else:
        say("There is no alias domain yet, so there is no default sender, and replies go to whoever wrote.")
    if report.findings:
        table(["Weight", "Finding", "What to do"], [(f.severity.value, f.message, f.fix) for f in report.findings])
    for task in report.open_tasks:
        say(f"{task.id}: {task.title}. {task.text}")
        for where in task.where:
            say(f"    {where}")
        for what, value in task.values:
            say(f"    {what}: {value}")
    level = " This needs technical knowledge (DNS, mail protocols)." if report.level == "technical" else ""
    say(report.why() + (level if report.open_tasks else ""))
    raise typer.Exit(0 if report.ready else 1)
