"""``mailops runs``: two runs of a notebook compared."""

from __future__ import annotations

import typer

from .app import open_ops
from .output import print_json, say, table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Runs of notebooks, compared.")


@app.callback()
def group() -> None:
    """Runs of notebooks, compared."""


@app.command("diff")
def diff(
    ctx: typer.Context,
    before: str = typer.Argument(..., help="A run's id, or the beginning of it."),
    after: str = typer.Argument(..., help="The later run's."),
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """What changed from one run to another: checks (worst first), parameters, versions; exit 1 when a check newly
    fails."""
    found = open_ops(ctx).runs_diff(before, after)
    if json:
        print_json(found)
    else:
        say(f"{found.before}: {found.status[0]}\n{found.after}: {found.status[1]}")
        if found.same:
            say("Nothing changed.")
        rows = [(c.kind, c.verdict.title or c.verdict.check, c.verdict.subject, c.verdict.found) for c in found.changes]
        if rows:
            table(["What", "Check", "Subject", "Found"], rows)
        for name, (old, new) in {**found.parameters, **found.made_with}.items():
            say(f"{name}: {old} → {new}")
    raise typer.Exit(1 if any(change.kind == "newly failing" for change in found.changes) else 0)
