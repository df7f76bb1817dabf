"""``mailops report``: what stands and what changed, as a page for people, and by mail."""

from __future__ import annotations

from pathlib import Path

import typer

from .app import app, open_ops
from .output import print_json, say, write_out


@app.command("report")
def report(
    ctx: typer.Context,
    name: str = typer.Argument(..., help="deliverability, queue, domains, intake; or a notebook's name or path."),
    parameters: list[str] = typer.Option([], "--parameter", "-p", help="name=value; may be given several times."),
    to: list[str] = typer.Option([], "--to", help="Mail it to this address; may be given several times."),
    output: Path = typer.Option(None, "--output", "-o", help="Also write the page to this file."),
    timeout: float = typer.Option(600.0, "--timeout", help="Seconds it may take."),
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """A report as a page that opens offline, and by mail; exit 0, 1 (something is not in order) or 2, as `mailops run`.
    Each week: `mailops jobs add deliverability -p since=7d --cron "0 7 * * mon" --mail-to ADDRESS`."""
    from .commands import pair

    result, why = open_ops(ctx).report(name, dict(pair(one) for one in parameters), to=to, timeout=timeout)
    if output is not None:
        write_out(output, result.report.read_text("utf-8"))
    if json:
        print_json({"run": result, "mailed": to if to and not why else [], "not_mailed": why})
    else:
        say(f"{result.title}: {result.message}\nThe page: {output or result.report}")
        if to:
            say(f"Not mailed at once: {why}" if why else f"Mailed to {', '.join(to)}.")
    raise typer.Exit(result.exit_code)
