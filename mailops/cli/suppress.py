"""``mailops suppress``: the list of addresses that get no campaigns, or no mail: look, add, undo, in, out, re-judge."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..model.text import counted
from .app import open_ops
from .output import print_json, progress, say, table, write_out

if TYPE_CHECKING:
    from ..suppression import Suppressions
    from ..suppression.reread import Change

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Addresses that get no campaigns or no mail: list, add, undo, import, export, diff, apply.",
)
JSON = typer.Option(False, "--json", help="Print JSON.")
SCOPE = typer.Option("campaigns", help="campaigns (mail to many) or all (all mail).")


@app.command("list")
def show(
    ctx: typer.Context,
    text: str = typer.Argument(None, help="Part of an address."),
    state: str = typer.Option(None, help="active, proposed or undone."),
    limit: int = typer.Option(100, min=1, help="At most this many rows."),
    json: bool = JSON,
) -> None:
    """Who is on the list, since when and why; the newest first."""
    rows, total = open_ops(ctx).suppressions.page(text=text, state=state, limit=limit)
    if json:
        print_json({"total": total, "rows": rows})
        return
    lines = [(r.id, r.address, r.scope, r.standing, f"{r.since:%Y-%m-%d}", r.source, r.why) for r in rows]
    table(["No.", "Address", "Scope", "State", "Since", "From", "Why"], lines)
    say(f"{len(rows)} of {total}")


@app.command("add")
def add(
    ctx: typer.Context,
    address: str = typer.Argument(..., help="The address."),
    scope: str = SCOPE,
    why: str = typer.Option("", help="The reason, in words."),
    until: datetime = typer.Option(None, formats=["%Y-%m-%d"], help="The first day (UTC) on which it gets mail again."),
    json: bool = JSON,
) -> None:
    """Put an address on the list by hand."""
    made = open_ops(ctx).suppressions.add(address, scope=scope, why=why, until=until, actor="cli")
    if json:
        print_json(made)
    else:
        end = f"before {made.until:%Y-%m-%d}" if made.until else "any more"
        say(f"{made.address} gets no {'campaigns' if made.scope == 'campaigns' else 'mail'} {end} (no. {made.id}).")


@app.command("undo")
def undo(
    ctx: typer.Context,
    addresses: list[str] = typer.Argument(..., help="Addresses on the list."),
    json: bool = JSON,
) -> None:
    """Take addresses off the list; their reports are kept, and count no more."""
    done = open_ops(ctx).suppressions.undo(addresses, actor="cli")
    if json:
        print_json(done)
    else:
        say(f"Can be mailed again: {', '.join(done)}")


@app.command("import")
def load(
    ctx: typer.Context,
    file: Path = typer.Argument(..., exists=True, dir_okay=False, help="CSV, or one address on each line."),
    scope: str = SCOPE,
    json: bool = JSON,
) -> None:
    """Add addresses from a file."""
    from ..suppression.lists import load as read

    done = read(open_ops(ctx).suppressions, file.read_text("utf-8", errors="replace"), scope=scope, actor="cli")
    if json:
        print_json(done)
        return
    say(f"{done.added} added, {done.present} were there already, {len(done.refused)} could not be read.")
    for line in done.refused[:20]:
        say(f"  {line}")


@app.command("export")
def export(
    ctx: typer.Context,
    file: Path | None = typer.Argument(None, help="Where to write (default: standard output)."),
    state: str = typer.Option("active", help="active, proposed or undone."),
    json: bool = JSON,
) -> None:
    """Write the list as CSV, or JSON."""
    from ..suppression.lists import export as write

    rows, _ = open_ops(ctx).suppressions.page(state=state, limit=1_000_000)
    if json:
        print_json(rows)
    elif file:
        write_out(file, write(rows))
        say(f"{counted(len(rows), 'row')} written to {file}")
    else:
        sys.stdout.write(write(rows))


@app.command("diff")
def diff(ctx: typer.Context, json: bool = JSON) -> None:
    """What today's rules say otherwise about the stored reports; nothing is changed."""
    changes = _reread(open_ops(ctx).suppressions, quiet=json)
    if json:
        print_json(changes)
        return
    for change in changes:
        say(str(change))
    say(
        f"{counted(len(changes), 'report is', 'reports are')} judged otherwise today. mailops suppress apply "
        "carries it out."
    )


def _reread(suppressions: Suppressions, *, quiet: bool) -> list[Change]:
    """What today's rules say otherwise, with a bar while the stored reports are read."""
    with progress("Reading stored reports", quiet=quiet) as update:
        return suppressions.diff(lambda done, total: update(done))


@app.command("apply")
def apply(
    ctx: typer.Context,
    yes: bool = typer.Option(False, "--yes", help="Do it without asking."),
    json: bool = JSON,
) -> None:
    """Judge the stored reports by today's rules: shows the changes, asks, applies."""
    suppressions = open_ops(ctx).suppressions
    changes = _reread(suppressions, quiet=json)
    if not json:
        for change in changes:
            say(str(change))
    if changes and not yes:
        typer.confirm(f"Apply {counted(len(changes), 'change')}?", abort=True)
    done = suppressions.apply(changes, actor="cli") if changes else 0
    if json:
        print_json({"applied": done})
    else:
        say(f"{counted(done, 'change')} applied.")
