"""``mailops serve``: the listener for applications' mail, and what belongs to it."""

from __future__ import annotations

import secrets as randomness
import sys

import typer

from ..errors import ConfigError
from .app import open_ops
from .output import frame_table, print_json, say, table

app = typer.Typer(rich_markup_mode=None, help="Listen for mail from applications, and send it.")
JSON = typer.Option(False, "--json", help="Print JSON.")
users = typer.Typer(rich_markup_mode=None, help="Who may hand mail over: list, add, change, password, remove.")
app.add_typer(users, name="user")
REFERENCE = typer.Option(
    None, "--password", help="A reference (env:NAME, file:PATH …) instead of a password of its own."
)
GENERATE = typer.Option(False, "--generate", help="Make a password and print it, this once.")


@app.callback(invoke_without_command=True)
def serve(
    ctx: typer.Context,
    host: str = typer.Option(None, help="The address to listen on (default: 127.0.0.1)."),
    port: int = typer.Option(None, help="The port (default: 2525; 0 = any free one)."),
    queue_every: float = typer.Option(30.0, help="Seconds between looks at the queue when nothing wakes it; 0: never."),
    seconds: float = typer.Option(0.0, help="Stop after this long; 0 = run until stopped."),
    webhooks: int = typer.Option(
        None, help="Also HTTP on this loopback port (0 = any free one): providers' webhooks, /healthz, /metrics."
    ),
) -> None:
    """Listen for mail from applications (SMTP submission) and send what is due."""
    if ctx.invoked_subcommand is not None:
        return
    from ..serve import serve as run

    run(open_ops(ctx), host=host, port=port, queue_every=queue_every, seconds=seconds, webhooks=webhooks)


@app.command("export")
def export(
    ctx: typer.Context,
    kind: str = typer.Argument(help="systemd or compose."),
    worker: bool = typer.Option(False, "--worker", help="For mailops worker instead of mailops serve."),
    json: bool = JSON,
) -> None:
    """Write a systemd unit or a compose file for this workspace to standard output."""
    from ..service.export import export as write

    workspace = open_ops(ctx).workspace
    text = write(kind, workspace.path, workspace.settings.serve, command="worker" if worker else "serve")
    if json:
        print_json({"kind": kind, "text": text})
    else:
        say(text.rstrip())


@app.command("reports")
def reports(
    ctx: typer.Context,
    state: str = typer.Option(None, help="due, told or withheld."),
    login: str = typer.Option(None, help="Of mail that this login handed over."),
    mail: int = typer.Option(None, help="Of this mail."),
    limit: int = typer.Option(50, help="How many, newest first."),
    json: bool = JSON,
) -> None:
    """What programs heard of mail that did not arrive: told, due, or withheld with the reason."""
    if state is not None and state not in ("due", "told", "withheld"):
        raise ConfigError(
            f"Reports are never {state!r}.", code="config.report_state", fix="Use due, told or withheld.", facts={}
        )
    ops = open_ops(ctx)
    rows = ops.reports.listing(state=state, mail_id=mail, login=login, limit=limit)
    counts = ops.reports.counts()
    if json:
        print_json({"counts": counts, "reports": rows})
        return
    table(
        ["Mail", "Recipient", "State", "To", "Login", "Report", "Why"],
        [(x.mail_id, x.recipient, x.state, x.address, x.login, x.report_id, x.why or x.reply) for x in rows],
    )
    say(", ".join(f"{number} {name}" for name, number in counts.items()) + ".")


@app.command("usage")
def usage(
    ctx: typer.Context,
    since: str = typer.Option("7d", help="From when on: 7d, 12w or a date."),
    json: bool = JSON,
) -> None:
    """Who hands over how much, what of it was refused, and how long it took: a row for each login."""
    frame = open_ops(ctx).analysis.relay(since)
    if json:
        print_json(frame)
    else:
        frame_table(frame)


@app.command("check")
def check(ctx: typer.Context, json: bool = JSON) -> None:
    """TLS, logins, and one mail round each listener; nothing is stored. Exit 1 when something would not work."""
    from ..serve_check import check as examine

    found = examine(open_ops(ctx))
    if json:
        print_json(found)
    else:
        table(
            ["", "What", "Subject", "Found", "To do"],
            [(v.state.icon, v.title, v.subject, v.found, v.fix) for v in found],
        )
    raise typer.Exit(0 if all(v.passed for v in found) else 1)


@users.callback(invoke_without_command=True)
def user(ctx: typer.Context, json: bool = JSON) -> None:
    """Who may hand mail over (the same as ``list``); add, change, password and remove change it."""
    if ctx.invoked_subcommand is None:
        user_list(ctx, json)


@users.command("list")
def user_list(ctx: typer.Context, json: bool = JSON) -> None:
    """All logins: company, senders, where reports go, limit, and where the login stands."""
    found = open_ops(ctx).logins.all()
    if json:
        print_json([login.as_dict() for login in found])
        return
    rows = [
        (x.name, x.company, ", ".join(x.senders) or "any", x.bounces, x.reports, x.messages_per_minute, x.source)
        for x in found
    ]
    table(["Login", "Company", "May send as", "Bounces", "Reports", "A minute", "Stands in"], rows)


@users.command("add")
def user_add(
    ctx: typer.Context,
    login: str = typer.Argument(..., help="Its name."),
    company: str = typer.Option(None, help="The key of the company its mail belongs to."),
    sender: list[str] = typer.Option([], "--sender", help="An address or @domain it may send as; repeat it."),
    bounces: str = typer.Option(None, help="Where reports about its mail go: keep, ours or both."),
    reports: bool = typer.Option(True, "--reports/--no-reports", help="Whether it hears of what did not arrive."),
    per_minute: int = typer.Option(None, help="At most so many mails a minute; 0 = no limit."),
    password: str = REFERENCE,
    generate: bool = GENERATE,
    json: bool = JSON,
) -> None:
    """A new login (or another make of it); asks for its password, reads it from standard input, or makes one."""
    ops = open_ops(ctx)
    value, shown = _password(password, generate)
    made = ops.logins.add(
        login,
        value,
        setup=ops.setup,
        company=company,
        senders=tuple(sender),
        bounces=bounces,
        reports=reports,
        messages_per_minute=per_minute,
    )
    if json:
        print_json({**made.as_dict(), **({"generated": shown} if shown else {})})
        return
    say(f"{login} may hand mail over as {', '.join(made.senders) or 'anybody'}.")
    if shown:
        say(f"Its password, shown this once: {shown}")


@users.command("change")
def user_change(
    ctx: typer.Context,
    login: str = typer.Argument(..., help="Its name."),
    company: str = typer.Option(None, help="The key of the company its mail belongs to; '' takes it away."),
    sender: list[str] = typer.Option(None, "--sender", help="An address or @domain it may send as; 'any' = anybody."),
    bounces: str = typer.Option(None, help="Where reports about its mail go: keep, ours, both; '' = as the settings."),
    reports: bool = typer.Option(None, "--reports/--no-reports", help="Whether it hears of what did not arrive."),
    per_minute: int = typer.Option(None, help="At most so many mails a minute; 0 = no limit."),
    json: bool = JSON,
) -> None:
    """Change what is named of a login; all else stays, and it counts from the next mail on."""
    ops = open_ops(ctx)
    named: dict[str, object] = {} if reports is None else {"reports": reports}
    named |= {name: value or None for name, value in (("company", company), ("bounces", bounces)) if value is not None}
    named |= {} if per_minute is None else {"messages_per_minute": per_minute}
    named |= {"senders": () if sender == ["any"] else tuple(sender)} if sender else {}
    made = ops.logins.change(login, setup=ops.setup, **named)
    if json:
        print_json(made)
    else:
        say(f"{login} may hand mail over as {', '.join(made.senders) or 'anybody'}.")


@users.command("password")
def user_password(
    ctx: typer.Context, login: str, password: str = REFERENCE, generate: bool = GENERATE, json: bool = JSON
) -> None:
    """Another password; it counts from the next sign-in on."""
    ops = open_ops(ctx)
    value, shown = _password(password, generate)
    made = ops.logins.password(login, value)
    if json:
        print_json({**made.as_dict(), **({"generated": shown} if shown else {})})
    else:
        say(f"{login} has another password" + (f", shown this once: {shown}" if shown else "."))


@users.command("remove")
def user_remove(ctx: typer.Context, login: str, json: bool = JSON) -> None:
    """Take a login away; what it handed over stays."""
    open_ops(ctx).logins.remove(login)
    if json:
        print_json({"removed": login})
    else:
        say(f"{login} may hand nothing over any more.")


def _password(reference: str | None, generate: bool) -> tuple[str, str | None]:
    """The password or reference to keep, and what is to be shown of it."""
    if generate:
        made = randomness.token_urlsafe(18)
        return made, made
    if reference:
        if reference.partition(":")[0] not in ("env", "file", "keyring", "vault") or ":" not in reference:
            raise ConfigError(
                "A password on the command line can be read by others on this machine.",
                code="serve.password_shown",
                fix="Give a reference such as env:NAME, or the password on standard input, or --generate.",
            )
        return reference, None
    value = typer.prompt("Password", hide_input=True) if sys.stdin.isatty() else sys.stdin.read()
    return value.removesuffix("\n").removesuffix("\r"), None
