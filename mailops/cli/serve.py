"""``mailops serve``: the listener for applications' mail, and what belongs to it."""

from __future__ import annotations

import typer

from ..errors import ConfigError
from .app import open_ops
from .output import print_json, say, table

app = typer.Typer(rich_markup_mode=None, help="Listen for mail from applications, and send it.")
JSON = typer.Option(False, "--json", help="Print JSON.")


@app.callback(invoke_without_command=True)
def serve(
    ctx: typer.Context,
    host: str = typer.Option(None, help="The address to listen on (default: 127.0.0.1)."),
    port: int = typer.Option(None, help="The port (default: 2525; 0 = any free one)."),
    queue_every: float = typer.Option(30.0, help="Seconds between runs of the queue in this process; 0 = never."),
    seconds: float = typer.Option(0.0, help="Stop after this long; 0 = run until stopped."),
    webhooks: int = typer.Option(None, help="Also take providers' webhooks on this loopback port (0 = any free one)."),
) -> None:
    """Listen for mail from applications (SMTP submission) and send what is due."""
    if ctx.invoked_subcommand is not None:
        return
    from ..serve import serve as run

    run(open_ops(ctx), host=host, port=port, queue_every=queue_every, seconds=seconds, webhooks=webhooks)


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
